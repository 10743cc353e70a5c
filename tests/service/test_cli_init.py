"""`init`, `validate`, `schema`, `simulate`, `--version` and help, over the real command line."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from reconciler.cli.main import COMMANDS
from tests.service.conftest import SimulatedPlatform
from tests.support.project import KEY, ProjectFolder
from tests.support.simulator import SimulatorProcess
from tests.support.vendor import FINE_TUNE, OPEN_SOURCE, Sample


def test_init_in_an_empty_folder(project: ProjectFolder) -> None:
    """A fresh folder gets a project file, a manifest, a schema and a state; what they say is valid and can be planned."""
    shown = project.run("init", "--host", "https://platform.example.com/").ended(0)
    files = sorted(str(path.relative_to(project.root)) for path in project.root.rglob("*") if path.is_file())
    assert {"reconciler.yaml", "manifests/example.yaml", "schemas/reconciler.json"} <= set(files)
    assert "PRODUCTION_API_KEY" in shown.err
    assert "Valid: 1 file, 1 deployment in 1 environment." in project.run("validate").ended(0).err
    assert "1 to deploy" in project.run("plan").ended(0).out


def test_init_changes_nothing_that_exists(project: ProjectFolder) -> None:
    """Running it again, or among files of one's own, leaves every byte as it is."""
    project.init("alpha")
    project.apply().ended(0)
    before = project.everything_written()
    shown = project.run("init").ended(0)
    assert "created" not in shown.err
    assert project.everything_written() == before


def test_init_makes_the_state_of_each_environment(project: ProjectFolder) -> None:
    """A project with several environments gets a state for each."""
    project.configure({"staging": {}})
    project.deploy("alpha", more="environments: {production: {}, staging: {modelId: cm-s}}")
    project.run("init").ended(0)
    assert project.run("state", "show", "-e", "staging").ended(0).json["state"]["environment"] == "staging"
    assert project.run("state", "show", "-e", "production").ended(0).json["state"]["environment"] == "production"


def test_init_with_names_of_ones_own(project: ProjectFolder) -> None:
    """-e and --api-key-env name the first environment and its variable."""
    project.run("init", "-e", "eu-west", "--host", "platform.example.com").ended(0)
    text = (project.root / "reconciler.yaml").read_text(encoding="utf-8")
    assert "eu-west:" in text
    assert "{env: EU_WEST_API_KEY}" in text
    project.run("plan").ended(0)


@pytest.mark.parametrize(
    "arguments",
    [("-e", "Not A Label"), ("--api-key-env", "not-a-variable"), ("--host", "ftp://x"), ("--host", "https://x/path")],
    ids=" ".join,
)
def test_init_refuses_what_it_could_not_read_back(arguments: tuple[str, ...], project: ProjectFolder) -> None:
    """A name or host that the project file may not hold is refused, and nothing is left behind."""
    shown = project.run("init", *arguments)
    assert shown.code in {3, 64}
    assert "Error:" in shown.err
    assert list(project.root.iterdir()) == []


def curl(sample: Sample) -> str:
    """The vendor's own line, as the page shows it."""
    return f"""curl --location '{sample.url}'
--header 'x-api-key: {sample.key}'
--header 'Content-Type: application/json'
--data '{json.dumps(sample.body, indent=4)}'
"""


def test_taking_over_what_already_runs(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Manifests made from the curl lines in use are recorded by the first apply without a call; the keys are copied nowhere."""
    project.configure()
    calls = [project.write(f"../{sample.manifest}.sh", curl(sample)) for sample in (OPEN_SOURCE, FINE_TUNE)]
    flags = [flag for path in calls for flag in ("--from", str(path))]
    project.run("init", *flags).ended(0)
    assert "2 to adopt" in project.run("plan").ended(0).out
    project.apply().ended(0)
    assert platform.lines == []
    assert "nothing to do, 2 unchanged" in project.run("plan").ended(0).out
    assert json.loads(project.entry("gpt2")["live"]["body"]) == FINE_TUNE.body
    written = project.everything_written()
    assert not any(sample.key.encode() in written for sample in (OPEN_SOURCE, FINE_TUNE))


def test_taking_over_from_bodies(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A JSON body needs the model's id and type beside it; the host of a curl line becomes the project's."""
    body = project.write("../body.json", json.dumps(OPEN_SOURCE.body))
    missing = project.run("init", "--from", str(body)).ended(64)
    assert "--model-id" in missing.err
    assert list(project.root.iterdir()) == []
    project.run("init", "--from", str(body), "--model-id", "cm-1", "--model-type", "openSource").ended(0)
    assert (project.root / "manifests/flant5-model.yaml").is_file()
    project.run("validate").ended(0)


def test_taking_over_what_the_schema_does_not_know(project: ProjectFolder) -> None:
    """A deploy call with a field of the platform's that is new is written down, and told at once, with what lets it in."""
    body = json.dumps({**OPEN_SOURCE.body, "turbo": True, "hyperParameters": {"temperature": 7}})
    path = project.write("../body.json", body)
    shown = project.run("init", "--from", str(path), "--model-id", "cm-1", "--model-type", "openSource").ended(3)
    assert "manifests/flant5-model.yaml:20:3: error RC301: unknown field" in shown.err
    assert "platform: {extraFields: [turbo]}" in shown.err
    assert "RC304" in shown.err
    assert "Everything is written" in shown.err
    assert "created  state of production" in shown.err
    project.run("validate").ended(3)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("nothing.sh", b""),
        ("no-text.sh", b"\xff\xfe"),
        ("no-json.json", b'{"a": '),
        ("deep.json", b'{"a": ' + b"[" * 100_000),
        ("no-call.sh", b"curl https://example.com"),
        ("quotes.sh", b"curl 'https://h/models/cm-1/deploy"),
    ],
)
def test_what_is_no_deploy_call_is_refused(name: str, data: bytes, project: ProjectFolder) -> None:
    """A file that holds no deploy call is named, and nothing is made."""
    path = project.write(f"../{name}", data)
    refused = project.run("init", "--from", str(path)).ended(64)
    assert name in refused.err
    assert list(project.root.iterdir()) == []
    assert "cannot be read" in project.run("init", "--from", "/nonexistent").ended(64).err


