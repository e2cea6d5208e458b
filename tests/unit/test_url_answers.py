"""From what a function answers to an HTTP response, and to none where it is none."""

import gc
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.gateway.urls.answers import (
    MAX_HEAD,
    MAX_MEMBER,
    SEPARATOR,
    Malformed,
    Response,
    response_of,
)

JSON_TYPE = [(b"content-type", b"application/json")]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=12), inner, max_size=3)
    ),
    max_leaves=8,
)


def said(answer: Any) -> Response:
    return response_of(json.dumps(answer).encode())


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (b'"hello"', b"hello"),
        (b'"h\\u00e9"', "hé".encode()),
        (b'["hello",3,true]', b'["hello",3,true]'),
        (b"42", b"42"),
        (b"null", b"null"),
        (b'{"a": 1}', b'{"a": 1}'),
        (b'{"body": "x", "headers": {}}', b'{"body": "x", "headers": {}}'),
    ],
)
def test_what_has_no_status_is_the_body(payload: bytes, body: bytes) -> None:
    assert response_of(payload) == Response(200, JSON_TYPE, body)


def test_what_does_not_count_of_an_answer_is_not_built() -> None:
    """For two million lists Python takes a third of a second, for everybody."""
    lists = b"[" + b"[]," * 1_000_000 + b"1]"
    collected = gc.get_stats()[0]["collections"]

    ignored = response_of(b'{"statusCode": 201, "more": %s, "body": "x"}' % lists)
    passed_on = response_of(b'{"more": %s}' % lists)
    with pytest.raises(Malformed, match=f"bytes as JSON of {MAX_MEMBER} allowed"):
        response_of(b'{"statusCode": 200, "headers": %s}' % lists)
    with pytest.raises(Malformed, match="body is no text"):
        response_of(b'{"statusCode": 200, "body": %s}' % lists)

    assert (ignored.status, ignored.body) == (201, b"x")
    assert passed_on.body == b'{"more": %s}' % lists
    assert gc.get_stats()[0]["collections"] - collected < 10


def test_an_answer_says_status_headers_cookies_and_body() -> None:
    answer = said(
        {
            "statusCode": 201,
            "headers": {
                "X-One": "1",
                "Content-Type": "text/html",
                "X-N": 2,
                "X-B": True,
            },
            "cookies": ["a=1; Path=/", "b=2"],
            "body": "<b>",
        }
    )

    assert answer.status == 201
    assert answer.headers == [
        (b"x-one", b"1"),
        (b"content-type", b"text/html"),
        (b"x-n", b"2"),
        (b"x-b", b"true"),
        (b"set-cookie", b"a=1; Path=/"),
        (b"set-cookie", b"b=2"),
    ]
    assert answer.body == b"<b>"


def test_a_status_alone_is_enough() -> None:
    assert said({"statusCode": "200"}) == Response(200, JSON_TYPE, b"")
    answer = said({"statusCode": 200, "headers": {"X-One": "1"}})
    assert answer.headers == [(b"x-one", b"1"), *JSON_TYPE]


def test_a_body_in_base64_goes_out_as_bytes() -> None:
    answer = said({"statusCode": 200, "body": "AP8=", "isBase64Encoded": True})

    assert answer.body == b"\x00\xff"


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(status: int) -> None:
    assert said({"statusCode": status, "body": "x"}) == Response(status, [], b"")


def test_what_is_about_the_connection_is_not_the_functions_to_say() -> None:
    headers = {"Connection": "close", "Content-Length": "9", "Transfer-Encoding": "x"}

    answer = said({"statusCode": 200, "headers": headers | {"Date": "x"}})

    assert answer.headers == JSON_TYPE


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": 99},
        {"statusCode": 100},
        {"statusCode": 600},
        {"statusCode": True},
        {"statusCode": 200.5},
        {"statusCode": "2e2"},
        {"statusCode": None},
        {"statusCode": 200, "headers": []},
        {"statusCode": 200, "headers": {"a": []}},
        {"statusCode": 200, "headers": {"a b": "c"}},
        {"statusCode": 200, "headers": {"": "c"}},
        {"statusCode": 200, "headers": {"é": "c"}},
        {"statusCode": 200, "headers": {"a": "b\r\nx: y"}},
        {"statusCode": 200, "headers": {"a": "\0"}},
        {"statusCode": 200, "cookies": "a=1"},
        {"statusCode": 200, "cookies": [1]},
        {"statusCode": 200, "cookies": ["a=1", 1]},
        {"statusCode": 200, "cookies": ["a=1\nb"]},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": 1},
        {"statusCode": 200, "body": "!", "isBase64Encoded": True},
        {"statusCode": 200, "body": "é", "isBase64Encoded": True},
        {"statusCode": 200, "isBase64Encoded": "true"},
        {"statusCode": 200, "headers": {"a": "x" * MAX_HEAD}},
    ],
)
def test_what_is_no_response_is_malformed(answer: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        said(answer)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"NaN",
        b"{",
        b'"\xff"',
        b'{"statusCode": 200, "passed over": "\xff"}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"passed over": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda payload: repr(payload[:30]),
)
def test_what_is_no_json_is_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed, match="no JSON"):
        response_of(payload)


def test_what_was_to_be_streamed_and_is_not_is_told_so() -> None:
    with pytest.raises(Malformed, match="stream"):
        response_of(b'{"statusCode": 200}' + SEPARATOR + b"body")


@given(
    st.fixed_dictionaries(
        {"statusCode": JSON_VALUES | st.integers(190, 610)},
        optional={
            "headers": JSON_VALUES,
            "cookies": JSON_VALUES,
            "body": JSON_VALUES,
            "isBase64Encoded": JSON_VALUES,
        },
    )
    | JSON_VALUES
)
def test_whatever_a_function_answers_is_one_response_or_malformed(answer: Any) -> None:
    try:
        made = said(answer)
    except Malformed:
        return

    assert 200 <= made.status < 600
    for name, value in made.headers:
        assert not set(name + value) & set(b"\r\n\0")
        assert name not in (b"content-length", b"transfer-encoding")
