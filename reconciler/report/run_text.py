"""A run as it goes, line by line, and as it ended; and the table of what is deployed."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from reconciler.errors import ReconcilerError
from reconciler.model.applied import Accepted, Applied, Entry, Situation, address_of, situation_of
from reconciler.model.events import Event, Happened
from reconciler.model.run import Ended, Result, RunReport
from reconciler.report.plan_text import SYMBOLS
from reconciler.report.style import Style, duration, safe
from reconciler.report.tables import table

# How each ending is called in the summary line (in this order), its colour, and the heading over its results.
_ENDINGS: Mapping[Ended, tuple[str, str, str]] = {
    Ended.SUCCEEDED: ("succeeded", "green", "Done"),
    Ended.RUNNING: ("running", "blue", "Still running"),
    Ended.FAILED: ("failed", "red", "Failed"),
    Ended.REFUSED: ("refused", "red", "Refused by the platform"),
    Ended.UNAUTHORIZED: ("unauthorized", "red", "Refused: the key or the certificate"),
    Ended.UNREACHABLE: ("unreachable", "red", "Not sent: the platform could not be reached"),
    Ended.TIMED_OUT: ("timed out", "yellow", "Not over when time was up"),
    Ended.UNKNOWN: ("unknown", "magenta", "Unknown, and held until a person decides"),
    Ended.WAITING: ("waiting", "blue", "Not tried yet: it waits for a job"),
    Ended.SKIPPED: ("not tried", "yellow", "Not tried"),
}

# What to do next about the first result with an ending, the worst first.
_NEXT: Mapping[Ended, str] = {
    Ended.UNKNOWN: "reconciler explain {address}   # then `reconciler resolve {address} …`",
    Ended.UNAUTHORIZED: "reconciler doctor   # check the API key, its scopes and the host's certificate",
    Ended.FAILED: "reconciler explain {address}   # mend the manifest, or `reconciler retry {address}`",
    Ended.REFUSED: "reconciler explain {address}   # mend the manifest, or `reconciler retry {address}`",
    Ended.UNREACHABLE: "reconciler apply -e {environment}   # again, once the platform answers; nothing was sent",
    Ended.TIMED_OUT: "reconciler status -e {environment} --wait   # follows what still runs; sends nothing",
    Ended.RUNNING: "reconciler status -e {environment} --wait   # follows what still runs; sends nothing",
    Ended.WAITING: "reconciler apply -e {environment}   # sends what waits, once the jobs are over",
    Ended.SKIPPED: "reconciler apply -e {environment}   # sends what was not tried",
}


def event_line(event: Event, style: Style) -> str:
    """One line for one event, without a line end."""
    symbol, colour = SYMBOLS[event.action]
    said = _EVENTS[event.happened](event)
    if event.happened is Happened.ENDED and event.ended is not None:
        said = style.paint(said, _ENDINGS[event.ended][1])
    elif event.happened is Happened.ALARM:
        said = style.paint(said, "red")
    return f"{event.at:%H:%M:%S} {style.paint(symbol, colour)} {safe(event.address)}: {said}"


def _started(event: Event) -> str:
    return str(event.action) + _after(": ", event.detail)


def _waiting(event: Event) -> str:
    wait = f"waits {duration(event.seconds)}" if event.seconds is not None else "waits"
    return wait + _after(": ", event.detail)


def _sending(event: Event) -> str:
    return f"sending {event.action}" + _after(" as attempt ", event.attempt)


def _accepted(event: Event) -> str:
    return f"accepted{_after(', dock status ', event.dock_status_id)}{_after(': ', event.detail)}"


def _polled(event: Event) -> str:
    percent = f" {event.percent:.0f} %" if event.percent is not None else ""
    since = f" after {duration(event.seconds)}" if event.seconds is not None else ""
    return f"{safe(event.status or '')}{percent}{since}{_after(' ', _in_brackets(event.dock_status_id))}"


def _alarm(event: Event) -> str:
    return f"ALARM{_after(': ', event.detail)}"


def _ended(event: Event) -> str:
    word = _ENDINGS[event.ended][0] if event.ended is not None else "ended"
    since = f" after {duration(event.seconds)}" if event.seconds is not None else ""
    return f"{word}{since}{_after(' ', _in_brackets(event.dock_status_id))}{_after(': ', event.detail)}"


def _quarantined(event: Event) -> str:
    return f"given up{_after(': ', event.detail)}"


_EVENTS: Mapping[Happened, Callable[[Event], str]] = {
    Happened.STARTED: _started,
    Happened.WAITING: _waiting,
    Happened.SENDING: _sending,
    Happened.ACCEPTED: _accepted,
    Happened.POLLED: _polled,
    Happened.ALARM: _alarm,
    Happened.ENDED: _ended,
    Happened.QUARANTINED: _quarantined,
}


def run_text(report: RunReport, style: Style) -> str:
    """What was done, what failed and why, what was not tried and why, what to do next, and one line that can be grepped."""
    lines: list[str] = []
    for ended, (_, colour, heading) in _ENDINGS.items():
        results = report.of(ended)
        if results:
            lines.append(style.paint(f"{heading}:", colour))
            lines += [line for result in results for line in _result(result, style)]
            lines.append("")
    lines += [line for problem in report.problems for line in _problem(problem, style)]
    lines += [safe(note) for note in report.notes]
    if report.problems or report.notes:
        lines.append("")
    steps = list(_next_steps(report))
    if steps:
        lines += ["Next:", *(f"  {safe(step)}" for step in steps), ""]
    if report.interrupted is not None:
        lines.append(
            style.paint(f"Interrupted by {_name_of(report.interrupted)}; what was sent is recorded.", "yellow")
        )
    lines.append(style.paint(safe(summary(report)), "bold"))
    return "".join(f"{line}\n" for line in lines)


def _name_of(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def summary(report: RunReport) -> str:
    """`Run: production: 2 succeeded, 1 failed, 1 not tried.`, or `Run: production: nothing to do.`"""
    counted = Counter(result.ended for result in report.results)
    parts = [f"{counted[ended]} {words[0]}" for ended, words in _ENDINGS.items() if counted[ended]]
    return f"Run: {report.environment}: {', '.join(parts) or 'nothing to do'}."


def _result(result: Result, style: Style) -> Iterator[str]:
    symbol, colour = SYMBOLS[result.action]
    took = f"  {duration(result.seconds)}" if result.seconds is not None else ""
    job = f"  {safe(result.dock_status_id)}" if result.dock_status_id else ""
    status = f"  {safe(result.status)}" if result.status and result.ended is not Ended.SUCCEEDED else ""
    yield f"  {style.paint(symbol, colour)} {safe(result.address)}  {result.action}{job}{status}{took}"
    if result.detail:
        yield f"      {safe(result.detail)}"


def _problem(problem: ReconcilerError, style: Style) -> Iterator[str]:
    yield style.paint(safe(str(problem)), "red")
    if problem.next_step:
        yield f"  {safe(problem.next_step)}"


def _next_steps(report: RunReport) -> Iterator[str]:
    """One command for each kind of ending that needs one, each command once."""
    seen = set()
    for ended, step in _NEXT.items():
        first = next(iter(report.of(ended)), None)
        said = step.format(address=first.address, environment=report.environment) if first else None
        if said is not None and said.partition("#")[0] not in seen:
            seen.add(said.partition("#")[0])
            yield said


def deployments_table(applied: Applied) -> str:
    """Every entry of one environment with its dock status id: the table at the end of a run."""
    headers = ("ADDRESS", "MODEL ID", "DOCK STATUS ID", "STATUS", "SINCE (UTC)", "COMMIT")
    entries = sorted(applied.entries.values(), key=lambda entry: (entry.name, entry.model_id))
    rows = [_deployment(applied.environment, entry) for entry in entries]
    return table(headers, rows) if rows else f"{safe(applied.environment)}: nothing is deployed.\n"


def _deployment(environment: str, entry: Entry) -> tuple[str, ...]:
    last, live = entry.last, entry.live
    outcome = last.outcome if last else None
    if isinstance(outcome, Accepted) and situation_of(entry) is not Situation.ABSENT:
        dock_status_id, status = outcome.dock_status_id, "TIMED OUT" if outcome.timed_out else outcome.status
    else:
        dock_status_id, status = (live.dock_status_id if live else None), situation_of(entry).value
    if live is not None and live.how == "adopted" and live.dock_status_id is None:
        status = "adopted" if situation_of(entry) is Situation.LIVE else status
    since = (last.ended_at or last.started_at) if last else live.since if live else None
    commit = last.provenance.commit if last else live.commit if live else None
    return (
        address_of(environment, entry),
        entry.model_id,
        dock_status_id or "-",
        status,
        f"{since:%Y-%m-%d %H:%M:%S}" if since else "-",
        commit[:12] if commit else "-",
    )


def _after(before: str, text: str | None) -> str:
    return f"{before}{safe(text)}" if text else ""


def _in_brackets(text: str | None) -> str | None:
    return f"({text})" if text else None
