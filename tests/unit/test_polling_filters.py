"""Patterns hold what a message has against what they want, as EventBridge does."""

import json
import time
from typing import Any

import pytest

from sandlot_engine.catalog.event_patterns import is_pattern
from sandlot_engine.polling.filters import Filters

RECORD: dict[str, Any] = {"messageId": "id", "attributes": {"SenderId": "me"}}


def chosen(pattern: Any, body: Any) -> bool:
    """Whether a pattern of bodies chooses one; texts are sent as they are."""
    text = json.dumps({"body": pattern})
    assert is_pattern(text)
    sent = body if isinstance(body, str) else json.dumps(body)
    return Filters([text]).choose({**RECORD, "body": sent})


@pytest.mark.parametrize(
    ("pattern", "body", "is_chosen"),
    [
        ({"a": ["x"]}, {"a": "x"}, True),
        ({"a": ["x", "y"]}, {"a": "y", "b": 1}, True),
        ({"a": ["x"]}, {"a": "X"}, False),
        ({"a": ["x"]}, {"b": "x"}, False),
        ({"a": ["x"], "b": ["y"]}, {"a": "x", "b": "z"}, False),
        ({"a": [None]}, {"a": None}, True),
        ({"a": [None]}, {}, False),
        ({"a": [""]}, {"a": ""}, True),
        ({"a": [1]}, {"a": 1}, True),
        ({"a": [1]}, {"a": True}, False),
        ({"a": [True]}, {"a": True}, True),
        ({"a": [1]}, {"a": "1"}, False),
        ({"a": [300]}, '{"a": 300.0}', False),
        ({"a": {"b": ["x"]}}, {"a": {"b": "x"}}, True),
        ({"a": {"b": ["x"]}}, {"a": "x"}, False),
        ({"a": ["x"]}, {"a": ["w", "x"]}, True),
        ({"a": ["x"]}, {"a": []}, False),
        ({"a": {"b": ["x"]}}, {"a": [{"b": "w"}, {"b": "x"}]}, True),
        ({"a": [{"prefix": "ab"}]}, {"a": "abc"}, True),
        ({"a": [{"prefix": "ab"}]}, {"a": "cab"}, False),
        ({"a": [{"prefix": {"equals-ignore-case": "AB"}}]}, {"a": "abc"}, True),
        ({"a": [{"suffix": "bc"}]}, {"a": "abc"}, True),
        ({"a": [{"suffix": {"equals-ignore-case": "BC"}}]}, {"a": "abc"}, True),
        ({"a": [{"suffix": {"equals-ignore-case": "BC"}}]}, {"a": "ab"}, False),
        ({"a": [{"suffix": "b"}]}, {"a": 7}, False),
        ({"a": [{"equals-ignore-case": "ABC"}]}, {"a": "abc"}, True),
        ({"a": [{"equals-ignore-case": "ABC"}]}, {"a": "abcd"}, False),
        ({"a": [{"anything-but": "x"}]}, {"a": "y"}, True),
        ({"a": [{"anything-but": ["x", 1]}]}, {"a": 1}, False),
        ({"a": [{"anything-but": "x"}]}, {}, False),
        ({"a": [{"anything-but": {"prefix": "x"}}]}, {"a": "yx"}, True),
        ({"a": [{"anything-but": {"suffix": ["x", "y"]}}]}, {"a": "ay"}, False),
        ({"a": [{"anything-but": {"wildcard": "x*z"}}]}, {"a": "xyz"}, False),
        ({"a": [{"numeric": [">", 0, "<=", 5]}]}, {"a": 5}, True),
        ({"a": [{"numeric": [">", 0, "<=", 5]}]}, {"a": 5.5}, False),
        ({"a": [{"numeric": ["=", 300]}]}, '{"a": 3e2}', True),
        ({"a": [{"numeric": ["<", 5]}]}, {"a": "1"}, False),
        ({"a": [{"exists": True}]}, {"a": None}, True),
        ({"a": [{"exists": True}]}, {"b": 1}, False),
        ({"a": [{"exists": True}]}, {"a": {"b": 1}}, False),
        ({"a": [{"exists": False}]}, {"b": 1}, True),
        ({"a": [{"exists": False}]}, {"a": 1}, False),
        ({"a": {"b": [{"exists": False}]}}, {}, True),
        ({"a": [{"wildcard": "a*c*e"}]}, {"a": "abcde"}, True),
        ({"a": [{"wildcard": "a*c*e"}]}, {"a": "abde"}, False),
        ({"a": [{"wildcard": "ab*ba"}]}, {"a": "aba"}, False),
        ({"a": [{"wildcard": "a*bc*c"}]}, {"a": "abc"}, False),
        ({"a": [{"wildcard": "*b*"}]}, {"a": "b"}, True),
        ({"a": [{"wildcard": "*"}]}, {"a": ""}, True),
        ({"a": [{"wildcard": "a\\*"}]}, {"a": "a*"}, True),
        ({"a": [{"wildcard": "a\\*"}]}, {"a": "ab"}, False),
        ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": "10.0.0.9"}, True),
        ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": "10.0.1.9"}, False),
        ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": "10.0.0"}, False),
        ({"$or": [{"a": ["x"]}, {"b": [1]}]}, {"b": 1}, True),
        ({"$or": [{"a": ["x"]}, {"b": [1]}], "c": ["y"]}, {"b": 1}, False),
    ],
)
def test_a_pattern_of_json_chooses_bodies(
    pattern: Any, body: Any, *, is_chosen: bool
) -> None:
    assert chosen(pattern, body) is is_chosen


