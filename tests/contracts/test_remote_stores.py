"""The contract, for stores that other machines share; each on a server of its kind."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest

from reconciler.state.bucket import Bucket
from reconciler.state.git import GitStore
from reconciler.state.gitremote import GitRemote
from reconciler.state.objects import ObjectStore
from reconciler.state.postgres import Database, PostgresStore
from reconciler.state.store import Store
from tests.contracts.store_contract import AgingOpener, ExpiryContract, LeaseContract, Opener, StoreContract
from tests.support.fake_gcs import GcsFake
from tests.support.repositories import clean_environment, clone, new_origin
from tests.support.servers_state import AzureServer, PostgresServer, S3Server


class _OneBucket(Opener):
    def __init__(self, url: str) -> None:
        self._url = url

    def open(self) -> Store:
        return ObjectStore(Bucket(self._url, os.environ), "production")


class _OneGcsBucket(_OneBucket, AgingOpener):
    def __init__(self, url: str, fake: GcsFake) -> None:
        super().__init__(url)
        self._fake = fake

    def age(self, seconds: float) -> None:
        self._fake.age("/lock.json", timedelta(seconds=seconds))


class _OneSchema(AgingOpener):
    def __init__(self, url: str) -> None:
        self._url = url

    def open(self) -> Store:
        return PostgresStore(Database(self._url), "production")

    def age(self, seconds: float) -> None:
        with psycopg.connect(self._url) as connection:
            connection.execute(
                "UPDATE reconciler_lease SET renewed_at = renewed_at - make_interval(secs => %s)", [seconds]
            )


class _OneBranch(AgingOpener):
    """Every handle has a clone of its own, as pipelines have."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._origin = new_origin(folder)
        self._passed = timedelta()
        self._clone = clone(self._origin, folder / "clone")

    def open(self) -> Store:
        remote = GitRemote(self._clone, "reconciler-state", None, clean_environment())
        return GitStore(remote, "production", now=lambda: datetime.now(UTC) + self._passed)

    def age(self, seconds: float) -> None:
        self._passed += timedelta(seconds=seconds)


class TestS3Store(StoreContract, LeaseContract):
    """S3, as moto plays it."""

    rounds: ClassVar[int] = 9

    @pytest.fixture
    def opener(self, s3: S3Server) -> Opener:
        return _OneBucket(f"{s3.new_bucket()}/some/prefix")


@pytest.mark.node
class TestAzureStore(StoreContract, LeaseContract):
    """Azure Blob Storage, as azurite plays it."""

    rounds: ClassVar[int] = 9

    @pytest.fixture
    def opener(self, azure: AzureServer) -> Opener:
        return _OneBucket(f"{azure.new_container()}/prefix")


class TestGcsStore(StoreContract, ExpiryContract):
    """Google Cloud Storage, as our own fake of its XML API plays it."""

    rounds: ClassVar[int] = 9

    @pytest.fixture
    def opener(self, gcs: GcsFake, tmp_path: Path) -> Opener:
        return _OneGcsBucket(f"gs://bucket-{tmp_path.name}", gcs)


class TestPostgresStore(StoreContract, ExpiryContract):
    """PostgreSQL."""

    @pytest.fixture
    def opener(self, postgres: PostgresServer) -> Opener:
        return _OneSchema(postgres.new_schema())


class TestGitStore(StoreContract, ExpiryContract):
    """A branch of a repository."""

    rounds: ClassVar[int] = 4

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return _OneBranch(tmp_path)
