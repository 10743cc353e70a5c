"""What is wrong with something a person wrote, and where: values, never exceptions.

Every step from `load` to `plan` returns diagnostics beside its result, so that all mistakes are reported at once.
What each code means stands in one table, `reconciler.load.codes`; how a diagnostic looks is decided in `report`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Position:
    """A place in a file. `file` is relative to the project root, with `/`; `line` and `column` count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Severity(StrEnum):
    """An error refuses; a warning is only said."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One mistake.

    `code` is stable (`RC` and three digits). `path` is the field in the document as `spec.scalingParameters.minReplicas`,
    list positions as `[0]`; empty for the document as a whole. `value` is what was written, already as short text;
    `allowed` says in words what may stand there; `suggestion` is the did-you-mean or the fix, as a whole sentence or a word.
    `environment` names the environment when the mistake exists only after merging.
    """

    code: str
    message: str
    position: Position | None = None
    path: str = ""
    value: str | None = None
    allowed: str | None = None
    suggestion: str | None = None
    environment: str | None = None
    severity: Severity = Severity.ERROR

    def sort_key(self) -> tuple[bool, str, int, int, str, str, str, str]:
        """Reports are sorted by place, then path, code, environment and text, so that they are the same every time."""
        place = self.position or Position(file="", line=0, column=0)
        return (
            self.position is not None,
            place.file,
            place.line,
            place.column,
            self.path,
            self.code,
            self.environment or "",
            self.message,
        )


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The same diagnostics, each once, sorted by place."""
    return tuple(sorted(dict.fromkeys(diagnostics), key=Diagnostic.sort_key))


def errors_in(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Those that refuse."""
    return tuple(d for d in diagnostics if d.severity is Severity.ERROR)


def errors_counted(errors: int) -> str:
    """`1 error in the manifests`."""
    return f"{errors} {'error' if errors == 1 else 'errors'} in the manifests"
