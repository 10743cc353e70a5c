"""manifests -> Desired: merged for each environment, complete, and fitting together.

Pure. `pipeline.check` calls `resolve` and `locator`. What is written is judged before, by `load`; this package knows no text:
places are asked of a `Places`, and only for what is wrong or different.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter

from reconciler.diagnostics import Diagnostic, Position, in_order
from reconciler.model.loaded import LoadedFile, Manifest, Memo, Places, nowhere
from reconciler.model.resource import Blame, Desired, Environment, Locate, Resource
from reconciler.resolve.layers import Layers, Steps, merge_patch
from reconciler.resolve.references import Find, Scope, mistakes_between
from reconciler.resolve.resources import Resolved as ResolvedFile
from reconciler.resolve.resources import layers_of, resolve_file

_WHOLE = ""  # the memo's key of a whole pass; no file has this path
_IN_ORDER = attrgetter("environment", "name", "origin.file", "origin.document")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """`desired` has every environment, in order of its name."""

    desired: tuple[Desired, ...]
    diagnostics: tuple[Diagnostic, ...]


def resolve(
    loaded: Iterable[LoadedFile],
    environments: Iterable[Environment],
    memo: Memo | None = None,
    *,
    places: Places = nowhere,
    unread: Iterable[str] = (),
) -> Resolved:
    """Every environment's resources, and everything wrong.

    `unread` are paths that the source could not read: whatever was last seen there counts as broken. With a memo, files that
    are the same objects as in the pass before are not resolved again.
    """
    files, gone = tuple(loaded), frozenset(unread)
    named = {environment.name: _settled(environment) for environment in sorted(environments, key=lambda e: e.name)}
    memo = memo or Memo()
    if memo.environments != named:
        memo.resolved, memo.environments = {}, named
    known = memo.resolved.get(_WHOLE)
    if known is not None and known[1] == gone and _are_same(known[0], files):
        whole: Resolved = known[2]
        return whole
    done = _files(files, named, memo, places)
    result = _together(files, done, named, places, gone)
    if not result.diagnostics:  # places may move although the files stay: the project file has some too
        memo.resolved[_WHOLE] = (files, gone, result)
    return result


def locator(loaded: Iterable[LoadedFile], environments: Iterable[Environment], places: Places) -> Locate:
    """A function that says which layer set a value of a resource's body (or `modelId`, `modelType`), and where it is written."""
    find = _Layering(loaded, environments).of

    def locate(resource: Resource, path: str) -> Blame:
        return find(resource).blame(tuple(path.split(".")), places)

    return locate


def _settled(environment: Environment) -> Environment:
    """Defaults have nothing to delete, so a null there says nothing."""
    return replace(environment, defaults=merge_patch({}, environment.defaults))


def _are_same(before: tuple[LoadedFile, ...], files: tuple[LoadedFile, ...]) -> bool:
    return len(before) == len(files) and all(a is b for a, b in zip(before, files, strict=True))


def _files(
    files: Iterable[LoadedFile], environments: Mapping[str, Environment], memo: Memo, places: Places
) -> list[ResolvedFile]:
    before, memo.resolved = memo.resolved, {}
    done = []
    for file in files:
        known = before.get(file.path)
        if known is None or known[0] is not file or known[1].diagnostics:
            known = (file, resolve_file(file, environments, places))
        memo.resolved[file.path] = known
        done.append(known[1])
    return done


def _together(
    files: tuple[LoadedFile, ...],
    done: Iterable[ResolvedFile],
    environments: Mapping[str, Environment],
    places: Places,
    unread: frozenset[str],
) -> Resolved:
    tally = _Tally(environments, unread)
    for file, resolved in zip(files, done, strict=True):
        tally.add(file.path, resolved)
    resources = tuple(sorted(tally.resources, key=_IN_ORDER))
    scope = Scope(
        hosts={name: environment.origin for name, environment in environments.items()},
        broken={name: frozenset(tally.broken[name]) for name in environments},
        unreadable=frozenset(environments) if unread else frozenset(tally.unreadable),
    )
    for found in mistakes_between(resources, scope, _find_with(files, environments, places)):
        tally.break_all(found.broken)
        if found.diagnostic is not None:
            tally.found.append(found.diagnostic)
    return Resolved(
        desired=tuple(tally.desired(name, resources) for name in environments), diagnostics=in_order(tally.found)
    )


class _Tally:
    """What the files come to together."""

    def __init__(self, environments: Iterable[str], unread: frozenset[str]) -> None:
        self.resources: list[Resource] = []
        self.found: list[Diagnostic] = []
        self.broken: dict[str, set[str]] = {name: set() for name in environments}
        self.broken_files: dict[str, set[str]] = {name: set(unread) for name in environments}
        self.unreadable: set[str] = set()

    def add(self, path: str, resolved: ResolvedFile) -> None:
        self.resources += resolved.resources
        if resolved.diagnostics or resolved.suspect or resolved.broken:
            self.found += resolved.diagnostics
            self.unreadable |= resolved.unreadable
            for environment, name in resolved.broken:
                self.broken[environment].add(name)
            for environment in resolved.suspect:
                self.broken_files[environment].add(path)

    def break_all(self, resources: Iterable[Resource]) -> None:
        for resource in resources:
            self.broken[resource.environment].add(resource.name)
            self.broken_files[resource.environment].add(resource.origin.file)

    def desired(self, environment: str, resources: Iterable[Resource]) -> Desired:
        broken = self.broken[environment]
        return Desired(
            environment=environment,
            resources=tuple(r for r in resources if r.environment == environment and r.name not in broken),
            broken=frozenset(f"{environment}/{name}" for name in broken),
            broken_files=frozenset(self.broken_files[environment]),
        )


class _Layering:
    """From resources back to the layers they came from; the index is made at the first question."""

    def __init__(self, loaded: Iterable[LoadedFile], environments: Iterable[Environment]) -> None:
        self._loaded = loaded
        self._environments = {environment.name: environment for environment in environments}
        self._manifests: dict[tuple[str, int], Manifest] = {}

    def of(self, resource: Resource) -> Layers:
        if not self._manifests:
            written = (m for f in self._loaded for m in (*f.manifests, *(remains.manifest for remains in f.remains)))
            self._manifests = {(m.origin.file, m.origin.document): m for m in written}
        manifest = self._manifests[resource.origin.file, resource.origin.document]
        return layers_of(manifest, self._environments[resource.environment])


def _find_with(loaded: Iterable[LoadedFile], environments: Mapping[str, Environment], places: Places) -> Find:
    layering = _Layering(loaded, environments.values())

    def find(resource: Resource, path: Steps) -> tuple[Position | None, str]:
        if not path:
            origin = resource.origin
            return places(origin.file, origin.document, ("metadata", "name")), "metadata.name"
        layers = layering.of(resource)
        layer = layers.layer_of(path)
        return layers.place(layer, path, places, key=False), layers.path(layer, path)

    return find


__all__ = ["Resolved", "locator", "resolve"]
