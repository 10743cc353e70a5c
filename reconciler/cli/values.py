"""What `history --values` looks up: for each live value the line that says so, and the commit behind the line."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from reconciler import wiring
from reconciler.cli.addresses import Addressed, find
from reconciler.cli.planning import Project, read_project
from reconciler.cli.session import Session
from reconciler.errors import ReconcilerError, UsageError
from reconciler.model.applied import Live
from reconciler.model.resource import Resource
from reconciler.model.values import Json
from reconciler.report.values_text import Value
from reconciler.source.blame import blame


def live_values(session: Session, address: str) -> tuple[str, str, tuple[Value, ...]]:
    """The whole address, what is live as a clause, and every value. Raises UsageError when nothing is live."""
    project = read_project(session, strict=False)
    found = find(project, address)
    live = found.known.live
    if live is None:
        raise UsageError(
            f"Nothing of {found.change.address} is live.", next_step="`reconciler status` says how it stands."
        )
    by = f"commit {live.commit[:12]}" if live.commit else "an unknown commit"
    said = f"{live.how} by {by}, live since {live.since:%Y-%m-%d %H:%M} UTC"
    return found.change.address, said, tuple(_placed(session, project, found, live))


def _placed(session: Session, project: Project, found: Addressed, live: Live) -> Sequence[Value]:
    values = [Value(path=path, value=value) for path, value in _leaves("", json.loads(live.body))]
    values.insert(0, Value(path="modelType", value=live.model_type))
    source = _that_said_it(session, project, found, live)
    if source is None:
        return values
    written_in, resource = source
    placed = []
    for one in values:
        said = written_in.checked.locate(resource, one.path)
        placed.append(replace(one, layer=said.layer, position=said.position))
    commit = written_in.checked.snapshot.provenance.commit
    return _blamed(session.settings.root, commit, placed) if commit else placed


def _that_said_it(session: Session, project: Project, found: Addressed, live: Live) -> tuple[Project, Resource] | None:
    """The manifests of the live commit, or the checkout's where they say the same; None when neither does."""
    if live.commit is not None:
        try:
            commit = wiring.commit_at(session.settings, live.commit)
            project_then = read_project(session, strict=False, commit=commit)
        except ReconcilerError:
            pass  # a shallow clone, or another repository: the checkout may still say the same
        else:
            then = _resource(project_then, found, live)
            if then is not None:
                return project_then, then
    now = _resource(project, found, live)
    return (project, now) if now is not None else None


def _resource(project: Project, found: Addressed, live: Live) -> Resource | None:
    desired = project.checked.desired.get(found.change.environment)
    resources = desired.resources if desired is not None else ()
    wanted = (found.known.model_id, live.digest)
    return next((one for one in resources if (one.model_id, one.digest) == wanted), None)


def _blamed(root: Path, commit: str, values: Sequence[Value]) -> Sequence[Value]:
    lines: dict[str, list[int]] = defaultdict(list)
    for one in values:
        if one.position is not None:
            lines[one.position.file].append(one.position.line)
    written = {file: blame(root, commit, file, numbers) for file, numbers in lines.items()}
    blamed = []
    for one in values:
        who = written[one.position.file].get(one.position.line) if one.position is not None else None
        blamed.append(replace(one, commit=who.commit, author=who.author, at=who.at) if who is not None else one)
    return blamed


def _leaves(path: str, value: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}" if path else key, item)
    else:
        yield path, value
