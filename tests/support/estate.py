"""Small estates written in a test: manifests and a project as text, loaded and resolved as `pipeline` does it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from reconciler.diagnostics import Diagnostic
from reconciler.load import LoadedFile, Memo, load, places_in
from reconciler.load.project import Fallback, Settled, load_project
from reconciler.model.loaded import Places
from reconciler.model.resource import Blame, Desired, Resource
from reconciler.model.snapshot import SourceFile
from reconciler.resolve import Resolved, locator, resolve

HYPER = {"temperature": 1, "maxTokens": 512, "topP": 1, "topK": 50}
PROJECT = "reconciler.yaml"


def manifest(name: str = "m", /, *, without: Iterable[str] = (), **spec: Any) -> dict[str, Any]:
    """A complete manifest as a document; its model is `cm-<name>`. `spec` adds or replaces, `without` takes out."""
    whole = {
        "modelId": f"cm-{name}",
        "modelType": "openSource",
        "hyperParameters": HYPER,
        "deviceType": "g5.xlarge",
        **spec,
    }
    return {
        "apiVersion": "reconciler/v1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {key: item for key, item in whole.items() if key not in set(without)},
    }


def text(*documents: Mapping[str, Any]) -> str:
    """Documents as one file: JSON is YAML."""
    return "\n---\n".join(json.dumps(document, indent=1) for document in documents)


def project(*names: str, platform: Mapping[str, Any] | None = None, **settings: Mapping[str, Any]) -> str:
    """A project file with these environments, each on a host of its own; `settings` by environment."""
    environments = {
        name: {"host": f"{name}.example.com", "apiKey": {"env": "KEY"}, **settings.get(name, {})} for name in names
    }
    return text(
        {
            "apiVersion": "reconciler/v1",
            "kind": "Project",
            "platform": dict(platform or {}),
            "environments": environments,
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    """Everything that was made on the way."""

    settled: Settled
    loaded: tuple[LoadedFile, ...]
    places: Places
    resolved: Resolved

    @property
    def found(self) -> tuple[Diagnostic, ...]:
        return self.resolved.diagnostics

    @property
    def codes(self) -> list[str]:
        return [diagnostic.code for diagnostic in self.found]

    def desired(self, environment: str = "staging") -> Desired:
        return next(desired for desired in self.resolved.desired if desired.environment == environment)

    def names(self, environment: str = "staging") -> list[str]:
        return [resource.name for resource in self.desired(environment).resources]

    def one(self, name: str = "m", environment: str = "staging") -> Resource:
        return next(resource for resource in self.desired(environment).resources if resource.name == name)

    def body(self, name: str = "m", environment: str = "staging") -> Any:
        return json.loads(self.one(name, environment).body)

    def blame(self, path: str, environment: str = "staging", name: str = "m") -> Blame:
        locate = locator(self.loaded, self.settled.environments, self.places)
        return locate(self.one(name, environment), path)


def estate(
    files: Mapping[str, str] | str,
    settings: str | None = None,
    memo: Memo | None = None,
    unread: Iterable[str] = (),
) -> Estate:
    """One file is `m.yaml`; without a project text there is one environment, `staging`."""
    sources = {"m.yaml": files} if isinstance(files, str) else files
    snapshot = [SourceFile(path=path, data=dedent(source).encode()) for path, source in sources.items()]
    file = SourceFile(path=PROJECT, data=dedent(settings or project("staging")).encode())
    settled, wrong = load_project(file, Fallback(host=None))
    assert settled is not None, wrong
    loaded = load(snapshot, settled.widening, memo)
    places = places_in(snapshot, file)
    resolved = resolve(loaded, settled.environments, memo, places=places, unread=unread)
    return Estate(settled=settled, loaded=loaded, places=places, resolved=resolved)