def test_folder_without_manifests(project: ProjectFolder) -> None:
    """A folder that holds no manifest is told at the line of the project file that names it, and what to look at."""
    environments = "{production: {host: h.example.com, apiKey: {env: KEY}}}"
    project.write(
        "reconciler.yaml",
        "apiVersion: reconciler/v1\nkind: Project\nmanifests:\n- here/\n- ./there\n- here\nenvironments: "
        + environments,
    )
    project.write("here/a.txt", "")
    shown = project.run("validate").ended(3).out
    assert "reconciler.yaml:4:3: error RC101: there is no *.yaml or *.yml file in here/\n" in shown
    assert "    4 | - here/\n" in shown
    assert "reconciler.yaml:5:3: error RC101: there is no folder './there'\n" in shown
    assert "Check `manifests:` in the project file" in shown


def test_validate_lists_every_mistake_at_once(project: ProjectFolder) -> None:
    """Mistakes in several files are all told, each with place, value, what is allowed and a suggestion."""
    project.init("alpha")
    project.write(
        "manifests/b.yaml",
        (project.root / "manifests/alpha.yaml").read_text().replace("maxTokens: 512", "maxTokens: 9999"),
    )
    project.deploy("gamma", more="deviceTyp: g5.xlarge")
    shown = project.run("validate").ended(3)
    assert "manifests/b.yaml:8:" in shown.out
    assert "9999" in shown.out
    assert "manifests/gamma.yaml:10:" in shown.out
    assert "deviceType" in shown.out
    assert "2 files" in shown.out
    refused = project.run("plan").ended(3)
    assert "manifests/b.yaml:8:" in refused.err
    assert project.apply().ended(3).out == ""


def test_schemas_are_printed(project: ProjectFolder) -> None:
    """`schema` prints what lies in schemas/, whole or for one kind; a typo is wrong usage."""
    root = Path(__file__).parents[2]
    for kind, name in ((None, "reconciler"), ("ModelDeployment", "model-deployment"), ("Project", "project")):
        shown = project.run("schema", *([kind] if kind else [])).ended(0)
        assert shown.json == json.loads((root / f"schemas/{name}.json").read_text(encoding="utf-8"))
    project.run("schema", "ModelDeploymen").ended(64)


@pytest.mark.parametrize("name", [*COMMANDS, "diff"])
def test_every_command_has_help(name: str, project: ProjectFolder) -> None:
    """Help says what a command does and shows how it is called."""
    shown = project.run(name, "--help").ended(0)
    assert shown.out.startswith("Usage: reconciler ")
    if name != "state":
        assert "Examples:" in shown.out


def test_help_of_the_whole(project: ProjectFolder) -> None:
    """The list of commands is complete; an unknown one gets a suggestion."""
    shown = project.run("--help").ended(0)
    assert all(f"  {name} " in shown.out for name in COMMANDS)
    assert "Did you mean plan?" in project.run("pln").ended(64).err
    assert "Did you mean" not in project.run("frobnicate").ended(64).err


def test_version(project: ProjectFolder) -> None:
    """`--version` works as a command and as a module."""
    assert project.run("--version").ended(0).out.startswith("reconciler ")
    assert project.process("--version").ended(0).out.startswith("reconciler ")


def test_common_options_stand_anywhere(project: ProjectFolder) -> None:
    """-C before the command and -C after it mean the same."""
    project.init("alpha")
    elsewhere = project.root.parent / "elsewhere"
    elsewhere.mkdir()
    project.run("plan", "-C", str(project.root)).ended(0)
    project.run("-C", str(elsewhere), "plan", "-C", str(project.root), "--color", "never").ended(0)


def test_simulate_is_a_platform_to_try_things_on(project: ProjectFolder, tmp_path: Path) -> None:
    """`simulate` says where it listens, plays a platform over HTTP, and ends with its signal's code."""
    project.init("alpha")
    with SimulatorProcess(tmp_path, None, "--key", KEY, "--job-seconds", "0") as simulator:
        project.run("apply", "--yes", "--host", simulator.origin).ended(0)
        assert [line["modelId"] for line in simulator.accepted] == ["cm-alpha"]
        code, said = simulator.stop()
    assert code == 128 + signal.SIGTERM
    assert said == ""
