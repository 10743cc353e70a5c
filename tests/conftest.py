"""Options of the whole suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update` writes what the scenario folders expect (tests/cases); the reviewer reads the diff."""
    parser.addoption("--update", action="store_true", help="rewrite the expected files of tests/cases")
