"""Was anything lost, repeated or misreported? Compares what four independent witnesses say.

- the simulator's log: what the platform received and did;
- the witness file of the fault injector: what each process wrote, synced and sent, in order;
- the state, as the program reads it now;
- what the program said on stdout and stderr.

`judge` holds at every moment when no process of the history runs. The names P1 to P12 are those of the promises in
docs/reliability.md.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.model.applied import (
    MAX_ATTEMPTS,
    Accepted,
    Applied,
    Attempt,
    NotProcessed,
    NotSent,
    Situation,
    Unanswered,
    Unknown,
    situation_of,
)
from reconciler.platform.endings import TERMINAL
from reconciler.state.format import encode_snapshot
from reconciler.state.store import DurabilityLost
from tests.crash.nursery import ForkedSimulator, wait_for

_ID = re.compile(r"ds-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KILLED = -9
# What a command may end with here. 1 is an error of ours, 64 a mistake of the test.
CODES = frozenset({0, 2, 5, 6, 7, 8, 9, KILLED})


@dataclass(slots=True)
class Said:
    """One process and what it said: `out` names two files. `code` is None while it runs.

    `alone` says that it applied and that nobody else ran meanwhile: what is in the state is what it left.
    """

    pid: int
    out: Path
    code: int | None = None
    alone: bool = False

    @property
    def stdout(self) -> str:
        return self._text(".out")

    @property
    def stderr(self) -> str:
        return self._text(".err")

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.stdout}\n{self.stderr}"

    def _text(self, suffix: str) -> str:
        path = self.out.with_name(self.out.name + suffix)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One POST that the process `pid` began: `attempt` is the id of the newest ATTEMPT of its path that was durable before its
    first byte, None when there was none. `seen` is the platform's line, None when only a part of the request left.
    """

    pid: int
    path: str
    attempt: str | None
    seen: dict[str, Any] | None

    @property
    def job(self) -> str | None:
        """The dock status id, when the platform started a job."""
        return self.seen["dockStatusId"] if self.seen is not None and self.seen["accepted"] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known. `records` by number as written, `durable` the numbers in the order of their syncs.

    `doubtful` are records that were not synced when the power was cut, or were on their way to a state elsewhere: they may be
    there or not.
    """

    calls: tuple[Call, ...]
    records: dict[int, dict[str, Any]]
    doubtful: tuple[dict[str, Any], ...]
    durable: tuple[int, ...]
    applied: Applied | None
    said: tuple[Said, ...]
    lines: tuple[dict[str, Any], ...]
    state: Path | None
    key: str
    attempts: dict[str, Attempt] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        *,
        witness: Path,
        simulator: ForkedSimulator,
        said: list[Said],
        applied: Applied | None,
        state: Path | None,
        key: str,
    ) -> Evidence:
        events, doubtful = _events(witness)
        records = {
            one["seq"]: one["record"] for event in events if event["event"] == "wrote" for one in event["records"]
        }
        durable = tuple(seq for event in events if event["event"] == "synced" for seq in event["numbers"])
        whole = Counter(event["path"] for event in events if event["event"] == "whole")
        lines = _all_received(simulator, whole)
        known = applied.entries.values() if applied is not None else ()
        return cls(
            calls=tuple(_calls(events, lines)),
            records=records,
            doubtful=doubtful,
            durable=durable,
            applied=applied,
            said=tuple(said),
            lines=tuple(lines),
            state=state,
            key=key,
            attempts={attempt.id: attempt for entry in known for attempt in entry.attempts},
        )

    @property
    def accepted(self) -> Counter[tuple[str, str]]:
        """How many jobs the platform started, by call and model id."""
        return Counter((line["call"], line["modelId"]) for line in self.lines if line["accepted"])

    def attempt_record(self, attempt: str) -> dict[str, Any]:
        """The newest ATTEMPT of that id."""
        found = [r for r in self.records.values() if r["type"] == "ATTEMPT" and r["attempt"] == attempt]
        return found[-1]


def judge(evidence: Evidence) -> None:
    """Raises AssertionError."""
    for check in CHECKS:
        check(evidence)


def _no_orphan(evidence: Evidence) -> None:
    """P1: the nth call on a path has the nth ATTEMPT before its first byte; no ATTEMPT is used twice."""
    used: set[str] = set()
    for call in evidence.calls:
        assert call.attempt is not None, f"{call.path} was sent without a durable ATTEMPT (P1)"
        assert call.attempt not in used, f"{call.attempt} was sent twice (P1)"
        used.add(call.attempt)


def _no_lost_id(evidence: Evidence) -> None:
    """P2: an id in a durable record is in the state, as long as the record matters."""
    text = _state_text(evidence)
    for seq in evidence.durable:
        record = evidence.records[seq]
        for found in _ids(record):
            assert found in text or _is_dropped(evidence, record, found), f"{found} was durable and is lost (P2)"
    for call in evidence.calls:
        attempt = evidence.attempts.get(call.attempt or "")
        if attempt is not None and isinstance(attempt.outcome, Accepted) and call.job is not None:
            assert attempt.outcome.dock_status_id == call.job, f"{attempt.id} has another job's id (P2)"


def _no_silent_doubt(evidence: Evidence) -> None:
    """P3: what was sent and has no answer in the log is unknown, and what has one is not."""
    written = (*evidence.records.values(), *evidence.doubtful)
    answered = {record["attempt"] for record in written if record["type"] in {"RAW", "NOT_SENT"}}
    decided = {r["decision"]["attempt"] for r in _decisions(evidence) if r["decision"]["kind"] == "resolve"}
    for call in evidence.calls:
        attempt = evidence.attempts.get(call.attempt or "")
        if attempt is not None and call.attempt not in answered | decided:
            assert isinstance(attempt.outcome, Unanswered), f"{attempt.id} is answered by nobody (P3)"
    certain = {
        evidence.records[seq]["attempt"]
        for seq in evidence.durable
        if evidence.records[seq]["type"] == "RAW" and evidence.records[seq]["outcome"]["type"] == "accepted"
    }
    for attempt in evidence.attempts.values():
        if attempt.id in certain:
            assert isinstance(attempt.outcome, Accepted), f"{attempt.id} was accepted and is now in doubt (P3)"


def _at_most_once(evidence: Evidence) -> None:
    """P4: at most one job per model, operation and generation."""
    started = Counter(
        (record["modelId"], record["operation"], record["generation"])
        for call in evidence.calls
        if call.job is not None and call.attempt is not None
        for record in [evidence.attempt_record(call.attempt)]
    )
    for what, count in started.items():
        assert count == 1, f"{what} was started {count} times (P4)"


def _no_false_certainty(evidence: Evidence) -> None:
    """P5: what the platform did is not called refused, and what it received at all is not called not sent."""
    for call in evidence.calls:
        attempt = evidence.attempts.get(call.attempt or "")
        if attempt is None or attempt.decided is not None:
            continue
        if call.job is not None:
            assert not isinstance(attempt.outcome, NotProcessed), f"{attempt.id} was processed (P5)"
        assert not isinstance(attempt.outcome, NotSent), f"{attempt.id} was sent (P5)"


def _never_announced_before_durable(evidence: Evidence) -> None:
    """P6: a dock status id that the program has named is in the state."""
    text = _state_text(evidence)
    dropped = {found for r in evidence.records.values() for found in _ids(r) if _is_dropped(evidence, r, found)}
    for said in evidence.said:
        lost = set(_ID.findall(said.stdout + said.stderr)) - set(_ID.findall(text)) - dropped
        recovered = {found for line in recovery_lines(said) for found in _ID.findall(line)}
        assert not lost - recovered, f"{lost} was announced and is not recorded (P6)"


def _monotone(evidence: Evidence) -> None:
    """P7: no number is acknowledged twice, none is taken back."""
    assert list(evidence.durable) == sorted(set(evidence.durable)), f"records out of order (P7): {evidence.durable}"
    if evidence.durable:
        assert evidence.applied is not None, "the state is gone (P7)"
        assert evidence.applied.seq >= evidence.durable[-1], "acknowledged records are gone (P7)"


def _no_secret(evidence: Evidence) -> None:
    """P11: the key is in nothing that was said or recorded."""
    for said in evidence.said:
        assert evidence.key not in said.stdout + said.stderr, "the key was printed (P11)"
    assert evidence.key not in json.dumps([*evidence.records.values(), *evidence.doubtful]), "the key is recorded (P11)"
    assert evidence.key not in _state_text(evidence), "the key is in the state (P11)"
    for path in evidence.state.rglob("*") if evidence.state is not None else ():
        assert not path.is_file() or evidence.key.encode() not in path.read_bytes(), f"the key is in {path} (P11)"


def _as_planned(evidence: Evidence) -> None:
    """P12: what the platform received is byte for byte what its ATTEMPT says."""
    for call in evidence.calls:
        if call.seen is not None and call.attempt is not None:
            record = evidence.attempt_record(call.attempt)
            assert call.seen["body"] == (record["body"] or ""), f"{call.attempt}: another body was sent (P12)"


def _in_words(evidence: Evidence) -> None:
    """Every end is one of the exit table, told in words."""
    for said in evidence.said:
        assert said.code in CODES, f"unexpected end (exit code): {said}"
        assert "Traceback" not in said.stderr + said.stdout, f"a traceback: {said}"
        assert "unexpected error" not in said.stderr + said.stdout, f"an error of ours: {said}"


def _codes_are_true(evidence: Evidence) -> None:
    """Rule 9 of the design: whoever leaves something in doubt or under way says 9, and whoever saw a failure 8 or 9."""
    said = evidence.said[-1] if evidence.said else None
    if said is None or not said.alone or said.code == KILLED or evidence.applied is None:
        return
    own = {call.attempt for call in evidence.calls if call.pid == said.pid}
    entries = evidence.applied.entries.values()
    open_ends = [e for e in entries if situation_of(e) in {Situation.UNKNOWN, Situation.RUNNING}]
    if said.code == 0:
        assert not open_ends, f"it ended with 0, and {open_ends[0].name} is not over (exit code): {said}"
    if said.code == 9:
        is_lost = recovery_lines(said) or DurabilityLost.next_step in said.stdout + said.stderr
        assert open_ends or is_lost, f"it ended with 9, and nothing is open (exit code): {said}"
    for entry in entries:
        if entry.last is None or entry.last.id not in own:
            continue
        match situation_of(entry):
            case Situation.UNKNOWN:
                assert said.code == 9, f"it left {entry.name} in doubt (exit code): {said}"
            case Situation.REFUSED | Situation.FAILED:
                assert said.code in {8, 9}, f"{entry.name} came to nothing (exit code): {said}"


CHECKS = (
    _in_words,
    _no_orphan,
    _no_lost_id,
    _no_silent_doubt,
    _at_most_once,
    _no_false_certainty,
    _never_announced_before_durable,
    _monotone,
    _no_secret,
    _as_planned,
    _codes_are_true,
)


# Reading


def _events(witness: Path) -> tuple[list[dict[str, Any]], tuple[dict[str, Any], ...]]:
    """What the injector told, in order; and the records that a power cut may have taken back, which are left out."""
    found: list[dict[str, Any]] = []
    unsynced: list[dict[str, Any]] = []
    doubtful: list[dict[str, Any]] = []
    if not witness.exists():
        return found, ()
    for line in witness.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "wrote":
            unsynced.append(event)
        elif event["event"] == "synced":
            unsynced.clear()
        elif event["event"] == "appending":
            doubtful += [one["record"] for one in event["records"]]
        elif event["event"] == "power cut":
            found = [other for other in found if other not in unsynced]
            doubtful += [one["record"] for other in unsynced for one in other["records"]]
            unsynced.clear()
        found.append(event)
    return found, tuple(doubtful)


def _all_received(simulator: ForkedSimulator, whole: Counter[str]) -> list[dict[str, Any]]:
    """The platform's lines about calls that change something, once it has seen every request that left whole."""
    lines: list[dict[str, Any]] = []

    def received() -> bool:
        lines[:] = [line for line in simulator.lines if line.get("method") == "POST"]
        return len(lines) >= whole.total()

    wait_for(received, f"the platform has seen {whole.total()} requests")
    seen = Counter(_path_of(line) for line in lines)
    assert seen == whole, f"the platform saw {seen - whole}, and nobody sent it; or never saw {whole - seen}"
    return lines


