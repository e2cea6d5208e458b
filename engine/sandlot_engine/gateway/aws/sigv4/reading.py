"""Reading what a request says of its signature, in a header or in a presigned URL."""

import base64
import calendar
import hashlib
import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import unquote

from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.sigv4.claim import (
    ALGORITHM,
    UNSIGNED_PAYLOAD,
    Claim,
    invalid,
)
from sandlot_engine.gateway.headers import Headers

SERVICE = "lambda"
TERMINATOR = "aws4_request"

SKEW_S = 5 * 60
"""How far a signature's date may be from our clock, either way."""

PRESIGNED_SKEW_S = 15 * 60
"""How far in the future a presigned URL may begin."""

MAX_EXPIRES_S = 7 * 24 * 60 * 60
"""How long a presigned URL may be good for."""

MAX_SCOPES = 256
"""Credentials with their dates that were read already and are at hand."""

MAX_HEADER_LISTS = 64
"""Lists of signed headers that were read already and are at hand."""

MAX_SIGNED = 512
"""Headers that are signed, each named once: as many as a request may have. A header
counts with all its bytes for each time that it is named, and a stranger's word for it
is enough: 15,000 times 30 KB are half a gigabyte, and seconds."""

MAX_PARAMETERS = 256
"""In the query of what is signed, which is sorted, decoded and encoded to check it:
1,000 take 6 ms, for whoever says that he has signed them."""

MAX_KEPT_TEXT = 512
"""Bytes of such a text: a stranger's longer ones are read, and not kept."""

MAX_ECHO = 128
"""Characters of a wrong credential or date that a message repeats."""

_REGION = re.compile(r"[A-Za-z0-9-]{1,63}")
_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SHA256 = re.compile(rb"[0-9a-f]{64}")


def read_claim(
    method: str,
    path: bytes,
    query: bytes,
    headers: Headers,
    *,
    now: datetime,
    is_private: bool,
    service: str = SERVICE,
) -> Claim:
    """What the head of a request claims; `path` and `query` as they were sent.

    `is_private` tells whether nobody between the client and us can have changed the
    body. Raises `AwsError`: `MissingAuthenticationTokenException` where nothing is
    signed, `IncompleteSignatureException`, `InvalidSignatureException` for what is
    out of date or scope, `UnrecognizedClientException` for session tokens.
    """
    if query.count(b"&") >= MAX_PARAMETERS:
        raise invalid(
            f"A query that is signed has at most {MAX_PARAMETERS} parameters."
        )
    authorization = headers.get(b"authorization")
    if authorization is not None:
        return _read_header(
            method,
            path,
            query,
            headers,
            authorization=authorization.decode("latin-1"),
            now=now.timestamp(),
            is_private=is_private,
            service=service,
        )
    if b"X-Amz-" in query:
        return _read_presigned(
            method,
            path,
            query,
            headers,
            now=now.timestamp(),
            is_private=is_private,
            service=service,
        )
    raise AwsError(
        "MissingAuthenticationTokenException", "Missing Authentication Token"
    )


# --- in a header ------------------------------------------------------------------


def _read_header(
    method: str,
    path: bytes,
    query: bytes,
    headers: Headers,
    *,
    authorization: str,
    now: float,
    is_private: bool,
    service: str,
) -> Claim:
    given = _parameters(authorization)
    timestamp = _timestamp_of(headers)
    lacking = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not given.get(name)
    ]
    if not timestamp:
        lacking.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a "
            "'Date' header."
        )
    if lacking:
        raise _incomplete(
            f"{' '.join(lacking)} (Hashed with SHA-256 and encoded with Base64) "
            f"Authorization={_hidden(authorization)}"
        )
    _refuse_session_token(b"x-amz-security-token" in headers)
    moment = _moment_of(timestamp)
    key_id, scope, region = _scope_of(given["Credential"], timestamp, service)
    if moment < now - SKEW_S:
        raise _expired(moment, now - SKEW_S, f"{_basic(now)} - 5 min.")
    if moment > now + SKEW_S:
        raise _not_yet(moment, now + SKEW_S, f"{_basic(now)} + 5 min.")
    return Claim(
        access_key_id=key_id,
        region=region,
        body_sha256=_declared(headers.get(b"x-amz-content-sha256", b""), is_private),
        scope=scope,
        timestamp=timestamp,
        signature=given["Signature"].encode("latin-1"),
        method=method,
        path=path,
        query=query,
        signed_headers=_signed_headers(given["SignedHeaders"], headers),
    )


