"""Whether a document fits its model, told without the models: so that commands start fast.

Importing pydantic and building the models takes longer than reading a hundred manifests, and nearly every document is right.
So the validators are made ahead: `compiled` takes the core schemas out of the models (`make schemas` writes them to
`fits.json`, a test finds a stale one), and `fits` needs pydantic's core alone. Only for a document that does not fit are the
models imported, to say why (`shape`). Both give the same verdict, because both are the same core schema.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.model.values import Json

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator

FILE = Path(__file__).with_name("fits.json")
MODELS = ("ModelDeployment", "Override", "Project")

_KEPT = ("type", "ge", "le", "pattern", "min_length", "max_length", "expected")
_SOMETHING = "^(?=.*[1-9])"  # a duration of nothing is none: what `seconds_of` says in Python


def fits(model: str, value: Json) -> bool:
    """Whether a value fits one of MODELS. False also when that cannot be told here: then the model itself judges."""
    validator = _validator(model)
    return validator is not None and bool(validator.isinstance_python(value))


@cache
def _validator(model: str) -> SchemaValidator | None:
    from pydantic_core import SchemaError, SchemaValidator

    try:
        return SchemaValidator(json.loads(FILE.read_text(encoding="utf-8"))[model])
    except (OSError, ValueError, KeyError, SchemaError):  # another pydantic_core may speak another dialect
        return None


def compiled() -> str:
    """The text of `fits.json`."""
    from reconciler.model import manifest, project

    models = {"ModelDeployment": manifest.ModelDeployment, "Override": manifest.Override, "Project": project.Project}
    return json.dumps({name: _without_models(_core_schema_of(models[name])) for name in MODELS}, indent=1) + "\n"


def _core_schema_of(model: Any) -> Any:
    model.model_rebuild(force=True)
    return model.__pydantic_core_schema__


def _without_models(schema: Any, definitions: dict[str, Any] | None = None) -> Any:
    """The same judgement as plain data: models become typed dictionaries, our own function a pattern."""
    known = definitions or {}
    match schema["type"]:
        case "definitions":
            known = known | {inner["ref"]: inner for inner in schema["definitions"]}
            return _without_models(schema["schema"], known)
        case "definition-ref":
            return _without_models(known[schema["schema_ref"]], known)
        case "model" | "default" | "function-after" as kind:
            inner = _without_models(schema["schema"], known)
            if kind == "function-after":  # the one function: a duration must be of something
                return {
                    **inner,
                    # In Python's patterns `$` also matches before a last line break; `\Z` does not.
                    "pattern": _SOMETHING + inner["pattern"].removeprefix("^").removesuffix("$") + r"\Z",
                    "regex_engine": "python-re",
                }
            return inner
        case "model-fields":
            fields = {field["validation_alias"]: _field(field["schema"], known) for field in schema["fields"].values()}
            return {"type": "typed-dict", "fields": fields, "extra_behavior": "forbid", "config": {"strict": True}}
        case "nullable":
            return {"type": "nullable", "schema": _without_models(schema["schema"], known)}
        case "list":
            return {**_kept(schema), "items_schema": _without_models(schema["items_schema"], known)}
        case "dict":
            parts = {key: _without_models(schema[key], known) for key in ("keys_schema", "values_schema")}
            return {**_kept(schema), **parts}
        case "str" | "int" | "float" | "bool" | "literal" | "any":
            return _kept(schema)
        case other:
            raise AssertionError(f"a model uses {other}, which fits.py cannot compile")


def _field(schema: Any, known: dict[str, Any]) -> dict[str, Any]:
    required = schema["type"] != "default"
    return {"type": "typed-dict-field", "schema": _without_models(schema, known), "required": required}


def _kept(schema: Any) -> dict[str, Any]:
    return {key: schema[key] for key in _KEPT if key in schema}
