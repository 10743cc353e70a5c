"""Files of a commit, read from git's objects, beside what a checkout of it holds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from reconciler.errors import GuardError, SourceError
from reconciler.source.directory import read_manifests, read_project
from reconciler.source.git import (
    commits_ahead,
    common_commit,
    find_commit,
    manifests_at,
    project_at,
    refuse_unsigned,
)
from tests.support.checkout import commit, git, new_checkout

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository whose commit has two manifests and a project file."""
    root = new_checkout(tmp_path / "repo")
    write(root, {"reconciler.yaml": "p: 1\n", "manifests/a.yaml": "a: 1\n", "manifests/deep/b.yml": "b: 1\n"})
    commit(root)
    return root


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def read(
    root: Path, ref: str = "HEAD", folders: tuple[str, ...] = ("manifests/",), ignore: tuple[str, ...] = ()
) -> tuple[dict[str, bytes], list[str]]:
    """Files by path, and diagnostics in short."""
    name = find_commit(root, ref).commit or ""
    files, found = manifests_at(root, name, folders, ignore)
    return {file.path: file.data for file in files}, [
        f"{one.code} {one.position.file if one.position else ''}: {one.message}" for one in found
    ]


def test_as_the_checkout(checkout: Path) -> None:
    """A commit gives what its checkout gives: nested folders, ignored and hidden names, odd names, empty files."""
    write(
        checkout,
        {
            "manifests/.hidden/c.yaml": "x",
            "manifests/.d.yaml": "x",
            "manifests/notes.txt": "x",
            "manifests/ä $(x) *.yaml": "ä: 1\n",
            "manifests/line\nbreak.yaml": "l: 1\n",
            "manifests/empty.yaml": "",
            "manifests/charts/values.yaml": "x",
            "manifests/charts/keep/e.yaml": "e: 1\n",
            "manifests/vendored/f.yaml": "x",
            "manifests/reconciler.yaml": "not the project's\n",
            "elsewhere/g.yaml": "x",
        },
    )
    commit(checkout)
    for folders in (("manifests/",), (".",), ("manifests", "elsewhere"), ("manifests/deep", "manifests/")):
        ignore = ("values.yaml", "manifests/vendored", ".git")
        files, found = read_manifests(checkout, folders, ignore)
        at = find_commit(checkout, "HEAD").commit or ""
        assert manifests_at(checkout, at, folders, ignore) == (files, found)
        assert len(files) >= 6


def test_the_checkout_does_not_count(checkout: Path) -> None:
    """Neither what is changed, added or removed in the checkout nor what is staged shows in the commit's files."""
    (checkout / "manifests/a.yaml").write_text("a: 2\n")
    (checkout / "manifests/new.yaml").write_text("n: 1\n")
    (checkout / "manifests/deep/b.yml").unlink()
    git(checkout, "add", "--all")
    before = git(checkout, "status", "--porcelain")
    assert read(checkout)[0] == {"manifests/a.yaml": b"a: 1\n", "manifests/deep/b.yml": b"b: 1\n"}
    assert git(checkout, "status", "--porcelain") == before


def test_refs(checkout: Path) -> None:
    """Branches, tags, short names and `HEAD~1` mean commits; provenance is the commit's."""
    git(checkout, "tag", "--annotate", "--message", "t", "v1")
    write(checkout, {"manifests/a.yaml": "a: 2\n"})
    newest = commit(checkout)
    for ref in ("v1", "HEAD~1", "main~1", git(checkout, "rev-parse", "--short", "HEAD~1").strip()):
        assert read(checkout, ref)[0]["manifests/a.yaml"] == b"a: 1\n"
    found = find_commit(checkout, "main")
    assert (found.commit, found.author, found.branch, found.dirty) == (newest, "Ada <ada@example.com>", None, False)
    assert found.committed_at is not None


@pytest.mark.parametrize(
    "ref", ["nowhere", "", "-h", "--all", "HEAD\nHEAD", "HEAD\0", "HEAD:manifests", "a b", "\udcff"]
)
def test_no_such_commit(checkout: Path, ref: str) -> None:
    """What means no commit is refused, whatever it looks like; a hint says how to fetch."""
    with pytest.raises(SourceError, match="There is no commit") as told:
        find_commit(checkout, ref)
    assert "fetch" in told.value.next_step


