"""How much of a message is no package, before anybody parses it.

A message may have 50 MB, for the package in it. Without one these may be millions of
environment variables, which take the engine a quarter of a minute to read. So its
outermost fields are walked over first; nothing is taken out of them.
https://protobuf.dev/programming-guides/encoding/
"""

_MAX_VARINT = 10
"""Bytes of a number."""


def size_beside(message: bytes, package: int, *, most: int) -> int:
    """Bytes of a message, without what its fields of the number `package` hold. Above
    `most` it is not looked further; nor is it where there is no field."""
    at = beside = 0
    while at < len(message) and beside <= most:
        begin = at
        try:
            tag, at = _number(message, at)
            after, held = _after(message, at, tag & 7)
        except ValueError:
            return beside + len(message) - begin
        is_package = tag >> 3 == package
        beside += after - begin - (held if is_package else 0)
        at = after
    return beside


def _after(message: bytes, at: int, kind: int) -> tuple[int, int]:
    """Where a field ends whose number has been read, and the bytes that it holds."""
    held = 0
    match kind:
        case 0:
            _, at = _number(message, at)
        case 1:
            at += 8
        case 2:
            held, at = _number(message, at)
            at += held
        case 5:
            at += 4
        case _:
            raise ValueError("a group, or no field")
    if at > len(message):
        raise ValueError("a field that is cut off")
    return at, held


def _number(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[at : at + _MAX_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("no number")
