"""docs/simulator.md says what the scenario models and the world's own list of differences say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from reconciler.simulator import world
from reconciler.simulator.scenario import Answer, Behaviour, Job, JobReply, Match, Rule, Scenario, Slow, parse_scenario

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| `(\w+)` \| (?:`([^|]*)`)? ?\| ", re.MULTILINE)


def section(title: str) -> str:
    """What stands below a heading, up to the next one."""
    return re.split(r"^#+ ", PAGE.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("Scenario files", Scenario),
        ("behaviour", Behaviour),
        ("rules", Rule),
        ("rules: match", Match),
        ("rules: answer", Answer),
        ("rules: slow", Slow),
        ("rules: reply", JobReply),
        ("rules: job", Job),
    ],
)
def test_every_key_is_documented_with_its_default(title: str, model: type[BaseModel]) -> None:
    """The table of each part has exactly the keys of its model, in their order, with their defaults."""
    rows = dict(_ROW.findall(section(title)))
    assert list(rows) == [field.alias or name for name, field in model.model_fields.items()]
    for name, field in model.model_fields.items():
        written = rows[field.alias or name]
        default: Any = field.get_default(call_default_factory=True, validated_data={})
        if written:
            # A default is what the model makes of the text that is documented as one.
            told = model.model_validate({**({"status": 200} if model is Answer else {}), name: yaml.safe_load(written)})
            assert getattr(told, name) == default
        else:
            assert default is None or field.is_required() or isinstance(default, BaseModel)


def test_the_example_is_a_scenario() -> None:
    """The page's example is accepted as it stands."""
    example = section("Scenario files").partition("```yaml\n")[2].partition("```")[0]
    told = parse_scenario(example)
    assert told.behaviour.job_seconds == 5
    assert len(told.rules) == 4


def test_the_differences_are_those_of_the_world() -> None:
    """The list of differences is the one at the top of the world, word for word."""

    def bullets(text: str) -> list[str]:
        return [" ".join(item.split()) for item in text.split("\n- ")[1:]]

    listed = bullets(section("How it differs from the real platform").partition("\n\nRequests and replies")[0])
    assert listed == bullets(world.__doc__ or "")
