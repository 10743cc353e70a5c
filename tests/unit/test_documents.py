"""Documents become manifests, or every mistake in them is said, at its place and with what was probably meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic_core.core_schema import ErrorType

from reconciler.diagnostics import Diagnostic, Position, in_order
from reconciler.load import load
from reconciler.load.codes import CODES
from reconciler.load.documents import load_file
from reconciler.load.project import Fallback, load_project
from reconciler.load.shape import _TABLE as KINDS_OF_FINDINGS
from reconciler.load.widening import NO_WIDENING, Widening
from reconciler.load.yaml import MAX_MISTAKES
from reconciler.model.loaded import LoadedFile, Memo
from reconciler.model.resource import Origin
from reconciler.model.snapshot import SourceFile
from tests.support.hostile import HOSTILE, MIB

HEAD = "apiVersion: reconciler/v1\nkind: ModelDeployment\nmetadata: {name: a}\n"
ROOT = Path(__file__).parent.parent.parent


def loaded(text: str, widening: Widening = NO_WIDENING) -> LoadedFile:
    return load_file(SourceFile(path="m.yaml", data=text.encode()), widening)


def mistakes(text: str, widening: Widening = NO_WIDENING) -> list[Diagnostic]:
    return list(in_order(loaded(text, widening).diagnostics))


def mistake(spec: str) -> Diagnostic:
    """The one mistake in a spec, written in flow style behind `spec: `."""
    (found,) = mistakes(f"{HEAD}spec: {spec}\n")
    assert found.position is not None
    assert found.position.line == 4
    return found


# spec -> code, path, a word of what is said, of what is allowed, of what is suggested
MISTAKES: dict[str, tuple[str, str, str, str | None, str | None]] = {
    "{maxtokens: 1}": ("RC301", "spec.maxtokens", "unknown", None, "belongs under spec.hyperParameters"),
    "{temperature: 1}": ("RC301", "spec.temperature", "unknown", None, "It belongs under spec.hyperParameters."),
    "{labels: {a: b}}": ("RC301", "spec.labels", "unknown", None, "It belongs under metadata."),
    "{protect: true}": ("RC301", "spec.protect", "unknown", None, "It belongs under spec.rollout."),
    "{model_id: cm-1}": ("RC301", "spec.model_id", "unknown", None, "Did you mean modelId?"),
    "{ModelID: cm-1}": ("RC301", "spec.ModelID", "unknown", None, "Did you mean modelId?"),
    "{devicetyp: x}": ("RC301", "spec.devicetyp", "unknown", None, "Did you mean deviceType?"),
    "{quux: 1}": ("RC301", "spec.quux", "unknown", None, "extraFields: [quux]"),
    "{hyperParameters: {quux: 1}}": (
        *("RC301", "spec.hyperParameters.quux", "unknown", None, "extraFields: [hyperParameters.quux]"),
    ),
    "{rollout: {quux: 1}}": ("RC301", "spec.rollout.quux", "unknown", None, None),
    "{hyperParameters: {max_tokens: 1}}": ("RC301", "spec.hyperParameters.max_tokens", "unknown", None, "maxTokens?"),
    "{environments: {p: {topK: 1}}}": (
        *("RC301", "spec.environments.p.topK", "unknown", None),
        "It belongs under spec.environments.p.hyperParameters.",
    ),
    "{environments: {p: {nothing: null}}}": (
        *("RC301", "spec.environments.p.nothing", "unknown", None, "extraFields: [nothing]"),
    ),
    "{hyperParameters: {topK: '5'}}": ("RC303", "spec.hyperParameters.topK", "not an integer", "an integer", None),
    "{hyperParameters: {topK: 5.0}}": ("RC303", "spec.hyperParameters.topK", "write 5", "an integer", None),
    "{hyperParameters: {topK: 1e300}}": ("RC303", "spec.hyperParameters.topK", "not an integer", "an integer", None),
    "{hyperParameters: {topK: true}}": ("RC303", "spec.hyperParameters.topK", "not an integer", "an integer", None),
    "{hyperParameters: {topP: no}}": ("RC303", "spec.hyperParameters.topP", "not a number", "a number", None),
    "{hyperParameters: []}": ("RC303", "spec.hyperParameters", "not a mapping", "a mapping", None),
    "{environments: [p]}": ("RC303", "spec.environments", "not a mapping", "a mapping", None),
    "{hyperParameters: {stopSequence: x}}": (
        "RC303",
        "spec.hyperParameters.stopSequence",
        "not a list",
        "a list",
        None,
    ),
    "{hyperParameters: {stopSequence: [a, 1]}}": (
        *("RC303", "spec.hyperParameters.stopSequence[1]", "not text", "quote it", None),
    ),
    "{isDeployedPreviously: yes}": ("RC303", "spec.isDeployedPreviously", "not a boolean", "YAML 1.2", None),
    "{name: 12}": ("RC303", "spec.name", "not text", "quote it", None),
    "{hyperParameters: {temperature: 2.5}}": ("RC304", "spec.hyperParameters.temperature", "too large", "0 to 2", None),
    "{scalingParameters: {scaleDownDelay: 49}}": (
        *("RC304", "spec.scalingParameters.scaleDownDelay", "too small", "50 to 2000", None),
    ),
    "{rollout: {wave: 99999999999999999999}}": ("RC304", "spec.rollout.wave", "too large", "-1000 to 1000", None),
    "{deviceType: g5.xlrage}": ("RC305", "spec.deviceType", "not one of", "g4dn.metal", "Did you mean g5.xlarge?"),
    "{modelType: opensource}": ("RC305", "spec.modelType", "not one of", "openSource", "Did you mean openSource?"),
    "{rollout: {strategy: deploy-first}}": (
        "RC305",
        "spec.rollout.strategy",
        "not one of",
        "DeployFirst",
        "DeployFirst?",
    ),
    "{optimizationInfo: {optimizationType: none}}": (
        *("RC305", "spec.optimizationInfo.optimizationType", "not one of", '"", ctranslate2, vllm', None),
    ),
    "{deviceType: 5}": ("RC305", "spec.deviceType", "not one of", "g4dn.metal", None),
    "{modelId: cm-1/undeploy?}": ("RC306", "spec.modelId", "badly spelled", "at most 128", None),
    "{modelId: ''}": ("RC306", "spec.modelId", "badly spelled", "at most 128", None),
    "{name: ''}": ("RC306", "spec.name", "empty", "at least one", None),
    f"{{name: {'x' * 257}}}": ("RC306", "spec.name", "too long", "at most 256", None),
    "{rollout: {timeout: 45}}": ("RC303", "spec.rollout.timeout", "not text", "quote it", None),
    "{rollout: {timeout: 45 min}}": ("RC306", "spec.rollout.timeout", "badly spelled", "1h30m", None),
    "{rollout: {timeout: 0h0m}}": ("RC306", "spec.rollout.timeout", "not a duration", "1h30m", None),
    "{rollout: {timeout: 99999999999999999s}}": ("RC306", "spec.rollout.timeout", "too long", "at most 16", None),
    "{rollout: {dependsOn: [A]}}": ("RC306", "spec.rollout.dependsOn[0]", "badly spelled", "a DNS label", None),
    "{environments: {Prod: {}}}": ("RC306", "spec.environments.Prod", "badly spelled", "a DNS label", None),
    "{modelId: null}": ("RC307", "spec.modelId", "nothing to delete", None, "Leave the field out"),
    "{hyperParameters: {topK: ~}}": ("RC307", "spec.hyperParameters.topK", "nothing to delete", None, "Leave"),
    "{environments: }": ("RC307", "spec.environments", "nothing to delete", None, "Leave"),
    "{environments: {p: }}": ("RC307", "spec.environments.p", "nothing to delete", None, "write {}"),
}


@pytest.mark.parametrize(("spec", "said"), MISTAKES.items())
def test_mistake_says_what_where_and_what_was_meant(spec: str, said: tuple[str, ...]) -> None:
    """Each mistake in a spec is said once, with its path, what is allowed, and what was probably meant."""
    found = mistake(spec)
    code, path, word, allowed, suggestion = said
    assert (found.code, found.path) == (code, path)
    assert word in found.message
    assert (allowed or "") in (found.allowed or "")
    assert (found.suggestion is None) == (suggestion is None)
    assert (suggestion or "") in (found.suggestion or "")


WHOLE = {
    "[]": ("RC308", "apiVersion", "reconciler/v1"),
    "text": ("RC308", "apiVersion", "reconciler/v1"),
    "kind: ModelDeployment": ("RC308", "apiVersion", "reconciler/v1"),
    "apiVersion: v1\nkind: ConfigMap": ("RC308", "apiVersion", "reconciler/v1"),
    "apiVersion: reconciler/v2\nkind: ModelDeployment": ("RC308", "apiVersion", "Did you mean reconciler/v1?"),
    "apiVersion: reconciler/v1\nkind: Project": ("RC308", "kind", "ModelDeployment"),
    "apiVersion: reconciler/v1\nkind: modelDeployment": ("RC308", "kind", "Did you mean ModelDeployment?"),
    "apiVersion: [reconciler/v1]\nkind: {}": ("RC308", "apiVersion", "reconciler/v1"),
}


@pytest.mark.parametrize(("text", "said"), WHOLE.items())
def test_a_document_that_is_not_ours(text: str, said: tuple[str, str, str]) -> None:
    """A document of another apiVersion or kind is refused as a whole, and nothing in it is judged."""
    (found,) = mistakes(text)
    code, path, word = said
    assert (found.code, found.path) == (code, path)
    assert word in f"{found.allowed} {found.suggestion}"


REQUIRED = {
    "apiVersion: reconciler/v1\nkind: ModelDeployment": ["metadata", "spec"],
    "apiVersion: reconciler/v1\nkind: ModelDeployment\nmetadata: {}\nspec: {}": ["metadata.name"],
}


@pytest.mark.parametrize(("text", "paths"), REQUIRED.items())
def test_what_is_required(text: str, paths: list[str]) -> None:
    """A document needs metadata with a name, and a spec; what the spec needs is judged after merging."""
    assert [(one.code, one.path, one.value) for one in mistakes(text)] == [("RC302", path, None) for path in paths]


def test_all_mistakes_at_once_each_at_its_place() -> None:
    """Every document of a file is judged, and every mistake in it is placed where it is written."""
    text = f"{HEAD}spec:\n  modelId: a b\n  deviceTyp: x\n---\n{HEAD}spec:\n  environments:\n    p: {{topK: 1, rollout: 1}}\n"
    assert [(one.code, str(one.position)) for one in mistakes(text)] == [
        ("RC306", "m.yaml:5:12"),
        ("RC301", "m.yaml:6:3"),
        ("RC301", "m.yaml:13:9"),
        ("RC303", "m.yaml:13:27"),
    ]


def test_a_merged_mistake_is_placed_where_it_is_written() -> None:
    """A value that came through a merge key is blamed at the anchor."""
    override = "p: {hyperParameters: {<<: *base, topP: 1}}"
    text = f"{HEAD}spec:\n  hyperParameters: &base {{topK: 0}}\n  environments:\n    {override}\n"
    assert [str(one.position) for one in mistakes(text)] == ["m.yaml:5:33", "m.yaml:5:33"]


def test_manifest_is_as_written() -> None:
    """A manifest keeps the text's own values, its labels in order, and where it is written."""
    head = HEAD.replace("{name: a}", "{name: a, labels: {z: y, b: c}}")
    text = f"---\n---\n# a comment\n{head}spec: {{modelId: cm-1, environments: {{p: {{name: }}}}}}\n"
    (manifest,) = loaded(text).manifests
    assert manifest.name == "a"
    assert manifest.labels == (("b", "c"), ("z", "y"))
    assert manifest.overrides == {"p": {"name": None}}
    assert manifest.spec["modelId"] == "cm-1"
    assert manifest.origin == Origin(file="m.yaml", document=1, line=4)


