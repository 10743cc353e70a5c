"""Text and JSON for people and machines."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import jsonschema
import pytest

from reconciler.diagnostics import Diagnostic, Position, Severity
from reconciler.errors import PlatformUnreachable
from reconciler.model.applied import Accepted, Hold, Situation
from reconciler.model.events import Event, Happened
from reconciler.model.plan import Action
from reconciler.model.run import Ended, Result, RunReport
from reconciler.model.text import masked, one_line, safe
from reconciler.plan.codec import schema as plan_schema
from reconciler.plan.select import Selection
from reconciler.report.diagnostics import diagnostics_json, diagnostics_text
from reconciler.report.plan_text import plan_text, plans_json, summary
from reconciler.report.run_text import deployments_table, event_line, run_text
from reconciler.report.status_text import history_json, history_text, status_json, status_text
from reconciler.report.status_text import schema as status_schema
from reconciler.report.style import PLAIN, Style, duration, value_text
from reconciler.report.tables import table
from reconciler.status import explain, statuses
from tests.support.situations import NOW, OUTCOMES, applied, attempt, desired, entry, plan, resource

COLOURED = Style(colour=True, width=80)
SUCCESS = Accepted(dock_status_id="ds-1", status="SUCCESS")
CHAT = resource("chat")


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("plain", "plain"),
        ("tab\tand\r\nline", "tab and  line"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("\x1bcreset", "reset"),
        ("a\u202eb\u2066c\u200d", "abc"),
        ("nul\x00bell\x07del\x7f", "nulbelldel"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("::error::x", ": :error::x"),
        ("  ::warning::x", "  : :warning::x"),
        ("x ##[command]y ##vso[z]", "x # #[command]y # #vso[z]"),
        ("Zürich 東京", "Zürich 東京"),
    ],
)
def test_outside_text_is_made_harmless(text: str, harmless: str) -> None:
    """Control characters, escape sequences, bidi marks and CI commands are gone; everything else stays."""
    assert safe(text) == harmless


def test_one_line_is_bounded() -> None:
    """White space is one blank, and what is too long ends in an ellipsis."""
    assert one_line(" a\n\n b\x1b[1m ") == "a b"
    assert one_line("x" * 50, 10) == "xxxxxxxxx…"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "(absent)"),
        (True, "true"),
        (1.5, "1.5"),
        ([], "[]"),
        ("a\u202eb\x9b", '"a\\u202eb\\u009b"'),
        ({"k": "é"}, '{"k": "é"}'),
    ],
)
def test_values_show_what_cannot_be_seen(value: Any, text: str) -> None:
    """A value is spelled as JSON; invisible characters are spelled as escapes."""
    assert value_text(value) == text


def test_long_values_are_cut() -> None:
    """A value never fills the screen."""
    assert len(value_text("x" * 10_000)) == 200


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.4, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (90_000, "1d01h"), (-5, "0s")],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    """Durations are as long as a reader needs."""
    assert duration(seconds) == text


def test_tables_align_wide_characters_and_trail_no_blanks() -> None:
    """Columns stand under their headers whatever the script."""
    assert table(["A", "B"], [["東京", "x"], ["a", ""]]) == "A     B\n東京  x\na\n"


DIAGNOSTIC = Diagnostic(
    code="RC304",
    message="too large",
    position=Position(file="m/a.yaml", line=2, column=4),
    path="spec.x",
    value="9",
    allowed="0 to 5",
    suggestion="Write 5.",
    environment="production",
)


def test_diagnostics_quote_the_line_with_a_caret() -> None:
    """On a terminal the source line stands below, and the caret under the column, tabs and wide characters notwithstanding."""
    text = diagnostics_text([DIAGNOSTIC], {"m/a.yaml": "﻿one\n\t東x: 9\n".encode()}, PLAIN)
    assert text.splitlines() == [
        "m/a.yaml:2:4: error RC304: too large (in production)",
        "    spec.x: 9",
        "    allowed: 0 to 5",
        "    2 |     東x: 9",
        "      |        ^",
        "    Write 5.",
        "1 error in 1 file.",
    ]


def test_long_lines_are_cut_around_the_place() -> None:
    """A line of a thousand columns shows the part that matters."""
    place = Position(file="a", line=1, column=500)
    one = replace(DIAGNOSTIC, position=place)
    text = diagnostics_text([one], {"a": b"x" * 499 + b"!" + b"y" * 500}, Style(width=60))
    quoted, caret = text.splitlines()[3:5]
    assert len(quoted) <= 60
    assert quoted[caret.index("^")] == "!"


def test_diagnostics_without_a_place_and_with_a_place_that_is_gone() -> None:
    """A diagnostic without a place, or of a line that is not there any more, is still said."""
    warning = Diagnostic(code="RC501", message="bad host", severity=Severity.WARNING, value="'x'")
    text = diagnostics_text([warning, DIAGNOSTIC], {"m/a.yaml": b"one line"}, PLAIN)
    assert "warning RC501: bad host\n    value: 'x'\n" in text
    assert text.endswith("1 error, 1 warning in 1 file.\n")
    assert diagnostics_text([], {}, PLAIN) == ""


def test_diagnostics_for_machines() -> None:
    """JSON has every fact in a field of its own."""
    value = diagnostics_json([DIAGNOSTIC])
    assert (value["format"], value["errors"], value["warnings"]) == ("reconciler/diagnostics/v1", 1, 0)
    assert value["diagnostics"][0] == {
        "code": "RC304",
        "severity": "error",
        "message": "too large",
        "file": "m/a.yaml",
        "line": 2,
        "column": 4,
        "path": "spec.x",
        "value": "9",
        "allowed": "0 to 5",
        "suggestion": "Write 5.",
        "environment": "production",
    }


def test_summary_line_counts_in_a_fixed_order() -> None:
    """The last line can be grepped, whatever the plan."""
    assert summary(plan(desired(), applied())) == "Plan: production: nothing to do, 0 unchanged."
    orphan = entry(resource("old"), attempt(resource("old"), SUCCESS), is_live=resource("old"))
    made = plan(desired(CHAT, resource("b", adopt=True)), applied(orphan))
    assert summary(made) == "Plan: production: 1 to deploy, 1 to adopt, 1 orphaned, 0 unchanged."
    assert plan_text([made], PLAIN).splitlines()[-1] == summary(made)


def test_title_says_what_was_selected() -> None:
    """A reader sees that a plan is about a part only."""
    made = plan(desired(CHAT), applied(), selection=Selection(globs=("ch*",), labels=()))
    assert (
        plan_text([replace(made, globs=("ch*",), labels=(("team", "a"),))], PLAIN)
        .splitlines()[0]
        .endswith(", only ch* -l team=a")
    )


def test_colour_changes_no_word() -> None:
    """Without colour the text is the same, without a single escape."""
    known = applied(entry(CHAT, attempt(CHAT, SUCCESS), is_live=CHAT))
    made = plan(desired(resource("chat", body={"x": 1}), resource("b")), known)
    coloured = plan_text([made, made], COLOURED, verbose=True)
    assert "\x1b[" in coloured
    assert safe(coloured.replace("\n", "¶")) == plan_text([made, made], PLAIN, verbose=True).replace("\n", "¶")


def test_bookkeeping_is_counted_not_listed() -> None:
    """Moving many manifests to another file is one line."""
    known = applied(*(entry(one, attempt(one, SUCCESS), is_live=one) for one in map(resource, "abc")))
    moved = desired(*(resource(name, labels=(("new", "label"),)) for name in "abc"))
    text = plan_text([plan(moved, known)], PLAIN)
    assert "3 unchanged deployments: labels, rollout or manifest file changed" in text
    assert len(text.splitlines()) == 3


def test_plans_json_is_a_list_however_many() -> None:
    """Scripts find the same shape for one environment and for several."""
    made = plan(desired(CHAT), applied())
    value = plans_json([made])
    jsonschema.Draft202012Validator(plan_schema()).validate(value)
    assert value["format"] == "reconciler/plans/v1"
    assert value["counts"]["production"]["deploy"] == 1
    assert [one["format"] for one in value["plans"]] == ["reconciler/plan/v1"]
    assert plans_json([])["plans"] == []


EVENT = Event(
    run="r1",
    environment="production",
    address="production/chat",
    action=Action.DEPLOY,
    happened=Happened.STARTED,
    at=NOW,
)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "deploy"),
        ({"happened": Happened.WAITING, "seconds": 15, "detail": "rate limit"}, "waits 15s: rate limit"),
        ({"happened": Happened.SENDING, "attempt": "a1"}, "sending deploy as attempt a1"),
        ({"happened": Happened.ACCEPTED, "dock_status_id": "ds-1"}, "accepted, dock status ds-1"),
        (
            {
                "happened": Happened.POLLED,
                "status": "IN_PROGRESS",
                "percent": 40.0,
                "seconds": 65,
                "dock_status_id": "ds-1",
            },
            "IN_PROGRESS 40 % after 1m05s (ds-1)",
        ),
        ({"happened": Happened.ALARM, "detail": "an id twice"}, "ALARM: an id twice"),
        (
            {
                "happened": Happened.ENDED,
                "ended": Ended.FAILED,
                "seconds": 5,
                "dock_status_id": "ds-1",
                "detail": "no GPU",
            },
            "failed after 5s (ds-1): no GPU",
        ),
    ],
)
def test_each_event_is_one_line(fields: dict[str, Any], said: str) -> None:
    """Every kind of event has its words, on one line whatever the platform wrote."""
    assert event_line(replace(EVENT, **fields), PLAIN) == f"00:00:00 + production/chat: {said}"
    hostile = replace(EVENT, **{**fields, "detail": "a\nb\x1b[1m"})
    assert event_line(hostile, PLAIN).isprintable()


def result(ended: Ended, **fields: Any) -> Result:
    return Result(address=f"production/{ended}", action=Action.DEPLOY, ended=ended, **fields)


def test_run_report_says_what_why_and_what_next() -> None:
    """Every ending has its heading, the worst ones a command, and the last line can be grepped."""
    report = RunReport(
        environment="production", run="r1", results=tuple(result(ended, detail="why") for ended in Ended)
    )
    text = run_text(report, PLAIN)
    assert text.splitlines()[-1] == (
        "Run: production: 1 succeeded, 1 running, 1 failed, 1 refused, 1 unauthorized, 1 unreachable, 1 timed out, "
        "1 unknown, 1 waiting, 1 not tried."
    )
    for ended in Ended:
        assert f"  + production/{ended}  deploy" in text
    assert "reconciler resolve production/unknown" in text
    assert text.count("reconciler status -e production --wait") == 1


def test_run_report_of_nothing_and_of_trouble() -> None:
    """A run that did nothing says so; problems beside the changes are said with their next step."""
    empty = RunReport(environment="production", run="r1", results=())
    assert run_text(empty, PLAIN) == "Run: production: nothing to do.\n"
    trouble = replace(empty, problems=(PlatformUnreachable("the platform is away"),), notes=("Note.",), interrupted=15)
    assert run_text(trouble, PLAIN).splitlines()[:3] == [
        "the platform is away",
        "  Check the host, the network and the proxy; nothing was sent.",
        "Note.",
    ]


def test_deployments_table_has_every_dock_status_id() -> None:
    """The table at the end of a run shows each entry's id, status, time and commit."""
    running = entry(resource("b"), attempt(resource("b"), OUTCOMES[Situation.RUNNING][2]))
    state = applied(entry(CHAT, attempt(CHAT, SUCCESS), is_live=CHAT), running)
    lines = deployments_table(state).splitlines()
    assert lines[1].split() == [
        "production/b",
        "cm-b",
        "ds-1",
        "TIMED",
        "OUT",
        "2030-01-01",
        "23:59:00",
        "0123456789ab",
    ]
    assert lines[2].split() == [
        "production/chat",
        "cm-chat",
        "ds-1",
        "SUCCESS",
        "2030-01-01",
        "23:59:00",
        "0123456789ab",
    ]
    assert deployments_table(applied()) == "production: nothing is deployed.\n"


