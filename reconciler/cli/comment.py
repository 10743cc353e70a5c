"""`reconciler comment`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import click

from reconciler.cli.files import read_file
from reconciler.cli.forges import forge_from, settle_comments
from reconciler.cli.options import Command, examples
from reconciler.cli.session import Session
from reconciler.errors import UsageError

STDIN = "-"
_MARKER = re.compile(r"<!-- reconciler:plan(?::(?P<environment>[a-z0-9-]+)(?::(?P<number>[0-9]+))?)? -->")


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler plan --base origin/main --markdown-into plan.md",
        "reconciler comment plan.md           in a job of GitHub Actions or GitLab CI",
    ),
)
@click.argument("file", metavar="FILE")
@click.option("--pull-request", metavar="NUMBER", help="Which one; usually the job knows.")
@click.pass_context
def comment(ctx: click.Context, file: str, pull_request: str | None) -> int:
    """Put the comment that `plan` made on the pull request, or update the one that is there.

    FILE is what `plan --markdown-into` wrote, `-` for standard input. The token is GITHUB_TOKEN, or GITLAB_TOKEN; it needs
    to write on pull requests and nothing else. The API key of the platform is not needed.
    """
    session = Session.of(ctx)
    data = sys.stdin.buffer.read() if file == STDIN else read_file(Path(file), "The comment")
    parts = parts_in(data.decode("utf-8", "replace"))
    forge = forge_from(session.settings.environ, pull_request)
    created, updated, deleted = settle_comments(forge, parts, _staleness([marker for marker, _ in parts]))
    session.say(f"Comments: {created} created, {updated} updated, {deleted} deleted, of {len(parts)}.")
    return 0


def parts_in(text: str) -> list[tuple[str, str]]:
    """Each comment with its marker, which is its first line. Raises UsageError for text that does not begin with one."""
    parts: list[tuple[str, str]] = []
    for line in text.splitlines():
        if _MARKER.fullmatch(line):
            parts.append((line, line))
        elif parts:
            marker, body = parts[-1]
            parts[-1] = (marker, f"{body}\n{line}")
        elif line.strip():
            break
    if not parts:
        raise UsageError(
            "This is no comment of `reconciler plan`: it does not begin with its marker.",
            next_step="Write it with `reconciler plan --markdown-into FILE`.",
        )
    return parts


def _staleness(markers: list[str]) -> Callable[[str], bool]:
    """Whether a comment of ours with another marker is out of date.

    Further parts of the same environment are. A comment that says why nothing can be planned stands for all environments,
    and a plan of any environment says that it can.
    """
    matches = [match for match in map(_MARKER.fullmatch, markers) if match]
    environments = {match["environment"] for match in matches}

    def is_stale(marker: str) -> bool:
        match = _MARKER.fullmatch(marker)
        if match is None:
            return False
        return match["environment"] in environments or None in environments or match["environment"] is None

    return is_stale
