"""The state in PostgreSQL: connections that break at any moment, servers that refuse, and what is not a state."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from reconciler.errors import (
    AuthenticationError,
    StateCorrupt,
    StateError,
    StateForeign,
    StateMissing,
    StateTooNew,
    UsageError,
)
from reconciler.state.fold import fold
from reconciler.state.format import LOG_FORMAT
from reconciler.state.postgres import Database, PostgresStore, environments_in
from reconciler.state.store import DurabilityLost
from tests.support.records import HOLDER, empty, note
from tests.support.servers_state import PostgresServer
from tests.support.tcp_proxy import Direction, Proxy, relay


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_schema()


@pytest.fixture
def proxy(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    name = ".s.PGSQL.5432"
    with relay(postgres.folder / name, tmp_path_factory.mktemp("p") / name) as proxy:
        yield proxy


def through(proxy: Proxy, url: str, server: PostgresServer) -> str:
    assert proxy.at is not None
    return url.replace(str(server.folder), str(proxy.at.parent))


def store_of(url: str, environment: str = "production") -> PostgresStore:
    return PostgresStore(Database(url), environment)


def begun(url: str) -> PostgresStore:
    store = store_of(url)
    store.create(empty())
    return store


def test_every_cut_of_an_append(proxy: Proxy, url: str, postgres: PostgresServer) -> None:
    """Wherever the connection breaks, request or answer, the append counts exactly once and is known to."""
    begun(url)
    store = store_of(through(proxy, url, postgres))
    seq = store.read().seq
    for cut in range(1, 9):
        for direction in ("to server", "to client"):

            def once(number: int, seen: Direction, cut: int = cut, only: str = direction) -> bool:
                if number < cut or seen != only:
                    return True
                proxy.on_piece = lambda *_: True
                return False

            proxy.begin(once)
            seq = store.append(seq, [note(seq + 1)])
    stored = store_of(url).read()
    assert stored.seq == seq == 16
    assert set(fold(stored.snapshot, stored.records).entries) == {f"cm-{n}" for n in range(1, 17)}


@pytest.mark.parametrize("direction", ["to server", "to client"])
def test_cuts_of_everything_else(proxy: Proxy, url: str, postgres: PostgresServer, direction: str) -> None:
    """Making, reading, compacting, locking, renewing and releasing survive a broken connection, once each."""
    store = store_of(through(proxy, url, postgres))

    def cut() -> None:
        def once(_: int, seen: Direction) -> bool:
            if seen != direction:
                return True
            proxy.on_piece = lambda *_: True
            return False

        proxy.begin(once)

    assert not store.exists()
    cut()
    store.create(empty())
    store.append(0, [note(1)])
    cut()
    stored = store.read()
    cut()
    store.compact(1, fold(stored.snapshot, stored.records))
    assert store.read().snapshot.serial == 1
    cut()
    lock = store.lock_run(HOLDER)
    cut()
    lock.renew()
    assert not store_of(url).sender_is_dead()
    cut()
    lock.release()
    assert store_of(url).sender_is_dead()


def test_without_any_answer_nothing_is_said(proxy: Proxy, url: str, postgres: PostgresServer) -> None:
    """A server that is gone leaves the append in doubt, and the handle writes nothing more."""
    begun(url)
    store = store_of(through(proxy, url, postgres))
    store.read()
    proxy.begin(lambda *_: False)
    with pytest.raises(DurabilityLost, match="cannot be told"):
        store.append(0, [note(1)])
    proxy.begin()
    with pytest.raises(DurabilityLost):
        store.append(0, [note(1)])
    assert store_of(url).append(0, [note(1)]) == 1


def test_an_acknowledged_append_survives_the_server(url: str) -> None:
    """Whatever the server's default, an append waits until it is on the disk."""
    begun(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER ROLE postgres SET synchronous_commit = off")
        try:
            database = Database(url)
            assert database.run("SHOW synchronous_commit").fetchone() == ("on",)
        finally:
            connection.execute("ALTER ROLE postgres RESET synchronous_commit")


# What is not as it should be


def test_a_state_of_version_1(url: str) -> None:
    """It is read as it is, and what is appended gives it the tag that an earlier program refuses."""
    begun(url).append(0, [note(1)])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE reconciler_state SET format = 'reconciler/log/v1'")
        store = store_of(url)
        assert store.read().records == (note(1),)
        store.append(1, [note(2)])
        assert connection.execute("SELECT format FROM reconciler_state").fetchone() == (LOG_FORMAT,)
        connection.execute("UPDATE reconciler_state SET format = 'reconciler/log/v3'")
    with pytest.raises(StateTooNew):
        store_of(url).read()


def test_nothing_is_made_by_looking(url: str) -> None:
    """Without `create` there are no tables, and that means no state."""
    assert environments_in(Database(url)) == ()
    assert not store_of(url).exists()
    with pytest.raises(StateMissing):
        store_of(url).read()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regclass('reconciler_state')").fetchone() == (None,)


def test_schemas_are_places_of_their_own(postgres: PostgresServer) -> None:
    """Two projects in one database do not meet."""
    one, other = postgres.new_schema(), postgres.new_schema()
    begun(one).append(0, [note(1)])
    assert begun(other).read().seq == 0
    store_of(one, "staging").create(empty("staging"))
    assert environments_in(Database(one)) == ("production", "staging")


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE reconciler_state SET document = '{}'", "damaged"),
        ("UPDATE reconciler_state SET snapshot_seq = 1", "damaged"),
        ("UPDATE reconciler_state SET seq = 7", "some are gone"),
        ("DELETE FROM reconciler_log WHERE seq = 1", "some are gone"),
        ("DELETE FROM reconciler_log WHERE seq = 2", "some are gone"),
        ("UPDATE reconciler_log SET record = '{}' WHERE seq = 1", "damaged"),
    ],
)
def test_damage_is_named(url: str, statement: str, why: str) -> None:
    """A row that somebody changed or removed stops everything."""
    begun(url).append(0, [note(1), note(2)])
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())
    with pytest.raises(StateCorrupt, match=why):
        store_of(url).read()