def _parameters(authorization: str) -> dict[str, str]:
    """`Credential`, `SignedHeaders` and `Signature`, in any order. Of another scheme
    there are none."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme != ALGORITHM:
        return {}
    found = {}
    for part in rest.replace(",", " ").split():
        name, equals, value = part.partition("=")
        if not equals:
            raise _incomplete(
                "Invalid key=value pair (missing equal-sign) in Authorization header "
                "(hashed with SHA-256 and encoded with Base64): "
                f"'{_hidden(authorization)}'."
            )
        found[name] = value
    return found


def _hidden(authorization: str) -> str:
    """Tells two headers apart and shows neither: it may hold a secret."""
    digest = hashlib.sha256(authorization.encode("latin-1")).digest()
    return base64.b64encode(digest).decode()


def _timestamp_of(headers: Headers) -> str:
    """In ISO 8601's basic format, as it is signed; empty where none was sent."""
    if sent := headers.get(b"x-amz-date"):
        return sent.decode("latin-1").strip()
    sent = headers.get(b"date", b"")
    text = sent.decode("latin-1").strip()
    if not text or _TIMESTAMP.fullmatch(text):
        return text
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # -0000: UTC, and nothing is known of their zone
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, OverflowError):
        return text  # `_moment_of` says what is wrong with it


# --- in a presigned URL -----------------------------------------------------------

_IN_QUERY = ("Algorithm", "Credential", "Signature", "SignedHeaders", "Date", "Expires")


def _read_presigned(
    method: str,
    path: bytes,
    query: bytes,
    headers: Headers,
    *,
    now: float,
    is_private: bool,
    service: str,
) -> Claim:
    given = _query_parameters(query)
    lacking = [
        f"AWS query-string parameters must include 'X-Amz-{name}'."
        for name in _IN_QUERY
        if not given.get(name.lower())
    ]
    if lacking:
        raise _incomplete(
            f"{' '.join(lacking)} Re-examine the query-string parameters."
        )
    if given["algorithm"] != ALGORITHM:
        raise _incomplete(
            f"Unsupported AWS 'algorithm': '{given['algorithm'][:MAX_ECHO]}'. "
            f"Only {ALGORITHM} is supported."
        )
    _refuse_session_token("security-token" in given)
    timestamp, expires_s = given["date"], _expires_of(given["expires"])
    moment = _moment_of(timestamp)
    key_id, scope, region = _scope_of(given["credential"], timestamp, service)
    if moment < now - expires_s:
        raise _expired(moment, now - expires_s, f"{_basic(now)} - {expires_s} sec.")
    if moment > now + PRESIGNED_SKEW_S:
        raise _not_yet(moment, now + PRESIGNED_SKEW_S, f"{_basic(now)} + 15 min.")
    declared = headers.get(b"x-amz-content-sha256", b"")
    if "content-sha256" in given:
        declared = declared or given["content-sha256"].encode("utf-8", "replace")
    return Claim(
        access_key_id=key_id,
        region=region,
        body_sha256=_declared(declared, is_private),
        scope=scope,
        timestamp=timestamp,
        signature=given["signature"].encode("utf-8", "replace"),
        method=method,
        path=path,
        query=b"&".join(
            pair
            for pair in query.split(b"&")
            if not pair.startswith(b"X-Amz-Signature=")
        ),
        signed_headers=_signed_headers(given["signedheaders"], headers),
    )


def _query_parameters(query: bytes) -> dict[str, str]:
    """Those called `X-Amz-…`, by the rest of their name in lower case."""
    found: dict[str, str] = {}
    for pair in query.split(b"&"):
        if not pair.startswith(b"X-Amz-"):
            continue
        name, _, value = pair.removeprefix(b"X-Amz-").decode("latin-1").partition("=")
        if name.lower() in found:
            raise _incomplete(f"'X-Amz-{name[:MAX_ECHO]}' was sent more than once.")
        found[name.lower()] = unquote(value)
    return found


