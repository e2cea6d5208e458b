"""From what a function answered to an HTTP response. Pure.

An object with `statusCode` says what the response is; all else is the response's body.
What a function writes is never trusted to be HTTP: a name or a value that would end its
header's line makes the whole answer `Malformed`.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sandlot_engine.gateway.urls.events import HOP_BY_HOP
from sandlot_engine.invocation import json_check

MAX_HEAD = 64 * 1024
"""Bytes of the headers of one response, cookies included."""

MAX_MEMBER = 4 * MAX_HEAD
"""Bytes as JSON of whatever is no body, and room for escapes."""

STATUSES = range(200, 600)
"""A status below has no end to it: a client would wait for another one."""

WITHOUT_BODY = frozenset({204, 304})

JSON = b"application/json"

SEPARATOR = bytes(8)
"""What follows the head of a streamed answer, its prelude."""

WireHeaders = list[tuple[bytes, bytes]]

_NOT_STREAMED = (
    "it begins as one that is streamed, for which the URL has to have the invoke mode "
    "RESPONSE_STREAM"
)
_OURS = HOP_BY_HOP | {b"content-length", b"date"}
"""What the server says for itself."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BLANKS = b" \t\r\n"
_ABSENT = msgspec.Raw()
_BAD_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Malformed(ValueError):
    """No HTTP response can be made of it."""


@dataclass(slots=True)
class Response:
    """What goes out; `headers` without the body's length."""

    status: int
    headers: WireHeaders
    body: bytes = field(default=b"", repr=False)

    @property
    def content_type(self) -> bytes:
        found = (value for name, value in self.headers if name == b"content-type")
        return next(found, b"")


def response_of(payload: bytes) -> Response:
    """The response to a function's answer, which is JSON. Raises `Malformed`."""
    try:
        json_check.check(payload)
        answer = _said(payload)
    except (json_check.NotJson, msgspec.DecodeError) as error:
        why = "it is no JSON" if SEPARATOR not in payload else _NOT_STREAMED
        raise Malformed(why) from error
    if isinstance(answer, dict):
        response = head_of(answer)
        response.body = _body(answer)
        if response.status in WITHOUT_BODY:
            response.body = b""
        elif not response.content_type:
            response.headers.append((b"content-type", JSON))
        return response
    # A text goes out as it is and not as JSON; all else is the JSON that came.
    body = payload if answer is None else answer.encode()
    return Response(200, [(b"content-type", JSON)], body)


class _Said(msgspec.Struct):
    """What counts of an answer that is an object. The rest may be megabytes of anything
    and is passed over: to build it would hold up everybody."""

    statusCode: msgspec.Raw = _ABSENT  # noqa: N815 - AWS's name
    headers: msgspec.Raw = _ABSENT
    cookies: msgspec.Raw = _ABSENT
    body: msgspec.Raw = _ABSENT
    isBase64Encoded: msgspec.Raw = _ABSENT  # noqa: N815 - likewise


def _said(payload: bytes) -> dict[str, Any] | str | None:
    """An object that says what the response is, or a text; None for all else. Raises
    `Malformed`, `msgspec.DecodeError`."""
    match payload.lstrip(_BLANKS)[:1]:
        case b'"':
            return msgspec.json.decode(payload, type=str)
        case b"{":
            said = _OBJECT.decode(payload)
        case _:
            return None
    members = {name: bytes(getattr(said, name)) for name in said.__struct_fields__}
    if not members["statusCode"]:
        return None
    return {name: _member(name, raw) for name, raw in members.items() if raw}


def _member(name: str, raw: bytes) -> object:
    if name == "body":
        if not raw.startswith((b'"', b"null")):
            raise Malformed("body is no text")
    elif len(raw) > MAX_MEMBER:
        raise Malformed(
            f"its {name} has {len(raw)} bytes as JSON of {MAX_MEMBER} allowed"
        )
    return msgspec.json.decode(raw)


_OBJECT = msgspec.json.Decoder(_Said)


def head_of(said: Mapping[str, Any]) -> Response:
    """Status, headers and cookies, of a whole answer or the beginning of a streamed
    one; as a response without a body. Raises `Malformed`."""
    headers = [*_headers(said.get("headers")), *_cookies(said.get("cookies"))]
    size = sum(len(name) + len(value) + 4 for name, value in headers)
    if size > MAX_HEAD:
        raise Malformed(f"its headers have {size} bytes of {MAX_HEAD} allowed")
    return Response(_status(said.get("statusCode", 200)), headers)


def _status(said: object) -> int:
    if isinstance(said, str) and re.fullmatch(r"[0-9]{3}", said):
        said = int(said)
    if isinstance(said, bool) or not isinstance(said, int) or said not in STATUSES:
        raise Malformed("statusCode is no number from 200 to 599")
    return said


def _headers(said: object) -> WireHeaders:
    if said is None:
        return []
    if not isinstance(said, dict):
        raise Malformed("headers is no object")
    headers = [(_name(name), _value(value)) for name, value in said.items()]
    return [(name, value) for name, value in headers if name not in _OURS]


def _cookies(said: object) -> WireHeaders:
    if said is None:
        return []
    if not isinstance(said, list) or not all(isinstance(each, str) for each in said):
        raise Malformed("cookies is no list of texts")
    return [(b"set-cookie", _value(each)) for each in said]


def _name(said: str) -> bytes:
    name = said.encode().lower()
    if not _NAME.fullmatch(name):
        raise Malformed("a header's name is none")
    return name


def _value(said: object) -> bytes:
    match said:
        case bool():
            text = "true" if said else "false"
        case str():
            text = said.strip(" \t")
        case int() | float():
            text = str(said)
        case _:
            raise Malformed("a header's value is no text")
    try:
        value = text.encode("latin-1")
    except UnicodeEncodeError:
        value = text.encode()
    if _BAD_IN_VALUE.search(value):
        raise Malformed("a header's value has control characters")
    return value


def _body(answer: Mapping[str, Any]) -> bytes:
    """Of what `_said` gave, whose body is a text where there is one."""
    said = answer.get("body")
    is_base64 = answer.get("isBase64Encoded")
    if not (is_base64 is None or isinstance(is_base64, bool)):
        raise Malformed("isBase64Encoded is no boolean")
    if said is None:
        return b""
    if not is_base64:
        return str(said).encode()
    try:
        return base64.b64decode(said, validate=True)
    except ValueError as error:
        raise Malformed("body is no base64") from error
