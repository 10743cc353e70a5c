"""The project file: text -> environments, or diagnostics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import islice
from posixpath import normpath
from urllib.parse import urlsplit

from reconciler.diagnostics import Diagnostic, errors_in
from reconciler.load.judge import mistakes
from reconciler.load.placer import Placer, not_ours, nulls, shown, with_nulls
from reconciler.load.widening import NO_WIDENING, Widening
from reconciler.load.words import closest, squeezed
from reconciler.load.yaml import MAX_MISTAKES, parse
from reconciler.model.loaded import FieldPath, Places
from reconciler.model.notification import (
    LINE_WORDS,
    TITLE_WORDS,
    USUAL_LINE,
    USUAL_OUTCOMES,
    USUAL_PER_MINUTE,
    USUAL_TITLE,
    Channel,
    Outcome,
    unknown_words,
)
from reconciler.model.resource import USUAL_RATE_LIMIT, Environment, KeyReference, RateLimit
from reconciler.model.snapshot import SourceFile
from reconciler.model.text import KEY_PATTERN
from reconciler.model.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """The one environment, `default`, of a project without a project file."""

    host: str | None
    api_key: KeyReference = KeyReference(kind="env", value="RECONCILER_API_KEY")  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A project file, understood."""

    environments: tuple[Environment, ...]
    manifests: tuple[str, ...]
    ignore: tuple[str, ...]
    state: str
    widening: Widening
    notifications: tuple[Channel, ...] = ()


NO_MANIFESTS = "RC101"  # of a folder that is missing, empty or none
USUAL_STATE = ".reconciler"
USUAL_MANIFESTS = ("manifests/",)

# A host that stands in where nothing is called: validating and planning need none.
NO_HOST = "https://host.invalid"
_KEY = re.compile(KEY_PATTERN)
# What people call the field when they do not write apiKey; a key under any of these names must not be shown.
_KEY_WORDS = frozenset({"apikey", "xapikey", "key", "token", "secret", "password"})
_KEY_FIELD = re.compile(r"\.apiKey\Z|\Anotifications\[\d+\]\.(?:url|secret)\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z")


def load_project(file: SourceFile | None, fallback: Fallback) -> tuple[Settled | None, tuple[Diagnostic, ...]]:
    """None when anything in the file is wrong."""
    if file is None:
        return _without_file(fallback)
    documents, found = parse(file.data, file.path)
    if found:
        return None, found
    placer = Placer(file)
    if len(documents) != 1:
        message = f"the project file holds {len(documents)} documents"
        return None, (placer.say(0, (), "RC308", message, allowed="one document of kind Project"),)
    value, index = documents[0].value, documents[0].index
    wrong = tuple(islice(_mistakes(value, index, placer), MAX_MISTAKES))
    if errors_in(wrong):
        return None, wrong
    return _settle(value), wrong


def at_their_lines(found: Iterable[Diagnostic], project: Settled, places: Places) -> Iterator[Diagnostic]:
    """What is said of a whole folder of manifests, at the line of the project file that names it: that is to be mended."""
    numbers = {normpath(folder): number for number, folder in reversed(list(enumerate(project.manifests)))}
    for one in found:
        number = numbers.get(one.position.file) if one.position and one.code == NO_MANIFESTS else None
        place = places(None, 0, ("manifests", number)) if number is not None else None
        yield replace(one, position=place) if place is not None else one


def origin_of(host: str) -> str:
    """Scheme, host and port of a host name or URL, as the vendor writes it. Raises ValueError saying what is wrong."""
    text = host if "://" in host else f"https://{host}"
    parts = urlsplit(text)
    if parts.scheme not in {"https", "http"}:
        raise ValueError(f"{parts.scheme}:// is not spoken; write https://")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("only a host and a port belong here")
    if parts.path.strip("/"):
        raise ValueError(f"leave out {parts.path}: the path of the API is added by itself")
    if not _HOST.match(parts.netloc):
        raise ValueError("not a host name")
    _ = parts.port  # raises ValueError beyond 65535
    name = (parts.hostname or "").lower()
    if parts.scheme == "http" and not is_loopback(name):
        raise ValueError("plain http only to this machine: the key would be readable on the way")
    default = {"https": 443, "http": 80}[parts.scheme]
    port = f":{parts.port}" if parts.port not in {None, default} else ""
    return f"{parts.scheme}://{f'[{name}]' if ':' in name else name}{port}"