def _calls(events: Iterable[dict[str, Any]], lines: Iterable[dict[str, Any]]) -> Iterator[Call]:
    """Every POST in the order of their first bytes. A model has one call at a time, so each path is a story of its own."""
    seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        seen[_path_of(line)].append(line)
    written: dict[int, dict[str, Any]] = {}
    claimed: dict[str, str] = {}
    begun: list[tuple[int, str, str | None, bool]] = []
    for event in events:
        match event:
            case {"event": "wrote", "records": records}:
                written |= {one["seq"]: one["record"] for one in records}
            case {"event": "synced", "numbers": numbers}:
                claims = [written[seq] for seq in numbers if written[seq]["type"] == "ATTEMPT"]
                claimed |= {record["path"]: record["attempt"] for record in claims}
            case {"event": "post", "path": path, "pid": pid}:
                begun.append((pid, path, claimed.get(path), False))
            case {"event": "whole", "path": path}:
                last = max(number for number, call in enumerate(begun) if call[1] == path)
                begun[last] = (*begun[last][:3], True)
    for pid, path, attempt, whole in begun:
        yield Call(pid=pid, path=path, attempt=attempt, seen=seen[path].pop(0) if whole else None)


def _path_of(line: dict[str, Any]) -> str:
    return f"{line['path']}?{line['query']}" if line["query"] else str(line["path"])


