"""An HTTP request -> an operation's input, by the model (rest-json).

Everything that a caller can get wrong here is AWS's `SerializationException`, whose
texts (`NUMBER_VALUE can not be converted to a String`) are AWS's where they are known.
Constraints are not looked at: that is `checking`'s.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from sandlot_engine.catalog.validation import is_unicode
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.service import Kind, Location, Member, Operation, Shape

MAX_DIGITS = 64
"""Of a whole number in JSON: no member holds more than 19, and parsing thousands of
them takes quadratic time."""

MAX_PARTS = 300_000
"""Values in one document, more or less. Python takes sixty bytes for one of which three
were sent: 70 MB of them are two gigabytes, and four seconds in which the engine does
nothing else. An input of 256 KB that is JSON itself, in a text, has fewer commas."""

MAX_QUERY_FIELDS = 1_000
"""Parameters in one query string."""

MAX_UNKNOWN = 100
"""Unknown names that are reported; one is enough to refuse a request."""


class Read(NamedTuple):
    """What a request says.

    `unknown` names what no member of the operation takes: `VpcConfig.Speed` in the
    body, `?qualifier` in the query. AWS ignores those. We return them, so that the
    caller decides and none is ignored unseen: a misspelt `?Qualifier` of DeleteFunction
    deletes all of the function.
    """

    input: dict[str, Any]
    unknown: tuple[str, ...] = ()


def read(
    operation: Operation,
    labels: Mapping[str, str],
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    body: bytes,
    *,
    most_values: int = MAX_PARTS,
    blobs: dict[str, bytes] | None = None,
) -> Read:
    """The input, under botocore's member names; what was not given, or null, is absent.

    Numbers, booleans, lists, maps and structures are Python's, blobs are `bytes`,
    timestamps are aware and in UTC. A list or map may hold None where the JSON has
    null, which `checking` refuses. A member that is the raw body is always there,
    empty if the body is. `labels` and `query` are decoded; `headers` are in any case.
    Those of `blobs` whose names stand in their places are taken out of it.

    Raises `AwsError` `SerializationException`, and nothing else whatever is sent.
    """
    shape = operation.input
    if shape is None:
        return Read({}, tuple(_unknown_query(operation, (), query)))
    reader = _Reader([], most_values, {} if blobs is None else blobs)
    values = _outside_body(shape, labels, query, headers)
    try:
        values |= reader.body(shape, body)
    except RecursionError:
        raise _malformed("The request body is nested too deep") from None
    members = shape.members.values()
    unknown = [*_unknown_query(operation, members, query), *reader.unknown]
    return Read(values, tuple(unknown[:MAX_UNKNOWN]))


def query_pairs(raw: bytes) -> list[tuple[str, str]]:
    """The decoded parameters of a query string.

    Raises `AwsError` `SerializationException` for too many, and for what is not UTF-8.
    """
    try:
        return parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_QUERY_FIELDS,
        )
    except ValueError as error:
        raise _malformed("The query string can not be parsed") from error


# --- path, query, headers -----------------------------------------------------


def _outside_body(
    shape: Shape,
    labels: Mapping[str, str],
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
) -> dict[str, Any]:
    lower = {name.lower(): value for name, value in headers.items()}
    values = {}
    for member in shape.members.values():
        value: Any = None
        match member.location:
            case Location.PATH:
                value = _scalar(member, labels[member.wire])
            case Location.QUERY:
                value = _from_query(member, query, shape)
            case Location.HEADER:
                value = _from_header(member, lower.get(member.wire.lower()))
            case Location.HEADERS:
                value = _prefixed(member.wire.lower(), lower)
            case Location.STATUS | Location.BODY:
                continue
        if value is not None:
            values[member.name] = value
    return values


def _from_query(
    member: Member, query: Sequence[tuple[str, str]], shape: Shape
) -> Any | None:
    if member.shape.kind is Kind.MAP:
        return _rest_of_query(member, query, shape)
    given = [value for name, value in query if name == member.wire]
    if not given:
        return None
    if member.shape.kind is Kind.LIST:
        return [_scalar(member, value) for value in given]
    if len(given) > 1:
        raise _malformed(f"{member.wire} is given more than once")
    return _scalar(member, given[0])


def _rest_of_query(
    member: Member, query: Sequence[tuple[str, str]], shape: Shape
) -> dict[str, Any] | None:
    taken = {m.wire for m in shape.members.values() if m.location is Location.QUERY}
    rest: dict[str, list[str]] = {}
    for name, value in query:
        if name not in taken:
            rest.setdefault(name, []).append(value)
    element = member.shape.element
    if element and element.kind is Kind.LIST:
        return rest or None
    return {name: values[-1] for name, values in rest.items()} or None


def _unknown_query(
    operation: Operation, members: Iterable[Member], query: Sequence[tuple[str, str]]
) -> list[str]:
    """Parameters that nobody takes; `X-Amz-` ones are the signature's."""
    asked = [m for m in members if m.location is Location.QUERY]
    if any(member.shape.kind is Kind.MAP for member in asked):
        return []
    known = {member.wire for member in asked} | operation.query
    names = dict.fromkeys(name for name, _ in query)
    return [
        f"?{name}"
        for name in names
        if name not in known and not name.lower().startswith("x-amz-")
    ]