def is_loopback(name: str) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _without_file(fallback: Fallback) -> tuple[Settled | None, tuple[Diagnostic, ...]]:
    try:
        origin = origin_of(fallback.host) if fallback.host else NO_HOST
    except ValueError as error:
        return None, (Diagnostic(code="RC501", message=f"RECONCILER_HOST: {error}", value=shown(fallback.host)),)
    environment = Environment(name="default", origin=origin, api_key=fallback.api_key, state=USUAL_STATE, defaults={})
    settled = Settled(
        environments=(environment,), manifests=USUAL_MANIFESTS, ignore=(), state=USUAL_STATE, widening=NO_WIDENING
    )
    return settled, ()


def _mistakes(value: Json, document: int, placer: Placer) -> Iterator[Diagnostic]:
    foreign = not_ours(value, "Project", document, placer)
    if foreign is not None:
        yield foreign
        return
    found = mistakes("Project", value, document, placer, _widening(value))
    shaped = (one for one in found if not (one.code == "RC303" and _KEY_FIELD.search(one.path)))  # _key says it better
    yield from with_nulls(shaped, nulls(value), document, placer)
    yield from _ranges(value.get("platform"), document, placer)
    environments = value.get("environments")
    for name, spec in environments.items() if isinstance(environments, dict) else ():
        if isinstance(spec, dict):
            yield from _host(spec.get("host"), ("environments", name, "host"), document, placer)
            for field, item in spec.items():
                if squeezed(field) in _KEY_WORDS:
                    yield from _key(item, ("environments", name, field), document, placer)
    yield from _notifications(value, document, placer)


def _notifications(value: Json, document: int, placer: Placer) -> Iterator[Diagnostic]:
    """What the shape does not say: literal secrets, names used twice, environments and templates that lead nowhere."""
    written, environments = value.get("notifications"), value.get("environments")
    names: set[str] = set()
    for index, spec in enumerate(written) if isinstance(written, list) else ():
        if not isinstance(spec, dict):
            continue
        path: FieldPath = ("notifications", index)
        for field in ("url", "secret"):
            yield from _key(spec.get(field), (*path, field), document, placer)
        name = spec.get("name")
        if isinstance(name, str) and name in names:
            yield placer.say(document, (*path, "name"), "RC503", "two channels have this name", value=shown(name))
        names |= {name} if isinstance(name, str) else set()
        if spec.get("type") == "apprise" and spec.get("secret") is not None:
            yield placer.say(document, (*path, "secret"), "RC503", "only a webhook is signed")
        yield from _elsewhere(spec.get("environments"), environments, path, document, placer)
        for field, words in (("title", TITLE_WORDS), ("line", LINE_WORDS)):
            for word in unknown_words(spec[field], words) if isinstance(spec.get(field), str) else ():
                message = "a lone $ is written $$" if word == "$" else f"nothing is called ${word} here"
                allowed = ", ".join(f"${one}" for one in words)
                yield placer.say(document, (*path, field), "RC503", message, allowed=allowed)


def _elsewhere(chosen: Json, known: Json, path: FieldPath, document: int, placer: Placer) -> Iterator[Diagnostic]:
    """The environments of a channel that the project does not have."""
    if not (isinstance(chosen, list) and isinstance(known, dict)):
        return
    for index, name in enumerate(chosen):
        if isinstance(name, str) and name not in known:
            close = closest(name, known)
            yield placer.say(
                document,
                (*path, "environments", index),
                "RC408",
                "no such environment",
                value=shown(name),
                allowed=", ".join(sorted(known)),
                suggestion=f"Did you mean {close}?" if close else None,
            )


