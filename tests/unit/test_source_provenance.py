"""Provenance from real git repositories."""

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.model.snapshot import NO_PROVENANCE, Provenance, SourceFile
from reconciler.source.directory import read_manifests
from reconciler.source.provenance import provenance_of

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
PERSON = {
    "GIT_AUTHOR_NAME": "Ada Lovelace",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_AUTHOR_DATE": "1700000000 +0530",
    "GIT_COMMITTER_NAME": "A Robot",
    "GIT_COMMITTER_EMAIL": "robot@example.com",
    "GIT_COMMITTER_DATE": f"{int(AT.timestamp())} -0330",
}


def git(folder: Path, *arguments: str) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment = {**kept, **PERSON, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    command = ["git", "-C", str(folder), "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, message: str = "m") -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def ask(root: Path) -> Provenance:
    files, _ = read_manifests(root, ("manifests",), ())
    return provenance_of(root, files)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository on branch `main` with one committed manifest."""
    root = tmp_path / "checkout"
    (root / "manifests").mkdir(parents=True)
    (root / "manifests/a.yaml").write_text("a: 1\n")
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root)
    return root


def test_clean(checkout: Path) -> None:
    """A clean checkout tells commit, author, the committer's time and the branch."""
    known = ask(checkout)
    assert known == Provenance(
        commit=git(checkout, "rev-parse", "HEAD"),
        author="Ada Lovelace <ada@example.com>",
        committed_at=AT,
        branch="main",
        dirty=False,
    )


def test_changed(checkout: Path) -> None:
    """A manifest that differs from the commit makes it dirty, staged or not."""
    (checkout / "manifests/a.yaml").write_text("a: 2\n")
    assert ask(checkout).dirty is True
    git(checkout, "add", "--all")
    assert ask(checkout).dirty is True


@pytest.mark.parametrize("ignored", [False, True])
def test_not_committed(checkout: Path, ignored: bool) -> None:
    """A manifest that is not in the commit makes it dirty, also where git is told to ignore it."""
    if ignored:
        (checkout / ".gitignore").write_text("b.yaml\n")
        commit(checkout)
    (checkout / "manifests/b.yaml").write_text("b: 1\n")
    assert ask(checkout).dirty is True


def test_other_files_do_not_count(checkout: Path) -> None:
    """Files that were not read make nothing dirty, nor does a manifest that was removed and so not read."""
    (checkout / "manifests/b.yaml").write_text("b: 1\n")
    commit(checkout)
    (checkout / "README.md").write_text("new\n")
    (checkout / "manifests/notes.txt").write_text("new\n")
    (checkout / "manifests/a.yaml").unlink()
    assert ask(checkout).dirty is False


def test_what_was_read_counts(checkout: Path) -> None:
    """The bytes that were read are compared, not what the file holds by now."""
    file = SourceFile(path="manifests/a.yaml", data=b"a: 2\n")
    assert provenance_of(checkout, [file]).dirty is True
    (checkout / "manifests/a.yaml").write_text("a: 3\n")
    assert provenance_of(checkout, [SourceFile(path="manifests/a.yaml", data=b"a: 1\n")]).dirty is False


def test_below_the_top(checkout: Path) -> None:
    """The root may be a folder of the checkout; names that mean something to git or a shell are only names."""
    root = checkout / "teams/:(glob) -x"
    (root / "manifests").mkdir(parents=True)
    (root / "manifests/ä $(x) *.yaml").write_text("a: 1\n")
    assert ask(root).dirty is True
    commit(checkout)
    assert ask(root).dirty is False


def test_detached(checkout: Path) -> None:
    """A commit checked out without a branch, as CI does, has none."""
    git(checkout, "checkout", "--quiet", "--detach")
    assert ask(checkout).branch is None
    assert ask(checkout).commit is not None


def test_worktree_and_sha256(tmp_path: Path, checkout: Path) -> None:
    """Worktrees and repositories with long hashes are read alike."""
    git(checkout, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    assert (ask(tmp_path / "side").branch, ask(tmp_path / "side").dirty) == ("side", False)
    modern = tmp_path / "modern"
    shutil.copytree(checkout / "manifests", modern / "manifests")
    git(modern, "init", "--quiet", "--object-format=sha256")
    name = commit(modern)
    assert (len(name), ask(modern).commit, ask(modern).dirty) == (64, name, False)


def test_links(checkout: Path) -> None:
    """A manifest behind a link is compared with the committed file that the link leads to."""
    (checkout / "shared").mkdir()
    (checkout / "shared/b.yaml").write_text("b: 1\n")
    (checkout / "manifests/b.yaml").symlink_to("../shared/b.yaml")
    (checkout / "manifests/more").symlink_to("../shared")
    (checkout / "manifests/c.yaml").symlink_to("a.yaml")
    commit(checkout)
    assert ask(checkout).dirty is False
    (checkout / "shared/b.yaml").write_text("b: 2\n")
    assert ask(checkout).dirty is True


def test_many_files(checkout: Path) -> None:
    """More names than a command line should carry are no trouble."""
    names = [f"m{number:04}.yaml" for number in range(1000)]
    for name in names:
        (checkout / name).write_text("a: 1\n")
    commit(checkout)
    files = [SourceFile(path=name, data=b"a: 1\n") for name in names]
    assert provenance_of(checkout, files).dirty is False


def test_nothing_committed_yet(tmp_path: Path) -> None:
    """A repository without a commit says nothing."""
    git(tmp_path, "init", "--quiet")
    assert ask(tmp_path) == NO_PROVENANCE


def test_no_checkout(tmp_path: Path) -> None:
    """Outside a checkout, in a damaged one and in a folder that is not there, nothing is known."""
    assert ask(tmp_path) == NO_PROVENANCE
    assert provenance_of(tmp_path / "nope", ()) == NO_PROVENANCE
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    assert ask(tmp_path) == NO_PROVENANCE


def test_no_git(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the git command nothing is known, and nothing breaks."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert ask(checkout) == NO_PROVENANCE


def test_somebody_elses(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout that git refuses because another user owns it tells nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    git(checkout, "status")
    for path in (checkout, checkout / ".git"):
        os.chown(path, 65534, 65534)
    assert ask(checkout) == NO_PROVENANCE


def test_in_a_hook(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What git sets for its hooks does not lead to another repository."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert ask(checkout).dirty is False


def test_hostile_configuration(checkout: Path, tmp_path: Path) -> None:
    """No command that the checkout configures is run."""
    trap, sprung = tmp_path / "trap", tmp_path / "sprung"
    trap.write_text(f"#!/bin/sh\ntouch {sprung}\n")
    trap.chmod(0o755)
    (checkout / ".gitattributes").write_text("*.yaml filter=evil diff=evil\n")
    commit(checkout)
    for key in (
        *("core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "core.askPass", "core.gitProxy"),
        *("filter.evil.clean", "filter.evil.process", "diff.evil.textconv", "diff.external", "gpg.program"),
        *("alias.ls-tree", "pager.ls-tree", "credential.helper", "uploadpack.packObjectsHook"),
    ):
        git(checkout, "config", key, str(trap))
    git(checkout, "config", "log.showSignature", "true")
    git(checkout, "config", "core.hooksPath", str(tmp_path))
    for hook in ("post-index-change", "reference-transaction", "post-checkout"):
        shutil.copy(trap, tmp_path / hook)
    (checkout / "manifests/a.yaml").write_text("a: 2\n")
    assert ask(checkout).dirty is True
    assert not sprung.exists()


def test_partial_clone(checkout: Path, tmp_path: Path) -> None:
    """Trees that were never fetched are not fetched now; whether it is dirty is then not known, and the rest is."""
    git(checkout, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--no-checkout", "--filter=tree:0", f"file://{checkout}", str(clone))
    (clone / "manifests").mkdir()
    (clone / "manifests/a.yaml").write_text("a: 1\n")
    known = ask(clone)
    assert (known.commit, known.dirty) == (git(checkout, "rev-parse", "HEAD"), None)


def test_strange_commits(checkout: Path) -> None:
    """A commit with an odd author line still has its name."""
    tree = git(checkout, "rev-parse", "HEAD^{tree}")
    text = f"tree {tree}\nauthor Ada <a@b> 99999999999 +9999\ncommitter nobody\nencoding latin1\n\nauthor Eve <e> 1 +0000\n"
    command = ["git", "-C", str(checkout), "hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
    name = subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout.strip()
    (checkout / ".git/refs/heads/main").write_text(f"{name}\n")
    known = ask(checkout)
    assert (known.commit, known.author, known.committed_at) == (name, "Ada <a@b>", None)
