"""What is told of an event that is over, in AWS's words: pure.

The invocation record, version 1.0, with its fields in AWS's order; what a dead-letter
queue has beside the event; and what an event bus wraps the record into.
"""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from sandlot_engine.model.event import (
    MAX_ERROR_TEXT,
    Attempt,
    AttemptStatus,
    Condition,
    Event,
)
from sandlot_engine.model.function import LATEST, function_arn

SOURCE = "lambda"

_FUNCTION_RAN = 200
_THROTTLED = 429
_BROKEN = 500


def invocation_record(
    event: Event, payload: bytes, response: bytes | None, *, region: str
) -> bytes:
    """AWS's record of an asynchronous invocation, as JSON.

    Payload and response go in as they came, if they are JSON. A response that was not
    kept, because it was too large, is null.
    """
    assert event.ended is not None  # noqa: S101 - it is over
    assert event.condition is not None  # noqa: S101
    context = {
        "requestId": event.request_id,
        "functionArn": arn_of(event, region=region),
        "condition": event.condition.value,
        "approximateInvokeCount": event.runs,
    }
    parts = [
        b'{"version":"1.0","timestamp":' + _json(timestamp(event.ended)),
        b'"requestContext":' + _json(context),
        b'"requestPayload":' + payload,
    ]
    if (last := _last_run(event)) is not None:
        answer: dict[str, Any] = {"statusCode": 200, "executedVersion": last.version}
        if last.status is not AttemptStatus.OK:
            answer["functionError"] = "Unhandled"
        parts.append(b'"responseContext":' + _json(answer))
        parts.append(b'"responsePayload":' + _as_json(response or b"null"))
    return b",".join(parts) + b"}"


def _as_json(response: bytes) -> bytes:
    """A program may answer with anything: what is no JSON is told as a text, or it
    could go on with another requestContext than its own."""
    try:
        response.decode()
        _DECODER.decode(response)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return _json(response.decode("utf-8", "replace"))
    return response


_DECODER = msgspec.json.Decoder(msgspec.Raw)
"""Skips over a text, and checks it on the way."""


def dead_letter_attributes(event: Event) -> dict[str, tuple[str, str]]:
    """Of a message in a dead-letter queue: by name, AWS's type and the value."""
    last = event.attempts[-1] if event.attempts else None
    code = _FUNCTION_RAN
    if last is None:
        code = _THROTTLED
    elif last.status in (AttemptStatus.SYSTEM_ERROR, AttemptStatus.INTERRUPTED):
        code = _BROKEN
    why = (last.error if last is not None else "") or event.reason or "unknown"
    return {
        "RequestID": ("String", event.request_id),
        "ErrorCode": ("Number", str(code)),
        "ErrorMessage": ("String", why[:MAX_ERROR_TEXT]),
    }


def bus_entry(event: Event, record: bytes, *, bus: str, region: str) -> dict[str, Any]:
    """What PutEvents takes, for the bus of that ARN."""
    is_success = event.condition is Condition.SUCCESS
    return {
        "Source": SOURCE,
        "DetailType": "Lambda Function Invocation Result - "
        f"{'Success' if is_success else 'Failure'}",
        "Detail": record.decode(),
        "Resources": [bus, arn_of(event, region=region)],
        "EventBusName": bus,
    }


def arn_of(event: Event, *, region: str) -> str:
    """Of the function, with the qualifier that it was invoked by."""
    qualifier = event.qualifier or LATEST
    return function_arn(region, event.tenant_id, event.function, qualifier)


def timestamp(time: datetime) -> str:
    """`2019-11-14T18:16:05.568Z`"""
    return time.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _last_run(event: Event) -> Attempt | None:
    """The last attempt whose function answered, or failed to."""
    return next((each for each in reversed(event.attempts) if each.version), None)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
