"""Servers of states that stop answering: whoever has to end gives up what is under way, and says that it is in doubt."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from reconciler.state.bucket import Bucket
from reconciler.state.objects import ObjectStore
from reconciler.state.patience import GaveUp, Patience
from reconciler.state.postgres import Database, PostgresStore
from reconciler.state.store import DurabilityLost, Hurrying, Store
from tests.support.records import empty, note
from tests.support.servers_state import PostgresServer, S3Server, environment
from tests.support.tcp_proxy import Direction, Proxy, relay

HOPELESS = 60.0  # seconds until a test is called hung


@pytest.fixture(params=["s3", "postgres"])
def behind(
    request: pytest.FixtureRequest, s3: S3Server, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, Proxy]]:
    """A store with a state, and the relay before its server."""
    with ExitStack() as stack:
        store: Store
        if request.param == "s3":
            parts = urlsplit(s3.origin)
            proxy = stack.enter_context(relay((parts.hostname or "", parts.port or 0)))
            stack.enter_context(environment({"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}))
            store = ObjectStore(Bucket(f"{s3.new_bucket()}/states", s3.variables), "production")
        else:
            name = Path(".s.PGSQL.5432")
            folder = tmp_path_factory.mktemp("p")
            proxy = stack.enter_context(relay(postgres.folder / name, folder / name))
            url = postgres.new_schema().replace(str(postgres.folder), str(folder))
            store = PostgresStore(Database(url), "production")
        store.create(empty())
        yield store, proxy


def test_an_append_is_given_up(behind: tuple[Store, Proxy]) -> None:
    """A server that took the append and never answers does not hold up who has to end; what came of it is in doubt."""
    store, proxy = behind
    seq = store.read().seq
    hanging, closing = threading.Event(), threading.Event()

    def hangs(_: int, direction: Direction) -> bool:
        if direction == "to client":
            hanging.set()
            closing.wait()
            return False
        return True

    failed: list[str] = []

    def append() -> None:
        try:
            store.append(seq, [note(1)])
        except DurabilityLost as error:
            failed.append(str(error))

    proxy.begin(hangs)
    thread = threading.Thread(target=append)
    thread.start()
    try:
        assert hanging.wait(HOPELESS)
        assert isinstance(store, Hurrying)
        store.hurry(0)
        thread.join(HOPELESS)
        assert "cannot be told" in failed[0]
        assert "until the run had to end" in failed[0]
    finally:
        closing.set()


def test_a_call_keeps_its_own_end() -> None:
    """As long as there is patience a call gives what it gives and raises what it raises, a timeout of its own too."""
    patience = Patience()
    patience.ends_in(HOPELESS)
    assert patience.wait(lambda: 7) == 7

    def late() -> int:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        patience.wait(late)


def test_nothing_is_begun_without_patience() -> None:
    """Once it has ended it stays so, and no call is made any more."""
    patience, calls = Patience(), list[int]()
    patience.ends_in(0)
    patience.ends_in(HOPELESS)
    with pytest.raises(GaveUp):
        patience.wait(lambda: calls.append(1))
    assert not calls