def test_a_state_of_another_lineage_is_noticed(url: str) -> None:
    """Somebody made the state anew under a handle that knew the one before."""
    store = begun(url)
    store.read()
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM reconciler_state")
    store_of(url).create(empty(lineage="lineage-2"))
    with pytest.raises(StateForeign, match="replaced meanwhile"):
        store.read()


def test_a_reader_may_read_and_no_more(url: str) -> None:
    """A role with SELECT plans and looks; writing is refused with exit 4."""
    begun(url).append(0, [note(1)])
    schema = url.rpartition("%3D")[2]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE reader_{schema} LOGIN".encode())
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO reader_{schema}".encode())
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader_{schema}".encode())
    reader = store_of(url.replace("postgres@", f"reader_{schema}@"))
    assert reader.read().seq == 1
    assert reader.sender_is_dead()
    with pytest.raises(AuthenticationError, match="permission denied"):
        reader.append(1, [note(2)])
    assert store_of(url).append(1, [note(3)]) == 2


def test_nobody_there(tmp_path: Path) -> None:
    """A server that cannot be reached is exit 6, and the password in its address is not shown."""
    address = f"postgresql://ada:pass-word@/db?host={tmp_path}"
    with pytest.raises(StateError, match="cannot be reached") as away:
        store_of(address).read()
    assert "pass-word" not in str(away.value) + store_of(address).location


def test_an_unknown_user(postgres: PostgresServer) -> None:
    """Exit 4, with what to check."""
    with pytest.raises(AuthenticationError, match="does not exist"):
        store_of(postgres.url.replace("postgres@", "nobody@")).read()


@pytest.mark.parametrize(
    "url", ["postgresql://h:port/db", "postgresql://h/db?colour=red", "postgresql://u:pass-word@h:x/db"]
)
def test_addresses_that_are_none(url: str) -> None:
    """They are refused without their passwords."""
    with pytest.raises((UsageError, StateError)) as refused:
        store_of(url).read()
    assert "pass-word" not in str(refused.value)


def test_without_psycopg_it_says_what_to_install() -> None:
    """The extra is named."""
    program = "import sys; sys.modules['psycopg'] = None\nfrom reconciler.state.postgres import Database\n"
    program += "try: Database('postgresql://h/db')\nexcept Exception as e: print(type(e).__name__, e, e.next_step)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith("UsageError")
    assert "pip install 'reconciler[postgres]'" in said
