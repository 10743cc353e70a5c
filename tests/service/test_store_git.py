"""The state on a branch, as pipelines have it: a shallow clone over HTTP, the job's token, and a server with moods."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import AuthenticationError, StateCorrupt, StateError, StateForeign, UsageError
from reconciler.state.fold import fold
from reconciler.state.git import GitStore, environments_in
from reconciler.state.gitremote import GitRemote, Push, check_branch, check_url
from reconciler.state.store import Conflict, DurabilityLost
from tests.support.records import HOLDER, empty, note
from tests.support.repositories import clean_environment, clone, git, new_origin
from tests.support.servers_git import PASSWORD, GitServer, git_server

BRANCH = "reconciler-state"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    new_origin(tmp_path)
    with git_server(tmp_path) as server:
        yield server


@pytest.fixture
def checkout(server: GitServer, tmp_path: Path) -> Path:
    return clone(server.url, tmp_path / "checkout")


def remote(checkout: Path, branch: str = BRANCH, url: str | None = None, **variables: str) -> GitRemote:
    return GitRemote(checkout, branch, url, {**clean_environment(), **variables})


def store_of(checkout: Path, environment: str = "production", **variables: str) -> GitStore:
    return GitStore(remote(checkout, **variables), environment)


def begun(checkout: Path, environment: str = "production") -> GitStore:
    store = store_of(checkout, environment)
    store.create(empty(environment))
    return store


def log_of(server: GitServer) -> list[str]:
    """The commits of the branch, oldest first."""
    return git(server.folder / "origin.git", "log", "--reverse", "--format=%s", BRANCH).splitlines()


# What it leaves alone


def prints(folder: Path) -> dict[str, str]:
    """Every file below a folder, by what it holds."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_checkout_is_left_alone(checkout: Path) -> None:
    """No file of the checkout or its .git is touched, no hook of it is run."""
    for name in ("pre-push", "post-commit", "reference-transaction", "post-checkout"):
        hook = checkout / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\ntouch hook-was-run\nexit 1\n", encoding="utf-8")
        hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    before = prints(checkout)
    store = begun(checkout)
    store.append(0, [note(1)])
    lock = store.lock_run(HOLDER)
    stored = store.read()
    store.compact(1, fold(stored.snapshot, stored.records))
    lock.release()
    assert prints(checkout) == before


def test_the_branch_is_readable(server: GitServer, checkout: Path) -> None:
    """A commit a change, each saying what it is and that no pipeline is to start; files that people can read."""
    store = begun(checkout)
    store.append(0, [note(1), note(2)])
    assert log_of(server) == [
        "production: a new state [skip ci]",
        "production: records 1 to 2: DECISION, DECISION [skip ci]",
    ]
    files = git(server.folder / "origin.git", "ls-tree", "-r", "--name-only", BRANCH).splitlines()
    assert files == ["production/log/00000000000000000001.json", "production/state.json"]
    text = git(server.folder / "origin.git", "show", f"{BRANCH}:{files[0]}")
    assert [line[:10] for line in text.splitlines()[1:3]] == ['{"record":', '{"record":']


def test_environments_share_the_branch(checkout: Path) -> None:
    """Each has its own folder, log and lock; writing to one disturbs no handle on the other."""
    production, staging = begun(checkout), begun(checkout, "staging")
    assert production.append(0, [note(1)]) == 1
    assert staging.append(0, [note(2)]) == 1
    assert production.append(1, [note(3)]) == 2
    assert environments_in(remote(checkout)) == ("production", "staging")
    staging.lock_run(HOLDER)
    production.lock_run(HOLDER).release()


# Credentials


def test_the_job_s_own_token_is_used(server: GitServer, checkout: Path) -> None:
    """What CI left in the checkout's configuration lets the state in too."""
    server.needs_password = True
    git(checkout, "config", "http.extraheader", server.header)
    assert begun(checkout).append(0, [note(1)]) == 1