def test_no_repository(tmp_path: Path) -> None:
    """Outside of a repository it is said that there is none."""
    with pytest.raises(SourceError, match="not in a git repository"):
        find_commit(tmp_path, "HEAD")


def test_project_file(checkout: Path) -> None:
    """The project file is the commit's; none, or one that is a link, is told."""
    name = find_commit(checkout, "HEAD").commit or ""
    (checkout / "reconciler.yaml").write_text("p: 2\n")
    assert (file := project_at(checkout, name)) is not None
    assert file.data == b"p: 1\n"
    assert project_at(checkout, name, "other.yaml") is None
    (checkout / "link.yaml").symlink_to("reconciler.yaml")
    name = commit(checkout)
    with pytest.raises(SourceError, match="not a regular file"):
        project_at(checkout, name, "link.yaml")
    assert read_project(checkout, "link.yaml") is not None


def test_below_the_top(checkout: Path) -> None:
    """The project may be a folder of the repository, and need not be in the checkout."""
    write(checkout, {"teams/ml/manifests/x.yaml": "x: 1\n", "teams/ml/reconciler.yaml": "p: 3\n"})
    name = commit(checkout)
    root = checkout / "teams/ml"
    assert read(root)[0] == {"manifests/x.yaml": b"x: 1\n"}
    assert (file := project_at(root, name)) is not None
    assert file.data == b"p: 3\n"
    shutil.rmtree(root / "manifests")
    assert read(root)[0] == {"manifests/x.yaml": b"x: 1\n"}


@pytest.mark.parametrize(
    ("target", "name", "told"),
    [
        ("a.yaml", "manifests/l.yaml", "RC102 manifests/l.yaml: links are not followed"),
        ("../../../../etc/passwd", "manifests/l.yaml", "RC102 manifests/l.yaml: links are not followed"),
        ("../shared", "manifests/more", "RC102 manifests/more: links are not followed"),
        ("more2", "manifests/more", "RC102 manifests/more: links are not followed"),
        ("/etc", "manifests/more", None),
        ("nowhere", "manifests/more", None),
        ("more", "manifests/more", None),
        ("a.yaml", "manifests/notes", None),
    ],
)
def test_links(checkout: Path, target: str, name: str, told: str | None) -> None:
    """A link is never followed; one that a checkout would follow is an error, one that means nothing there is not."""
    write(checkout, {"shared/s.yaml": "s: 1\n"})
    (checkout / "manifests/more2").symlink_to("../shared")
    (checkout / name).symlink_to(target)
    commit(checkout)
    files, found = read(checkout, ignore=("manifests/more2",))
    assert files == {"manifests/a.yaml": b"a: 1\n", "manifests/deep/b.yml": b"b: 1\n"}
    assert [one.startswith(told or "?") for one in found] == ([True] if told else [])


def test_folder_that_is_a_link(checkout: Path) -> None:
    """Manifests behind a link are not simply missing."""
    (checkout / "linked").symlink_to("manifests")
    commit(checkout)
    files, found = read(checkout, folders=("linked",))
    assert files == {}
    assert found[0].startswith("RC102 linked: links are not followed")


def test_submodule(checkout: Path) -> None:
    """What another repository holds is not read, and that is said."""
    git(checkout, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},manifests/sub")
    git(checkout, "commit", "--quiet", "--message", "m")
    assert read(checkout)[1] == ["RC103 manifests/sub: a submodule is not read"]


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("nowhere", "RC101 nowhere: there is no folder"),
        ("manifests/a.yaml", "RC101 manifests/a.yaml: manifests/a.yaml is not a folder"),
        ("docs", "RC101 docs: there is no *.yaml"),
        ("../repo", "RC104 ../repo"),
        ("/etc", "RC104 /etc"),
        ("-h", "RC101 -h: there is no folder"),
        (":(glob)*", "RC101 :(glob)*: there is no folder"),
        ("nul\0", "RC101 : there is no folder"),
    ],
)
def test_missing_folder(checkout: Path, folder: str, told: str) -> None:
    """A folder that is missing, empty or outside is an error, as in a checkout: absence is not evidence."""
    write(checkout, {"docs/x.txt": "x"})
    commit(checkout)
    files, found = read(checkout, folders=(folder,))
    assert files == {}
    assert found[0].startswith(told)


