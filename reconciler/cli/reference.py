"""docs/cli.md: every command with its options and examples, made from the commands themselves (`make schemas`)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from reconciler.cli.main import COMMANDS, cli


def cli_page() -> str:
    """The page's text."""
    context = click.Context(cli, info_name="reconciler")
    lines = ["# Commands", "", "Generated from the commands. Exit codes: [README](../README.md#exit-codes).", ""]
    lines += ["## Common options", "", "They stand before or after the command's name.", "", *_options(cli), ""]
    for name in COMMANDS:
        command = cli.get_command(context, name)
        if command is not None:
            lines += _command(command, click.Context(command, info_name=f"reconciler {name}"), "##")
    return "\n".join(lines).rstrip() + "\n"


def _command(command: click.Command, context: click.Context, level: str) -> Iterator[str]:
    yield from (f"{level} {context.info_name}", "")
    yield from (f"`{' '.join([str(context.info_name), *command.collect_usage_pieces(context)])}`", "")
    text, _, examples = (command.help or "").partition("\b")
    yield from (_paragraphs(text), "")
    shown = _examples(examples) or _examples(command.epilog or "")
    options = list(_options(command))
    if options:
        yield from (*options, "")
    if shown:
        yield from ("```sh", *shown, "```", "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _command(inner, click.Context(inner, info_name=f"{context.info_name} {name}"), f"{level}#")


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n")).strip()


def _examples(text: str) -> list[str]:
    """As a shell would take them: what stands behind a command is a comment."""
    lines = (line.strip() for line in text.splitlines())
    return [re.sub(r" {3,}(?=[^#\s])", "   # ", line) for line in lines if line.startswith("reconciler ")]


def _options(command: click.Command) -> Iterator[str]:
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden and p.help]
    if options:
        yield from ("| option | meaning |", "| --- | --- |")
    for option in options:
        names = ", ".join([*option.opts, *option.secondary_opts])
        value = "" if option.is_flag else f" {option.make_metavar(click.Context(command))}"
        yield _row(names + value, option)


def _row(names: str, option: click.Option) -> str:
    default = f" Default: {option.default}." if option.show_default and option.default is not None else ""
    text = f"{option.help or ''}{default}".replace("|", "\\|")
    return f"| `{names.replace('|', ', ')}` | {text} |"
