"""What is posted to hooks: notifications of buckets, and requests that are signed."""

import hashlib
import hmac
import json
from typing import Any

from sandlot_engine.model.trigger import Scheme


def record(key: str = "red/flower.jpg", **fields: Any) -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "pictures"},
            "object": {"key": key, "size": 1024, "eTag": "d41d8cd9"},
        },
    } | fields


def told(*records: object, **more: Any) -> bytes:
    return json.dumps({**more, "Records": list(records)}).encode()


SECRET = b"It's a Secret to Everybody"

BODY = b"Hello, World!"

NOW_S = 1_700_000_000.0


def mac(signed: bytes, secret: bytes = SECRET) -> str:
    return hmac.new(secret, signed, hashlib.sha256).hexdigest()


def signed(
    scheme: Scheme, body: bytes = BODY, *, at: float = NOW_S, secret: bytes = SECRET
) -> dict[str, str]:
    """The headers that a sender adds."""
    time = str(int(at))
    match scheme:
        case Scheme.GENERIC:
            return {
                "x-signature-timestamp": time,
                "x-signature-256": "sha256=" + mac(f"{time}.".encode() + body, secret),
            }
        case Scheme.GITHUB:
            return {
                "x-hub-signature-256": "sha256=" + mac(body, secret),
                "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
            }
        case Scheme.STRIPE:
            v1 = mac(f"{time}.".encode() + body, secret)
            return {"stripe-signature": f"t={time},v0=6ffbb59b,v1={v1}"}
        case Scheme.SLACK:
            v0 = mac(f"v0:{time}:".encode() + body, secret)
            return {
                "x-slack-request-timestamp": time,
                "x-slack-signature": f"v0={v0}",
            }
