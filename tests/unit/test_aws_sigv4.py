"""Signatures as botocore makes them, and as somebody on the way might change them."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.sigv4 import claim as sigv4
from sandlot_engine.gateway.aws.sigv4.claim import Claim
from sandlot_engine.gateway.aws.sigv4.reading import (
    MAX_PARAMETERS,
    MAX_SIGNED,
    read_claim,
)
from sandlot_engine.gateway.headers import fold

KEY_ID, SECRET = "AKIAEXAMPLEEXAMPLE22", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime(2026, 5, 17, 12, 30, 15, tzinfo=UTC)
ORIGIN = "http://127.0.0.1:9000"
INVOKE = "/2015-03-31/functions/resize/invocations"
MISMATCH = "The request signature we calculated does not match"


@dataclass(frozen=True)
class Sent:
    """A request as it comes off the wire."""

    method: str
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    secret: str = field(default=SECRET, repr=False)

    def with_header(self, name: str, value: str) -> "Sent":
        rest = [pair for pair in self.headers if pair[0] != name.encode()]
        return replace(self, headers=[*rest, (name.encode(), value.encode())])

    def header(self, name: str) -> str:
        return dict(self.headers)[name.encode()].decode()


def signed(
    path: str = INVOKE,
    *,
    method: str = "POST",
    params: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    body: bytes = b"{}",
    region: str = "us-east-1",
    service: str = "lambda",
    presigned_s: int | None = None,
    token: str | None = None,
    at: datetime = NOW,
) -> Sent:
    """What botocore sends. It makes a presigned URL's body part of the query."""
    body = body if presigned_s is None else b""
    request = AWSRequest(
        method, ORIGIN + path, headers=headers, data=body, params=params
    )
    # As `Endpoint` does before it signs.
    request.headers["Host"] = urlsplit(ORIGIN).netloc
    credentials = Credentials(KEY_ID, SECRET, token)
    with clock_at(at):
        if presigned_s is None:
            SigV4Auth(credentials, service, region).add_auth(request)
        else:
            SigV4QueryAuth(credentials, service, region, presigned_s).add_auth(request)
    prepared = request.prepare()
    url = urlsplit(prepared.url)
    return Sent(
        method=method,
        path=url.path.encode(),
        query=url.query.encode(),
        headers=[
            (name.lower().encode(), text(value))
            for name, value in prepared.headers.items()
        ],
        body=body,
    )


def text(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


@contextmanager
def clock_at(moment: datetime) -> Iterator[None]:
    naive = moment.replace(tzinfo=None)
    with patch("botocore.auth.get_current_datetime", lambda: naive):
        yield


def verify(sent: Sent, *, now: datetime = NOW, is_private: bool = True) -> Claim:
    claim = read_claim(
        sent.method,
        sent.path,
        sent.query,
        fold(sent.headers),
        now=now,
        is_private=is_private,
    )
    body_sha256 = hashlib.sha256(sent.body).hexdigest().encode()
    claim.check(sent.secret, body_sha256=claim.body_sha256 or body_sha256)
    claim.check_body(body_sha256)
    return claim


def refusal(sent: Sent, **how: Any) -> AwsError:
    with pytest.raises(AwsError) as refused:
        verify(sent, **how)
    return refused.value


REQUESTS: dict[str, dict[str, Any]] = {
    "an invocation": {},
    "no body": {"method": "GET", "path": "/2015-03-31/functions/", "body": b""},
    "an ARN in the path": {
        "path": "/2015-03-31/functions/"
        + quote("arn:aws:lambda:us-east-1:111111111111:function:f:$LATEST", safe="")
        + "/invocations"
    },
    "$LATEST": {"path": INVOKE, "params": {"Qualifier": "$LATEST"}},
    "$LATEST in the path": {"path": "/2015-03-31/functions/f%3A%24LATEST/invocations"},
    "a query out of order": {"path": "/2015-03-31/functions?b=2&a=1&a=0&c"},
    "spaces in the query": {"params": {"Marker": "a b+c/d=e&f~g", "MaxItems": "7"}},
    "more than ASCII": {"params": {"Marker": "größe"}, "path": "/2015-03-31/f/%C3%BC"},
    "a header with spaces": {"headers": {"X-Amz-Log-Type": "  Tail   me \t too "}},
    "dots and slashes": {"path": "/2015-03-31//functions/./a/../b/"},
    "the root": {"path": "/", "method": "GET", "body": b""},
    "an empty query value": {"path": "/2017-03-31/tags/x?tagKeys=&tagKeys=b"},
    "a binary body": {"body": bytes(range(256)) * 300},
    "another region": {"region": "eusc-de-east-1"},
    "an unsigned body": {"headers": {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}},
    "a date": {"headers": {"Date": "now"}},
    "a trace, which is not signed": {"headers": {"X-Amzn-Trace-Id": "Root=1-2-3"}},
}


@pytest.mark.parametrize("presigned_s", [None, 60])
@pytest.mark.parametrize("kind", REQUESTS)
def test_what_botocore_signs_is_accepted(kind: str, presigned_s: int | None) -> None:
    sent = signed(**REQUESTS[kind], presigned_s=presigned_s)

    claim = verify(sent)

    assert claim.access_key_id == KEY_ID
    assert claim.region == REQUESTS[kind].get("region", "us-east-1")


SEGMENTS = st.text(st.characters(codec="utf-8"), max_size=12).map(
    lambda segment: quote(segment, safe="")
)
PATHS = st.lists(SEGMENTS | st.sampled_from([".", "..", "", "~", "a.b"]), max_size=5)
PARAMS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    st.text(st.characters(codec="utf-8"), max_size=12),
    max_size=4,
)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
HEADERS = st.dictionaries(
    st.sampled_from(["X-Amz-Client-Context", "Accept", "X-Amz-Tenant-Id", "X-Any"]),
    VALUES,
    max_size=4,
)


