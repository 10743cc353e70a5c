"""Git repositories made to hurt whoever looks at them: configuration, trees, names and addresses; and what git is given."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from reconciler.errors import ReconcilerError, SourceError, UsageError
from reconciler.source.git import find_commit, manifests_at
from reconciler.source.remote import Remote
from tests.security.canary import look_through, watched_git
from tests.security.hurtful import check_text
from tests.security.spellings import found_in
from tests.service.conftest import SimulatedPlatform
from tests.support.checkout import GIT_VARIABLES, commit, git, new_checkout
from tests.support.project import KEY, ProjectFolder
from tests.support.repositories import new_origin

# Every setting by which git runs something; `TRAP` is a program.
SETTINGS = (
    *("core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "core.askPass", "core.gitProxy"),
    *("core.alternateRefsCommand", "credential.helper", "diff.external", "diff.x.textconv", "diff.x.command"),
    *("filter.x.clean", "filter.x.smudge", "filter.x.process", "merge.x.driver", "interactive.diffFilter"),
    *("gpg.program", "gpg.openpgp.program", "gpg.ssh.program", "gpg.x509.program", "gpg.ssh.defaultKeyCommand"),
    *("pager.ls-tree", "pager.blame", "pager.cat-file", "alias.ls-tree", "alias.cat-file", "sequence.editor"),
    *("uploadpack.packObjectsHook", "remote.origin.uploadpack", "remote.origin.receivepack", "remote.origin.vcs"),
    *("url.ext::TRAP.insteadOf", "tar.tgz.command", "browser.x.cmd", "trailer.x.command"),
)
HOOKS = (
    "pre-commit",
    "post-checkout",
    "post-index-change",
    "reference-transaction",
    "pre-push",
    "post-rewrite",
    "fsmonitor-watchman",
)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A program that leaves `sprung` beside it."""
    path = tmp_path / "trap"
    path.write_text(f"#!/bin/sh\ntouch '{tmp_path}/sprung'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def is_sprung(trap: Path) -> bool:
    return trap.with_name("sprung").exists()


def hostile(root: Path, trap: Path) -> None:
    """A checkout that runs the trap wherever git can be told to run something, by its own configuration or an included one."""
    (root / ".gitattributes").write_text("* filter=x diff=x merge=x export-subst\n", encoding="utf-8")
    commit(root)
    included = root / ".git" / "included"
    for name in SETTINGS:
        git(root, "config", "--file", str(included), name.replace("TRAP", str(trap)), str(trap))
    for name in ("log.showSignature", "extensions.worktreeConfig", "protocol.ext.allow", "submodule.recurse"):
        git(root, "config", "--file", str(included), name, "always" if name.startswith("protocol") else "true")
    git(root, "config", "include.path", str(included))
    hooks = root.parent / "hooks"
    hooks.mkdir()
    for folder in (root / ".git" / "hooks", hooks):
        folder.mkdir(exist_ok=True)
        for hook in HOOKS:
            shutil.copy(trap, folder / hook)
    git(root, "config", "core.hooksPath", str(hooks))
    git(root, "config", "remote.origin.url", f"ext::{trap}")


def test_a_hostile_checkout_runs_nothing(project: ProjectFolder, platform: SimulatedPlatform, trap: Path) -> None:
    """No command runs what a checkout's configuration, attributes or hooks name, nor what its remote's address does."""
    project.init("alpha", "beta")
    new_checkout(project.root)
    commit(project.root)
    project.deploy("alpha", temperature=2)
    hostile(project.root, trap)
    project.apply("--allow-mass-change").ended(0)
    for arguments in (
        *(
            ("plan",),
            ("plan", "-v", "--ref", "HEAD"),
            ("plan", "--base", "HEAD~1"),
            ("plan", "--ref", "HEAD", "--require-signed"),
        ),
        *(("status",), ("explain", "production/alpha"), ("doctor",), ("fmt", "--check"), ("validate",)),
        *(
            ("history",),
            ("history", "production/alpha", "--values"),
            ("rollback", "production/alpha", "--to", "HEAD~1"),
        ),
        *(("--state", "git:reconciler-state", "init"), ("--state", "git:reconciler-state", "status")),
    ):
        shown = project.run(*arguments)
        assert shown.code in {0, 3, 4, 5, 6, 8, 64}, shown
        assert not is_sprung(trap), arguments
    git(project.root, "config", "--unset", "include.path")
    subprocess.run([trap], check=True)
    assert is_sprung(trap)


def test_a_signature_is_not_checked_by_the_checkouts_program(project: ProjectFolder, trap: Path) -> None:
    """A commit with a signature is not believed because the checkout's configuration names a program that says yes."""
    project.init("alpha")
    new_checkout(project.root)
    name = commit(project.root)
    said = git(project.root, "cat-file", "commit", name)
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n aGVsbG8=\n -----END PGP SIGNATURE-----\n"
    signed = said.replace("\n\n", f"\n{signature}\n", 1)
    signed_name = write_object(project.root, "commit", signed.encode())
    git(project.root, "update-ref", "HEAD", signed_name)
    yes = (
        trap.read_text() + "echo '[GNUPG:] GOODSIG A A' >&2; echo '[GNUPG:] GOODSIG A A'; echo '[GNUPG:] TRUST_FULLY'\n"
    )
    trap.write_text(yes, encoding="utf-8")
    for setting in ("gpg.program", "gpg.openpgp.program", "gpg.ssh.program"):
        git(project.root, "config", setting, str(trap))
    project.run("plan", "--ref", "HEAD", "--require-signed").ended(5)
    assert not is_sprung(trap)
    subprocess.run(["git", "-C", str(project.root), "verify-commit", "HEAD"], env=project.variables, check=False)
    assert is_sprung(trap), "git itself would have run it"


def test_a_missing_file_is_not_fetched(tmp_path: Path, trap: Path) -> None:
    """A checkout that promises its files from an address which runs a command is told of as incomplete."""
    root = new_checkout(tmp_path / "checkout")
    (root / "manifests").mkdir()
    (root / "manifests/a.yaml").write_text("a: 1\n", encoding="utf-8")
    name = commit(root)
    blob = git(root, "rev-parse", "HEAD:manifests/a.yaml").strip()
    (root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for setting, value in (
        *(
            ("core.repositoryFormatVersion", "1"),
            ("extensions.partialClone", "origin"),
            ("remote.origin.promisor", "true"),
        ),
        *(("remote.origin.url", f"ext::{trap}"), ("protocol.ext.allow", "always"), ("protocol.allow", "always")),
    ):
        git(root, "config", setting, value)
    with pytest.raises(SourceError, match="has not got"):
        manifests_at(root, name, ["manifests"], [])
    assert not is_sprung(trap)
    git(root, "cat-file", "--batch-check=%(objecttype)", "--batch-all-objects")
    subprocess.run(["git", "-C", str(root), "cat-file", "-p", blob], capture_output=True, check=False)
    assert is_sprung(trap), "git itself would have run it"


def write_object(root: Path, kind: str, data: bytes) -> str:
    """Whatever it is: git checks nothing here."""
    command = ["git", "-C", str(root), "hash-object", "-t", kind, "-w", "--stdin", "--literally"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode().strip()


def tree(root: Path, entries: Iterable[tuple[bytes, bytes, str]]) -> str:
    """A tree of mode, name and object, in this order."""
    return write_object(
        root, "tree", b"".join(b"%s %s\0" % (mode, name) + bytes.fromhex(to) for mode, name, to in entries)
    )


FILE, FOLDER, LINK, MODULE = b"100644", b"40000", b"120000", b"160000"


def commit_of(root: Path, entries: Iterable[tuple[bytes, bytes, str]]) -> str:
    """A commit whose folder `manifests` has these entries."""
    top = tree(root, [(FOLDER, b"manifests", tree(root, entries))])
    return write_object(
        root, "commit", f"tree {top}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nm\n".encode()
    )


def test_trees_that_git_would_not_write(tmp_path: Path) -> None:
    """Names that lead elsewhere, stand twice or cannot be checked out are told of or left out, never read as something else."""
    root = new_checkout(tmp_path / "checkout")
    good, other = (write_object(root, "blob", text) for text in (b"good: 1\n", b"other: 1\n"))
    inner = tree(root, [(FILE, b"x.yaml", good)])
    cases: tuple[tuple[list[tuple[bytes, bytes, str]], set[str], set[str]], ...] = (
        ([(FOLDER, b"..", inner)], set(), {"RC102", "RC101"}),
        ([(FOLDER, b".git", inner)], set(), {"RC102", "RC101"}),
        ([(FOLDER, b".", inner)], set(), {"RC102", "RC101"}),
        ([(FILE, b"/etc/x.yaml", good)], set(), {"RC102"}),
        ([(FILE, b"a.yaml", good), (FILE, b"a.yaml", other)], set(), {"RC102"}),
        ([(FILE, b"a.yaml", good), (FOLDER, b"a.yaml", inner)], {"manifests/a.yaml", "manifests/a.yaml/x.yaml"}, set()),
        ([(FILE, b"a\nb.yaml", good)], {"manifests/a\nb.yaml"}, set()),
        ([(FILE, b"a\xff.yaml", good)], set(), {"RC102"}),
        ([(FILE, b"-rf.yaml", good)], {"manifests/-rf.yaml"}, set()),
        ([(LINK, b"a\nb", write_object(root, "blob", b".."))], set(), {"RC102", "RC101"}),
        ([(LINK, b"a.yaml", write_object(root, "blob", b"../../outside"))], set(), {"RC102"}),
        ([(MODULE, b"a.yaml", good)], set(), {"RC103"}),
        ([(b"100777", b"a.yaml", good), (b"140000", b"s.yaml", good)], {"manifests/a.yaml"}, {"RC103"}),
    )
    for entries, read, said in cases:
        name = commit_of(root, [(FILE, b"0.yaml", good), *entries])
        try:
            files, found = manifests_at(root, name, ["manifests"], [])
        except SourceError:
            continue  # git itself would not look at it
        assert {file.path for file in files} - {"manifests/0.yaml"} <= read, entries
        assert {one.code for one in found} <= said, (entries, found)
        assert read or said & {one.code for one in found} or b"." in entries[0][1][:1], entries
        for one in found:
            check_text(one.message)


def test_a_tree_without_an_end(tmp_path: Path) -> None:
    """A few small trees that stand in each other a thousand million times are refused; nobody waits for their names."""
    root = new_checkout(tmp_path / "checkout")
    inner = write_object(root, "blob", b"x")
    for mode in (FILE, *[FOLDER] * 5):
        inner = tree(root, [(mode, b"%02d" % number + b"x" * 200, inner) for number in range(32)])
    name = commit_of(root, [(FOLDER, b"all", inner)])
    with pytest.raises(SourceError, match="too many"):
        manifests_at(root, name, ["manifests"], [])


@pytest.mark.parametrize(
    "ref",
    [
        "-x",
        "--upload-pack=touch x",
        "--output=x",
        "HEAD\n--batch-all-objects",
        "HEAD\0",
        "\udcff",
        "@{-1}",
        "HEAD^{/",
        "a..b",
        "x" * 100_000,
        ":/",
    ],
)
def test_refs_are_names_only(ref: str, tmp_path: Path) -> None:
    """What is named reaches git as one name, never as an option or a second question."""
    root = new_checkout(tmp_path / "checkout")
    commit(root)
    with pytest.raises(SourceError):
        find_commit(root, ref)
    assert sorted(path.name for path in root.iterdir()) == [".git"]


@pytest.mark.parametrize(
    "url",
    [
        *("ext::TRAP", "ext::sh -c TRAP", "fd::3", "--upload-pack=TRAP", "-oProxyCommand=TRAP", "transport::TRAP"),
        *(
            "ssh://-oProxyCommand=TRAP/x",
            "ssh://a;TRAP/x",
            "ftp://a/x",
            "-oProxyCommand=TRAP:x",
            "git@-oProxyCommand=TRAP:x",
        ),
        *("https://127.0.0.1:1/x", "file:///nowhere", "\x1b]0;x\x07", "https://user:secret-canary@127.0.0.1:1/x"),
    ],
)
def test_addresses(url: str, tmp_path: Path, trap: Path) -> None:
    """No address of a repository runs a command or shows its password; each ends in words."""
    remote = Remote(
        url=url.replace("TRAP", str(trap)), ref="main", cache=tmp_path / "cache", environ={"PATH": "/usr/bin:/bin"}
    )
    with pytest.raises(ReconcilerError) as refused:
        remote.fetch()
    assert isinstance(refused.value, SourceError | UsageError)
    assert "secret-canary" not in str(refused.value)
    assert not is_sprung(trap)


def test_git_does_not_get_the_key(project: ProjectFolder, platform: SimulatedPlatform) -> None:
    """Neither git nor what it runs finds the API key or another secret of ours among its variables or arguments."""
    origin = new_origin(project.root.parent)
    project.init("alpha")
    new_checkout(project.root)
    commit(project.root)
    git(project.root, "remote", "add", "origin", f"file://{origin}")
    path = watched_git(project.root.parent / "bin")
    project.environ |= {
        "PATH": f"{path}:/usr/bin:/bin",
        "ANOTHER": f"Bearer {KEY}",
        "SSH_AUTH_SOCK": "/kept",
        **GIT_VARIABLES,
    }
    state = ("--state", "git:reconciler-state")
    project.run(*state, "init").ended(0)
    project.run(*state, "apply", "--yes").ended(0)
    project.run(*state, "history", "--values", "production/alpha").ended(0)
    project.run("plan", "--ref", "HEAD", "--base", "HEAD").ended(0)
    project.environ |= {"WEBHOOK": "secret-of-the-webhook", "TOKEN": "token-of-the-page"}
    watch = ("watch", "--once", "--listen", "none", "--token", "env:TOKEN", "--webhook-secret", "env:WEBHOOK")
    project.run(
        *("--project", str(project.root / "reconciler.yaml")),
        *watch,
        "--git",
        f"file://{project.root}",
        "--ref",
        "main",
    )
    noted = (project.root.parent / "git.noted").read_bytes()
    assert {b"push", b"fetch", b"cat-file", b"blame"} <= set(noted.split(b"\0"))
    assert b"SSH_AUTH_SOCK=/kept" in noted
    assert found_in(noted, KEY) == []
    assert b"PRODUCTION_API_KEY" not in noted
    assert b"secret-of-the-webhook" not in noted
    assert b"token-of-the-page" not in noted
    assert look_through(project.root, KEY).files > 10
    assert look_through(origin, KEY).files > 5
