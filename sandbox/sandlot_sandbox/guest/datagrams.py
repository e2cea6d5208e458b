"""What launcher and warden tell one another, a datagram each.

    launcher ──► GO, then orders for cells, with descriptors ──► warden
             ◄── whether it is ready, then news of cells     ◄──

Both ends are ours.
"""

from __future__ import annotations

import struct

GO = b"go"
"""The launcher has written our id maps."""

READY = b"ready"
"""Whatever else a warden says first is why it is not."""

MADE, FAILED, DIED = b"M", b"F", b"D"
LAST_WORDS = b"W"
"""Of a warden that ends by an error of its own, which they name; of no cell."""

MAX_DATAGRAM = 512

_MAKE_CELL = struct.Struct("!c?xxQ")
_CELL = struct.Struct("!cxxxQ")


def encode_make_cell(number: int, *, has_tmp: bool) -> bytes:
    """Asks the warden for a cell. Its control group's descriptors go along; before
    them, where it `has_tmp`, a mount that is to be its /tmp."""
    return _MAKE_CELL.pack(b"C", has_tmp, number)


def decode_make_cell(order: bytes) -> tuple[bool, int]:
    """Whether it `has_tmp`, and its number."""
    _, has_tmp, number = _MAKE_CELL.unpack(order)
    return has_tmp, number


def encode_cell(kind: bytes, number: int, said: bytes) -> bytes:
    """See `decode_cell`."""
    return _CELL.pack(kind, number) + said


def decode_cell(message: bytes) -> tuple[bytes, int, str]:
    """`MADE`, `FAILED` or `DIED`, the cell's number, and what there is to say: of a
    made one, what the descriptors are that come along; of a dead one, what the warden
    killed it for, if it did. Or `LAST_WORDS`, and what they are.

    Of no kind is what no warden says.
    """
    if len(message) < _CELL.size:
        return b"", 0, message.decode("utf-8", "replace")
    kind, number = _CELL.unpack_from(message)
    return kind, number, message[_CELL.size :].decode("utf-8", "replace")


def encode_last_words(text: str) -> bytes:
    """What a warden says when it ends by an error, and nothing after."""
    words = text.encode("utf-8", "replace")
    return encode_cell(LAST_WORDS, 0, words)[:MAX_DATAGRAM]


def is_ready(message: bytes) -> bool:
    """Whether the warden's first message says that all is well; else it says why."""
    return message == READY
