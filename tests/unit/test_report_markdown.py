"""The comment on a pull request: what stands where, that it is cut well, and that outside text stays text."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from reconciler.diagnostics import Diagnostic, Position
from reconciler.model.applied import Metadata
from reconciler.model.plan import Action, Change, FieldChange, Guard, Plan, Reason
from reconciler.plan.causes import Causes
from reconciler.report.markdown import COMMENT_LIMIT, plan_markdown, plan_summary, refusal_markdown
from reconciler.report.paper import code

MARKER = "<!-- reconciler:plan:production -->"
RENDERER = MarkdownIt("commonmark").enable("table")
OURS = re.compile(r"<!-- reconciler:plan(:production(:\d+)?)? -->|</?(details|summary|sub|code)>\s*|")


def change(name: str, action: Action = Action.REDEPLOY, **more: object) -> Change:
    usual: dict[str, object] = {
        "address": f"production/{name}",
        "environment": "production",
        "name": name,
        "model_id": f"cm-{name}",
        "action": action,
        "reason": Reason.BODY_CHANGED if action is Action.REDEPLOY else Reason.NEW,
        "detail": "because",
        "position": Position(file=f"manifests/{name}.yaml", line=3),
    }
    return Change(**{**usual, **more})  # type: ignore[arg-type]


def plan(*changes: Change, **more: object) -> Plan:
    usual: dict[str, object] = {"environment": "production", "origin": "https://host", "lineage": "l"}
    return Plan(**{**usual, **more}, changes=changes)  # type: ignore[arg-type]


def field(path: str, before: object, after: object, line: int = 4) -> FieldChange:
    place = Position(file="manifests/a.yaml", line=line)
    return FieldChange(path=path, before=before, after=after, position=place, layer="spec")


def headline(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("### "))


def test_headline() -> None:
    """The headline counts what happens and what stays, in words."""
    unchanged = (change(f"n{n}", Action.NONE, reason=Reason.UNCHANGED) for n in range(41))
    (text,) = plan_markdown([plan(change("a"), change("b"), change("c", Action.DEPLOY), *unchanged)])
    assert headline(text) == "### 2 redeploys, 1 new, 41 unchanged in `production`"
    (text,) = plan_markdown([plan(change("a", Action.NONE, reason=Reason.UNCHANGED))])
    assert headline(text) == "### Nothing to do, 1 unchanged in `production`"
    kept = (change("a", Action.NONE, reason=Reason.PINNED), change("b", Action.NONE, reason=Reason.ORPHAN))
    (text,) = plan_markdown([plan(*kept)])
    assert headline(text) == "### 1 left alone, 1 orphan, 0 unchanged in `production`"


def test_marker_is_the_first_line() -> None:
    """Each comment begins with the marker of its environment, by which it is found again."""
    texts = plan_markdown([plan(change("a")), plan(change("b"), environment="staging")])
    assert [text.partition("\n")[0] for text in texts] == [MARKER, "<!-- reconciler:plan:staging -->"]


def test_what_interrupts_comes_first() -> None:
    """Undeploys and restarts stand before what is new, in the table and below it."""
    gone = change("z", Action.UNDEPLOY, reason=Reason.MANIFEST_GONE)
    (text,) = plan_markdown([plan(change("a", Action.DEPLOY), change("m", restarts=True), gone)])
    rows = [line for line in text.splitlines() if "&nbsp;**" in line]
    assert [re.findall(r"\*\*(.*?)\*\*", row)[0] for row in rows] == ["undeploy", "redeploy", "deploy"]
    assert "restarts" in rows[1]
    assert re.findall(r"@@ production/(\w)", text) == ["z", "m", "a"]


def test_a_change_in_full() -> None:
    """The table names the place and the fields, the fence the values before and after with their lines."""
    fields = (field("deviceType", "g5.xlarge", "g5.12xlarge"), field("scalingParameters.minReplicas", 1, None, 9))
    (text,) = plan_markdown([plan(change("a", fields=fields))])
    assert "| `a` | `manifests/a.yaml:4` | `deviceType`, `scalingParameters.minReplicas` |" in text
    assert "@@ production/a: redeploy @@ cm-a\n" in text
    assert '- deviceType: "g5.xlarge"\n+ deviceType: "g5.12xlarge"  # manifests/a.yaml:4 (spec)\n' in text
    assert "- scalingParameters.minReplicas: 1  # manifests/a.yaml:9 (spec)\n```" in text


def test_guards_stand_above() -> None:
    """What apply will refuse is said before anything else."""
    guard = Guard(code="massChange", message="this changes all of it", flag="--allow-mass-change")
    (text,) = plan_markdown([plan(change("a"), guards=(guard,))])
    assert text.index("this changes all of it") < text.index("| deployment |")
    assert "--allow-mass-change" in text


def test_refused_plans_promise_nothing() -> None:
    """The last line does not say that merging does what apply will refuse."""
    guard = Guard(code="massChange", message="m " * 80, flag="--allow-mass-change")
    (text,) = plan_markdown([plan(change("a"), guards=(guard,))])
    assert "<sub>`reconciler apply` refuses this until a person allows it.</sub>" in text
    assert max(map(len, text.splitlines())) <= 110  # sentences in a fence are not wrapped by anybody else
    (text,) = plan_markdown([plan(change("a"))])
    assert "<sub>Done when it is merged and `reconciler apply` runs.</sub>" in text


def test_places() -> None:
    """A place is a link where the forge shows it; of what is gone, the file that it was in is named."""
    metadata = Metadata(manifest="manifests/z.yaml")
    gone = change("z", Action.UNDEPLOY, reason=Reason.MANIFEST_GONE, position=None, metadata=metadata, detail="a; b")
    links = {"production": lambda place: f"https://forge/{place.file}#L{place.line}"}
    (text,) = plan_markdown([plan(change("a"), gone)], link=links)
    assert "| [`manifests/a.yaml:3`](https://forge/manifests/a.yaml#L3) |" in text
    assert "| no longer in `manifests/z.yaml` | a; b |" in text


def test_what_rides_along_stands_apart() -> None:
    """Changes that the pull request does not cause have a section of their own, and a sentence that counts them."""
    causes = Causes(
        environment="production", base="origin/main", commit="0123456789abcdef", caused=("production/a",),
        riding=("production/b",), undone=("production/c",), orphaned=("production/d",),
    )  # fmt: skip
    (text,) = plan_markdown([plan(change("a"), change("b", Action.RETRY))], {"production": causes})
    own, _, riding = text.partition("#### 1 change not caused here")
    assert "| `a` |" in own
    assert "| `b` |" not in own
    assert "| `b` |" in riding
    assert "**1 of it rides along**" in own
    assert "`origin/main` at `0123456789ab`" in own
    assert "No longer to be done because of this: `production/c`." in riding
    assert "Left without a manifest because of this, and still running: `production/d`." in riding


def test_a_base_that_went_on_is_said() -> None:
    """A branch that is behind its base plans what merging does not do: whoever reads the comment must know."""
    causes = Causes(environment="production", base="origin/main", commit="0123456789abcdef", ahead=2)
    (text,) = plan_markdown([plan(change("a"))], {"production": causes})
    assert "**`origin/main` has 2 commits that are not planned here**" in text
    (text,) = plan_markdown([plan(change("a"))], {"production": replace(causes, ahead=0)})
    assert "not planned here" not in text


def test_long_parts_are_folded() -> None:
    """A few lines are open; many are folded, a change each."""
    (short,) = plan_markdown([plan(change("a"))])
    (long,) = plan_markdown([plan(*(change(f"a{n}", fields=(field("x", 1, 2),)) for n in range(20)))])
    assert "<details>" not in short
    assert long.count("<details>") == long.count("</details>") == 20


@pytest.mark.parametrize("limit", [8192, 20_000, COMMENT_LIMIT])
def test_cut_at_the_limit(limit: int) -> None:
    """A long plan becomes several comments, each within the limit, each fence and fold closed in the one that it began in."""
    fields = tuple(field(f"f{n}", "`" * (n % 7), n) for n in range(30))
    texts = plan_markdown([plan(*(change(f"a{n}", fields=fields) for n in range(100)))], limit=limit, most=1000)
    assert len(texts) > 1
    for number, text in enumerate(texts, 1):
        assert len(text.encode()) <= limit
        assert text.startswith(MARKER if number == 1 else f"<!-- reconciler:plan:production:{number} -->\n### ")
        assert text.count("<details>") == text.count("</details>")
        assert _open_fence(text) is None
    assert sum(text.count("@@ production/") for text in texts) >= 100


def test_cut_off_is_said() -> None:
    """Beyond so many comments the last one says how much is missing."""
    texts = plan_markdown([plan(*(change(f"a{n}") for n in range(3000)))], limit=8192, most=3)
    assert len(texts) == 3
    assert re.search(r"\*\*Cut here: \d+ more lines\.\*\*", texts[-1])
    assert all(len(text.encode()) <= 8192 for text in texts)


def test_summary_is_one_text() -> None:
    """A job's page has every environment in one text within its limit."""
    plans = [plan(*(change(f"a{n}") for n in range(500)), environment=name) for name in ("a", "b")]
    text = plan_summary(plans, limit=20_000)
    assert len(text.encode()) <= 20_000
    assert "in `a`" in text
    assert "in `b`" in text


