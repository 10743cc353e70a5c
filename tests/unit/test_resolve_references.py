"""Between resources: names and models used once, dependencies, circles, and what counts as broken meanwhile."""

from typing import Any

import pytest

from reconciler.resolve.references import MOST_HINTS
from tests.support.estate import Estate, estate, manifest, project, text

BOTH = project("staging", "production")
EVERYWHERE: dict[str, Any] = {"staging": {}, "production": {}}


def depending(**needs: str) -> str:
    """One manifest a keyword; the value names what it depends on, and may begin with its wave."""
    documents = []
    for name, words in needs.items():
        wave, *names = words.split() if words[:1].isdigit() else ["0", *words.split()]
        documents.append(manifest(name, rollout={"wave": int(wave), "dependsOn": names}))
    return text(*documents)


def messages(made: Estate) -> list[tuple[str, str]]:
    return [(diagnostic.code, diagnostic.message) for diagnostic in made.found]


# Names


def test_name_twice() -> None:
    """Two manifests of one name are both broken, and the later is told where the first stands."""
    made = estate({"b.yaml": text(manifest("x", modelId="cm-2")), "a.yaml": text(manifest("x"), manifest("y"))})
    (found,) = made.found
    assert found.code == "RC405"
    assert found.position is not None
    assert found.position.file == "b.yaml"
    assert "a.yaml:5:11" in found.message
    assert made.names() == ["y"]
    assert made.desired().broken == {"staging/x"}
    assert made.desired().broken_files == {"a.yaml", "b.yaml"}


def test_copied_manifest() -> None:
    """A copied file is told of for its names, not once more for its model."""
    made = estate({f"{n}.yaml": text(manifest("x")) for n in "abc"})
    assert [(d.code, d.position.file if d.position else "") for d in made.found] == [
        ("RC405", "b.yaml"),
        ("RC405", "c.yaml"),
    ]
    assert all("a.yaml" in d.message for d in made.found)


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_twice_is_no_circle(order: int) -> None:
    """Which one is meant by a name used twice cannot be told, so no circle is: in whatever order the two stand."""
    twins = [manifest("b", rollout={"dependsOn": ["a"]}), manifest("b", rollout={"dependsOn": ["b"]})][::order]
    assert sorted(estate(text(*twins, manifest("a", rollout={"dependsOn": ["b"]}))).codes) == ["RC405"]


def test_name_in_two_environments() -> None:
    """One name in two environments is two resources."""
    source = text(
        manifest("x", environments={"staging": {}}), manifest("x", modelId="cm-2", environments={"production": {}})
    )
    assert not estate(source, BOTH).found


# Models


def test_model_twice() -> None:
    """Two resources with one model are both broken; the diagnostic names both places."""
    made = estate(text(manifest("a", modelId="cm-1"), manifest("b", modelId="cm-1"), manifest("c")))
    (found,) = made.found
    assert (found.code, found.path, found.value) == ("RC404", "spec.modelId", "'cm-1'")
    assert found.message == "cm-1 is already the model of staging/a, at m.yaml:8:14"
    assert str(found.position) == "m.yaml:27:14"
    assert made.names() == ["c"]


def test_model_twice_on_one_host() -> None:
    """Two environments on one host share its models; on two hosts they do not."""
    source = text(manifest("a", environments=EVERYWHERE))
    assert not estate(source, BOTH).found
    host = {"host": "https://one.example.com:443/"}
    made = estate(source, project("staging", "production", staging=host, production={"host": "ONE.example.com"}))
    (found,) = made.found
    assert (found.code, found.environment) == ("RC404", "staging")
    assert "both environments are on https://one.example.com" in found.message
    assert made.desired("production").broken == {"production/a"}
    assert made.desired("staging").broken == {"staging/a"}


def test_model_from_an_override() -> None:
    """A model that an override names is blamed there."""
    source = text(manifest("a"), manifest("b", environments={"staging": {"modelId": "cm-a"}}))
    (found,) = estate(source).found
    assert found.path == "spec.environments.staging.modelId"


# Dependencies


def test_dependencies_that_exist() -> None:
    """A chain, a diamond and earlier waves are fine."""
    made = estate(depending(a="", b="a", c="1 a", d="2 b c"))
    assert not made.found
    assert made.one("d").rollout.depends_on == ("b", "c")


def test_unknown_dependency() -> None:
    """A dependency that names nothing is told with a suggestion, and breaks its dependant alone."""
    made = estate(depending(embedder="", answers="embeder"))
    (found,) = made.found
    assert (found.code, found.message) == ("RC406", "there is no embeder")
    assert (found.path, found.suggestion) == ("spec.rollout.dependsOn", "Did you mean embedder?")
    assert made.names() == ["embedder"]


def test_suggestions_come_to_an_end() -> None:
    """Every one of many unknown dependencies is told, and the first of them with a suggestion."""
    made = estate(depending(embedder="", answers=" ".join(f"embedder{n}" for n in range(MOST_HINTS + 5))))
    assert [one.code for one in made.found] == ["RC406"] * (MOST_HINTS + 5)
    assert [one.suggestion is not None for one in made.found] == [True] * MOST_HINTS + [False] * 5


def test_dependency_in_another_environment() -> None:
    """Dependencies are looked up in the same environment; where it is instead is said."""
    source = text(
        manifest("a", environments={"production": {}}),
        manifest("b", rollout={"dependsOn": ["a"]}, environments=EVERYWHERE),
    )
    made = estate(source, BOTH)
    assert messages(made) == [("RC406", "there is no a; it is in production")]
    assert made.names("production") == ["a", "b"]


