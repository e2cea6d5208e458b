"""What travels between the engine and the jail, and the one parser of what comes up.

Small languages, each with its own cap on every length:

    engine → instance   event: a fixed header, texts (ours), payload (the caller's)
    instance → engine   answer: a fixed header, an error type, a payload
    engine → starter    orders: a kind, a destination and a body, both ours
    zygote ↔ engine     notes: one datagram each, a fixed header and a text
    builder → engine    one note, of two other kinds

What comes up is written by an attacker. So it has no JSON, no nesting and no
optional parts: a kind out of a closed set, lengths that are checked before
anything is allocated, and bytes that nobody here looks into. Nothing is pickled.

Standard library only, CPython 3.9 or later; the guest imports this too.
"""

from __future__ import annotations

import json
import socket
import struct
from io import BytesIO

MAX_PAYLOAD = 6_291_556
"""Bytes of an answer: AWS's 6 MB + 100."""

MAX_EVENT = 6_291_456
"""Bytes of an event: AWS's 6 MB."""

MAX_EVENT_TEXT = 8_192
"""Bytes of one text in an event's header; the client context may have 3583."""

MAX_PIECE = 65_536
"""Bytes of one piece of an answer that comes in pieces."""

MAX_ERROR_TYPE = 256
"""Bytes of an error's type name."""

MAX_NOTE = 65_536
"""Bytes of one datagram on a zygote's channel, either way."""

MAX_NOTE_TEXT = 8_192
"""Bytes of text in a note that comes up."""

MAX_SHOWN = 4_096
"""Characters of such a text that are shown: twenty sentences on an import."""

# Answers.
READY = 1
"""The instance is initialised. Comes once, first."""
ANSWER = 2
"""The handler returned; the payload is its answer."""
ERROR = 3
"""The handler failed; the payload is AWS's error object."""
INIT_ERROR = 4
"""The import failed; the payload is AWS's error object. The instance then exits."""
STREAM_BEGIN = 5
"""An answer comes in pieces; the payload is its content type."""
STREAM_PIECE = 6
"""The next of them."""
STREAM_END = 7
"""That was all; or, with an error type and AWS's error object, it broke off."""
STREAM_KINDS = frozenset((STREAM_BEGIN, STREAM_PIECE, STREAM_END))
EXTENSIONS = 8
"""A starter's: which extensions it is about to start; the payload is their names, with
NUL between. Comes once, first."""
RUNTIME_ENDED = 9
"""A starter's: the runtime has ended, and extensions are left; the payload is its wait
status, in digits."""
DELIVERED = 10
"""A starter's: what became of a `DELIVER`; the payload is its number, with `+` or `-`
before it."""
HAS_SHED = 11
"""What could be given back is. Comes once for each `SHED`."""
FOOTPRINT = 12
"""The payload is which pages the instance has; see `guest/footprint.py`. Comes once for
each `LOOK`, and with nothing in it for each footprint that was taken after `READY`."""
_ANSWER_KINDS = (
    frozenset((READY, ANSWER, ERROR, INIT_ERROR, EXTENSIONS, RUNTIME_ENDED, DELIVERED))
    | STREAM_KINDS
    | {HAS_SHED, FOOTPRINT}
)

_SHORT = frozenset(
    (STREAM_PIECE, EXTENSIONS, RUNTIME_ENDED, DELIVERED, HAS_SHED, FOOTPRINT)
)

# Orders to a starter.
START_RUNTIME = b"S"
"""All extensions are registered."""
END_RUNTIME = b"T"
"""Ask it to end, and a moment later make it. The body names the extensions that go on
after it, with NUL between: the others are killed with it."""
KILL_RUNTIME = b"K"
"""The same, without asking."""
DELIVER = b"D"
"""Send the body to an extension, on the cell's loopback. The destination is a number,
protocol, port, method and path, with blanks between."""
_ORDERS = frozenset((START_RUNTIME, END_RUNTIME, KILL_RUNTIME, DELIVER))

