"""Scenario folders: manifests and applied state in, plan or diagnostics out (tests/cases/README.md)."""

from __future__ import annotations

import pytest

from tests.support.cases import CASES, EXPECTED, folders, run

# A case without any expected file gets these at its first --update.
USUAL = ("diagnostics.txt", "plan.txt")


@pytest.mark.parametrize("name", folders())
def test_case(name: str, request: pytest.FixtureRequest) -> None:
    """A scenario folder gives exactly the texts that it expects."""
    made = run(name)
    if request.config.getoption("--update"):
        _update(name, made)
    expected = {file: (CASES / name / file).read_text("utf-8") for file in EXPECTED if (CASES / name / file).exists()}
    assert expected, f"{name} expects nothing: run pytest --update and read what it wrote"
    for file in USUAL:
        assert (file in made) == (file in expected), f"{name}: {file}"
    assert {file: made.get(file) for file in expected} == expected


def _update(name: str, made: dict[str, str]) -> None:
    """Writes the usual files, and those of the others that the case already has."""
    for file in EXPECTED:
        path = CASES / name / file
        if file in made and (file in USUAL or path.exists()):
            path.write_text(made[file], "utf-8")
        elif file not in made:
            path.unlink(missing_ok=True)
