"""What Prometheus reads: the board's views as gauges, its passes and events as counters; docs/metrics.md lists them.

Labels are bounded: environments, channels, and the words of our own enums; never an address, an id or a message. `cli.watch`
makes one, and hands `exposition` to the web server. Needs the extra `server`.
"""

from __future__ import annotations

import platform
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from reconciler import __version__
from reconciler.controller.board import Board, Pass, PassEnd, View
from reconciler.controller.notify.notifier import Delivered
from reconciler.diagnostics import Severity
from reconciler.model.applied import Applied
from reconciler.model.events import Event, Happened
from reconciler.model.plan import Action, Change, Plan, Reason
from reconciler.model.run import Ended
from reconciler.status import Health, Sync, statuses

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PASS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_JOB_SECONDS = (10, 30, 60, 120, 300, 600, 1200, 1800, 2700, 3600, 7200)

# gauge -> (what it counts, which changes of the plan count)
_STANDS: Mapping[str, tuple[str, Callable[[Change], bool]]] = {
    "reconciler_held": (
        "Deployments whose last call has an unknown outcome: a person must resolve them.",
        lambda change: change.action is Action.HOLD,
    ),
    "reconciler_orphans": (
        "Deployments without a manifest that are not to be undeployed.",
        lambda change: change.reason in {Reason.ORPHAN, Reason.PROTECTED},
    ),
    "reconciler_suspended": (
        "Deployments that a person has suspended.",
        lambda change: change.reason is Reason.SUSPENDED,
    ),
    "reconciler_quarantined": (
        "Deployments whose digest is not tried again by itself.",
        lambda change: change.reason is Reason.QUARANTINED,
    ),
    "reconciler_broken": (
        "Deployments whose manifest has errors; what was last applied stays.",
        lambda change: change.reason is Reason.BROKEN,
    ),
}
# Changes that ended without a call, or are not over.
_NO_ATTEMPT = frozenset({Ended.SKIPPED, Ended.WAITING, Ended.RUNNING})


class Metrics:
    """Listens to a board. Belongs to the board's event loop."""

    def __init__(self, board: Board) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a gauge beside each counter, which nobody asks for
        self._board = board
        self._registry = CollectorRegistry()
        self._process = CollectorRegistry()
        self._known: tuple[int, bytes] | None = None
        self._changed = 0
        self._passes = self._counter("reconciler_passes", "Passes, by how they ended.", "environment", "end")
        self._attempts = self._counter(
            "reconciler_attempts", "Changes asked of the platform, by how they ended.", "environment", "action", "ended"
        )
        self._requests = self._counter(
            "reconciler_requests", "Requests sent that may change the platform.", "environment", "action"
        )
        self._alarms = self._counter(
            "reconciler_alarms", "Answers that no platform should give, such as an id given twice.", "environment"
        )
        self._notifications = self._counter(
            "reconciler_notifications", "Notifications, by how they ended.", "channel", "ended"
        )
        self._pass_seconds = Histogram(
            "reconciler_pass_duration_seconds",
            "How long a pass took, jobs followed included.",
            ("environment",),
            buckets=_PASS_SECONDS,
            registry=self._registry,
        )
        self._change_seconds = Histogram(
            "reconciler_change_duration_seconds",
            "From taking up a change to the end of its job.",
            ("environment", "action"),
            buckets=_JOB_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Views(board))
        ProcessCollector(registry=self._process)
        board.on_pass(self._on_pass)
        board.on_event(self._on_event)

    def exposition(self) -> tuple[bytes, str]:
        """The text and its content type. Made anew only when something has changed; the process's own numbers always are."""
        version = self._board.version + self._changed
        if self._known is None or self._known[0] != version:
            self._known = (version, generate_latest(self._registry))
        return self._known[1] + generate_latest(self._process), CONTENT_TYPE

    def notified(self, channel: str, how: Delivered) -> None:
        """A notification has ended: the `tally` of a Notifier."""
        self._changed += 1
        self._notifications.labels(channel, str(how)).inc()

    def has_channels(self, names: Iterable[str]) -> None:
        """Begin at nought, so that the first failure is an increase."""
        for name in names:
            for how in Delivered:
                self._notifications.labels(name, str(how))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _on_pass(self, done: Pass, _: View) -> None:
        for end in PassEnd:
            self._passes.labels(done.environment, str(end))
        self._passes.labels(done.environment, str(done.end)).inc()
        self._pass_seconds.labels(done.environment).observe(done.seconds)

    def _on_event(self, event: Event) -> None:
        labels = (event.environment, str(event.action))
        match event.happened:
            case Happened.SENDING:
                self._requests.labels(*labels).inc()
            case Happened.ALARM:
                self._alarms.labels(event.environment).inc()
            case Happened.ENDED if event.ended is not None and _was_attempted(event):
                self._attempts.labels(*labels, str(event.ended)).inc()
                self._change_seconds.labels(*labels).observe(event.seconds or 0.0)


