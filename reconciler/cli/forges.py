"""Comments on a pull request, where GitHub or GitLab keep them. `cli.comment` calls it; nothing else talks to a forge.

Only comments that the token's own user wrote are ever changed: whoever puts our marker into a comment of theirs keeps it.
No redirect is followed, so the token goes nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from reconciler.errors import AuthenticationError, ForgeError, UsageError
from reconciler.load.project import is_loopback
from reconciler.model.text import one_line

TIMEOUT = 30.0  # seconds for one call
MAX_REPLY = 32 * 1024 * 1024  # bytes; a hundred comments have at most 7 MB on GitHub
PAGE = 100
MAX_PAGES = 100
_UNAUTHORIZED = frozenset({401, 403})
_PULL = re.compile(r"refs/pull/(\d+)/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """One that is ours."""

    id: int
    body: str


class Forge(Protocol):
    """The comments of one pull request."""

    def own(self) -> list[Comment]:
        """Those that the token's user wrote, oldest first."""

    def create(self, body: str) -> None: ...

    def update(self, comment: Comment, body: str) -> None: ...

    def delete(self, comment: Comment) -> None: ...


def forge_from(environ: Mapping[str, str], number: str | None) -> Forge:
    """The forge that this job runs on. Raises UsageError where it, the token or the pull request cannot be told."""
    if environ.get("GITLAB_CI"):
        return _gitlab(environ, number)
    if environ.get("GITHUB_REPOSITORY"):
        return _github(environ, number)
    raise UsageError(
        "This is neither a job of GitHub Actions nor of GitLab CI: GITHUB_REPOSITORY and GITLAB_CI are not set.",
        next_step="On another forge, post what `reconciler plan -o markdown` prints with its own tool.",
    )


def _github(environ: Mapping[str, str], number: str | None) -> Forge:
    token = environ.get("GITHUB_TOKEN") or environ.get("GH_TOKEN") or ""
    if not token:
        raise AuthenticationError(
            "GITHUB_TOKEN is not set.", next_step="Pass it on: env: GITHUB_TOKEN: ${{ github.token }}."
        )
    api = environ.get("GITHUB_API_URL") or "https://api.github.com"
    pull = number or _pull_request(environ)
    if pull is None:
        raise UsageError("This job is about no pull request.", next_step="Name one with --pull-request.")
    return _GitHub(_Api(api, {"Authorization": f"Bearer {token}"}), environ["GITHUB_REPOSITORY"], pull)


