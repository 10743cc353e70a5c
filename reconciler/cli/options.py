"""Options that every command takes, before or after its name, and the few that several share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from reconciler.cli.names import complete_environment, complete_name

F = TypeVar("F", bound=Callable[..., Any])

FLAGS = "reconciler.flags"  # where a context keeps what the common options said


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value is not None and param.name:
        ctx.meta.setdefault(FLAGS, {})[param.name] = value


def common_options(*, hidden: bool = False) -> list[click.Parameter]:
    """On the group they are shown; on each command they are understood."""

    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_keep, hidden=hidden, **more)

    return [
        option("-C", "directory", metavar="DIR", help="The project's folder (RECONCILER_DIR). Default: where you are."),
        option(
            "--project",
            metavar="FILE",
            help="The project file (RECONCILER_PROJECT). Default: reconciler.yaml in the folder.",
        ),
        option("--host", metavar="HOST", help="The platform, instead of the project file's (RECONCILER_HOST)."),
        option(
            "--state", metavar="DIR", help="Where the state lies, instead of the project file's (RECONCILER_STATE)."
        ),
        option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            help="Default auto (RECONCILER_COLOR); NO_COLOR is honoured.",
        ),
        option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            help="What is logged on stderr (RECONCILER_LOG_LEVEL). Default warning.",
        ),
        option(
            "--log-format",
            type=click.Choice(["auto", "text", "json"]),
            help="Of the log (RECONCILER_LOG_FORMAT). Default: text on a terminal.",
        ),
    ]


class Command(click.Command):
    """A command that takes the common options too, without repeating them in its help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(common_options(hidden=True))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text("Common options (-C, --project, --host, --state, --color, --log-…): reconciler --help.")


def examples(*lines: str) -> str:
    """An epilog of examples that click leaves as it is."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def environments_option(function: F) -> F:
    return click.option(
        "-e",
        "--environment",
        "environments",
        multiple=True,
        metavar="ENV",
        help="Only this one; may be repeated.",
        shell_complete=complete_environment,
    )(function)


def selection_options(function: F) -> F:
    function = click.argument("globs", nargs=-1, metavar="[NAME]...", shell_complete=complete_name)(function)
    return click.option(
        "-l", "--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only manifests with this label."
    )(function)


def output_option(*formats: str) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        return click.option(
            "-o", "--output", type=click.Choice(formats), default=formats[0], show_default=True, help="What to print."
        )(function)

    return decorate


def why_option(function: F) -> F:
    return click.option("--reason", metavar="TEXT", default="", help="Why; kept in the history.")(function)