def _ranges(platform: Json, document: int, placer: Placer) -> Iterator[Diagnostic]:
    ranges = platform.get("ranges") if isinstance(platform, dict) else None
    for name, pair in ranges.items() if isinstance(ranges, dict) else ():
        if _is_pair(pair) and pair[0] > pair[1]:
            path = ("platform", "ranges", name)
            yield placer.say(
                document, path, "RC304", "the lowest value is above the highest", allowed="[lowest, highest]"
            )


def _host(host: Json, path: tuple[str, ...], document: int, placer: Placer) -> Iterator[Diagnostic]:
    if not isinstance(host, str):
        return
    try:
        origin_of(host)
    except ValueError as error:
        value = None if "@" in host else shown(host)  # a password may stand before it
        yield placer.say(document, path, "RC501", str(error), value=value, allowed="https://host/ or host:port")


def _key(key: Json, path: FieldPath, document: int, placer: Placer) -> Iterator[Diagnostic]:
    """A literal key is refused, and not repeated in the message."""
    how = "{env: NAME} or {file: PATH}"
    if key is None:
        return
    if not isinstance(key, dict) or any(_KEY.search(str(item)) for item in key.values()):
        yield placer.say(document, path, "RC502", "a key must not stand in the project file", allowed=how)
    elif len([item for item in key.values() if item is not None]) != 1:
        yield placer.say(document, path, "RC502", "name exactly one place for the key", allowed=how)


def _widening(value: Json) -> Widening:
    """As far as it can be read; its own mistakes are reported by the shape."""
    platform = value.get("platform") if isinstance(value, dict) else None
    platform = platform if isinstance(platform, dict) else {}
    devices, extra, ranges = (platform.get(key) for key in ("deviceTypes", "extraFields", "ranges"))
    return Widening(
        device_types=frozenset(map(str, devices if isinstance(devices, list) else ())),
        extra_fields=frozenset(map(str, extra if isinstance(extra, list) else ())),
        ranges={k: (v[0], v[1]) for k, v in (ranges.items() if isinstance(ranges, dict) else ()) if _is_pair(v)},
    )


def _is_pair(value: Json) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(n, int | float) for n in value)  # noqa: PLR2004


def _settle(value: Json) -> Settled:
    """A value that was judged; what it does not say is the default of the field."""
    state = value.get("state", USUAL_STATE)
    written = sorted(value["environments"].items())
    return Settled(
        environments=tuple(_environment(name, spec, state) for name, spec in written),
        manifests=tuple(value.get("manifests", USUAL_MANIFESTS)),
        ignore=tuple(value.get("ignore", ())),
        state=state,
        widening=_widening(value),
        notifications=tuple(map(_channel, value.get("notifications", ()))),
    )


def _channel(spec: Json) -> Channel:
    return Channel(
        name=spec["name"],
        type=spec["type"],
        url=_reference(spec["url"]),
        secret=_reference(spec["secret"]) if spec.get("secret") is not None else None,
        on=frozenset(map(Outcome, spec["on"])) if "on" in spec else USUAL_OUTCOMES,
        environments=frozenset(spec.get("environments", ())),
        per_minute=spec.get("perMinute", USUAL_PER_MINUTE),
        title=spec.get("title", USUAL_TITLE),
        line=spec.get("line", USUAL_LINE),
    )


def _reference(written: Json) -> KeyReference:
    ((kind, value),) = ((k, v) for k, v in written.items() if v is not None)
    return KeyReference(kind=kind, value=value)


def _environment(name: str, spec: Json, state: str) -> Environment:
    limit = spec.get("rateLimit", {})
    return Environment(
        name=name,
        origin=origin_of(spec["host"]),
        api_key=_reference(spec["apiKey"]),
        state=state,
        ca_file=spec.get("caFile"),
        prune=spec.get("prune", False),
        rate_limit=RateLimit(
            per_minute=limit.get("perMinute", USUAL_RATE_LIMIT.per_minute),
            per_hour=limit.get("perHour", USUAL_RATE_LIMIT.per_hour),
        ),
        defaults=spec.get("defaults") or {},
    )
