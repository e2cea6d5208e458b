"""What a request claims by its signature, and whether that is so.

The canonical request is made as botocore's `SigV4Auth` makes it for every service but
S3: of the path as it was sent, without dot segments and doubled slashes, encoded once
more; of the query sorted; of the signed headers trimmed.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import parse_qsl, quote

from sandlot_engine.gateway.aws.faults import AwsError

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = b"UNSIGNED-PAYLOAD"

MAX_SIGNING_KEYS = 4_096
"""Derived keys at hand: one for each secret, day and region in use."""

_PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)+/?")


@dataclass(slots=True, kw_only=True)
class Claim:
    """What a request says of its signature: well-formed, of our service, in time."""

    access_key_id: str
    region: str
    body_sha256: bytes
    """As the request declares it, in hex or `UNSIGNED-PAYLOAD`; empty where the hash
    of the body is to be signed. To declare is to claim: see `check_body`."""

    scope: str
    timestamp: str
    signature: bytes
    method: str
    path: bytes
    query: bytes
    """As sent, without the signature itself."""

    signed_headers: bytes = field(repr=False)
    """The canonical headers, and the list of their names."""

    def check(self, secret: str, *, body_sha256: bytes) -> None:
        """Raise `InvalidSignatureException` unless `secret` made this signature over a
        body with that hash, in hex."""
        key = _signing_key(secret, self.scope)
        if not any(
            hmac.compare_digest(
                self._signature(key, query, body_sha256), self.signature
            )
            for query in _canonical_queries(self.query)
        ):
            raise mismatch()

    def check_body(self, body_sha256: bytes) -> None:
        """Raise `InvalidSignatureException` where a declared hash is not the body's."""
        if self.body_sha256 not in (b"", UNSIGNED_PAYLOAD, body_sha256):
            raise invalid(
                "The provided 'x-amz-content-sha256' header does not match what was "
                "computed."
            )

    def _signature(self, key: bytes, query: bytes, body_sha256: bytes) -> bytes:
        request = b"\n".join(
            (
                self.method.encode(),
                _canonical_path(self.path),
                query,
                self.signed_headers,
                body_sha256,
            )
        )
        digest = hashlib.sha256(request).hexdigest()
        signed = f"{ALGORITHM}\n{self.timestamp}\n{self.scope}\n{digest}"
        return hmac.digest(key, signed.encode(), "sha256").hex().encode()


def unrecognized() -> AwsError:
    """For an access key id that nobody has."""
    return AwsError(
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )


def mismatch() -> AwsError:
    """For a signature that the secret did not make."""
    return invalid(
        "The request signature we calculated does not match the signature you "
        "provided. Check your AWS Secret Access Key and signing method. Consult the "
        "service documentation for details."
    )


def _canonical_path(path: bytes) -> bytes:
    if _PLAIN_PATH.fullmatch(path):
        return path
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    end = b"/" if kept and path.endswith(b"/") else b""
    return quote(b"/" + b"/".join(kept) + end, safe="/~").encode()


def _canonical_queries(query: bytes) -> Iterable[bytes]:
    """What may have been signed: the query as it was sent, then as AWS reads it.

    botocore signs `%20` for what it then sends as `+`; others send what they signed.
    Either way it says the same, so that a match of either is a match.
    """
    if not query:
        return (b"",)
    return _as_sent(query)


def _as_sent(query: bytes) -> Iterable[bytes]:
    pairs = sorted(pair.partition(b"=")[::2] for pair in query.split(b"&"))
    sent = b"&".join([b"%s=%s" % pair for pair in pairs])
    yield sent
    read = parse_qsl(
        query.decode("latin-1"), keep_blank_values=True, encoding="latin-1"
    )
    pairs = sorted((_encoded(name), _encoded(value)) for name, value in read)
    if (meant := b"&".join([b"%s=%s" % pair for pair in pairs])) != sent:
        yield meant


def _encoded(text: str) -> bytes:
    return quote(text.encode("latin-1"), safe="-_.~").encode()


@lru_cache(maxsize=MAX_SIGNING_KEYS)
def _signing_key(secret: str, scope: str) -> bytes:
    # By the secret and not by its id: what was revoked and imported again with
    # another secret is another key.
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def invalid(message: str) -> AwsError:
    """For a signature that is not good, for this reason."""
    return AwsError("InvalidSignatureException", message)
