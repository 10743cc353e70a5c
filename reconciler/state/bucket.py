"""Objects of a bucket, one at a time, with conditional writes: the few calls that the store `objects` is made of.

Over obstore (extra `objectstore`), which speaks S3, Google Cloud Storage and Azure Blob Storage; endpoint and credentials come
from the environment variables that each of them knows. obstore's errors become ours here. What a write did whose answer was
lost, or which obstore itself sent twice, is found out by reading back: so the contents of two writes must never be equal.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reconciler.errors import AuthenticationError, StateError, UsageError
from reconciler.state.address import without_credentials
from reconciler.state.patience import GaveUp, Patience

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_TRIES = 3  # of a write that gets no answer, each of which obstore tries again by itself
_CLIENT: Any = {"connect_timeout": timedelta(seconds=3), "timeout": timedelta(seconds=10)}
_RETRY: Any = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}
_NO_CONTAINER = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}\Z")
_PREFIX = re.compile(r"(?:[A-Za-z0-9_=-][A-Za-z0-9._=-]*(?:/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*)?\Z")


class InDoubt(StateError):
    """No answer to a write, and nobody to ask what became of it."""

    next_step = "When the store can be reached again, `reconciler status` shows what was recorded."


class Moved(Exception):
    """The object is not what it was when it was read, or is there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Which version of an object; S3 and Azure tell by the e_tag, Google by the version."""

    e_tag: str | None
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An object that was read. `at` is when it was written, by the store's clock."""

    data: bytes
    version: Version
    at: datetime


