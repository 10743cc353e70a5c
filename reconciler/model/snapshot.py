"""What a source delivers: the bytes of the files at one moment, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One regular file. `path` is relative to the project root, with `/`."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where manifests come from, and who has them applied. The commit and what belongs to it are None outside a checkout.

    `dirty` is True when a file that was read differs from the commit or is not in it. `actor` is who runs the program, as the
    CI system or the machine names them; `ci_url` the address of the CI run, where there is one.
    """

    commit: str | None = None
    author: str | None = None
    committed_at: datetime | None = None
    branch: str | None = None
    dirty: bool | None = None
    actor: str | None = None
    ci_url: str | None = None


NO_PROVENANCE = Provenance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Every manifest file, sorted by path, and the project file if there is one.

    `diagnostics` are those of reading: unreadable files, links out of the root, FIFOs, files over the size limit.
    """

    files: tuple[SourceFile, ...]
    project: SourceFile | None = None
    provenance: Provenance = NO_PROVENANCE
    diagnostics: tuple[Diagnostic, ...] = ()
