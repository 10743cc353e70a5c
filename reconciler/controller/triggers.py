"""What asks for a look: files that change, a clock, a signal. All of them say only "look again", and why.

`supervisor` runs these beside the loop and gives them its `ask`. Events are hints: what has changed is found by looking, and
what no event told is found by the clock. Where the file system sends no events, files are looked at in intervals, and it
says so. When the kernel's queue of events overflows, neither the kernel's word for that nor what it dropped comes through; but
what was queued before does. So every event leads to a look, also one of a file that is no concern of ours.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from reconciler.controller.rest import ENDINGS, Look, Places, folders_of, look_at

Ask: TypeAlias = Callable[[str], None]
Say: TypeAlias = Callable[[str], None]

FILES = "files changed"
CLOCK = "the clock"
FETCH = "time to fetch"
USUAL_POLL = 5.0
STEP = 50  # milliseconds; the settle time hides it

# File systems on which changes made elsewhere cause no event here.
SILENT = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "vboxsf", "fuse"}
)


async def every(seconds: float, ask: Ask, *, random: Callable[[], float], cause: str = CLOCK) -> None:
    """Asks in an interval, give or take a tenth, so that many containers do not all ask at once."""
    while True:
        await asyncio.sleep(seconds * (0.9 + 0.2 * random()))
        ask(cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWatch:
    """`poll` is the interval that a person asked for, None where events are to be used if there are any."""

    places: Callable[[], Places]
    ask: Ask
    say: Say
    settle: float
    poll: float | None = None
    mounts: Path = Path("/proc/self/mountinfo")

    async def run(self) -> None:
        """For as long as the program runs."""
        why = None if self.poll is None else "as asked for"
        while why is None:
            try:
                watched = await asyncio.to_thread(_watched, self.places())
                why = silent(watched.folders, self.mounts)
                if why is None:
                    await self._watch(watched)
            except FileNotFoundError:  # a folder went while its watch began
                await asyncio.sleep(STEP / 1000)
            except (OSError, RuntimeError) as error:  # RuntimeError: the library's word for too many watches
                why = f"the system refuses to watch ({error})"
        interval = self.poll or USUAL_POLL
        self.say(f"files are looked at every {interval:g} s ({why})")
        await self._poll(interval)

    async def _watch(self, watched: _Watched) -> None:
        """Until the folders to be watched are others. What changed before the watch began is found by looking."""
        noise = asyncio.Event()
        tasks = [
            asyncio.create_task(self._events(folders, recursive=recursive, watched=watched, noise=noise))
            for folders, recursive in ((watched.deep, True), (watched.shallow, False))
            if folders
        ]
        tasks.append(asyncio.create_task(self._overlooked(watched, noise)))
        try:
            self.ask(FILES)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _events(
        self, folders: tuple[Path, ...], *, recursive: bool, watched: _Watched, noise: asyncio.Event
    ) -> None:
        from watchfiles import Change, awatch

        ours = {str(folder) for folder in watched.folders}
        changes = awatch(
            *folders,
            watch_filter=None,
            recursive=recursive,
            debounce=4 * STEP,
            step=STEP,
            force_polling=False,
            ignore_permission_denied=True,
        )
        async for batch in changes:
            if any(path in ours and change is not Change.modified for change, path in batch):
                return  # a folder that is made anew may look like the one that went
            if not any(watched.concerns(path) for _, path in batch):
                noise.set()
                continue
            self.ask(FILES)
            if await self._is_other(watched):
                return

    async def _overlooked(self, watched: _Watched, noise: asyncio.Event) -> None:
        """What events that are no concern of ours came in place of; however many come, a look now and then is enough."""
        seen: Look | None = None
        if await self._is_other(watched):  # while the watch began
            return
        while True:
            await noise.wait()
            await asyncio.sleep(self.settle)
            noise.clear()
            look = await asyncio.to_thread(look_at, self.places())
            if look != seen:
                seen = look
                self.ask(FILES)
            if await self._is_other(watched):
                return
            await asyncio.sleep(USUAL_POLL)

    async def _is_other(self, watched: _Watched) -> bool:
        return await asyncio.to_thread(_watched, self.places()) != watched

    async def _poll(self, interval: float) -> None:
        seen: Look | None = None
        while True:
            look = await asyncio.to_thread(look_at, self.places())
            if look != seen:
                seen = look
                self.ask(FILES)
            await asyncio.sleep(interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched:
    """What is watched: folders with all that is in them, and folders in which only some names matter.

    `identities` are those of all folders, also of those inside: when a folder of the same name has become another one its watch
    is gone with the first, and one that came while events were lost has none.
    """

    deep: tuple[Path, ...]
    shallow: tuple[Path, ...]
    names: frozenset[str]
    identities: frozenset[tuple[str, int, int]]

    @property
    def folders(self) -> tuple[Path, ...]:
        return (*self.deep, *self.shallow)

    def concerns(self, path: str) -> bool:
        """Manifests, whatever may be a folder or link, and the names on the way; not the state, not git's own files."""
        if path in self.names:
            return True
        inside = next((path[len(top) :] for top in map(str, self.deep) if path.startswith(f"{top}/")), None)
        if inside is None:
            return False
        *folders, name = inside.strip("/").split("/")
        if any(map(_is_hidden, folders)):
            return False
        return name.endswith(ENDINGS) if "." in name.lstrip(".") else not _is_hidden(name)