def test_too_large(checkout: Path) -> None:
    """A file over the limit is refused by its size and not even read."""
    write(checkout, {"manifests/big.yaml": b"#" * (1024 * 1024 + 1)})
    commit(checkout)
    files, found = read(checkout)
    assert "manifests/big.yaml" not in files
    assert found[0].startswith("RC202 manifests/big.yaml: the file has 1,048,577 bytes")


def test_name_that_is_not_text(checkout: Path) -> None:
    """A name that is not UTF-8 is told as it can be printed."""
    Path(os.fsdecode(os.fsencode(checkout) + b"/manifests/\xff.yaml")).write_text("x")
    commit(checkout)
    assert read(checkout)[1] == ["RC102 manifests/\\xff.yaml: its name is not UTF-8"]


def test_missing_objects(checkout: Path, tmp_path: Path) -> None:
    """A clone without the files' contents says so; nothing is fetched behind the reader's back."""
    git(checkout, "config", "uploadpack.allowFilter", "true")
    thin = str(tmp_path / "thin")
    git(tmp_path, "clone", "--quiet", "--no-checkout", "--filter=blob:none", f"file://{checkout}", thin)
    with pytest.raises(SourceError, match="git has not got") as told:
        read(tmp_path / "thin")
    assert "Fetch" in told.value.next_step


def test_common_commit(checkout: Path) -> None:
    """The base of a branch is where it left; how far the other has gone since is told; strangers have none."""
    base = find_commit(checkout, "HEAD").commit or ""
    git(checkout, "checkout", "--quiet", "-b", "side")
    write(checkout, {"x": "1"})
    side = commit(checkout)
    git(checkout, "checkout", "--quiet", "main")
    write(checkout, {"y": "1"})
    main = commit(checkout)
    assert common_commit(checkout, side, main) == base
    assert (commits_ahead(checkout, main, side), commits_ahead(checkout, base, side)) == (1, 0)
    git(checkout, "checkout", "--quiet", "--orphan", "stranger")
    with pytest.raises(SourceError, match="no commit in common"):
        common_commit(checkout, commit(checkout), main)


def test_signatures(checkout: Path, tmp_path: Path) -> None:
    """A commit counts as signed when git verifies it with a key that it is told to trust; another key or none is refused."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    unsigned = find_commit(checkout, "HEAD").commit or ""
    with pytest.raises(GuardError, match="it has none"):
        refuse_unsigned(checkout, unsigned)
    trusted, other = (_key(tmp_path / name) for name in ("trusted", "other"))
    (tmp_path / "signers").write_text(f"ada@example.com {trusted.with_suffix('.pub').read_text()}")
    for name, value in (("gpg.format", "ssh"), ("gpg.ssh.allowedSignersFile", str(tmp_path / "signers"))):
        git(checkout, "config", name, value)
    for key, accepted in ((trusted, True), (other, False)):
        git(checkout, "-c", f"user.signingKey={key}", "commit", "--quiet", "--allow-empty", "-S", "--message", "m")
        name = find_commit(checkout, "HEAD").commit or ""
        if accepted:
            refuse_unsigned(checkout, name)
        else:
            with pytest.raises(GuardError, match="cannot be verified"):
                refuse_unsigned(checkout, name)


def test_hostile_configuration(checkout: Path) -> None:
    """What a hostile checkout configures is not run: no hook, pager, file monitor or filter."""
    trap = checkout.parent / "trap"
    for name in ("core.fsmonitor", "core.pager", "pager.ls-tree", "core.sshCommand", "filter.x.smudge"):
        git(checkout, "config", name, f"touch {trap}; false")
    write(checkout, {".gitattributes": "* filter=x\n"})
    (checkout / ".git/hooks").mkdir(exist_ok=True)
    for hook in ("post-checkout", "pre-commit", "reference-transaction"):
        (checkout / ".git/hooks" / hook).write_text(f"#!/bin/sh\ntouch {trap}\n")
        (checkout / ".git/hooks" / hook).chmod(0o755)
    assert len(read(checkout)[0]) == 2
    common_commit(checkout, "HEAD", "HEAD")
    assert not trap.exists()


def _key(path: Path) -> Path:
    import subprocess

    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path
