"""Reads tar archives that strangers made: in order, and with no more memory than a
name may take.

Knows what image builders write: POSIX's format with its extended headers, and GNU's
long names. No length that an archive gives is allocated; what is not understood is
refused. Pure: bytes come from a function that is given.
"""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_PATH = 4_096
"""Bytes of a path, or of what a link points to: Linux's."""

MAX_EXTENDED = 1 << 20
"""Bytes of an extended header."""

FILE, FOLDER, SYMLINK, HARD_LINK, SPECIAL = "file", "folder", "symlink", "link", "dev"
_BLOCK = 512
_CHUNK = 1 << 16
_KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"1": HARD_LINK,
    b"2": SYMLINK,
    b"3": SPECIAL,
    b"4": SPECIAL,
    b"5": FOLDER,
    b"6": SPECIAL,
}
_EXECUTABLE = 0o111


class BadTar(Exception):
    """Says what is wrong."""


@dataclass(frozen=True)
class Member:
    """What an archive has."""

    name: str
    """As it is there. Bytes that are no UTF-8 are lone surrogates."""

    kind: str
    size: int
    """Bytes of content that follow; of files alone."""

    target: str
    """Of links."""

    is_executable: bool
    at: int
    """Where its content begins, in bytes from the archive's start."""


class Tar:
    """An archive, read once from its start. `read` gives as many bytes as it is asked
    for, and fewer at the end alone."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._at = 0
        self._left = 0
        """Bytes of the current member's content that nobody has read."""

        self._padding = 0
        """Bytes after it, up to the next member."""

    def members(self) -> Iterator[Member]:
        """One after another. The content of each can be read until the next is asked
        for. Raises `BadTar`."""
        said: dict[str, str] = {}
        while (header := self._header()) is not None:
            kind, size = header[156:157], _number(header[124:136])
            if kind in (b"x", b"g", b"L", b"K"):
                said.update(self._extended(kind, size))
                continue
            yield self._member(header, kind, size, said)
            self._skip(self._left)
            # After the last one it may be missing: umoci writes none.
            self._at += len(self._read(self._padding))
            said = {}

    def content(self, member: Member) -> Iterator[bytes]:
        """Of the member that `members` gave last."""
        left = member.size
        while left:
            chunk = self._take(min(left, _CHUNK))
            self._left -= len(chunk)
            left -= len(chunk)
            yield chunk

    def _header(self) -> bytes | None:
        block = self._read(_BLOCK)
        self._at += len(block)
        if not block or not any(block):
            return None
        if len(block) < _BLOCK:
            raise BadTar("it ends in the middle of a header")
        if _number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 32:
            raise BadTar("a header's checksum is wrong")
        return block

    def _member(
        self, header: bytes, kind: bytes, size: int, said: dict[str, str]
    ) -> Member:
        if any(name.startswith("GNU.sparse") for name in said) or kind == b"S":
            raise BadTar("it has a sparse file")
        name = said.get("path", _name(header))
        target = said.get("linkpath", _text(header[157:257]))
        if "size" in said:
            size = _decimal(said["size"])
        found = _KINDS.get(kind)
        if found is None:
            raise BadTar(f"{name[:200]!r} is of unknown kind {kind!r}")
        if found == FILE and name.endswith("/"):
            found = FOLDER
        if max(_length(name), _length(target)) > MAX_PATH:
            raise BadTar(f"{name[:200]!r} has a name of more than {MAX_PATH} bytes")
        # What follows a link or a folder is nobody's, though some give them a size.
        has_content = found == FILE
        self._left = size if has_content else 0
        self._padding = _padded(self._left) - self._left
        mode = _number(header[100:108])
        return Member(
            *(name, found, size if has_content else 0, target),
            is_executable=bool(mode & _EXECUTABLE),
            at=self._at,
        )

    def _extended(self, kind: bytes, size: int) -> dict[str, str]:
        if size > MAX_EXTENDED:
            raise BadTar(f"an extended header has {size} bytes")
        body = self._take(_padded(size))[:size]
        if kind == b"L":
            return {"path": _text(body)}
        if kind == b"K":
            return {"linkpath": _text(body)}
        # Those for all members have times and owners at most.
        return _records(body) if kind == b"x" else {}

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self._take(min(size, _CHUNK)))
        self._left = 0

    def _take(self, size: int) -> bytes:
        data = self._read(size)
        if len(data) < size:
            raise BadTar("it ends in the middle of a file")
        self._at += size
        return data


def _records(body: bytes) -> dict[str, str]:
    """`LENGTH KEY=VALUE` and a newline, again and again."""
    found = {}
    while body:
        length, blank, _ = body.partition(b" ")
        size = _decimal(length.decode("ascii", "replace")[:20])
        record = body[len(length) + 1 : size - 1]
        key, equals, value = record.partition(b"=")
        if not blank or not equals or size > len(body) or size <= len(length):
            raise BadTar("an extended header is broken")
        found[_text(key)] = value.decode("utf-8", "surrogateescape")
        body = body[size:]
    return found


def _name(header: bytes) -> str:
    name = _text(header[:100])
    # GNU's has other things where POSIX has the first part of a name.
    if header[257:263] == b"ustar\0" and (prefix := _text(header[345:500])):
        return f"{prefix}/{name}"
    return name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _length(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        # GNU's, for what has too many digits: the rest is the number itself.
        if field[0] != 0x80:
            raise BadTar("a number is less than nothing")
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0") or b"0"
    try:
        return _positive(int(digits, 8))
    except ValueError:
        raise BadTar("a number has other than digits") from None


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise BadTar("a number has other than digits")
    return int(text)


def _positive(number: int) -> int:
    if number < 0:
        raise BadTar("a number is less than nothing")
    return number


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
