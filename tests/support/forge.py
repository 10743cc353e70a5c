"""A pretended GitHub or GitLab that keeps the comments of pull requests, on a free loopback port."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

_PATH = re.compile(
    r"/repos/[\w./-]+/issues/(?P<pull>\d+)/comments"
    r"|/repos/[\w./-]+/issues/comments/(?P<comment>\d+)"
    r"|/projects/\w+/merge_requests/(?P<request>\d+)/notes(?:/(?P<note>\d+))?"
)


class PretendedForge:
    """`comments` as the forge lists them; `user` is whose token it is, None where it will not say; `refuses` is what it
    answers to everything.
    """

    def __init__(self) -> None:
        self.origin = ""
        self.comments: list[dict[str, Any]] = []
        self.user: dict[str, Any] | None = None
        self.refuses: int | None = None
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._next = 1

    def post(self, body: str, *, login: str = "github-actions[bot]", kind: str = "Bot") -> dict[str, Any]:
        """Somebody writes a comment."""
        author = {"login": login, "type": kind, "id": len(login)}
        comment = {"id": self._next, "body": body, "user": author, "author": author}
        self._next += 1
        self.comments.append(comment)
        return comment

    @property
    def bodies(self) -> list[str]:
        return [comment["body"] for comment in self.comments]

    def answer(self, method: str, path: str, query: str, body: dict[str, Any]) -> tuple[int, Any]:
        if self.refuses is not None:
            return self.refuses, {"message": "Resource not accessible by integration"}
        if path == "/user":
            return (200, self.user) if self.user else (403, {"message": "not accessible"})
        found = _PATH.fullmatch(path)
        if found is None:
            return 404, {"message": "Not Found"}
        which = found["comment"] or found["note"]
        if which is None:
            return self._list(query) if method == "GET" else self._create(body)
        return self._change(method, int(which), body)

    def _list(self, query: str) -> tuple[int, Any]:
        size, page = (int(number) for number in re.findall(r"\d+", query))
        return 200, self.comments[size * (page - 1) : size * page]

    def _create(self, body: dict[str, Any]) -> tuple[int, Any]:
        mine = {"login": self.user["login"], "kind": "User"} if self.user else {}
        return 201, self.post(body["body"], **mine)

    def _change(self, method: str, number: int, body: dict[str, Any]) -> tuple[int, Any]:
        (comment,) = [one for one in self.comments if one["id"] == number]
        if method == "DELETE":
            self.comments.remove(comment)
            return 204, None
        comment["body"] = body["body"]
        return 200, comment


@contextmanager
def pretended_forge() -> Iterator[PretendedForge]:
    """A running one."""
    forge = PretendedForge()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            path, _, query = self.path.partition("?")
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            forge.requests.append((self.command, path, dict(self.headers)))
            status, value = forge.answer(self.command, path, query, body)
            data = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            if status in {301, 307}:
                self.send_header("Location", "/user")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _any  # noqa: N815 - names of the base class

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        forge.origin = f"http://127.0.0.1:{server.server_port}"
        yield forge
        server.shutdown()
        thread.join()
