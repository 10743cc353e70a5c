"""`reconciler init`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click

from reconciler import pipeline, wiring
from reconciler.cli.files import read_file, write_file
from reconciler.cli.options import Command, examples
from reconciler.cli.planning import empty_state
from reconciler.cli.session import Session
from reconciler.diagnostics import errors_in
from reconciler.edit.payload import Payload, read_payload
from reconciler.edit.templates import EXAMPLE_HOST, SCHEMA, example_text, manifest_text, name_from, project_text
from reconciler.errors import InvalidInput, UsageError
from reconciler.load.project import Fallback, load_project
from reconciler.load.schema import render, schema_of
from reconciler.model.snapshot import SourceFile
from reconciler.wiring import Opened


@click.command(
    cls=Command,
    epilog=examples(
        "reconciler init --host https://agent-platform.example.com/",
        "reconciler init --from deploy-flan.sh --from deploy-gpt2.sh     the curl commands that you use today",
        "reconciler init --from body.json --model-id cm-… --model-type fineTune",
    ),
)
@click.option(
    "--environment", "-e", metavar="ENV", default="production", show_default=True, help="The first environment's name."
)
@click.option("--api-key-env", metavar="NAME", help="Variable of its API key. Default: ENVIRONMENT_API_KEY.")
@click.option(
    "--from", "sources", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="A deploy call."
)
@click.option("--model-id", metavar="ID", help="Of the body that --from names, where the file does not say it.")
@click.option("--model-type", type=click.Choice(["openSource", "fineTune"]), help="As --model-id.")
@click.pass_context
def init(
    ctx: click.Context,
    environment: str,
    api_key_env: str | None,
    sources: tuple[Path, ...],
    model_id: str | None,
    model_type: str | None,
) -> int:
    """Create what is missing: the project file, a first manifest, and the state of each environment.

    With --from, manifests are written from deploy calls that a team already sends, marked `adopt: true`, so that the first
    apply records them without deploying them again. Nothing that exists is changed.
    """
    session = Session.of(ctx)
    payloads = [_payload(path, model_id, model_type) for path in sources]
    if session.settings.host is None:
        host = next((payload.host for _, payload in payloads if payload.host), EXAMPLE_HOST)
    else:
        host = session.settings.host
    key_variable = api_key_env or f"{environment.upper().replace('-', '_')}_API_KEY"
    _make(session, session.settings.project, _checked(project_text(environment, host, key_variable)))
    opened = wiring.open_project(session.settings)
    _make(session, session.settings.root / SCHEMA, render(schema_of(None)))
    _manifests(session, opened, [payload for _, payload in payloads])
    for one in opened.project.environments:
        store = wiring.store_for(opened, one)
        if store.exists():
            session.say(f"kept     state of {one.name} in {store.location}")
        else:
            store.create(empty_state(one))
            session.say(f"created  state of {one.name} in {store.location}")
    session.say(_what_next(opened, host))
    if payloads:
        _refuse_invalid(opened)
    return 0


def _checked(text: str) -> str:
    """The text of a project file. Raises UsageError when what the flags say cannot stand in one."""
    _, found = load_project(SourceFile(path="reconciler.yaml", data=text.encode()), Fallback(host=None))
    if found:
        said = (f"{one.path}: {one.message}; allowed: {one.allowed or '-'}" for one in found)
        raise UsageError(
            "A project file with these names would not be valid:",
            details=said,
            next_step="Check --environment, --host and --api-key-env; nothing was made.",
        )
    return text


def _payload(path: Path, model_id: str | None, model_type: str | None) -> tuple[Path, Payload]:
    payload = read_payload(read_file(path, "The deploy call"), str(path))
    payload = replace(payload, model_id=payload.model_id or model_id, model_type=payload.model_type or model_type)
    if payload.model_id is None or payload.model_type is None:
        raise UsageError(
            f"{path} does not say which model it deploys: the id and the type stand in the call's URL, not in its body.",
            next_step="Add --model-id and --model-type, or give the whole curl command as the file.",
        )
    return path, payload


def _manifests(session: Session, opened: Opened, payloads: list[Payload]) -> None:
    folder = session.settings.root / opened.project.manifests[0]
    if not payloads:
        if not folder.is_dir() or not any(folder.rglob("*.y*ml")):
            _make(session, folder / "example.yaml", example_text(opened.names[0]))
        return
    taken: set[str] = set()
    for payload in payloads:
        name = _free_name(str(payload.body.get("name") or payload.model_id), taken)
        _make(session, folder / f"{name}.yaml", manifest_text(name, payload, opened.names))


def _refuse_invalid(opened: Opened) -> None:
    """A deploy call may hold what the schema does not know: better told now than by the next command."""
    wrong = errors_in(pipeline.check(wiring.take_snapshot(opened, provenance=False), opened.project).diagnostics)
    if wrong:
        raise InvalidInput(
            "Everything is written, but not every manifest is valid as it is",
            diagnostics=wrong,
            next_step="Mend what is listed, or widen `platform` in the project file (extraFields, ranges, deviceTypes) "
            "where the platform takes it. `reconciler validate` looks again.",
        )


def _free_name(text: str, taken: set[str]) -> str:
    base = name = name_from(text)
    number = 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name


def _make(session: Session, path: Path, text: str) -> None:
    """Write a file where there is none."""
    if os.path.exists(path):  # noqa: PTH110 - Path.exists raises for a name that is too long
        session.say(f"kept     {path}")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text.encode(), keep=True)
    session.say(f"created  {path}")


def _what_next(opened: Opened, host: str) -> str:
    key = opened.project.environments[0].api_key
    lines = ["", "Next:"]
    if host == EXAMPLE_HOST and opened.project.environments[0].origin == EXAMPLE_HOST.rstrip("/"):
        lines.append(f"  - write your platform's host into {opened.settings.project}")
    lines += [
        f"  - describe your models in {opened.project.manifests[0]}",
        "  - reconciler plan      shows what would be done",
        f"  - reconciler apply     does it; the API key is read from {key}",
    ]
    return "\n".join(lines)
