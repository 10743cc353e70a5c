"""The canonical spelling and the digest: golden values guard upgrades, RFC 8785's own implementation is the judge."""

import json
import math
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.values import canonical, digest_of

NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_canonical(value: Any) -> None:
    """Every JSON value is spelled as RFC 8785 spells it."""
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "number", [1.0, -0.0, 1e-7, 1e-4, 0.00012, 1e16, 123456789012345680.0, 1e21, 5e-324, 100.05, 10.01, 2**53 - 1]
)
def test_numbers(number: float) -> None:
    """The numbers that Python spells otherwise are spelled as JavaScript does."""
    assert canonical({"n": number}) == rfc8785.dumps({"n": number})


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, -(2**60), "\ud800", {"\udfff": 1}, [10**5000]])
def test_not_exact(value: Any) -> None:
    """What JSON cannot hold exactly is refused with ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - the words are rfc8785's or json's
        canonical(value)


def test_key_order_outside_ascii() -> None:
    """Keys sort by UTF-16 code units, not by code points."""
    value = {"\U0001f600": 1, "\ufb33": 2}
    assert list(json.loads(canonical(value))) == ["\U0001f600", "\ufb33"]


GOLDEN = {
    "name": "Flant5_model",
    "hyperParameters": {"temperature": 1, "maxTokens": 512, "topP": 1, "topK": 50, "stopSequence": []},
    "deviceType": "g5.xlarge",
    "isDeployedPreviously": True,
}


def test_golden_digest() -> None:
    """A digest made by an earlier release is made again, else every model would restart on upgrade."""
    expected = "v1:a1cd1c80dec003748ec032ca40ff47f0f60118525402a96274d6ee8f8004f49a"
    assert digest_of("openSource", GOLDEN) == expected


def test_digest_is_about_what() -> None:
    """Whether it was deployed before says how a deployment is made, so it changes no digest, and the model type does."""
    assert digest_of("openSource", {**GOLDEN, "isDeployedPreviously": False}) == digest_of("openSource", GOLDEN)
    assert digest_of("fineTune", GOLDEN) != digest_of("openSource", GOLDEN)
