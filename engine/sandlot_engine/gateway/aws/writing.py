"""An operation's output, or an error -> an HTTP answer, by the model (rest-json).

What an operation gives that its shape does not have is a mistake of ours, and raises
`ValueError` or `TypeError`: an answer without it would hide the mistake.
"""

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, TypeVar

from sandlot_engine.gateway.aws.faults import UNMODELLED, WIRE_NAMES, AwsError
from sandlot_engine.gateway.aws.service import (
    Kind,
    Location,
    Member,
    Operation,
    Service,
    Shape,
)

JSON = "application/json"
EVENT_STREAM = "application/vnd.amazon.eventstream"

_NO_BODY = frozenset({204, 304})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out, but for `Content-Length`, which the server adds."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def write(operation: Operation, output: Mapping[str, Any], request_id: str) -> Answer:
    """The answer to an operation that went well; None is as absent.

    `output` has botocore's member names. Where the whole body is an event stream, the
    answer has its head and an empty body, and `eventstream` has the rest.
    """
    bound = _bind(operation.output, output)
    status = bound.status or operation.status
    body, content_type = b"", ""
    if status not in _NO_BODY and operation.output is not None:
        body, content_type = _body(operation.output, bound)
    return Answer(status, _headers(bound, request_id, content_type), body)


def write_error(
    error: AwsError, request_id: str, service: Service | None = None
) -> Answer:
    """The answer to what was refused, or broke; Lambda's, if no other service is given.

    Raises `ValueError` for a code that neither the model nor `UNMODELLED` has.
    """
    shape = (service or Service.load()).errors.get(error.code)
    if shape is not None:
        bound = _bind(shape, _told(shape, error))
        status, document = shape.status, bound.body
    elif unmodelled := UNMODELLED.get(error.code):
        bound = _Bound()
        status = unmodelled.status
        document = {unmodelled.message: error.message, **error.members}
    else:
        raise ValueError(f"{error.code} is no error of AWS's")
    bound.headers.append(
        ("x-amzn-ErrorType", WIRE_NAMES.get(error.code, error.code)),
    )
    return Answer(status, _headers(bound, request_id, JSON), dumped(document))


def _told(shape: Shape, error: AwsError) -> dict[str, Any]:
    """The error's members, with those that every modelled one has."""
    members: dict[str, Any] = {}
    if "Type" in shape.members:
        members["Type"] = "Service" if shape.is_fault else "User"
    for name in ("message", "Message"):
        if name in shape.members:
            members[name] = error.message
    return members | dict(error.members)


@dataclass(slots=True)
class _Bound:
    """A structure's values, each where it travels."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: dict[str, Any] = field(default_factory=dict)
    """As JSON has it, by wire names."""

    payload: Any = None


def _bind(shape: Shape | None, values: Mapping[str, Any]) -> _Bound:
    bound = _Bound()
    for name, value in values.items():
        member = _member(shape, name)
        if value is None:
            continue
        match member.location:
            case Location.STATUS:
                bound.status = int(value)
            case Location.HEADER:
                bound.headers.append((member.wire, header_text(member, value)))
            case Location.HEADERS:
                bound.headers += [
                    (member.wire + key, _one_line(item)) for key, item in value.items()
                ]
            case Location.BODY if shape and name == shape.payload:
                bound.payload = value
            case Location.BODY:
                bound.body[member.wire] = json_of(member, member.shape, value)
            case Location.PATH | Location.QUERY:
                raise ValueError(f"{name} is no part of an answer")
    return bound


def _member(shape: Shape | None, name: str) -> Member:
    if shape is None or name not in shape.members:
        where = shape.name if shape else "An operation without an output"
        raise ValueError(f"{where} has no member {name}")
    return shape.members[name]


def _headers(
    bound: _Bound, request_id: str, content_type: str
) -> list[tuple[str, str]]:
    headers = [("x-amzn-RequestId", request_id)]
    if content_type and not any(n.lower() == "content-type" for n, _ in bound.headers):
        headers.append(("Content-Type", content_type))
    return headers + bound.headers


# --- bodies -------------------------------------------------------------------


def _body(shape: Shape, bound: _Bound) -> tuple[bytes, str]:
    if shape.payload:
        return _payload(shape.members[shape.payload], bound.payload)
    if shape.body or not shape.members:
        return dumped(bound.body), JSON
    return b"", ""


def _payload(member: Member, value: Any) -> tuple[bytes, str]:
    if member.shape.is_event_stream:
        if value is not None:
            raise ValueError(f"{member.name} is an event stream: write its events")
        return b"", EVENT_STREAM
    if value is None:
        return b"", JSON
    match member.shape.kind:
        # Whatever it may hold for the model: a function's answer is JSON.
        case Kind.BLOB:
            return bytes(value), JSON
        case Kind.STRING:
            return _expected(str, member.shape, value).encode(), "text/plain"
        case _:
            return dumped(json_of(member, member.shape, value)), JSON


def dumped(document: Mapping[str, Any]) -> bytes:
    """JSON as AWS writes it: without spaces, in UTF-8; raises for NaN."""
    text = json.dumps(
        document, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return text.encode()


def json_of(member: Member, shape: Shape, value: Any) -> Any:
    """`value` as JSON has it; `shape` is the member's or within it."""
    match shape.kind:
        case Kind.STRUCTURE:
            return _structure(shape, value)
        case Kind.LIST:
            element = _element(shape)
            return [json_of(member, element, item) for item in value]
        case Kind.MAP:
            element = _element(shape)
            return {key: json_of(member, element, item) for key, item in value.items()}
        case _ if member.is_json:
            return dumped(value).decode()
        case kind:
            return _TO_JSON[kind](member, shape, value)


