"""The three layers of a manifest in one environment: merging them, and telling which of them set a value.

Environment `defaults` < `spec` < `spec.environments[env]`, merged by RFC 7396.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.diagnostics import Position
from reconciler.model.loaded import FieldPath, Places
from reconciler.model.resource import Blame, Origin
from reconciler.model.values import Json

OVERRIDE, SPEC, DEFAULTS, BUILT_IN = "override", "spec", "defaults", "built in"
Steps = tuple[str, ...]


def merge_patch(target: Json, patch: Json) -> Json:
    """RFC 7396; neither argument is changed, and the result may share parts with both."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, item in patch.items():
        if item is None:
            result.pop(key, None)
        elif isinstance(item, dict):
            result[key] = merge_patch(result.get(key), item)
        else:
            result[key] = item
    return result


def overlaid(below: Mapping[str, Json], above: Mapping[str, Json]) -> dict[str, Json]:
    """`merge_patch` for two sides without nulls, as defaults and specs are: much less to look at."""
    result = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            result[key] = overlaid(below[key], above[key])
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Where one resource comes from. `override` is empty where the manifest does not name the environment.

    Only overrides may hold nulls.
    """

    environment: str
    name: str
    origin: Origin
    defaults: Mapping[str, Json]
    spec: Mapping[str, Json]
    override: Mapping[str, Json]

    def merged(self) -> Mapping[str, Json]:
        """What is asked for in this environment. It shares its parts with the layers."""
        base = overlaid(self.defaults, self.spec) if self.defaults else self.spec
        merged: Mapping[str, Json] = merge_patch(base, self.override) if self.override else base
        return merged

    def layer_of(self, steps: Steps) -> str:
        """The layer that set a value, deleted it, or lacks it: what nobody says is lacking in `spec`."""
        if _reaches(self.override, steps) or _ends(self.override, steps):
            return OVERRIDE
        if _reaches(self.spec, steps):
            return SPEC
        return DEFAULTS if _reaches(self.defaults, steps) else SPEC

    def place(self, layer: str, steps: FieldPath, places: Places, *, key: bool = True) -> Position | None:
        """Where a layer says it, or the deepest place that exists above."""
        file = None if layer == DEFAULTS else self.origin.file
        return places(file, self.origin.document, (*self._above(layer), *steps), key=key)

    def path(self, layer: str, steps: FieldPath) -> str:
        """The path in the file that the layer stands in, as diagnostics show it."""
        text = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in (*self._above(layer), *steps))
        return text.removeprefix(".")

    def _above(self, layer: str) -> Steps:
        match layer:
            case "override":
                return ("spec", "environments", self.environment)
            case "defaults":
                return ("environments", self.environment, "defaults")
            case _:
                return ("spec",)

    def blame(self, steps: Steps, places: Places) -> Blame:
        """The layer and place of a value in the body, or of what lacks it; our own defaults included."""
        layer = self.layer_of(steps)
        if steps in {("name",), ("isDeployedPreviously",)} and not _said(self, layer, steps):
            name = places(self.origin.file, self.origin.document, ("metadata", "name"), key=True)
            return Blame(layer=BUILT_IN, position=name if steps == ("name",) else None)
        return Blame(layer=layer, position=self.place(layer, steps, places))


def _said(layers: Layers, layer: str, steps: Steps) -> bool:
    where = {OVERRIDE: layers.override, DEFAULTS: layers.defaults}.get(layer, layers.spec)
    return _reaches(where, steps)


def _reaches(layer: Json, steps: Steps) -> bool:
    """Whether the layer holds a value at the path."""
    for step in steps:
        if not isinstance(layer, Mapping) or step not in layer:
            return False
        layer = layer[step]
    return layer is not None


def _ends(override: Json, steps: Steps) -> bool:
    """Whether an override deletes the value at the path, or something above it, or replaces that by what has no parts."""
    for step in steps:
        if not isinstance(override, Mapping):
            return True
        if step not in override:
            return False
        override = override[step]
    return override is None
