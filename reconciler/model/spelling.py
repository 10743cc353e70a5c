"""How ids, names, durations and variables are spelled in what users write. Apart from the models, which are slow to import."""

from __future__ import annotations

import re

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
DURATION_PATTERN = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
# A field of the deploy body that is not known yet: inside one of its objects, or a new one beside them.
EXTRA_FIELD_PATTERN = r"^((hyperParameters|scalingParameters|optimizationInfo)\.)?[A-Za-z0-9_-]+$"


def seconds_of(duration: str) -> int:
    """`1h30m` -> 5400. Raises ValueError for anything but hours, minutes and seconds in this order, or for nothing."""
    match = re.match(DURATION_PATTERN, duration)
    hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if total < 1:
        raise ValueError("not a duration")
    return total
