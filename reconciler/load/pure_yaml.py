"""The pure-Python stand-in for libyaml's parser, where PyYAML was built without it."""

from __future__ import annotations

from typing import Any

from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner


class PureParser(Reader, Scanner, Parser, Composer):
    """Reader, scanner, parser and composer of PyYAML, put together as CParser is."""

    def __init__(self, stream: Any) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
