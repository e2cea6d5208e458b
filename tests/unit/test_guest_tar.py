"""Archives as strangers may have written them: read as they say, or refused."""

import io
import tarfile
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_sandbox.guest.tar import MAX_EXTENDED, MAX_PATH, BadTar, Member, Tar

BLOCK = 512
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def header(
    name: bytes = b"a",
    *,
    kind: bytes = b"0",
    size: bytes = b"00000000000",
    target: bytes = b"",
    mode: bytes = b"0000644",
    prefix: bytes = b"",
) -> bytes:
    """One block, its checksum right."""
    block = bytearray(BLOCK)
    for at, field in (
        *((0, name), (100, mode), (124, size), (156, kind), (157, target)),
        *((257, b"ustar\0" + b"00"), (345, prefix)),
    ):
        block[at : at + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def extended(kind: bytes, body: bytes, *, size: int | None = None) -> bytes:
    """A header for the member after it."""
    said = b"%011o" % (len(body) if size is None else size)
    return header(kind=kind, size=said) + body + bytes(-len(body) % BLOCK)


def record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n".encode()
    length = len(text) + 2
    length += len(str(length)) - 2
    return str(length).encode() + text


def members(data: bytes) -> list[tuple[Member, bytes]]:
    tar = Tar(io.BytesIO(data).read)
    return [(each, b"".join(tar.content(each))) for each in tar.members()]


def only(data: bytes) -> Member:
    [(member, _)] = members(data)
    return member


def written(format_: int, *entries: tuple[str, bytes], **fields: Any) -> bytes:
    """What Python's own library writes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("format_", FORMATS)
def test_files_are_read_as_they_were_written(format_: int) -> None:
    entries = [
        ("a", b""),
        ("d/" * 40 + "b", b"x" * BLOCK),
        ("c" * 100, b"x" * (BLOCK + 1)),
        ("p" * 155 + "/" + "n" * 100, b"y" * 70_000),
    ]
    data = written(format_, *entries)

    read = members(data)

    assert [(each.name, content) for each, content in read] == entries
    assert [each.size for each, _ in read] == [len(content) for _, content in entries]
    for member, content in read:
        assert data[member.at : member.at + member.size] == content


@pytest.mark.parametrize("format_", FORMATS)
def test_links_lead_where_they_were_said_to(format_: int) -> None:
    for kind, found in ((tarfile.SYMTYPE, "symlink"), (tarfile.LNKTYPE, "link")):
        member = only(written(format_, ("a", b""), type=kind, linkname="t" * 100))

        assert (member.kind, member.target) == (found, "t" * 100)


@pytest.mark.parametrize(
    ("mode", "is_executable"), [(0o644, False), (0o600, False), (0o744, True)]
)
def test_a_program_is_one(mode: int, *, is_executable: bool) -> None:
    member = only(written(tarfile.PAX_FORMAT, ("a", b"x"), mode=mode))

    assert member.is_executable is is_executable


def test_what_nobody_reads_is_passed_over() -> None:
    data = written(tarfile.PAX_FORMAT, ("a", b"x" * 70_000), ("b", b"y"))

    names = [member.name for member in Tar(io.BytesIO(data).read).members()]

    assert names == ["a", "b"]


def test_a_size_may_be_in_bytes_and_not_in_digits() -> None:
    size = b"\x80" + (5).to_bytes(11, "big")

    [(member, content)] = members(header(size=size) + b"hello" + bytes(BLOCK - 5))

    assert (member.size, content) == (5, b"hello")


def test_a_link_or_folder_has_no_content_whatever_its_size_is() -> None:
    data = header(kind=b"5", size=b"00000000777") + header(b"b")

    assert [member.name for member, _ in members(data)] == ["a", "b"]


def test_what_is_said_of_a_member_is_not_said_of_the_next() -> None:
    data = extended(b"x", record("path", "long")) + header() + header(b"b")

    assert [member.name for member, _ in members(data)] == ["long", "b"]


def test_what_is_said_of_all_names_nobody() -> None:
    assert only(extended(b"g", record("path", "other")) + header()).name == "a"


def test_a_path_and_a_target_may_have_so_many_bytes() -> None:
    longest = "é" * (MAX_PATH // 2)
    for key in ("path", "linkpath"):
        said = only(extended(b"x", record(key, longest)) + header())
        assert longest in (said.name, said.target)
        with pytest.raises(BadTar, match=f"more than {MAX_PATH} bytes"):
            members(extended(b"x", record(key, longest + "x")) + header())


@pytest.mark.parametrize(
    ("data", "because"),
    [
        (header()[:-1], "the middle of a header"),
        (b"b" + header()[1:], "checksum is wrong"),
        (header(size=b"00000000005") + b"1234", "the middle of a file"),
        (header(size=b"0000000000x"), "other than digits"),
        (header(size=b"-0000000001"), "less than nothing|other than digits"),
        (header(size=b"\xff" * 12), "less than nothing"),
        (header(size=b"\x81" + bytes(11)), "less than nothing"),
        (header(kind=b"S"), "a sparse file"),
        (extended(b"x", record("GNU.sparse.major", "1")) + header(), "a sparse file"),
        (header(kind=b"V"), "of unknown kind b'V'"),
        (extended(b"x", b"", size=MAX_EXTENDED + 1), "an extended header has"),
        (extended(b"x", record("size", "-1")) + header(), "other than digits"),
        (extended(b"x", record("size", "9" * 21)) + header(), "other than digits"),
    ],
)
def test_what_does_not_hold_together_is_refused(data: bytes, because: str) -> None:
    with pytest.raises(BadTar, match=because):
        members(data)


@pytest.mark.parametrize(
    "body", [b"path=a\n", b"9 path:a\n", b"99 path=a\n", b"1 path=a\n", b"9path=ab\n"]
)
def test_an_extended_header_that_is_broken_is_refused(body: bytes) -> None:
    with pytest.raises(BadTar):
        members(extended(b"x", body) + header())


@given(st.binary(max_size=BLOCK), st.integers(0, 3 * BLOCK))
def test_whatever_is_changed_is_read_or_refused(junk: bytes, at: int) -> None:
    data = written(tarfile.PAX_FORMAT, ("a" * 200, b"x" * 10), ("b", b"y"))

    with suppress(BadTar):
        members(data[:at] + junk + data[at + len(junk) :])