def _from_header(member: Member, text: str | None) -> Any | None:
    if text is None:
        return None
    if member.is_json:
        return _json(_blob(text))
    if member.shape.kind is Kind.LIST:
        return [_scalar(member, part.strip()) for part in text.split(",")]
    return _scalar(member, text)


def _prefixed(prefix: str, lower: Mapping[str, str]) -> dict[str, str] | None:
    found = {
        name.removeprefix(prefix): value
        for name, value in lower.items()
        if name.startswith(prefix)
    }
    return found or None


def _scalar(member: Member, text: str) -> Any:
    """`text` as the member's type, or as its elements', where it is a list."""
    shape = member.shape
    if shape.kind is Kind.LIST and shape.element:
        shape = shape.element
    match shape.kind:
        case Kind.BOOLEAN:
            return _boolean_text(text)
        case Kind.INTEGER | Kind.LONG:
            return _whole_text(shape.kind, text)
        case Kind.FLOAT | Kind.DOUBLE:
            return _number_text(shape.kind, text)
        case Kind.TIMESTAMP:
            return _timestamp_text(text)
        case Kind.BLOB:
            return _blob(text)
        case _:
            return _text(text)


def _boolean_text(text: str) -> bool:
    if text not in {"true", "false"}:
        raise _no_such("STRING_VALUE", Kind.BOOLEAN)
    return text == "true"


def _whole_text(kind: Kind, text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS):
        raise _no_such("STRING_VALUE", kind)
    return _within(kind, int(text))


def _number_text(kind: Kind, text: str) -> float:
    if len(text) > MAX_DIGITS or not _NUMBER.fullmatch(text):
        raise _no_such("STRING_VALUE", kind)
    return _finite(kind, float(text))


def _timestamp_text(text: str) -> datetime:
    """Seconds since 1970, ISO 8601 as in a query, or RFC 822 as in a header."""
    for parse in (_epoch_text, datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text)
            # Without a zone it is UTC, which is what AWS's tools mean.
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return aware.astimezone(UTC)
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
    raise _no_such("STRING_VALUE", Kind.TIMESTAMP)


def _epoch_text(text: str) -> datetime:
    if len(text) > MAX_DIGITS or not _NUMBER.fullmatch(text):
        raise ValueError("no number")
    return _epoch(float(text))


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


# --- the body -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reader:
    """One body's way through the shapes; gathers the names that none of them has."""

    unknown: list[str]
    most_values: int
    blobs: dict[str, bytes]

    def body(self, shape: Shape, body: bytes) -> dict[str, Any]:
        if shape.payload:
            return self._payload(shape.members[shape.payload], body)
        # Without a member in it, a body is not read: clients send `{}`, or form data.
        if not shape.body or not body:
            return {}
        document = _json(body, self.most_values)
        if not isinstance(document, dict):
            raise _unexpected(document, Kind.STRUCTURE)
        return self.structure(shape, document, "")

    def _payload(self, member: Member, body: bytes) -> dict[str, Any]:
        match member.shape.kind:
            case Kind.BLOB:
                return {member.name: body}
            case Kind.STRING:
                return {member.name: _utf8(body)}
            case _ if not body:
                return {}
            case _:
                value = self.value(
                    member, member.shape, _json(body, self.most_values), ""
                )
                return {} if value is None else {member.name: value}

    def structure(
        self, shape: Shape, document: Mapping[str, Any], path: str
    ) -> dict[str, Any]:
        values = {}
        for wire, value in document.items():
            if member := shape.body.get(wire):
                if value is not None:
                    values[member.name] = self.value(
                        member, member.shape, value, f"{path}{wire}."
                    )
            elif wire != "__type" and len(self.unknown) < MAX_UNKNOWN:
                self.unknown.append(f"{path}{wire}")
        if shape.is_union and len(values) > 1:
            raise _malformed(f"{shape.name} can have one member only")
        return values

    def value(self, member: Member, shape: Shape, value: Any, path: str) -> Any:
        """`value` as `shape`, which is the member's or within it; None stays None."""
        if value is None:
            return None
        match shape.kind:
            case Kind.STRUCTURE if isinstance(value, dict):
                return self.structure(shape, value, path)
            case Kind.MAP if isinstance(value, dict) and shape.element:
                return {
                    key: self.value(member, shape.element, entry, f"{path}{key}.")
                    for key, entry in value.items()
                }
            case Kind.LIST if isinstance(value, list) and shape.element:
                return [
                    self.value(member, shape.element, entry, path) for entry in value
                ]
        if shape.kind is Kind.BLOB and isinstance(value, str) and value in self.blobs:
            return self.blobs.pop(value)
        if convert := _CONVERT.get(shape.kind):
            return _json_value(value) if member.is_json else convert(shape.kind, value)
        raise _unexpected(value, shape.kind)