def test_dependency_that_is_broken() -> None:
    """A dependency with errors is there all the same: its dependant is not to blame, and waits."""
    made = estate(text(manifest("a", without=["deviceType"]), manifest("b", rollout={"dependsOn": ["a"]})))
    assert made.codes == ["RC401"]
    assert made.names() == ["b"]


def test_incomplete_manifests_are_checked_too() -> None:
    """What is wrong between resources is told of those that are incomplete as well, so that all is said at once."""
    source = text(
        manifest("a", without=["deviceType"], rollout={"dependsOn": ["x"]}),
        manifest("b", without=["deviceType"], modelId="cm-a"),
        manifest("c", without=["modelId"]),
        manifest("d", without=["modelId"]),
    )
    made = estate(source)
    assert sorted(made.codes) == ["RC401"] * 4 + ["RC404", "RC406"]
    assert made.names() == []


def test_dependency_that_may_be_unreadable() -> None:
    """While a file cannot be understood, whoever depends on an unknown name is held back without being blamed."""
    needs = text(manifest("b", rollout={"dependsOn": ["a"]}), manifest("c"))
    for made in (
        estate({"m.yaml": needs, "broken.yaml": "a: [\n"}),
        estate({"m.yaml": needs, "broken.yaml": "a: 1\n"}),
        estate(needs, unread=["closed.yaml"]),
    ):
        assert made.codes == []
        assert made.names() == ["c"]
        assert "staging/b" in made.desired().broken


CIRCLES = [
    ({"a": "a"}, ["a → a"]),
    ({"a": "b", "b": "a"}, ["a → b → a"]),
    ({"c": "a", "a": "b", "b": "c"}, ["a → b → c → a"]),
    ({"x": "a", "a": "b", "b": "a", "y": "x"}, ["a → b → a"]),
    ({"a": "b", "b": "a", "c": "d", "d": "c"}, ["a → b → a", "c → d → c"]),
]


@pytest.mark.parametrize(("needs", "circles"), CIRCLES)
def test_circles(needs: dict[str, str], circles: list[str]) -> None:
    """Each circle is shown from its first name on, and breaks its members only."""
    made = estate(depending(**needs))
    assert messages(made) == [("RC407", f"dependencies lead back: {circle}") for circle in circles]
    members = {name for circle in circles for name in circle.split(" → ")}
    assert made.names() == sorted(set(needs) - members)


def test_circle_through_waves() -> None:
    """Depending on a later wave is a circle, because that wave waits for this one."""
    made = estate(depending(a="1 b", b="2"))
    (found,) = made.found
    assert found.code == "RC407"
    assert found.message == "a (wave 1) waits for b, whose wave 2 waits for wave 1"
    assert found.suggestion == "Give a wave 2 or later, or b wave 1 or earlier."


def test_long_chains_and_circles() -> None:
    """A chain of thousands is walked without recursion, and a long circle shown in short."""
    last = 1200
    chain = {f"n{i:04}.yaml": depending(**{f"n{i:04}": f"n{i + 1:04}"}) for i in range(last)}
    made = estate({**chain, "end.yaml": depending(n1200="")})
    assert not made.found
    assert len(made.names()) == last + 1
    made = estate({**chain, "end.yaml": depending(n1200="n0000")})
    assert messages(made) == [
        ("RC407", "dependencies lead back: n0000 → n0001 → n0002 → n0003 → n0004 → n0005 → … (1201 in all) → n0000")
    ]
    assert made.names() == []


# Broken documents and files


def test_broken_document_with_a_name() -> None:
    """A document with errors breaks its name in the environments that it names, and its file there."""
    source = text(
        manifest("a", deviceType="nope", environments={"staging": {}}), manifest("b", environments=EVERYWHERE)
    )
    made = estate(source, BOTH)
    assert made.desired().broken == {"staging/a"}
    assert made.desired().broken_files == {"m.yaml"}
    assert made.desired("production").broken == frozenset()
    assert made.desired("production").broken_files == frozenset()
    assert made.names() == made.names("production") == ["b"]


@pytest.mark.parametrize(
    "environments", [None, 5, {}, {"elsewhere": {}}, {"staging": {}, "elsewhere": {}}, {"staging": None}]
)
def test_broken_document_that_may_go_anywhere(environments: Any) -> None:
    """A document with errors whose environments cannot be told breaks its name everywhere."""
    document = manifest("a", deviceType="nope", environments=environments)
    made = estate(text(document), BOTH)
    for name in ("staging", "production"):
        assert made.desired(name).broken == {f"{name}/a"}
        assert made.desired(name).broken_files == {"m.yaml"}


@pytest.mark.parametrize(
    "source", ["a: [\n", "kind: x\n", "- 1\n", "metadata: {name: 5}\n", "metadata: {name: Not A Label}\n", "\x00"]
)
def test_unreadable_file(source: str) -> None:
    """A file in which not even a name can be read counts as broken in every environment."""
    made = estate({"m.yaml": source, "ok.yaml": text(manifest(environments=EVERYWHERE))}, BOTH)
    for name in ("staging", "production"):
        assert made.desired(name).broken_files == {"m.yaml"}
        assert made.names(name) == ["m"]


def test_unread_file() -> None:
    """What the source could not read counts as broken in every environment."""
    made = estate(text(manifest(environments=EVERYWHERE)), BOTH, unread=["closed.yaml"])
    assert made.desired().broken_files == made.desired("production").broken_files == {"closed.yaml"}
    assert made.names() == ["m"]


def test_broken_twin() -> None:
    """While a second manifest of the same name has errors, the first is held back too: it may be the wrong one."""
    made = estate({"a.yaml": text(manifest("x")), "b.yaml": text(manifest("x", deviceType="nope"))})
    assert made.names() == []
    assert made.desired().broken == {"staging/x"}