def test_a_token_in_a_file_for_this_checkout(server: GitServer, checkout: Path, tmp_path: Path) -> None:
    """Also where the configuration only includes it for this very repository, as newer CI checkouts do."""
    server.needs_password = True
    kept = tmp_path / "credentials.config"
    kept.write_text(f'[http "{server.origin}/"]\n\textraheader = {server.header}\n', encoding="utf-8")
    git(checkout, "config", f"includeIf.gitdir:{(checkout / '.git').resolve()}.path", str(kept))
    assert begun(checkout).append(0, [note(1)]) == 1


def test_a_credential_helper_is_asked(server: GitServer, checkout: Path) -> None:
    """The user's own way to authenticate works, wherever it is configured."""
    server.needs_password = True
    git(checkout, "config", "credential.helper", f"!f() {{ echo username=ada; echo password={PASSWORD}; }}; f")
    assert begun(checkout).append(0, [note(1)]) == 1


def test_a_password_in_the_address(server: GitServer, checkout: Path) -> None:
    """It works, and is shown nowhere."""
    server.needs_password = True
    store = GitStore(remote(checkout, url=server.url_with_password), "production")
    store.create(empty())
    assert store.location == f"git:{server.url}#{BRANCH}/production"
    server.forbidden = 100
    with pytest.raises(AuthenticationError) as refused:
        store.append(0, [note(1)])
    assert PASSWORD not in str(refused.value) + refused.value.next_step


@pytest.mark.parametrize("how", ["none", "wrong", "forbidden"])
def test_whoever_may_not_is_told_what_is_missing(server: GitServer, checkout: Path, how: str) -> None:
    """No credentials, wrong ones, or a token that may only read: exit 4, with the permission to ask for."""
    if how == "forbidden":
        begun(checkout)
        server.forbidden = 100
    else:
        server.needs_password = True
    url = server.origin.replace("://", f"://ada:wrong-{PASSWORD}@") + "/origin.git" if how == "wrong" else None
    store = GitStore(remote(checkout, url=url), "production")
    with pytest.raises(AuthenticationError, match=BRANCH) as refused:
        store.append(0, [note(1)])
    assert "contents: write" in refused.value.next_step
    assert "wrong-" not in str(refused.value)


# Answers that are lost


def test_a_lost_answer_is_looked_for(server: GitServer, checkout: Path) -> None:
    """The push counted and nobody said so: it is found in the branch, once."""
    store = begun(checkout)
    server.lost = 1
    assert store.append(0, [note(1)]) == 1
    assert store.append(1, [note(2)]) == 2
    assert store_of(checkout).read().records == (note(1), note(2))


def test_a_lost_request_is_sent_again(server: GitServer, checkout: Path) -> None:
    """The push did not get there: it is sent again, and counts once."""
    store = begun(checkout)
    server.cut = 2
    assert store.append(0, [note(1)]) == 1
    assert store.read().records == (note(1),)
    assert len(log_of(server)) == 2


def test_a_lost_answer_and_others_went_on(server: GitServer, checkout: Path, tmp_path: Path) -> None:
    """Whoever wrote after us, and even folded our record away, does not make us believe that we wrote nothing."""
    store = begun(checkout)
    other = store_of(clone(server.url, tmp_path / "other"))

    class Slow(GitRemote):
        """Between the push and the look for it, somebody else goes on."""

        def push(self, parent: str | None, commit: str) -> Push:
            push = super().push(parent, commit)
            if server.lost == 0 and not done:
                done.append(True)
                other.append(1, [note(2)])
                stored = other.read()
                other.compact(2, fold(stored.snapshot, stored.records))
            return push

    done: list[bool] = []
    late = GitStore(Slow(checkout, BRANCH, None, clean_environment()), "production")
    late.read()
    server.lost = 1
    assert late.append(0, [note(1)]) == 1
    with pytest.raises(Conflict):
        late.append(1, [note(3)])
    stored = store.read()
    assert set(fold(stored.snapshot, stored.records).entries) == {"cm-1", "cm-2"}


