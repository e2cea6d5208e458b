"""What stores tell of their objects, as AWS's S3 tells functions. Pure.

Three forms come in: AWS's `{"Records": […]}`; MinIO's, which has that within; and
EventBridge's, one object each. What goes out is AWS's: `eventName` without `s3:`, and
`aws:s3` as its source.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import msgspec

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.model.trigger import ObjectFilter

MAX_RECORDS = 1_000
"""In one notification."""

Record = dict[str, Any]

_DETAIL_TYPES = {
    # EventBridge's detail-type and reason -> S3's eventName.
    ("Object Created", "PutObject"): "ObjectCreated:Put",
    ("Object Created", "POST Object"): "ObjectCreated:Post",
    ("Object Created", "CopyObject"): "ObjectCreated:Copy",
    (
        "Object Created",
        "CompleteMultipartUpload",
    ): "ObjectCreated:CompleteMultipartUpload",
    ("Object Deleted", "DeleteObject"): "ObjectRemoved:Delete",
    ("Object Deleted", "Lifecycle Expiration"): "LifecycleExpiration:Delete",
}
_BY_DETAIL_TYPE = {
    "Object Created": "ObjectCreated:Put",
    "Object Deleted": "ObjectRemoved:Delete",
    "Object Restore Initiated": "ObjectRestore:Post",
    "Object Restore Completed": "ObjectRestore:Completed",
    "Object Tags Added": "ObjectTagging:Put",
    "Object Tags Deleted": "ObjectTagging:Delete",
    "Object ACL Updated": "ObjectAcl:Put",
}


def records_of(body: bytes) -> list[Record]:
    """What a notification tells; nothing, where it is a test of the connection.

    Raises `InvalidParameter` for what has none of the three forms.
    """
    try:
        told = msgspec.json.decode(body) if body else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad("it is not JSON") from error
    if not isinstance(told, dict):
        raise _bad("it is no object")
    if "Records" in told:
        return _records(told["Records"])
    if "detail-type" in told and isinstance(told.get("detail"), dict):
        return [_from_event_bridge(told)]
    if not told or "Event" in told:
        return []  # `s3:TestEvent`; and MinIO asks with `{}` whether we are there
    raise _bad("it has neither Records nor a detail")


def _records(told: object) -> list[Record]:
    if told is None:
        return []
    if not isinstance(told, list) or len(told) > MAX_RECORDS:
        raise _bad(f"Records is no list of at most {MAX_RECORDS}")
    return [_as_aws(record) for record in told]


def _as_aws(told: object) -> Record:
    if not isinstance(told, dict) or not isinstance(told.get("eventName"), str):
        raise _bad("a record has no eventName")
    record = told | {
        "eventName": told["eventName"].removeprefix("s3:"),
        "eventSource": "aws:s3",
    }
    if _bucket(record) is None or _key(record) is None:
        raise _bad("a record has no s3.bucket.name or s3.object.key")
    return record


def _from_event_bridge(told: Mapping[str, Any]) -> Record:
    detail: dict[str, Any] = told["detail"]
    kind, reason = told["detail-type"], detail.get("reason")
    event = None
    if isinstance(kind, str):
        reason = reason if isinstance(reason, str) else ""
        event = _DETAIL_TYPES.get((kind, reason)) or _BY_DETAIL_TYPE.get(kind)
    if event is None:
        raise _bad("its detail-type is none of S3's")
    found = detail.get("object")
    object_ = dict(found) if isinstance(found, dict) else {}
    if isinstance(key := object_.get("key"), str):
        # There it is as it is; in Records it is encoded as in a form.
        object_["key"] = quote_plus(key, safe="/")
    for theirs, ours in (("etag", "eTag"), ("version-id", "versionId")):
        if theirs in object_:
            object_[ours] = object_.pop(theirs)
    return _as_aws(
        {
            "eventVersion": "2.1",
            "awsRegion": told.get("region", ""),
            "eventTime": told.get("time", ""),
            "eventName": event,
            "userIdentity": {"principalId": detail.get("requester", "")},
            "requestParameters": {
                "sourceIPAddress": detail.get("source-ip-address", "")
            },
            "responseElements": {"x-amz-request-id": detail.get("request-id", "")},
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": detail.get("bucket"),
                "object": object_,
            },
        }
    )


def chosen(records: list[Record], by: ObjectFilter) -> Iterator[Record]:
    """Those that a trigger is for."""
    for record in records:
        bucket, key = _bucket(record), _key(record)
        assert bucket is not None  # noqa: S101 - see `_as_aws`
        assert key is not None  # noqa: S101
        if is_chosen(by, bucket=bucket, event=record["eventName"], key=key):
            yield record


def is_chosen(by: ObjectFilter, *, bucket: str, event: str, key: str) -> bool:
    """`key` is as it is, not encoded."""
    return (
        (not by.buckets or bucket in by.buckets)
        and (not by.events or any(_is_event(wanted, event) for wanted in by.events))
        and key.startswith(by.prefix)
        and key.endswith(by.suffix)
    )


def _is_event(wanted: str, event: str) -> bool:
    wanted = wanted.removeprefix("s3:")
    if wanted.endswith("*"):
        return event.startswith(wanted[:-1])
    return event == wanted


def _bucket(record: Mapping[str, Any]) -> str | None:
    name = _within(record, "s3", "bucket", "name")
    return name if isinstance(name, str) else None


def _key(record: Mapping[str, Any]) -> str | None:
    key = _within(record, "s3", "object", "key")
    return unquote_plus(key) if isinstance(key, str) else None


def _within(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _bad(why: str) -> InvalidParameter:
    return InvalidParameter(f"This is no notification of a bucket: {why}.")