@given(PATHS, PARAMS, HEADERS, st.binary(max_size=50), st.sampled_from([None, 60]))
def test_whatever_botocore_signs_is_accepted(
    path: list[str],
    params: dict[str, str],
    headers: dict[str, str],
    body: bytes,
    presigned_s: int | None,
) -> None:
    sent = signed(
        "/" + "/".join(path),
        params=params,
        headers=headers,
        body=body,
        presigned_s=presigned_s,
    )

    verify(sent)


def spoiled(value: bytes, at: int) -> bytes:
    """With one byte changed to another that means something else."""
    # Of an escape such as %3B, the case means nothing.
    other = b"c" if value[at : at + 1] in (b"b", b"B") else b"b"
    return value[:at] + other + value[at + 1 :]


@given(st.data(), st.sampled_from([None, 60]))
def test_a_changed_byte_is_refused(
    data: st.DataObject, presigned_s: int | None
) -> None:
    sent = signed(
        "/2015-03-31/functions/arn%3Aaws%3A24LATEST/invocations",
        params={"Qualifier": "live"},
        headers={"X-Amz-Log-Type": "Tail"},
        body=b'{"a": 1}',
        presigned_s=presigned_s,
    )
    what = data.draw(st.sampled_from(["path", "query", "body", "secret", "header"]))
    if what == "header":
        index = data.draw(st.integers(0, len(sent.headers) - 1))
        name, value = sent.headers[index]
        if name in (b"content-length", b"user-agent"):
            return  # not signed: the body is
        at = data.draw(st.integers(0, len(value) - 1))
        headers = list(sent.headers)
        headers[index] = (name, spoiled(value, at))
        changed = replace(sent, headers=headers)
    elif what == "secret":
        at = data.draw(st.integers(0, len(SECRET) - 1))
        changed = replace(sent, secret=spoiled(SECRET.encode(), at).decode())
    else:
        value = getattr(sent, what) or b"{}"
        at = data.draw(st.integers(0, len(value) - 1))
        changes: dict[str, Any] = {what: spoiled(value, at)}
        changed = replace(sent, **changes)

    # A changed key id is refused by whoever looks up its secret.
    if KEY_ID.encode() in b"".join([changed.query, *dict(changed.headers).values()]):
        refusal(changed)


