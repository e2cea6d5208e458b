"""Buckets' notifications, in the forms in which they come."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.model.trigger import ObjectFilter
from sandlot_engine.triggers.objects import chosen, records_of
from tests.fakes.hooks import record, told


def keys(body: bytes, **by: Any) -> list[str]:
    picked = chosen(records_of(body), ObjectFilter(**by))
    return [one["s3"]["object"]["key"] for one in picked]


def test_awss_records_stay_as_they_are() -> None:
    assert records_of(told(record())) == [record()]


def test_minios_become_awss() -> None:
    body = told(
        record(eventName="s3:ObjectCreated:Put", eventSource="minio:s3"),
        EventName="s3:ObjectCreated:Put",
        Key="pictures/red/flower.jpg",
    )

    assert records_of(body) == [record()]


def test_one_of_event_bridge_becomes_a_record() -> None:
    body = json.dumps(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": "Object Created",
            "source": "aws.s3",
            "account": "111122223333",
            "time": "2021-11-12T00:00:00Z",
            "region": "ca-central-1",
            "resources": ["arn:aws:s3:::pictures"],
            "detail": {
                "version": "0",
                "bucket": {"name": "pictures"},
                "object": {
                    "key": "a key/ü.jpg",
                    "size": 5,
                    "etag": "b1946ac9",
                    "version-id": "IYV3p45BT0",
                    "sequencer": "617f08299329d189",
                },
                "request-id": "N4N7GDK58NMKJ12R",
                "requester": "123456789012",
                "source-ip-address": "1.2.3.4",
                "reason": "CompleteMultipartUpload",
            },
        }
    ).encode()

    (found,) = records_of(body)

    assert found["eventName"] == "ObjectCreated:CompleteMultipartUpload"
    assert found["eventSource"] == "aws:s3"
    assert found["awsRegion"] == "ca-central-1"
    assert found["s3"]["bucket"] == {"name": "pictures"}
    assert found["s3"]["object"] == {
        "key": "a+key/%C3%BC.jpg",
        "size": 5,
        "eTag": "b1946ac9",
        "versionId": "IYV3p45BT0",
        "sequencer": "617f08299329d189",
    }
    assert found["responseElements"] == {"x-amz-request-id": "N4N7GDK58NMKJ12R"}
    assert keys(body, prefix="a key/", suffix="ü.jpg") == ["a+key/%C3%BC.jpg"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"Records": null}',
        b'{"Records": []}',
        b'{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"pictures"}',
    ],
)
def test_a_test_of_the_connection_tells_nothing(body: bytes) -> None:
    assert records_of(body) == []


@pytest.mark.parametrize(
    ("by", "is_chosen"),
    [
        ({}, True),
        ({"buckets": ("pictures", "x")}, True),
        ({"buckets": ("picture",)}, False),
        ({"events": ("s3:ObjectCreated:*",)}, True),
        ({"events": ("ObjectCreated:Put",)}, True),
        ({"events": ("ObjectRemoved:*", "s3:ObjectCreated:Post")}, False),
        ({"events": ("*",)}, True),
        ({"prefix": "red/"}, True),
        ({"prefix": "flower"}, False),
        ({"suffix": ".jpg"}, True),
        ({"suffix": ".png"}, False),
        ({"prefix": "red/", "suffix": ".jpg", "buckets": ("x",)}, False),
    ],
)
def test_filters_are_those_that_s3_has(by: dict[str, Any], is_chosen: bool) -> None:
    assert bool(keys(told(record()), **by)) is is_chosen


def test_keys_are_filtered_as_they_are_and_told_encoded() -> None:
    body = told(record("a+b%2Fc%20d.txt"), record("other"))

    assert keys(body, prefix="a b/c", suffix=" d.txt") == ["a+b%2Fc%20d.txt"]


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[]",
        b'"text"',
        b'{"a": 1}',
        b'{"Records": {}}',
        b'{"Records": [1]}',
        b'{"Records": [{"eventName": 5}]}',
        b'{"Records": [{"eventName": "ObjectCreated:Put"}]}',
        b'{"Records": [{"eventName": "a:b", "s3": {"bucket": {"name": "b"}}}]}',
        b'{"detail-type": "Object Flown", "detail": {}}',
        b'{"detail-type": ["x"], "detail": {}}',
        b'{"detail-type": "Object Created", "detail": {"object": 5, "reason": []}}',
        b"[" * 100_000,
        b'{"Records": "\xff"}',
        told(*[record()] * 1_001),
    ],
)
def test_what_is_no_notification_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidParameter, match="no notification of a bucket"):
        records_of(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("Records", "eventName", "s3", "bucket", "object", "name", "key"),
                    *("detail", "detail-type", "reason", "Event"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_whatever_json_is_posted_it_is_read_or_refused(value: Any) -> None:
    try:
        records = records_of(json.dumps(value).encode())
    except InvalidParameter:
        return
    for one in chosen(records, ObjectFilter(prefix="a")):
        assert one["eventSource"] == "aws:s3"
