"""Reading the structure of a zip, as one written by an attacker.

A zip says everything twice: in the header before each file and in the directory
at the end. Tools that believe different copies see different archives. Here the
copies must agree, the files must not overlap, and sizes are only ever promises
that the data has to keep. Not a general unzip: what no honest packer writes is
refused. APPNOTE.TXT is the specification, 4.3 and 4.4 the sections.
"""

from __future__ import annotations

import stat
import struct
import unicodedata
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ENTRIES = 50_000
"""Files and folders, those included that are only named as somebody's parent."""

MAX_PATH = 1_024
"""Bytes of a path."""

MAX_COMPONENT = 255
"""Bytes of one name in it: what Linux file systems take."""

MAX_DEPTH = 64
"""Names in one path."""

CHUNK = 256 * 1024
"""Bytes inflated at a time."""

STORED, DEFLATED = 0, 8
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 1 << 0, 1 << 3, 1 << 11
_FLAGS = 1 << 1 | 1 << 2 | _DESCRIPTOR | _UTF8
"""Those that change nothing for us: two of deflate's, and the two named above."""

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_COMMENT = 0xFFFF
_IN_EXTRA = 0xFFFFFFFF
"""A 32-bit field that says: see the zip64 extra field."""

_ZIP64_EXTRA = 0x0001
_SHOWN_NAME = 100
"""Characters of a tenant's file name that go into a message."""


class BadArchive(Exception):
    """Says what is wrong, with the entry where there is one."""


class Entry(NamedTuple):
    """A file or folder of the archive, its path safe to create below a folder."""

    path: str
    """Relative and normal: no empty, `.` or `..` component."""

    is_folder: bool
    is_executable: bool
    method: int
    start: int
    """Where its data begins."""

    packed_size: int
    size: int
    """Promised; `inflated` holds it to that."""

    crc: int


