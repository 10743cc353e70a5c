"""The files that are made from the program say what the program does."""

from __future__ import annotations

import pytest

from tools.generate import GENERATED, ROOT


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_file_is_fresh(name: str) -> None:
    """What lies in the repository is what would be generated now."""
    path = ROOT / name
    assert path.is_file(), f"{name} is missing: run make schemas"
    assert path.read_text(encoding="utf-8") == GENERATED[name](), f"{name} is stale: run make schemas"
