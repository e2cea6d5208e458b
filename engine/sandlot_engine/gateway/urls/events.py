"""From an HTTP request to the event for its function: payload format 2.0. Pure."""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import msgspec

HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate"),
        *(b"proxy-authorization", b"te", b"trailer", b"transfer-encoding"),
        *(b"upgrade", b"expect"),
    }
)
"""Headers that are about a connection. They are the server's and never a function's."""

_TEXT = re.compile(
    r"(text/.*|application/(json|javascript|xml|.*\+json|.*\+xml))\s*(;.*)?",
    re.IGNORECASE | re.DOTALL,
)
"""Types whose bodies are text to AWS. Forms are none of them."""

_SIGNATURE = "X-Amz-Signature="

_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What came over the wire."""

    method: str
    path: str
    """Percent-encoded as it was sent."""

    query: str
    """The same."""

    protocol: str
    """`HTTP/1.1`"""

    headers: Headers
    """As ASGI has them: names in lower case, in their order, maybe repeated."""

    body: bytes = field(repr=False)
    source_ip: str
    """Of the connection: what a header says of it anybody can write."""

    scheme: str
    port: int
    """How the client reached us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Who signed the request."""

    account: str
    access_key_id: str


def event_of(
    request: Request,
    *,
    url_id: str,
    signer: Signer | None,
    request_id: str,
    trace_id: str,
    now: datetime,
) -> bytes:
    """The event, as JSON. `now` is UTC."""
    headers, query = dict(_joined(request.headers)), request.query
    if signer is not None:
        # A signature is for us to check, and good for five minutes; one in a URL for
        # up to a week.
        headers.pop("authorization", None)
        query = _without_signature(query)
    context = _context(
        request,
        headers,
        url_id=url_id,
        signer=signer,
        request_id=request_id,
        now=now,
    )
    headers |= {
        "x-amzn-trace-id": trace_id,
        "x-forwarded-for": ", ".join(
            filter(None, (headers.get("x-forwarded-for"), request.source_ip))
        ),
        "x-forwarded-port": str(request.port),
        "x-forwarded-proto": request.scheme,
    }
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": query,
    }
    if cookies := list(_cookies(request.headers)):
        event["cookies"] = cookies
    event["headers"] = headers
    if parameters := _parameters(query):
        event["queryStringParameters"] = parameters
    event["requestContext"] = context
    body, is_base64 = _body(request.body, headers.get("content-type", ""))
    if request.body:
        event["body"] = body
    event["isBase64Encoded"] = is_base64
    # That is all: the nulls of AWS's documentation are not in its events (recorded).
    # Libraries that check what they are given take one with a null for none of a URL.
    return msgspec.json.encode(event)


def _context(
    request: Request,
    headers: dict[str, str],
    *,
    url_id: str,
    signer: Signer | None,
    request_id: str,
    now: datetime,
) -> dict[str, Any]:
    context: dict[str, Any] = {
        "accountId": signer.account if signer else "anonymous",
        "apiId": url_id,
    }
    if signer is not None:
        context["authorizer"] = {"iam": _iam(signer)}
    return context | {
        "domainName": _without_port(headers.get("host", "")),
        "domainPrefix": url_id,
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        # Not by strftime, whose months are the locale's.
        "time": f"{now.day:02}/{_MONTHS[now.month - 1]}/{now:%Y:%H:%M:%S} +0000",
        "timeEpoch": int(now.timestamp() * 1_000),
    }


def _iam(signer: Signer) -> dict[str, Any]:
    return {
        "accessKey": signer.access_key_id,
        "accountId": signer.account,
        # An account has no users or roles here: it is its own root.
        "callerId": signer.account,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": f"arn:aws:iam::{signer.account}:root",
        "userId": signer.account,
    }


def _joined(headers: Headers) -> Iterator[tuple[str, str]]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name not in HOP_BY_HOP:
            values.setdefault(name, []).append(value.strip())
    for name, found in values.items():
        joined = (b"; " if name == b"cookie" else b",").join(found)
        yield name.decode("latin-1"), joined.decode("latin-1")


def _cookies(headers: Headers) -> Iterator[str]:
    for name, value in headers:
        if name == b"cookie":
            parts = map(str.strip, value.decode("latin-1").split(";"))
            yield from filter(None, parts)


def _without_signature(query: str) -> str:
    """Of a presigned URL: what else is in there says who signed what, and when."""
    pairs = query.split("&")
    return "&".join(each for each in pairs if not each.startswith(_SIGNATURE))


def _parameters(query: str) -> dict[str, str]:
    """Decoded; what was sent twice is joined by a comma."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _body(body: bytes, content_type: str) -> tuple[str, bool]:
    """As text, and whether that is base64: nothing is lost either way."""
    if not body:
        return "", False
    if _TEXT.fullmatch(content_type.strip()):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


def _without_port(host: str) -> str:
    return re.sub(r":\d*$", "", host)
