"""The readers of foreign bytes, each as a function that takes any bytes whatever and fails when a promise is broken.

An uncaught exception is a broken promise; so is an answer that the bytes do not bear out. `tools/fuzz.py` drives them with
atheris, tests/fuzz/test_corpus.py with the inputs that were found.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache

from reconciler.diagnostics import errors_in
from reconciler.errors import InvalidInput, StateCorrupt, StateForeign, StateTooNew
from reconciler.load.codes import CODES
from reconciler.load.project import Fallback, Settled, load_project
from reconciler.load.yaml import Marks
from reconciler.model.applied import Accepted, Applied, Operation, Unknown
from reconciler.model.plan import Plan
from reconciler.model.snapshot import Snapshot, SourceFile
from reconciler.model.values import canonical
from reconciler.pipeline import check, make_plan
from reconciler.plan.codec import decode_plan, differences, encode_plan
from reconciler.platform.api import MAX_REPLY, Reply
from reconciler.platform.endings import classify, read_dock_status
from reconciler.platform.replies import decode_content, salvage, valid_id
from reconciler.report.diagnostics import diagnostics_text
from reconciler.report.plan_text import plan_text
from reconciler.report.style import PLAIN
from reconciler.state import batch
from reconciler.state.fold import fold
from reconciler.state.format import decode_batch, decode_snapshot, encode_record, encode_snapshot
from reconciler.state.segments import decode_header, is_continuation, scan
from reconciler.state.segments import salvage as salvaged_frames
from tests.fuzz.seeds import PROJECT
from tests.fuzz.webhook import deliver
from tests.support.records import BINDING, NOON

WHERE = "a.file"


@cache
def project() -> Settled:
    settled, wrong = load_project(SourceFile(path="reconciler.yaml", data=PROJECT), Fallback(host=None))
    assert settled is not None, wrong
    return settled


def loader(data: bytes) -> None:
    """Manifest and project file: diagnostics with a place and a code, or bodies that are canonical JSON and can be planned."""
    file = SourceFile(path="m.yaml", data=data)
    settled, wrong = load_project(file, Fallback(host=None))
    assert settled is not None or errors_in(wrong)
    checked = check(Snapshot(files=(file,), project=SourceFile(path="reconciler.yaml", data=PROJECT)), project())
    for one in (*checked.diagnostics, *wrong):
        assert one.code in CODES
        assert one.position is not None
        str(one)
    Marks(data, "m.yaml").position(0, ("spec", "hyperParameters", "stopSequence", 0))
    for name, desired in checked.desired.items():
        for resource in desired.resources:
            assert canonical(json.loads(resource.body)) == resource.body.encode()
            assert checked.locate(resource, "hyperParameters.temperature").layer
        if errors_in(checked.diagnostics):
            continue
        plan = make_plan(checked, name, Applied(environment=name, lineage="l", binding=BINDING), now=NOON)
        assert decode_plan(encode_plan(plan), where=WHERE) == plan
        assert "\x1b" not in plan_text([plan], PLAIN, verbose=True)
    assert "\x1b" not in diagnostics_text(checked.diagnostics, {"m.yaml": data}, PLAIN)


def reply(data: bytes) -> None:
    """A reply's body: no id that the body does not spell, and nothing called refused that the platform took."""
    text = data.decode("utf-8", "replace")
    found = salvage(data)
    assert found is None or (valid_id(found) and found in text)
    for error in (None, "the reply was cut"):
        answer = Reply(status_code=200, headers=(), body=data, error=error)
        for operation in Operation:
            outcome = classify(answer, operation=operation)
            assert isinstance(outcome, Accepted | Unknown) or "ratelimit" in _letters(text) or "\\" in text
            if isinstance(outcome, Accepted):
                assert error is None
                assert outcome.dock_status_id is not None
                assert valid_id(outcome.dock_status_id)
                assert outcome.dock_status_id in text or "\\" in text
        read_dock_status(answer)
    unpacked, _ = decode_content("gzip", data)
    assert len(unpacked) <= max(MAX_REPLY, len(data))


def _letters(text: str) -> str:
    """What is left of a message however it is laid out."""
    return "".join(filter(str.isalpha, text.lower()))


def state(data: bytes) -> None:
    """Snapshot, segment, batch: refused as damaged, too new or foreign, or read and written again without a difference."""
    for snapshot in (data, resealed(data)):
        try:
            value = decode_snapshot(snapshot, where=WHERE)
        except (StateCorrupt, StateTooNew):
            continue
        written = encode_snapshot(value)
        assert encode_snapshot(decode_snapshot(written, where=WHERE)) == written
    _log(data)
    try:
        one = batch.decode(data, where=WHERE)
    except (StateCorrupt, StateForeign, StateTooNew):
        return
    for number, numbered in enumerate(one.records):
        assert numbered.seq == one.first_seq + number
        encode_record(numbered.seq, numbered.record)


def _log(data: bytes) -> None:
    whole = list(salvaged_frames(data))
    try:
        read = scan(data, where=WHERE).frames
    except StateCorrupt:
        read = ()
    assert list(read) == whole[: len(read)]
    for head in (data, *(frame.payload for frame in whole[:1])):
        with suppress(StateCorrupt, StateTooNew):
            decode_header(head, where=WHERE)
    for payload in (data, *(frame.payload for frame in whole)):
        is_continuation(payload)
        try:
            records = decode_batch(payload, where=WHERE)
        except StateCorrupt:
            continue
        if records:
            fold(Applied(environment="production", lineage="l", binding=BINDING), [one.record for one in records])


def plan(data: bytes) -> None:
    """A plan file: invalid input, or a plan that comes back from its own file and can be held against another."""
    try:
        read = decode_plan(data, where=WHERE)
    except InvalidInput:
        return
    written = encode_plan(read)
    assert encode_plan(decode_plan(written, where=WHERE)) == written
    assert differences(read, read) == ()
    differences(read, _fresh_plan())
    differences(_fresh_plan(), read)


@cache
def _fresh_plan() -> Plan:
    from tests.unit.test_plan_codec import PLAN

    return PLAN


def webhook(data: bytes) -> None:
    """A delivery, head and body: listened to only where it is signed, and never an error of ours."""
    deliver(data)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "loader": loader,
    "reply": reply,
    "state": state,
    "plan": plan,
    "webhook": webhook,
}

_SUM = re.compile(rb"sha256:[0-9a-f]{64}")
_BLANK = b"sha256:" + b"0" * 64


def resealed(data: bytes) -> bytes:
    """With a checksum that is right for what it holds now: only so do the bytes behind it come to be read."""
    blank = _SUM.sub(_BLANK, data, count=1)
    return blank.replace(_BLANK, b"sha256:" + hashlib.sha256(blank).hexdigest().encode(), 1)
