"""One branch of a git repository elsewhere: read its tip, put a commit on it if it has not moved. For the store `git`.

Works with git's plumbing in a bare repository of its own, in the system's folder for temporary files: the checkout that it
was started in lends its remote's address and its credentials, and is otherwise left alone: no index, HEAD, ref, object or hook
of it is touched. argv only, no shell, no hook, no prompt, no protocol that runs a command, and a time limit on everything.
What git says is shown without the credentials that an address may hold.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.errors import AuthenticationError, ReconcilerError, StateError, TlsTrustError, UsageError
from reconciler.state.address import without_credentials
from reconciler.state.patience import GLANCE, TOO_LATE, Patience

LOCAL_SECONDS = 30.0  # for what needs no network; it takes milliseconds
REMOTE_SECONDS = 30.0  # for one exchange with the remote, which has little to say
HISTORY = 200  # commits fetched to find out whether a push whose answer was lost got there

REMOTE = "state"
_TIP = "refs/reconciler/tip"
_NEXT = "refs/reconciler/next"

_USABLE_BRANCH = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock(?:/|\Z)|/\.|\.\Z|/\Z))[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}\Z")
_SCP = re.compile(r"(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9._-]+:(?!/?/)[^:\s-][^:\s]*\Z")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# From the checkout's own configuration: how to get through to the remote, and nothing else.
_LENT = re.compile(r"(?:http\.|credential\.|ssh\.|core\.(?:sshcommand|gitproxy|askpass)\Z)")
# From the process environment: the same. Other GIT_* variables would point git at another repository.
_KEPT = re.compile(r"GIT_(?:ASKPASS|SSH|SSH_COMMAND|SSH_VARIANT|SSL_\w+|PROXY_SSL_\w+|HTTP_\w+|CONFIG_\w+)\Z")
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GCM_INTERACTIVE": "never",
    "SSH_ASKPASS_REQUIRE": "never",
    "LC_ALL": "C",
}
_PLAIN = {  # last, so that nothing that was lent overrides it
    "core.hookspath": "/dev/null",
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "protocol.ssh.allow": "always",
    "protocol.http.allow": "always",
    "push.gpgsign": "false",
    "push.followtags": "false",
    "http.lowspeedlimit": "1",
    "http.lowspeedtime": "20",
    "transfer.credentialsinurl": "allow",
}


class Pushed(Enum):
    """What became of a push."""

    DONE = "done"
    REFUSED = "refused"  # certainly not done: the branch had moved before anything was sent
    REJECTED = "rejected"  # the remote said no; to what curl sent again after a lost answer, when the first one counted
    UNKNOWN = "unknown"  # no answer that says either


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """`said` is git's own word on it."""

    what: Pushed
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A git command that did not end well."""

    said: str
    timed_out: bool = False


class GitFailed(StateError):
    """Git refused, or could not get through. `said` is its word."""

    def __init__(self, message: str, failure: Failure, *, next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.failure = failure


def check_branch(branch: str) -> str:
    """The branch. Raises UsageError for a name that git does not take, or that could be taken for an option."""
    if not _USABLE_BRANCH.match(branch):
        raise UsageError(f"state: {branch!r} is no name for a branch.", next_step="For example git:reconciler-state.")
    return branch


def check_url(url: str) -> str:
    """An address that is written down in the project file: https, ssh, or plain http to this machine. Raises UsageError."""
    parts = urlsplit(url)
    allowed = parts.scheme in {"https", "ssh"} or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if (allowed and parts.hostname and not parts.hostname.startswith("-")) or _SCP.match(url):
        return url
    raise UsageError(
        f"state: {without_credentials(url)!r} is no address of a git repository that is spoken to.",
        next_step="Write git:https://host/path.git#BRANCH or git:ssh://git@host/path.git#BRANCH.",
    )


class GitRemote:
    """The branch `branch` at `url`, or at the remote `origin` of the checkout that `checkout` lies in.

    Not safe to share between threads; its owner sees to that.
    """

    def __init__(self, checkout: Path, branch: str, url: str | None, environ: Mapping[str, str]) -> None:
        self.branch = check_branch(branch)
        self._checkout = checkout
        self._named = None if url is None else check_url(url)
        self._environ = {k: v for k, v in environ.items() if not k.startswith("GIT_") or _KEPT.match(k)} | _ENVIRONMENT
        self._folder: str | None = None
        self._patience = Patience()
        self.fetched: str | None = None  # what the last fetch brought

    def hurry(self, seconds: float) -> None:
        """Exchanges with the remote, that under way included, are given up when so much time has passed."""
        self._patience.ends_in(seconds)

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"

    @property
    def shown(self) -> str:
        """Where it is, for people."""
        where = "" if self._named is None else f"{without_credentials(self._named)}#"
        return f"git:{where}{self.branch}"

    # Reading

    def fetch(self, depth: int = 1) -> str | None:
        """The branch's newest commit, fetched; None when there is no such branch. Raises StateError, AuthenticationError."""
        arguments = ("--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--quiet", f"--depth={depth}")
        answer = self._exchange("fetch", *arguments, REMOTE, f"+{self.ref}:{_TIP}")
        if not isinstance(answer, Failure):
            self.fetched = self._ask("rev-parse", "--verify", _TIP).decode().strip()
            return self.fetched
        if "couldn't find remote ref" in answer.said:
            return None
        raise self._failure("read", answer)

    def files(self, commit: str, folder: str) -> dict[str, str]:
        """Path below the folder -> blob, of a commit that was fetched."""
        found = {}
        for line in self._ask("ls-tree", "-r", "-z", "--full-tree", commit, "--", f"{folder}/").split(b"\0"):
            about, tab, path = line.partition(b"\t")
            if tab and about.startswith(b"100"):
                found[os.fsdecode(path).removeprefix(f"{folder}/")] = about.split(b" ")[2].decode()
        return found

    def folders(self, commit: str) -> tuple[str, ...]:
        """The folders at the top."""
        lines = self._ask("ls-tree", "-d", "-z", "--name-only", "--full-tree", commit).split(b"\0")
        return tuple(sorted(os.fsdecode(line) for line in lines if line))

    def blobs(self, names: Sequence[str]) -> dict[str, bytes]:
        """The contents of blobs."""
        if not names:
            return {}
        answer = self._ask("cat-file", "--batch", given="".join(f"{name}\n" for name in names).encode())
        found, position = {}, 0
        for name in names:
            head, _, _ = answer[position : position + 200].partition(b"\n")
            about = head.split(b" ")
            if len(about) != 3 or about[1] != b"blob":  # noqa: PLR2004 - name, type, size
                raise StateError(f"git has no blob {name} of {self.shown}")
            start = position + len(head) + 1
            position = start + int(about[2]) + 1
            found[name] = answer[start : position - 1]
        return found

    # Writing

    def commit(self, parent: str | None, files: Mapping[str, bytes | None], message: str) -> str:
        """A commit on top of `parent`, here only: these files written, those that are None removed. Gives its name."""
        text = message.encode()
        parts = [
            b"commit %s\nmark :1\ncommitter reconciler <reconciler@localhost> now\n" % _NEXT.encode(),
            b"data %d\n%s\n" % (len(text), text),
            b"from %s\n" % parent.encode() if parent else b"",
        ]
        for path, data in sorted(files.items()):
            if data is None:
                parts.append(b"D %s\n" % path.encode())
            else:
                parts.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data))
        parts.append(b"\nget-mark :1\n")
        answer = self._ask("fast-import", "--quiet", "--force", "--date-format=now", given=b"".join(parts))
        return answer.decode().strip()

    def push(self, parent: str | None, commit: str) -> Push:
        """Make the commit the branch's newest, if `parent` still is (None: if there is no such branch)."""
        lease = f"--force-with-lease={self.ref}:{parent or ''}"
        arguments = ("--porcelain", "--no-verify", "--no-follow-tags", "--no-signed", "--recurse-submodules=no", lease)
        answer = self._exchange("push", *arguments, REMOTE, f"{commit}:{self.ref}")
        if not isinstance(answer, Failure):
            return Push(what=Pushed.DONE)
        said = re.search(rf"^!\t\S+:{re.escape(self.ref)}\t\[(remote )?rejected\]", answer.said, re.MULTILINE)
        if said is not None:
            return Push(what=Pushed.REJECTED if said[1] else Pushed.REFUSED, said=answer.said)
        if _is_auth(answer.said):
            raise self._failure("written", answer)
        return Push(what=Pushed.UNKNOWN, said=answer.said)

    def holds(self, commit: str, parent: str | None) -> bool | None:
        """Whether a commit that was pushed is part of the branch. None when that cannot be told."""
        if self.fetch(HISTORY) is None:
            return False
        known = self._ask("rev-list", f"--max-count={HISTORY}", _TIP).decode().split()
        if commit in known:
            return True
        reaches_back = parent in known if parent else len(known) < HISTORY
        return False if reaches_back else None

    # Git

    def _failure(self, what: str, failure: Failure) -> ReconcilerError:
        said = _last_words(failure.said)
        if _is_auth(failure.said):
            return AuthenticationError(
                f"{self.shown} cannot be {what}: {said}",
                next_step="The job needs the right to write to the repository: `permissions: contents: write` on GitHub; on"
                " GitLab a token with write_repository, or job-token pushes allowed. On a laptop: what `git push` needs.",
            )
        if "certificate" in failure.said or "SSL" in failure.said:
            return TlsTrustError(f"{self.shown} cannot be {what}: {said}", next_step="See http.sslCAInfo of git.")
        step = "Try `git ls-remote` in the same place; nothing was changed."
        return GitFailed(f"{self.shown} cannot be {what}: {said}", failure, next_step=step)

    def _ask(self, *arguments: str, given: bytes = b"") -> bytes:
        """Needs no network. Raises StateError."""
        answer = _git(("--git-dir", self._repository(), *arguments), self._environ, given, LOCAL_SECONDS)
        if isinstance(answer, Failure):
            raise GitFailed(
                f"git {arguments[0]} failed: {_last_words(answer.said)}", answer, next_step="Is the disk full?"
            )
        return answer

    def _exchange(self, *arguments: str) -> bytes | Failure:
        """With the remote, which may take its time, or never answer."""
        command = ("--git-dir", self._repository(), *arguments)
        return _git(command, self._environ, b"", REMOTE_SECONDS, self._patience)

    def _repository(self) -> str:
        """The bare repository, made when it is first needed and removed with this object."""
        if self._folder is not None:
            return self._folder
        settings = [*self._lent(), (f"remote.{REMOTE}.url", self._url()), *_PLAIN.items(), *self._files_too()]
        folder = tempfile.TemporaryDirectory(prefix="reconciler-git-", ignore_cleanup_errors=True)
        made = _git(("init", "--quiet", "--bare", "--template=", folder.name), self._environ, b"", LOCAL_SECONDS)
        if isinstance(made, Failure):
            folder.cleanup()
            raise GitFailed(f"git init failed: {_last_words(made.said)}", made, next_step="Is git 2.31 or newer there?")
        weakref.finalize(self, folder.cleanup)
        self._environ |= _as_variables(settings, self._environ)
        self._folder = folder.name
        return folder.name

    def _url(self) -> str:
        if self._named is not None:
            return self._named
        answer = _git(
            ("-C", os.fspath(self._checkout), "remote", "get-url", "--", "origin"), self._environ, b"", LOCAL_SECONDS
        )
        if isinstance(answer, Failure):
            raise StateError(
                f"state: {self.shown} means a branch of this repository's remote `origin`, and there is none:"
                f" {_last_words(answer.said)}",
                next_step="Run it in a checkout, or name the repository: git:https://host/path.git#BRANCH.",
            )
        return self._absolute(answer.decode().strip())

    def _absolute(self, url: str) -> str:
        """A path means what it means in the checkout, where git reads it from the top."""
        host, colon, _ = url.partition(":")
        if "://" in url or (colon and "/" not in host):
            return url
        command = ("-C", os.fspath(self._checkout), "rev-parse", "--show-toplevel")
        answer = _git(command, self._environ, b"", LOCAL_SECONDS)
        top = self._checkout if isinstance(answer, Failure) else Path(os.fsdecode(answer.rstrip(b"\n")))
        return str((top / url).resolve())

    def _files_too(self) -> Iterable[tuple[str, str]]:
        """A path only where the checkout's owner has set it as the remote, never where a project file says so."""
        return (("protocol.file.allow", "always"),) if self._named is None else ()

    def _lent(self) -> Iterable[tuple[str, str]]:
        """How the checkout gets through to its remote: CI systems keep the job's token there."""
        command = ("-C", os.fspath(self._checkout), "config", "--list", "--show-scope", "--includes", "-z")
        answer = _git(command, self._environ, b"", LOCAL_SECONDS)
        if isinstance(answer, Failure):
            return
        fields = answer.decode("utf-8", "surrogateescape").split("\0")
        for scope, setting in zip(fields[::2], fields[1::2], strict=False):
            key, _, value = setting.partition("\n")
            if scope in {"local", "worktree"} and _LENT.match(key):
                yield key, value