@pytest.mark.parametrize(
    "change",
    [
        lambda sent: replace(sent, path=b"/2015-03-31/functions/other/invocations"),
        lambda sent: replace(sent, query=b"Qualifier=2"),
        lambda sent: replace(sent, method="PUT"),
        lambda sent: replace(sent, body=b"[]"),
        lambda sent: replace(sent, secret="other"),
        lambda sent: sent.with_header("x-amz-log-type", "None"),
        lambda sent: sent.with_header("host", "127.0.0.1:9001"),
        lambda sent: sent.with_header("x-amz-date", "20260517T123016Z"),
        lambda sent: sent.with_header(
            "authorization",
            sent.header("authorization").replace("us-east-1", "us-east-2"),
        ),
        lambda sent: replace(
            sent,
            headers=[pair for pair in sent.headers if pair[0] != b"x-amz-log-type"],
        ),
    ],
)
def test_what_was_changed_on_the_way_does_not_match(
    change: Callable[[Sent], Sent],
) -> None:
    sent = signed(headers={"X-Amz-Log-Type": "Tail"})

    error = refusal(change(sent))

    assert error.code == "InvalidSignatureException"
    assert error.message.startswith(MISMATCH)
    assert SECRET not in error.message


def test_an_unsigned_header_that_means_something_is_refused() -> None:
    error = refusal(signed().with_header("x-amz-log-type", "Tail"))

    assert error.code == "InvalidSignatureException"
    assert "x-amz-log-type" in error.message


def test_the_host_has_to_be_signed() -> None:
    sent = signed()
    authorization = sent.header("authorization").replace("host;", "")

    error = refusal(sent.with_header("authorization", authorization))

    assert error.message == "'Host' must be a 'SignedHeader' in the AWS Authorization."


@pytest.mark.parametrize(
    "names", ["host;host", ";".join(["host", *(f"a{i}" for i in range(MAX_SIGNED))])]
)
@pytest.mark.parametrize("presigned_s", [None, 60])
def test_who_has_a_header_signed_again_and_again_is_refused(
    names: str, presigned_s: int | None
) -> None:
    sent = signed(presigned_s=presigned_s)
    if presigned_s is None:
        authorization = sent.header("authorization").replace("host;", f"{names};")
        sent = sent.with_header("authorization", authorization)
    else:
        wanted, given = b"X-Amz-SignedHeaders=host", quote(names, safe="").encode()
        query = sent.query.replace(wanted, b"X-Amz-SignedHeaders=" + given)
        sent = replace(sent, query=query)

    assert "must have each name once" in refusal(sent).message


def test_a_query_of_thousands_of_parameters_is_not_signed() -> None:
    sent = signed()

    error = refusal(replace(sent, query=b"a&" * MAX_PARAMETERS))

    assert "at most 256 parameters" in error.message


def test_a_header_that_is_sent_twice_is_not_the_one_that_was_signed() -> None:
    sent = signed(headers={"X-Amz-Log-Type": "Tail"})

    twice = replace(sent, headers=[*sent.headers, (b"x-amz-log-type", b"None")])

    assert refusal(twice).message.startswith(MISMATCH)


def test_a_declared_hash_of_another_body_is_refused() -> None:
    other = hashlib.sha256(b"other").hexdigest()

    error = refusal(signed(headers={"X-Amz-Content-SHA256": other}))

    assert "does not match what was computed" in error.message


def test_a_declared_hash_is_known_before_the_body() -> None:
    declared = hashlib.sha256(b"{}").hexdigest()

    claim = verify(signed(headers={"X-Amz-Content-SHA256": declared}))

    assert claim.body_sha256 == declared.encode()


def test_a_presigned_url_may_declare_the_hash_itself() -> None:
    declared = hashlib.sha256(b"").hexdigest()
    sent = signed(presigned_s=60, params={"X-Amz-Content-SHA256": declared})

    claim = verify(sent)
    error = refusal(replace(sent, body=b"another"))

    assert claim.body_sha256 == declared.encode()
    assert "does not match what was computed" in error.message


def test_an_unsigned_body_may_not_come_over_an_open_network() -> None:
    sent = signed(headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})

    verify(sent, is_private=True)
    error = refusal(sent, is_private=False)

    assert error.code == "InvalidSignatureException"
    assert "only over TLS or loopback" in error.message


