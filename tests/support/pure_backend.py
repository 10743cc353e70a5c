"""Reads texts with PyYAML's own parser, as where PyYAML has no C extension: a script for a process of its own.

From stdin a JSON object name -> text (base64); to stdout name -> [values, codes].
"""

from __future__ import annotations

import base64
import json
import sys


def main() -> None:
    without: dict[str, object] = {"yaml._yaml": None}  # so Python says that there is no such module
    sys.modules.update(without)  # type: ignore[arg-type]
    from reconciler.load.backend import Parser
    from reconciler.load.pure_yaml import PureParser
    from reconciler.load.yaml import Marks, parse

    assert issubclass(Parser, PureParser)
    answers = {}
    for name, text in json.load(sys.stdin).items():
        data = base64.b64decode(text)
        documents, found = parse(data, "a.yaml")
        Marks(data, "a.yaml").position(0, ("a", 0))
        answers[name] = ([document.value for document in documents], sorted({one.code for one in found}))
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
