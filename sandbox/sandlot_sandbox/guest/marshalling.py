"""Events in, results out: JSON exactly as AWS's Python runtime reads and writes it.

AWS encodes with simplejson, we with the standard library's encoder. What differs is
made up for here: `Decimal` becomes a bare number, `bytes` inside a result become
text, and a named tuple becomes an object.

All of `json` is bound at import, so tenant code that patches the module changes its
own calls and not the runtime's.
"""

from __future__ import annotations

import json
import re
import sys
from binascii import hexlify
from marshal import dumps as dump_built_ins
from os import urandom

from .failures import Failure, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_RESPONSE = 6_291_556
"""Bytes of an answer; AWS's number."""

_WITHOUT_REFERENCES = 2
"""The last version of marshal's format that keeps no table of what it wrote."""

_CONTAINERS = (dict, list, tuple)

_loads = json.loads
_scan: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_JSONEncoder = json.JSONEncoder
_WRITES_UNICODE = sys.version_info >= (3, 12)


def unmarshal(event: bytes) -> Any:
    """The event as Python values, or the `Failure` to answer with."""
    # The usual first: on a way with fewer steps a clone writes to fewer pages.
    try:
        text = event.decode()
        value, end = _scan(*(text, 0))
        if end == len(text):
            return value
    except Exception:  # noqa: BLE001, S110  (`_loads` says what it is)
        pass
    try:
        return _loads(event)
    except Exception as error:  # noqa: BLE001  (bad JSON, bad UTF-8, too deep, too long an int)
        return Failure(
            "Runtime.UnmarshalError", f"Unable to unmarshal input: {text_of(error)}"
        )


def marshal(result: object) -> bytes | Failure:
    """The result as the bytes to send. Only `bytes` pass through as they are."""
    try:
        if isinstance(result, bytes):
            return b"".join((result,))  # Exactly bytes, also for a subclass.
        return _encode_any(result)
    except Exception as error:  # noqa: BLE001  (iterating a result can run tenant code)
        return Failure(
            "Runtime.MarshalError", f"Unable to marshal response: {text_of(error)}"
        )


def _encode_any(result: object) -> bytes:
    if not _is_built_in(result) and _holds_foreign(result):
        return _encode(_as_plain(result))
    try:
        return _encode(result)
    except TypeError:
        if not _holds_foreign(result):
            raise
        return _encode(_as_plain(result))


def _is_built_in(result: Any) -> bool:
    """Is it made of exactly the built-in types all the way down?

    Asked of the one function that refuses subclasses and is written in C: looking for
    a named tuple in Python takes longer than encoding does.
    """
    try:
        dump_built_ins(result, _WITHOUT_REFERENCES)
    except ValueError:
        return False
    return True


def _encode(result: object) -> bytes:
    """Once: to read a result can run tenant code, and a large one takes its time."""
    try:
        encoded = _as_utf8(_encoder.encode(result))
        return _numbers.put_into(encoded) if _numbers.texts else encoded
    finally:
        if _numbers.texts:
            _numbers.forget()


def _as_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8: escape, as older versions do. All of it is in
        # strings, there is nothing else in JSON that is not ASCII.
        return re.sub("[^\x00-\x7e]+", _escaped, text).encode()


def _escaped(run: re.Match[str]) -> str:
    return _JSONEncoder(ensure_ascii=True).encode(run[0])[1:-1]


class _Numbers:
    """Writes Decimals as bare numbers.

    The standard encoder cannot be told to write a text unquoted. So for a Decimal an
    unguessable mark goes in as a string, and comes out where those strings are, which
    is in the order in which the encoder asked.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        """In the order of their marks."""
        self._mark = ""

    def default(self, value: object) -> object:
        """What to encode in place of `value`, which JSON does not know."""
        # No import: a Decimal can only exist if the tenant has loaded the module.
        decimal_type = getattr(sys.modules.get("decimal"), "Decimal", None)
        if isinstance(decimal_type, type) and isinstance(value, decimal_type):
            return self._marked(value)
        if isinstance(value, bytes):
            return value.decode()
        raise TypeError(
            f"Object of type {type(value).__name__} is not JSON serializable"
        )

    def put_into(self, encoded: bytes) -> bytes:
        before, *rest = encoded.split(f'"{self._mark}"'.encode())
        pieces = [before]
        for text, after in zip(self.texts, rest):
            pieces += (text.encode(), after)
        return b"".join(pieces)

    def forget(self) -> None:
        self.texts = []
        self._mark = ""

    def _marked(self, number: Any) -> object:
        if number.is_nan():
            return float("nan")  # Decimal writes -NaN and sNaN, which nobody reads.
        self._mark = self._mark or hexlify(urandom(16)).decode()
        self.texts.append(str(number))
        return self._mark


_numbers = _Numbers()
_encoder = _JSONEncoder(default=_numbers.default, ensure_ascii=not _WRITES_UNICODE)
"""One for all results."""


def _holds_foreign(root: object) -> bool:
    """Is there a named tuple or a bytes key in there?

    A loop and not a recursion, with a memory of what it saw: results can be deep, or
    contain themselves, and it is the encoder that has to say so.
    """
    stack, seen = [root], set()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, dict):
            if any([isinstance(key, bytes) for key in node]):  # noqa: C419  (faster)
                return True
            children: Any = node.values()
        elif isinstance(node, (list, tuple)):
            if _is_named_tuple(node):
                return True
            children = node
        else:
            continue
        stack += [child for child in children if isinstance(child, _CONTAINERS)]
    return False


def _is_named_tuple(node: object) -> bool:
    return (
        type(node) is not tuple and isinstance(node, tuple) and hasattr(node, "_asdict")
    )


def _as_plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {_plain_key(key): _as_plain(value) for key, value in node.items()}
    if _is_named_tuple(node):
        return _as_plain(node._asdict())
    if isinstance(node, (list, tuple)):
        return [_as_plain(value) for value in node]
    return node


def _plain_key(key: object) -> object:
    return key.decode() if isinstance(key, bytes) else key
