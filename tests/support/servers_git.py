"""A git server over HTTP: git's own `http-backend` behind a small bridge, with Basic authentication where wanted.

    with git_server(folder) as server: clone(server.url, …)

`folder` holds the repositories. What real servers do at the wrong moment can be asked for: `lost` answers to pushes are not
given (the push counts), `cut` requests are dropped before git sees them, `forbidden` pushes are answered with 403, and from the
`hangs_at`th push on nothing is answered. `asked` are the exchanges: what each wanted, `fetch` or `push`.
"""

from __future__ import annotations

import base64
import contextlib
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.repositories import clean_environment

PASSWORD = "s3cret-of-the-git-server"  # nothing may ever show it


@dataclass
class GitServer:
    """`url` is the repository `origin.git`. Numbers are how often something is still to happen."""

    folder: Path
    origin: str = ""
    needs_password: bool = False
    lost: int = 0
    cut: int = 0
    forbidden: int = 0
    hangs_at: int | None = None
    hanging: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"{self.origin}/origin.git"

    @property
    def url_with_password(self) -> str:
        return f"{self.origin.replace('://', f'://ada:{PASSWORD}@')}/origin.git"

    @property
    def header(self) -> str:
        """The header that lets one in, as CI systems keep it in the checkout's configuration."""
        return f"Authorization: Basic {base64.b64encode(f'ada:{PASSWORD}'.encode()).decode()}"

    def takes(self, counter: str) -> bool:
        """Whether it is to happen now."""
        with self.mutex:
            left: int = getattr(self, counter)
            setattr(self, counter, max(0, left - 1))
            return left > 0


class _Handler(BaseHTTPRequestHandler):
    """One connection. `server` is a `_Server`."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    server: _Server

    def do(self) -> None:
        told = self.server.told
        path, _, query = self.path.partition("?")
        body = self._body()
        sends = path.endswith("git-receive-pack")
        pushes = sends or "service=git-receive-pack" in query
        if "service=" in query:
            told.asked.append("push" if pushes else "fetch")
        if told.needs_password and f"Authorization: {self.headers.get('authorization', '')}" != told.header:
            self._answer(401, [("WWW-Authenticate", 'Basic realm="git"')], b"who are you?")
        elif pushes and told.takes("forbidden"):
            self._answer(403, [], b"you may not")
        elif told.hangs_at is not None and told.asked.count("push") >= told.hangs_at:
            told.hanging.set()
            told.closing.wait()
            self.close_connection = True
        elif sends and told.takes("cut"):
            self.close_connection = True
        else:
            status, headers, answer = self._backend(path, query, body)
            if sends and told.takes("lost"):
                self.close_connection = True
            else:
                self._answer(status, headers, answer)

    do_GET = do_POST = do  # noqa: N815 - the names that the library looks for

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _backend(self, path: str, query: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """As CGI has it."""
        variables = {
            "GIT_PROJECT_ROOT": str(self.server.told.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "ada",
            "REMOTE_ADDR": "127.0.0.1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            # Pushing is off unless the repository says otherwise.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.receivepack",
            "GIT_CONFIG_VALUE_0": "true",
        }
        environ = {**clean_environment(), **variables}
        out = subprocess.run(["git", "http-backend"], env=environ, input=body, capture_output=True, check=True).stdout
        head, _, answer = out.partition(b"\r\n\r\n")
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in head.decode().split("\r\n"))]
        status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
        return status, [(name, value) for name, value in headers if name != "Status"], answer

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, told: GitServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told = told
        told.origin = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """A peer that was killed is no error; what else goes wrong shows as a request without an answer."""


@contextlib.contextmanager
def git_server(folder: Path) -> Iterator[GitServer]:
    server = _Server(GitServer(folder=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.told
    finally:
        server.told.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(60)
