"""yaml-language-server, the program behind most editors' YAML support, spoken to as an editor does (LSP over stdio)."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.npm import install

VERSION = "2.0.0"
PATIENCE = 60.0  # seconds without a word after which the server counts as hanging


def installed(folder: Path) -> Path | str:
    """The server's script, installed into `folder`/node_modules when it is not there; or why there is none."""
    script = folder / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
    about = script.parent.parent / "package.json"
    if about.is_file() and json.loads(about.read_text(encoding="utf-8"))["version"] == VERSION and script.is_file():
        return script
    return install(folder, f"yaml-language-server@{VERSION}") or script


class LanguageServer:
    """One running server. `diagnose` opens texts and returns what the server finds in each."""

    def __init__(self, script: Path) -> None:
        self._process = subprocess.Popen(
            ["node", str(script), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._buffer = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        self._send(id=1, method="initialize", params={"processId": None, "rootUri": None, "capabilities": {}})
        while self._receive().get("id") != 1:
            pass
        self._send(method="initialized", params={})
        settings = {"yaml": {"validate": True, "schemaStore": {"enable": False}}}
        self._send(method="workspace/didChangeConfiguration", params={"settings": settings})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._selector.close()
        self._process.kill()
        self._process.communicate()

    def diagnose(self, texts: Mapping[Path, str]) -> dict[Path, list[str]]:
        """The messages about each text, as if it lay at its path."""
        paths = {path.as_uri(): path for path in texts}
        for path, text in texts.items():
            document = {"uri": path.as_uri(), "languageId": "yaml", "version": 1, "text": text}
            self._send(method="textDocument/didOpen", params={"textDocument": document})
        found: dict[Path, list[str]] = {}
        while len(found) < len(texts):
            message = self._receive()
            if message.get("method") == "textDocument/publishDiagnostics":
                params = message["params"]
                found[paths[params["uri"]]] = [diagnostic["message"] for diagnostic in params["diagnostics"]]
        return found

    @property
    def _output(self) -> Any:
        assert self._process.stdout is not None
        return self._process.stdout

    def _send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        """The next message; the server's own questions are answered with nothing."""
        head = self._until(lambda: self._buffer.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in self._buffer else None)
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        message: dict[str, Any] = json.loads(self._until(lambda: length if len(self._buffer) >= length else None))
        if "id" in message and "method" in message:
            self._send(id=message["id"], result=None)
        return message

    def _until(self, size: Any) -> bytes:
        """As many bytes as `size` says, once it says it."""
        while (count := size()) is None:
            if not self._selector.select(PATIENCE):
                raise TimeoutError("yaml-language-server says nothing")
            chunk = os.read(self._output.fileno(), 65536)
            if not chunk:
                raise EOFError("yaml-language-server ended")
            self._buffer += chunk
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken
