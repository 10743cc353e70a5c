"""Hostile strings from every source at every sink: terminal, log, CI job, comment, report. One estate, all of it at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.security.hurtful import CHECKS, HURTFUL, check_log, check_text
from tests.service.conftest import SimulatedPlatform
from tests.support.checkout import git, new_checkout
from tests.support.project import ProjectFolder, Shown

# How the platform answers about a model of each kind; `TEXT` is where it may say what it likes.
ENDS: dict[str, dict[str, Any]] = {
    "failed": {"job": {"statuses": ["FAILED"], "response": {"errors": [{"msg": "TEXT"}]}}},
    "refused": {"answer": {"status": 422, "message": "TEXT"}},
    "unknown": {"answer": {"status": 200, "body": "<html><p>TEXT", "accepted": True}},
    "odd": {"reply": {"status": "TEXT"}, "job": {"statuses": ["TEXT", "SUCCESS"], "response": "TEXT"}},
}
FORMATS = {
    "plan": ("text", "json", "yaml", "markdown", "github", "gitlab", "junit", "sarif"),
    "status": ("text", "wide", "json", "yaml"),
    "history": ("text", "json", "yaml"),
    "validate": ("text", "json", "github", "gitlab", "junit", "sarif"),
}
LOOKS = [(command, "-o", form) for command, forms in FORMATS.items() for form in forms]


def name_of(kind: str, end: str) -> str:
    return f"{end}-{kind}"


def manifest(name: str, text: str) -> str:
    """With a hostile string wherever one is free to write; JSON is YAML too, and spells what YAML does not take."""
    spec = {
        "modelId": f"cm-{name}",
        "name": text[:256],
        "hyperParameters": {"temperature": 1, "maxTokens": 512, "topP": 1, "topK": 50, "stopSequence": [text]},
        "deviceType": "g5.xlarge",
        "modelType": "openSource",
    }
    metadata = {"name": name, "labels": {"note": text, text[:500]: "x"}}
    return json.dumps({"apiVersion": "reconciler/v1", "kind": "ModelDeployment", "metadata": metadata, "spec": spec})


def file_name(text: str) -> str:
    name = text[:60].replace("/", "\u2215")
    return f"manifests/{name}.yaml"


def replaced(value: Any, text: str) -> Any:
    """A rule with the text in its place."""
    if isinstance(value, dict):
        return {key: replaced(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, text) for item in value]
    return value.replace("TEXT", text) if isinstance(value, str) else value


@pytest.fixture
def estate(project: ProjectFolder, platform: SimulatedPlatform) -> ProjectFolder:
    """Each string in a manifest, its file's name, its author, and in what the platform says of it, in four ways."""
    project.configure()
    new_checkout(project.root)
    git(project.root, "checkout", "--quiet", "-b", "main-\u202e\u200bevil\u2066")
    rules = []
    for kind, text in HURTFUL.items():
        for end, rule in ENDS.items():
            name = name_of(kind, end)
            project.write(f"manifests/{end}-{kind}.yaml", manifest(name, text))
            rules.append({"match": {"model": f"cm-{name}", "operation": "deploy"}, **replaced(rule, text)})
        project.write(file_name(text), manifest(f"file-{kind}", text))
        author = " ".join(text.split())[:200].replace("<", "(").replace(">", ")")
        git(project.root, "add", "--all")
        git(project.root, "commit", "--quiet", "--author", f"{author} <a@b>", "--message", text or "m")
    platform.plays(*rules)
    hurt = HURTFUL["escapes"] + HURTFUL["workflow-commands"] + HURTFUL["bidi"]
    project.environ |= {"GITHUB_ACTOR": hurt, "CI_JOB_URL": f"https://ci/{hurt}", "BUILD_URL": hurt}
    project.run("init").ended(0)
    return project


def check(shown: Shown, form: str = "text") -> Shown:
    """Both streams; the exit code is anything but an error of ours."""
    assert shown.code != 1, shown.err
    assert "Traceback" not in shown.out + shown.err
    if shown.out:
        CHECKS[form](shown.out)
    check_text(shown.err)
    return shown


def test_every_string_from_every_source_at_every_sink(estate: ProjectFolder) -> None:
    """Nothing that is shown of it directs a terminal, a job, a reader or a parser, and every machine's format can be read."""
    check(estate.run("plan", "-v")).ended(0)
    check(estate.apply("--init-state", "--allow-mass-change", "--no-wait"))
    check(estate.run("status", "--wait"))
    for arguments in LOOKS:
        check(estate.run(*arguments), arguments[-1])
    for number, (kind, text) in enumerate(HURTFUL.items()):
        unknown = f"production/{name_of(kind, 'unknown')}"
        check(estate.run("explain", f"production/{name_of(kind, [*ENDS][number % len(ENDS)])}"))
        decide = ("resolve", unknown, "--it-happened") if number % 2 else ("suspend", unknown)
        check(estate.run(*decide, "--reason", text)).ended(0)
    check(estate.run("history", f"production/{name_of('escapes', 'failed')}", "--values"))
    check(estate.run("explain", f"production/{name_of('escapes', 'failed')}", "-o", "json"), "json")
    for arguments in LOOKS:
        check(estate.run(*arguments), arguments[-1])
    check(estate.run("state", "show"), "json")
    check(estate.run("plan", "-v"))
    check(estate.run("doctor"))


def test_logs_are_an_event_a_line(estate: ProjectFolder) -> None:
    """Whatever the platform says, a JSON log has one event a line, and a text log shows nothing that is obeyed."""
    said = ("--log-level", "debug", "--log-format")
    check_log(estate.apply("--init-state", "--allow-mass-change", *said, "json").err)
    check(estate.apply("--allow-mass-change", "--no-wait", *said, "text"))


@pytest.mark.parametrize("kind", HURTFUL)
def test_mistakes(kind: str, project: ProjectFolder) -> None:
    """What is wrong is quoted harmlessly in every format: values, fields, file names, names of names."""
    text = HURTFUL[kind]
    project.configure()
    wrong = {"apiVersion": text, "kind": "ModelDeployment", "metadata": {"name": text, text: text}}
    spec = {
        "modelId": text,
        "deviceType": text,
        "modelType": text,
        "rollout": {"dependsOn": [text]},
        text: {text: text},
    }
    project.write(file_name(text), json.dumps({**wrong, "spec": {**spec, "environments": {text: {}}}}))
    project.write("manifests/b.yaml", json.dumps({"kind": text, "apiVersion": "reconciler/v1"}))
    for form in FORMATS["validate"]:
        check(project.run("validate", "-o", form), form).ended(3)
    check(project.run("plan", "-o", "markdown"), "markdown").ended(3)
    check(project.run("plan")).ended(3)
    check(project.run("fmt", "--check"))
    check(project.run("doctor"))
    environments = {"production": {"host": text, "apiKey": {"env": text}, "caFile": text, text: text}, text: {}}
    project.write_project({"manifests": [text], "ignore": [text], "state": text, "environments": environments})
    check(project.run("validate")).ended(3)
    check(project.run("plan"))


@pytest.mark.parametrize("kind", HURTFUL)
def test_arguments(kind: str, project: ProjectFolder) -> None:
    """What a command is given is repeated harmlessly: in CI an argument may be a branch's or a person's name."""
    text = HURTFUL[kind]
    project.init("alpha")
    for arguments in (
        ("plan", text),
        ("plan", "-e", text),
        ("plan", "-l", text),
        ("plan", "--ref", text),
        ("plan", "--base", text),
        ("plan", "--out", f"{project.root}/none/{text[:50]}"),
        ("apply", "--plan", text, "--yes"),
        ("explain", text),
        ("history", text, "--values"),
        ("rollback", text, "--to", text),
        ("resolve", text, "--dock-status-id", text),
        ("retry", text),
        ("forget", text),
        ("undeploy", text),
        ("adopt", text),
        ("suspend", text, "--for", text),
        ("state", "unlock", "--id", text),
        ("fmt", text),
        ("comment", text),
        ("--state", text, "status"),
        ("--project", text, "plan"),
        ("--host", text, "plan"),
        ("--log-level", text, "plan"),
        ("watch", "--once", "--git", text, "--project", "p"),
        (text,),
        (f"--{text}",),
    ):
        check(project.run(*arguments))


@pytest.mark.parametrize(
    "model_id",
    [
        "cm-1/undeploy?",
        "../cm-1",
        "..",
        ".",
        "cm-1%2fundeploy",
        "cm 1",
        "cm-1\nx: y",
        "x" * 10_240,
        "cm-\uff11",
        "\u0441m-1",
        "-cm",
        "",
    ],
)
def test_ids_that_would_be_another_call(model_id: str, project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """An id that is no id is refused where it is written, and nothing is sent."""
    project.init("alpha")
    project.write("manifests/b.yaml", manifest("b", "x").replace('"cm-b"', json.dumps(model_id)))
    for command in (("validate",), ("plan",), ("apply", "--yes")):
        check(project.run(*command)).ended(3)
    assert platform.lines == []


def test_ids_of_the_platform(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """A dock status id that is no id is in doubt, and is never put into a path."""
    ids = ["../../models/cm-a/undeploy", "ds-1?x=y", "ds 1", "d" * 10_240, "ds-\u202e1", HURTFUL["workflow-commands"]]
    names = [f"m{number}" for number in range(len(ids))]
    platform.plays(*({"match": {"model": f"cm-{n}"}, "reply": {"id": one}} for n, one in zip(names, ids, strict=True)))
    project.init(*names)
    check(project.apply("--allow-mass-change")).ended(9)
    for form in FORMATS["status"]:
        check(project.run("status", "-o", form), form)
    asked = {line["path"] for line in platform.lines if line["method"] == "GET"}
    assert all(path.count("/") == min(p.count("/") for p in asked) for path in asked)
    assert [call for call, _ in platform.posts] == ["deploy"] * len(ids)
