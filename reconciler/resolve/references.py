"""What must hold between resources: names and models used once, dependencies that exist and lead nowhere back.

Over all environments at once, because two of them may be on one host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from reconciler.diagnostics import Diagnostic, Position
from reconciler.model.resource import Resource
from reconciler.resolve.layers import Steps

SHOWN_IN_CIRCLE = 8
MOST_HINTS = 20  # unknown names that are compared with all others; thousands in one file took minutes

# (resource, path in its spec) -> (place, path as a diagnostic shows it)
Find = Callable[[Resource, Steps], tuple[Position | None, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One mistake, and the resources that it breaks."""

    diagnostic: Diagnostic | None
    broken: tuple[Resource, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What dependencies are looked up in: names that exist though broken, and environments where names may be missing."""

    hosts: Mapping[str, str]
    broken: Mapping[str, frozenset[str]]
    unreadable: frozenset[str]


def mistakes_between(resources: tuple[Resource, ...], scope: Scope, find: Find) -> Iterator[Found]:
    """`resources` are sorted by environment, name and place."""
    yield from _names_twice(resources, find)
    yield from _models_twice(resources, scope.hosts, find)
    dependants = [resource for resource in resources if resource.rollout.depends_on]
    if dependants:
        by_address = {resource.address: resource for resource in resources}
        yield from _unknown(dependants, by_address, scope, find)
        times = Counter(
            resource.address for resource in resources
        )  # which one is meant by a name used twice cannot be told
        by_address = {address: resource for address, resource in by_address.items() if times[address] == 1}
        dependants = [resource for resource in dependants if times[resource.address] == 1]
        yield from _later_waves(dependants, by_address, find)
        yield from _circles(dependants, by_address, find)


def _names_twice(resources: Iterable[Resource], find: Find) -> Iterator[Found]:
    first: Resource | None = None
    for before, resource in pairwise(resources):
        if before.name != resource.name or before.environment != resource.environment:
            first = None
            continue
        first = first or before
        place, _ = find(resource, ())
        diagnostic = Diagnostic(
            code="RC405",
            message=f"{resource.name} is already the name of the manifest at {_place(first, find)}",
            position=place,
            path="metadata.name",
            value=repr(resource.name),
            environment=resource.environment,
        )
        yield Found(diagnostic=diagnostic, broken=(first, resource))


def _models_twice(resources: Iterable[Resource], hosts: Mapping[str, str], find: Find) -> Iterator[Found]:
    """A model id stands for one deployment of a host (the vendor's undeploy call takes nothing else)."""
    seen: dict[tuple[str, str], Resource] = {}
    for resource in resources:
        if not resource.model_id:
            continue  # that it lacks one is said already
        first = seen.setdefault((hosts[resource.environment], resource.model_id), resource)
        if first is resource or first.address == resource.address:
            continue  # a name used twice is said already
        place, path = find(resource, ("modelId",))
        other, _ = find(first, ("modelId",))
        host = hosts[resource.environment]
        on = f"; both environments are on {host}" if first.environment != resource.environment else ""
        diagnostic = Diagnostic(
            code="RC404",
            message=f"{resource.model_id} is already the model of {first.address}, at {other or first.origin.position}{on}",
            position=place,
            path=path,
            value=repr(resource.model_id),
            environment=resource.environment,
        )
        yield Found(diagnostic=diagnostic, broken=(first, resource))


def _unknown(
    dependants: Iterable[Resource], by_address: Mapping[str, Resource], scope: Scope, find: Find
) -> Iterator[Found]:
    homes: dict[str, list[str]] = {}
    for resource in by_address.values():
        homes.setdefault(resource.name, []).append(resource.environment)
    hints = MOST_HINTS
    for resource in dependants:
        environment = resource.environment
        for name in resource.rollout.depends_on:
            if f"{environment}/{name}" in by_address or name in scope.broken[environment]:
                continue
            if environment in scope.unreadable:  # it may stand in what cannot be read, which is said already
                yield Found(diagnostic=None, broken=(resource,))
                continue
            hints -= 1
            yield Found(diagnostic=_unknown_name(resource, name, homes, find, hint=hints >= 0), broken=(resource,))


def _unknown_name(
    resource: Resource, name: str, homes: Mapping[str, Sequence[str]], find: Find, *, hint: bool
) -> Diagnostic:
    from difflib import get_close_matches

    place, path = find(resource, ("rollout", "dependsOn"))
    names = (
        [other for other, at in homes.items() if resource.environment in at and other != resource.name] if hint else []
    )
    close = get_close_matches(name, names, n=1)
    elsewhere = sorted(homes.get(name, ()))
    return Diagnostic(
        code="RC406",
        message=f"there is no {name}" + (f"; it is in {', '.join(elsewhere)}" if elsewhere else ""),
        position=place,
        path=path,
        value=repr(name),
        suggestion=f"Did you mean {close[0]}?" if close else None,
        environment=resource.environment,
    )


def _later_waves(dependants: Iterable[Resource], by_address: Mapping[str, Resource], find: Find) -> Iterator[Found]:
    """A wave waits for every lower one, so depending on a later wave is a circle too."""
    for resource in dependants:
        for needed in _needs(resource, by_address):
            mine, its = resource.rollout.wave, needed.rollout.wave
            if its <= mine:
                continue
            place, path = find(resource, ("rollout", "dependsOn"))
            diagnostic = Diagnostic(
                code="RC407",
                message=f"{resource.name} (wave {mine}) waits for {needed.name}, whose wave {its} waits for wave {mine}",
                position=place,
                path=path,
                value=repr(needed.name),
                suggestion=f"Give {resource.name} wave {its} or later, or {needed.name} wave {mine} or earlier.",
                environment=resource.environment,
            )
            yield Found(diagnostic=diagnostic, broken=(resource,))


def _needs(resource: Resource, by_address: Mapping[str, Resource]) -> Iterator[Resource]:
    for name in resource.rollout.depends_on:
        needed = by_address.get(f"{resource.environment}/{name}")
        if needed is not None:
            yield needed


def _circles(dependants: Iterable[Resource], by_address: Mapping[str, Resource], find: Find) -> Iterator[Found]:
    """A walk in depth, without recursion (chains may be long); a circle between two resources already told of is not told."""
    done: set[str] = set()
    told: set[str] = set()
    for start in dependants:
        trail = {} if start.address in done else {start.address: _needs(start, by_address)}
        while trail:
            address = next(reversed(trail))
            needed = next(trail[address], None)
            if needed is None:
                done.add(address)
                del trail[address]
            elif needed.address not in trail and needed.address not in done:
                trail[needed.address] = _needs(needed, by_address)
            elif needed.address in trail and told.isdisjoint({address, needed.address}):
                circle = list(trail)[list(trail).index(needed.address) :]
                told.update(circle)
                yield _circle([by_address[member] for member in circle], find)


def _circle(members: list[Resource], find: Find) -> Found:
    """Told at the member whose name comes first, so that it is told the same whatever the walk began with."""
    at = members.index(min(members, key=lambda member: member.name))
    members = members[at:] + members[:at]
    names = [member.name for member in (*members, members[0])]
    if len(names) > SHOWN_IN_CIRCLE:
        names = [*names[: SHOWN_IN_CIRCLE - 2], f"… ({len(members)} in all)", names[-1]]
    place, path = find(members[0], ("rollout", "dependsOn"))
    diagnostic = Diagnostic(
        code="RC407",
        message=f"dependencies lead back: {' → '.join(names)}",
        position=place,
        path=path,
        value=repr(members[1 % len(members)].name),
        environment=members[0].environment,
    )
    return Found(diagnostic=diagnostic, broken=tuple(members))


def _place(resource: Resource, find: Find) -> str:
    place, _ = find(resource, ())
    return str(place or resource.origin.position)
