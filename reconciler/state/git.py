"""The state on a branch of a git repository: for pipelines that have nothing but the repository.

`wiring` makes one store per environment. A commit an append, pushed only if the branch has not moved (`gitremote`):

    <environment>/state.json               the snapshot
    <environment>/log/<first record>.json  one append
    <environment>/lock.json                the run lock, while somebody has it

Everything is decided on a commit that was read, and the push makes it count only if that commit is still the newest; so there
is nothing that two could do at once. A push whose answer was lost is looked for in the branch before anything is said.

Git has no clock. The run lock says when it was renewed by the holder's clock, and runs out by the finder's; the holder claims
nothing by it for two minutes before that, so the two clocks may differ by as much.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from reconciler.errors import ReconcilerError, StateCorrupt, StateError, StateForeign, StateMissing
from reconciler.model.applied import Applied, Holder
from reconciler.model.records import AttemptRecord, Record
from reconciler.state.batch import Batch, decode_owned, encode, new_write
from reconciler.state.format import decode_snapshot, encode_snapshot
from reconciler.state.gitremote import GitRemote, Push, Pushed
from reconciler.state.lease import Lease, LeaseLock, clock, held, new_lease
from reconciler.state.shapes import public, shape_of
from reconciler.state.store import Conflict, DurabilityLost, RunLockLost, Stored, check_successor

DEFAULT_BRANCH = "reconciler-state"
LEASE_SECONDS = 300.0
_MOVES = 100  # how often others may be faster before we give up
_SENDS = 3  # of one push that gets no answer

_SNAPSHOT = "state.json"
_LOCK = "lock.json"
_LOG = "log/"


class _Doubt(StateError):
    """A push may or may not have got there, and cannot be looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatedLease:
    """`lock.json`."""

    __pydantic_config__ = {"strict": True, "extra": "forbid", "alias_generator": public}  # noqa: RUF012 - pydantic's

    lease: Lease
    renewed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tip:
    """The branch at one commit, and this environment in it. `stored` is None when the environment has no state there."""

    commit: str | None
    files: Mapping[str, str]
    stored: Stored | None = None
    lock: _DatedLease | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """Files of the environment to write, or to remove where they are None, and what the commit says."""

    files: Mapping[str, bytes | None]
    why: str


def environments_in(remote: GitRemote) -> tuple[str, ...]:
    """The names of the environments that have a state on the branch."""
    commit = remote.fetch()
    if commit is None:
        return ()
    return tuple(name for name in remote.folders(commit) if _SNAPSHOT in remote.files(commit, name))


