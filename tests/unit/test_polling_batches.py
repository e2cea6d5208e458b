"""When messages are a batch, and what a function is sent of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.polling.batches import MAX_RECEIVED, Assembly
from sandlot_engine.polling.records import (
    AROUND,
    Message,
    NoMessage,
    event_of,
    message_of,
    record_of,
)
from sandlot_engine.polling.sources import Source

SOURCE = Source(
    arn="arn:aws:sqs:eu-west-1:123456789012:jobs",
    region="eu-west-1",
    account="123456789012",
    name="jobs",
)
RAW: dict[str, Any] = {
    "MessageId": "m-1",
    "ReceiptHandle": "h-1",
    "MD5OfBody": "5d41",
    "Body": "hello",
    "Attributes": {"ApproximateReceiveCount": "1", "SenderId": "AIDA"},
}


def messages(count: int, *, size: int = 2, received: float = 0.0) -> list[Message]:
    return [
        Message(
            id=str(number),
            handle=str(number),
            record=b"x" * size,
            received=received,
            visible=received + 30.0,
        )
        for number in range(count)
    ]


def taken(assembly: Assembly, size: int, window_s: float, *, now: float) -> int:
    return len(assembly.take(size, window_s, now=now))


def test_without_a_window_what_is_there_is_a_batch() -> None:
    assembly = Assembly()
    assembly.add(messages(3))

    assert taken(assembly, 10, 0, now=0.0) == 3
    assert taken(assembly, 10, 0, now=0.0) == 0


def test_with_a_window_a_batch_waits_for_its_size_or_the_end() -> None:
    assembly = Assembly()
    assembly.add(messages(3))

    assert taken(assembly, 5, 4.0, now=3.9) == 0
    assembly.add(messages(3))
    assert taken(assembly, 5, 4.0, now=3.9) == 5
    assert taken(assembly, 5, 4.0, now=4.0) == 1


def test_a_window_is_at_most_half_of_the_time_that_messages_are_hidden() -> None:
    assembly = Assembly()
    assembly.add(messages(1))

    assert assembly.closes_at(300.0) == 15.0
    assert assembly.closes_at(10.0) == 10.0
    assert taken(assembly, 5, 300.0, now=15.0) == 1
    assembly.add(messages(1, received=100.0))
    assert assembly.closes_at(300.0) == 115.0
    assembly.clear()
    assert assembly.closes_at(300.0) is None


def test_a_batch_has_no_more_bytes_than_an_event_may_have() -> None:
    assembly = Assembly(max_bytes=AROUND + 3 * 10 + 2)
    assembly.add(messages(5, size=10))

    assert taken(assembly, 100, 60.0, now=0.0) == 3
    assert taken(assembly, 100, 60.0, now=0.0) == 0
    assert taken(assembly, 100, 60.0, now=60.0) == 2


def test_one_message_is_always_a_batch() -> None:
    assembly = Assembly(max_bytes=1)
    assembly.add(messages(2, size=10))

    assert taken(assembly, 10, 0, now=0.0) == 1


@pytest.mark.parametrize(
    ("batch_size", "waiting", "wanted"),
    [(10, 0, 10), (3, 0, 3), (3, 2, 1), (3, 3, 1), (10_000, 50, 10)],
)
def test_no_more_are_asked_for_than_a_batch_and_a_queue_may_have(
    batch_size: int, waiting: int, wanted: int
) -> None:
    assembly = Assembly()
    assembly.add(messages(waiting))

    assert assembly.wanted(batch_size) == wanted <= MAX_RECEIVED


def test_what_others_have_by_now_is_in_no_batch() -> None:
    assembly = Assembly()
    assembly.add(messages(2, received=0.0))
    assembly.add(messages(1, received=5.0))

    assert assembly.expired(29.9) == ()
    assert len(assembly.expired(30.0)) == 2
    assert taken(assembly, 10, 0, now=30.0) == 1


def test_what_is_cleared_is_in_no_batch() -> None:
    assembly = Assembly()
    assembly.add(messages(2))

    assert len(assembly.clear()) == 2
    assert taken(assembly, 10, 0, now=100.0) == 0


@given(
    st.lists(st.integers(1, 40), max_size=40),
    st.integers(1, 12),
    st.integers(AROUND + 40, 200),
)
def test_every_message_is_in_one_batch_in_order_and_every_batch_fits(
    sizes: list[int], batch_size: int, max_bytes: int
) -> None:
    assembly = Assembly(max_bytes=max_bytes)
    sent = [messages(1, size=size)[0] for size in sizes]
    assembly.add(sent)

    found: list[Message] = []
    while batch := assembly.take(batch_size, 0, now=0.0):
        assert len(batch) <= batch_size
        assert len(event_of(batch)) <= max_bytes
        found += batch

    assert found == sent


# --- records ------------------------------------------------------------------


def test_a_record_is_as_aws_has_it() -> None:
    record = record_of(RAW, SOURCE)

    assert record == {
        "messageId": "m-1",
        "receiptHandle": "h-1",
        "body": "hello",
        "attributes": {"ApproximateReceiveCount": "1", "SenderId": "AIDA"},
        "messageAttributes": {},
        "md5OfBody": "5d41",
        "eventSource": "aws:sqs",
        "eventSourceARN": SOURCE.arn,
        "awsRegion": "eu-west-1",
    }


def test_a_message_s_own_attributes_are_told_with_their_types() -> None:
    attributes = {
        "n": {"DataType": "Number", "StringValue": "7"},
        "raw": {"DataType": "Binary.png", "BinaryValue": b"\x00\xff"},
    }

    record = record_of(
        {**RAW, "MessageAttributes": attributes, "MD5OfMessageAttributes": "c0de"},
        SOURCE,
    )

    assert record["messageAttributes"] == {
        "n": {
            "stringValue": "7",
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "Number",
        },
        "raw": {
            "binaryValue": "AP8=",
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "Binary.png",
        },
    }
    assert record["md5OfMessageAttributes"] == "c0de"


def test_an_event_is_json_of_all_records() -> None:
    record = record_of({**RAW, "Body": 'a "quote", gr\u00fcn, \u2028'}, SOURCE)
    message = message_of(
        record, now=10.0, visibility_s=30.0, account="123456789012", function="f"
    )

    event = json.loads(event_of([message, message]))

    assert event == {"Records": [record, record]}
    assert (message.received, message.visible) == (10.0, 40.0)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"MessageId": "m"},
        {**RAW, "Attributes": 7},
        {**RAW, "MessageAttributes": {"n": {}}},
    ],
    ids=["nothing", "no-handle", "attributes", "no-type"],
)
def test_what_is_no_message_is_told(raw: dict[str, Any]) -> None:
    with pytest.raises(NoMessage, match="as SQS has them"):
        record_of(raw, SOURCE)
