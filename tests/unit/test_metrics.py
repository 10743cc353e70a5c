"""What Prometheus reads: numbers that are right, names that keep the conventions, labels that stay few."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reconciler import __version__
from reconciler.controller.board import Board, Pass, PassEnd, View
from reconciler.controller.metrics import Metrics
from reconciler.controller.notify import Delivered
from reconciler.model.applied import Accepted, Hold, Unknown
from reconciler.model.events import Event, Happened
from reconciler.model.plan import Action
from reconciler.model.run import Ended
from tests.support import situations as like

ENVIRONMENT = like.ENVIRONMENT
PAGE = Path(__file__).parent.parent.parent / "docs" / "metrics.md"
PROCESS = re.compile(r"process_")


def estate() -> View:
    """One deployment in each of the conditions that are counted."""
    good, held, fresh, quiet, gone = (like.resource(name) for name in ("good", "held", "fresh", "quiet", "gone"))
    success = Accepted(dock_status_id="ds-1", status="SUCCESS")
    changed = like.resource("quiet", body={"deviceType": "g5.12xlarge"})
    known = like.applied(
        like.entry(good, like.attempt(good, success), is_live=good),
        like.entry(held, like.attempt(held, Unknown(reason="reset"))),
        like.entry(
            quiet, like.attempt(quiet, success), is_live=quiet, suspension=Hold(who="Ada", why="demo", since=like.NOW)
        ),
        like.entry(gone, like.attempt(gone, success), is_live=gone),
    )
    plan = like.plan(like.desired(good, held, fresh, changed), known)
    return View(environment=like.environment(), plan=plan, applied=known)


def numbers(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of their names) -> value."""
    text, content_type = metrics.exposition()
    assert content_type.startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def passed(end: PassEnd, seconds: float = 2.0) -> Pass:
    return Pass(id="p", environment=ENVIRONMENT, cause="a test", started_at=like.NOW, seconds=seconds, end=end)


def event(happened: Happened, action: Action = Action.DEPLOY, **fields: Any) -> Event:
    address = f"{ENVIRONMENT}/good"
    return Event(
        run="p", environment=ENVIRONMENT, address=address, action=action, happened=happened, at=like.NOW, **fields
    )


def full() -> tuple[Board, Metrics]:
    board = Board(source="main")
    metrics = Metrics(board)
    metrics.has_channels(["ops"])
    last = passed(PassEnd.SUCCEEDED)
    view = replace(estate(), last=last, last_success_at=like.NOW + timedelta(seconds=2), held_up="a person must look")
    board.tell(event(Happened.SENDING))
    board.tell(event(Happened.ALARM, detail="twice"))
    board.tell(event(Happened.ENDED, ended=Ended.FAILED, seconds=65.0))
    board.finish(passed(PassEnd.FAILED), view)
    board.finish(last, view)
    metrics.notified("ops", Delivered.SENT)
    return board, metrics


