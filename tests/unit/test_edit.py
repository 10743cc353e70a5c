"""What is written for users: comments stay, what is read back is what was meant, and a key is never copied."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.edit.payload import Payload, read_payload
from reconciler.edit.templates import example_text, manifest_text, name_from, project_text
from reconciler.edit.yaml_text import edit
from reconciler.errors import UsageError
from reconciler.load.documents import load_file
from reconciler.load.project import Fallback, load_project
from reconciler.load.widening import NO_WIDENING
from reconciler.model.snapshot import SourceFile

BODY: dict[str, Any] = {
    "name": "Flant5_model",
    "hyperParameters": {"temperature": 1, "maxTokens": 512, "topP": 1, "topK": 50, "stopSequence": ["\n", "no", "1e3"]},
    "deviceType": "g5.xlarge",
    "optimizationInfo": {"optimizationType": "", "quantizationType": ""},
    "isDeployedPreviously": True,
}
CURL = f"""curl --location 'https://platform.example.com/api/public/models/cm-2/deploy?modelType=openSource'
--header 'x-api-key: kg-very-secret-key'
--header 'Content-Type: application/json'
--data '{json.dumps(BODY, indent=2)}'
"""


def test_curl_command_is_read() -> None:
    """The id and type come from the URL, the body from --data, and the key from nowhere."""
    payload = read_payload(CURL.encode(), "deploy.sh")
    assert (payload.model_id, payload.model_type, payload.body) == ("cm-2", "openSource", BODY)
    assert payload.host == "https://platform.example.com/"
    assert "secret" not in repr(payload)


def test_curl_with_continued_lines() -> None:
    """Backslashes at the ends of lines are the shell's."""
    payload = read_payload(CURL.replace("'\n--", "' \\\n --").replace("--data '", "-d '").encode(), "deploy.sh")
    assert payload.body == BODY


def test_body_alone() -> None:
    """A JSON body may say its model, and need not."""
    assert read_payload(json.dumps(BODY).encode(), "b.json") == Payload(body=BODY)
    said = read_payload(json.dumps({**BODY, "modelId": "cm-1", "modelType": "fineTune"}).encode(), "b.json")
    assert (said.model_id, said.model_type, said.body) == ("cm-1", "fineTune", BODY)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hello", "neither"),
        ("{", "not JSON"),
        ("curl https://h/api/public/models/cm-1/deploy", "0 bodies"),
        ("curl 'https://h/api/public/models/cm-1/deploy", "cannot be read as a command"),
        ("curl https://h/models/cm-1/deploy -d '[1]'", "not a JSON object"),
        ("curl https://h/models/cm-1/deploy -d '{}' -d '{}'", "2 bodies"),
    ],
)
def test_unreadable_calls_are_said(text: str, why: str) -> None:
    """What is no deploy call is a usage error that names the file."""
    with pytest.raises(UsageError, match=why) as caught:
        read_payload(text.encode(), "odd.sh")
    assert "odd.sh" in str(caught.value)


def test_adopted_manifest_loads_and_means_the_body() -> None:
    """What `init --from` writes is a valid manifest with the same values, marked for adoption."""
    text = manifest_text("flan", Payload(body=BODY, model_id="cm-2", model_type="openSource"), ("production",))
    loaded = load_file(SourceFile(path="m.yaml", data=text.encode()), NO_WIDENING)
    assert loaded.diagnostics == ()
    (manifest,) = loaded.manifests
    assert manifest.spec["rollout"] == {"adopt": True}
    assert {key: manifest.spec[key] for key in BODY if key != "isDeployedPreviously"} == {
        key: value for key, value in BODY.items() if key != "isDeployedPreviously"
    }


@given(
    st.dictionaries(
        st.text(max_size=8), st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8), max_size=4
    )
)
def test_any_value_survives_being_written(extra: dict[str, Any]) -> None:
    """Whatever text a body holds, the manifest's YAML means the same text."""
    from reconciler.load.yaml import parse

    usable = {"".join(c for c in k if c.isprintable()): v for k, v in extra.items()}
    usable = {k: "".join(c for c in v if c.isprintable()) if isinstance(v, str) else v for k, v in usable.items()}
    text = manifest_text(
        "m", Payload(body={"hyperParameters": usable}, model_id="cm-1", model_type="openSource"), ("e",)
    )
    documents, found = parse(text.encode(), "m.yaml")
    assert found == ()
    assert documents[0].value["spec"]["hyperParameters"] == usable