def test_status_tables_and_their_summary() -> None:
    """Both widths end with a line that can be grepped; errors stand below the table."""
    failed = entry(resource("b"), attempt(resource("b"), OUTCOMES[Situation.FAILED][0]))
    state = applied(entry(CHAT, attempt(CHAT, SUCCESS), is_live=CHAT), failed)
    rows = statuses(plan(desired(CHAT, resource("b")), state), state)
    for wide in (False, True):
        text = status_text(rows, PLAIN, now=NOW, wide=wide)
        assert text.splitlines()[-1] == "Status: 2 deployments: 1 Synced, 1 OutOfSync; 1 Healthy, 1 Degraded."
        assert "\nproduction/b: no GPU\n" in text
    value = status_json(rows)
    jsonschema.Draft202012Validator(status_schema()).validate(value)
    assert value["format"] == "reconciler/status/v1"
    assert value["deployments"][0]["since"] == "2030-01-01T23:59:00Z"
    assert "nothing is deployed" in status_text((), PLAIN, now=NOW)


def test_history_lists_attempts_oldest_first() -> None:
    """Every attempt is a line with its end; errors stand below."""
    first = replace(attempt(CHAT, OUTCOMES[Situation.RUNNING][0], hours_ago=5), id="a1", ended_at=None)
    second = replace(attempt(CHAT, OUTCOMES[Situation.FAILED][0]), id="a2")
    state = applied(entry(CHAT, first, second))
    selected = [(state, tuple(state.entries.values()))]
    text = history_text(selected, PLAIN, now=NOW)
    assert [line.split()[3] for line in text.splitlines()[1:3]] == ["a1", "a2"]
    assert "Superseded" in text.splitlines()[1]
    assert text.splitlines()[-1] == "production/chat a2: no GPU"
    assert [one["operation"] for one in history_json(selected)["attempts"]] == ["Superseded", "Failed"]
    assert history_text([], PLAIN, now=NOW + timedelta(1)) == "History: the state remembers no attempt.\n"


