"""From a request to the event: payload format 2.0, whatever is sent."""

import base64
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.gateway.urls.events import Request, Signer, event_of

NOW = datetime(2020, 3, 12, 19, 3, 58, 390_000, tzinfo=UTC)
TOKENS = st.from_regex(r"[a-z][a-z0-9-]{0,12}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)


def request(**changes: Any) -> Request:
    plain: dict[str, Any] = {
        "method": "GET",
        "path": "/",
        "query": "",
        "protocol": "HTTP/1.1",
        "headers": [(b"host", b"box:9070")],
        "body": b"",
        "source_ip": "192.0.2.1",
        "scheme": "http",
        "port": 9070,
    }
    return Request(**(plain | changes))


def event(signer: Signer | None = None, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(
        event_of(
            request(**changes),
            url_id="urlid",
            signer=signer,
            request_id="request-1",
            trace_id="Root=1-a-b",
            now=NOW,
        )
    )
    return made


def test_the_whole_event_is_as_aws_has_it() -> None:
    headers = [
        (b"host", b"urlid.lambda-url.eu-west-1.localhost:9070"),
        (b"user-agent", b"curl/8"),
        (b"accept", b"a"),
        (b"accept", b"b"),
        (b"cookie", b"one=1; two=2"),
        (b"content-type", b"application/json"),
        (b"connection", b"keep-alive"),
    ]

    made = event(
        method="POST",
        path="/pa%2Fth",
        query="a=1&a=2&b=x%20y&c=",
        headers=headers,
        body=b'{"n": 1}',
    )

    assert made == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/pa%2Fth",
        "rawQueryString": "a=1&a=2&b=x%20y&c=",
        "cookies": ["one=1", "two=2"],
        "headers": {
            "host": "urlid.lambda-url.eu-west-1.localhost:9070",
            "user-agent": "curl/8",
            "accept": "a,b",
            "cookie": "one=1; two=2",
            "content-type": "application/json",
            "x-amzn-trace-id": "Root=1-a-b",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "9070",
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"a": "1,2", "b": "x y", "c": ""},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "urlid",
            "domainName": "urlid.lambda-url.eu-west-1.localhost",
            "domainPrefix": "urlid",
            "http": {
                "method": "POST",
                "path": "/pa%2Fth",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "curl/8",
            },
            "requestId": "request-1",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_584_039_838_390,
        },
        "body": '{"n": 1}',
        "isBase64Encoded": False,
    }


def test_what_was_not_sent_is_not_there() -> None:
    made = event()

    assert made.keys().isdisjoint({"cookies", "queryStringParameters", "body"})
    assert "authorizer" not in made["requestContext"]
    assert made["isBase64Encoded"] is False


def test_nothing_is_null_as_powertools_for_typescript_takes_no_such_event() -> None:
    made = event()

    assert None not in made.values()
    assert None not in made["requestContext"].values()


def test_a_signer_is_told_of_and_its_signature_is_not() -> None:
    signer = Signer(account="111111111111", access_key_id="KEY")

    made = event(signer, headers=[(b"authorization", b"AWS4-HMAC-SHA256 x")])

    assert made["requestContext"]["accountId"] == "111111111111"
    assert made["requestContext"]["authorizer"]["iam"] == {
        "accessKey": "KEY",
        "accountId": "111111111111",
        "callerId": "111111111111",
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": "arn:aws:iam::111111111111:root",
        "userId": "111111111111",
    }
    assert "authorization" not in made["headers"]


def test_nor_is_that_of_a_presigned_url_which_is_good_for_a_week() -> None:
    signer = Signer(account="111111111111", access_key_id="KEY")
    query = "b=1&X-Amz-Date=20200312T190358Z&X-Amz-Signature=abc&a=%2F"

    made = event(signer, query=query)
    unsigned = event(query=query)

    assert made["rawQueryString"] == "b=1&X-Amz-Date=20200312T190358Z&a=%2F"
    assert "X-Amz-Signature" not in made["queryStringParameters"]
    assert made["queryStringParameters"]["a"] == "/"
    assert unsigned["rawQueryString"] == query, "where nobody has looked at it"


def test_an_unsigned_authorization_is_the_functions_own() -> None:
    made = event(headers=[(b"authorization", b"Bearer x")])

    assert made["headers"]["authorization"] == "Bearer x"


def test_where_it_came_from_is_added_to_what_is_said_of_it() -> None:
    made = event(headers=[(b"x-forwarded-for", b"1.1.1.1")])

    assert made["headers"]["x-forwarded-for"] == "1.1.1.1, 192.0.2.1"
    assert made["requestContext"]["http"]["sourceIp"] == "192.0.2.1"


@pytest.mark.parametrize(
    ("content_type", "is_text"),
    [
        ("text/plain", True),
        ("TEXT/HTML; charset=utf-8", True),
        ("application/json", True),
        ("application/problem+json; x=y", True),
        ("application/xml", True),
        ("image/svg+xml", False),
        ("application/atom+xml", True),
        ("application/javascript", True),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
        ("application/octet-stream", False),
        ("image/png", False),
        ("application/jsonx", False),
        ("", False),
    ],
)
def test_the_type_says_whether_a_body_is_text(
    content_type: str, *, is_text: bool
) -> None:
    made = event(body=b"a=1", headers=[(b"content-type", content_type.encode())])

    assert made["isBase64Encoded"] is not is_text
    assert made["body"] == ("a=1" if is_text else "YT0x")


@given(st.binary(min_size=1, max_size=200), st.sampled_from(["text/plain", "a/b", ""]))
def test_a_body_arrives_as_it_was_sent(body: bytes, content_type: str) -> None:
    made = event(body=body, headers=[(b"content-type", content_type.encode())])

    sent = made["body"].encode()
    assert (base64.b64decode(sent) if made["isBase64Encoded"] else sent) == body


@given(st.lists(st.tuples(TOKENS, VALUES), max_size=6))
def test_headers_arrive_by_name_with_all_their_values(
    headers: list[tuple[str, str]],
) -> None:
    headers = [("x-" + name, value.strip()) for name, value in headers]

    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    made = event(headers=sent)["headers"]

    for name in {name for name, _ in headers}:
        assert made[name] == ",".join(value for each, value in headers if each == name)


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=5))
def test_parameters_arrive_decoded_and_joined(pairs: list[tuple[str, str]]) -> None:
    pairs = [
        (
            name.encode(errors="replace").decode(),
            value.encode(errors="replace").decode(),
        )
        for name, value in pairs
    ]
    query = urlencode(pairs)

    made = event(query=query)

    expected: dict[str, list[str]] = {}
    for name, value in pairs:
        expected.setdefault(name, []).append(value)
    joined = {name: ",".join(values) for name, values in expected.items()}
    assert made.get("queryStringParameters", {}) == joined
    assert made["rawQueryString"] == query
