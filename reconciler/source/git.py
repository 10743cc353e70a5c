"""Files of any commit, read from git's objects: the checkout, the index and the network are not touched.

`wiring` calls it for `plan --ref` and `--base`; `provenance` asks with the same `Git`. Only git's plumbing runs (`cat-file`,
`config`, `ls-tree`, `merge-base`, `symbolic-ref`, `verify-commit`), with an argument vector: no shell, hook, filter, pager, file
monitor or fetch. What the user names reaches git on standard input, never as an option.

What is read is what `source.directory` reads, with one difference: links lead nowhere. One that a checkout would follow is
an error, because what it leads to would be missing without a word.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from posixpath import normpath

from reconciler.diagnostics import Diagnostic, Position, in_order
from reconciler.errors import GuardError, SourceError
from reconciler.load.guard import MAX_BYTES
from reconciler.model.snapshot import Provenance, SourceFile
from reconciler.model.text import one_line
from reconciler.source.directory import CHECK_EMPTY, CHECK_FOLDERS, ENDINGS, PROJECT_FILE
from reconciler.source.globs import matcher

TIMEOUT = 10.0  # seconds for each question; they take milliseconds
READING = 120.0  # seconds for reading a whole estate
MAX_LISTING = (
    64 * 1024 * 1024
)  # bytes; half a million files. A tree that holds itself many times over has more of them than atoms
MAX_ARGUMENTS = 200  # folders and files named to git; beyond, the whole tree is listed
MAX_WORDS = 300  # characters of git's own words that are shown

# Belt and braces: none of these should come into play with plumbing.
_SAFE = ("-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never", "-c", "core.askPass=")
# What git needs to be found and to find its owner's configuration; no API key, and no GIT_*, which would point it at another
# repository (in a hook, say).
_INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SUDO_UID",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "GNUPGHOME",
    "LD_LIBRARY_PATH",
)
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "",  # none; `protocol.ext.allow` in a checkout's configuration would be above protocol.allow
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C",
}
_PERSON = re.compile(r"(?P<who>.*) (?P<at>[0-9]{1,12}) (?P<sign>[+-])(?P<hours>[0-9]{2})(?P<minutes>[0-9]{2})\Z")
_FETCH = (
    "Fetch it first: `git fetch origin`, in CI with the whole history (fetch-depth: 0, GIT_DEPTH: 0) and no filter."
)
# Who checks signatures: what git calls the setting, where else it may stand, and what is usual.
_PROGRAMS = (
    ("gpg.openpgp.program", ("gpg.openpgp.program", "gpg.program"), "gpg"),
    ("gpg.x509.program", ("gpg.x509.program",), "gpgsm"),
    ("gpg.ssh.program", ("gpg.ssh.program",), "ssh-keygen"),
)
LINK, _SUBMODULE = b"120000", b"160000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """One file in a commit. `size` is None where it was not asked for."""

    path: bytes
    mode: bytes
    name: str
    size: int | None = None


class Git:
    """The git command in one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def commit(self, ref: str = "HEAD") -> tuple[str, Mapping[str, str]] | None:
        """Name and headers of the commit that a ref means; None when there is none."""
        if not ref or any(char in ref for char in "\n\0"):
            return None
        answer = self.ask("cat-file", "--batch", given=os.fsencode(f"{ref}^{{commit}}\n"))
        first, _, rest = (answer or b"").partition(b"\n")
        match = re.match(rb"([0-9a-f]{40,64}) commit ([0-9]+)\Z", first)
        if match is None:
            return None
        text = rest[: int(match[2])].decode("utf-8", "replace").partition("\n\n")[0]
        lines = (line.partition(" ") for line in text.split("\n") if not line.startswith(" "))
        return match[1].decode(), {key: value for key, _, value in lines}

    def branch(self) -> str | None:
        """None when a commit is checked out without a branch, as CI does."""
        answer = self.ask("symbolic-ref", "--quiet", "--short", "HEAD")
        return answer.decode("utf-8", "replace").strip() or None if answer else None

    def origin(self) -> str | None:
        """The address that the checkout was cloned from, as its configuration has it."""
        answer = self.ask("config", "--get", "remote.origin.url")
        return answer.decode("utf-8", "replace").strip() or None if answer else None

    def tree(self, commit: str, paths: Sequence[str], *, sizes: bool = False) -> tuple[Blob, ...] | None:
        """Every file of a commit at or below the paths, which are relative to the root; None when git cannot say, or not end."""
        named = paths if len(paths) <= MAX_ARGUMENTS else ()
        long = ("-l",) if sizes else ()
        answer = self._listing("ls-tree", "-r", "-z", *long, commit, "--", *named)
        return None if answer is None else tuple(map(_blob, filter(None, answer.split(b"\0"))))

    def ask(self, *arguments: str, given: bytes = b"", timeout: float = TIMEOUT) -> bytes | None:
        """What git answers; None when it cannot be run, refuses or takes too long."""
        code, answer, _ = self.run(*arguments, given=given, timeout=timeout)
        return answer if code == 0 else None

    def run(self, *arguments: str, given: bytes = b"", timeout: float = TIMEOUT) -> tuple[int | None, bytes, str]:
        """Exit code, answer and words of git; the code is None when it cannot be run or takes too long."""
        import subprocess

        command, environment = self._call(arguments)
        try:
            done = subprocess.run(  # noqa: S603 - argv, no shell; git as PATH says is what users expect
                command, env=environment, input=given, capture_output=True, timeout=timeout, check=False
            )
        except FileNotFoundError:
            return None, b"", "git is not installed"
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return None, b"", type(error).__name__
        return done.returncode, done.stdout, one_line(done.stderr.decode("utf-8", "replace"), MAX_WORDS)

    def _listing(self, *arguments: str) -> bytes | None:
        """As `ask`, for an answer that may have no end."""
        import subprocess
        from threading import Timer

        command, environment = self._call(arguments)
        try:
            with subprocess.Popen(  # noqa: S603 - as above
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                late = Timer(READING, process.kill)
                late.start()
                answer = process.stdout.read(MAX_LISTING + 1) if process.stdout else b""
                late.cancel()
                if len(answer) > MAX_LISTING:
                    process.kill()
        except (OSError, ValueError):
            return None
        return answer if process.returncode == 0 and len(answer) <= MAX_LISTING else None

    def _call(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        environment = {key: os.environ[key] for key in _INHERITED if key in os.environ} | _ENVIRONMENT
        command = ["git", "--no-pager", "--literal-pathspecs", "-C", os.fspath(self._root), *_SAFE, *arguments]
        return command, environment


def find_commit(root: Path, ref: str) -> Provenance:
    """The commit that a ref means. Raises SourceError when there is none in this repository."""
    git = Git(root)
    found = git.commit(ref)
    if found is None:
        code, _, words = git.run("rev-parse", "--git-dir")
        if code != 0:
            raise SourceError(
                f"{root} is not in a git repository that can be read: {words}.", next_step="Run it in a checkout."
            )
        raise SourceError(f"There is no commit {ref!r} in this repository.", next_step=_FETCH)
    return provenance_from(*found, branch=None, dirty=False)


def provenance_from(commit: str, headers: Mapping[str, str], *, branch: str | None, dirty: bool | None) -> Provenance:
    """What a commit's headers say."""
    author, _ = _person(headers.get("author", ""))
    _, committed_at = _person(headers.get("committer", ""))
    return Provenance(commit=commit, author=author, committed_at=committed_at, branch=branch, dirty=dirty)


def common_commit(root: Path, one: str, other: str) -> str:
    """The newest commit that two commits, given by name, have in their history. Raises SourceError when none is here."""
    answer = Git(root).ask("merge-base", one, other)
    if not answer:
        raise SourceError(f"{one[:12]} and {other[:12]} have no commit in common in this clone.", next_step=_FETCH)
    return answer.decode().split()[0]


def commits_ahead(root: Path, base: str, head: str) -> int:
    """How many commits a base has, given by name, that a head has not; 0 also where git cannot say."""
    answer = Git(root).ask("rev-list", "--count", base, f"^{head}", "--")
    return int(answer) if answer and answer.strip().isdigit() else 0


def refuse_unsigned(root: Path, commit: str) -> None:
    """Raises GuardError for a commit whose signature git cannot verify with the keys that it is configured to trust."""
    git = Git(root)
    code, _, words = git.run(*_owners_programs(git), "verify-commit", commit)
    if code != 0:
        raise GuardError(
            f"The signature of commit {commit[:12]} cannot be verified: {words or 'it has none'}.",
            next_step="Sign it, or give git the signer's key (gpg's keyring, or gpg.ssh.allowedSignersFile).",
        )


def _owners_programs(git: Git) -> Iterator[str]:
    """The programs that check signatures, as the user and the system name them; a checkout cannot name another one."""
    for setting, names, usual in _PROGRAMS:
        asked = (("config", scope, "--includes", "--get", name) for name in names for scope in ("--global", "--system"))
        named = next((answer for one in asked if (answer := git.ask(*one))), usual.encode())
        yield from ("-c", f"{setting}={os.fsdecode(named).strip()}")


def project_at(root: Path, commit: str, name: str = PROJECT_FILE) -> SourceFile | None:
    """The project file of a commit; None when it has none. Raises SourceError when it cannot be read."""
    git = Git(root)
    for blob in _listed(git, commit, (name,)):
        if os.fsdecode(blob.path) == name:
            _must_be_a_file(blob, name)
            ((_, data),) = _contents(git, [blob])
            return SourceFile(path=name, data=data)
    return None


def manifests_at(
    root: Path, commit: str, folders: Iterable[str], ignore: Iterable[str], *, project: str = PROJECT_FILE
) -> tuple[tuple[SourceFile, ...], tuple[Diagnostic, ...]]:
    """Every manifest file of a commit below the folders, sorted by path, and what could not be read.

    Raises SourceError when git cannot say.
    """
    git = Git(root)
    walk = _Walk(git, commit, is_ignored=matcher(ignore), project=project)
    for folder in dict.fromkeys(folders):
        walk.start(folder)
    walk.refuse_links_to_folders()
    files = tuple(SourceFile(path=os.fsdecode(blob.path), data=data) for blob, data in _contents(git, walk.chosen))
    return files, in_order(walk.found)


class _Walk:
    """One look at the folders of a commit."""

    def __init__(self, git: Git, commit: str, *, is_ignored: Callable[[str], bool], project: str) -> None:
        self._git, self._commit = git, commit
        self._is_ignored, self._project = is_ignored, project
        self._blobs: dict[str, Blob] = {}
        self._twice: set[str] = set()
        self._links: list[str] = []
        self.found: list[Diagnostic] = []

    @property
    def chosen(self) -> list[Blob]:
        return [self._blobs[path] for path in sorted(self._blobs.keys() - self._twice)]

    def start(self, folder: str) -> None:
        """Take what lies in one of the folders that the project names."""
        top = normpath(folder) if "\0" not in folder else ""
        if top.startswith(("/", "../")) or top == "..":
            self._say(top, "RC104", f"{folder} leads out of the project's folder")
            return
        listed = _listed(self._git, self._commit, () if top == "." else (top,)) if top else ()
        for blob in listed:
            self._look(os.fsdecode(blob.path), top, blob)
        if not listed:
            self._say(top, "RC101", f"there is no folder {folder!r} in the commit", suggestion=CHECK_FOLDERS)
        elif not any(_is_below(path, top) for path in (*self._blobs, *self._said())):
            self._say(top, "RC101", f"there is no *.yaml or *.yml file in {folder}", suggestion=CHECK_EMPTY)

    def refuse_links_to_folders(self) -> None:
        """A checkout would read what lies behind them."""
        where = self._git.ask("rev-parse", "--show-prefix") or b""
        for path in (path for path in self._links if "\n" in path):  # which cannot be asked about
            self._refuse_link(path)
        names = [path for path in self._links if "\n" not in path]
        asked = b"".join(
            b"%s:%s%s\n" % (self._commit.encode(), where.rstrip(b"\n"), os.fsencode(path)) for path in names
        )
        answer = self._git.ask("cat-file", "--batch-check", "--follow-symlinks", given=asked) if names else b""
        for path, line in zip(names, _answers(answer or b""), strict=False):
            if line.split(b" ")[1:2] == [b"tree"]:
                self._refuse_link(path)

    def _look(self, path: str, top: str, blob: Blob) -> None:
        if path == top:  # not a folder in this commit
            if blob.mode == LINK:
                self._refuse_link(path)
            else:
                self._say(path, "RC101", f"{path} is not a folder", suggestion=CHECK_FOLDERS)
        elif self._is_skipped(path, top):
            return
        elif blob.mode == _SUBMODULE:
            self._say(path, "RC103", "a submodule is not read", allowed="a regular file")
        elif not path.endswith(ENDINGS):
            if blob.mode == LINK:
                self._links.append(path)
        elif (odd := self._odd_name(path, blob)) is not None:
            self._say(path, "RC102", odd)
        elif blob.mode == LINK:
            self._refuse_link(path)
        elif (blob.size or 0) > MAX_BYTES:
            allowed = f"at most {MAX_BYTES:,} bytes"
            self._say(path, "RC202", f"the file has {blob.size:,} bytes or more", allowed=allowed)
        else:
            self._blobs[path] = blob

    def _odd_name(self, path: str, blob: Blob) -> str | None:
        """What is wrong with a name; trees that git itself would not write may come from anywhere."""
        if not _is_text(path):
            return "its name is not UTF-8"
        if not all(path.split("/")):
            return "no checkout can have a file of that name"
        if self._blobs.get(path, blob) != blob:
            self._twice.add(path)
            return "the commit has two files of that name"
        return None

    def _is_skipped(self, path: str, top: str) -> bool:
        """The project file, hidden names below the folder, and what is ignored, with everything in an ignored folder."""
        if path == self._project:
            return True
        inside = path if top == "." else path[len(top) + 1 :]
        if inside.startswith(".") or "/." in inside:
            return True
        begin = len(path) - len(inside)
        ends = (at for at in range(begin, len(path)) if path[at] == "/")
        return self._is_ignored(path) or any(self._is_ignored(path[:end]) for end in ends)

    def _refuse_link(self, path: str) -> None:
        message = "links are not followed when a commit is read"
        self._say(path, "RC102", message, suggestion="Put the file itself there.")

    def _said(self) -> Iterator[str]:
        return (one.position.file for one in self.found if one.position)

    def _say(
        self, path: str, code: str, message: str, *, allowed: str | None = None, suggestion: str | None = None
    ) -> None:
        printable = os.fsencode(path).decode("utf-8", "backslashreplace")
        position = Position(file=printable)
        self.found.append(
            Diagnostic(code=code, message=message, position=position, allowed=allowed, suggestion=suggestion)
        )


def _listed(git: Git, commit: str, paths: Sequence[str]) -> tuple[Blob, ...]:
    listed = git.tree(commit, paths, sizes=True)
    if listed is None:
        raise SourceError(
            f"git has not got all files of commit {commit[:12]}, or they are too many to be listed.",
            next_step=_FETCH,
        )
    return listed


def _must_be_a_file(blob: Blob, name: str) -> None:
    if blob.mode in {LINK, _SUBMODULE}:
        raise SourceError(f"The project file {name} is not a regular file in the commit.")
    if (blob.size or 0) > MAX_BYTES:
        raise SourceError(f"The project file {name} is larger than {MAX_BYTES:,} bytes.")


def _contents(git: Git, blobs: Sequence[Blob]) -> Iterator[tuple[Blob, bytes]]:
    """What is in the files, all in one question."""
    if not blobs:
        return
    asked = b"".join(f"{blob.name}\n".encode() for blob in blobs)
    answer = git.ask("cat-file", "--batch", given=asked, timeout=READING)
    at = 0
    for blob in blobs:
        end = answer.find(b"\n", at) if answer is not None else -1
        head = answer[at:end].split(b" ") if answer is not None and end >= 0 else []
        if answer is None or head[1:2] != [b"blob"]:
            where = os.fsencode(blob.path).decode("utf-8", "backslashreplace")
            raise SourceError(f"git has not got what is in {where} of that commit.", next_step=_FETCH)
        at = end + 1 + int(head[2])
        yield blob, answer[end + 1 : at]
        at += 1


def _answers(answer: bytes) -> Iterator[bytes]:
    """The lines of `--batch-check --follow-symlinks`; those about links have a second line, the path."""
    lines = iter(answer.split(b"\n"))
    for line in lines:
        if line.startswith((b"symlink ", b"dangling ", b"loop ", b"notdir ")):
            next(lines, b"")
        yield line


def _blob(line: bytes) -> Blob:
    about, _, path = line.partition(b"\t")
    mode, _, name, *size = about.split()
    return Blob(path=path, mode=mode, name=name.decode(), size=int(size[0]) if size and size[0].isdigit() else None)


def _is_below(path: str, folder: str) -> bool:
    return folder in {".", path} or path.startswith(f"{folder}/")


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _person(text: str) -> tuple[str | None, datetime | None]:
    """`Name <mail> 1700000000 +0100` -> who and when."""
    match = _PERSON.match(text)
    if match is None:
        return None, None
    offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
    try:
        zone = timezone(-offset if match["sign"] == "-" else offset)
        return match["who"], datetime.fromtimestamp(int(match["at"]), zone)
    except (ValueError, OverflowError, OSError):  # a zone or a year that no clock shows
        return match["who"], None