def test_what_is_broken_is_still_known_by_name() -> None:
    """A document with mistakes gives its name and environments, so that nothing of it is undeployed meanwhile."""
    text = f"{HEAD}spec: {{modelId: [], environments: {{p: {{}}, q: {{}}}}}}\n---\n{HEAD.replace('name: a', 'name: b')}spec: 1\n"
    file = loaded(text)
    assert (file.manifests, file.broken, file.unreadable) == ((), (("a", ("p", "q")), ("b", ())), False)


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2", "kind: x", HEAD.replace("name: a", "name: [a]"), "- 1"])
def test_what_has_no_name_makes_the_file_unreadable(text: str) -> None:
    """A file in which not even a name can be told may stand for anything."""
    assert loaded(text).unreadable


def test_widening_lifts_what_it_names() -> None:
    """The project file's escape hatch admits a device, a range and a field, and says so in what is allowed."""
    wide = Widening(
        device_types=frozenset({"p5.48xlarge"}),
        ranges={"hyperParameters.maxTokens": (1024, 4096)},
        extra_fields=frozenset({"hyperParameters.minP"}),
    )
    spec = "{deviceType: p5.48xlarge, hyperParameters: {maxTokens: 4096, minP: 0.1}}"
    assert mistakes(f"{HEAD}spec: {spec}\n", wide) == []
    beyond = "{deviceType: p6, hyperParameters: {maxTokens: 4097, minQ: 0.1}}"
    allowed = [one.allowed for one in mistakes(f"{HEAD}spec: {beyond}\n", wide)]
    assert allowed == [f"{mistake('{deviceType: p6}').allowed}, p5.48xlarge", "0 to 4096", None]


