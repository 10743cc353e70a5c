"""Settings -> the concrete source, state store and platform. The only place that chooses.

Commands ask here for what they need and hand it to `pipeline`. The HTTP client and the state are imported when asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import AuthenticationError, GuardError, InvalidInput, SourceError, StateForeign, UsageError
from reconciler.load.project import NO_HOST, Fallback, Settled, load_project, origin_of
from reconciler.model.resource import Environment, KeyReference
from reconciler.model.snapshot import NO_PROVENANCE, Provenance, Snapshot, SourceFile
from reconciler.model.text import without_keys
from reconciler.settings import Settings
from reconciler.source.directory import read_manifests, read_project

if TYPE_CHECKING:
    from reconciler.model.applied import Applied, Binding
    from reconciler.plan.guards import Older
    from reconciler.platform.client import HttpPlatform
    from reconciler.state.store import Store

MAX_KEY = 4096  # bytes of a key file; a key has about 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A project, understood: its file, if there is one, and what it settles."""

    settings: Settings
    file: SourceFile | None
    project: Settled

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(environment.name for environment in self.project.environments)

    def environment(self, name: str) -> Environment:
        """Raises UsageError for a name that the project does not have."""
        for environment in self.project.environments:
            if environment.name == name:
                return environment
        raise _no_such_environment(name, self.names)

    def chosen(self, names: Iterable[str]) -> tuple[Environment, ...]:
        """The named environments, all of them when none is named. Raises UsageError."""
        wanted = tuple(dict.fromkeys(names))
        return tuple(self.environment(name) for name in wanted) if wanted else self.project.environments


def open_project(settings: Settings, *, only: Iterable[str] = (), commit: str | None = None) -> Opened:
    """Read the project file. `only` are the environments that the command is about, to which a --host may apply.

    With a `commit` it is that commit's, unless the operator named a file.

    Raises InvalidInput with diagnostics, SourceError for a named file that is not there, UsageError for --host with several
    environments.
    """
    file = _project_file(settings, commit)
    if file is None and settings.project_named:
        raise SourceError(f"The project file {settings.project} is not there.", next_step="Check --project.")
    project, found = load_project(file, Fallback(host=settings.host))
    if project is None:
        raise InvalidInput("The project file has errors.", diagnostics=found)
    if settings.state is not None:
        project = replace(project, state=settings.state)
    if file is not None and settings.host is not None:
        project = _with_host(project, settings.host, tuple(only))
    return Opened(settings=settings, file=file, project=project)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a plan is compared with. `commit` is the newest one in the history of both, `ahead` how many commits the named
    ref has that the planned commit has not.
    """

    ref: str
    commit: Provenance
    ahead: int


def commit_at(settings: Settings, ref: str, *, signed: bool = False) -> Provenance:
    """The commit that a ref means. Raises SourceError; GuardError where it must be signed and git cannot verify that it is."""
    from reconciler.source.git import find_commit, refuse_unsigned

    found = find_commit(settings.root, ref)
    if signed and found.commit is not None:
        refuse_unsigned(settings.root, found.commit)
    return found


def base_of(settings: Settings, ref: str, head: str = "HEAD") -> Base:
    """Where the history of `head` left that of `ref`. Raises SourceError."""
    from reconciler.source.git import commits_ahead, common_commit, find_commit

    tip, planned = (find_commit(settings.root, name).commit or "" for name in (ref, head))
    common = find_commit(settings.root, common_commit(settings.root, planned, tip))
    return Base(ref=ref, commit=common, ahead=commits_ahead(settings.root, tip, planned))


def _project_file(settings: Settings, commit: str | None) -> SourceFile | None:
    if commit is None or settings.project_named:
        return read_project(settings.project.parent, settings.project.name)
    from reconciler.source.git import project_at

    return project_at(settings.root, commit, settings.project.name)


def _with_host(project: Settled, host: str, only: tuple[str, ...]) -> Settled:
    """--host stands for one environment's host; which one must be plain."""
    names = only or tuple(environment.name for environment in project.environments)
    if len(names) != 1:
        raise UsageError(
            f"--host (or RECONCILER_HOST) is given, and the project has {len(names)} environments.",
            next_step="Name the one that is meant with -e ENV, or leave the host to the project file.",
        )
    try:
        origin = origin_of(host)
    except ValueError as error:
        raise UsageError(f"--host {host!r}: {error}.", next_step="Write https://host/ or host:port.") from error
    environments = tuple(replace(e, origin=origin) if e.name == names[0] else e for e in project.environments)
    return replace(project, environments=environments)


def take_snapshot(opened: Opened, *, provenance: bool = True, commit: Provenance | None = None) -> Snapshot:
    """Every manifest as it is now, or as a commit has it; `provenance` asks git where they come from."""
    root = opened.settings.root
    name = opened.settings.project.name
    if commit is not None and commit.commit is not None:
        from reconciler.source.git import manifests_at

        project = opened.project
        files, found = manifests_at(root, commit.commit, project.manifests, project.ignore, project=name)
        return Snapshot(files=files, project=opened.file, provenance=commit, diagnostics=found)
    files, found = read_manifests(root, opened.project.manifests, opened.project.ignore, project=name)
    known = NO_PROVENANCE
    if provenance:
        from reconciler.source.provenance import provenance_of

        known = provenance_of(root, (*files, *_beside(opened, root)))
    return Snapshot(files=files, project=opened.file, provenance=known, diagnostics=found)


