"""The judge notices: evidence of a sound history, spoiled one promise at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.model.applied import Accepted, Applied, NotProcessed, NotSent, RefusalKind, Unanswered
from tests.crash.history import APPLY, History, Wanted, told, write_project
from tests.crash.judge import CHECKS, KILLED, Evidence, judge
from tests.crash.nursery import Nursery

pytestmark = pytest.mark.crash

MODELS = (Wanted(name="a"), Wanted(name="b"))


@pytest.fixture(scope="module")
def sound(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Two deployments, applied in peace."""
    folder = tmp_path_factory.mktemp("history")
    history = History(nursery, folder, write_project(folder / "project", MODELS), told())
    assert history.run(APPLY).code == 0
    evidence = history.judge()
    history.close()
    return evidence


def _with(evidence: Evidence, **entry: object) -> Evidence:
    """The state says something else of `cm-a`, as `fields` of its last attempt."""
    applied = _applied(evidence)
    old = applied.entries["cm-a"]
    assert old.last is not None
    attempt = replace(old.last, **entry)  # type: ignore[arg-type]
    entries = {**applied.entries, "cm-a": replace(old, attempts=(*old.attempts[:-1], attempt))}
    known = {**evidence.attempts, attempt.id: attempt}
    return replace(evidence, applied=replace(applied, entries=entries), attempts=known)


def _applied(evidence: Evidence) -> Applied:
    assert evidence.applied is not None
    return evidence.applied


def _sent_without_a_record(evidence: Evidence) -> Evidence:
    return replace(evidence, calls=(replace(evidence.calls[0], attempt=None), *evidence.calls[1:]))


def _forgotten(evidence: Evidence) -> Evidence:
    applied = _applied(evidence)
    entries = {model: entry for model, entry in applied.entries.items() if model != "cm-a"}
    gone = {attempt.id for attempt in applied.entries["cm-a"].attempts}
    known = {name: attempt for name, attempt in evidence.attempts.items() if name not in gone}
    return replace(evidence, applied=replace(applied, entries=entries), attempts=known)


def _another_id(evidence: Evidence) -> Evidence:
    return _with(evidence, outcome=Accepted(dock_status_id="ds-00000000-0000-0000-0000-00000000000a", status="SUCCESS"))


def _in_doubt(evidence: Evidence) -> Evidence:
    return _with(evidence, outcome=Unanswered())


def _twice(evidence: Evidence) -> Evidence:
    return replace(evidence, calls=(*evidence.calls, evidence.calls[0]))


def _called_refused(evidence: Evidence) -> Evidence:
    return _with(evidence, outcome=NotProcessed(kind=RefusalKind.REFUSED, message="no", status_code=400))


def _called_not_sent(evidence: Evidence) -> Evidence:
    return _with(evidence, outcome=NotSent(error="refused"))


def _taken_back(evidence: Evidence) -> Evidence:
    return replace(evidence, applied=replace(_applied(evidence), seq=1))


def _another_body(evidence: Evidence) -> Evidence:
    call = evidence.calls[0]
    assert call.seen is not None
    spoiled = replace(call, seen={**call.seen, "body": "{}"})
    return replace(evidence, calls=(spoiled, *evidence.calls[1:]))


def _announced(evidence: Evidence) -> Evidence:
    """An id that nobody recorded."""
    said = evidence.said[-1]
    out = said.out.with_name("announced")
    out.with_suffix(".out").write_text(f"{said.stdout}ds-00000000-0000-0000-0000-00000000000b\n", encoding="utf-8")
    return replace(evidence, said=(replace(said, out=out),))


def _key_printed(evidence: Evidence) -> Evidence:
    return replace(evidence, key="Plan: production")


def _key_recorded(evidence: Evidence) -> Evidence:
    return replace(evidence, key="g5.xlarge\\")  # as a body stands in a record


def _ended_with(code: int) -> Callable[[Evidence], Evidence]:
    def spoil(evidence: Evidence) -> Evidence:
        return replace(evidence, said=(replace(evidence.said[-1], code=code),))

    return spoil


SPOILED = [
    (_sent_without_a_record, "P1"),
    (_twice, "P1"),
    (_twice, "P4"),
    (_forgotten, "P2"),
    (_another_id, "P2"),
    (_in_doubt, "P3"),
    (_called_refused, "P5"),
    (_called_not_sent, "P5"),
    (_announced, "P6"),
    (_taken_back, "P7"),
    (_key_printed, "P11"),
    (_key_recorded, "P11"),
    (_another_body, "P12"),
    (_ended_with(1), "exit code"),
    (_ended_with(9), "exit code"),
]


@pytest.mark.parametrize(("spoil", "promise"), SPOILED, ids=lambda one: getattr(one, "__name__", str(one)))
def test_what_is_spoiled_is_noticed(spoil: Callable[[Evidence], Evidence], promise: str, sound: Evidence) -> None:
    """One thing is untrue, and the check of that promise says so, whatever the others say."""
    noticed = []
    for check in CHECKS:
        try:
            check(spoil(sound))
        except AssertionError as error:
            noticed.append(str(error))
    assert any(f"({promise})" in why for why in noticed), noticed
    with pytest.raises(AssertionError):
        judge(spoil(sound))


def test_a_killed_process_says_nothing(sound: Evidence) -> None:
    """Its exit code is the signal's, and is compared with nothing."""
    judge(_ended_with(KILLED)(sound))
