"""Input that has felled other readers, by name: which reader it is for, and how it is made."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator

from reconciler.state.segments import encode_frame
from tests.fuzz.seeds import LAYERED, PLAIN, REPLY, segment, snapshot
from tests.support.hostile import HOSTILE, MIB

Killer = Callable[[], tuple[str, bytes]]
_MERGES = b"a0: &a0 {x: 1}\n" + b"".join(
    b"a%d: &a%d {<<: [*a%d,*a%d,*a%d]}\n" % (n, n, n - 1, n - 1, n - 1) for n in range(1, 15)
)


def _members(value: bytes, count: int) -> bytes:
    return b"".join(b'"cm-%d": %b,' % (n, value) for n in range(count))


def _bomb(mebibytes: int) -> bytes:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(mebibytes)), packer.flush()])


_SMALL = (
    b"apiVersion: reconciler/v1\nkind: ModelDeployment\nmetadata: {name: c%d}\n"
    b"spec: {modelId: cm-%d, modelType: fineTune, environments: {staging: {}}, rollout: {dependsOn: [%b]}}\n"
)
_OBJECTS = b"[" + b"{}," * 80_000 + b"{}]"

# JSON that hurts, whole or inside a document.
_JSON = {
    "100,000 brackets": b"[" * 100_000,
    "as deep as Python recurses": b"[" * 990 + b"]" * 990,
    "as deep as pydantic recurses": b"[" * 190 + b"]" * 190,
    "deep objects": b'{"a":' * 50_000,
    "a million digits": b"1" * 1_000_000,
    "4,300 digits": b"1" * 4_300,
    "a huge exponent": b"1e" + b"9" * 1_000,
    "a tiny exponent": b"1e-" + b"9" * 1_000,
    "half a character": b'"\\ud800"',
    "halves in the wrong order": b'"\\udc00\\ud800"',
    "a NUL": b'"\\u0000"',
    "a NUL as it is": b"\0",
    "NaN": b"NaN",
    "a mebibyte of text": b'"' + b"x" * (MIB - 1000) + b'"',
    "a mebibyte of quotes": b'"' * (MIB - 1000),
    "a mebibyte of escapes": b'"' + b"\\u0041" * (MIB // 6 - 1000) + b'"',
    "40,000 objects": b"[" + b"{}," * 40_000 + b"{}]",
    "one key 50,000 times": b"{" + b'"a":1,' * 50_000 + b'"a":1}',
    "escape sequences without an end": b'"' + b"\\u0090" * 100_000 + b'"',
}
_REPLIES = {
    "a bomb in gzip": b"".join(gzip.compress(bytes(MIB), mtime=0) for _ in range(4)),
    "a larger bomb in gzip": _bomb(256),
    "a mebibyte of objects": b"[" + b"{}," * (MIB // 3 - 1) + b"{}]",
    "2 MiB": b'{"a":"' + b"x" * 2 * MIB + b'"}',
    "ids without end": b'{"_id":"ds-1"' + b"".join(b',"dock-statusId":"ds-%d"' % n for n in range(30_000)) + b"}",
    "ids cut": b'"ds-' * (MIB // 4),
    "script without end": b"<script" * (MIB // 7),
    "tags without end": b"<html" + b"<a " * (MIB // 3),
    "entities": b"<p>" + b"&#x1F600;&notanentity" * (MIB // 21),
    "errors in errors": b'{"errors":[' * 45 + b'"x"' + b"]}" * 45,
    "errors that double": b'{"error":{"message":' * 20 + b'"x"' + b',"msg":"y"}}' * 20,
    "with a byte order mark": b"\xef\xbb\xbf" + REPLY,
    "in UTF-16": REPLY.decode().encode("utf-16"),
    "in UTF-32": REPLY.decode().encode("utf-32"),
}
_MANIFESTS = {
    "a merge-key bomb of 462 bytes": _MERGES[:462],
    "a long text of escape sequences": LAYERED.replace(b'"a.b": -0.0', b'a: "' + b"\\x90" * 100_000 + b'"'),
    "a long key of escape sequences": LAYERED.replace(b'"a.b": -0.0', b'"' + b"\\x9b" * 20_000 + b'": 1'),
    "9,000 stop sequences": PLAIN.replace(b"[\"Customer:\", 'Agent:', ", b"[" + b'"a", ' * 9_000),
    "5,000 environments": PLAIN.replace(b"{staging: {},", b"{" + b"".join(b"e%d: {}, " % n for n in range(5_000))),
    "300 manifests": b"\n---\n".join(
        PLAIN.replace(b"chat", b"c%d" % n).replace(b"cm-2", b"cm-%d-" % n) for n in range(300)
    ),
    "6,000 dependencies that there are not": b"\n---\n".join(
        _SMALL % (n, n, b",".join(b"x%d" % at for at in range(6_000)) if n == 0 else b"") for n in range(500)
    ),
    "400 manifests of one name": b"\n---\n".join([PLAIN] * 400),
    "in UTF-16": PLAIN.decode().encode("utf-16"),
    "in UTF-32": PLAIN.decode().encode("utf-32"),
    "with two byte order marks": b"\xef\xbb\xbf" * 2 + PLAIN,
    "with a NUL at its end": PLAIN + b"\0",
    "one byte more than a mebibyte": PLAIN + b"#" * (MIB + 1 - len(PLAIN)),
    "a mebibyte": PLAIN + b"#" * (MIB - len(PLAIN)),
}
_STATES = {
    "20,000 entries that are none": lambda: snapshot().replace(
        b'"entries": {', b'"entries": {' + _members(b"{}", 20_000)
    ),
    "40,000 attempts that are none": lambda: snapshot().replace(
        b'"attempts": [', b'"attempts": [' + b"{}," * 40_000, 1
    ),
    "80,000 objects in place of a number": lambda: _in_snapshot(_OBJECTS),
    "80,000 objects, and no field that there must be": lambda: snapshot().replace(
        b'"attempts": [', b'"attempts": [{"x": ' + _OBJECTS + b"},", 1
    ),
    "50,000 fields that there are not": lambda: snapshot().replace(
        b'"entries": {', _members(b"1", 50_000) + b'"entries": {', 1
    ),
    "60,000 heads of frames": lambda: segment().rstrip(b"\0") + b"999999 00000000 " * 60_000,
    "40,000 heads of frames, each with an end": lambda: segment().rstrip(b"\0") + b"\n340000 00000000 " * 40_000,
    "60,000 frames of nothing": lambda: segment().rstrip(b"\0") + encode_frame(b"[]") * 60_000,
    "holes": lambda: segment().rstrip(b"\0") + b"\0x" * 250_000,
}
_WEBHOOK = {
    "one byte more than a mebibyte": b"X-Gitlab-Token: @signed@\n\n" + b"x" * (MIB + 1),
    "a mebibyte": b"X-Hub-Signature-256: @signed@\n\n" + b"x" * MIB,
    "a length that is no number": b"Content-Length: \xb2\n\nx",
    "a length without end": b"Content-Length: " + b"9" * 5_000 + b"\n\nx",
    "a time without end": b"X-Reconciler-Timestamp: " + b"9" * 5_000 + b"\nX-Reconciler-Signature: @signed@\n\nx",
    "a signature of other characters": b"X-Hub-Signature-256: sha256=\xff\xfe\n\nx",
    "10,000 signatures": b"X-Hub-Signature-256: sha256=0\n" * 10_000 + b"\nx",
}


def _all() -> Iterator[tuple[str, Killer]]:
    for name, (text, _) in HOSTILE.items():
        yield f"loader: {name}", lambda text=text: ("loader", text)  # type: ignore[misc]
    for name, text in _MANIFESTS.items():
        yield f"loader: {name}", lambda text=text: ("loader", text)  # type: ignore[misc]
    for name, text in _REPLIES.items():
        yield f"reply: {name}", lambda text=text: ("reply", text)  # type: ignore[misc]
    for name, make in _STATES.items():
        yield f"state: {name}", lambda make=make: ("state", make())  # type: ignore[misc]
    for name, text in _WEBHOOK.items():
        yield f"webhook: {name}", lambda text=text: ("webhook", text)  # type: ignore[misc]
    for name, text in _JSON.items():
        for place, (target, whole) in _PLACES.items():
            yield f"{target}: {name} {place}", lambda t=target, w=whole, x=text: (t, w(x))  # type: ignore[misc]


def in_plan(value: bytes) -> bytes:
    """A plan file with this where it may hold any JSON."""
    from tests.fuzz.seeds import SEEDS

    return SEEDS["plan"][0].replace(b'"after": 1e+21', b'"after": ' + value)


def _in_snapshot(value: bytes) -> bytes:
    return snapshot().replace(b'"generation": 2', b'"generation": ' + value)


def _in_old_snapshot(value: bytes) -> bytes:
    return _in_snapshot(value).replace(b"reconciler/state/v2", b"reconciler/state/v1")


_PLACES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "as a reply": ("reply", lambda value: value),
    "in a reply": ("reply", lambda value: b'{"status":"FAILED","response":' + value + b"}"),
    "as a plan": ("plan", lambda value: value),
    "in a plan": ("plan", in_plan),
    "as a state": ("state", lambda value: value),
    "in a state": ("state", _in_snapshot),
    "in a state of version 1": ("state", _in_old_snapshot),
    "behind a log": ("state", lambda value: segment().rstrip(b"\0") + value),
}
KILLERS: dict[str, Killer] = dict(_all())