def _pull_request(environ: Mapping[str, str]) -> str | None:
    found = _PULL.match(environ.get("GITHUB_REF", ""))
    if found is not None:
        return found[1]
    try:
        with open(environ.get("GITHUB_EVENT_PATH", ""), "rb") as stream:  # noqa: PTH123 - an empty path is no folder
            event = json.load(stream)
        return str(int((event.get("pull_request") or event["issue"])["number"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _gitlab(environ: Mapping[str, str], number: str | None) -> Forge:
    token = environ.get("GITLAB_TOKEN") or ""
    if not token:
        raise AuthenticationError(
            "GITLAB_TOKEN is not set.",
            next_step="A project access token with the scope api, as a masked variable; job tokens may not write notes.",
        )
    request = number or environ.get("CI_MERGE_REQUEST_IID")
    if not request:
        raise UsageError("This job is about no merge request.", next_step="Name one with --pull-request.")
    api = environ.get("CI_API_V4_URL") or "https://gitlab.com/api/v4"
    return _GitLab(_Api(api, {"PRIVATE-TOKEN": token}), environ.get("CI_PROJECT_ID", ""), request)


class _Api:
    """JSON over HTTP with a token. Raises AuthenticationError and ForgeError."""

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(base)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise UsageError(f"{base} is not https: the token would be readable on the way.", next_step="Check it.")
        self._base, self._headers = base.rstrip("/"), headers

    def ask(self, method: str, path: str, value: Any = None) -> Any:
        """The reply's JSON; None for an empty one."""
        status, data = self._send(method, path, None if value is None else json.dumps(value).encode())
        if status in _UNAUTHORIZED:
            raise AuthenticationError(
                f"The forge refuses the token for {method} {path}: {status} {_words(data)}.",
                next_step="It needs to write on pull requests (pull-requests: write; the scope api on GitLab). "
                "A pull request from a fork has a token that may only read.",
            )
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's own numbers
            raise ForgeError(f"The forge answers {method} {path} with {status} {_words(data)}.")
        try:
            return json.loads(data) if data.strip() else None
        except (ValueError, RecursionError) as error:
            raise ForgeError(f"The forge answers {method} {path} with something that is not JSON.") from error

    def pages(self, path: str) -> Iterator[Any]:
        """Every item of a list that comes in pages."""
        for page in range(1, MAX_PAGES + 1):
            items = self.ask("GET", f"{path}?per_page={PAGE}&page={page}")
            if not isinstance(items, list):
                raise ForgeError(f"The forge answers GET {path} with no list.")
            yield from items
            if len(items) < PAGE:
                return

    def whoami(self) -> Mapping[str, Any] | None:
        """The token's user; None for a token that has none, as those of GitHub's jobs."""
        try:
            user = self.ask("GET", "/user")
        except (AuthenticationError, ForgeError):
            return None
        return user if isinstance(user, dict) else None

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError
        from urllib.request import HTTPRedirectHandler, Request, build_opener

        class Stay(HTTPRedirectHandler):
            """A redirect is an answer like any other."""

            def redirect_request(self, *_: Any, **__: Any) -> None:
                return None

        headers = {"Accept": "application/json", "User-Agent": "reconciler", **self._headers}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = Request(f"{self._base}{path}", data=body, headers=headers, method=method)  # noqa: S310 - https, see above
        try:
            with build_opener(Stay).open(request, timeout=TIMEOUT) as reply:
                return reply.status, reply.read(MAX_REPLY)
        except HTTPError as error:
            with error:
                return error.code, error.read(MAX_REPLY)
        except (URLError, HTTPException, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ForgeError(f"{urlsplit(self._base).netloc} cannot be asked: {one_line(str(reason), 200)}.") from error


def _words(data: bytes) -> str:
    try:
        value = json.loads(data)
        text = value.get("message") or value.get("error") if isinstance(value, dict) else ""
    except (ValueError, RecursionError):
        text = data.decode("utf-8", "replace")
    return one_line(str(text or ""), 200)


class _GitHub:
    """https://docs.github.com/rest/issues/comments; Gitea and Forgejo answer the same calls."""

    def __init__(self, api: _Api, repository: str, number: str) -> None:
        self._api, self._base = api, f"/repos/{quote(repository)}/issues"
        self._of_pull = f"{self._base}/{quote(number, safe='')}/comments"

    def own(self) -> list[Comment]:
        me = self._api.whoami()
        is_own = (lambda user: user.get("login") == me.get("login")) if me else (lambda user: user.get("type") == "Bot")
        return _comments(self._api.pages(self._of_pull), "user", is_own)

    def create(self, body: str) -> None:
        self._api.ask("POST", self._of_pull, {"body": body})

    def update(self, comment: Comment, body: str) -> None:
        self._api.ask("PATCH", f"{self._base}/comments/{comment.id}", {"body": body})

    def delete(self, comment: Comment) -> None:
        self._api.ask("DELETE", f"{self._base}/comments/{comment.id}")


class _GitLab:
    """https://docs.gitlab.com/api/notes/."""

    def __init__(self, api: _Api, project: str, number: str) -> None:
        self._api = api
        self._base = f"/projects/{quote(project, safe='')}/merge_requests/{quote(number, safe='')}/notes"

    def own(self) -> list[Comment]:
        me = self._api.whoami()
        if me is None:
            raise AuthenticationError(
                "GITLAB_TOKEN is not accepted.", next_step="Check it, and that it has not expired."
            )
        return _comments(self._api.pages(self._base), "author", lambda user: user.get("id") == me.get("id"))

    def create(self, body: str) -> None:
        self._api.ask("POST", self._base, {"body": body})

    def update(self, comment: Comment, body: str) -> None:
        self._api.ask("PUT", f"{self._base}/{comment.id}", {"body": body})

    def delete(self, comment: Comment) -> None:
        self._api.ask("DELETE", f"{self._base}/{comment.id}")


def _comments(items: Iterator[Any], author: str, is_own: Callable[[Mapping[str, Any]], bool]) -> list[Comment]:
    found = [
        Comment(id=item["id"], body=item.get("body") or "")
        for item in items
        if isinstance(item, dict) and isinstance(item.get(author), dict) and is_own(item[author])
    ]
    return sorted(found, key=lambda comment: comment.id)


def settle_comments(
    forge: Forge, parts: Sequence[tuple[str, str]], is_stale: Callable[[str], bool]
) -> tuple[int, int, int]:
    """Make the pull request's comments these parts, each a marker and a body: created, updated and deleted.

    Comments of ours that are of another marker stay unless they are stale; a second one with the same marker goes.
    """
    known: dict[str, Comment] = {}
    doomed: list[Comment] = []
    wanted = dict(parts)
    for comment in forge.own():
        marker = comment.body.partition("\n")[0].strip()
        if (marker in wanted and marker in known) or (marker not in wanted and is_stale(marker)):
            doomed.append(comment)
        elif marker in wanted:
            known[marker] = comment
    created = updated = 0
    for marker, body in parts:
        comment_there = known.get(marker)
        if comment_there is None:
            forge.create(body)
            created += 1
        elif comment_there.body.strip() != body.strip():
            forge.update(comment_there, body)
            updated += 1
    for comment in doomed:
        forge.delete(comment)
    return created, updated, len(doomed)
