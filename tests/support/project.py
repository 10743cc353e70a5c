"""A project folder as a user has one, and the ways to run `reconciler` in it.

- `project.run("plan", "-o", "json")`: in this process, through the command line's own entry point. Quickest.
- `project.start("apply", "--yes")`: a process of its own, to be watched, signalled and waited for.
- `project.terminal("apply")`: a process on a pseudo terminal, which sees what a person would see.

The environment variables are those of an empty machine: no CI, no settings, no proxies, and the API key where the project
file says it is.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from reconciler.cli.main import run as run_command

KEY = "kg-5ec2e700-0000-5000-8000-ca4a2900beef-5ec2e701-0000-5000-8000-ca4a2900cafe"  # nothing may ever show it
PRODUCTION = "production"
PATIENCE = 60.0  # seconds until a test is called hung
_KEPT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a command gave back and said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def ended(self, code: int) -> Self:
        """Itself. Fails with everything that was said when the exit code is another one."""
        assert self.code == code, f"exit code {self.code}, not {code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"
        assert "Traceback" not in self.err + self.out
        return self


@dataclass(kw_only=True)
class ProjectFolder:
    """`host` is what the project file names for production; `environ` are the variables of every command run here."""

    root: Path
    host: str
    capture: Callable[[], tuple[str, str]]
    environ: dict[str, str] = field(default_factory=dict)
    started: list[Running | Terminal] = field(default_factory=list)

    def close(self) -> None:
        """End what a test that failed has left running."""
        for one in self.started:
            one.close()

    # What lies in it

    def write(self, name: str, text: str | bytes) -> Path:
        """A file of the project, with its folders."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def configure(self, more: Mapping[str, Mapping[str, Any]] | None = None, **production: Any) -> None:
        """The project file: production with these fields beside host and key, and `more` environments by name."""
        usual = {"apiKey": {"env": "PRODUCTION_API_KEY"}, "rateLimit": {"perMinute": 0, "perHour": 0}}
        environments = {PRODUCTION: {"host": self.host, **usual, **production}}
        environments |= {name: {"host": self.host, **usual, **fields} for name, fields in (more or {}).items()}
        self.write_project({"environments": environments})

    def write_project(self, fields: Mapping[str, Any]) -> None:
        """The project file with these fields; JSON is YAML too."""
        value = {"apiVersion": "reconciler/v1", "kind": "Project", **fields}
        self.write("reconciler.yaml", json.dumps(value, indent=2) + "\n")

    def deploy(self, name: str, *, temperature: float = 1, model_id: str = "", more: str = "") -> Path:
        """A manifest; the model's id is cm-NAME unless said. `more` are lines of its spec."""
        return self.write(f"manifests/{name}.yaml", manifest(name, temperature, model_id, more))

    def init(self, *names: str) -> Self:
        """A project file, manifests of these names, and the state."""
        self.configure()
        for name in names:
            self.deploy(name)
        self.run("init").ended(0)
        return self

    @property
    def state(self) -> dict[str, Any]:
        """Production's state as `state show` prints it."""
        value: dict[str, Any] = self.run("state", "show", "-e", PRODUCTION).ended(0).json["state"]
        return value

    def entry(self, name: str) -> dict[str, Any]:
        """The entry of a name in production's state."""
        entries = self.state["entries"]
        found: dict[str, Any]
        (found,) = [entry for entry in entries.values() if entry["name"] == name]
        return found

    def everything_written(self) -> bytes:
        """The bytes of every file below the folder."""
        return b"\n".join(path.read_bytes() for path in sorted(self.root.rglob("*")) if path.is_file())

    # How it is used

    def run(self, *arguments: str) -> Shown:
        """One command in this process."""
        self.capture()
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.variables)
        try:
            code = run_command(["-C", str(self.root), *arguments])
        finally:
            os.environ.clear()
            os.environ.update(before)
        out, err = self.capture()
        return Shown(code=code, out=out, err=err)

    def apply(self, *arguments: str) -> Shown:
        return self.run("apply", "--yes", *arguments)

    def start(self, *arguments: str, **environ: str) -> Running:
        """One command in a process of its own."""
        running = Running(self._command(arguments), {**self.variables, **environ}, self.root)
        self.started.append(running)
        return running

    def process(self, *arguments: str, **environ: str) -> Shown:
        """One command in a process of its own, to its end."""
        return self.start(*arguments, **environ).end()

    def terminal(self, *arguments: str, columns: int = 80, **environ: str) -> Terminal:
        """One command on a terminal of its own."""
        variables = {**self.variables, "TERM": "xterm-256color", **environ}
        terminal = Terminal(self._command(arguments), variables, columns)
        self.started.append(terminal)
        return terminal

    @property
    def variables(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        home = {"HOME": str(self.root.parent), "USER": "ada", "LOGNAME": "ada", "PRODUCTION_API_KEY": KEY}
        return {**kept, **home, **self.environ}

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "reconciler", "-C", str(self.root), *arguments]