def test_a_body_in_signed_chunks_is_refused() -> None:
    streaming = {"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}

    assert "must be UNSIGNED-PAYLOAD, or" in refusal(signed(headers=streaming)).message


# --- time -------------------------------------------------------------------------


@pytest.mark.parametrize("off_s", [-300, 0, 300])
def test_clocks_may_be_five_minutes_apart(off_s: int) -> None:
    verify(signed(at=NOW + timedelta(seconds=off_s)))


def test_a_signature_from_before_is_refused_with_the_reckoning() -> None:
    error = refusal(signed(at=NOW - timedelta(seconds=301)))

    assert error.code == "InvalidSignatureException"
    assert error.message == (
        "Signature expired: 20260517T122514Z is now earlier than 20260517T122515Z "
        "(20260517T123015Z - 5 min.)"
    )


def test_a_signature_from_the_future_is_refused_with_the_reckoning() -> None:
    error = refusal(signed(at=NOW + timedelta(seconds=301)))

    assert error.message == (
        "Signature not yet current: 20260517T123516Z is still later than "
        "20260517T123515Z (20260517T123015Z + 5 min.)"
    )


def test_a_presigned_url_is_good_until_it_expires() -> None:
    sent = signed(presigned_s=60)

    verify(sent, now=NOW + timedelta(seconds=60))
    error = refusal(sent, now=NOW + timedelta(seconds=61))

    assert error.message == (
        "Signature expired: 20260517T123015Z is now earlier than 20260517T123016Z "
        "(20260517T123116Z - 60 sec.)"
    )


def test_a_presigned_url_may_begin_a_quarter_of_an_hour_from_now() -> None:
    verify(signed(presigned_s=60, at=NOW + timedelta(minutes=15)))

    error = refusal(signed(presigned_s=60, at=NOW + timedelta(seconds=901)))

    assert error.message.startswith("Signature not yet current: 20260517T124516Z")


def test_a_presigned_url_is_good_for_a_week_at_most() -> None:
    verify(signed(presigned_s=604_800))

    error = refusal(signed(presigned_s=604_801))

    assert error.code == "IncompleteSignatureException"
    assert "must be less than a week" in error.message


@pytest.mark.parametrize(
    "expires", ["-60", "%2B60", "6e1", "60%0A", "%D9%A6", "0" * 10]
)
def test_a_presigned_url_expires_in_so_many_seconds_and_nothing_else(
    expires: str,
) -> None:
    sent = signed(presigned_s=60)
    query = sent.query.replace(b"Expires=60", f"Expires={expires}".encode())

    error = refusal(replace(sent, query=query))

    assert error.code == "IncompleteSignatureException"
    assert error.message == "X-Amz-Expires should be a non-negative number."


# --- form -------------------------------------------------------------------------


def bare(*headers: tuple[bytes, bytes], query: bytes = b"") -> Sent:
    return Sent("GET", b"/2015-03-31/functions", query, list(headers))


def test_nothing_signed_is_a_missing_token() -> None:
    error = refusal(bare((b"host", b"x")))

    assert error.code == "MissingAuthenticationTokenException"
    assert error.message == "Missing Authentication Token"


def test_what_is_lacking_is_said_and_what_was_sent_is_not() -> None:
    error = refusal(bare((b"authorization", b"Bearer AKIA:secret-of-somebody")))

    assert error.code == "IncompleteSignatureException"
    for name in ("'Credential'", "'Signature'", "'SignedHeaders'", "'X-Amz-Date'"):
        assert name in error.message
    assert "secret-of-somebody" not in error.message


def test_a_parameter_without_a_value_is_incomplete() -> None:
    error = refusal(bare((b"authorization", b"AWS4-HMAC-SHA256 Credential= AKIA/x")))

    assert error.message.startswith("Invalid key=value pair (missing equal-sign)")


def test_a_presigned_url_lacks_what_it_lacks() -> None:
    error = refusal(bare(query=b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=5"))

    assert error.code == "IncompleteSignatureException"
    assert "must include 'X-Amz-Signature'." in error.message
    assert "X-Amz-Expires" not in error.message


def test_a_presigned_url_is_of_the_one_algorithm() -> None:
    sent = signed(presigned_s=60)
    query = sent.query.replace(b"AWS4-HMAC-SHA256", b"AWS4-ECDSA-P256-SHA256")

    error = refusal(replace(sent, query=query))

    assert error.code == "IncompleteSignatureException"
    assert "'AWS4-ECDSA-P256-SHA256'. Only AWS4-HMAC-SHA256" in error.message


def test_a_presigned_url_says_everything_once() -> None:
    sent = signed(presigned_s=60)

    error = refusal(replace(sent, query=sent.query + b"&X-Amz-expires=604800"))

    assert error.code == "IncompleteSignatureException"
    assert error.message == "'X-Amz-expires' was sent more than once."


def test_other_parameters_of_a_presigned_url_may_have_such_names() -> None:
    verify(signed(INVOKE + "?date=1&date=2&expires=never", presigned_s=60))


@pytest.mark.parametrize("presigned_s", [None, 60])
def test_another_services_signature_is_refused(presigned_s: int | None) -> None:
    error = refusal(signed(service="s3", presigned_s=presigned_s))

    assert error.code == "InvalidSignatureException"
    assert error.message == "Credential should be scoped to correct service: 'lambda'. "


def test_a_credential_that_was_read_for_one_service_is_not_known_for_another() -> None:
    sent = signed(service="scheduler")
    given = sent.method, sent.path, sent.query, fold(sent.headers)

    read_claim(*given, now=NOW, is_private=True, service="scheduler")
    with pytest.raises(AwsError, match="correct service: 'lambda'"):
        read_claim(*given, now=NOW, is_private=True)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("/aws4_request", "/aws3_request", "valid terminator: 'aws4_request', not"),
        (
            "/20260517/",
            "/20260518/",
            "'20260518' != '20260517', from '20260517T123015Z'",
        ),
        ("/us-east-1/", "/us_east/", "scoped to a valid region"),
        ("/us-east-1/", "/", "exactly 5 slash-delimited elements"),
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", "requires 'Credential' parameter"),
    ],
)
def test_a_scope_that_is_wrong_is_said(old: str, new: str, said: str) -> None:
    sent = signed()
    authorization = sent.header("authorization").replace(old, new)

    assert said in refusal(sent.with_header("authorization", authorization)).message


@pytest.mark.parametrize("date", ["20260517", "20269999T999999Z", "now", "2" * 5_000])
def test_a_date_of_another_form_is_refused(date: str) -> None:
    error = refusal(signed().with_header("x-amz-date", date))

    assert error.code == "IncompleteSignatureException"
    assert "ISO-8601 'basic format'" in error.message
    assert len(error.message) < 400


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 2001 00:00:00 +99999999999999",
        "Fri, 31 Dec 9999 23:59:00 -1400",
    ],
)
def test_a_date_beyond_all_calendars_is_refused(date: str) -> None:
    sent = signed().with_header("x-amz-date", "")

    assert (
        refusal(sent.with_header("date", date)).code == "IncompleteSignatureException"
    )


