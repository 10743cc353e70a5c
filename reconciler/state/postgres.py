"""The state in PostgreSQL. `wiring` makes one store per environment; psycopg (extra `postgres`) speaks to the server.

    reconciler_state   a row an environment: the snapshot, and the number of the last record
    reconciler_log     a row a record since the snapshot; primary key (environment, seq)
    reconciler_lease   a row an environment whose run lock somebody has

The tables are made by `create`, in the schema that `search_path` names first. Every change is one statement, which does
nothing when the environment's last record is not the one it was decided on; so it may be sent again when its answer was lost.
All times are the server's.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.errors import (
    AuthenticationError,
    ReconcilerError,
    StateCorrupt,
    StateError,
    StateForeign,
    StateMissing,
    TlsTrustError,
    UsageError,
)
from reconciler.model.applied import Applied, Holder
from reconciler.model.records import AttemptRecord, Record
from reconciler.state.address import without_credentials
from reconciler.state.batch import new_write
from reconciler.state.format import (
    LOG_FORMAT,
    check_format,
    decode_batch,
    decode_snapshot,
    encode_record,
    encode_snapshot,
)
from reconciler.state.lease import Lease, LeaseLock, clock, decode_lease, encode_lease, held, new_lease
from reconciler.state.patience import GaveUp, Patience
from reconciler.state.store import Conflict, DurabilityLost, RunLockLost, Stored, check_successor

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

T = TypeVar("T")

LEASE_SECONDS = 60.0
_TRIES = 4  # of a statement whose connection breaks
_USUAL: Mapping[str, Any] = {
    "application_name": "reconciler",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}
# An acknowledged append must survive the server's crash, whatever its default says.
_SESSION = """
SET statement_timeout = '15s'; SET lock_timeout = '10s';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
"""

_TABLES = """
SELECT pg_advisory_xact_lock(hashtext('reconciler tables'));
CREATE TABLE IF NOT EXISTS reconciler_state (
  environment text PRIMARY KEY, format text NOT NULL, lineage text NOT NULL, serial bigint NOT NULL,
  snapshot_seq bigint NOT NULL, seq bigint NOT NULL, document text NOT NULL);
CREATE TABLE IF NOT EXISTS reconciler_log (
  environment text, seq bigint, write text NOT NULL, record text NOT NULL, PRIMARY KEY (environment, seq));
CREATE TABLE IF NOT EXISTS reconciler_lease (
  environment text PRIMARY KEY, id text NOT NULL, lease text NOT NULL, seconds double precision NOT NULL,
  renewed_at timestamptz NOT NULL);
"""
_CREATE = """
INSERT INTO reconciler_state (environment, format, lineage, serial, snapshot_seq, seq, document)
VALUES (%(environment)s, %(format)s, %(lineage)s, %(serial)s, %(seq)s, %(seq)s, %(document)s)
ON CONFLICT DO NOTHING
"""
_READ = """
SELECT format, document, snapshot_seq, seq, ARRAY(
  SELECT record FROM reconciler_log l WHERE l.environment = s.environment AND l.seq > s.snapshot_seq ORDER BY l.seq)
FROM reconciler_state s WHERE environment = %(environment)s
"""
_TAIL = """
SELECT snapshot_seq, seq, ARRAY(
  SELECT record FROM reconciler_log l WHERE l.environment = s.environment AND l.seq > %(after)s ORDER BY l.seq)
FROM reconciler_state s WHERE environment = %(environment)s
"""
_APPEND = """
WITH moved AS (
  UPDATE reconciler_state SET seq = seq + %(count)s, format = %(format)s
  WHERE environment = %(environment)s AND seq = %(seq)s RETURNING 1)
INSERT INTO reconciler_log (environment, seq, write, record)
SELECT %(environment)s, %(seq)s + n, %(write)s, record
FROM unnest(%(records)s::text[]) WITH ORDINALITY AS new (record, n) WHERE EXISTS (SELECT FROM moved)
"""
_WROTE = "SELECT write FROM reconciler_log WHERE environment = %(environment)s AND seq = %(first)s"
_HEAD = "SELECT lineage, serial, snapshot_seq, seq FROM reconciler_state WHERE environment = %(environment)s"
_COMPACT = """
WITH moved AS (
  UPDATE reconciler_state SET document = %(document)s, serial = %(serial)s, snapshot_seq = seq
  WHERE environment = %(environment)s AND seq = %(seq)s AND serial = %(serial)s - 1 AND lineage = %(lineage)s RETURNING 1),
