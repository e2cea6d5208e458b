"""Patterns for events: which there are, and that no text breaks the check."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.catalog.event_patterns import MAX_PATTERN, is_pattern


@pytest.mark.parametrize(
    "pattern",
    [
        {"body": {"a": ["x", 1, 1.5, True, None, ""]}},
        {"body": [{"prefix": "a"}, {"suffix": "b"}, {"wildcard": "a*b"}]},
        {"body": [{"prefix": {"equals-ignore-case": "a"}}]},
        {"a": [{"equals-ignore-case": "b"}], "b": [{"cidr": "10.0.0.0/8"}]},
        {"a": [{"anything-but": "b"}, {"anything-but": ["b", 1]}]},
        {"a": [{"anything-but": {"prefix": "b"}}]},
        {"a": [{"anything-but": {"suffix": ["b", "c"]}}]},
        {"a": [{"numeric": ["=", 1]}], "b": [{"numeric": [">", 0, "<=", 5.5]}]},
        {"a": [{"exists": False}]},
        {"$or": [{"a": [1]}, {"b": {"c": [2]}}]},
        {"$or": {"a": [1]}},
    ],
)
def test_what_is_a_pattern(pattern: object) -> None:
    assert is_pattern(json.dumps(pattern))


@pytest.mark.parametrize(
    "pattern",
    [
        [],
        "a",
        {},
        {"a": []},
        {"a": "b"},
        {"a": {}},
        {"a": [["b"]]},
        {"a": ["b"], "c": "d"},
        {"a": ["b", {"like": "c"}]},
        {"a": [{}]},
        {"a": [{"prefix": "b", "suffix": "c"}]},
        {"a": [{"like": "b"}]},
        {"a": [{"prefix": 1}]},
        {"a": [{"prefix": {"suffix": "b"}}]},
        {"a": [{"anything-but": []}]},
        {"a": [{"anything-but": ["b", {}]}]},
        {"a": [{"anything-but": {"numeric": ["=", 1]}}]},
        {"a": [{"anything-but": {"like": "b"}}]},
        {"a": [{"anything-but": {"prefix": 1}}]},
        {"a": [{"numeric": []}]},
        {"a": [{"numeric": ["=", "1"]}]},
        {"a": [{"numeric": ["=", True]}]},
        {"a": [{"numeric": ["!=", 1]}]},
        {"a": [{"numeric": [">", 0, "<", "1"]}]},
        {"a": [{"exists": "yes"}]},
        {"$or": [{"a": [1]}]},
        {"$or": [{"a": [1]}, 2]},
    ],
)
def test_what_is_none(pattern: object) -> None:
    assert not is_pattern(json.dumps(pattern))


def test_what_is_too_long_or_too_deep_is_none() -> None:
    deep = '{"a":' * 21 + "[1]" + "}" * 21

    assert not is_pattern(json.dumps({"a": ["x" * MAX_PATTERN]}))
    assert not is_pattern(deep)
    assert not is_pattern('{"a":' * 800)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["a", "$or", "prefix", "anything-but", "numeric", "exists"]
            ),
            inner,
            max_size=3,
        )
    ),
)


@given(JSON)
def test_any_json_is_one_or_is_not(value: object) -> None:
    assert is_pattern(json.dumps(value)) in (True, False)