class Bucket:
    """The objects under one prefix. `shown` is its address for people."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        self.shown = without_credentials(url.rstrip("/"))
        self._store = _opened(url, environ)
        self._patience = Patience()

    def hurry(self, seconds: float) -> None:
        """What is not answered by then is given up."""
        self._patience.ends_in(seconds)

    def get(self, name: str) -> Found | None:
        """Raises StateError, AuthenticationError."""
        with self._translated("read"):
            try:
                meta, data = self._patience.wait(lambda: self._got(name))
            except FileNotFoundError as error:
                self._refuse_missing_bucket(error)
                return None
        return Found(
            data=data,
            version=Version(e_tag=meta.get("e_tag"), version=meta.get("version")),
            at=meta["last_modified"],
        )

    def _got(self, name: str) -> tuple[Any, bytes]:
        result = self._store.get(name)
        return result.meta, bytes(result.bytes())

    def create(self, name: str, data: bytes) -> Version | None:
        """Write it if it is not there. Raises Moved when it is, StateError, AuthenticationError, InDoubt.

        None instead of a version: it was there already, and this very write had made it.
        """
        return self._write(name, data, "create")

    def replace(self, name: str, data: bytes, before: Version) -> Version | None:
        """Write it if it still is that version. As `create`."""
        known = {
            key: value for key, value in (("e_tag", before.e_tag), ("version", before.version)) if value is not None
        }
        if not known:
            raise self._unconditional()
        return self._write(name, data, known)

    def put(self, name: str, data: bytes) -> None:
        """Write it, whatever is there."""
        with self._translated("written"):
            self._patience.wait(lambda: self._store.put(name, data, mode="overwrite", use_multipart=False))

    def delete(self, names: Iterable[str]) -> None:
        with self._translated("written"):
            for name in names:
                self._patience.wait(functools.partial(self._store.delete, name))

    def names(self, folder: str, after: str | None = None) -> list[tuple[str, datetime]]:
        """The objects in the folder whose names follow `after`, sorted, each with the time it was written."""
        with self._translated("read"):
            found = self._patience.wait(lambda: self._listed(folder, after))
        return sorted(one for one in found if after is None or one[0] > after)

    def _listed(self, folder: str, after: str | None) -> list[tuple[str, datetime]]:
        listed = self._store.list(f"{folder}/", offset=f"{folder}/{after}" if after else None)
        return [(meta["path"].removeprefix(f"{folder}/"), meta["last_modified"]) for part in listed for meta in part]

    def folders(self) -> tuple[str, ...]:
        with self._translated("read"):
            listed: Any = self._patience.wait(lambda: self._store.list_with_delimiter(""))
            return tuple(sorted(prefix.rstrip("/").rpartition("/")[2] for prefix in listed["common_prefixes"]))

    def refuse_unconditional(self, name: str) -> None:
        """Raises StateError where conditions on a write are ignored: two could then be the first. Leaves nothing behind."""
        try:
            written = self.create(name, b"first") or self._version(name)
            if self._takes(lambda: self.create(name, b"second")):
                raise self._unconditional()
            self.replace(name, b"third", written)
            if self._takes(lambda: self.replace(name, b"fourth", written)):
                raise self._unconditional()
        finally:
            self.delete([name])

    def _version(self, name: str) -> Version:
        found = self.get(name)
        if found is None:
            raise StateError(f"{self.shown}/{name} was written and is not there", next_step="Run it again.")
        return found.version

    @staticmethod
    def _takes(write: Callable[[], object]) -> bool:
        try:
            write()
        except Moved:
            return False
        return True

    def _write(self, name: str, data: bytes, mode: Any) -> Version | None:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        said = ""
        for _ in range(_TRIES):
            try:
                with self._translated("written"):
                    put = functools.partial(self._store.put, name, data, mode=mode, use_multipart=False)
                    result = self._patience.wait(put)
                return Version(e_tag=result["e_tag"], version=result["version"])
            except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
                if isinstance(error, FileNotFoundError):
                    self._refuse_missing_bucket(error)
                found = self.get(name)
                if found is not None and found.data == data:
                    return None
                raise Moved from error
            except AuthenticationError:
                if said:
                    break
                raise
            except StateError as error:
                said = str(error)
        raise InDoubt(f"whether {self.shown}/{name} was written cannot be told: {said}")

    def _unconditional(self) -> StateError:
        return StateError(
            f"{self.shown} ignores conditions on writes, so two runs could write the same record",
            next_step="Use a store with conditional writes (S3, Google, Azure, newer MinIO, Ceph, R2), git: or postgresql://.",
        )

    def _refuse_missing_bucket(self, error: Exception) -> None:
        if _NO_CONTAINER.search(str(error)):
            raise StateError(
                f"{self.shown} cannot be used: there is no such bucket",
                next_step="Make the bucket (container), and check its name, region and endpoint.",
            ) from error

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        from obstore.exceptions import (
            AlreadyExistsError,
            BaseError,
            NotSupportedError,
            PermissionDeniedError,
            PreconditionError,
            UnauthenticatedError,
        )

        try:
            yield
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            raise
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise AuthenticationError(
                f"{self.shown} cannot be {what}: {_words(error)}",
                next_step="Check the store's credentials, and that they may read, write and list objects under the prefix.",
            ) from error
        except GaveUp as error:
            raise StateError(f"{self.shown} cannot be {what}: {error}", next_step=error.next_step) from error
        except NotSupportedError as error:
            raise self._unconditional() from error
        except BaseError as error:
            raise StateError(
                f"{self.shown} cannot be {what}: {_words(error)}",
                next_step="Check network, endpoint, region and credentials of the store; nothing was changed.",
            ) from error


def _opened(url: str, environ: Mapping[str, str]) -> ObjectStore:
    """Raises UsageError for an address that is none, ReconcilerError where obstore is not installed."""
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    if (
        parts.query
        or parts.fragment
        or "@" in parts.netloc
        or not (_BUCKET.match(parts.netloc) and _PREFIX.match(prefix))
    ):
        raise UsageError(
            f"state: {without_credentials(url)!r} is no address of a bucket.",
            next_step=f"Write {parts.scheme}://BUCKET/PREFIX; credentials come from the environment.",
        )
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError as error:
        raise UsageError(
            f"state: {parts.scheme}:// needs the package obstore, which is not installed.",
            next_step="Install it: pip install 'reconciler[objectstore]'",
        ) from error
    kinds: Any = {"s3": (S3Store, "AWS"), "gs": (GCSStore, "GOOGLE"), "az": (AzureStore, "AZURE")}
    make, family = kinds[parts.scheme]
    # Options that are given replace what obstore reads from the environment, so this one is read here.
    client = {**_CLIENT, "allow_http": environ.get(f"{family}_ALLOW_HTTP", "").lower() == "true"}
    try:
        opened: ObjectStore = make(parts.netloc, prefix=prefix or None, client_options=client, retry_config=_RETRY)
    except (BaseError, ValueError) as error:
        raise StateError(
            f"{without_credentials(url)} cannot be opened: {_words(error)}",
            next_step="Check the store's environment variables (AWS_…, GOOGLE_…, AZURE_STORAGE_…).",
        ) from error
    return opened


def _words(error: Exception) -> str:
    """The message of obstore without its tail for programmers, as one line."""
    text = str(error).partition("\n\nDebug source")[0].partition("<?xml")[0]
    return without_credentials(" ".join(text.split()))[:300] or type(error).__name__
