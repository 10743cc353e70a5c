"""`apply` and what surrounds it, over the real command line and a simulated platform."""

from __future__ import annotations

from tests.service.conftest import SimulatedPlatform
from tests.support.project import ProjectFolder


def test_first_apply_records_the_dock_status_id(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Init, plan, apply, status: the deployment is sent once, and its dock status id is in state and status."""
    project.init("alpha")
    planned = project.run("plan", "--detailed-exitcode").ended(2)
    assert "Plan: production: 1 to deploy, 0 unchanged." in planned.out
    applied = project.apply().ended(0)
    assert "Run: production: 1 succeeded." in applied.out
    assert platform.posts == [("deploy", "cm-alpha")]
    dock_status_id = project.entry("alpha")["live"]["dockStatusId"]
    assert dock_status_id.startswith("ds-")
    assert dock_status_id in project.run("status").ended(0).out
    assert "nothing to do, 1 unchanged" in project.run("plan", "--detailed-exitcode").ended(0).out
    assert "Run:" not in project.apply().ended(0).out
    assert len(platform.posts) == 1
