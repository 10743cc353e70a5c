"""Options of the whole suite."""

from __future__ import annotations

import pytest
from hypothesis import settings

pytest_plugins = ["tests.support.state_fixtures"]

# The same examples on every machine, and no wall clock: a slow machine fails nothing. `--hypothesis-profile=random` looks
# for new ones.
settings.register_profile("same", derandomize=True, deadline=None, max_examples=40)
settings.register_profile("random", deadline=None, max_examples=1000)
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update` writes what the scenario folders expect (tests/cases); the reviewer reads the diff."""
    parser.addoption("--update", action="store_true", help="rewrite the expected files of tests/cases")
