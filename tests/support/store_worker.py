"""A process that uses a file store and can be killed: between any two of its system calls, or at any moment.

`python -m tests.support.store_worker` reads jobs as JSON, one a line, and works each in a fork of itself, so that starting
costs nothing. A job is `{"do": name, "folder": path, "die_at": n | null, "fault": {…} | null}`: with `die_at` the child kills
itself just before its n-th system call that changes something; a `fault` is one of `tests.crash.injector`, which has its files
beside the folder. It prints a word a line as it goes (`pid …`, then what is done, as soon as
that was acknowledged) and at last `end <exit status>`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from reconciler.errors import ReconcilerError
from reconciler.model.records import Record
from reconciler.state.file import FileStore
from reconciler.state.fold import fold
from reconciler.state.format import decode_batch, decode_snapshot, encode_batch, encode_snapshot
from reconciler.state.repair import repair
from tests.crash.injector import Fault, Injector
from tests.support.records import HOLDER, NOON, accepted, attempt, empty, note, status

# What can leave something half-done. Taking a lock counts, because dying with it must free it.
CHANGING = frozenset(
    {"open", "pwrite", "fdatasync", "fsync", "rename", "replace", "unlink", "remove", "mkdir", "ftruncate", "flock"}
)
STORY: tuple[list[Record], ...] = ([attempt()], [accepted(), status()], [note(4), note(5), note(6)], [note(7)])


def say(word: str) -> None:
    """In one write, so that what was said before a kill is there whole."""
    os.write(1, f"{word}\n".encode())


def story(folder: Path) -> None:
    """Everything a store does: is made, takes the run lock, appends, compacts twice, appends."""
    store = FileStore(folder, "production")
    store.create(empty())
    say("made")
    lock = store.lock_run(HOLDER)
    seq = 0
    for records in STORY:
        seq = store.append(seq, records)
        say(f"acked {seq}")
        if seq in {3, 6}:
            compact(store)
            say("compacted")
    lock.release()
    say("done")


def compact(store: FileStore) -> None:
    stored = store.read()
    store.compact(stored.seq, fold(stored.snapshot, stored.records))


def recover(folder: Path) -> None:
    """What the next run does with whatever is there: read, append, compact."""
    store = FileStore(folder, "production")
    seq = store.read().seq
    seq = store.append(seq, [note(100 + seq)])
    say(f"acked {seq}")
    compact(store)
    say("done")


def mend(folder: Path) -> None:
    """A repair."""
    repair(folder, "production", now=NOON)
    say("done")


def write_for_ever(folder: Path) -> None:
    """Appends until it is killed."""
    store = FileStore(folder, "production")
    seq = store.read().seq
    while True:
        seq = store.append(
            seq, [note(seq + 1), note(seq + 2)] if seq % 3 else [attempt(f"a{seq}", model=f"cm-{seq + 1}")]
        )
        say(f"acked {seq}")
        if seq % 7 == 0:
            compact(store)


def append_some(folder: Path) -> None:
    """Twenty appends against whoever appends too."""
    from reconciler.state.store import Conflict

    store = FileStore(folder, "production")
    for n in range(20):
        while True:
            try:
                seq = store.append(store.read().seq, [note(os.getpid() * 100 + n)])
            except Conflict:
                continue
            break
        say(f"acked {seq} cm-{os.getpid() * 100 + n}")


def hold(folder: Path) -> None:
    """Takes the run lock and keeps it until it is killed."""
    lock = FileStore(folder, "production").lock_run(HOLDER)
    say("locked")
    signal.pause()
    lock.release()


JOBS: dict[str, Callable[[Path], None]] = {
    job.__name__: job for job in (story, recover, mend, write_for_ever, append_some, hold)
}


def die_at(call: int) -> None:
    """Kills this process just before its system call of that number."""
    count = 0

    def before(_: FrameType, event: str, function: Any) -> None:
        nonlocal count
        if event == "c_call" and getattr(function, "__module__", None) in {"posix", "fcntl"}:
            count += function.__name__ in CHANGING
            if count == call:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(before)


def work(job: dict[str, Any]) -> int:
    """One job, in this process; the exit status."""
    say(f"pid {os.getpid()}")
    if job.get("die_at") is not None:
        die_at(job["die_at"])
    folder = Path(job["folder"])
    if job.get("fault") is not None:
        Injector(Fault(**job["fault"]), folder.parent / "witness", folder.parent / "attic").install()
    try:
        JOBS[job["do"]](folder)
    except ReconcilerError as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    return 0


def main() -> None:
    decode_snapshot(encode_snapshot(empty()), where="")  # built once, before the forks
    decode_batch(encode_batch(1, [note(1)]), where="")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(work(json.loads(line)))
        say(f"end {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")


if __name__ == "__main__":
    main()
