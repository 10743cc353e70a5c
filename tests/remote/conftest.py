"""One warm parent and one set of servers for all of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.nursery import Nursery
from tests.remote.places import Servers
from tests.support.servers_state import PostgresServer, S3Server


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="session")
def behind(s3: S3Server, postgres: PostgresServer) -> Servers:
    return Servers(s3=s3, postgres=postgres)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path
