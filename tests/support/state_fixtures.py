"""Servers for states as fixtures, one each a session; registered by tests/conftest.py, started when first asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fake_gcs import GcsFake, gcs_server
from tests.support.servers_state import (
    AZURITE_FOLDER,
    AzureServer,
    PostgresServer,
    S3Server,
    azurite_script,
    azurite_server,
    environment,
    moto_server,
    postgres_server,
)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with moto_server() as server, environment(server.variables):
        yield server


@pytest.fixture(scope="session")
def azure() -> Iterator[AzureServer]:
    script = azurite_script(AZURITE_FOLDER)
    if isinstance(script, str):
        pytest.skip(script)
    with azurite_server(script) as server, environment(server.variables):
        yield server


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsFake]:
    with gcs_server(tmp_path_factory.mktemp("gcs")) as fake, environment(fake.variables):
        yield fake


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server
