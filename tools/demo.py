"""`make demo`: manifests become deployments, on a simulated platform on this machine.

Starts the simulator on a free loopback port, runs init, plan and apply on the example estate as a person would, shows what
is deployed and where the state lies, and plans again. Stops what it started, also when it is interrupted.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".demo"
KEY = "kg-simulator"  # the key that the simulator accepts
JOB_SECONDS = "4"


def main() -> int:
    """Run the demo; gives an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    shutil.rmtree(STATE, ignore_errors=True)  # a demo begins with nothing
    try:
        with simulator() as host:
            environ = {**os.environ, "RECONCILER_HOST": host, "RECONCILER_STATE": str(STATE), "STAGING_API_KEY": KEY}
            environ.pop("CI", None)  # this state need not outlive the machine
            return show(environ)
    except KeyboardInterrupt:
        print("\nInterrupted; the simulator is stopped.", file=sys.stderr)
        return 130


def show(environ: dict[str, str]) -> int:
    """What a person would type, one command after the other; stops at the first that fails."""
    for arguments, expected in (
        (["init"], 0),
        (["plan", "--detailed-exitcode"], 2),
        (["apply", "--yes"], 0),
        (["status", "-o", "wide"], 0),
        (["plan", "--detailed-exitcode"], 0),
    ):
        heading("reconciler " + shlex.join(arguments))
        code = reconciler(arguments, environ)
        if code != expected:
            print(f"\nThe demo failed: exit code {code}, not {expected}.", file=sys.stderr)
            return code or 1
    heading(None)
    print(f"The state file, with every dockStatusId: {STATE / 'staging' / 'state.json'}")
    print("Change something in manifests/ and run `make demo` again, or read README.md for your own platform.")
    return 0


def reconciler(arguments: list[str], environ: dict[str, str]) -> int:
    """One command, on our own terminal. A signal reaches it too; it is waited for, because it has things to record."""
    process = subprocess.Popen([sys.executable, "-m", "reconciler", "-C", str(ROOT), *arguments], env=environ)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise


@contextmanager
def simulator() -> Iterator[str]:
    """A simulated platform on a free port; gives its address."""
    command = [sys.executable, "-m", "reconciler", "simulate", "--port", "0", "--job-seconds", JOB_SECONDS]
    # In a group of its own: Ctrl-C is for the commands, which still have jobs to record; the simulator goes last.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise SystemExit("The simulator did not start.")
        host = line.removeprefix("listening on ").strip()
        print(f"A simulated platform listens on {host}")
        yield host
    finally:
        process.terminate()
        process.wait()


def heading(command: str | None) -> None:
    """A line between two steps."""
    print(f"\n{'─' * 100}" + (f"\n$ {command}" if command else ""), flush=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
