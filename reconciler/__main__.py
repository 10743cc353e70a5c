"""`python -m reconciler`, and the `reconciler` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. The version is told before anything else is imported: scripts ask for it often."""
    if sys.argv[1:] == ["--version"]:
        from reconciler import __version__

        try:
            print(f"reconciler {__version__}", flush=True)
        except OSError as error:
            from reconciler.cli.main import unwritable

            sys.exit(unwritable(error))
        return
    from reconciler.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