def test_refusal() -> None:
    """Where nothing can be planned, one comment stands for all environments and lists why."""
    wrong = Diagnostic(code="RC304", message="too large", position=Position(file="m.yaml", line=2, column=3))
    text = refusal_markdown(["1 error in the manifests"], [wrong])
    assert text.startswith("<!-- reconciler:plan -->\n")
    assert "| error | `m.yaml:2:3` | `too large` | `RC304` |" in text
    assert text.count("1 error in") == 1
    text = refusal_markdown(["There is no state.", "``` Run `reconciler init`."])
    assert "\n````text\nThere is no state.\n``` Run `reconciler init`.\n````\n" in text


HOSTILE = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "@everyone", "#1 GH-1", "!1", "/close", "</code><img src=x onerror=alert(1)>", "<!-- reconciler:plan:x -->",
            "a|b\\|c", "`", "``` \n</details>", "~~~", "[x](javascript:alert(1))", "![x](http://x)", "**b**", "\n# h\n",
            "http://evil.example", "$a$", "a\\`b`<b>", "&lt;b&gt;", "\x1b[31m", "\u202e", "|\n|", "<b>`|`</b>",
        ]
    ),
)  # fmt: skip


@given(texts=st.lists(HOSTILE, min_size=6, max_size=6))
def test_outside_text_stays_text(texts: list[str]) -> None:
    """Whatever a manifest or the platform says, the comment has no HTML, link, image, mention or fence of its making."""
    model, detail, path, value, file, label = texts
    hostile = change(
        "a",
        model_id=model,
        detail=detail,
        reason=Reason.JOB_FAILED,
        hint=label,
        fields=(FieldChange(path=path, before=value, after=detail, position=Position(file=file)),),
    )
    guard = Guard(code="g", message=detail, flag=value)
    (text,) = plan_markdown(
        [plan(hostile, guards=(guard,), warnings=(label,), commit=path, globs=(value,), dirty=True)]
    )
    tokens = RENDERER.parse(text)
    assert sum(token.type == "tr_open" for token in tokens) == 2
    assert all(len(row) == 4 for row in _rows(tokens))
    for token in _flat(tokens):
        assert token.type not in {"link_open", "image", "em_open", "s_open"}
        if token.type in {"html_block", "html_inline"}:
            assert all(OURS.fullmatch(line) or "<summary>" in line for line in token.content.splitlines()), token
        if token.type == "text" and _has_mention(token):
            raise AssertionError(token.content)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", text)