def _was_attempted(event: Event) -> bool:
    asked = event.action.sends or event.action is Action.FOLLOW
    return asked and event.ended not in _NO_ATTEMPT


class _Views(Collector):
    """The gauges, as the views are at this moment."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._counted: dict[str, tuple[Plan, Applied, Tally[tuple[Sync, Health]]]] = {}

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the board."""
        return ()

    def collect(self) -> Iterator[Metric]:
        views = self._board.views
        yield _gauge(
            "reconciler_build_info",
            "The version that runs.",
            ("version", "python_version"),
            {(__version__, platform.python_version()): 1},
        )
        yield self._deployments(views)
        yield _gauge(
            "reconciler_pending_changes",
            "What the last plan would still do, by action.",
            ("environment", "action"),
            {
                (name, str(action)): count
                for name, view in views.items()
                if view.plan is not None
                for action, count in view.plan.counts().items()
                if action is not Action.NONE
            },
        )
        for gauge, (text, counts) in _STANDS.items():
            yield _per_environment(gauge, text, views, partial(_count, counts=counts))
        yield _gauge(
            "reconciler_diagnostics",
            "What is wrong in the manifests, by severity.",
            ("environment", "severity"),
            {
                (name, str(severity)): sum(one.severity is severity for one in view.diagnostics)
                for name, view in views.items()
                for severity in Severity
            },
        )
        yield _per_environment(
            "reconciler_held_up",
            "1 while nothing is sent by itself in the environment: the page says why.",
            views,
            lambda view: float(view.held_up is not None),
        )
        yield _per_environment(
            "reconciler_dry_run",
            "1 while nothing is written and nothing sent.",
            views,
            lambda view: float(view.dry_run),
        )
        yield _per_environment(
            "reconciler_pass_running", "1 during a pass.", views, lambda view: float(view.running is not None)
        )
        yield _per_environment(
            "reconciler_last_pass_timestamp_seconds",
            "When the last pass ended; absent before the first.",
            views,
            lambda view: view.last.started_at.timestamp() + view.last.seconds if view.last else None,
        )
        yield _per_environment(
            "reconciler_last_success_timestamp_seconds",
            "When a pass last succeeded; absent before the first.",
            views,
            lambda view: view.last_success_at.timestamp() if view.last_success_at else None,
        )

    def _deployments(self, views: Mapping[str, View]) -> Metric:
        found: dict[tuple[str, ...], float] = {}
        for name, view in views.items():
            if view.plan is None or view.applied is None:
                continue
            counted = self._tally(name, view.plan, view.applied)
            found |= {(name, str(s), str(h)): counted[s, h] for s in Sync for h in Health}
        text = "Deployments, by whether they are as the manifests say and by how they are."
        return _gauge("reconciler_deployments", text, ("environment", "sync", "health"), found)

    def _tally(self, name: str, plan: Plan, applied: Applied) -> Tally[tuple[Sync, Health]]:
        """Counted once a plan: a thousand statuses take 10 ms, and events come far more often than plans."""
        known = self._counted.get(name)
        if known is None or known[0] is not plan or known[1] is not applied:
            counted = Tally((one.sync, one.health) for one in statuses(plan, applied))
            known = self._counted[name] = (plan, applied, counted)
        return known[2]


def _count(view: View, counts: Callable[[Change], bool]) -> float | None:
    return None if view.plan is None else sum(map(counts, view.plan.changes))


def _per_environment(name: str, text: str, views: Mapping[str, View], value: Callable[[View], float | None]) -> Metric:
    found = {environment: value(view) for environment, view in views.items()}
    return _gauge(name, text, ("environment",), {(key,): number for key, number in found.items() if number is not None})


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