gone AS (
  DELETE FROM reconciler_log WHERE environment = %(environment)s AND seq <= %(seq)s AND EXISTS (SELECT FROM moved))
SELECT 1 FROM moved
"""
_LOCK = """
INSERT INTO reconciler_lease (environment, id, lease, seconds, renewed_at)
VALUES (%(environment)s, %(id)s, %(lease)s, %(seconds)s, clock_timestamp())
ON CONFLICT (environment) DO UPDATE
SET id = excluded.id, lease = excluded.lease, seconds = excluded.seconds, renewed_at = clock_timestamp()
WHERE reconciler_lease.renewed_at + make_interval(secs => reconciler_lease.seconds) < clock_timestamp()
"""
_HELD = """
SELECT lease, extract(epoch FROM renewed_at - clock_timestamp())::float8 + seconds
FROM reconciler_lease WHERE environment = %(environment)s
"""
_RENEW = """
UPDATE reconciler_lease SET lease = %(lease)s, renewed_at = clock_timestamp()
WHERE environment = %(environment)s AND id = %(id)s
"""
_UNLOCK = "DELETE FROM reconciler_lease WHERE environment = %(environment)s AND id = %(id)s"
_ENVIRONMENTS = "SELECT environment FROM reconciler_state ORDER BY environment"

# What the server says in words only.
_REFUSES_US = re.compile(r"authentication|password|pg_hba|role .* does not exist|permission denied", re.IGNORECASE)
_UNTRUSTED = re.compile(r"certificate|root\.crt|SSL error", re.IGNORECASE)


class _Broken(StateError):
    """The connection broke, or the server went away: whether a statement was carried out is not known."""


class Database:
    """One connection to a server, made when it is needed and again when it breaks. Its owner sees to threads."""

    def __init__(self, url: str) -> None:
        self.shown = without_credentials(url).partition("?")[0]
        self._parameters = _parameters(url)
        self._connection: Connection[Any] | None = None
        self._patience = Patience()

    def hurry(self, seconds: float) -> None:
        """What is not answered by then is given up, and with it the connection."""
        self._patience.ends_in(seconds)

    def run(self, statement: str, /, **values: Any) -> Cursor[Any]:
        """One statement; it may be carried out several times, so it must not matter. Raises StateError."""
        return self._again(lambda connection: connection.execute(statement.encode(), values or None))

    def all_or_none(self, statements: str, statement: str, /, **values: Any) -> Cursor[Any]:
        """Several at once."""

        def work(connection: Connection[Any]) -> Cursor[Any]:
            with connection.transaction():
                connection.execute(statements.encode())
                return connection.execute(statement.encode(), values)

        return self._again(work)

    def _again(self, work: Callable[[Connection[Any]], Cursor[Any]]) -> Cursor[Any]:
        said: _Broken | None = None
        for _ in range(_TRIES):
            try:
                return self._patience.wait(lambda: work(self._connected()))
            except GaveUp as error:
                self._connection = None  # somebody may wait in it for ever
                raise _Broken(f"{self.shown} cannot be asked: {error}", next_step=error.next_step) from error
            except _errors() as error:
                failure = _translated(error, self.shown)
                self._drop_broken()
                if not isinstance(failure, _Broken):
                    raise failure from error
                said = failure
            except (AuthenticationError, StateError) as error:
                if said is None:
                    raise
                said = _Broken(str(error))
        raise said or _Broken(self.shown)

    def _connected(self) -> Connection[Any]:
        """Raises StateError, AuthenticationError: nothing was sent."""
        if self._connection is None:
            import psycopg

            try:
                connection = psycopg.connect(**self._parameters, autocommit=True, prepare_threshold=None)
            except psycopg.Error as error:
                raise _unconnected(error, self.shown) from error
            weakref.finalize(self, connection.close)
            self._connection = connection
            connection.execute(_SESSION)
        return self._connection

    def _drop_broken(self) -> None:
        if self._connection is not None and (self._connection.broken or self._connection.closed):
            self._connection.close()
            self._connection = None


def environments_in(database: Database) -> tuple[str, ...]:
    """The names of the environments that have a state in the database."""
    try:
        return tuple(name for (name,) in database.run(_ENVIRONMENTS))
    except StateMissing:
        return ()


class PostgresStore:
    """The state of one environment. May be shared between threads, not with a forked child."""

    def __init__(self, database: Database, environment: str) -> None:
        self._database = database
        self._environment = environment
        self._mutex = threading.RLock()
        self._lineage: str | None = None
        self._lock: LeaseLock | None = None
        self._lost: DurabilityLost | None = None

    @property
    def location(self) -> str:
        return f"{self._database.shown}#{self._environment}"

    @property
    def is_local(self) -> bool:
        return False

    def hurry(self, seconds: float) -> None:
        self._database.hurry(seconds)

    def create(self, snapshot: Applied) -> None:
        if snapshot.environment != self._environment:
            raise StateForeign(f"a state of {snapshot.environment} does not belong into {self.location}")
        if self.exists():
            raise StateForeign(f"{self.location} already holds a state")
        values = {
            "environment": self._environment,
            "format": LOG_FORMAT,
            "lineage": snapshot.lineage,
            "serial": snapshot.serial,
            "seq": snapshot.seq,
            "document": encode_snapshot(snapshot).decode(),
        }
        with self._mutex:
            self._database.all_or_none(_TABLES, _CREATE, **values)
            if self.read().snapshot.lineage != snapshot.lineage:
                raise StateForeign(f"{self.location} already holds a state")

    def exists(self) -> bool:
        try:
            return self._one(_HEAD) is not None
        except StateMissing:
            return False

    def read(self) -> Stored:
        row = self._require(_READ)
        format_, document, snapshot_seq, seq, records = row
        where = self.location
        check_format(format_, LOG_FORMAT, where=where)
        snapshot = decode_snapshot(document.encode(), where=where)
        if snapshot.environment != self._environment:
            raise StateForeign(f"{where} is the state of {snapshot.environment}, not of {self._environment}")
        if self._lineage not in {None, snapshot.lineage}:
            raise StateForeign(
                f"{where} was replaced meanwhile: its lineage is {snapshot.lineage}, not {self._lineage}"
            )
        self._lineage = snapshot.lineage
        if snapshot.seq != snapshot_seq:
            raise StateCorrupt(f"{where} is damaged: its snapshot is of record {snapshot.seq}, not {snapshot_seq}")
        return Stored(snapshot=snapshot, records=self._decoded(records, snapshot_seq, seq), seq=seq)

    def read_since(self, seq: int) -> tuple[tuple[Record, ...], int] | None:
        snapshot_seq, last, records = self._require(_TAIL, after=seq)
        if not snapshot_seq <= seq <= last:
            return None
        return self._decoded(records, seq, last), last

    def append(self, seq: int, records: Sequence[Record]) -> int:
        lock = self._lock
        if lock is not None and any(isinstance(record, AttemptRecord) for record in records):
            lock.must_hold()
        with self._mutex:
            if self._lost is not None:
                raise self._lost
            if not records:
                self._check(seq)
                return seq
            try:
                self._append(seq, records)
            except _Broken as error:
                step = "When the server can be reached again, `reconciler status` shows what was recorded."
                self._lost = DurabilityLost(
                    f"whether {self.location} was written cannot be told: {error}", next_step=step
                )
                raise self._lost from error
            return seq + len(records)

    def _append(self, seq: int, records: Sequence[Record]) -> None:
        write = new_write()
        lines = [encode_record(seq + n, record).decode() for n, record in enumerate(records, 1)]
        done = self._run(_APPEND, seq=seq, count=len(lines), write=write, records=lines, format=LOG_FORMAT)
        if done.rowcount == len(lines):
            return
        wrote = self._one(_WROTE, first=seq + 1)
        if wrote is None or wrote[0] != write:  # else it was this very write, whose answer was lost
            self._check(seq)
            raise Conflict(f"the log of {self.location} has moved on from {seq}")

    def compact(self, seq: int, snapshot: Applied) -> None:
        with self._mutex:
            lineage, serial, snapshot_seq, last = self._require(_HEAD)
            if last != seq:
                raise Conflict(f"the log of {self.location} stands at {last}, not at {seq}")
            before = replace(snapshot, environment=self._environment, lineage=lineage, serial=serial, seq=snapshot_seq)
            check_successor(before, seq, snapshot, self.location)
            if snapshot_seq == seq:
                return
            document = encode_snapshot(replace(snapshot, serial=serial + 1)).decode()
            done = self._run(_COMPACT, seq=seq, lineage=lineage, serial=serial + 1, document=document)
            if done.rowcount != 1:
                row = self._require(_READ)
                if row[1] != document:  # else it was this very write, whose answer was lost
                    raise Conflict(f"{self.location} was changed by somebody else")

    # The run lock

    def lock_run(self, holder: Holder) -> LeaseLock:
        began = clock()
        lease = new_lease(holder, LEASE_SECONDS)
        with self._mutex:
            self._require(_HEAD)
            self._run(_LOCK, id=lease.id, lease=encode_lease(lease).decode(), seconds=lease.seconds)
            found, left = self._held()
            if found is None:
                raise StateError(f"the run lock of {self.location} was broken at once", next_step="Run it again.")
            if found.id != lease.id:
                raise held(found, self.location, environment=self._environment, left=left)
            self._lock = LeaseLock(self, lease, began)
            return self._lock

    def sender_is_dead(self) -> bool:
        _, left = self._held()
        return left <= 0

    def lease(self) -> Lease | None:
        return self._held()[0]

    def break_lease(self, lease_id: str) -> bool:
        return self._run(_UNLOCK, id=lease_id).rowcount == 1

    def renew_lease(self, lease: Lease) -> None:
        done = self._run(_RENEW, id=lease.id, lease=encode_lease(lease).decode())
        if done.rowcount != 1:
            raise RunLockLost(f"the run lock of {self.location} was taken over or broken")

    def release_lease(self, lease: Lease) -> None:
        self.break_lease(lease.id)

    def _held(self) -> tuple[Lease | None, float]:
        row = self._one(_HELD)
        if row is None:
            return None, 0.0
        return decode_lease(row[0].encode(), where=f"the lease of {self.location}"), row[1]

    # Statements

    def _check(self, seq: int) -> None:
        last = self._require(_HEAD)[3]
        if last != seq:
            raise Conflict(f"the log of {self.location} stands at {last}, not at {seq}")

    def _decoded(self, records: Sequence[str], after: int, last: int) -> tuple[Record, ...]:
        batch = decode_batch(f"[{','.join(records)}]".encode(), where=self.location)
        if len(batch) != last - after or (batch and batch[0].seq != after + 1):
            raise StateCorrupt(f"{self.location} is damaged: of the records {after + 1} to {last} some are gone")
        return tuple(one.record for one in batch)

    def _require(self, statement: str, **values: Any) -> Any:
        row = self._one(statement, **values)
        if row is None:
            raise StateMissing(f"There is no state in {self.location}")
        return row

    def _one(self, statement: str, **values: Any) -> Any:
        with self._mutex:
            return self._run(statement, **values).fetchone()

    def _run(self, statement: str, **values: Any) -> Cursor[Any]:
        with self._mutex:
            return self._database.run(statement, environment=self._environment, **values)


# psycopg's errors -> ours


def _errors() -> tuple[type[Exception], ...]:
    import psycopg

    return (psycopg.Error,)


def _translated(error: Exception, where: str) -> ReconcilerError:
    state = getattr(error, "sqlstate", None)
    words = _words(error)
    if state is None or state[:2] in {"08", "40"} or state[:3] == "57P":
        return _Broken(f"{where} cannot be reached: {words}", next_step="Check the server and the network.")
    if state in {"42P01", "3F000"}:
        return StateMissing(f"There is no state in {where}")
    if state[:2] == "28" or state == "42501":
        step = "Check the user's password and its rights on the tables reconciler_…; `init` also makes them."
        return AuthenticationError(f"{where}: {words}", next_step=step)
    step = "Look at the server's log; nothing was changed."
    return StateError(f"{where}: {words}", next_step=step)


def _unconnected(error: Exception, where: str) -> ReconcilerError:
    words = _words(error)
    if _UNTRUSTED.search(words):
        return TlsTrustError(
            f"{where} is not trusted: {words}", next_step="Check sslmode and sslrootcert in the address."
        )
    if _REFUSES_US.search(words):
        step = "Check user and password: PGPASSWORD, a passfile, or the address; and what pg_hba.conf lets in."
        return AuthenticationError(f"{where} refuses the connection: {words}", next_step=step)
    return StateError(f"{where} cannot be reached: {words}", next_step="Check the address, the server and the network.")


def _words(error: Exception) -> str:
    return without_credentials(" ".join(str(error).split()))[:300] or type(error).__name__


def _parameters(url: str) -> dict[str, Any]:
    """Raises UsageError for an address that libpq does not read, or where psycopg is not installed."""
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:
        raise UsageError(
            "state: postgresql:// needs the package psycopg, which is not installed.",
            next_step="Install it: pip install 'reconciler[postgres]'",
        ) from error
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise UsageError(
            f"state: {without_credentials(url)!r}: {_words(error)}.", next_step="Write postgresql://HOST/DB."
        ) from error
    return {**_USUAL, **given}
