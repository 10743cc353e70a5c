"""Broken files, folders and flags: each is told in words with the right exit code, nothing is changed, and nothing hangs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import SimulatedPlatform
from tests.support.project import ProjectFolder, manifest

Break = Callable[[ProjectFolder], object]
PLAN = ("plan",)
SECRET = "pa55word"
APPLY = ("apply", "--yes")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is broken, what is run, the exit code, and words that must be said."""

    name: str
    breaks: Break
    code: int
    says: tuple[str, ...]
    runs: tuple[str, ...] = APPLY


def replaced(name: str, make: Callable[[Path], object]) -> Break:
    """Something else in the place of a file of the project."""

    def breaks(project: ProjectFolder) -> None:
        path = project.root / name
        path.unlink(missing_ok=True)
        make(path)

    return breaks


def text(name: str, data: str | bytes) -> Break:
    return lambda project: project.write(name, data)


def settings(**production: Any) -> Break:
    return lambda project: project.configure(**production)


def authority_is_garbage(project: ProjectFolder) -> None:
    project.write("ca.pem", "hello")
    project.configure(caFile="ca.pem")


def leads_out(path: Path) -> None:
    """To a file whose content is nobody's business."""
    outside = path.parents[2] / "outside.yaml"
    outside.write_text(f"{SECRET}: [\n", encoding="utf-8")
    path.symlink_to(outside)


def holed(path: Path) -> None:
    """100 MB without a block on disk."""
    path.touch()
    os.truncate(path, 100_000_000)


def without_manifests(project: ProjectFolder) -> None:
    (project.root / "manifests/alpha.yaml").unlink()


def without_folder(project: ProjectFolder) -> None:
    without_manifests(project)
    (project.root / "manifests").rmdir()


def state_file(change: Callable[[dict[str, Any]], None]) -> Break:
    """The state file with its JSON changed."""

    def breaks(project: ProjectFolder) -> None:
        path = project.root / ".reconciler/production/state.json"
        value = json.loads(path.read_bytes())
        change(value)
        path.write_text(json.dumps(value), encoding="utf-8")

    return breaks


def of_the_future(value: dict[str, Any]) -> None:
    value["format"] = "reconciler/state/v9"


def state_is_a_file(project: ProjectFolder) -> None:
    project.write("taken", "")
    project.environ["RECONCILER_STATE"] = "taken"


def project_is(text_of: str) -> Break:
    return text("reconciler.yaml", text_of)


PLAN_FILE = (*APPLY, "--plan", "plan.json")
DEEP = "[" * 100_000