def test_history_says_who_suspended_what() -> None:
    """Environment and deployments, with or without an attempt, as text and as JSON."""
    until = Hold(who="Ada", why="load test", since=NOW, until=NOW + timedelta(hours=4))
    chat = entry(CHAT, attempt(CHAT, OUTCOMES[Situation.LIVE][0]), is_live=CHAT, suspension=until)
    state = replace(applied(chat), suspension=Hold(who="Grace", why="migration", since=NOW))
    selected = [(state, tuple(state.entries.values()))]
    assert history_text(selected, PLAIN, now=NOW).splitlines()[-3:] == [
        "",
        "production is suspended by Grace: migration",
        "production/chat is suspended by Ada until 2030-01-02 04:00 UTC: load test",
    ]
    assert history_json(selected)["suspensions"] == [
        {"address": "production", "who": "Grace", "why": "migration", "since": "2030-01-02T00:00:00Z", "until": None},
        {
            "address": "production/chat",
            "who": "Ada",
            "why": "load test",
            "since": "2030-01-02T00:00:00Z",
            "until": "2030-01-02T04:00:00Z",
        },
    ]
    assert history_text([(state, ())], PLAIN, now=NOW).endswith(
        "no attempt.\n\nproduction is suspended by Grace: migration\n"
    )


def test_explain_of_a_suspension_names_who_and_why() -> None:
    """The reason a person gave is what another person reads."""
    held = entry(CHAT, attempt(CHAT, SUCCESS), is_live=CHAT, suspension=Hold(who="Ada", why="freeze", since=NOW))
    state = applied(held)
    found = explain(plan(desired(resource("chat", body={"x": 1})), state), state, "production/chat")
    assert "Suspended by Ada: freeze." in found.next_step


@pytest.mark.parametrize("line", ["{maxToken: 512}", "{max_token: 512}", "  maxToken: 512", "topK: 1"])
def test_what_is_no_key_is_quoted(line: str) -> None:
    """A misspelled maxTokens is not taken for somebody's token."""
    assert masked(line) == line
    assert masked("token: abc") == "token: ***"