@pytest.mark.parametrize("presigned_s", [None, 60])
def test_there_are_no_session_tokens(presigned_s: int | None) -> None:
    error = refusal(signed(token="FwoGZXIvYXdzE", presigned_s=presigned_s))

    assert error.code == "UnrecognizedClientException"
    assert error.message.startswith(
        "The security token included in the request is invalid."
    )


def test_the_derived_keys_at_hand_are_bounded() -> None:
    for number in range(sigv4.MAX_SIGNING_KEYS + 10):
        sigv4._signing_key(f"secret{number}", "1/r/lambda/aws4_request")  # noqa: SLF001

    info = sigv4._signing_key.cache_info()  # noqa: SLF001 - nothing else shows it
    assert info.currsize == sigv4.MAX_SIGNING_KEYS


@given(st.binary(max_size=200), st.binary(max_size=100), st.binary(max_size=40))
def test_whatever_is_sent_is_refused_in_words(
    authorization: bytes, query: bytes, date: bytes
) -> None:
    headers = [(b"host", b"x"), (b"x-amz-date", date)]
    schemed = b"AWS4-HMAC-SHA256 " + authorization

    for sent in (
        bare(*headers, (b"authorization", authorization), query=query),
        bare(*headers, (b"authorization", schemed), query=query),
        bare(*headers, query=b"X-Amz-Credential=" + query),
    ):
        refusal(sent)