CASES = (
    # The project file
    Case(
        name="project file is a folder",
        breaks=replaced("reconciler.yaml", Path.mkdir),
        code=3,
        says=("reconciler.yaml",),
    ),
    Case(
        name="project file is a FIFO", breaks=replaced("reconciler.yaml", os.mkfifo), code=3, says=("reconciler.yaml",)
    ),
    Case(
        name="project file is a device",
        breaks=replaced("reconciler.yaml", lambda p: p.symlink_to("/dev/zero")),
        code=3,
        says=("reconciler.yaml",),
    ),
    Case(
        name="project file leads nowhere",
        breaks=replaced("reconciler.yaml", lambda p: p.symlink_to("gone")),
        code=3,
        says=("reconciler.yaml",),
    ),
    Case(name="project file is empty", breaks=project_is(""), code=3, says=("reconciler.yaml",)),
    Case(name="project file is not YAML", breaks=project_is("kind: ["), code=3, says=("reconciler.yaml:",)),
    Case(name="project file is two documents", breaks=project_is("a: 1\n---\nb: 2\n"), code=3, says=("2 documents",)),
    Case(name="project file is a list", breaks=project_is("- a\n"), code=3, says=("reconciler.yaml:1",)),
    Case(name="project file is deep", breaks=project_is(DEEP), code=3, says=("reconciler.yaml:1",)),
    Case(
        name="project file is no UTF-8",
        breaks=text("reconciler.yaml", b"kind: \xff"),
        code=3,
        says=("reconciler.yaml", "UTF-8"),
    ),
    Case(name="project file is huge", breaks=project_is("# " + "x" * 2_000_000), code=3, says=("reconciler.yaml",)),
    Case(name="project file has no environments", breaks=lambda p: p.write_project({}), code=3, says=("environments",)),
    Case(
        name="project file is named and missing",
        breaks=lambda p: None,
        runs=("--project", "gone.yaml", *APPLY),
        code=3,
        says=("gone.yaml",),
    ),
    # Host, authority
    Case(
        name="host with a path",
        breaks=settings(host="https://platform.example.com/api/public"),
        code=3,
        says=("/api/public", "host"),
    ),
    Case(
        name="plain http elsewhere", breaks=settings(host="http://platform.example.com"), code=3, says=("plain http",)
    ),
    Case(
        name="host with a key",
        breaks=settings(host="https://user:pa55word@platform.example.com"),
        code=3,
        says=("host",),
    ),
    Case(
        name="host flag with a path",
        breaks=lambda p: None,
        runs=("--host", "https://x/y", *APPLY),
        code=64,
        says=("/y",),
    ),
    Case(name="caFile missing", breaks=settings(caFile="gone.pem"), code=3, says=("gone.pem",)),
    Case(
        name="caFile is garbage",
        breaks=authority_is_garbage,
        code=3,
        says=("ca.pem",),
    ),
    # Manifests
    Case(name="no manifests", breaks=without_manifests, code=3, says=("manifests",)),
    Case(name="no manifest folder", breaks=without_folder, code=3, says=("manifests",)),
    Case(
        name="manifest is huge",
        breaks=text("manifests/b.yaml", "# " + "x" * 2_000_000),
        code=3,
        says=("manifests/b.yaml",),
    ),
    Case(
        name="manifest is no UTF-8",
        breaks=text("manifests/b.yaml", b"kind: \xff"),
        code=3,
        says=("manifests/b.yaml", "UTF-8"),
    ),
    Case(name="manifest is a FIFO", breaks=replaced("manifests/b.yaml", os.mkfifo), code=3, says=("manifests/b.yaml",)),
    Case(
        name="manifest leads out",
        breaks=replaced("manifests/b.yaml", leads_out),
        code=3,
        says=("manifests/b.yaml",),
    ),
    Case(name="manifest is deep", breaks=text("manifests/b.yaml", DEEP), code=3, says=("manifests/b.yaml:1",)),
    Case(
        name="manifest has a strange id",
        breaks=lambda p: p.deploy("b", model_id="cm-1/undeploy?"),
        code=3,
        says=("manifests/b.yaml:6", "cm-1/undeploy?"),
    ),
    Case(
        name="manifest uses a model twice",
        breaks=lambda p: p.deploy("b", model_id="cm-alpha"),
        code=3,
        says=("cm-alpha",),
    ),
    Case(
        name="manifest has escape sequences",
        breaks=text("manifests/b.yaml", manifest("b").replace("openSource", '"\\e[31mred\\a"')),
        code=3,
        says=("manifests/b.yaml:7",),
    ),
    # State
    Case(
        name="state is garbage",
        breaks=text(".reconciler/production/state.json", b"\x00\xff" * 99),
        code=6,
        says=("state.json", "repair"),
    ),
    Case(
        name="state is empty",
        breaks=text(".reconciler/production/state.json", ""),
        code=6,
        says=("state.json", "repair"),
    ),
    Case(name="state is too new", breaks=state_file(of_the_future), code=6, says=("newer",)),
    Case(
        name="state is edited",
        breaks=state_file(lambda value: value["state"].update(epoch=7)),
        code=6,
        says=("state.json",),
    ),
    Case(
        name="state is a folder",
        breaks=replaced(".reconciler/production/state.json", Path.mkdir),
        code=6,
        says=("state.json",),
    ),
    Case(
        name="state is a FIFO",
        breaks=replaced(".reconciler/production/state.json", os.mkfifo),
        code=6,
        says=("state.json",),
    ),
    Case(name="state folder is a file", breaks=state_is_a_file, code=6, says=("taken",)),
    Case(
        name="state is a URL of no store",
        breaks=lambda p: None,
        runs=("--state", "ftp://ada:pa55word@host/x", *APPLY),
        code=64,
        says=("ftp://", "postgresql://"),
    ),
    # Plan files
    Case(name="plan file is missing", breaks=lambda p: None, runs=PLAN_FILE, code=64, says=("plan.json",)),
    Case(
        name="plan file is garbage", breaks=text("plan.json", b"\x00\xff"), runs=PLAN_FILE, code=3, says=("plan.json",)
    ),
    Case(name="plan file is empty", breaks=text("plan.json", ""), runs=PLAN_FILE, code=3, says=("plan.json",)),
    Case(
        name="plan file is something else",
        breaks=text("plan.json", '{"format": "reconciler/plan/v9"}'),
        runs=PLAN_FILE,
        code=3,
        says=("plan.json",),
    ),
    Case(name="plan file is deep", breaks=text("plan.json", DEEP), runs=PLAN_FILE, code=3, says=("plan.json",)),
    Case(
        name="plan file is a FIFO",
        breaks=replaced("plan.json", os.mkfifo),
        runs=PLAN_FILE,
        code=64,
        says=("plan.json",),
    ),
    Case(
        name="plan file is a device",
        breaks=replaced("plan.json", lambda p: p.symlink_to("/dev/zero")),
        runs=PLAN_FILE,
        code=64,
        says=("plan.json",),
    ),
    Case(
        name="plan file is a folder",
        breaks=replaced("plan.json", Path.mkdir),
        runs=PLAN_FILE,
        code=64,
        says=("plan.json",),
    ),
    Case(
        name="plan file is 100 MB",
        breaks=replaced("plan.json", holed),
        runs=PLAN_FILE,
        code=64,
        says=("plan.json",),
    ),
    # Flags
    Case(
        name="out into a missing folder",
        breaks=lambda p: None,
        runs=(*PLAN, "--out", "gone/plan.json"),
        code=64,
        says=("gone/plan.json",),
    ),
    Case(
        name="out onto a folder",
        breaks=lambda p: None,
        runs=(*PLAN, "--out", "manifests"),
        code=64,
        says=("manifests",),
    ),
    Case(
        name="-C at a file",
        breaks=lambda p: None,
        runs=("-C", "reconciler.yaml", *PLAN),
        code=64,
        says=("reconciler.yaml",),
    ),
    Case(name="-C at nothing", breaks=lambda p: None, runs=("-C", "gone", *PLAN), code=64, says=("gone",)),
    Case(name="label without value", breaks=lambda p: None, runs=(*PLAN, "-l", "team"), code=64, says=("KEY=VALUE",)),
    Case(
        name="color unknown",
        breaks=lambda p: p.environ.update(RECONCILER_COLOR="pink"),
        runs=PLAN,
        code=64,
        says=("pink",),
    ),
    Case(
        name="log level unknown",
        breaks=lambda p: p.environ.update(RECONCILER_LOG_LEVEL="loud"),
        runs=PLAN,
        code=64,
        says=("loud",),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_broken(
    case: Case, project: ProjectFolder, platform: SimulatedPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names what is wrong, the exit code is of its kind, nothing is sent and no state changes."""
    project.init("alpha")
    monkeypatch.chdir(project.root)
    case.breaks(project)
    before = states(project)
    shown = project.run(*case.runs).ended(case.code)
    assert shown.err.count("Error:") == 1
    assert "unexpected" not in shown.err
    for words in case.says:
        assert words in shown.err
    assert SECRET not in shown.err
    assert "\x1b" not in shown.err + shown.out
    assert platform.lines == []
    assert states(project) == before


def states(project: ProjectFolder) -> dict[str, bytes]:
    """Every file of the state."""
    folder = project.root / ".reconciler"
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
