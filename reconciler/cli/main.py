"""The `reconciler` command."""


def main() -> None:
    raise SystemExit(1)
