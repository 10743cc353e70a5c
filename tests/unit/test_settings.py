"""Settings: flags before environment variables before defaults, and where colour goes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.settings import Choice, Flags, Settings, settle, wants_colour


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def settled(environ: dict[str, str] | None = None, **flags: str) -> Settings:
    return settle(Flags(**flags), environ or {})


def test_flags_win_over_the_environment(tmp_path: Path) -> None:
    """A flag is taken before its environment variable."""
    found = settled({"RECONCILER_HOST": "a", "RECONCILER_STATE": "s"}, host="b", directory=str(tmp_path))
    assert (found.host, found.state, found.root) == ("b", "s", tmp_path)


def test_project_file_lies_in_the_root_unless_named(tmp_path: Path) -> None:
    """Without --project the file need not exist."""
    assert settled(directory=str(tmp_path)).project == tmp_path / "reconciler.yaml"
    named = settled(project="elsewhere.yaml", directory=str(tmp_path))
    assert (named.project, named.project_named) == (Path("elsewhere.yaml"), True)


def test_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    """-C needs a folder."""
    with pytest.raises(UsageError, match="not a folder"):
        settled(directory=str(tmp_path / "nothing"))


@pytest.mark.parametrize("variable", ["RECONCILER_LOG_LEVEL", "RECONCILER_LOG_FORMAT", "RECONCILER_COLOR"])
def test_unknown_words_are_usage_errors(variable: str) -> None:
    """A word that no setting knows is named, with its variable."""
    with pytest.raises(UsageError, match=variable):
        settled({variable: "loud"})


@pytest.mark.parametrize(
    ("environ", "terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"CLICOLOR_FORCE": "1"}, False, True),
        ({"CLICOLOR": "0"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1", "RECONCILER_COLOR": "always"}, False, True),
    ],
)
def test_colour(environ: dict[str, str], terminal: bool, coloured: bool) -> None:
    """Colour follows the terminal, the usual variables and --color, the last above all."""
    assert wants_colour(settled(environ), Terminal() if terminal else io.StringIO()) is coloured


def test_color_flag_wins() -> None:
    """--color is above every variable."""
    assert settled({"FORCE_COLOR": "1"}, color="never").color is Choice.NEVER


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        (
            {"GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "7"},
            "https://github.example/a/b/actions/runs/7",
        ),
        ({"CI_JOB_URL": "https://gitlab.example/job/1"}, "https://gitlab.example/job/1"),
        ({}, None),
    ],
)
def test_ci_run_address(environ: dict[str, str], address: str | None) -> None:
    """The CI run is known by the variables of the usual systems."""
    assert settled(environ).ci_url == address


@pytest.mark.parametrize(("value", "ci"), [("true", True), ("1", True), ("false", False), ("0", False), ("", False)])
def test_ci(value: str, ci: bool) -> None:
    """CI=false is no CI."""
    assert settled({"CI": value}).ci is ci


def test_environment_is_never_shown() -> None:
    """A settings object in a traceback or a log shows no key."""
    assert "kg-secret" not in repr(settled({"KEY": "kg-secret"}))