def _watched(places: Places) -> _Watched:
    """Folders that are missing are watched for from above."""
    deep: set[Path] = set()
    shallow: set[Path] = set()
    below: set[Path] = set()
    names: set[str] = set()
    tops = [places.root / folder for folder in places.folders]
    for top in tops:
        existing = top
        while not existing.is_dir() and existing != existing.parent:
            names.add(str(existing.parent.resolve() / existing.name))
            existing = existing.parent
        shallow.add((existing.parent if existing == top else existing).resolve())
        names.add(str(top.parent.resolve() / top.name))
        if existing == top:
            own, linked = _inside(top.resolve())
            deep.update({top.resolve()}, linked)
            below.update(own)
    shallow.add(places.project.parent.resolve())
    names.add(str(places.project.parent.resolve() / places.project.name))
    for path in (places.root, places.project, *tops):
        shallow.update(folder.resolve() for folder in folders_of([path]))
        names.update(str(link.parent.resolve() / link.name) for link in _links(path))
    kept = {folder for folder in shallow if folder.is_dir()}
    return _Watched(
        deep=tuple(sorted(deep)),
        shallow=tuple(sorted(kept)),
        names=frozenset(names),
        identities=frozenset(map(_identity, deep | kept | below)),
    )


def _links(path: Path) -> Iterable[Path]:
    from reconciler.controller.rest import links_on

    return links_on(path)


def _inside(top: Path) -> tuple[set[Path], set[Path]]:
    """The folders inside, and those outside that links lead to or that hold the files that links lead to."""
    own, linked = set[Path](), set[Path]()
    for where, folders, files in os.walk(top):
        own.add(Path(where))
        folders[:] = [name for name in folders if not _is_hidden(name)]
        for name in (*folders, *files):
            path = Path(where, name)
            if path.is_symlink():
                with suppress(OSError):
                    real = path.resolve(strict=True)
                    linked.add(real if real.is_dir() else real.parent)
    return own, {folder for folder in linked if folder != top and top not in folder.parents}


def _is_hidden(name: str) -> bool:
    """As the state's folder and git's are; not the folders of a ConfigMap, as `..data`."""
    return name.startswith(".") and not name.startswith("..")


def _identity(folder: Path) -> tuple[str, int, int]:
    try:
        status = folder.stat()
    except OSError:
        return (str(folder), 0, 0)
    return (str(folder), status.st_dev, status.st_ino)


def silent(folders: Iterable[Path], mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Why events cannot be relied on for one of the folders; None when they can, as far as is known."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    kinds = {}
    for line in lines:
        fields = line.split(" ")
        if "-" in fields and len(fields) > fields.index("-") + 1:
            kinds[fields[4].replace("\\040", " ")] = fields[fields.index("-") + 1]
    for folder in folders:
        where = next((str(p) for p in (folder, *folder.parents) if str(p) in kinds), "/")
        kind = kinds.get(where, "")
        if kind in SILENT or kind.partition(".")[0] == "fuse":
            return f"{folder} lies on {kind}, which does not tell of changes made elsewhere"
    return None