class GitStore:
    """The state of one environment. May be shared between threads, not with a forked child."""

    def __init__(
        self,
        remote: GitRemote,
        environment: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._remote = remote
        self._environment = environment
        self._now = now
        self._mutex = threading.RLock()
        self._tip: _Tip | None = None
        self._decoded: dict[str, Any] = {}  # by blob; what git names by its content never changes
        self._lineage: str | None = None
        self._lock: LeaseLock | None = None
        self._lost: DurabilityLost | None = None

    @property
    def location(self) -> str:
        return f"{self._remote.shown}/{self._environment}"

    @property
    def is_local(self) -> bool:
        return False

    def create(self, snapshot: Applied) -> None:
        if snapshot.environment != self._environment:
            raise StateForeign(f"a state of {snapshot.environment} does not belong into {self.location}")

        def decide(tip: _Tip) -> _Change:
            if tip.files:
                raise StateForeign(f"{self.location} already holds a state")
            if tip.commit is not None and not self._is_of_states(tip.commit):
                raise StateForeign(
                    f"the branch of {self._remote.shown} is there and holds something else",
                    next_step="Name another branch: git:BRANCH. It is made when it is not there.",
                )
            return _Change(files={_SNAPSHOT: encode_snapshot(snapshot)}, why="a new state")

        with self._mutex:
            self._change(self._fetched(), decide)

    def exists(self) -> bool:
        with self._mutex:
            return bool((self._tip or self._first()).files)

    def read(self) -> Stored:
        with self._mutex:
            return self._stored(self._first())

    def read_since(self, seq: int) -> tuple[tuple[Record, ...], int] | None:
        with self._mutex:
            stored = self._stored(self._fetched())
        if not stored.snapshot.seq <= seq <= stored.seq:
            return None
        return stored.records[seq - stored.snapshot.seq :], stored.seq

    def append(self, seq: int, records: Sequence[Record]) -> int:
        lock = self._lock
        if lock is not None and any(isinstance(record, AttemptRecord) for record in records):
            lock.must_hold()

        def decide(tip: _Tip) -> _Change | None:
            stored = self._at(tip, seq)
            return self._append_change(stored, records) if records else None

        with self._mutex:
            if self._lost is not None:
                raise self._lost
            known = self._tip
            is_current = known is not None and known.stored is not None and known.stored.seq == seq and bool(records)
            try:
                self._change(known if known is not None and is_current else self._fetched(), decide)
            except _Doubt as doubt:
                self._lost = DurabilityLost(str(doubt), next_step=doubt.next_step)
                raise self._lost from doubt
        return seq + len(records)

    def _append_change(self, stored: Stored, records: Sequence[Record]) -> _Change:
        first, last = stored.seq + 1, stored.seq + len(records)
        data = encode((self._environment, stored.snapshot.lineage), first, records, new_write())
        kinds = ", ".join(record.type for record in records[:8])
        why = f"record {last}: {kinds}" if first == last else f"records {first} to {last}: {kinds}"
        return _Change(files={_log_name(first): data}, why=why)

    def compact(self, seq: int, snapshot: Applied) -> None:
        def decide(tip: _Tip) -> _Change | None:
            before = self._at(tip, seq).snapshot
            check_successor(before, seq, snapshot, self.location)
            if before.seq == seq:
                return None
            after = encode_snapshot(replace(snapshot, serial=before.serial + 1))
            gone = dict.fromkeys((name for name in tip.files if name.startswith(_LOG)), None)
            return _Change(files={_SNAPSHOT: after, **gone}, why=f"folded up to record {seq}")

        with self._mutex:
            self._change(self._fetched(), decide)

    # The run lock

    def lock_run(self, holder: Holder) -> LeaseLock:
        began = clock()
        lease = new_lease(holder, LEASE_SECONDS)

        def decide(tip: _Tip) -> _Change:
            self._stored(tip)
            left = self._left(tip.lock)
            if tip.lock is not None and left > 0:
                raise held(tip.lock.lease, self.location, environment=self._environment, left=left)
            return self._lock_change(lease, f"locked by {_in_a_line(str(holder))}")

        with self._mutex:
            self._change(self._fetched(), decide)
            self._lock = LeaseLock(self, lease, began)
            return self._lock

    def sender_is_dead(self) -> bool:
        with self._mutex:
            return self._left(self._fetched().lock) <= 0

    def lease(self) -> Lease | None:
        with self._mutex:
            lock = self._fetched().lock
            return lock.lease if lock is not None else None

    def break_lease(self, lease_id: str) -> bool:
        return self._end_lease(lease_id, "lock broken by hand")

    def renew_lease(self, lease: Lease) -> None:
        def decide(tip: _Tip) -> _Change:
            if tip.lock is None or tip.lock.lease.id != lease.id:
                raise RunLockLost(f"the run lock of {self.location} was taken over or broken")
            return self._lock_change(lease, "lock renewed")

        with self._mutex:
            self._change(self._tip or self._fetched(), decide)

    def release_lease(self, lease: Lease) -> None:
        self._end_lease(lease.id, "lock released")

    def _end_lease(self, lease_id: str, why: str) -> bool:
        done = True

        def decide(tip: _Tip) -> _Change | None:
            nonlocal done
            done = tip.lock is not None and tip.lock.lease.id == lease_id
            return _Change(files={_LOCK: None}, why=why) if done else None

        with self._mutex:
            self._change(self._fetched(), decide)
        return done

    def _lock_change(self, lease: Lease, why: str) -> _Change:
        dated = _DatedLease(lease=lease, renewed_at=self._now())
        return _Change(files={_LOCK: shape_of(_DatedLease).dump(dated, indent=1) + b"\n"}, why=why)

    def _left(self, lock: _DatedLease | None) -> float:
        """Seconds until it runs out. From the future it is as good as new: some clock is wrong."""
        if lock is None:
            return 0.0
        age = (self._now() - lock.renewed_at).total_seconds()
        return lock.lease.seconds - max(age, 0.0)

    def hurry(self, seconds: float) -> None:
        self._remote.hurry(seconds)

    # Reading

    def _first(self) -> _Tip:
        """At first what was fetched a moment ago to look which environments there are: one fetch, and one moment, for all."""
        if self._tip is None and self._remote.fetched is not None:
            self._tip = self._read(self._remote.fetched)
            return self._tip
        return self._fetched()

    def _fetched(self) -> _Tip:
        commit = self._remote.fetch()
        if self._tip is None or self._tip.commit != commit:
            self._tip = self._read(commit)
        return self._tip

    def _read(self, commit: str | None) -> _Tip:
        files = self._remote.files(commit, self._environment) if commit is not None else {}
        missing = [blob for blob in files.values() if blob not in self._decoded]
        contents = self._remote.blobs(list(dict.fromkeys(missing)))
        lock = None
        if _LOCK in files:
            lock = self._once(files[_LOCK], contents, self._decode_lock)
        stored = self._decode_all(files, contents) if files.keys() - {_LOCK} else None
        self._decoded = {blob: value for blob, value in self._decoded.items() if blob in files.values()}
        return _Tip(commit=commit, files=files, stored=stored, lock=lock)

    def _decode_all(self, files: Mapping[str, str], contents: Mapping[str, bytes]) -> Stored:
        if _SNAPSHOT not in files:
            raise StateCorrupt(
                f"{self.location}/{_SNAPSHOT} is gone, and the files beside it are there", next_step=_MEND
            )
        snapshot: Applied = self._once(files[_SNAPSHOT], contents, self._decode_snapshot)
        owner = (snapshot.environment, snapshot.lineage)
        records: list[Record] = []
        for name in sorted(name for name in files if name.startswith(_LOG)):
            next_seq = snapshot.seq + len(records) + 1
            where = f"{self.location}/{name}"

            def decode(data: bytes, where: str = where, next_seq: int = next_seq) -> Batch:
                return decode_owned(data, owner, next_seq, where=where)

            batch: Batch = self._once(files[name], contents, decode)
            if batch.first_seq != next_seq:
                raise StateCorrupt(f"{where} is damaged: record {next_seq} is not there", next_step=_MEND)
            records.extend(one.record for one in batch.records)
        return Stored(snapshot=snapshot, records=tuple(records), seq=snapshot.seq + len(records))

    def _once(self, blob: str, contents: Mapping[str, bytes], decode: Callable[[bytes], Any]) -> Any:
        if blob not in self._decoded:
            try:
                self._decoded[blob] = decode(contents[blob])
            except StateCorrupt as error:
                error.next_step = _MEND
                raise
        return self._decoded[blob]

    def _decode_snapshot(self, data: bytes) -> Applied:
        where = f"{self.location}/{_SNAPSHOT}"
        snapshot = decode_snapshot(data, where=where)
        if snapshot.environment != self._environment:
            raise StateForeign(f"{where} is the state of {snapshot.environment}, not of {self._environment}")
        if self._lineage not in {None, snapshot.lineage}:
            raise StateForeign(
                f"{where} was replaced meanwhile: its lineage is {snapshot.lineage}, not {self._lineage}"
            )
        self._lineage = snapshot.lineage
        return snapshot

    def _decode_lock(self, data: bytes) -> _DatedLease:
        where = f"{self.location}/{_LOCK}"
        try:
            dated: _DatedLease = shape_of(_DatedLease).load(data)
        except ValueError as error:
            raise StateCorrupt(f"{where} is damaged: {error}") from None
        return dated

    def _stored(self, tip: _Tip) -> Stored:
        if tip.stored is None:
            raise StateMissing(f"There is no state in {self.location}")
        return tip.stored

    def _at(self, tip: _Tip, seq: int) -> Stored:
        stored = self._stored(tip)
        if stored.seq != seq:
            raise Conflict(f"the log of {self.location} stands at {stored.seq}, not at {seq}")
        return stored

    def _is_of_states(self, commit: str) -> bool:
        """Whether the branch holds states of other environments, and not somebody's work."""
        folders = self._remote.folders(commit)
        return bool(folders) and all(_SNAPSHOT in self._remote.files(commit, name) for name in folders)

    # Writing

    def _change(self, tip: _Tip, decide: Callable[[_Tip], _Change | None]) -> None:
        """Decide on the tip and push; when the branch has moved meanwhile, decide anew on what it has become.

        Raises what `decide` raises, StateError when the remote refuses, _Doubt when there is no telling.
        """
        for _ in range(_MOVES):
            change = decide(tip)
            if change is None:
                return
            files = {f"{self._environment}/{name}": data for name, data in change.files.items()}
            commit = self._remote.commit(tip.commit, files, f"{self._environment}: {change.why} [skip ci]\n")
            push = self._push(tip.commit, commit)
            if push.what is Pushed.DONE:
                self._tip = self._read(commit)
                return
            before, tip = tip, self._fetched()
            if tip.commit == before.commit and not _is_race(push):
                raise self._refused(push)
        raise StateError(
            f"{self.location} cannot be written: others were faster {_MOVES} times in a row", next_step="Run it again."
        )

    def _push(self, parent: str | None, commit: str) -> Push:
        """Done or refused. The same commit may be pushed any number of times: it counts once. Raises _Doubt."""
        push, doubtful = self._remote.push(parent, commit), False
        for _ in range(_SENDS):
            if push.what is Pushed.DONE or (push.what is Pushed.REFUSED and not doubtful):
                return push
            # What was sent without an answer may still get there, so that what is sent after it is refused because of it.
            doubtful = True
            try:
                found = self._look_for(commit, parent)
                if found is not None:
                    return found
                if push.what is Pushed.REJECTED:
                    return replace(push, what=Pushed.REFUSED)
                push = self._remote.push(parent, commit)
            except _Doubt:
                raise
            except ReconcilerError as error:
                raise self._doubt(str(error)) from error
        raise self._doubt(push.said)

    def _look_for(self, commit: str, parent: str | None) -> Push | None:
        """Whether a commit got there. None: it is not there yet, and nobody else was. Raises _Doubt, StateError."""
        tip = self._remote.fetch()
        if tip == commit:
            return Push(what=Pushed.DONE)
        if tip == parent:
            return None
        holds = self._remote.holds(commit, parent)
        if holds is None:
            raise self._doubt("the branch has moved on too far to tell")
        return Push(what=Pushed.DONE if holds else Pushed.REFUSED, said="(stale info)")

    def _doubt(self, said: str) -> _Doubt:
        return _Doubt(
            f"whether {self.location} was written cannot be told: {_in_a_line(said)}",
            next_step="When the repository can be reached again, `reconciler status` shows what was recorded.",
        )

    def _refused(self, push: Push) -> StateError:
        said = "; ".join(line.strip() for line in push.said.splitlines() if line.startswith(("!", "remote:")))
        return StateError(
            f"{self._remote.shown} cannot be written: {_in_a_line(said) or 'the remote refuses'}",
            next_step="Is the branch protected? The job needs to push to it; nothing was changed.",
        )


_MEND = "Look at the branch's history; `git revert` of the commit that did it brings the file back."


def _is_race(push: Push) -> bool:
    """Refused because somebody else was at it in the same moment, though what we see now is what we saw before."""
    words = ("stale info", "cannot lock ref", "failed to update ref", "reference already exists", "fetch first")
    return any(word in push.said for word in words)


def _log_name(first_seq: int) -> str:
    return f"{_LOG}{first_seq:020d}.json"


def _in_a_line(text: str) -> str:
    return json.dumps(" ".join(text.split()))[1:-1][:400]
