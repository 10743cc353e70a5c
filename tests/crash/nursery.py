"""Real processes of the program, cheaply: the near side of `worker`, and a simulator started the same way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from reconciler.simulator.scenario import Scenario
from tests.crash.injector import Fault

ROOT = Path(__file__).resolve().parents[2]


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Until it holds. What is waited for has been caused already and is on its way."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        os.sched_yield()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a worker is to do: commands one after the other, until one does not end with 0.

    What it says goes to `out` with `.out` and `.err`. Without a fault its clock and its system calls are untouched; with one
    (`NO_FAULT` never strikes) they are counted and told to `witness`, and where it `leaps`, its clock leaps over what nobody
    awaits. With a state `elsewhere`, what is appended to that is told too. It begins when nobody locks the file `gate` any more.
    """

    commands: tuple[tuple[str, ...], ...]
    environ: dict[str, str]
    folder: Path
    out: Path
    fault: Fault | None = None
    witness: Path = Path("/dev/null")
    attic: Path = Path("/dev/null")
    gate: Path | None = None
    leaps: bool = True
    elsewhere: bool = False

    def told(self) -> dict[str, Any]:
        return {
            "commands": self.commands,
            "environ": self.environ,
            "folder": str(self.folder),
            "out": str(self.out),
            "fault": None if self.fault is None else asdict(self.fault),
            "witness": str(self.witness),
            "attic": str(self.attic),
            "gate": str(self.gate) if self.gate else "",
            "leaps": self.leaps,
            "elsewhere": self.elsewhere,
        }


class Nursery:
    """One warm parent. `with Nursery() as nursery: pid = nursery.start(order); code = nursery.wait(pid)`."""

    def __init__(self) -> None:
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("RECONCILER_", "PYTEST_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environ,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def start(self, order: Order) -> int:
        """Gives the process id."""
        return int(self._ask({"start": order.told()})["pid"])

    def wait(self, pid: int) -> int:
        """Until it ends: its exit code, negative for a signal."""
        return int(self._ask({"wait": pid})["code"])

    def wait_or_stopped(self, pid: int) -> int | None:
        """Until it ends, or is stopped: None."""
        code = self._ask({"wait": pid}).get("code")
        return None if code is None else int(code)

    def wait_until_stopped(self, pid: int) -> None:
        assert self._ask({"wait": pid}) == {"stopped": True}, "it ended instead"

    def run(self, order: Order) -> int:
        return self.wait(self.start(order))

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, "the nursery has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


class ForkedSimulator:
    """`reconciler simulate` in a process of its own; its log is the judge."""

    def __init__(self, nursery: Nursery, folder: Path, told: Scenario) -> None:
        self.log = folder / "simulator.log"
        self._nursery = nursery
        scenario = folder / "scenario.json"
        scenario.write_text(told.model_dump_json(by_alias=True), encoding="utf-8")
        out = folder / "simulator"
        os.mkfifo(f"{out}.out")
        command = ("simulate", "--port", "0", "--log", str(self.log), "--scenario", str(scenario))
        order = Order(commands=(command,), environ={"PATH": os.environ["PATH"]}, folder=folder, out=out)
        self._pid = nursery.start(order)
        with open(f"{out}.out", encoding="utf-8") as said:  # noqa: PTH123 - a FIFO: opens when the other side does
            line = said.readline()
        assert line.startswith("listening on "), Path(f"{out}.err").read_text()
        self.origin = line.removeprefix("listening on ").strip()

    def stop(self) -> None:
        os.kill(self._pid, signal.SIGKILL)  # every line of its log is flushed
        self._nursery.wait(self._pid)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log so far, without a line that is being written."""
        whole = self.log.read_text(encoding="utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]
