"""A stand-in for Google Cloud Storage: of it there is no server to be had that keeps preconditions over its XML API.

What obstore uses of that API: objects with generations and ETags, `x-goog-if-generation-match`, and the listing. It shows that
our side asks for the right thing; that Google keeps its side is Google's documentation.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape


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
    """The XML API, as far as obstore uses it, and its moods.

    `ignores_conditions` makes it a store that must be refused. Of the next writes `lost` get no answer though they count, `cut`
    none and do not count; `forbidden` says 403 to everything, `missing` that there is no bucket.
    """

    origin: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    ignores_conditions: bool = False
    lost: int = 0
    cut: int = 0
    forbidden: bool = False
    missing: bool = False
    objects: dict[str, _Object] = field(default_factory=dict)
    generation: int = 0

    def age(self, part: str, by: timedelta) -> None:
        """Everything whose path holds that part was written so much earlier."""
        for path, found in self.objects.items():
            if part in path:
                found.at -= by

    def takes(self, counter: str) -> bool:
        """Whether it is to happen now."""
        left: int = getattr(self, counter)
        setattr(self, counter, max(0, left - 1))
        return left > 0

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


class _Handler(BaseHTTPRequestHandler):
    """One connection. `server` is a `_Server`."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    server: _Server

    def do(self) -> None:
        path, _, query = self.path.partition("?")
        path = unquote(path).strip("/")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        with self.server.mutex:
            self._obey(self.server.fake, path, query, body)

    do_GET = do_HEAD = do_PUT = do_DELETE = do  # noqa: N815 - the names that the library looks for

    def _obey(self, fake: GcsFake, path: str, query: str, body: bytes) -> None:
        if fake.forbidden:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif fake.missing:
            self._answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif "/" not in path:
            asked = {key: values[0] for key, values in parse_qs(query).items()}
            words = (asked.get(key, "") for key in ("prefix", "delimiter", "start-after"))
            self._answer(200, fake.listing(path, *words).encode())
        elif self.command == "PUT":
            self._put(fake, path, body)
        elif path not in fake.objects:
            self._answer(404, b"")
        elif self.command == "DELETE":
            del fake.objects[path]
            self._answer(204, b"")
        else:
            self._answer(200, fake.objects[path].data, fake.objects[path])

    def _put(self, fake: GcsFake, path: str, body: bytes) -> None:
        if fake.takes("cut"):
            self.close_connection = True
            return
        written = fake.put(path, body, self.headers.get("x-goog-if-generation-match"))
        if fake.takes("lost"):
            self.close_connection = True
        else:
            self._answer(200 if written else 412, b"", written)

    def _answer(self, code: int, body: bytes, about: _Object | None = None) -> None:
        self.send_response(code)
        for name, value in (about.headers if about else {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: GcsFake) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = fake
        self.mutex = threading.Lock()


def account_of(origin: str, account: Path) -> dict[str, str]:
    """The variables of a client of the server there; `account` is made, because obstore is told of it by a file."""
    told = {
        "gcs_base_url": origin,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    account.write_text(json.dumps(told), encoding="utf-8")
    return {"GOOGLE_SERVICE_ACCOUNT": str(account), "GOOGLE_ALLOW_HTTP": "true"}


@contextlib.contextmanager
def gcs_server(folder: Path) -> Iterator[GcsFake]:
    """One that serves; `folder` keeps the account file that obstore is told of it by."""
    fake = GcsFake()
    server = _Server(fake)
    fake.origin = f"http://127.0.0.1:{server.server_port}"
    fake.variables = account_of(fake.origin, folder / "account.json")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)
