"""One manifest -> its resources, one for each environment it goes to, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler.diagnostics import Diagnostic
from reconciler.model.loaded import LoadedFile, Manifest, Places, Remains
from reconciler.model.resource import (
    DEFAULT_TIMEOUT,
    USUAL_ROLLOUT,
    Environment,
    OnUnknown,
    Resource,
    Rollout,
    Strategy,
)
from reconciler.model.spelling import seconds_of
from reconciler.model.values import Json, canonical, digest_of
from reconciler.resolve.checks import inexact_in, mistakes_in
from reconciler.resolve.layers import Layers

# What a manifest says to this program and not to the platform, or what goes into the call's address.
NOT_IN_BODY = frozenset({"modelId", "modelType", "environments", "rollout"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """One file on its own. `broken` are (environment, name): their `resources` only stand for them. `suspect`
    are the environments in which the file may stand for more than it gives.

    `unreadable` are the environments in which it may hold names that nobody knows.
    """

    resources: tuple[Resource, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    broken: frozenset[tuple[str, str]] = frozenset()
    suspect: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()


def resolve_file(loaded: LoadedFile, environments: Mapping[str, Environment], places: Places) -> Resolved:
    """Every resource of one file, in every environment."""
    resolver = _Resolver(environments, places)
    for manifest in loaded.manifests:
        resolver.add(manifest)
    for name, named in loaded.broken:
        resolver.add_broken(name, named)
    for remains in loaded.remains:
        resolver.add_remains(remains)
    everywhere = frozenset(environments)
    return Resolved(
        resources=tuple(resolver.resources),
        diagnostics=tuple(resolver.found),
        broken=frozenset(resolver.broken),
        suspect=everywhere if loaded.unreadable else frozenset(environment for environment, _ in resolver.broken),
        unreadable=everywhere if loaded.unreadable else frozenset(),
    )


def layers_of(manifest: Manifest, environment: Environment) -> Layers:
    """The layers of a manifest in an environment that it goes to."""
    overrides = manifest.overrides or {}
    return Layers(
        environment=environment.name,
        name=manifest.name,
        origin=manifest.origin,
        defaults=environment.defaults,
        spec=manifest.spec,
        override=overrides.get(environment.name) or {},
    )


class _Resolver:
    """Collects what the manifests of one file come to."""

    def __init__(self, environments: Mapping[str, Environment], places: Places) -> None:
        self._environments, self._places = environments, places
        self.resources: list[Resource] = []
        self.found: list[Diagnostic] = []
        self.broken: set[tuple[str, str]] = set()

    def add(self, manifest: Manifest) -> None:
        named = manifest.overrides
        if named is None and len(self._environments) == 1:
            named = self._environments
        if not named:
            self.found.append(self._not_said(manifest))
            self.add_broken(manifest.name, ())
            return
        found: list[list[Diagnostic]] = []
        for name in named:
            environment = self._environments.get(name)
            if environment is not None:
                found.append(self._add_to(manifest, environment))
        self.found += _said_once(found)
        unknown = [name for name in named if name not in self._environments]
        self.found += (self._unknown(manifest, name) for name in unknown)
        if unknown:  # it may mean any of those that it does not name
            self.broken.update((name, manifest.name) for name in self._environments if name not in named)

    def add_broken(self, name: str, named: Iterable[str]) -> None:
        """Where nothing known is named, the document may stand for any environment."""
        known = [environment for environment in named if environment in self._environments]
        everywhere = not known or len(known) < len(tuple(named))
        self.broken.update((environment, name) for environment in (self._environments if everywhere else known))

    def add_remains(self, remains: Remains) -> None:
        """What else is wrong with a document that is broken, as far as its other mistakes do not explain it."""
        rest = _Resolver(self._environments, self._places)
        rest.add(remains.manifest)
        self.found += (diagnostic for diagnostic in rest.found if not remains.may_cause(diagnostic))
        if remains.manifest.name:
            stand_ins = (replace(r, labels=(), model_type="", body="", digest="") for r in rest.resources)
            whole = remains.rollout_is_whole
            self.resources += (r if whole else replace(r, rollout=USUAL_ROLLOUT) for r in stand_ins)

    def _add_to(self, manifest: Manifest, environment: Environment) -> list[Diagnostic]:
        layers = layers_of(manifest, environment)
        merged = layers.merged()
        found = list(mistakes_in(merged, layers, self._places))
        if not found:
            body = {key: item for key, item in merged.items() if key not in NOT_IN_BODY}
            body.setdefault("name", manifest.name)
            body.setdefault("isDeployedPreviously", True)
            try:
                self.resources.append(_resource(manifest, environment.name, merged, body))
            except ValueError:
                found = list(inexact_in(body, layers, self._places))
        if found:
            self.broken.add((environment.name, manifest.name))
            self.resources.append(_stand_in(manifest, environment.name, merged))
        return found

    def _not_said(self, manifest: Manifest) -> Diagnostic:
        origin, names = manifest.origin, ", ".join(self._environments)
        empty = manifest.overrides is not None
        return Diagnostic(
            code="RC409",
            message="spec.environments names no environment" if empty else "where it goes is not said",
            position=self._places(origin.file, origin.document, ("spec", "environments"), key=True),
            path="spec.environments",
            value="{}" if empty else None,
            allowed=f"one or more of {names}",
            suggestion=f"Write `environments: {{{next(iter(self._environments))}: {{}}}}` under spec.",
        )

    def _unknown(self, manifest: Manifest, name: str) -> Diagnostic:
        from difflib import get_close_matches

        origin = manifest.origin
        close = get_close_matches(name, self._environments, n=1)
        return Diagnostic(
            code="RC408",
            message=f"the project file has no environment {name}",
            position=self._places(origin.file, origin.document, ("spec", "environments", name), key=True),
            path=f"spec.environments.{name}",
            value=repr(name),
            allowed=", ".join(self._environments),
            suggestion=f"Did you mean {close[0]}?" if close else None,
        )


def _resource(manifest: Manifest, environment: str, merged: Mapping[str, Json], body: Mapping[str, Json]) -> Resource:
    """Raises ValueError when the body cannot be spelled exactly in JSON."""
    model_type: str = merged["modelType"]
    return Resource(
        environment=environment,
        name=manifest.name,
        labels=manifest.labels,
        model_id=merged["modelId"],
        model_type=model_type,
        body=canonical(body).decode(),
        digest=digest_of(model_type, body),
        rollout=_rollout(merged["rollout"]) if merged.get("rollout") else USUAL_ROLLOUT,
        origin=manifest.origin,
    )


def _stand_in(manifest: Manifest, environment: str, merged: Mapping[str, Json]) -> Resource:
    """For what is broken: so that its name, its model and its dependencies are checked all the same. Never desired."""
    return Resource(
        environment=environment,
        name=manifest.name,
        labels=(),
        model_id=merged.get("modelId", ""),
        model_type="",
        body="",
        digest="",
        rollout=_rollout(merged["rollout"]) if merged.get("rollout") else USUAL_ROLLOUT,
        origin=manifest.origin,
    )


def _rollout(written: Mapping[str, Json]) -> Rollout:
    return Rollout(
        wave=written.get("wave", 0),
        depends_on=tuple(sorted(set(written.get("dependsOn", ())))),
        timeout=seconds_of(written["timeout"]) if "timeout" in written else DEFAULT_TIMEOUT,
        protect=written.get("protect", False),
        strategy=Strategy(written.get("strategy", Strategy.DEPLOY_FIRST)),
        on_unknown=OnUnknown(written.get("onUnknown", OnUnknown.HOLD)),
        adopt=written.get("adopt", False),
    )


def _said_once(found: list[list[Diagnostic]]) -> Iterator[Diagnostic]:
    """What is wrong in the same way in each of several environments is said once, of none of them."""
    if len(found) < 2:  # noqa: PLR2004 - several
        yield from (diagnostic for mistakes in found for diagnostic in mistakes)
        return
    alike = [{replace(d, environment=None) for d in mistakes} for mistakes in found]
    everywhere = set.intersection(*alike)
    yield from everywhere
    for mistakes in found:
        yield from (d for d in mistakes if replace(d, environment=None) not in everywhere)