def _beside(opened: Opened, root: Path) -> tuple[SourceFile, ...]:
    """The project file, where it lies in the root: what it defaults is part of what is deployed."""
    return (opened.file,) if opened.file is not None and opened.settings.project.parent == root else ()


# State


@dataclass(frozen=True, slots=True, kw_only=True)
class StatePlace:
    """Where states are kept, as `state` names it; each environment has its own. `folder` is None where it is no folder.

    The stores of one place are used one after the other: they may share what they reach it by.
    """

    shown: str
    store: Callable[[str], Store]
    environments: Callable[[], tuple[str, ...]]
    folder: Path | None = None


def state_place(opened: Opened, text: str | None = None) -> StatePlace:
    """The place that the project, or `text`, names. Raises UsageError for one that there is no store for."""
    text = opened.project.state if text is None else text
    scheme, sign, _ = text.partition("://")
    if text.startswith("git:"):
        return _git_branch(opened, text.removeprefix("git:"))
    if not sign:
        return _state_in_folder(opened.settings.root / text)
    if scheme in {"s3", "gs", "az"}:
        return _state_in_bucket(text, opened.settings.environ)
    if scheme in {"postgresql", "postgres"}:
        return _state_in_database(text)
    raise UsageError(
        f"state: there is no store for {scheme}://.",
        next_step="Write a folder, git:BRANCH, s3://, gs:// or az://BUCKET/PREFIX, or postgresql://HOST/DATABASE.",
    )


def _state_in_folder(folder: Path) -> StatePlace:
    from reconciler.state.file import FileStore, environments_in

    return StatePlace(
        shown=str(folder),
        store=lambda name: FileStore(folder, name),
        environments=lambda: environments_in(folder),
        folder=folder,
    )


def _git_branch(opened: Opened, text: str) -> StatePlace:
    """`BRANCH`, `URL#BRANCH`, `URL`, or nothing: a branch of the repository that the project lies in."""
    from reconciler.state.git import DEFAULT_BRANCH, GitStore, environments_in
    from reconciler.state.gitremote import GitRemote

    address, sign, branch = text.rpartition("#")
    if not sign:
        address, branch = (text, "") if ":" in text else ("", text)

    remote = GitRemote(opened.settings.root, branch or DEFAULT_BRANCH, address or None, lent_environ(opened))
    return StatePlace(
        shown=remote.shown,
        store=lambda name: GitStore(remote, name),
        environments=lambda: environments_in(remote),
    )


def _state_in_bucket(url: str, environ: Mapping[str, str]) -> StatePlace:
    from reconciler.state.bucket import Bucket
    from reconciler.state.objects import ObjectStore, environments_in

    bucket = Bucket(url, environ)
    return StatePlace(
        shown=bucket.shown,
        store=lambda name: ObjectStore(bucket, name),
        environments=lambda: environments_in(bucket),
    )


def _state_in_database(url: str) -> StatePlace:
    from reconciler.state.postgres import Database, PostgresStore, environments_in

    return StatePlace(
        shown=Database(url).shown,
        store=lambda name: PostgresStore(Database(url), name),
        environments=lambda: environments_in(Database(url)),
    )


def state_folder(opened: Opened) -> Path:
    """The folder that holds one state an environment. Raises UsageError when the state is not kept in one."""
    place = state_place(opened)
    if place.folder is None:
        raise UsageError(
            f"The state is kept in {place.shown}, and only one in a folder is mended here.",
            next_step="See docs/state.md, Stores, for what each store itself offers.",
        )
    return place.folder


def store_for(opened: Opened, environment: Environment) -> Store:
    return state_place(opened).store(environment.name)


def refuse_leftovers(opened: Opened, place: StatePlace | None = None) -> None:
    """Raises StateForeign when the state knows an environment with entries that the project no longer has."""
    place = place or state_place(opened)
    for name in place.environments():
        if name in opened.names:
            continue
        count = len(read_applied(place.store(name)).entries)
        if count and opened.file is None:
            raise StateForeign(
                f"The project file {opened.settings.project} is not there, and the state in {place.shown} has {count} entries of"
                f" the environment {name}.",
                next_step="Put it back; -C names the folder that it lies in, --project the file.",
            )
        if count:
            raise StateForeign(
                f"The state in {place.shown} has {count} entries of the environment {name}, which the project does not have.",
                next_step=f"Put {name} back into {opened.settings.project}, or undeploy and forget its entries first.",
            )


def read_applied(store: Store) -> Applied:
    """What the state knows now, without a lock and without writing; its run lock counts only while a holder may live."""
    applied = read_logged(store)
    if applied.lock is not None and store.sender_is_dead():
        return replace(applied, lock=None)
    return applied