@pytest.mark.parametrize(
    ("pattern", "body", "is_chosen"),
    [
        (["a text"], "a text", True),
        (["a text"], "another", False),
        ([{"prefix": "a "}], "a text", True),
        ({"a": ["x"]}, "a text", False),
        ({"a": [{"exists": False}]}, "a text", False),
        (["x"], {"a": "x"}, False),
        ([{"anything-but": "x"}], {"a": "x"}, False),
    ],
    ids=str,
)
def test_a_text_is_for_patterns_of_texts_and_json_for_those_of_json(
    pattern: Any, body: Any, *, is_chosen: bool
) -> None:
    assert chosen(pattern, body) is is_chosen


def test_one_of_several_patterns_is_enough() -> None:
    patterns = [json.dumps({"body": {"a": [each]}}) for each in ("x", "y")]

    filters = Filters(patterns)

    assert filters.choose({"body": '{"a": "y"}'})
    assert not filters.choose({"body": '{"a": "z"}'})


def test_without_patterns_all_are_chosen() -> None:
    assert Filters([]).choose({"body": "anything"})


def test_a_pattern_of_what_is_beside_the_body_looks_there() -> None:
    filters = Filters([json.dumps({"attributes": {"SenderId": ["me"]}})])

    assert filters.choose({**RECORD, "body": "a text"})
    assert not filters.choose({"body": "a text", "attributes": {"SenderId": "you"}})


FEW, MANY = range(10), range(300)


@pytest.mark.parametrize(
    ("pattern", "body"),
    [
        ([f"v{each}" for each in MANY], [0] * 1_000),
        ([f"v{each}" for each in MANY], [[]] * 1_000),
        ([{"anything-but": [*MANY]}], [0] * 1_000),
        ([{"anything-but": {"prefix": [f"v{each}" for each in MANY]}}], ["v1"] * 1_000),
        ([{"cidr": f"10.0.{each}.0/24"} for each in FEW], ["1.2.3.4"] * 1_000),
    ],
)
def test_a_message_that_takes_too_much_comparing_is_chosen(
    pattern: list[Any], body: list[Any]
) -> None:
    none_fits = chosen({"a": pattern}, {"a": body[:10]})
    began = time.process_time()

    is_chosen = chosen({"a": pattern}, {"a": body})

    assert (none_fits, is_chosen) == (False, True)
    assert time.process_time() - began < 1


def test_a_message_that_is_nested_too_deep_to_be_compared_is_chosen() -> None:
    results = {
        chosen({"a": ["x"]}, f'{{"a": {"[" * depth}{"]" * depth}}}')
        for depth in range(900, 1_000)
    }

    assert results <= {True, False}


def test_a_pattern_s_stars_take_no_time_of_their_own() -> None:
    pattern = {"a": [{"wildcard": "*a" * 500 + "b"}]}

    began = time.process_time()
    is_chosen = chosen(pattern, {"a": "a" * 100_000})

    assert not is_chosen
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "is_chosen"),
    [
        ("prefix", "STRASSE", "Straße 1", True),
        ("prefix", "strasse", "straß", False),
        ("prefix", "", "x", True),
        ("suffix", "STRASSE", "in der Straße", True),
        ("suffix", "sse", "ße", True),
        ("suffix", "", "x", True),
        ("suffix", "ßx", "x", False),
    ],
)
def test_case_is_folded_where_a_character_becomes_two(
    operator: str, wanted: str, given: str, is_chosen: bool
) -> None:
    pattern = {"a": [{operator: {"equals-ignore-case": wanted}}]}

    assert chosen(pattern, {"a": given}) == is_chosen


@pytest.mark.parametrize("operator", ["", "prefix", "suffix"])
def test_a_long_text_is_not_folded_for_each_comparison(operator: str) -> None:
    leaf: dict[str, Any] = {"equals-ignore-case": "x"}
    leaves = [{operator: leaf} if operator else leaf] * 70
    text = json.dumps({"body": {"a": leaves}})
    assert is_pattern(text)
    filters = Filters([text] * 5)
    record = {**RECORD, "body": json.dumps({"a": "ß" * 1_000_000})}

    began = time.process_time()
    is_chosen = filters.choose(record)

    assert not is_chosen
    assert time.process_time() - began < 1


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a": NaN}', '{"a": 1', ""])
def test_a_body_that_is_no_json_is_a_text(body: str) -> None:
    assert not chosen({"a": ["x"]}, body)
