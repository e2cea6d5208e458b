"""Whether bytes are JSON: what Python's own strict reader says of the same bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.invocation.json_check import NotJson, check

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)

PIECES = st.lists(
    st.sampled_from([*'[]{},:"a\\10-.e+ \n', "true", "nul", '"k":', "é", "\\x", "1e5"]),
    max_size=12,
).map("".join)
"""What looks like JSON, and mostly is not."""


def is_json(payload: bytes) -> bool:
    try:
        check(payload)
    except NotJson:
        return False
    return True


def python_reads(payload: bytes) -> bool:
    try:
        json.loads(payload.decode(), parse_constant=lambda name: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return False
    return True


@given(VALUES)
def test_every_value_that_json_can_say_passes(value: object) -> None:
    assert is_json(json.dumps(value).encode())


@given(PIECES)
def test_both_readers_agree_on_what_looks_like_json(text: str) -> None:
    payload = text.encode()

    assert is_json(payload) == python_reads(payload)


@pytest.mark.parametrize(
    "payload",
    [b"", b"NaN", b"[Infinity]", b'"\xff"', b'{"a":1}x', b"[" * 1_000_000, b"'a'"],
    ids=["nothing", "nan", "infinity", "utf-8", "more", "deep", "quotes"],
)
def test_what_is_not_json_is_refused(payload: bytes) -> None:
    assert not is_json(payload)


def test_the_message_does_not_repeat_the_tenants_text() -> None:
    with pytest.raises(NotJson) as caught:
        check(b'{"secret": hunter2}')

    assert "hunter2" not in str(caught.value)