def _boolean(kind: Kind, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _unexpected(value, kind)


def _whole(kind: Kind, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _unexpected(value, kind)
    if isinstance(value, float) and not value.is_integer():
        raise _unexpected(value, kind)
    return _within(kind, int(value))


def _number(kind: Kind, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _unexpected(value, kind)
    return _finite(kind, float(value))


def _string(kind: Kind, value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    raise _unexpected(value, kind)


def _base64(kind: Kind, value: Any) -> bytes:
    if isinstance(value, str):
        return _blob(value)
    raise _unexpected(value, kind)


def _timestamp(kind: Kind, value: Any) -> datetime:
    if isinstance(value, str):
        return _timestamp_text(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _unexpected(value, kind)
    try:
        return _epoch(_finite(kind, float(value)))
    except OverflowError as error:
        raise _unexpected(value, kind) from error


_CONVERT: Mapping[Kind, Callable[[Kind, Any], Any]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _whole,
    Kind.LONG: _whole,
    Kind.FLOAT: _number,
    Kind.DOUBLE: _number,
    Kind.STRING: _string,
    Kind.BLOB: _base64,
    Kind.TIMESTAMP: _timestamp,
}


# --- values -------------------------------------------------------------------

_BITS = {Kind.INTEGER: 31, Kind.LONG: 63}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _within(kind: Kind, value: int) -> int:
    bound = 1 << _BITS[kind]
    if not -bound <= value < bound:
        raise _no_such("NUMBER_VALUE", kind)
    return value


def _finite(kind: Kind, value: float) -> float:
    if not math.isfinite(value):
        raise _no_such("NUMBER_VALUE", kind)
    return value


def _epoch(seconds: float) -> datetime:
    """Raises `OverflowError` or `ValueError` for what no calendar has."""
    return _EPOCH + timedelta(seconds=seconds)


def _text(value: str) -> str:
    if not is_unicode(value):
        raise _malformed("A string is not Unicode text")
    return value


def _blob(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed("STRING_VALUE can not be decoded as base64") from error


def _json_value(value: Any) -> Any:
    if not isinstance(value, str):
        raise _unexpected(value, Kind.STRING)
    return _json(value.encode(errors="surrogatepass"))


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise _malformed(
            f"Could not parse request body into json: invalid UTF-8 at byte "
            f"{error.start}"
        ) from error


# --- JSON ---------------------------------------------------------------------


class _NotJson(ValueError):
    """Python's parser takes it, and JSON has no such thing, or we do not."""


def _json(body: bytes, most_values: int = MAX_PARTS) -> Any:
    # Before it is parsed; what is within texts counts as well.
    if body.count(b",") + body.count(b"[") + body.count(b"{") > most_values:
        raise _malformed(f"The request body has more than {most_values} values")
    try:
        return _DECODER.decode(_utf8(body))
    except json.JSONDecodeError as error:
        # Without `error.doc`: that is the tenant's, and may be 70 MB.
        raise _malformed(
            f"Could not parse request body into json: {error.msg} at line "
            f"{error.lineno}, column {error.colno}"
        ) from None
    except (_NotJson, RecursionError) as error:
        what = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise _malformed(f"Could not parse request body into json: {what}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Which of the two is meant, readers differ on; so nobody may guess.
        raise _NotJson("a key is there twice")
    for key in found:
        _text(key)
    return found


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _NotJson(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _no_constant(name: str) -> Any:
    raise _NotJson(f"{name} is no JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole_number, parse_constant=_no_constant
)


# --- refusals -----------------------------------------------------------------

_JAVA_NAMES = {
    Kind.BOOLEAN: "a Boolean",
    Kind.INTEGER: "an Integer",
    Kind.LONG: "a Long",
    Kind.FLOAT: "a Float",
    Kind.DOUBLE: "a Double",
    Kind.STRING: "a String",
    Kind.BLOB: "a Blob",
    Kind.TIMESTAMP: "a Date",
}


def _malformed(message: str) -> AwsError:
    return AwsError("SerializationException", message)


def _no_such(token: str, kind: Kind) -> AwsError:
    return _malformed(f"{token} can not be converted to {_JAVA_NAMES[kind]}")


def _unexpected(value: Any, kind: Kind) -> AwsError:
    match value:
        case dict():
            return _malformed("Start of structure or map found where not expected.")
        case list():
            return _malformed("Start of list found where not expected")
        case _ if kind is Kind.LIST:
            return _malformed("Expected list or null")
        case _ if kind in {Kind.STRUCTURE, Kind.MAP}:
            return _malformed("Expected structure or map or null")
        case _:
            return _no_such(_token(value), kind)


def _token(value: Any) -> str:
    match value:
        case bool():
            return f"{value}_VALUE".upper()
        case str():
            return "STRING_VALUE"
        case None:
            return "NULL_VALUE"
        case _:
            return "NUMBER_VALUE"
