"""One invocation: its settings, and the steps that most commands begin with. Commands use it; it knows no command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

import click

from reconciler.cli.options import FLAGS
from reconciler.errors import OutputError, UsageError
from reconciler.report.style import Style
from reconciler.settings import Flags, Settings, is_terminal, settle, wants_colour

SESSION = "reconciler.session"


@dataclass(slots=True)
class Session:
    """Settings, and where to say what. `unwritten` is why something could not be told, once that has happened."""

    settings: Settings
    unwritten: OutputError | None = None

    @classmethod
    def of(cls, ctx: click.Context) -> Session:
        """The session of this invocation; settles the settings the first time."""
        known = ctx.meta.get(SESSION)
        if isinstance(known, cls):
            return known
        session = cls(settings=settle(Flags(**ctx.meta.get(FLAGS, {}))))
        ctx.meta[SESSION] = session
        return session

    @classmethod
    def of_failure(cls, ctx: click.Context) -> Session:
        """A session to tell a failure with, also when the settings are what failed."""
        try:
            return cls.of(ctx)
        except UsageError:
            return cls(settings=settle(Flags(), {}))

    def style(self, stream: object) -> Style:
        on_terminal = is_terminal(stream)
        width = self.settings.width or (_columns() if on_terminal else 100)
        return Style(colour=wants_colour(self.settings, stream), width=width, wraps=on_terminal)

    def show(self, text: str) -> None:
        """Data, on stdout. What cannot be written does not end a run: it is kept in `unwritten`, and told at the end."""
        self._write(text, sys.stdout)

    def show_bytes(self, data: bytes) -> None:
        """As `show`, and as they are: in no other encoding, and with no end of a line added."""
        self._write(data, sys.stdout)

    def show_first(self, text: str) -> None:
        """What must be seen before anything is sent, on stdout. Raises OutputError where it cannot be written whole."""
        self._write(text, sys.stdout)
        if self.unwritten is not None:
            raise self.unwritten

    def say(self, text: str) -> None:
        """Talk, on stderr. As `show`, what cannot be written ends nothing."""
        self._write(text, sys.stderr)

    def _write(self, text: str | bytes, stream: IO[str]) -> None:
        line_is_open = isinstance(text, str) and not text.endswith("\n")
        try:
            click.echo(text, file=stream, nl=line_is_open, color=wants_colour(self.settings, stream))
        except BrokenPipeError:
            discard(stream)
        except OSError as error:
            discard(stream)  # else the rest is tried again when the process ends
            self.unwritten = OutputError(f"The output cannot be written: {error.strerror}.")

    def show_value(self, value: Any, output: str) -> None:
        """A JSON value as `json` or `yaml`, on stdout."""
        self.show(dumps(value, output))


def discard(stream: IO[str]) -> None:
    """Whoever read the stream has had enough (`| head`): what else is written to it goes nowhere, without a complaint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def dumps(value: Any, output: str) -> str:
    """A JSON value as indented text; keys stay in their order. ASCII only, and spelled so that no string in it directs a
    terminal or a job's runner: no line is broken inside of one, and `##` is never whole.
    """
    if output == "yaml":
        from reconciler.cli.yaml_out import yaml_text

        return yaml_text(value)
    import json

    return spelled_safely(json.dumps(value, indent=2))


def spelled_safely(text: str) -> str:
    """The same JSON in ASCII. What is replaced can only stand inside of strings."""
    import json

    if not text.isascii() or "\x7f" in text:
        text = "".join(char if " " <= char <= "~" or char == "\n" else json.dumps(char)[1:-1] for char in text)
    return text.replace("##", "#\\u0023")


def now() -> datetime:
    return datetime.now(UTC)


def labels_of(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """`key=value` pairs. Raises UsageError."""
    pairs = []
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise UsageError(f"-l {text!r} is not KEY=VALUE.", next_step="For example -l team=support.")
        pairs.append((key, value))
    return tuple(pairs)
