"""One scenario folder of tests/cases -> the texts it expects. The layout is described in tests/cases/README.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.diagnostics import Diagnostic, errors_in
from reconciler.errors import ReconcilerError, SourceError
from reconciler.load.project import Fallback, Settled, load_project
from reconciler.load.yaml import parse
from reconciler.model.applied import Applied, without_lapsed
from reconciler.model.plan import Plan
from reconciler.model.resource import Desired, KeyReference
from reconciler.model.snapshot import Provenance, Snapshot, SourceFile
from reconciler.pipeline import Checked, check, make_plan
from reconciler.plan.build import Choices
from reconciler.plan.codec import encode_plan
from reconciler.plan.select import Selection
from reconciler.report.diagnostics import diagnostics_text
from reconciler.report.plan_text import plan_text
from reconciler.report.status_text import explain_text, status_text
from reconciler.report.style import PLAIN
from reconciler.source.directory import read_manifests, read_project
from reconciler.status import explain, statuses
from tests.support.states import applied_of

CASES = Path(__file__).parent.parent / "cases"
SHARED_PROJECT = CASES / "reconciler.yaml"
# What a case may expect; the runner compares each of these that exists.
EXPECTED = ("diagnostics.txt", "plan.txt", "plan.json", "status.txt", "explain.txt")
NOW = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)

_KEY = KeyReference(kind="env", value="RECONCILER_API_KEY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """options.yaml: what the command line would say."""

    environments: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    allow_mass_change: bool = False
    verbose: bool = False
    lenient: bool = False
    sources: bool = False
    now: datetime = NOW
    explain: tuple[str, ...] = ()
    commit: str | None = None

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Options:
        known = {
            "allowMassChange": "allow_mass_change",
            **{name: name for name in ("environments", "select", "labels", "verbose", "lenient", "sources", "commit")},
            "explain": "explain",
        }
        options: dict[str, Any] = {
            known[key]: tuple(v) if isinstance(v, list) else v for key, v in written.items() if key != "now"
        }
        if "now" in written:
            options["now"] = datetime.fromisoformat(written["now"])
        return cls(**options)


def folders() -> list[str]:
    """The names of all scenario folders."""
    return sorted(path.name for path in CASES.iterdir() if path.is_dir() and path.name[:1].isdigit())


def inputs(name: str) -> Iterator[tuple[Desired, Applied]]:
    """What the case compares, for each environment; nothing where its manifests are refused."""
    case = _Case.read(CASES / name)
    project, snapshot, _ = case.sources()
    if project is None:
        return
    checked = check(snapshot, project)
    if errors_in(checked.diagnostics) and not case.options.lenient:
        return
    for environment in checked.environments.values():
        state = applied_of(case.fixture.get(environment.name) or {}, environment, project)
        yield checked.desired[environment.name], state


def findings_of(name: str) -> tuple[tuple[Diagnostic, ...], tuple[str, ...], tuple[Plan, ...]]:
    """What the case has to say in a pull request: its diagnostics, the files that were read, and its plans."""
    case = _Case.read(CASES / name)
    project, snapshot, wrong = case.sources()
    files = tuple(file.path for file in snapshot.files)
    if project is None:
        return wrong, files, ()
    checked = check(snapshot, project)
    if errors_in(checked.diagnostics) and not case.options.lenient:
        return checked.diagnostics, files, ()
    names = case.options.environments or tuple(checked.environments)
    states = {one: applied_of(case.fixture.get(one) or {}, checked.environments[one], project) for one in names}
    return checked.diagnostics, files, tuple(case._plan(checked, one, state) for one, state in states.items())


def run(name: str) -> dict[str, str]:
    """Everything the case makes, by file name."""
    case = _Case.read(CASES / name)
    try:
        return dict(case.texts())
    except ReconcilerError as error:
        wrong = diagnostics_text(getattr(error, "diagnostics", ()), {}, PLAIN)
        return {"plan.txt": f"{wrong}{type(error).__name__} (exit {error.exit_code}): {error}\n{error.next_step}\n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    folder: Path
    options: Options
    fixture: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> _Case:
        return cls(
            folder=folder,
            options=Options.read(_yaml(folder / "options.yaml")),
            fixture=_yaml(folder / "applied.yaml"),
        )

    def texts(self) -> Iterator[tuple[str, str]]:
        project, snapshot, wrong = self.sources()
        if project is None:
            yield "diagnostics.txt", self._diagnostics(wrong, snapshot)
            return
        checked = check(snapshot, project)
        if checked.diagnostics:
            yield "diagnostics.txt", self._diagnostics(checked.diagnostics, snapshot)
        if not errors_in(checked.diagnostics) or self.options.lenient:
            yield from self._plans(checked, project)

    def sources(self) -> tuple[Settled | None, Snapshot, tuple[Diagnostic, ...]]:
        written = read_project(self.folder)
        shared = SourceFile(path="reconciler.yaml", data=SHARED_PROJECT.read_bytes())
        project, wrong = load_project(written or shared, Fallback(host=None, api_key=_KEY))
        if project is None:
            return None, Snapshot(files=(), project=written or shared), wrong
        files, found = read_manifests(self.folder, project.manifests, project.ignore)
        provenance = Provenance(commit=self.options.commit, dirty=False if self.options.commit else None)
        snapshot = Snapshot(files=files, project=written or shared, provenance=provenance, diagnostics=found)
        return project, snapshot, found

    def _diagnostics(self, diagnostics: tuple[Diagnostic, ...], snapshot: Snapshot) -> str:
        files = (*snapshot.files, *([snapshot.project] if snapshot.project else []))
        sources = {file.path: file.data for file in files} if self.options.sources else {}
        return diagnostics_text(diagnostics, sources, PLAIN)

    def _plans(self, checked: Checked, project: Settled) -> Iterator[tuple[str, str]]:
        options = self.options
        names = options.environments or tuple(checked.environments)
        states = {
            name: without_lapsed(
                applied_of(self.fixture.get(name) or {}, checked.environments[name], project), options.now
            )
            for name in names
        }
        plans = {name: self._plan(checked, name, state) for name, state in states.items()}
        yield "plan.txt", plan_text(list(plans.values()), PLAIN, verbose=options.verbose)
        yield "plan.json", "".join(encode_plan(plan).decode() for plan in plans.values())
        rows = [row for name, plan in plans.items() for row in statuses(plan, states[name])]
        yield "status.txt", status_text(rows, PLAIN, now=options.now)
        if options.explain:
            yield "explain.txt", "\n".join(_explained(a, plans, states, options.now) for a in options.explain)

    def _plan(self, checked: Checked, environment: str, state: Applied) -> Plan:
        options = self.options
        selection = Selection(globs=options.select, labels=tuple(sorted(options.labels.items())))
        choices = Choices(selection=selection, allow_mass_change=options.allow_mass_change)
        return make_plan(checked, environment, state, now=options.now, choices=choices)


def _explained(address: str, plans: Mapping[str, Plan], states: Mapping[str, Applied], now: datetime) -> str:
    environment = address.partition("/")[0]
    return explain_text(explain(plans[environment], states[environment], address), PLAIN, now=now)


def _yaml(path: Path) -> Any:
    """A fixture file, read as the program reads manifests; empty when there is none."""
    if not path.exists():
        return {}
    documents, wrong = parse(path.read_bytes(), str(path))
    if wrong:
        raise SourceError(f"{path}: {wrong[0].message}")
    return documents[0].value if documents else {}