# Notes that come up.
ZYGOTE_READY = 1
"""The zygote can fork. `status` is `SHEDS` where instances can give back memory."""
SHEDS = 1
ZYGOTE_UNSAFE = 2
"""It cannot be forked after its import; the text says why. `status` is 0 where the
import left behind what clones must not share, and `FAILED` where it, or a hook after
it, failed."""
FAILED = 1
INSTANCE_EXITED = 3
"""`status` is a wait status. The zygote's word: good for an error message only."""
FORK_FAILED = 4
"""No instance came of a fork; the text says why."""
ZYGOTE_STARTED = 7
"""Its interpreter runs, and has read its settings. Comes once, first."""
ZYGOTE_NOTES = frozenset(
    (ZYGOTE_STARTED, ZYGOTE_READY, ZYGOTE_UNSAFE, INSTANCE_EXITED, FORK_FAILED)
)
BUILT = 5
"""A package was unpacked: `status` bytes in `instance` files and folders."""
REFUSED = 6
"""A package was refused; the text says why. `status` is 1 where it is too large."""
BUILDER_NOTES = frozenset((BUILT, REFUSED))

# Notes that go down.
CONFIGURE = b"C"
FORK = b"F"
TERMINATE = b"T"
COURIER = b"D"

# Deadline in ms, payload length, lengths of the header's texts.
_EVENT = struct.Struct("!QIHHHHH")
_EVENT_SIZE = _EVENT.size
_TEXTS = 5
_read = BytesIO.read
_ANSWER = struct.Struct("!BxHIQ")  # kind, type length, payload length, peak memory kB
_NOTE = struct.Struct("!BxxxIi")  # kind, instance, status
_FORK = struct.Struct("!c??HI")
# b"F", b"T" or b"D", if ahead of need, if provisioned, port, instance
_ORDER = struct.Struct("!cxHI")  # kind, lengths of destination and body


class Violation(Exception):
    """What came up is not in the language. Whoever sent it has to die."""


class Oversize(Violation):
    """An answer that announces more than `MAX_PAYLOAD` bytes."""


class Answer:
    """One answer of an instance; all of it is the tenant's word."""

    __slots__ = ("error_type", "kind", "payload", "peak_memory_kb")

    def __init__(
        self, kind: int, error_type: str, payload: bytes, peak_memory_kb: int
    ) -> None:
        self.kind = kind
        self.error_type = error_type
        self.payload = payload
        self.peak_memory_kb = peak_memory_kb


class AnswerReader:
    """Bytes in, answers out, or `Violation`. Holds no more than one answer."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a next answer has come yet."""
        return not self._buffer

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self) -> Answer | None:
        """The next answer, or None while it is not whole."""
        buffer = self._buffer
        if len(buffer) < _ANSWER.size:
            return None
        kind, type_length, payload_length, peak_memory_kb = _ANSWER.unpack_from(buffer)
        if kind not in _ANSWER_KINDS:
            raise Violation(f"an answer of unknown kind {kind}")
        if type_length > MAX_ERROR_TYPE:
            raise Violation(f"an error type of {type_length} bytes")
        if kind in _SHORT and payload_length > MAX_PIECE:
            raise Violation(f"a piece of {payload_length} bytes")
        if kind == STREAM_PIECE and not payload_length:
            # Of these there could be any number, however little an answer may have.
            raise Violation("a piece of no bytes")
        if payload_length > MAX_PAYLOAD:
            raise Oversize(f"an answer of {payload_length} bytes")
        end = _ANSWER.size + type_length + payload_length
        if len(buffer) < end:
            return None
        split = _ANSWER.size + type_length
        error_type = buffer[_ANSWER.size : split].decode("utf-8", "replace")
        payload = bytes(buffer[split:end])
        del buffer[:end]
        return Answer(kind, error_type, payload, peak_memory_kb)


def encode_answer(
    kind: int, payload: bytes, error_type: str = "", peak_memory_kb: int = 0
) -> bytes:
    """An answer as the guest sends it."""
    name = error_type.encode("utf-8", "replace")
    if len(name) > MAX_ERROR_TYPE:
        name = name[:MAX_ERROR_TYPE]
    head = _ANSWER.pack(kind, len(name), len(payload), peak_memory_kb)
    return b"".join((head, name, payload))


class EventHeader:
    """What goes with an event, for the context object."""

    __slots__ = (
        "client_context",
        "deadline_ms",
        "function_arn",
        "request_id",
        "tenant_id",
        "trace_id",
    )

    def __init__(
        self,
        request_id: str,
        deadline_ms: int,
        function_arn: str,
        client_context: str = "",
        trace_id: str = "",
        tenant_id: str = "",
    ) -> None:
        self.request_id = request_id
        self.deadline_ms = deadline_ms
        """Wall-clock time, in milliseconds since the epoch."""
        self.function_arn = function_arn
        self.client_context = client_context
        self.trace_id = trace_id
        self.tenant_id = tenant_id
        """AWS's word: whom a function with tenant isolation works for."""