def test_a_long_value_is_cut_and_a_key_is_blotted_out() -> None:
    """A diagnostic quotes little of a value, a collection not at all, and never what looks like an API key."""
    assert len(mistake(f"{{modelId: '{'y ' * 500}'}}").value or "") < 70
    assert mistake("{modelType: {a: b}}").value == "a mapping"
    assert mistake("{modelType: kg-12345678-abcd}").value == "'kg-[redacted]'"
    assert mistake("{modelType: kg-knowledge-graph}").value == "'kg-knowledge-graph'"


def test_mistakes_of_one_file_are_bounded() -> None:
    """A file full of mistakes lists the first of them, and every one of its documents counts as broken."""
    spec = ", ".join(f"k{n}: 1" for n in range(700))
    text = "---\n".join(f"{HEAD.replace('name: a', f'name: n{n}')}spec: {{{spec}}}\n" for n in range(5))
    file = loaded(text)
    assert MAX_MISTAKES <= len(file.diagnostics) <= MAX_MISTAKES + 5
    assert [name for name, _ in file.broken] == ["n0", "n1", "n2", "n3", "n4"]


def test_every_finding_of_the_models_has_words() -> None:
    """No kind of finding in the table is misspelled."""
    assert set(KINDS_OF_FINDINGS) - set(get_args(ErrorType)) == set()


