"""What a function is sent of a message: AWS's record, made once. Pure."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from sandlot_engine.events import lineage
from sandlot_engine.polling.sources import Source

_TRACE = "AWSTraceHeader"
"""Where SQS keeps the X-Amzn-Trace-Id that a message was sent with."""

_BEGIN, _BETWEEN, _END = b'{"Records":[', b",", b"]}"
AROUND = len(_BEGIN) + len(_END)
"""Bytes of an event beside its records and what is between them."""


class NoMessage(Exception):
    """An endpoint's answer has something that is no message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that was received."""

    id: str
    handle: str
    """Of this time that it was received: by it the message is deleted."""

    record: bytes
    """JSON, as the function gets it."""

    received: float
    """When, by the clock's `monotonic`."""

    visible: float
    """When its queue gives it to somebody else, if it was not deleted."""

    trace: str = ""
    lineage: str = ""
    """Of its sender, if its endpoint has kept them."""

    rounds: int = 0
    """How often the function has led to it."""


def record_of(raw: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """`raw` is as botocore has it. Raises `NoMessage`."""
    try:
        return _record(raw, source)
    except (KeyError, TypeError, AttributeError) as error:
        raise NoMessage(
            f"The endpoint's answer has no message as SQS has them: {error!r}"
        ) from error


def message_of(
    record: Mapping[str, Any],
    *,
    now: float,
    visibility_s: float,
    account: str,
    function: str,
) -> Message:
    trace, led_here = lineage.read(str(record["attributes"].get(_TRACE, "")))
    return Message(
        id=record["messageId"],
        handle=record["receiptHandle"],
        record=msgspec.json.encode(record),
        received=now,
        visible=now + visibility_s,
        trace=trace,
        lineage=led_here,
        rounds=lineage.rounds(led_here, account, function) if led_here else 0,
    )


def event_of(messages: Sequence[Message]) -> bytes:
    return _BEGIN + _BETWEEN.join(message.record for message in messages) + _END


def _record(raw: Mapping[str, Any], source: Source) -> dict[str, Any]:
    record: dict[str, Any] = {
        "messageId": raw["MessageId"],
        "receiptHandle": raw["ReceiptHandle"],
        "body": raw.get("Body", ""),
        "attributes": dict(raw.get("Attributes", {})),
        "messageAttributes": {
            name: _attribute(given)
            for name, given in raw.get("MessageAttributes", {}).items()
        },
        "md5OfBody": raw.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": source.arn,
        "awsRegion": source.region,
    }
    if digest := raw.get("MD5OfMessageAttributes"):
        record["md5OfMessageAttributes"] = digest
    return record


def _attribute(given: Mapping[str, Any]) -> dict[str, Any]:
    """One of a message's own attributes; SQS knows lists and sends none."""
    shown: dict[str, Any] = {}
    if "StringValue" in given:
        shown["stringValue"] = given["StringValue"]
    if "BinaryValue" in given:
        shown["binaryValue"] = b64encode(given["BinaryValue"]).decode()
    return {
        **shown,
        "stringListValues": list(given.get("StringListValues", ())),
        "binaryListValues": [
            b64encode(each).decode() for each in given.get("BinaryListValues", ())
        ],
        "dataType": given["DataType"],
    }