def _structure(shape: Shape, values: Mapping[str, Any]) -> dict[str, Any]:
    written = {}
    for name, value in values.items():
        member = _member(shape, name)
        if value is not None:
            written[member.wire] = json_of(member, member.shape, value)
    return written


def _element(shape: Shape) -> Shape:
    if shape.element is None:
        raise TypeError(f"{shape.name} has no shape for its elements")
    return shape.element


# --- values -------------------------------------------------------------------


def _boolean(_: Member, shape: Shape, value: Any) -> bool:
    return _expected(bool, shape, value)


def _whole(_: Member, shape: Shape, value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError(f"{shape.name} is a number, not {value}")
    return _expected(int, shape, value)


def _number(_: Member, shape: Shape, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{shape.name} is a number, not {type(value).__name__}")
    return value


def _text(_: Member, shape: Shape, value: Any) -> str:
    return _expected(str, shape, value)


def _base64(_: Member, shape: Shape, value: Any) -> str:
    return base64.b64encode(_expected(bytes, shape, value)).decode()


def _timestamp(member: Member, shape: Shape, value: Any) -> str | float:
    moment = _expected(datetime, shape, value)
    return timestamp_text(member.timestamp_format or "unixTimestamp", moment)


_TO_JSON: Mapping[Kind, Callable[[Member, Shape, Any], Any]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _whole,
    Kind.LONG: _whole,
    Kind.FLOAT: _number,
    Kind.DOUBLE: _number,
    Kind.STRING: _text,
    Kind.BLOB: _base64,
    Kind.TIMESTAMP: _timestamp,
}


def timestamp_text(form: str, moment: datetime) -> str | float:
    """`moment` in one of the model's three formats; milliseconds are AWS's finest."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} is in no time zone")
    utc = moment.astimezone(UTC)
    match form.lower():
        case "unixtimestamp":
            seconds = round(utc.timestamp(), 3)
            return int(seconds) if seconds.is_integer() else seconds
        case "iso8601":
            fine = "milliseconds" if utc.microsecond else "seconds"
            return utc.replace(tzinfo=None).isoformat(timespec=fine) + "Z"
        case "rfc822":
            return format_datetime(utc, usegmt=True)
        case _:
            raise ValueError(f"{form} is no format of a timestamp")


def _expected(kind: type[T], shape: Shape, value: Any) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{shape.name} is {kind.__name__}, not {type(value).__name__}")
    return value


# --- headers ------------------------------------------------------------------


def header_text(member: Member, value: Any) -> str:
    """A header's value; raises `ValueError` for what would end the header early."""
    if member.is_json:
        return base64.b64encode(dumped(value)).decode()
    match value:
        case list():
            return ",".join(header_text(member, item) for item in value)
        case bool():
            return str(value).lower()
        case datetime():
            return str(timestamp_text(member.timestamp_format or "rfc822", value))
        case bytes():
            return base64.b64encode(value).decode()
        case float() if not math.isfinite(value):
            raise ValueError(f"{member.name} is {value}")
        case _:
            return _one_line(value)


def _one_line(value: Any) -> str:
    text = str(value)
    if any(char in text for char in "\r\n\0"):
        raise ValueError("a header has a line break in it")
    return text
