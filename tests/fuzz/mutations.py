"""Valid manifests with something wrong, or something else, in them: at the level of bytes, of tokens and of structure.

The same number gives the same mutation, on every machine: what fails is repeated by its number.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

from reconciler.load.yaml import parse
from reconciler.model.values import Json
from tests.fuzz.seeds import WORDS, manifests

ORIGINALS = tuple(manifests())
_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|\n *|[A-Za-z0-9_.+-]+|[^A-Za-z0-9]')
_NUMBER = re.compile(rb"[-+]?[0-9]+(?:\.[0-9]+)?\Z")
_NUMBERS = (
    b"0",
    b"1",
    b"-1",
    b"2",
    b"513",
    b"1.0",
    b"0.7000000000000001",
    b"9007199254740993",
    b"1e3",
    b"0x10",
    b"1_0",
)
# Values near what is right, so that much of what comes out is accepted, and values that are not.
_VALUES: tuple[Json, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        1.0,
        2,
        -1,
        0.5,
        512,
        1e300,
        2**53 + 1,
        "",
        "1",
        "true",
        "chat",
        "base",
        "second",
        "cm-1",
        "cm-9",
    ),
    *(
        "g5.xlarge",
        "g5.2xlarge",
        "h9.large",
        "openSource",
        "fineTune",
        "vllm",
        "no_quantization",
        "45m",
        "\u202e",
        "kg-12345678",
    ),
    *([], {}, [1], ["a"], [{"on": 1}], {"a": {"b": [True]}}, {"staging": {}}, {"minReplicas": 1}, "x" * 300),
)
_KEYS = (
    "topK",
    "seed",
    "extra",
    "modelId",
    "staging",
    "production",
    "name",
    "labels",
    "wave",
    "<<",
    "on",
    "",
    "a.b",
    "protect",
)


def mutation(number: int) -> tuple[bytes, bytes]:
    """The original, and what became of it."""
    random = Random(number)
    original = random.choice(ORIGINALS)
    mutate = random.choice((in_bytes, _tokens, _structure))
    return original, mutate(random, original)


def cut(number: int) -> tuple[bytes, bytes]:
    """Every beginning of every original, one after the other: what a reader sees of a file that is being written."""
    for original in ORIGINALS:
        if number < len(original):
            return original, original[:number]
        number -= len(original)
    raise IndexError(number)


CUTS = range(sum(map(len, ORIGINALS)))


def in_bytes(random: Random, data: bytes) -> bytes:
    """Bytes flipped, put in, lost or doubled, or the text cut, without regard for what they mean."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        start = random.randrange(len(data) + 1)
        end = min(len(data), start + random.choice((0, 1, 1, 2, 8, 40)))
        piece = random.choice((_flipped, _inserted, _lost, _doubled, _cut))(random, data[start:end])
        data = data[:start] if piece is None else data[:start] + piece + data[end:]
    return data


def _flipped(random: Random, piece: bytes) -> bytes:
    return bytes(byte ^ (1 << random.randrange(8)) for byte in piece)


def _inserted(random: Random, piece: bytes) -> bytes:
    return piece + random.choice((random.randbytes(random.choice((1, 2, 4))), random.choice(WORDS["loader"])))


def _lost(_random: Random, _piece: bytes) -> bytes:
    return b""


def _doubled(_random: Random, piece: bytes) -> bytes:
    return piece * 2


def _cut(random: Random, piece: bytes) -> bytes | None:
    """None where the text ends here."""
    return piece if random.randrange(4) else None


def _tokens(random: Random, data: bytes) -> bytes:
    tokens = _TOKEN.findall(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        at, other = random.randrange(len(tokens)), random.randrange(len(tokens))
        match random.randrange(6):
            case 0:
                tokens[at] = tokens[other]
            case 1:
                tokens[at] = random.choice(WORDS["loader"])
            case 2:
                tokens[at] = b""
            case 3:
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case 4:
                tokens[at] += tokens[at]
            case _:
                tokens[at] = _another(random, tokens[random.choice(_numbers_in(tokens) or [at])])
    return b"".join(tokens)


def _numbers_in(tokens: list[bytes]) -> list[int]:
    return [n for n, token in enumerate(tokens) if _NUMBER.match(token)]


def _another(random: Random, token: bytes) -> bytes:
    return random.choice((*_NUMBERS, token + b"0", b"-" + token, token.upper(), b'"' + token.strip(b'"') + b'"'))


def _structure(random: Random, data: bytes) -> bytes:
    documents = [copy.deepcopy(document.value) for document in parse(data, "a.yaml")[0]]
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        _change(random, documents)
    if random.randrange(4) == 0:
        random.shuffle(documents)
    indent = random.choice((None, 1, 4))
    return b"\n---\n".join(json.dumps(document, indent=indent).encode() for document in documents)


def _change(random: Random, documents: list[Json]) -> None:
    places = list(_collections(documents))
    place, other = random.choice(places), random.choice(places)
    key, source = _key_in(random, place), _key_in(random, other)
    match random.randrange(7):
        case 0 | 1 if key is not None:
            place[key] = _tweaked(random, place[key])
        case 2 if key is not None:
            place[key] = copy.deepcopy(random.choice(_VALUES))
        case 3 if key is not None:
            del place[key]
        case 4 if key is not None and source is not None:
            place[key] = copy.deepcopy(other[source])
        case 5 if isinstance(place, dict) and key is not None:
            place[random.choice(_KEYS)] = place.pop(key)
        case _:
            if isinstance(place, dict):
                place[random.choice(_KEYS)] = copy.deepcopy(random.choice(_VALUES))
            else:
                place.append(copy.deepcopy(random.choice((*_VALUES, *place))))


def _tweaked(random: Random, value: Json) -> Json:
    """Something like it: what a hand on the keyboard makes of it."""
    if isinstance(value, bool):
        return random.choice((not value, int(value)))
    if isinstance(value, int | float):
        return random.choice((value + 1, value - 1, value * 2, value / 2, bool(value), str(value), value + 0.5))
    if isinstance(value, str):
        return random.choice((value + "x", value[1:], value.upper(), f"{value} ", [value]))
    if isinstance(value, list):
        return random.choice((value[1:], [*value, *value], list(reversed(value)), [value]))
    return [value] if value is None or random.randrange(2) else {}


def _collections(value: Json) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _collections(item)


def _key_in(random: Random, place: Any) -> Any:
    return random.choice(list(place) if isinstance(place, dict) else range(len(place))) if place else None
