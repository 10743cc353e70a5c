"""`reconciler comment` against a pretended forge: created once, updated in place, nobody else's touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forge import PretendedForge, pretended_forge
from tests.support.project import ProjectFolder, Shown

PLAN = "<!-- reconciler:plan:production -->"
SECOND = "<!-- reconciler:plan:production:2 -->"
STAGING = "<!-- reconciler:plan:staging -->"
REFUSAL = "<!-- reconciler:plan -->"
TOKEN = "ghs_do-not-show-this"


@pytest.fixture(scope="module")
def _forges() -> Iterator[PretendedForge]:
    with pretended_forge() as forge:
        yield forge


@pytest.fixture
def forge(_forges: PretendedForge) -> PretendedForge:
    _forges.comments, _forges.user, _forges.refuses, _forges.requests = [], None, None, []
    return _forges


@pytest.fixture(params=["github", "gitlab"])
def job(request: pytest.FixtureRequest, forge: PretendedForge, project: ProjectFolder) -> ProjectFolder:
    """A project in a job of each forge."""
    if request.param == "github":
        project.environ |= {
            "GITHUB_REPOSITORY": "acme/models",
            "GITHUB_API_URL": forge.origin,
            "GITHUB_REF": "refs/pull/7/merge",
            "GITHUB_TOKEN": TOKEN,
        }
    else:
        forge.user = {"login": "bot", "id": len("bot")}
        project.environ |= {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": forge.origin,
            "CI_PROJECT_ID": "12",
            "CI_MERGE_REQUEST_IID": "7",
            "GITLAB_TOKEN": TOKEN,
        }
    return project


def comment(job: ProjectFolder, *parts: str) -> Shown:
    path = job.write("plan.md", "\n\n".join(parts) + "\n")
    shown = job.run("comment", str(path))
    assert TOKEN not in shown.out + shown.err
    return shown


def test_updated_in_place(job: ProjectFolder, forge: PretendedForge) -> None:
    """The first time a comment is created, later it is updated, and left alone when it is the same."""
    assert "1 created, 0 updated, 0 deleted" in comment(job, f"{PLAN}\none").ended(0).err
    assert "0 created, 1 updated, 0 deleted" in comment(job, f"{PLAN}\ntwo").ended(0).err
    before = len(forge.requests)
    assert "0 created, 0 updated, 0 deleted" in comment(job, f"{PLAN}\ntwo").ended(0).err
    assert {method for method, _, _ in forge.requests[before:]} == {"GET"}
    assert [body.strip() for body in forge.bodies] == [f"{PLAN}\ntwo"]


def test_parts_come_and_go(job: ProjectFolder, forge: PretendedForge) -> None:
    """A plan that needs several comments gets them, and loses those that it needs no more; other environments' stay."""
    comment(job, f"{STAGING}\ns").ended(0)
    comment(job, f"{PLAN}\none", f"{SECOND}\nmore").ended(0)
    assert len(forge.bodies) == 3
    assert "0 created, 1 updated, 1 deleted" in comment(job, f"{PLAN}\nshort").ended(0).err
    assert [body.strip() for body in forge.bodies] == [f"{STAGING}\ns", f"{PLAN}\nshort"]


def test_refusal_replaces_all(job: ProjectFolder, forge: PretendedForge) -> None:
    """Where nothing can be planned no outdated plan stays, and a plan takes the refusal away."""
    comment(job, f"{PLAN}\none", f"{STAGING}\ntwo").ended(0)
    comment(job, f"{REFUSAL}\nerrors").ended(0)
    assert [body.strip() for body in forge.bodies] == [f"{REFUSAL}\nerrors"]
    comment(job, f"{PLAN}\none").ended(0)
    assert [body.strip() for body in forge.bodies] == [f"{PLAN}\none"]


def test_others_are_not_touched(job: ProjectFolder, forge: PretendedForge) -> None:
    """A comment with our marker that somebody else wrote stays as it is, and ours is written beside it."""
    forge.post(f"{PLAN}\nLooks fine, please merge.", login="mallory", kind="User")
    forge.post("Nice!", login="ada", kind="User")
    comment(job, f"{PLAN}\none").ended(0)
    comment(job, f"{PLAN}\ntwo").ended(0)
    assert [body.strip() for body in forge.bodies] == [
        f"{PLAN}\nLooks fine, please merge.",
        "Nice!",
        f"{PLAN}\ntwo",
    ]


