"""`reconciler fmt` and `reconciler completion` as they are used."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys

import pytest

from tests.support.project import ProjectFolder

MESSY = "kind: ModelDeployment\napiVersion:   reconciler/v1\n"
NEAT = "apiVersion: reconciler/v1\nkind: ModelDeployment\n"


@pytest.fixture
def messy(project: ProjectFolder) -> ProjectFolder:
    project.init("a")
    project.run("fmt").ended(0)
    path = project.root / "manifests/a.yaml"
    text = path.read_text()
    path.write_text(
        text.replace("kind: ModelDeployment\n", "").replace("metadata:", "kind:  ModelDeployment\nmetadata:")
    )
    return project


def test_check_then_write(messy: ProjectFolder) -> None:
    """--check names what would change and exits 3; without it the file is written, and then there is nothing to do."""
    path = messy.root / "manifests/a.yaml"
    before = path.read_text()
    shown = messy.run("fmt", "--check").ended(3)
    assert (shown.out, shown.err) == (
        "manifests/a.yaml\n",
        "1 file would be formatted, 1 unchanged. `reconciler fmt` does it.\n",
    )
    assert path.read_text() == before
    path.chmod(0o640)
    assert messy.run("fmt").ended(0).out == "manifests/a.yaml\n"
    assert "kind: ModelDeployment\nmetadata:" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert messy.run("fmt", "--check").ended(0).err == "0 files would be formatted, 2 unchanged.\n"
    messy.run("plan", "--detailed-exitcode").ended(2)


def test_diff(messy: ProjectFolder) -> None:
    """--diff prints what changes."""
    out = messy.run("fmt", "--check", "--diff").ended(3).out
    assert out.startswith("--- a/manifests/a.yaml\n+++ b/manifests/a.yaml\n")
    assert "-kind:  ModelDeployment\n+kind: ModelDeployment\n" in out


def test_named_files(messy: ProjectFolder) -> None:
    """Files and folders can be named; what is not ours, hidden or no YAML is left alone; a link stays a link."""
    other = messy.write("other/app.yaml", "b:   1\na: 2\n")
    hidden = messy.write("manifests/.h.yaml", MESSY)
    text = messy.write("manifests/notes.txt", MESSY)
    (messy.root / "link.yaml").symlink_to("manifests/a.yaml")
    before = (other.read_bytes(), hidden.read_bytes(), text.read_bytes())
    messy.run("fmt", str(messy.root / "link.yaml"), str(messy.root / "manifests"), str(other)).ended(0)
    assert (other.read_bytes(), hidden.read_bytes(), text.read_bytes()) == before
    assert (messy.root / "link.yaml").is_symlink()
    messy.run("fmt", "--check").ended(0)


def test_standard_input(messy: ProjectFolder) -> None:
    """`-` formats what an editor pipes through it."""
    command = [sys.executable, "-m", "reconciler", "fmt", "-"]
    done = subprocess.run(command, input=MESSY, capture_output=True, text=True, check=True, env=messy.variables)
    assert done.stdout == NEAT
    for text, code in ((MESSY, 3), (NEAT, 0)):
        done = subprocess.run(
            [*command, "--check"], input=text, capture_output=True, text=True, check=False, env=messy.variables
        )
        assert (done.returncode, done.stdout) == (code, "")
    done = subprocess.run(command, input="a: [", capture_output=True, text=True, check=False, env=messy.variables)
    assert (done.returncode, done.stdout) == (3, "")
    assert "<stdin>:2:1: error RC205" in done.stderr


def test_cannot_be_read(messy: ProjectFolder) -> None:
    """A file that is no YAML is told and left as it is; the others are formatted all the same."""
    broken = messy.write("manifests/broken.yaml", "a: [\n")
    shown = messy.run("fmt").ended(3)
    assert shown.out == "manifests/a.yaml\n"
    assert "manifests/broken.yaml:" in shown.err
    assert broken.read_text() == "a: [\n"
    assert "cannot be read" in messy.run("fmt", str(messy.root / "nowhere.yaml")).ended(64).err


def complete(project: ProjectFolder, line: str, **environ: str) -> list[str]:
    """What bash is offered at the end of a line."""
    words = line.split(" ")
    variables = {"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    command = [sys.executable, "-m", "reconciler"]
    env = {**project.variables, **variables, "RECONCILER_DIR": str(project.root), **environ}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [item.partition(",")[2] for item in done.stdout.splitlines() if item]


def test_completion(project: ProjectFolder) -> None:
    """Commands, options, environments, names and addresses are offered, those in the state first of all."""
    project.init("flan-t5", "gpt2")
    project.apply().ended(0)
    assert complete(project, "reconciler pl") == ["plan"]
    assert complete(project, "reconciler plan --ba") == ["--base"]
    assert complete(project, "reconciler plan -e ") == ["production"]
    assert complete(project, "reconciler plan ") == ["flan-t5", "gpt2"]
    assert complete(project, "reconciler explain production/f") == ["production/flan-t5"]
    assert complete(project, f"reconciler -C {project.root} explain g", RECONCILER_DIR="/") == ["gpt2"]


def test_completion_of_a_state_elsewhere(project: ProjectFolder) -> None:
    """Where the state cannot be had at once, the names in the manifests are offered."""
    project.configure({"staging": {}})
    project.deploy("flan-t5", more="environments: {production: {}, staging: {modelId: cm-s}}")
    project.deploy("gpt2", more="environments: {production: {}}")
    for state in ("git:reconciler-state", "s3://a-bucket/x", "postgresql://127.0.0.1:9/x"):
        assert complete(project, "reconciler explain ", RECONCILER_STATE=state) == [
            "production/flan-t5",
            "production/gpt2",
            "staging/flan-t5",
        ]
    assert complete(project, "reconciler plan g", RECONCILER_STATE="git:reconciler-state") == ["gpt2"]


def test_completion_never_complains(project: ProjectFolder) -> None:
    """Where there is no project, no state, a broken one, or no manifest, nothing is offered and nothing is said."""
    assert complete(project, "reconciler explain ") == []
    project.init("a")
    for name in ("reconciler.yaml", ".reconciler/production/state.json"):
        text = (project.root / name).read_bytes()
        project.write(name, b"\x00garbage: [")
        assert complete(project, "reconciler explain ") == []
        project.write(name, text)
    project.write("manifests/a.yaml", b"\x00garbage: [")
    assert complete(project, "reconciler explain ", RECONCILER_STATE="s3://bucket/x") == []


def test_completion_is_quick_to_begin(project: ProjectFolder) -> None:
    """Completing imports neither the HTTP client nor what only other commands need."""
    project.init("a")
    heavy = ("httpx", "rich", "structlog", "ruamel", "asyncio", "starlette", "reconciler.cli.apply")
    script = (
        "import sys\nfrom reconciler.cli.main import run\n"
        "try:\n    run([])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
    )
    for line in ("reconciler ex", "reconciler explain "):
        variables = {"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        env = {**project.variables, **variables, "RECONCILER_DIR": str(project.root)}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
        assert done.stderr == "[]\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script(project: ProjectFolder, shell: str) -> None:
    """Each shell's script is printed, and is one that the shell accepts."""
    script = project.run("completion", shell).ended(0).out
    assert "_RECONCILER_COMPLETE" in script
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