def test_without_any_answer_nothing_is_said(server: GitServer, checkout: Path) -> None:
    """A server that is gone leaves the append in doubt, and the handle writes nothing more."""
    store = begun(checkout)
    server.cut = 1000
    with pytest.raises(DurabilityLost, match="cannot be told"):
        store.append(0, [note(1)])
    server.cut = 0
    with pytest.raises(DurabilityLost):
        store.append(0, [note(1)])
    assert store_of(checkout).append(0, [note(1)]) == 1


def test_a_server_that_is_away(checkout: Path) -> None:
    """Reading says so, with exit 6."""
    git(checkout, "remote", "set-url", "origin", "http://127.0.0.1:9/origin.git")
    with pytest.raises(StateError, match="cannot be read"):
        store_of(checkout).read()


def test_a_protected_branch_is_refused(server: GitServer, checkout: Path) -> None:
    """The remote's own no is passed on, and is no doubt."""
    store = begun(checkout)
    hook = server.folder / "origin.git" / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'this branch is protected'\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    with pytest.raises(StateError, match="this branch is protected") as refused:
        store.append(0, [note(1)])
    assert not isinstance(refused.value, DurabilityLost)
    hook.unlink()
    assert store.append(0, [note(1)]) == 1


# What is not a state


def test_somebody_s_branch_is_not_used(server: GitServer, checkout: Path) -> None:
    """A branch with work on it gets no state."""
    with pytest.raises(StateForeign, match="holds something else"):
        GitStore(remote(checkout, "main"), "production").create(empty())
    assert git(server.folder / "origin.git", "ls-tree", "--name-only", "main").split() == ["README"]


@pytest.mark.parametrize(
    ("path", "text", "why"),
    [
        ("production/state.json", b"{}", "damaged"),
        ("production/state.json", None, "is gone"),
        ("production/log/00000000000000000001.json", b"[]", "damaged"),
        ("production/log/00000000000000000001.json", None, "record 1 is not there"),
        ("production/lock.json", b"{}", "damaged"),
    ],
)
def test_damage_is_named(checkout: Path, path: str, text: bytes | None, why: str) -> None:
    """A file that somebody edited or removed stops everything, and the way back is told."""
    store = begun(checkout)
    store.append(0, [note(1)])
    store.append(1, [note(2)])
    hand = remote(checkout)
    tip = hand.fetch()
    hand.push(tip, hand.commit(tip, {path: text}, "by hand"))
    with pytest.raises(StateCorrupt, match=why) as damaged:
        store_of(checkout).read()
    assert "git revert" in damaged.value.next_step


@pytest.mark.parametrize(
    "branch", ["", "-x", "a..b", "a b", "a/", "/a", "a.lock", "a@{1}", "refs:x", "a\nb", ".a", "x" * 300]
)
def test_names_that_git_does_not_take(branch: str) -> None:
    """A branch's name cannot become an option, a refspec or another ref."""
    with pytest.raises(UsageError):
        check_branch(branch)


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "file:///etc",
        "/srv/git/x.git",
        "../x.git",
        "http://example.com/x.git",
        "git://example.com/x.git",
        "https://-oProxyCommand=x/y",
        "ssh://-oProxyCommand=x/y",
        "-oProxyCommand=x:y",
        "https:///x",
        "host:-x",
    ],
)
def test_addresses_that_are_not_spoken_to(url: str) -> None:
    """A project file cannot make git run a command or read a path."""
    with pytest.raises(UsageError):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/x.git",
        "ssh://git@example.com:22/x.git",
        "git@example.com:team/x.git",
        "http://127.0.0.1:1/x",
    ],
)
def test_addresses_that_are_spoken_to(url: str) -> None:
    """Those that people use."""
    assert check_url(url) == url


def test_without_a_checkout_there_is_no_origin(tmp_path: Path) -> None:
    """It says what is missing."""
    with pytest.raises(StateError, match="remote `origin`"):
        store_of(tmp_path).read()


def test_without_git_there_is_no_branch(checkout: Path) -> None:
    """It says what to install."""
    with pytest.raises(StateError, match="git cannot be run"):
        store_of(checkout, PATH=os.devnull).read()