def read_logged(store: Store) -> Applied:
    """What snapshot and log say, also of a run lock whose holder is dead."""
    from reconciler.state.fold import fold

    stored = store.read()
    return fold(stored.snapshot, stored.records)


def binding_of(environment: Environment) -> Binding:
    from reconciler.model.applied import Binding

    return Binding(origin=environment.origin, api_key=str(environment.api_key))


def refuse_foreign(environment: Environment, applied: Applied) -> None:
    """Raises StateForeign when the state is bound to another host or key reference.

    A state without entries binds nothing: whoever corrects the host after `init` need not say so twice.
    """
    if environment.origin == NO_HOST or not applied.entries:
        return  # no host: planning in a project without a file
    now, bound = binding_of(environment), applied.binding
    for what, ours, theirs in (("host", now.origin, bound.origin), ("API key", now.api_key, bound.api_key)):
        if ours != theirs:
            raise StateForeign(
                f"The state of {environment.name} is bound to the {what} {theirs}, and the project now says {ours}.",
                next_step="Check the project file and --host. Is it the same platform? Then `reconciler apply --rebind` says so.",
            )


def older_than_applied(settings: Settings, provenance: Provenance, applied: Applied) -> Older | None:
    """The commit that was applied, where the manifests' own is older. Git is asked only where the two differ."""
    known = applied.commit
    if known is None or provenance.commit in {None, known.commit}:
        return None
    from reconciler.plan.guards import Older
    from reconciler.source.order import is_older

    if not is_older(settings.root, provenance, known.commit, known.committed_at):
        return None
    return Older(commit=provenance.commit or "", applied=known)


def refuse_ephemeral(opened: Opened, *, allowed: bool) -> None:
    """Raises GuardError in CI: a folder on a runner is gone with the runner, and every job with it."""
    folder = state_place(opened).folder if opened.settings.ci and not allowed else None
    if folder is not None:
        raise GuardError(
            f"CI is set, and the state lies in the folder {folder}, which most runners throw away.",
            next_step="Keep the state elsewhere (`state: git:`, docs/state.md), or keep the folder between runs and say so with"
            " --allow-ephemeral-state.",
        )


# Platform


def platform_for(opened: Opened, environment: Environment) -> HttpPlatform:
    """Raises AuthenticationError when the key cannot be read, InvalidInput for a host that is not said or cannot be used."""
    from reconciler.platform.client import HttpPlatform

    if environment.origin == NO_HOST:
        raise InvalidInput(
            "No host is known.", next_step="Write a project file (`reconciler init`), or set RECONCILER_HOST."
        )
    key = key_reader(environment.api_key, opened.settings.root, opened.settings.environ)
    key()  # a missing key is told before anything is planned to be sent
    ca_file = str(opened.settings.root / environment.ca_file) if environment.ca_file else None
    return HttpPlatform(environment.origin, key, ca_file=ca_file, environ=opened.settings.environ)


def key_reader(reference: KeyReference, root: Path, environ: Mapping[str, str]) -> Callable[[], str]:
    """A function that reads the key anew each time, so that a file that is rotated is picked up."""
    if reference.kind == "env":
        return lambda: _key_from_environment(reference.value, environ)
    return lambda: _key_from_file(root / reference.value)


def _key_from_environment(name: str, environ: Mapping[str, str]) -> str:
    key = environ.get(name, "").strip()
    if not key:
        raise AuthenticationError(
            f"The API key is expected in the environment variable {name}, which is not set.",
            next_step=f"Set {name}, or name another place under apiKey in the project file.",
        )
    return key


def _key_from_file(path: Path) -> str:
    step = "Check apiKey.file in the project file, and who may read it."
    try:
        # Never waits: a FIFO without a writer would.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            key = stream.read(MAX_KEY + 1)
    except OSError as error:
        raise AuthenticationError(
            f"The API key cannot be read from {path}: {error.strerror}.", next_step=step
        ) from error
    if not key.strip():
        raise AuthenticationError(f"The API key's file {path} is empty.", next_step=step)
    if len(key) > MAX_KEY:
        raise AuthenticationError(f"The API key's file {path} is larger than {MAX_KEY} bytes.", next_step=step)
    return key.decode("utf-8", "replace").strip()


def lent_environ(opened: Opened, *more: KeyReference | None) -> dict[str, str]:
    """The variables for programs that are run to reach another machine, as git is: everything that may be needed to get
    there, and nothing that only we are to know.
    """
    project = opened.project
    references = [environment.api_key for environment in project.environments]
    references += [one for channel in project.notifications for one in (channel.url, channel.secret) if one is not None]
    secret = {one.value for one in (*references, *more) if one is not None and one.kind == "env"}
    environ = opened.settings.environ
    return {name: value for name, value in environ.items() if name not in secret and without_keys(value) == value}


def _no_such_environment(name: str, names: tuple[str, ...]) -> UsageError:
    from difflib import get_close_matches

    close = get_close_matches(name, names, n=1)
    did = f"Did you mean {close[0]}? " if close else ""
    return UsageError(f"There is no environment {name!r}.", next_step=f"{did}The project has {', '.join(names)}.")