def test_views_become_gauges() -> None:
    """Every condition of the estate is counted where it belongs."""
    found = numbers(full()[1])
    expected = {
        ("reconciler_deployments", ENVIRONMENT, "Healthy", "Synced"): 1,
        ("reconciler_deployments", ENVIRONMENT, "Unknown", "Unknown"): 1,
        ("reconciler_deployments", ENVIRONMENT, "Missing", "OutOfSync"): 1,
        ("reconciler_deployments", ENVIRONMENT, "Suspended", "OutOfSync"): 1,
        ("reconciler_deployments", ENVIRONMENT, "Healthy", "OutOfSync"): 1,
        ("reconciler_deployments", ENVIRONMENT, "Degraded", "Synced"): 0,
        ("reconciler_pending_changes", "deploy", ENVIRONMENT): 1,
        ("reconciler_pending_changes", "hold", ENVIRONMENT): 1,
        ("reconciler_held", ENVIRONMENT): 1,
        ("reconciler_orphans", ENVIRONMENT): 1,
        ("reconciler_suspended", ENVIRONMENT): 1,
        ("reconciler_quarantined", ENVIRONMENT): 0,
        ("reconciler_broken", ENVIRONMENT): 0,
        ("reconciler_held_up", ENVIRONMENT): 1,
        ("reconciler_dry_run", ENVIRONMENT): 0,
        ("reconciler_last_success_timestamp_seconds", ENVIRONMENT): like.NOW.timestamp() + 2,
        ("reconciler_last_pass_timestamp_seconds", ENVIRONMENT): like.NOW.timestamp() + 2,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert any(key[0] == "reconciler_build_info" and __version__ in key for key in found)
    assert sum(value for key, value in found.items() if key[0] == "reconciler_deployments") == 5


def test_passes_and_events_are_counted() -> None:
    """Counters rise with what the loop tells, and begin at nought for every end of a pass."""
    found = numbers(full()[1])
    assert found["reconciler_passes_total", "failed", ENVIRONMENT] == 1
    assert found["reconciler_passes_total", "succeeded", ENVIRONMENT] == 1
    assert found["reconciler_passes_total", "waiting", ENVIRONMENT] == 0
    assert found["reconciler_pass_duration_seconds_count", ENVIRONMENT] == 2
    assert found["reconciler_requests_total", "deploy", ENVIRONMENT] == 1
    assert found["reconciler_attempts_total", "deploy", "failed", ENVIRONMENT] == 1
    assert found["reconciler_change_duration_seconds_sum", "deploy", ENVIRONMENT] == 65
    assert found["reconciler_alarms_total", ENVIRONMENT] == 1
    assert found["reconciler_notifications_total", "ops", "sent"] == 1
    assert found["reconciler_notifications_total", "ops", "failed"] == 0


@pytest.mark.parametrize(
    ("action", "ended"),
    [
        (Action.HOLD, Ended.UNKNOWN),
        (Action.NONE, Ended.REFUSED),
        (Action.ADOPT, Ended.SUCCEEDED),
        (Action.DEPLOY, Ended.SKIPPED),
    ],
)
def test_what_asked_nothing_is_no_attempt(action: Action, ended: Ended) -> None:
    """Held, quarantined, skipped and recorded changes end in every pass, and are no attempts."""
    board = Board(source="main")
    metrics = Metrics(board)
    board.tell(event(Happened.ENDED, action, ended=ended))
    assert not [key for key in numbers(metrics) if key[0] == "reconciler_attempts_total"]


def test_before_the_first_pass() -> None:
    """An environment that was not looked at yet has no numbers that would mean something."""
    board = Board(source="main")
    metrics = Metrics(board)
    board.publish(View(environment=like.environment()))
    found = {key[0] for key in numbers(metrics)}
    assert {"reconciler_build_info", "reconciler_held_up"} <= found
    assert not {"reconciler_deployments", "reconciler_last_success_timestamp_seconds", "reconciler_held"} & found


def test_made_anew_only_when_something_changed() -> None:
    """Scrapes between two changes cost nothing but the process's own numbers."""
    board, metrics = full()
    metrics.exposition()
    kept = metrics._known
    metrics.exposition()
    assert metrics._known is kept
    board.publish(estate())
    assert numbers(metrics)["reconciler_held_up", ENVIRONMENT] == 0
    metrics.notified("ops", Delivered.DROPPED)
    assert numbers(metrics)["reconciler_notifications_total", "ops", "dropped"] == 1


def test_labels_are_bounded() -> None:
    """No label holds an address, an id or a message: another hundred deployments add no series."""
    board, metrics = full()
    before = len(numbers(metrics))
    many = [like.resource(f"m{number}") for number in range(100)]
    known = like.applied()
    board.publish(View(environment=like.environment(), plan=like.plan(like.desired(*many), known), applied=known))
    names = {
        "action",
        "channel",
        "end",
        "ended",
        "environment",
        "health",
        "le",
        "python_version",
        "severity",
        "sync",
        "version",
    }
    for family in text_string_to_metric_families(metrics.exposition()[0].decode()):
        assert {label for sample in family.samples for label in sample.labels} <= names
    assert len(numbers(metrics)) <= before


def test_the_page_lists_every_metric() -> None:
    """docs/metrics.md names what there is, and nothing else."""
    text = full()[1].exposition()[0].decode()
    ours = {family.name for family in text_string_to_metric_families(text) if not PROCESS.match(family.name)}
    listed = set(re.findall(r"^\| `(reconciler_\w+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert {name.removesuffix("_total") for name in listed} == ours


def test_promtool_finds_nothing() -> None:
    """Prometheus's own linter has nothing to say."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    text = full()[1].exposition()[0]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
