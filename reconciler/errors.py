"""Everything that stops a command, as one tree; the leaf decides the exit code and the next step.

    ReconcilerError                        1   an unexpected error of ours
    ├── OutputError                        1   what is shown or told cannot be written
    ├── UsageError                        64   wrong flags or arguments for what is there
    ├── InvalidInput                       3   manifests or configuration, with diagnostics
    │   └── SourceError                    3   the source is missing, empty or unreadable
    │       └── NotAtRest                  3   the files are being changed
    ├── AuthenticationError                4   the key is refused or missing
    │   └── TlsTrustError                  4   the host's certificate is not trusted
    ├── GuardError                         5   a guard, a protection or a policy forbids it
    ├── StateError                         6
    │   ├── RunLockHeld                    6   somebody else is sending
    │   ├── StateMissing                   6   never initialised, or gone
    │   ├── StateCorrupt                   6   the files do not say what they must
    │   ├── StateTooNew                    6   written by a newer program
    │   └── StateForeign                   6   another lineage, environment, host or key reference
    ├── StalePlan                          7   the plan file and today's plan differ
    ├── DeploymentFailed                   8   a deployment failed, was refused or timed out
    │   └── PlatformUnreachable            8   nothing could be sent
    ├── ForgeError                         8   the forge cannot be asked, or answers nonsense
    └── Unfinished                         9   interrupted with work under way, or an outcome unknown

Mistakes in manifests are not raised one by one: they are diagnostics (`reconciler.diagnostics`), and InvalidInput carries
them all. Libraries' exceptions are translated where the library is called and chained. Only `cli` catches this tree.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from reconciler.diagnostics import Diagnostic


class ReconcilerError(Exception):
    """The root. `next_step` is what the reader can do now, as a sentence or a command; `details` are listed before it."""

    exit_code: ClassVar[int] = 1
    next_step: str = "Run it again with --log-level debug and report what it prints."

    def __init__(self, message: str, *, next_step: str | None = None, details: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)
        if next_step is not None:
            self.next_step = next_step


class OutputError(ReconcilerError):
    """Ends nothing that was sent already: see `Session.show`."""

    next_step = "Everything that was sent is recorded: `reconciler status` shows it."


class UsageError(ReconcilerError):
    exit_code = 64
    next_step = "See --help."


class InvalidInput(ReconcilerError):
    exit_code = 3
    next_step = "Mend what is listed; nothing was changed."

    def __init__(self, message: str, *, diagnostics: Iterable[Diagnostic] = (), next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.diagnostics = tuple(diagnostics)
        if next_step is None and not self.diagnostics and type(self) is InvalidInput:
            self.next_step = "Mend it; nothing was changed."


class SourceError(InvalidInput):
    next_step = "Check the path; nothing was changed, because absence is not evidence."


class NotAtRest(SourceError):
    """`since` is when what keeps them from being read began."""

    def __init__(self, message: str, *, since: datetime, next_step: str) -> None:
        super().__init__(message, next_step=next_step)
        self.since = since


class AuthenticationError(ReconcilerError):
    exit_code = 4
    next_step = "Check the API key and its scopes in the platform's console."


class TlsTrustError(AuthenticationError):
    next_step = "Check the host name, or name the authority with caFile in the project file."


class GuardError(ReconcilerError):
    exit_code = 5
    next_step = "Read the plan; a person must allow this."


class StateError(ReconcilerError):
    exit_code = 6


class RunLockHeld(StateError):
    next_step = "Wait until that run has sent what it has to send, then run it again."


class StateMissing(StateError):
    next_step = "Run `reconciler init`; models that already run are taken over with `rollout.adopt: true`."


class StateCorrupt(StateError):
    next_step = "Run `reconciler state repair`; it keeps the damaged files."


class StateTooNew(StateError):
    next_step = "Install the newer reconciler."


class StateForeign(StateError):
    next_step = "Check `state`, `host` and `apiKey` in the project file."


class StalePlan(ReconcilerError):
    exit_code = 7
    next_step = "Make a new plan file and have it approved."


class DeploymentFailed(ReconcilerError):
    exit_code = 8
    next_step = "See `reconciler explain ENV/NAME`."


class PlatformUnreachable(DeploymentFailed):
    next_step = "Check the host, the network and the proxy; nothing was sent."


class ForgeError(ReconcilerError):
    exit_code = 8
    next_step = "Run the job again; the plan is in its log."


class Unfinished(ReconcilerError):
    exit_code = 9
    next_step = "See `reconciler status`; running apply again follows what is under way and repeats nothing."


# Several endings at once: the first of these that occurred is the exit code (DESIGN.md, rule 9).
PRECEDENCE = (1, 9, 4, 8, 5)


def worst(codes: Iterable[int]) -> int:
    """One exit code for several endings; 0 when there are none."""
    seen = set(codes)
    for code in PRECEDENCE:
        if code in seen:
            return code
    return max(seen, default=0)