def test_every_code_is_provoked() -> None:
    """Each code of YAML and of what is written is said of something in these tests' tables."""
    texts = [f"{HEAD}spec: {spec}\n".encode() for spec in MISTAKES]
    texts += [text.encode() for text in (*WHOLE, *REQUIRED, "a: !!int x", "a: !x", "1: a", "a: 1\na: 2", "a: {<<: 1}")]
    texts += [text for text, _ in HOSTILE.values() if len(text) < MIB // 32]
    texts.append(HOSTILE["one byte too many"][0])
    said = {one.code for text in texts for one in load_file(SourceFile(path="m", data=text), NO_WIDENING).diagnostics}
    assert {code for code in CODES if code[2] in "23"} <= said


def test_every_code_of_the_program_is_documented() -> None:
    """No module says a code that is not in the table, and the table has no code that nothing says."""
    used: set[str] = set()
    for path in (ROOT / "reconciler").rglob("*.py"):
        if path.name not in {"codes.py", "yaml_codes.py"}:
            used |= set(re.findall(r'"(RC\d{3})"', path.read_text(encoding="utf-8")))
    assert used == set(CODES)


def test_memo_changes_nothing_but_the_work() -> None:
    """With a memo the result is the same; an unchanged file is the same object; another widening forgets everything."""
    files = [SourceFile(path=f"{name}.yaml", data=f"{HEAD}spec: {{{name}}}\n".encode()) for name in "ab"]
    memo = Memo()
    first = load(files, NO_WIDENING, memo)
    assert first == load(files, NO_WIDENING)
    changed = [SourceFile(path="a.yaml", data=b"- 1"), files[1]]
    second = load(changed, NO_WIDENING, memo)
    assert second == load(changed, NO_WIDENING)
    assert second[1] is first[1]
    wide = Widening(ranges={}, extra_fields=frozenset({"b"}))
    assert load(files, wide, memo) == load(files, wide)
    assert [file.path for file in load(files[:1], wide, memo)] == ["a.yaml"]
    assert set(memo.files) == {"a.yaml"}


def test_a_project_file_among_the_manifests_is_not_ours_and_the_other_way_round() -> None:
    """Each kind stands in its own place."""
    project = b"apiVersion: reconciler/v1\nkind: Project\nenvironments: {a: {host: h, apiKey: {env: K}}}\n"
    assert [one.code for one in load_file(SourceFile(path="p", data=project), NO_WIDENING).diagnostics] == ["RC308"]
    file = SourceFile(path="p", data=f"{HEAD}spec: {{}}\n".encode())
    settled, (found,) = load_project(file, Fallback(host=None))
    assert settled is None
    assert (found.code, found.position, found.suggestion) == ("RC308", Position(file="p", line=2, column=7), None)