def test_first_files_are_valid() -> None:
    """The project file and the example manifest that `init` writes are accepted."""
    project = project_text("production", "https://platform.example.com/", "PRODUCTION_API_KEY")
    settled, found = load_project(SourceFile(path="reconciler.yaml", data=project.encode()), Fallback(host=None))
    assert found == ()
    assert settled is not None
    assert [e.name for e in settled.environments] == ["production"]
    loaded = load_file(SourceFile(path="m.yaml", data=example_text("production").encode()), NO_WIDENING)
    assert loaded.diagnostics == ()
    assert len(loaded.manifests) == 1


@pytest.mark.parametrize(
    ("shown", "name"),
    [("Flant5_model", "flant5-model"), ("gpt2", "gpt2"), ("ÄÖ!", "model"), ("-a-", "a"), ("x" * 99, "x" * 63)],
)
def test_names_become_labels(shown: str, name: str) -> None:
    """What the platform shows becomes a DNS label."""
    assert name_from(shown) == name


def test_editing_keeps_everything_else() -> None:
    """Comments, order, quotes and other documents stay as they are written."""
    text = """\
# first
a: 1   # one
---
# second
metadata: {name: "x"}
spec:
  # why
  modelId: 'cm-1'
  rollout: {wave: 2}
"""
    edited = edit(text, 1, ("spec", "rollout", "adopt"), value=True)
    assert edited == text.replace("{wave: 2}", "{wave: 2, adopt: true}")


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("spec:\n  modelId: cm-1\n", "  rollout: {adopt: true}\n"),
        ("spec:\n    modelId: cm-1   # ours\n    stop:\n    - a\n    # the end\n", "    rollout: {adopt: true}\n"),
        ("spec:\r\n  modelId: cm-1\r\n", "  rollout: {adopt: true}\r\n"),
        ("spec:\n  modelId: cm-1\n  name: |\n    a\n    b\n", "  rollout: {adopt: true}\n"),
        ("base: &b {x: ~}\nspec:\n  <<: *b\n  y: 0o14\n  z: *b\n", "  rollout: {adopt: true}\n"),
        ("\ufeffspec:\n  name: 'äö 漢'\n", "  rollout: {adopt: true}\n"),
        ("{spec: {a: 1}}\n", ", rollout: {adopt: true}"),
        ("spec: {}\n", "rollout: {adopt: true}"),
        ("spec:\n  rollout:\n", " {adopt: true}"),
        ("spec:\n  rollout:\n    wave: 2\n  a: 1\n", "    adopt: true\n"),
    ],
)
def test_editing_adds_and_changes_nothing_else(text: str, added: str) -> None:
    """What is missing is put in, in the style of what is around it; every other byte stays."""
    edited = edit(text, 0, ("spec", "rollout", "adopt"), value=True)
    assert edited.replace(added, "", 1) == text
    assert edited != text


def test_editing_without_a_line_end() -> None:
    """A file that does not end with a line end gets one."""
    assert edit("spec:\n  a: 1", 0, ("spec", "b"), value="x: y") == 'spec:\n  a: 1\n  b: "x: y"\n'


def test_editing_replaces_what_is_there() -> None:
    """A value that is written already is replaced where it stands."""
    text = "spec: # why\n  rollout: {adopt: false, wave: 1} # later\n"
    assert edit(text, 0, ("spec", "rollout", "adopt"), value=True) == text.replace("false", "true")


@pytest.mark.parametrize(
    "text",
    [
        "- a\n",
        "a: 1\n---\nb: ]\n",
        "",
        "base: &b {rollout: {wave: 1}}\nspec:\n  <<: *b\n",  # would hide the wave
        "spec: 1\n",
        "r: &r {wave: 1}\nspec: {rollout: *r}\n",  # would change r too
    ],
)
def test_editing_something_else_is_refused(text: str) -> None:
    """Where the value cannot be set without changing what else is meant, the text is not edited."""
    with pytest.raises(UsageError, match="cannot be edited"):
        edit(text, 0, ("spec", "rollout", "adopt"), value=True)