@given(text=st.text(max_size=80))
def test_code_says_what_it_was_given(text: str) -> None:
    """Inline code shows the text that it was given, without what is dropped everywhere."""
    made = code(text)
    (inline,) = [token for token in RENDERER.parse(f"x {made} x") if token.type == "inline"]
    shown = "".join(child.content for child in inline.children or () if child.type in {"text", "code_inline"})
    assert shown == unescape(f"x {_inner(made)} x") if made else shown in {"x  x", "x x"}


@given(names=st.permutations(["a", "b", "c", "d"]))
def test_order_of_plans_is_kept(names: list[str]) -> None:
    """The comments come in the order of the plans."""
    texts = plan_markdown([replace(plan(), environment=name) for name in names])
    assert [re.findall(r"plan:(\w)", text)[0] for text in texts] == names


def _inner(made: str) -> str:
    return made[1:-1] if made.startswith("`") else made.removeprefix("<code>").removesuffix("</code>")


def _flat(tokens: list[Token]) -> list[Token]:
    return [one for token in tokens for one in (token, *(token.children or ()))]


def _rows(tokens: list[Token]) -> list[list[Token]]:
    rows: list[list[Token]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type in {"td_open", "th_open"}:
            rows[-1].append(token)
    return rows


def _has_mention(token: Token) -> bool:
    """Text outside of code; in <code> elements forges look for no mention, and ours hold nothing but entities."""
    return bool(re.search(r"(^|\W)@everyone|GH-1", token.content)) and "<code>" not in token.content


def _open_fence(text: str) -> str | None:
    opened = None
    for line in text.splitlines():
        found = re.match(r"`{3,}", line)
        if found is None:
            continue
        if opened is None:
            opened = found[0]
        elif line == opened:
            opened = None
    return opened
