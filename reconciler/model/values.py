"""JSON values and their one canonical spelling (RFC 8785), from which digests are made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

# A value as JSON knows it. Mappings are never mutated once made; `Any` because recursive aliases slow the type checker.
Json: TypeAlias = Any

DIGEST_VERSION = "v1"
_SAFE_INTEGER = 2**53
_PLAIN_FLOAT_FLOOR = 1e-4
_PLAIN_FLOAT_CEILING = 1e16


def canonical(value: Json) -> bytes:
    """The RFC 8785 JSON text of a value.

    Raises ValueError for what JSON cannot hold exactly: NaN, infinities, integers beyond 2**53, lone surrogates.
    """
    if _is_plain(value):
        return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()
    import rfc8785

    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error


def _is_plain(value: Json) -> bool:
    """Whether Python's own encoder spells the value as RFC 8785 does; true for nearly every manifest.

    They differ in the spelling of integral, tiny and huge floats, in the order of keys outside ASCII, and in what they refuse.
    """
    if isinstance(value, str):
        return value.isascii() and "\x7f" not in value
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -_SAFE_INTEGER < value < _SAFE_INTEGER
    if isinstance(value, float):
        return _PLAIN_FLOAT_FLOOR <= abs(value) < _PLAIN_FLOAT_CEILING and not value.is_integer()
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and k.isascii() and _is_plain(v) for k, v in value.items())
    return isinstance(value, list) and all(map(_is_plain, value))


def digest_of(model_type: str, body: Mapping[str, Json]) -> str:
    """`v1:` and the sha256 over model type and body without `isDeployedPreviously`, which says how, not what."""
    counted = {key: item for key, item in body.items() if key != "isDeployedPreviously"}
    text = canonical({"body": counted, "modelType": model_type})
    return f"{DIGEST_VERSION}:{hashlib.sha256(text).hexdigest()}"
