"""One value as a request has it, a text or one in JSON, -> Python's, by its shape.

What cannot be converted is AWS's `SerializationException`, in its own words.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from sandlot_engine.catalog.validation import is_unicode
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.service import Kind, Member

MAX_DIGITS = 64
"""Of a whole number in JSON: no member holds more than 19, and parsing thousands of
them takes quadratic time."""

MAX_VALUES = 5_000
"""Values in one document, more or less; a package is one. AWS's largest are
environments, which have 4 KB. Python takes sixty bytes for one of which three were
sent: 70 MB of them are two gigabytes, and four seconds in which the engine does nothing
else."""

_COUNTED_LEVELS = 3
"""Of objects within objects whose texts are told from their values."""


# --- texts --------------------------------------------------------------------


def from_text(member: Member, text: str) -> Any:
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
            return blob(text)
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


# --- values in JSON -----------------------------------------------------------


def from_json(member: Member, kind: Kind, value: Any) -> Any:
    """`value` as of that kind, which is the member's or of something within it."""
    convert = _CONVERT.get(kind)
    if convert is None:
        raise unexpected(value, kind)
    return _json_value(value) if member.is_json else convert(kind, value)


def _boolean(kind: Kind, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise unexpected(value, kind)


def _whole(kind: Kind, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise unexpected(value, kind)
    if isinstance(value, float) and not value.is_integer():
        raise unexpected(value, kind)
    return _within(kind, int(value))


def _number(kind: Kind, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise unexpected(value, kind)
    return _finite(kind, float(value))


def _string(kind: Kind, value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    raise unexpected(value, kind)


def _base64(kind: Kind, value: Any) -> bytes:
    if isinstance(value, str):
        return blob(value)
    raise unexpected(value, kind)


def _timestamp(kind: Kind, value: Any) -> datetime:
    if isinstance(value, str):
        return _timestamp_text(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise unexpected(value, kind)
    try:
        return _epoch(_finite(kind, float(value)))
    except OverflowError as error:
        raise unexpected(value, kind) from error


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


def _json_value(value: Any) -> Any:
    if not isinstance(value, str):
        raise unexpected(value, Kind.STRING)
    return parse_json(value.encode(errors="surrogatepass"))


# --- both ---------------------------------------------------------------------

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
        raise malformed("A string is not Unicode text")
    return value


def blob(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed("STRING_VALUE can not be decoded as base64") from error


def utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise malformed(
            f"Could not parse request body into json: invalid UTF-8 at byte "
            f"{error.start}"
        ) from error


# --- JSON ---------------------------------------------------------------------


class _NotJson(ValueError):
    """Python's parser takes it, and JSON has no such thing, or we do not."""


def parse_json(body: bytes) -> Any:
    """A document, within our bounds, in which no key is there twice."""
    # Before it is parsed, and mostly at a glance.
    if _marks(body) > MAX_VALUES and _values(body, _COUNTED_LEVELS) > MAX_VALUES:
        raise malformed(f"The request body has more than {MAX_VALUES} values")
    try:
        return _DECODER.decode(utf8(body))
    except json.JSONDecodeError as error:
        # Without `error.doc`: that is the tenant's, and may be 70 MB.
        raise malformed(
            f"Could not parse request body into json: {error.msg} at line "
            f"{error.lineno}, column {error.colno}"
        ) from None
    except (_NotJson, RecursionError) as error:
        what = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise malformed(f"Could not parse request body into json: {what}") from None


def _marks(text: bytes) -> int:
    """Before each value but the first there is one; there are more within texts."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _values(text: bytes, levels: int) -> int:
    """Texts count for nothing, as an input of 256 KB that is JSON itself. What is in
    lists, or too deep, counts by its marks."""
    if not levels or not text.lstrip().startswith(b"{"):
        return 0 if text.startswith(b'"') else _marks(text)
    try:
        members = [bytes(raw) for raw in _MEMBERS.decode(text).values()]
    except (msgspec.DecodeError, RecursionError):
        return _marks(text)
    if len(members) + sum(map(_marks, members)) < _marks(text):
        return _marks(text)  # a name is there twice, of which we see one
    return len(members) + sum(_values(each, levels - 1) for each in members)


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


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


def malformed(message: str) -> AwsError:
    return AwsError("SerializationException", message)


def _no_such(token: str, kind: Kind) -> AwsError:
    return malformed(f"{token} can not be converted to {_JAVA_NAMES[kind]}")


def unexpected(value: Any, kind: Kind) -> AwsError:
    match value:
        case dict():
            return malformed("Start of structure or map found where not expected.")
        case list():
            return malformed("Start of list found where not expected")
        case _ if kind is Kind.LIST:
            return malformed("Expected list or null")
        case _ if kind in {Kind.STRUCTURE, Kind.MAP}:
            return malformed("Expected structure or map or null")
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