def encode_event(header: EventHeader, payload: bytes) -> bytes:
    """An event as the engine sends it. The header is ours, the payload the caller's."""
    texts = (
        header.request_id.encode(),
        header.function_arn.encode(),
        header.client_context.encode(),
        header.trace_id.encode(),
        header.tenant_id.encode(),
    )
    longest = max(map(len, texts))
    if longest > MAX_EVENT_TEXT or len(payload) > MAX_EVENT:
        raise ValueError(f"an event of {longest} + {len(payload)} bytes")
    fixed = _EVENT.pack(
        header.deadline_ms,
        len(payload),
        *map(len, texts),
    )
    return b"".join((fixed, *texts, payload))


SHED = encode_event(EventHeader("", 0, ""), b"")
"""Nobody's event: the instance is to give back memory. One of somebody's may follow at
once."""


LOOK = encode_event(EventHeader("", 1, ""), b"")
"""Nobody's event: the instance is to tell its footprint."""

ASIDE = SHED[:7]
"""How those begin, and no event of somebody's: its time has passed."""


def encode_footprint(pages: bytes) -> bytes:
    """Nobody's event: what another instance has told, for one that stands by."""
    return encode_event(EventHeader("", 2, ""), pages)


def read_footprint(channel: socket.socket, begun: bytes = b"") -> tuple[bytes, bytes]:
    """The one that has `begun` with these bytes, once it is there, and what came behind
    it: nothing, where it had not begun. Both are empty when the engine has closed the
    channel."""
    head = _complete(channel, begun, _EVENT_SIZE)
    if len(head) < _EVENT_SIZE:
        return b"", b""
    whole = _EVENT_SIZE + int(_EVENT.unpack_from(head)[1])
    data = _complete(channel, head, whole)
    return data[_EVENT_SIZE:whole], data[whole:]


def read_event(
    channel: socket.socket, begun: bytes
) -> tuple[EventHeader, bytes] | None:
    """The event that has `begun` with these bytes, once it is there. None when the
    engine has closed the channel. What is `SHED` alone is none of these."""
    # For the form of these calls see `guest/instance.py`, REHEARSALS.
    data = _complete(channel, begun, _EVENT_SIZE)
    if len(data) < _EVENT_SIZE:
        return None
    deadline_ms, size, request_id, arn, context, trace, tenant = _EVENT.unpack_from(
        data
    )
    texts = request_id + arn + context + trace + tenant
    if texts > _TEXTS * MAX_EVENT_TEXT or size > MAX_EVENT:
        raise Violation(f"an event of {texts} + {size} bytes")
    whole = _EVENT_SIZE + texts + size
    data = _complete(channel, data, whole)
    if len(data) != whole:
        return None
    rest = BytesIO(*(data,))
    _read(*(rest, _EVENT_SIZE))
    header = EventHeader(
        *(
            _read(*(rest, request_id)).decode(),
            deadline_ms,
            _read(*(rest, arn)).decode(),
            _read(*(rest, context)).decode(),
            _read(*(rest, trace)).decode(),
            _read(*(rest, tenant)).decode(),
        )
    )
    return header, _read(*(rest,))


def encode_order(kind: bytes, destination: str = "", body: bytes = b"") -> bytes:
    """An order to a starter."""
    where = destination.encode()
    return _ORDER.pack(kind, len(where), len(body)) + where + body


def read_order(channel: socket.socket) -> tuple[bytes, str, bytes] | None:
    """Wait for the next order; None when the engine has closed the channel."""
    head = _complete(channel, channel.recv(_ORDER.size), _ORDER.size)
    if len(head) < _ORDER.size:
        return None
    kind, where, size = _ORDER.unpack(head)
    if kind not in _ORDERS or size > MAX_PAYLOAD:
        raise Violation(f"an order of kind {kind!r} and {size} bytes")
    rest = _complete(channel, b"", where + size) if where + size else b""
    if len(rest) != where + size:
        return None
    return kind, rest[:where].decode(), rest[where:]


