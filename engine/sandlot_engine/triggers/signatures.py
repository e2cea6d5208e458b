"""Whether a webhook's request was signed by who knows its secret. Pure.

    generic   X-Signature-Timestamp: 1700000000
              X-Signature-256: sha256=HMAC-SHA256(secret, "1700000000." + body)
    github    X-Hub-Signature-256: sha256=HMAC-SHA256(secret, body)
    stripe    Stripe-Signature: t=1700000000,v1=…
              where v1 = HMAC-SHA256(secret, "1700000000." + body)
    slack     X-Slack-Request-Timestamp: 1700000000
              X-Slack-Signature: v0=HMAC-SHA256(secret, "v0:1700000000:" + body)

in hex. Where a time is signed, it must be within `TOLERANCE_S`. What is returned names
the request: one that is sent again has the same name, and makes no second event.
GitHub signs no time; there the name has its `X-GitHub-Delivery` in it, as GitHub
advises. That is not signed: who can read a request could make another of its body.
"""

import hmac
import re
from collections.abc import Callable, Iterator, Mapping

from sandlot_engine.model.trigger import Scheme

TOLERANCE_S = 300
"""Either way, as Stripe and Slack have it."""

MAX_SIGNATURES = 8
"""Of one Stripe-Signature header: two, while a secret is changed."""

SECRET_LENGTH = range(16, 256 + 1)
"""Bytes of a secret: Slack's have 32 characters."""

Headers = Mapping[str, str]
"""By name in lower case; values of one name joined by commas."""

_TIME = re.compile(r"\d{1,12}", re.ASCII)
_MAX_DELIVERY = 100


class NotSigned(Exception):
    """Why, for the log: a caller is not told."""


def check_signature(
    scheme: Scheme, secret: bytes, headers: Headers, body: bytes, *, now_s: float
) -> str:
    """The request's name. Raises `NotSigned`."""
    return _SCHEMES[scheme](secret, headers, body, now_s)


def _generic(secret: bytes, headers: Headers, body: bytes, now_s: float) -> str:
    time = _in_time(headers.get("x-signature-timestamp", ""), now_s)
    given = headers.get("x-signature-256", "").removeprefix("sha256=")
    return _matching(secret, f"{time}.".encode() + body, [given])


def _github(secret: bytes, headers: Headers, body: bytes, _: float) -> str:
    given = headers.get("x-hub-signature-256", "").removeprefix("sha256=")
    signature = _matching(secret, body, [given])
    return f"{signature} {headers.get('x-github-delivery', '')[:_MAX_DELIVERY]}"


def _stripe(secret: bytes, headers: Headers, body: bytes, now_s: float) -> str:
    parts = list(_pairs(headers.get("stripe-signature", "")))
    times = [value for name, value in parts if name == "t"]
    time = _in_time(times[0] if len(times) == 1 else "", now_s)
    given = [value for name, value in parts if name == "v1"]
    return _matching(secret, f"{time}.".encode() + body, given[:MAX_SIGNATURES])


def _slack(secret: bytes, headers: Headers, body: bytes, now_s: float) -> str:
    time = _in_time(headers.get("x-slack-request-timestamp", ""), now_s)
    given = headers.get("x-slack-signature", "")
    if not given.startswith("v0="):
        raise NotSigned("no signature of version v0")
    signed = f"v0:{time}:".encode() + body
    return _matching(secret, signed, [given.removeprefix("v0=")])


_SCHEMES: Mapping[Scheme, Callable[[bytes, Headers, bytes, float], str]] = {
    Scheme.GENERIC: _generic,
    Scheme.GITHUB: _github,
    Scheme.STRIPE: _stripe,
    Scheme.SLACK: _slack,
}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        yield name, value


def _in_time(text: str, now_s: float) -> str:
    """The time as it was written, which is what was signed."""
    if not _TIME.fullmatch(text):
        raise NotSigned("no time")
    if abs(int(text) - now_s) > TOLERANCE_S:
        raise NotSigned(f"signed more than {TOLERANCE_S} s ago, or ahead")
    return text


def _matching(secret: bytes, signed: bytes, given: list[str]) -> str:
    """The right signature, if it is among those given. Takes as long for each of
    them, whether and where it differs."""
    right = hmac.digest(secret, signed, "sha256").hex()
    matches = [
        hmac.compare_digest(one.lower().encode("utf-8", "replace"), right.encode())
        for one in given
    ]
    if not any(matches):
        raise NotSigned("another signature" if any(given) else "no signature")
    return right
