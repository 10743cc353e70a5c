"""No bytes whatever make the loader raise."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.diagnostics import in_order
from reconciler.load.codes import CODES
from reconciler.load.documents import load_file
from reconciler.load.project import Fallback, load_project
from reconciler.load.widening import NO_WIDENING
from reconciler.load.yaml import Marks, parse
from reconciler.model.snapshot import SourceFile

ROOT = Path(__file__).parent.parent.parent
SEEDS = [
    *(path.read_bytes() for path in sorted(ROOT.glob("manifests/**/*.yaml"))),
    (ROOT / "reconciler.yaml").read_bytes(),
]
SIGNS = "-?:,[]{}#&*!|>'\"%@`~\\ \n\t\r\0\x85\u2028\ufeff"
TOKENS = [
    *(sign.encode() for sign in SIGNS),
    *(b"---\n", b"...\n", b"  ", b"- ", b": ", b"? ", b"&a ", b"*a", b"<<: ", b"<<: *a\n", b"!!str ", b"!<x> ", b"|\n", b">-\n"),
    *(b'"\\ud800"', b'"\\U00110000"', b"1e999", b".nan", b"0o777", b"\xff", b"\xed\xa0\x80", b"%YAML 1.1\n", b"%TAG ! x\n"),
    *(b"null", b"true", b"spec:", b"environments:", b"apiVersion: reconciler/v1\n", b"kind: ModelDeployment\n", b"kg-12345678"),
]  # fmt: skip

soup = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=4), max_size=40).map(b"".join)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """An example with pieces cut out, doubled or put in."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        piece = draw(st.sampled_from((b"", text[start:end] * 2)) | soup)
        text = text[:start] + piece + text[end:]
    return text


def check(data: bytes) -> None:
    """Nothing raises, every diagnostic has its place and a code that is documented, and the same bytes say the same."""
    file = SourceFile(path="a.yaml", data=data)
    loaded = load_file(file, NO_WIDENING)
    settled, wrong = load_project(file, Fallback(host=None))
    assert loaded == load_file(file, NO_WIDENING)
    lines = (
        data.decode(errors="replace").count("\n")
        + data.count(b"\r")
        + data.count(b"\xc2\x85")
        + data.count(b"\xe2\x80")
        + 1
    )
    for one in (*loaded.diagnostics, *wrong):
        assert one.code in CODES
        assert one.position is not None
        assert 1 <= one.position.line <= lines + 1
    assert settled is not None or wrong
    assert in_order(in_order(loaded.diagnostics)) == in_order(loaded.diagnostics)
    marks = Marks(data, "a.yaml")
    for document in parse(data, "a.yaml")[0]:
        marks.position(document.index, ("spec", "hyperParameters", "stopSequence", 0))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Bytes of no meaning end in values or diagnostics."""
    check(data)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=soup)
def test_any_tokens(data: bytes) -> None:
    """YAML's own signs in any order end in values or diagnostics."""
    check(data)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=mangled())
def test_any_change_to_an_example(data: bytes) -> None:
    """Examples with pieces lost, doubled or put in end in values or diagnostics."""
    check(data)