def _complete(channel: socket.socket, data: bytes, size: int) -> bytes:
    """Read on until there are `size` bytes, or the other end is closed."""
    if len(data) >= size:
        return data
    parts = bytearray(data)
    while len(parts) < size:
        data = channel.recv(min(size - len(parts), 1 << 20))
        if not data:
            break
        parts += data
    return bytes(parts)


class Note:
    """One note of a zygote or a builder; all of it is the tenant's word. Its text is
    `shown`: it goes on into messages, logs and terminals."""

    __slots__ = ("instance", "kind", "status", "text")

    def __init__(self, kind: int, instance: int, status: int, text: str) -> None:
        self.kind = kind
        self.instance = instance
        self.status = status
        self.text = text


def decode_note(datagram: bytes, kinds: frozenset[int] = ZYGOTE_NOTES) -> Note:
    """A note of one of these kinds. Raises `Violation`."""
    if not _NOTE.size <= len(datagram) <= _NOTE.size + MAX_NOTE_TEXT:
        raise Violation(f"a note of {len(datagram)} bytes")
    kind, instance, status = _NOTE.unpack_from(datagram)
    if kind not in kinds:
        raise Violation(f"a note of unknown kind {kind}")
    text = datagram[_NOTE.size :].decode("utf-8", "replace")
    return Note(kind, instance, status, shown(text))


def shown(text: str) -> str:
    """A tenant's text for people: in one line, nothing in it that a terminal obeys."""
    escaped = (
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text[:MAX_SHOWN]
    )
    return "".join(escaped)[:MAX_SHOWN]


def encode_note(
    kind: int, *, instance: int = 0, status: int = 0, text: str = ""
) -> bytes:
    """A note as a zygote or a builder sends it."""
    body = text.encode("utf-8", "replace")[:MAX_NOTE_TEXT]
    return _NOTE.pack(kind, instance, status) + body


def encode_configure(settings: dict[str, object]) -> bytes:
    """The first note that goes down: what to import, and with which environment."""
    note = CONFIGURE + json.dumps(settings, separators=(",", ":")).encode()
    if len(note) > MAX_NOTE:
        raise ValueError(f"settings of {len(note)} bytes")
    return note


def decode_configure(note: bytes) -> dict[str, object]:
    """The settings out of the first note."""
    if not note.startswith(CONFIGURE):
        raise Violation("the first note must be the settings")
    settings: dict[str, object] = json.loads(note[1:])
    return settings


def encode_fork(
    instance: int, *, is_ahead: bool = False, is_kept: bool = False, port: int = 0
) -> bytes:
    """Asks the zygote to fork; what `FORK_DESCRIPTORS` names goes with it. `port` is
    that of the Runtime API in the cell, for an instance that speaks it. One that
    `is_kept` is provisioned, and finds so in its environment."""
    return _FORK.pack(FORK, is_ahead, is_kept, port, instance)


def encode_terminate(instance: int) -> bytes:
    """Asks the zygote to send SIGTERM to an instance's first process."""
    return _FORK.pack(TERMINATE, False, False, 0, instance)


def encode_courier(instance: int) -> bytes:
    """Asks the zygote to fork once more into an instance's cell: what obeys `DELIVER`
    on the channel that goes with it, and nothing else. With it go the descriptors of a
    fork."""
    return _FORK.pack(COURIER, False, False, 0, instance)


def decode_task(note: bytes) -> tuple[bytes, int, bool, bool, int]:
    """`FORK`, `TERMINATE` or `COURIER`; the instance's number, whether nobody waits
    for it, whether it is provisioned, and the port."""
    if len(note) != _FORK.size:
        raise Violation(f"a fork note of {len(note)} bytes")
    kind, is_ahead, is_kept, port, instance = _FORK.unpack(note)
    if kind not in (FORK, TERMINATE, COURIER):
        raise Violation(f"a note of unknown kind {kind!r}")
    return kind, int(instance), bool(is_ahead), bool(is_kept), int(port)


FORK_DESCRIPTORS = 5
"""What goes with a fork: the cell's pid, mount and network namespaces, the
instance's channel, its log pipe. Then, where there is Landlock, the cell's ruleset; and
the files by which its control groups are joined, if there are any. And where instances
are programs, last, the log pipe of extensions."""

MAX_FORK_DESCRIPTORS = 13