def manifest(name: str, temperature: float = 1, model_id: str = "", more: str = "") -> str:
    """A small valid manifest, laid out as people write them."""
    text = f"""\
apiVersion: reconciler/v1
kind: ModelDeployment
metadata:
  name: {name}
spec:
  modelId: {model_id or f"cm-{name}"}
  modelType: openSource
  hyperParameters: {{temperature: {temperature}, maxTokens: 512, topP: 1, topK: 50}}
  deviceType: g5.xlarge
"""
    return text + "".join(f"  {line}\n" for line in more.splitlines())


class Running:
    """A process whose stderr is read line by line; stdout is kept until it has ended."""

    def __init__(self, command: list[str], environ: dict[str, str], root: Path) -> None:
        self._out = root.parent / f"stdout-{id(self)}.txt"
        with self._out.open("wb") as stream:
            self._process = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.PIPE, text=True
            )
        self.pid = self._process.pid
        self._said: list[str] = []

    def wait_for(self, text: str, *, within: float | None = None) -> str:
        """The next line of stderr that holds the text. What has not said it in time is ended."""
        assert self._process.stderr is not None
        with nullcontext() if within is None else _ended_after(within, self._process.kill):
            for line in self._process.stderr:
                self._said.append(line)
                if text in line:
                    return line
        raise AssertionError(f"it ended without saying {text!r}:\n{''.join(self._said)}{self._out.read_text()}")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> Shown:
        """Wait for its end."""
        assert self._process.stderr is not None
        self._said += self._process.stderr.readlines()
        code = self._process.wait(PATIENCE)
        self._process.stderr.close()
        return Shown(code=code, out=self._out.read_text(encoding="utf-8"), err="".join(self._said))

    def close(self) -> None:
        assert self._process.stderr is not None
        self._process.kill()
        self._process.wait()
        self._process.stderr.close()


class Terminal:
    """A process on a pseudo terminal: both ends are one, so it may ask, paint and redraw."""

    def __init__(self, command: list[str], environ: dict[str, str], columns: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            command, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.raw = ""

    def wait_for(self, text: str) -> None:
        """Until the terminal has shown the text."""
        while text not in plain(self.raw):
            assert self._more(), f"it ended without showing {text!r}:\n{plain(self.raw)}"

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def interrupt_question(self) -> None:
        """SIGINT until it reacts: one that comes in the instant before the terminal is read is only noticed afterwards."""
        shown = len(self.raw)
        while len(self.raw) == shown:
            self.signal(signal.SIGINT)
            if select.select([self._ours], [], [], 1)[0]:
                self._more()

    def end(self) -> Shown:
        """Wait for its end; everything that was shown counts as its output, escape sequences taken out."""
        while self._more():
            pass
        code = self._process.wait(PATIENCE)
        self.close()
        return Shown(code=code, out=plain(self.raw), err="")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1

    def _more(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], PATIENCE)
        assert ready, f"nothing was shown any more:\n{plain(self.raw)}"
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # Linux's way of saying that the other end is closed
            return False
        self.raw += data.decode("utf-8", "replace")
        return bool(data)


@contextmanager
def _ended_after(seconds: float, end: Callable[[], None]) -> Iterator[None]:
    """`end` is called when what is done takes longer."""
    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def plain(text: str) -> str:
    """Without escape sequences and carriage returns."""
    return _ESCAPE.sub("", text).replace("\r", "")