def test_found_on_any_page(job: ProjectFolder, forge: PretendedForge) -> None:
    """Our comment is found behind hundreds of others; of two with the same marker one goes."""
    for number in range(250):
        forge.post(f"{number}", login="ada", kind="User")
    ours = {"login": "bot", "kind": "User"} if forge.user else {}
    forge.post(f"{PLAN}\none", **ours)
    forge.post(f"{PLAN}\nalso", **ours)
    assert "0 created, 1 updated, 1 deleted" in comment(job, f"{PLAN}\ntwo").ended(0).err
    assert [body.strip() for body in forge.bodies[250:]] == [f"{PLAN}\ntwo"]


def test_token_refused(job: ProjectFolder, forge: PretendedForge) -> None:
    """A token that may not write ends with 4, and says which permission is missing."""
    forge.refuses = 403
    shown = comment(job, f"{PLAN}\none").ended(4)
    assert "pull-requests: write" in shown.err or "not expired" in shown.err or "GITLAB_TOKEN" in shown.err


@pytest.mark.parametrize("status", [301, 307, 404, 422, 500])
def test_forge_fails(job: ProjectFolder, forge: PretendedForge, status: int) -> None:
    """Any other answer is told with its number; a redirect is not followed, so the token goes nowhere else."""
    forge.refuses = status
    shown = comment(job, f"{PLAN}\none")
    assert shown.code in {4, 8}
    assert not [path for method, path, _ in forge.requests if path == "/user" and method != "GET"]
    assert "Traceback" not in shown.err


def test_nobody_there(job: ProjectFolder, forge: PretendedForge) -> None:
    """A forge that cannot be reached is told with its host."""
    job.environ |= {"GITHUB_API_URL": "http://127.0.0.1:9", "CI_API_V4_URL": "http://127.0.0.1:9"}
    shown = comment(job, f"{PLAN}\none")
    assert shown.code in {4, 8}


@pytest.mark.parametrize(
    ("environ", "code", "told"),
    [
        ({"GITHUB_REPOSITORY": "", "GITLAB_CI": ""}, 64, "neither a job of GitHub Actions nor of GitLab CI"),
        ({"GITHUB_TOKEN": "", "GITLAB_TOKEN": ""}, 4, "is not set"),
        ({"GITHUB_REF": "refs/heads/main", "CI_MERGE_REQUEST_IID": ""}, 64, "is about no"),
        ({"GITHUB_API_URL": "http://example.com", "CI_API_V4_URL": "http://example.com"}, 64, "not https"),
    ],
)
def test_what_is_missing(job: ProjectFolder, environ: dict[str, str], code: int, told: str) -> None:
    """What a job lacks is named."""
    job.environ |= environ
    assert told in comment(job, f"{PLAN}\none").ended(code).err


def test_pull_request_from_the_event(job: ProjectFolder, forge: PretendedForge, tmp_path: Path) -> None:
    """Where the ref does not tell it, the event does; an option is above both."""
    if "GITHUB_REF" not in job.environ:
        pytest.skip("GitLab tells it in a variable")
    (tmp_path / "event.json").write_text('{"issue": {"number": 41}}')
    job.environ |= {"GITHUB_REF": "refs/heads/main", "GITHUB_EVENT_PATH": str(tmp_path / "event.json")}
    comment(job, f"{PLAN}\none").ended(0)
    assert forge.requests[-1][1] == "/repos/acme/models/issues/41/comments"
    job.run("comment", "--pull-request", "42", str(job.write("plan.md", f"{PLAN}\none\n"))).ended(0)
    assert forge.requests[-1][1] == "/repos/acme/models/issues/42/comments"


def test_no_comment_of_ours(job: ProjectFolder) -> None:
    """A file that is not the plan's comment is not posted."""
    assert "does not begin with its marker" in comment(job, "# Hello").ended(64).err


def test_what_plan_wrote(job: ProjectFolder, forge: PretendedForge) -> None:
    """What `plan` writes is what `comment` posts."""
    job.init("a", "b")
    job.run("plan", "--markdown-into", str(job.root / "plan.md")).ended(0)
    job.run("comment", str(job.root / "plan.md")).ended(0)
    assert "### 2 new, 0 unchanged in `production`" in forge.bodies[0]
    assert forge.bodies[0].startswith(PLAN)
