"""Values as YAML on stdout. `session.dumps` calls it; imported only for `-o yaml`."""

from __future__ import annotations

from typing import Any

import yaml

_NO_WIDTH = 1 << 30  # lines are not broken: the second half of a text could begin with what a job's runner obeys


def yaml_text(value: Any) -> str:
    """ASCII, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=_NO_WIDTH).replace("##", "#\\x23")


class _Dumper(yaml.SafeDumper):
    """Quotes what must be."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Double quotes where a key or a line of the text could begin with a command, or where one of `##` becomes an escape."""
    risky = any(sign in text for sign in ("::", "##", "\n"))
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if risky else None)


_Dumper.add_representer(str, _text)
