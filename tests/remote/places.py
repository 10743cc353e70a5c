"""Places for a state that pipelines share: what they are told of it, and a relay before its server.

Everything that a pipeline says to its store passes `proxy`; a test's own handle (`store`) goes past it.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.state.bucket import Bucket
from reconciler.state.git import GitStore
from reconciler.state.gitremote import GitRemote
from reconciler.state.objects import ObjectStore
from reconciler.state.postgres import Database, PostgresStore
from reconciler.state.store import Store
from tests.crash.history import Home
from tests.support.fake_gcs import GcsFake, account_of, gcs_server
from tests.support.repositories import checkout, clean_environment, clone, git, new_origin
from tests.support.servers_git import git_server
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
from tests.support.tcp_proxy import Proxy, relay

ENVIRONMENT = "production"
PLACES = ("git", "s3", "postgres")
LONG_PLACES = (*PLACES, "azure", "gcs")  # played in the long form


@dataclass(frozen=True, kw_only=True)
class Place:
    """`state` and `variables` are a pipeline's; `origin` is the repository that the project lies in."""

    name: str
    state: str
    variables: dict[str, str]
    proxy: Proxy
    origin: Path
    remote: str
    own: str

    def checkout(self, folder: Path) -> Path:
        """A fresh clone, the newest commit alone, as CI makes it."""
        made = clone(self.origin, folder)
        git(made, "remote", "set-url", "origin", self.remote)
        return made

    def checkout_of(self, commit: str, folder: Path, depth: int | None) -> Path:
        """A checkout of a commit, over HTTP and as a forge's runner makes it."""
        return checkout(self.remote, folder, commit, depth)

    def home(self, folder: Path) -> Home:
        """For random histories; `folder` is the home of those who run them."""
        folder.mkdir()
        git_says = {key: value for key, value in clean_environment().items() if key.startswith("GIT_CONFIG")}
        return Home(state=self.state, store=self.store, variables={**self.variables, **git_says, "HOME": str(folder)})

    def store(self) -> Store:
        """A handle of the test's own."""
        match self.name:
            case "git":
                return GitStore(GitRemote(self.origin, "reconciler-state", None, clean_environment()), ENVIRONMENT)
            case "s3" | "azure" | "gcs":
                return ObjectStore(Bucket(self.own, os.environ), ENVIRONMENT)
            case _:
                return PostgresStore(Database(self.own), ENVIRONMENT)


@dataclass(frozen=True, kw_only=True)
class Servers:
    """The servers behind some places; one set is enough for many."""

    s3: S3Server | None = None
    postgres: PostgresServer | None = None
    azure: AzureServer | None = None
    gcs: GcsFake | None = None


@contextlib.contextmanager
def servers(folder: Path, names: Collection[str] = LONG_PLACES) -> Iterator[Servers]:
    """Those behind these places; Azure's where azurite can be installed."""
    with ExitStack() as stack:
        s3 = stack.enter_context(moto_server()) if "s3" in names else None
        gcs = stack.enter_context(gcs_server(folder)) if "gcs" in names else None
        script = azurite_script(AZURITE_FOLDER) if "azure" in names else None
        azure = stack.enter_context(azurite_server(script)) if isinstance(script, Path) else None
        postgres = stack.enter_context(postgres_server(folder / "postgres")) if "postgres" in names else None
        variables = [server.variables for server in (s3, gcs, azure) if server is not None]
        stack.enter_context(environment({name: text for told in variables for name, text in told.items()}))
        yield Servers(s3=s3, postgres=postgres, azure=azure, gcs=gcs)


@contextlib.contextmanager
def place(name: str, behind: Servers, folder: Path) -> Iterator[Place]:
    """A new, empty place of that kind; `folder` is its own."""
    with ExitStack() as stack:
        origin = new_origin(folder)
        server = stack.enter_context(git_server(folder))
        remote, variables, state, own = server.url, dict[str, str](), "git:", ""
        match name:
            case "git":
                proxy = stack.enter_context(relay(_address(server.origin)))
                remote = f"http://127.0.0.1:{proxy.port}/origin.git"
                git(origin, "config", "remote.origin.url", str(origin))  # for handles of the test's own
            case "s3":
                assert behind.s3 is not None
                proxy = stack.enter_context(relay(_address(behind.s3.origin)))
                variables = {**behind.s3.variables, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
                own = state = f"{behind.s3.new_bucket()}/states"
            case "azure":
                assert behind.azure is not None, "azurite cannot be installed"
                proxy = stack.enter_context(relay(_address(behind.azure.origin)))
                variables = AzureServer(origin=f"http://127.0.0.1:{proxy.port}").variables
                own = state = f"{behind.azure.new_container()}/states"
            case "gcs":
                assert behind.gcs is not None
                proxy = stack.enter_context(relay(_address(behind.gcs.origin)))
                variables = account_of(f"http://127.0.0.1:{proxy.port}", folder / "account.json")
                own = state = f"gs://bucket-{uuid.uuid4().hex[:12]}/states"
            case _:
                assert behind.postgres is not None
                at = folder / "pg" / ".s.PGSQL.5432"
                at.parent.mkdir()
                proxy = stack.enter_context(relay(behind.postgres.folder / at.name, at))
                own = behind.postgres.new_schema()
                state = own.replace(str(behind.postgres.folder), str(at.parent))
        yield Place(name=name, state=state, variables=variables, proxy=proxy, origin=origin, remote=remote, own=own)


def _address(origin: str) -> tuple[str, int]:
    parts = urlsplit(origin)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