ENDLESS = Patience()


def _git(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    given: bytes,
    seconds: float,
    patience: Patience = ENDLESS,
) -> bytes | Failure:
    """What git answers on stdout. It runs in a session of its own: no terminal to ask on, and no Ctrl-C cuts a push."""
    try:
        process = subprocess.Popen(  # noqa: S603 - argv, no shell; git as PATH says is what users expect
            ("git", *arguments),  # noqa: S607 - as above
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        step = "Install git, or keep the state elsewhere."
        raise StateError(f"git cannot be run: {error.strerror}", next_step=step) from error
    answered = _communicate(process, given, seconds, patience)
    if answered is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Failure(said=TOO_LATE if patience.left <= 0 else f"no answer within {seconds:.0f} s", timed_out=True)
    out, err = answered
    if process.returncode == 0:
        return out
    said = (
        (out + b"\n" + err).decode("utf-8", "replace")
        if arguments[2:3] == ("push",)
        else err.decode("utf-8", "replace")
    )
    return Failure(said=without_credentials(said.strip()))


def _communicate(
    process: subprocess.Popen[bytes], given: bytes, seconds: float, patience: Patience
) -> tuple[bytes, bytes] | None:
    """What it says, all of it; None when it takes too long, or patience ends meanwhile, which is looked at now and then.

    Not where something is given: `communicate` forgets what it has not written yet when it is called again.
    """
    until = time.monotonic() + seconds
    glance = seconds if given else GLANCE
    said: bytes | None = given
    while (left := min(until - time.monotonic(), patience.left)) > 0:
        try:
            return process.communicate(said, timeout=min(left, glance))
        except subprocess.TimeoutExpired:
            said = None
    return None


def _as_variables(settings: Iterable[tuple[str, str]], environ: Mapping[str, str]) -> dict[str, str]:
    """Settings as variables, after those that are there already: nobody else can read them, as they could in argv."""
    first = int(environ.get("GIT_CONFIG_COUNT") or 0)
    variables = {}
    number = first
    for number, (key, value) in enumerate(settings, first + 1):
        variables[f"GIT_CONFIG_KEY_{number - 1}"] = key
        variables[f"GIT_CONFIG_VALUE_{number - 1}"] = value
    return variables | {"GIT_CONFIG_COUNT": str(number)}


_AUTH = re.compile(
    r"Authentication failed|could not read (?:Username|Password)|Permission denied|Permission to .* denied|returned error:"
    r" 40[13]|HTTP Basic: Access denied|access denied|Invalid username or|not allowed to push|You are not allowed",
    re.IGNORECASE,
)


def _is_auth(said: str) -> bool:
    return _AUTH.search(said) is not None


def _last_words(said: str) -> str:
    """Git's complaint, as one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("hint:")]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "!", "ERROR:"))] or lines
    return " ".join(telling[-3:])[:400] or "git says nothing"
