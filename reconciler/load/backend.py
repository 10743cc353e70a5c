"""libyaml's parser, told nothing about types; `yaml` and `guard` use it, nothing else does.

`Parser` composes nodes whose tags only say whether a scalar was plain, quoted or tagged; it also yields bare events.
"""

from __future__ import annotations

from typing import Any

import yaml

_Backend: Any
try:
    from yaml._yaml import CParser

    _Backend = CParser
except ImportError:  # PyYAML without its C extension: slower, and the same grammar (tests/unit/test_yaml_backends.py)
    from reconciler.load.pure_yaml import PureParser

    _Backend = PureParser

PLAIN, QUOTED, COLLECTION = "plain", "quoted", "collection"

# What either backend raises for text that it cannot read. The pure one lets `chr` and `int` complain about absurd escapes
# and directives, and recurses while composing.
UNREADABLE = (yaml.YAMLError, ValueError, OverflowError, RecursionError)


class Parser(_Backend):  # type: ignore[misc]
    """The composer with YAML's own types taken out."""

    def resolve(self, kind: type, _value: object, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return PLAIN if implicit[0] else QUOTED
        return COLLECTION

    def descend_resolver(self, _parent: object, _index: object) -> None: ...

    def ascend_resolver(self) -> None: ...
