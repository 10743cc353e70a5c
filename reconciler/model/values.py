"""JSON values and their one canonical spelling (RFC 8785), from which digests are made."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

# A value as JSON knows it. Mappings are never mutated once made; `Any` because recursive aliases slow the type checker.
Json: TypeAlias = Any

DIGEST_VERSION = "v1"
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode

# Where Python's own encoder may spell a number otherwise than RFC 8785 does: integral, tiny and huge floats, and integers
# that not every reader holds. Also found inside strings, where it only costs time.
_MAY_DIFFER = re.compile(r"[0-9](?:\.0(?![0-9])|e[-+]|[0-9]{15})")


def canonical(value: Json) -> bytes:
    """The RFC 8785 JSON text of a value.

    Raises ValueError for what JSON cannot hold exactly: NaN, infinities, integers beyond 2**53, lone surrogates.
    """
    text = _encode(value)
    if text.isascii() and not _MAY_DIFFER.search(text):  # outside ASCII, keys may sort otherwise
        return text.encode()
    import rfc8785

    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error


def digest_of(model_type: str, body: Mapping[str, Json]) -> str:
    """`v1:` and the sha256 over model type and body without `isDeployedPreviously`, which says how, not what."""
    counted = {key: item for key, item in body.items() if key != "isDeployedPreviously"}
    text = canonical({"body": counted, "modelType": model_type})
    return f"{DIGEST_VERSION}:{hashlib.sha256(text).hexdigest()}"
