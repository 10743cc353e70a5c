"""The log: nothing secret in it, and an event a line."""

from __future__ import annotations

from reconciler.cli.logs import redactor

KEY = "kg-0f9b2c1d-5a3e-4c48"
OTHER = "no-usual-shape-of-a-key"


def test_secrets_are_taken_out_at_any_depth() -> None:
    """A text that must never stand in the log is gone from values, lists and mappings, whatever its shape."""
    redact = redactor((KEY, OTHER))
    told = redact(None, "info", {"event": f"a {OTHER} b", "more": {"deep": [OTHER, f"<{KEY}>"]}, "count": 3})
    assert OTHER not in repr(told)
    assert KEY not in repr(told)
    assert told["count"] == 3
    assert str(told["event"]).startswith("a ")


def test_control_sequences_are_taken_out() -> None:
    """Nothing that is logged starts a line of its own or directs a terminal."""
    told = redactor(())(None, "info", {"event": "one\ntwo\x1b[31m three"})
    assert told["event"] == "one two three"
