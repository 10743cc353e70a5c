"""From a save to the platform: `watch` as a process sends what each way to save leaves behind, once, and nothing in between."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tests.service.conftest import SimulatedPlatform
from tests.support.project import ProjectFolder, Running
from tests.support.saves import PATTERNS, Save, Texts

AT_ONCE = 1 if os.environ.get("SOAK") else 8  # fewer than a mass change
QUIET = ("--settle", "0.3", "--log-format", "json", "--listen", "none")
SENT = {"before": ["before"], "after": ["after", "and it is longer"], "behind": ["behind"], "big": ["big"]}


@dataclass(frozen=True, slots=True)
class _Saved:
    """One way to save, in a folder and with a model of its own."""

    name: str
    root: Path
    save: Save
    text: str

    @property
    def expected(self) -> list[tuple[str, list[str] | None]]:
        """The calls for the file as it was, and for what it is afterwards."""
        after = {"renamed": [], "gone": [("undeploy", None)]}.get(self.text, [("deploy", SENT.get(self.text))])
        return [("deploy", SENT["before"]), *after]


def test_each_save_reaches_the_platform_once(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """After each way to save the platform has got exactly the final content, once, and never one that was not at rest."""
    saved = [
        _Saved(f"m{number:02}", project.root / f"m{number:02}", save, "renamed" if way == "renamed away" else text)
        for number, (way, (save, text)) in enumerate(sorted(PATTERNS.items()))
    ]
    for one in saved:
        project.write(f"{one.name}/manifests/a.yaml", Texts.of(one.name).before)
    project.deploy("last")
    project.configure(prune=True)
    whole = json.loads((project.root / "reconciler.yaml").read_text())
    project.write_project({**whole, "manifests": ["manifests", *(f"{one.name}/manifests" for one in saved)]})
    project.run("init").ended(0)
    watch = project.start("watch", *QUIET)
    watch.wait_for('"event": "pass"')
    for first in range(0, len(saved), AT_ONCE):
        some = saved[first : first + AT_ONCE]
        with ThreadPoolExecutor(len(some)) as pool:
            under_way = [pool.submit(one.save, one.root, Texts.of(one.name)) for one in some]
            while wait(under_way, timeout=0.005).not_done:
                watch.signal(signal.SIGHUP)  # it is asked to look at every moment in between, too
            for done in under_way:
                done.result()
        _until_ended(watch, {one.name for one in some if len(one.expected) > 1})
    project.deploy("last", temperature=0)
    _until_ended(watch, {"last"})
    watch.signal(signal.SIGTERM)
    watch.end().ended(0)
    assert {one.name: _sent(platform, one.name) for one in saved} == {one.name: one.expected for one in saved}
    (renamed,) = [one.name for one in saved if one.text == "renamed"]
    assert project.entry(renamed)["metadata"]["manifest"] == f"{renamed}/manifests/c.yaml"


def _until_ended(watch: Running, names: set[str]) -> None:
    """Until a change of each has ended."""
    while names:
        ended = json.loads(watch.wait_for('"event": "ended"'))
        names.discard(ended["address"].partition("/")[2])


def _sent(platform: SimulatedPlatform, name: str) -> list[tuple[str, list[str] | None]]:
    """The calls about a model that the platform accepted: what was asked, and what the manifest said."""
    calls = [line for line in platform.lines if line["accepted"] and line["modelId"] == f"cm-{name}"]
    return [(c["call"], json.loads(c["body"])["hyperParameters"]["stopSequence"] if c["body"] else None) for c in calls]
