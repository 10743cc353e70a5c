"""Texts made to hurt a YAML loader, and the code of what is said about each; "" where nothing is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping

MIB = 1024 * 1024


def _laughs() -> bytes:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    return "\n".join(lines).encode()


def _merge_bomb() -> bytes:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 4)}], k{n}: 1}}" for n in range(1, 14)]
    return "\n".join(lines).encode()


def _compact_by_lines() -> bytes:
    """Nesting that grows by a few columns a line, so that no line is suspicious by itself."""
    return b"".join(b" " * (200 * n) + b"- " * 100 + b"\n" for n in range(100))


HOSTILE: Mapping[str, tuple[bytes, str]] = {
    "billion laughs": (_laughs(), "RC204"),
    "merge-key bomb": (_merge_bomb(), "RC204"),
    "merge-key bombs": ((_merge_bomb() + b"\n---\n") * 400, "RC204"),
    "long text, many aliases": (b"a: &a " + b"x" * 100_000 + b"\nb: [" + b"*a, " * 9_000 + b"]", "RC204"),
    "alias inside itself": (b"a: &a [*a]", "RC209"),
    "mapping inside itself": (b"&a {a: *a}", "RC209"),
    "merged into itself": (b"&a {<<: *a, b: 1}", "RC209"),
    "30 KB of [": (b"[" * 30_000, "RC203"),
    "a file full of [": (b"[" * MIB, "RC203"),
    "30 KB of {": (b"{" * 30_000, "RC203"),
    "{a: {a: {a:": (b"{a: " * 10_000, "RC203"),
    "brackets closed in comments only": (b"[ #]\n" * 30_000, "RC203"),
    "brackets closed in quotes only": (b'["]",' * 30_000, "RC203"),
    "- - - -": (b"- " * 20_000, "RC203"),
    "? ? ? ?": (b"? " * 20_000, "RC203"),
    "- ? - ?": (b"- ? " * 20_000, "RC203"),
    "-\t-\t": (b"-\t" * 20_000, "RC205"),
    "- - - - by lines": (_compact_by_lines(), "RC203"),
    "- - - - after a strange line break": (b"a: b\xc2\x85" + b"- " * 20_000, "RC205"),
    "indented ever deeper": (b"".join(b" " * n + b"a:\n" for n in range(1_000)), "RC203"),
    "lists indented ever deeper": (b"".join(b" " * n + b"-\n" for n in range(1_000)), "RC203"),
    "51 levels": (b"[" * 51 + b"]" * 51, "RC203"),
    "50 levels": (b"[" * 50 + b"]" * 50, ""),
    "one byte too many": (b"#" * (MIB + 1), "RC202"),
    "a comment as large as a file may be": (b"#" * MIB, ""),
    "a text as large as a file may be": (b"a: " + b"x" * (MIB - 3), ""),
    "blanks": (b" " * MIB, ""),
    "line breaks": (b"\n" * MIB, ""),
    "10,000 keys": (b"".join(b"k%d: 1\n" % n for n in range(9_900)), ""),
    "30,000 keys": (b"".join(b"k%d: 1\n" % n for n in range(30_000)), "RC204"),
    "9,000 keys twice": (b"".join(b"k%d: 1\n" % (n % 4_500) for n in range(9_000)), "RC206"),
    "one key 9,000 times": (b"k: 1\n" * 9_000, "RC206"),
    "500,000 nodes": (b"[" + b"a," * 500_000 + b"]", "RC204"),
    "300,000 documents": (b"---\n" * 260_000, "RC204"),
    "150,000 documents": (b"a\n---\n" * 150_000, "RC204"),
    "20,000 unknown tags": (b"[" + b"!x a," * 19_900 + b"]", "RC208"),
    "80,000 anchors": (b"".join(b"- &a%d x\n" % n for n in range(80_000)), "RC204"),
    "80,000 tag directives": (b"".join(b"%%TAG !a%d! x\n" % n for n in range(60_000)), "RC208"),
    "a tag directive with a long prefix": (b"%TAG !a! " + b"x" * 100_000 + b"\n---\n- !a!x y", "RC208"),
    "a million digits": (b"a: " + b"1" * 1_000_000, "RC211"),
    "a million digits before the point": (b"a: " + b"1" * 1_000_000 + b".0", "RC211"),
    "a million digits after the point": (b"a: 0." + b"1" * 1_000_000, ""),
    "a million octal digits": (b"a: 0o" + b"7" * 1_000_000, "RC211"),
    "a huge exponent": (b"a: 1e999999999", "RC211"),
    "a tiny exponent": (b"a: 1e-999999999", ""),
    "5,000 digits in a directive": (b"%YAML 1." + b"1" * 5_000 + b"\n---\na: 1", "RC205"),
    "a NUL": (b"a: \x00b", "RC205"),
    "a bell": (b"a: \x07b", "RC205"),
    "an escape sequence": (b"a: \x1b[31m", "RC205"),
    "a byte order mark in the middle": ("a: \ufeffb".encode(), ""),
    "half of a character": (b'a: "\\ud800"', "RC205"),
    "a character in halves": (b'a: "\\ud83d\\ude00"', "RC205"),
    "an escape beyond Unicode": (b'a: "\\U00110000"', "RC205"),
    "an escape far beyond Unicode": (b'a: "\\UFFFFFFFF"', "RC205"),
    "UTF-16 with its mark": ("a: b".encode("utf-16"), "RC201"),
    "UTF-16 without": ("a: b".encode("utf-16-le"), "RC205"),
    "UTF-32": ("a: b".encode("utf-32"), "RC201"),
    "Latin-1": ("a: é".encode("latin-1"), "RC201"),
    "a surrogate in UTF-8": (b"a: \xed\xa0\x80", "RC201"),
    "an overlong form": (b"a: \xc0\xaf", "RC201"),
    "half a UTF-8 character": (b"a: \xf0\x9f", "RC201"),
    "random bytes": (bytes(range(256)) * 16, "RC201"),
}