class _Header(NamedTuple):
    """An entry of the central directory, as it is written there."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed_size: int
    size: int
    mode: int
    offset: int
    """Where the local header is."""


def read_entries(data: memoryview) -> list[Entry]:
    """The entries of a zip, every header checked. Raises `BadArchive`.

    The data itself is not looked at: see `inflated`.
    """
    directory, count = _find_directory(data)
    headers = _read_directory(data, directory, count)
    tree = _Tree()
    entries = []
    previous_end = 0
    for header in sorted(headers, key=lambda header: header.offset):
        start, end = _read_local(data, header, directory.start)
        if header.offset < previous_end:
            raise _bad(header.name, "overlaps another entry")
        previous_end = end
        entry = _entry(header, start)
        if entry is not None:
            tree.add(entry)
            entries.append(entry)
    return entries


def inflated(data: memoryview, entry: Entry) -> Iterator[bytes]:
    """The content in chunks. Raises `BadArchive` where it is not what was promised.

    Never yields more than the promised size, and is only complete, and its
    checksum right, when the iteration ends.
    """
    packed = data[entry.start : entry.start + entry.packed_size]
    size = crc = 0
    try:
        for chunk in _unpacked(packed, entry.method):
            size += len(chunk)
            if size > entry.size:
                raise _bad(entry.path, "holds more bytes than its header says")
            crc = zlib.crc32(chunk, crc)
            yield chunk
    except zlib.error as error:
        raise _bad(entry.path, f"its data is damaged ({error})") from error
    if size != entry.size:
        raise _bad(entry.path, "holds fewer bytes than its header says")
    if crc != entry.crc:
        raise _bad(entry.path, "its checksum is wrong")


def _unpacked(packed: memoryview, method: int) -> Iterator[bytes]:
    if method == STORED:
        for start in range(0, len(packed), CHUNK):
            yield bytes(packed[start : start + CHUNK])
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for start in range(0, len(packed), CHUNK):
        piece: bytes | memoryview = packed[start : start + CHUNK]
        while True:
            chunk = inflater.decompress(piece, CHUNK)
            piece = inflater.unconsumed_tail
            yield chunk
            # A full chunk may have left more inside the inflater.
            if not piece and len(chunk) < CHUNK:
                break
        if inflater.eof and start + CHUNK < len(packed):
            raise zlib.error("it goes on after its end")
    if packed and (not inflater.eof or inflater.unused_data):
        raise zlib.error("it is cut off, or goes on after its end")


def _find_directory(data: memoryview) -> tuple[range, int]:
    """Where the central directory is, and how many entries it has (4.3.16)."""
    at = _find_end(data)
    _, disk, first_disk, here, count, size, offset, _ = _END.unpack_from(data, at)
    end64 = _read_end64(data, at)
    if end64 is not None:
        at, *wide = end64
        _agree((here, 0xFFFF), (count, 0xFFFF), (size, _IN_EXTRA), wide=wide[:3])
        _agree((offset, _IN_EXTRA), wide=wide[3:])
        here, count, size, offset = wide
    if disk or first_disk or here != count:
        raise BadArchive("It is one part of an archive that was split.")
    if offset + size != at:
        raise BadArchive(
            "Its directory is not where it should be: something was put before or "
            "into the archive."
        )
    if count > MAX_ENTRIES:
        raise BadArchive(f"It has {count} entries of {MAX_ENTRIES} allowed.")
    return range(offset, at), count


def _find_end(data: memoryview) -> int:
    tail_start = max(0, len(data) - _END.size - _MAX_COMMENT)
    tail = bytes(data[tail_start:])
    found = []
    at = tail.find(b"PK\x05\x06")
    while at >= 0:
        fits = at + _END.size <= len(tail)
        # The comment must reach exactly to the end, or there is something behind.
        if fits and at + _END.size + _END.unpack_from(tail, at)[7] == len(tail):
            found.append(tail_start + at)
        at = tail.find(b"PK\x05\x06", at + 1)
    if not found:
        raise BadArchive(
            "It is not a zip, is cut off, or has something behind its end."
        )
    if len(found) > 1:
        raise BadArchive("It has more than one end.")
    return found[0]


def _read_end64(data: memoryview, end: int) -> tuple[int, int, int, int, int] | None:
    """Where the zip64 record is, if there is one, and its counts (4.3.14, 4.3.15)."""
    locator = end - _END64_LOCATOR.size
    if locator < 0 or bytes(data[locator : locator + 4]) != b"PK\x06\x07":
        return None
    _, disk, at, disks = _END64_LOCATOR.unpack_from(data, locator)
    # No extensible data: the record ends where its locator begins.
    if disk or disks > 1 or at + _END64.size != locator:
        raise BadArchive("Its zip64 record is not where its locator says.")
    signature, size, _, _, disk, first, here, count, length, offset = (
        _END64.unpack_from(data, at)
    )
    if signature != b"PK\x06\x06" or size != _END64.size - 12 or disk or first:
        raise BadArchive("Its zip64 record is damaged.")
    return at, here, count, length, offset


def _agree(*narrow: tuple[int, int], wide: list[int]) -> None:
    # As many of the one as of the other; `strict=` is newer than some interpreters.
    for (value, saturated), wide_value in zip(narrow, wide):
        if value not in (saturated, wide_value):
            raise BadArchive("Its zip64 record and its end record disagree.")


def _read_directory(data: memoryview, where: range, count: int) -> list[_Header]:
    headers = []
    at = where.start
    for _ in range(count):
        header, at = _read_central(data, at, where.stop)
        headers.append(header)
    if at != where.stop:
        raise BadArchive("Its directory holds something beside its entries.")
    return headers


def _read_central(data: memoryview, at: int, end: int) -> tuple[_Header, int]:
    """One entry of the directory, and where the next begins (4.3.12)."""
    if at + _CENTRAL.size > end:
        raise BadArchive("Its directory is cut off.")
    (
        signature, _made_by, _needed, flags, method, _time, _date, crc, packed_size,
        size, name_length, extra_length, comment_length, disk, _internal, external,
        offset,
    ) = _CENTRAL.unpack_from(data, at)  # fmt: skip
    name_at = at + _CENTRAL.size
    extra_at = name_at + name_length
    following = extra_at + extra_length + comment_length
    if signature != b"PK\x01\x02" or following > end:
        raise BadArchive("Its directory is damaged.")
    raw_name = bytes(data[name_at:extra_at])
    name = _decode(raw_name, flags)
    _check_flags(name, flags, method, disk)
    extra = bytes(data[extra_at : extra_at + extra_length])
    size, packed_size, offset = _widen(name, extra, size, packed_size, offset)
    header = _Header(
        raw_name=raw_name,
        name=name,
        flags=flags,
        method=method,
        crc=crc,
        packed_size=packed_size,
        size=size,
        mode=external >> 16,
        offset=offset,
    )
    return header, following


def _check_flags(name: str, flags: int, method: int, disk: int) -> None:
    if flags & _ENCRYPTED:
        raise _bad(name, "is encrypted")
    if flags & ~_FLAGS:
        raise _bad(name, f"has flags that are not supported ({flags:#06x})")
    if method not in (STORED, DEFLATED):
        raise _bad(name, f"uses compression method {method}; use deflate")
    if disk:
        raise _bad(name, "is on another disk")


def _decode(raw_name: bytes, flags: int) -> str:
    if not flags & _UTF8:
        return raw_name.decode("cp437")  # Appendix D
    try:
        return raw_name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(raw_name.decode("latin-1"), "its name is not UTF-8") from error


def _widen(name: str, extra: bytes, *fields: int) -> list[int]:
    """Replace saturated 32-bit fields by those of the zip64 extra field (4.5.3)."""
    wide = _zip64_extra(name, extra)
    result = []
    for value in fields:
        if value == _IN_EXTRA:
            if len(wide) < 8:
                raise _bad(name, "its zip64 sizes are missing")
            value, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        result.append(value)
    return result


def _zip64_extra(name: str, extra: bytes) -> bytes:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if 4 + length > len(extra):
            raise _bad(name, "its extra field is damaged")
        if kind == _ZIP64_EXTRA:
            return extra[4 : 4 + length]
        extra = extra[4 + length :]
    return b""


def _read_local(data: memoryview, header: _Header, limit: int) -> tuple[int, int]:
    """Where an entry's data starts and where the entry ends (4.3.7).

    Raises `BadArchive` unless the local header says what the directory says.
    """
    name = header.name
    if header.offset + _LOCAL.size > limit:
        raise _bad(name, "is not inside the archive")
    (
        signature, _needed, flags, method, _time, _date, crc, packed_size, size,
        name_length, extra_length,
    ) = _LOCAL.unpack_from(data, header.offset)  # fmt: skip
    name_at = header.offset + _LOCAL.size
    extra_at = name_at + name_length
    start = extra_at + extra_length
    end = start + header.packed_size
    if signature != b"PK\x03\x04" or end > limit:
        raise _bad(name, "is not inside the archive")
    if bytes(data[name_at:extra_at]) != header.raw_name:
        raise _bad(name, "has another name in its own header")
    same = _ENCRYPTED | _DESCRIPTOR | _UTF8
    if method != header.method or (flags ^ header.flags) & same:
        raise _bad(name, "its own header disagrees with the directory")
    if flags & _DESCRIPTOR:
        return start, end + _descriptor_size(data, header, end, limit)
    size, packed_size = _widen(name, bytes(data[extra_at:start]), size, packed_size)
    if (crc, packed_size, size) != (header.crc, header.packed_size, header.size):
        raise _bad(name, "its own header disagrees with the directory")
    return start, end


def _descriptor_size(data: memoryview, header: _Header, at: int, limit: int) -> int:
    """Bytes of the data descriptor, which must agree as well (4.3.9).

    Its signature is optional and its sizes are 32 or 64 bits wide: nothing says
    which, so that the form that agrees is the right one.
    """
    sizes = (header.crc, header.packed_size, header.size)
    for form in ("<4sLQQ", "<4sLLL", "<LQQ", "<LLL"):
        fields = struct.Struct(form)
        has_signature = "s" in form
        wanted = (b"PK\x07\x08", *sizes) if has_signature else sizes
        if at + fields.size <= limit and fields.unpack_from(data, at) == wanted:
            return fields.size
    raise _bad(header.name, "its data descriptor disagrees with the directory")


def _entry(header: _Header, start: int) -> Entry | None:
    """None for the folder that everything is unpacked into."""
    name = header.name
    is_folder = name.endswith("/")
    kind = stat.S_IFMT(header.mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _bad(name, "is a link or a device; only files and folders are allowed")
    if not is_folder and kind == stat.S_IFDIR:
        raise _bad(name, "says both that it is a file and a folder")
    if is_folder and header.size:
        raise _bad(name, "is a folder, and has content")
    if header.method == STORED and header.packed_size != header.size:
        raise _bad(name, "is stored, and its two sizes differ")
    path = safe_path(name)
    if not path:
        if is_folder:
            return None
        raise _bad(name, "has no name")
    return Entry(
        path=path,
        is_folder=is_folder,
        is_executable=bool(header.mode & 0o111),
        method=header.method,
        start=start,
        packed_size=header.packed_size,
        size=header.size,
        crc=header.crc,
    )


def safe_path(name: str) -> str:
    """The path without empty and `.` components. Raises `BadArchive`.

    What comes back stays below the folder that it is joined to.
    """
    if name.startswith("/"):
        raise _bad(name, "is an absolute path")
    if "\\" in name:
        raise _bad(name, "has a backslash; folders are separated by '/'")
    if any(unicodedata.category(char) == "Cc" for char in name):
        raise _bad(name, "has a control character in its name")
    if len(name.encode()) > MAX_PATH:
        raise _bad(name, f"its path is longer than {MAX_PATH} bytes")
    components = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in components:
        raise _bad(name, "leads out of the package with '..'")
    if len(components) > MAX_DEPTH:
        raise _bad(name, f"is more than {MAX_DEPTH} folders deep")
    if any(len(part.encode()) > MAX_COMPONENT for part in components):
        raise _bad(name, f"has a name longer than {MAX_COMPONENT} bytes")
    return "/".join(components)


class _Tree:
    """What exists so far, folders that are only implied included."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._named_folders: set[str] = set()

    def add(self, entry: Entry) -> None:
        """Raise `BadArchive` where the path is taken."""
        path = entry.path
        if path in self._files or path in self._named_folders:
            raise _bad(path, "is in the archive twice")
        self._add_folders(path.rpartition("/")[0])
        if entry.is_folder:
            self._add_folders(path)
            self._named_folders.add(path)
        elif path in self._folders:
            raise _bad(path, "is both a file and a folder")
        else:
            self._files.add(path)
        if len(self._files) + len(self._folders) > MAX_ENTRIES:
            raise BadArchive(f"It has more than {MAX_ENTRIES} files and folders.")

    def _add_folders(self, path: str) -> None:
        while path and path not in self._folders:
            if path in self._files:
                raise _bad(path, "is both a file and a folder")
            self._folders.add(path)
            path = path.rpartition("/")[0]


def _bad(name: str, what: str) -> BadArchive:
    shown = name if len(name) <= _SHOWN_NAME else name[:_SHOWN_NAME] + "…"
    return BadArchive(f"Entry {shown!r} {what}.")