def _expires_of(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise _incomplete("X-Amz-Expires should be a non-negative number.")
    if int(text) > MAX_EXPIRES_S:
        raise _incomplete(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given "
            f"X-Amz-Expires must be less than {MAX_EXPIRES_S} seconds"
        )
    return int(text)


# --- what both have in common -----------------------------------------------------


def _scope_of(credential: str, timestamp: str, wanted: str) -> tuple[str, str, str]:
    """The key's id, the scope without it, and the region."""
    is_usual = len(credential) <= MAX_KEPT_TEXT
    return (_known_scope if is_usual else _read_scope)(credential, timestamp, wanted)


def _read_scope(credential: str, timestamp: str, wanted: str) -> tuple[str, str, str]:
    parts = credential.split("/")
    if len(parts) != 5:
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. "
            f"keyid/date/region/service/term, got '{credential[:MAX_ECHO]}'"
        )
    key_id, date, region, service, terminator = parts
    wrong = []
    if not _REGION.fullmatch(region):
        wrong.append("Credential should be scoped to a valid region. ")
    if service != wanted:
        wrong.append(f"Credential should be scoped to correct service: '{wanted}'. ")
    if terminator != TERMINATOR:
        wrong.append(
            f"Credential should be scoped with a valid terminator: '{TERMINATOR}', "
            f"not '{terminator[:MAX_ECHO]}'. "
        )
    if date != timestamp[:8]:
        wrong.append(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of "
            f"date from HTTP: '{date[:MAX_ECHO]}' != '{timestamp[:8]}', from "
            f"'{timestamp}'."
        )
    if wrong:
        raise invalid("".join(wrong))
    return key_id, f"{date}/{region}/{service}/{TERMINATOR}", region


# All requests of a client within a second share one; what is refused is not kept.
_known_scope = lru_cache(maxsize=MAX_SCOPES)(_read_scope)


@lru_cache(maxsize=256)
def _moment_of(timestamp: str) -> int:
    """Seconds since 1970. Many requests share one, hence the cache."""
    try:
        return calendar.timegm(time.strptime(timestamp, "%Y%m%dT%H%M%SZ"))
    except ValueError as error:
        raise _incomplete(
            "Date must be in ISO-8601 'basic format'. "
            f"Got '{timestamp[:MAX_ECHO]}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from error


def _declared(sha256: bytes, is_private: bool) -> bytes:
    if not sha256 or _SHA256.fullmatch(sha256):
        return sha256
    if sha256 != UNSIGNED_PAYLOAD:
        raise invalid(
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, or a valid sha256 value."
        )
    if not is_private:
        raise invalid(
            "x-amz-content-sha256 may be UNSIGNED-PAYLOAD only over TLS or loopback: "
            "anybody on the way could have changed the payload. Sign it."
        )
    return sha256


def _signed_headers(names: str, headers: Headers) -> bytes:
    """The signed headers in canonical form, an empty line, and their names."""
    is_usual = len(names) <= MAX_KEPT_TEXT
    signed = (_known_names if is_usual else _read_names)(names)
    if b"host" not in signed:
        raise invalid("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    unsigned = [
        name for name in headers if name.startswith(b"x-amz-") and name not in signed
    ]
    if unsigned:
        listed = b", ".join(unsigned).decode("latin-1")
        raise invalid(
            "There were headers present in the request which were not signed: "
            f"{listed[:MAX_ECHO]}"
        )
    lines = [
        b"%s:%s" % (name, b" ".join(headers.get(name, b"").split())) for name in signed
    ]
    return b"%s\n\n%s" % (b"\n".join(lines), b";".join(signed))


def _read_names(names: str) -> tuple[bytes, ...]:
    signed = tuple(names.encode("utf-8", "replace").split(b";"))
    if len(signed) > MAX_SIGNED or len(set(signed)) < len(signed):
        raise invalid(
            "'SignedHeaders' in the AWS Authorization must have each name once, and at"
            f" most {MAX_SIGNED}."
        )
    return signed


# A client signs the same headers each time.
_known_names = lru_cache(maxsize=MAX_HEADER_LISTS)(_read_names)


def _refuse_session_token(was_sent: bool) -> None:
    if was_sent:
        raise AwsError(
            "UnrecognizedClientException",
            "The security token included in the request is invalid. There are no "
            "session tokens here: use an access key without one.",
        )


def _basic(moment: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))


def _expired(moment: float, earliest: float, reckoning: str) -> AwsError:
    return invalid(
        f"Signature expired: {_basic(moment)} is now earlier than {_basic(earliest)} "
        f"({reckoning})"
    )


def _not_yet(moment: float, latest: float, reckoning: str) -> AwsError:
    return invalid(
        f"Signature not yet current: {_basic(moment)} is still later than "
        f"{_basic(latest)} ({reckoning})"
    )


def _incomplete(message: str) -> AwsError:
    return AwsError("IncompleteSignatureException", message)
