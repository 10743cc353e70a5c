"""Where our reading of yaml-test-suite differs from ruamel.yaml's and from the suite's own, every case with its reason.

Ours is libyaml's grammar with YAML 1.2's core schema on top. "Refused" differences cost somebody a diagnostic; those "read
otherwise" would change a value in silence, and are therefore kept few and known.
"""

from __future__ import annotations

from collections.abc import Mapping

Reasons = Mapping[str, str]

# reason -> the cases, by blanks
AGAINST_RUAMEL: Reasons = {
    "refused here: a key that is no text": "6BFJ 6PBE DFF7 FH7J KK5P LX3P M5DY RZP5 SBG9 XW4D",
    "refused here, libyaml: a key that is left out": "6M2F FRK4 NHX8 NKF9 S3PD SM9W/01 UKK6/00",
    "refused here: a tag outside the core schema, !!set, !!omap or !!binary": "2XXW 565N J7PZ",
    "refused here: a %TAG directive": "U3C3",
    "refused here, libyaml: a directive that is unknown, or a text beginning with %": "2LFX 6LVF MUS6/05 MUS6/06 W4TN",
    "refused here, PyYAML: an anchor's name used twice": "3GZX PW8X",
    "refused here, libyaml: an anchor's name outside ASCII letters, digits, - and _": "2SXE 8XYN W5VH",
    "refused here, libyaml: a colon at the start of a plain text in a flow collection": "4ABK 58MP 5T43 DBG4 HM87/00",
    "refused here, libyaml: tabs at the start of a block scalar": "96NN/00 96NN/01 Y79Y/001",
    "refused here, libyaml: a document that follows ... without ---, or follows a plain text": "7Z25 DK3J FP8R",
    "refused by ruamel: a tab between tokens or on an empty line": "DC7X DK95/05 DK95/07 HS5T J3BT K54U NB6Z UV7Q",
    "refused by ruamel: blank lines before a block scalar that are longer than its indentation": "4QFQ DWX9 S98Z T26H",
    "refused by ruamel: a comment straight behind > or behind %YAML": "MUS6/00 X4QW",
    "refused by ruamel: a tab inside %YAML": "MUS6/03",
    "refused by ruamel: an empty key with a tag": "WZ62",
    "read otherwise: dates are text in the core schema, and dates to ruamel": "RZT7",
    "read otherwise: a lone ! makes the empty text, and null to ruamel": "UKK6/02",
    "read otherwise, libyaml: an anchor's name ends before a colon": "Y2GN",
}

AGAINST_THE_SUITE: Reasons = {
    "refused: a tag outside the core schema": "2XXW 565N 7FWL CUP7 J7PZ M5C3 UGM3 Z67P",
    "refused: a %TAG directive": "5TYM 6CK3 6WLZ 9WXW C4HZ CC74 P76L U3C3 Z9M4",
    "refused, PyYAML: an anchor's name used twice": "3GZX",
    "refused, libyaml: a directive that is unknown, or a text beginning with %": "2LFX 6LVF MUS6/05 MUS6/06 UT92 W4TN",
    "refused, libyaml: %YAML of a version to come": "BEC7",
    "refused, libyaml: an anchor's name outside ASCII letters, digits, - and _": "2SXE 8XYN W5VH",
    "refused, libyaml: a colon at the start of a plain text in a flow collection": "58MP 5T43 DBG4 HM87/00",
    "refused, libyaml: a colon that follows a quoted key on the next line": "4MUZ/00 4MUZ/01 4MUZ/02 5MUD K3WX VJP3/01",
    "refused, libyaml: a quoted key of several lines in a flow collection": "9SA2 NJ66",
    "refused, libyaml: tabs at the start of a block scalar": "96NN/00 96NN/01 R4YG Y79Y/001",
    "refused, libyaml: tabs between tokens": "6BCT 6CA3 A2M4 DK95/00 DK95/03 DK95/04 Q5MG Y79Y/010",
    "refused, libyaml: a document that follows ... without ---, or a lone ...": "7Z25 DK3J FP8R HWV9 M7A3 QT73",
    "read, libyaml: too little indentation inside a flow collection or quotes": "9C9N DK95/01 QB6E",
    "read, libyaml: a comment without a blank before it": "9JBA CVW2 MUS6/00 SU5Z X4QW",
    "read, libyaml: text that should end a document": "EB22 RHX7 MUS6/01",
    "read, libyaml: a lone dash in a flow collection": "G5U8 YJV2",
    "read, libyaml: blank lines before a block scalar that are longer than its indentation": "S98Z",
    "read, libyaml: a tab that indents in a flow collection": "Y79Y/003",
    "read otherwise, libyaml: a ? that begins a plain text in a flow collection is lost": "652Z HM87/01",
    "read otherwise, libyaml: ! before a plain value does not make it text": "S4JQ",
    "read otherwise, libyaml: blanks in the last line of a block scalar": "JEF9/02 L24T/01",
    "read otherwise, libyaml: an anchor's name ends before a colon": "Y2GN",
}

# PyYAML's own parser stands in where PyYAML has no C extension; it is the same grammar, but for these.
BETWEEN_BACKENDS: Reasons = {
    "libyaml refuses: an unknown directive, or a version to come": "2LFX 6LVF BEC7 MUS6/05 MUS6/06",
    "libyaml refuses: a text in a flow collection that ends with a colon": "4ABK",
    "libyaml refuses: tabs at the start of a block scalar": "96NN/00 96NN/01 R4YG Y79Y/001",
    "libyaml refuses: a comma behind a tag, which to PyYAML belongs to the tag, and is refused as unknown": "U99R",
    "PyYAML refuses: tabs between tokens and on empty lines": (
        "6HB6 DC7X DK95/05 DK95/07 HS5T J3BT K54U NB6Z UV7Q Y79Y/002 Y79Y/003"
    ),
    "PyYAML refuses: a ? in a plain text": "JR7V",
    "PyYAML refuses: a comment straight behind > or %YAML, a tab inside %YAML": "MUS6/00 MUS6/03 X4QW",
    "PyYAML refuses: an empty key with a tag": "WZ62",
    "read otherwise: a lone ! makes the empty text, and null to PyYAML": "UKK6/02",
}


def reasons_by_case(table: Reasons) -> dict[str, str]:
    """Each case with its reason; a case stands once."""
    pairs = [(case, reason) for reason, cases in table.items() for case in cases.split()]
    assert len(pairs) == len(dict(pairs)), "a case stands twice"
    return dict(pairs)