def _state_text(evidence: Evidence) -> str:
    return "" if evidence.applied is None else encode_snapshot(evidence.applied).decode()


def _decisions(evidence: Evidence) -> Iterator[dict[str, Any]]:
    written = (*evidence.records.values(), *evidence.doubtful)
    return (record for record in written if record["type"] == "DECISION")


def _ids(record: dict[str, Any]) -> set[str]:
    return set(_ID.findall(json.dumps(record)))


def _is_dropped(evidence: Evidence, record: dict[str, Any], found: str) -> bool:
    """Whether the state may forget an id that the record holds: its attempt has no room in the entry any more, or its
    outcome is certain and the id is another one, which stood in the reply's text.
    """
    attempt = evidence.attempts.get(record.get("attempt", ""))
    if attempt is not None:
        over = isinstance(attempt.outcome, Accepted) and attempt.outcome.status in TERMINAL
        return (over or attempt.decided is not None) and getattr(attempt.outcome, "dock_status_id", None) != found
    if "attempt" not in record or evidence.applied is None:
        return False
    model_id = evidence.attempt_record(record["attempt"])["modelId"]
    entry = evidence.applied.entries.get(model_id)  # nobody forgets an entry in these histories
    return entry is not None and len(entry.attempts) >= MAX_ATTEMPTS


def recovery_lines(said: Said) -> list[str]:
    return [line for line in said.stderr.splitlines() if line.startswith("RECOVERY ")]


def unknown(evidence: Evidence) -> list[str]:
    """The attempts in doubt."""
    return [a.id for a in evidence.attempts.values() if isinstance(a.outcome, Unanswered | Unknown)]
