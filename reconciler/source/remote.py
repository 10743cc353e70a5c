"""A branch of a git repository somewhere else, fetched into a bare cache and read from its objects.

`cli.watch --git` uses it. Nothing is ever checked out, so links lead nowhere and no file is half written. Only the branch's
newest commit is fetched; git runs with an argument vector, without hooks, submodules, prompts or protocols other than the
one that the operator's URL names.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.errors import SourceError, UsageError
from reconciler.model.snapshot import Provenance
from reconciler.model.text import one_line
from reconciler.source.git import Git, provenance_from

PATIENCE = 120.0  # seconds for one fetch
TIDY_AFTER = 500  # fetches that brought something, after which the cache is tidied
MAX_WORDS = 300
REF = "refs/reconciler/watched"
_SHORT = re.compile(r"(?:[^@:/]+@)?(?P<host>[^@:/]+):(?P<path>(?!//).+)")  # ssh's own form, git@host:path

_PROTOCOLS = frozenset({"https", "http", "ssh", "git", "file"})
_KEPT = ("GIT_SSH_COMMAND", "GIT_SSH", "GIT_SSL_CAINFO", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM")
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GCM_INTERACTIVE": "never"}
_SAFE = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=", "-c", "core.askPass="),
    *("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "fetch.recurseSubmodules=no"),
)


@dataclass(slots=True)
class Remote:
    """`cache` is a bare repository of our own; it is made at the first fetch and may be thrown away at any time."""

    url: str
    ref: str
    cache: Path
    environ: Mapping[str, str] = field(repr=False)
    _brought: int = 0
    _given_up: bool = False
    _running: subprocess.Popen[bytes] | None = None
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self) -> Provenance:
        """The newest commit of the branch. Raises SourceError when it cannot be had."""
        if not (self.cache / "HEAD").exists():
            self.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._git("init", "--quiet", "--bare", "--", os.fspath(self.cache))
        before = Git(self.cache).commit(REF)
        ref = self.ref if self.ref.startswith("refs/") else f"refs/heads/{self.ref}"
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--depth=1")
        self._git("-C", os.fspath(self.cache), "fetch", *options, "--", self.url, f"+{ref}:{REF}")
        found = Git(self.cache).commit(REF)
        if found is None:
            raise SourceError(f"{without_password(self.url)} has no commit on {self.ref}.")
        if before is not None and before[0] != found[0]:
            self._tidy()
        return provenance_from(*found, branch=self.ref, dirty=False)

    def give_up(self) -> None:
        """Ends the fetch under way in another thread, and every later one: the program ends, and does not wait for a host."""
        with self._mutex:
            self._given_up = True
            if self._running is not None:
                _kill(self._running)

    def _tidy(self) -> None:
        """What earlier fetches brought and nothing needs any more is dropped now and then."""
        self._brought += 1
        if self._brought % TIDY_AFTER == 0:
            self._git("-C", os.fspath(self.cache), "gc", "--quiet", "--prune=now")

    def _git(self, *arguments: str) -> None:
        protocol = protocol_of(self.url)
        inherited = {k: v for k, v in self.environ.items() if not k.startswith("GIT_") or k in _KEPT}
        environ = {**inherited, **_ENVIRONMENT, "GIT_ALLOW_PROTOCOL": protocol}
        try:
            code, words = self._run(["git", "--no-pager", *_SAFE, *arguments], environ)
        except subprocess.TimeoutExpired:
            raise self._failed(f"no answer within {PATIENCE:.0f} s") from None
        except OSError as error:
            raise self._failed(f"git cannot be run: {error.strerror}") from error
        if code != 0:
            raise self._failed(words.replace(self.url, without_password(self.url)))

    def _run(self, command: list[str], environ: Mapping[str, str]) -> tuple[int, str]:
        """Exit code and words, once the process and the helpers that it started are gone."""
        with self._mutex:
            if self._given_up:
                raise self._failed("the program ends")
            self._running = process = subprocess.Popen(  # noqa: S603 - argv, no shell; git as PATH says is what users expect
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        try:
            _, words = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            raise
        finally:
            with self._mutex:
                self._running = None
        return process.returncode, one_line(words.decode("utf-8", "replace"), MAX_WORDS)

    def _failed(self, why: str) -> SourceError:
        return SourceError(
            f"{self.ref} of {without_password(self.url)} cannot be fetched: {why}.",
            next_step="It is tried again by itself; check the address, the branch and the credentials.",
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With the helpers that speak to the network: they are of its session."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def protocol_of(url: str) -> str:
    """Raises UsageError for one that is not spoken: `ext::` runs commands."""
    if "::" in url or url.startswith("-"):
        raise UsageError(f"--git {without_password(url)!r} is not an address that is fetched from.")
    scheme = urlsplit(url).scheme if "://" in url else ""
    if not scheme:
        head, colon, _ = url.partition(":")
        return "ssh" if colon and "/" not in head else "file"
    if scheme not in _PROTOCOLS:
        raise UsageError(f"--git: {scheme}:// is not spoken.", next_step="Write an https:// or ssh:// address.")
    return scheme


def without_password(url: str) -> str:
    """As it may be shown."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"…@{host}" if "@" in parts.netloc else host).geturl()


def web_address(url: str | None) -> str | None:
    """Where a forge shows the repository: https, without user and password. None where that cannot be told.

    Forges serve both under one name and path, so an address of ssh tells it too; its port does not.
    """
    if url is None or any(char.isspace() or not char.isprintable() for char in url):
        return None
    short = _SHORT.fullmatch(url)
    try:
        parts = urlsplit(f"ssh://{short['host']}/{short['path'].lstrip('/')}" if short is not None else url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in {"https", "ssh"} or not host or not parts.path.strip("/"):
        return None
    at = f":{port}" if port is not None and parts.scheme == "https" else ""
    return f"https://{f'[{host}]' if ':' in host else host}{at}{parts.path}"
