"""A process that has imported the program and forks a worker for every run: a crash costs milliseconds, not a start.

`nursery` starts it as `python -m tests.crash.worker` and talks to it in lines of JSON:

    {"start": {"commands": [["apply", "--yes"]], "environ": {…}, "folder": …, "out": …, "fault": {…} | null, …}} -> {"pid": 7}
    {"wait": 7}                                    -> {"code": 0}, negative for a signal; {"stopped": true} when it is stopped

A worker is the real command line: `reconciler.cli.main.run`, with its own environment, folder, stdin, stdout and stderr. Only
its system calls may be disturbed (`injector`) and its clock leaps over what nobody awaits (`leaping`).
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from reconciler.cli.main import run
from reconciler.platform.boundary import redacted
from tests.crash.history import KEY
from tests.crash.injector import BROKEN, Fault, Injector
from tests.crash.leaping import run_leaping

# What the tests' commands import when they are called.
WARM = (
    *(
        f"reconciler.cli.{name}"
        for name in (
            "apply",
            "explain",
            "history",
            "plan",
            "resolve",
            "retry",
            "simulate",
            "status",
            "watch",
            "watched",
        )
    ),
    "reconciler.cli.logs",
    "reconciler.cli.running",
    "reconciler.cli.serving",
    "reconciler.cli.validate",
    "reconciler.controller.supervisor",
    "reconciler.platform.client",
    "reconciler.simulator.serve",
    "reconciler.source.provenance",
    "reconciler.state.file",
    "h11",
    "httpcore",
    "anyio._backends._asyncio",
    "uvicorn.lifespan.off",
)


def warm() -> None:
    """Import everything now, and make the patterns of the histories' key; what is forked shares it."""
    for name in WARM:
        import_module(name)
    redacted(KEY.encode(), KEY)
    gc.collect()
    gc.freeze()


def main() -> None:
    """Answer until nobody asks any more."""
    warm()
    living: set[int] = set()
    try:
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), living)), flush=True)
    except (BrokenPipeError, KeyboardInterrupt):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing is left to be flushed to
    finally:
        for pid in living:
            os.kill(pid, signal.SIGKILL)


def answer(question: dict[str, Any], living: set[int]) -> dict[str, Any]:
    """One line of the protocol."""
    match question:
        case {"start": dict(told)}:
            pid = start(told)
            living.add(pid)
            return {"pid": pid}
        case {"wait": int(pid)}:
            ended = wait(pid)
            if "code" in ended:
                living.discard(pid)
            return ended
        case other:
            raise AssertionError(f"not understood: {other}")


def wait(pid: int) -> dict[str, Any]:
    """Until it ends or is stopped."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return {"stopped": True}
    return {"code": os.waitstatus_to_exitcode(status)}


def start(told: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        live(told)
    return pid


def live(told: dict[str, Any]) -> NoReturn:
    """The whole life of a worker; it ends with the code of the first command that does not end with 0."""
    code = BROKEN
    try:
        injector = _settled_in(told)
        for command in told["commands"]:
            code = run(command)
            if code != 0:
                break
        if injector is not None:
            injector.finish()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it must not get back into the parent's loop
        print(f"the worker broke: {type(error).__name__}: {error}", file=sys.stderr)
        code = BROKEN
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _settled_in(told: dict[str, Any]) -> Injector | None:
    os.environ.clear()
    os.environ.update(told["environ"])
    os.chdir(told["folder"])
    _redirect(0, "/dev/null", os.O_RDONLY)
    _redirect(1, told["out"] + ".out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _redirect(2, told["out"] + ".err", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if told["gate"]:
        fcntl.flock(os.open(told["gate"], os.O_RDONLY), fcntl.LOCK_SH)
    if told["fault"] is None:
        return None
    if told["leaps"]:  # a loop of its own making; the program asks for nothing but `asyncio.run`
        asyncio.run = run_leaping  # type: ignore[assignment]
    injector = Injector(Fault(**told["fault"]), Path(told["witness"]), Path(told["attic"]))
    injector.install(elsewhere=told["elsewhere"])
    return injector


def _redirect(number: int, path: str, flags: int) -> None:
    opened = os.open(path, flags, 0o600)
    os.dup2(opened, number)
    os.close(opened)


if __name__ == "__main__":
    main()
