"""What the project file accepts beyond the documented platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Widening:
    """What the project file accepts beyond the documented platform; paths as `hyperParameters.maxTokens`."""

    device_types: frozenset[str] = frozenset()
    ranges: Mapping[str, tuple[float, float]]
    extra_fields: frozenset[str] = frozenset()


NO_WIDENING = Widening(ranges={})
