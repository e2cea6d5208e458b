"""Which zips are taken, which are refused, and what unpacking makes of them."""

import io
import os
import stat
import struct
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandlot_sandbox.guest import archive, unpacking
from sandlot_sandbox.guest.unpacking import Refused
from tests.descriptors import open_files
from tests.fakes.zips import (
    CENTRAL,
    END,
    LOCAL,
    patched,
    streamed_zip,
    zip_of,
    zip_of_pairs,
)

HONEST = {"app.py": b"def handler(event, context): ...\n" * 100, "lib/data.bin": b"\0"}


def unpack(data: bytes, into: Path) -> tuple[int, int]:
    """Unpack into a new folder; how many entries and bytes there were."""
    return unpack_all([data], into)


def unpack_all(packages: list[bytes], into: Path) -> tuple[int, int]:
    """The same, of several, one over the other."""
    into.mkdir()
    root = os.open(into, unpacking.OPEN_FOLDER)
    try:
        entries, size = unpacking.unpack(packages, root)
    finally:
        os.close(root)
    return len(entries), size


def taken(data: bytes) -> tuple[int, int]:
    """The same, somewhere."""
    with TemporaryDirectory() as folder:
        return unpack(data, Path(folder, "code"))


def refused(data: bytes, because: str) -> None:
    with pytest.raises(Refused, match=because):
        taken(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_honest_zip_is_taken_and_measured(method: int) -> None:
    data = zip_of(HONEST, method=method)

    assert taken(data) == (2, sum(map(len, HONEST.values())))


def test_a_zip_with_data_descriptors_is_taken() -> None:
    assert taken(streamed_zip(HONEST))[0] == 2


def test_a_zip64_entry_is_taken() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        with zipped.open("app.py", "w", force_zip64=True) as file:
            file.write(b"x" * 1_000)

    assert taken(buffer.getvalue()) == (1, 1_000)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A zip of two whose sizes and places all are as if they were above 4 GB."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    return zip_of({"app.py": "x" * 1_000, "lib.py": "y" * 2_000})


def test_a_zip_whose_numbers_are_all_wide_is_taken(wide: bytes) -> None:
    assert wide.count(b"\xff" * 8 + b"\x06\0") == 4, "in both headers of each"
    assert taken(wide) == (2, 3_000)


@pytest.mark.parametrize(
    ("kind", "length", "because"),
    [
        (2, 24, "zip64 sizes are missing"),
        (1, 25, "extra field is damaged"),
        (1, 16, "zip64 sizes are missing"),
    ],
)
def test_wide_numbers_that_are_not_there_are_missed(
    wide: bytes, kind: int, length: int, because: str
) -> None:
    at = wide.rindex(CENTRAL) + 46 + len("lib.py")

    refused(wide[:at] + struct.pack("<2H", kind, length) + wide[at + 4 :], because)


def test_a_comment_is_taken() -> None:
    buffer = io.BytesIO(zip_of(HONEST))
    with zipfile.ZipFile(buffer, "a") as zipped:
        zipped.comment = b"built by hand"

    assert taken(buffer.getvalue())[0] == 2


def test_folders_of_their_own_are_taken(tmp_path: Path) -> None:
    unpack(zip_of({"./": "", "empty/": "", "lib/": "", "lib/a.py": ""}), tmp_path / "c")

    assert (tmp_path / "c/empty").is_dir()
    assert (tmp_path / "c/lib/a.py").is_file()


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("/etc/passwd", "absolute"),
        ("../out.py", r"'\.\.'"),
        ("lib/../../out.py", r"'\.\.'"),
        ("lib/..", r"'\.\."),
        ("lib\\a.py", "backslash"),
        ("a\nb.py", "control character"),
        ("a\x7fb.py", "control character"),
        ("a\u0085b.py", "control character"),
        ("a" * 256, "longer than 255"),
        ("/".join(["a" * 200] * 6), "longer than 1024"),
        ("/".join(["a"] * 65), "64 folders"),
        (".", "no name"),
    ],
)
def test_a_dangerous_path_is_refused(name: str, because: str) -> None:
    refused(zip_of({"app.py": "", name: "x"}), because)


@pytest.mark.parametrize(
    "name", ["a" * 255, "/".join(["a"] * 64), "/".join(["a" * 204] * 5), "..a/b..py"]
)
def test_a_path_as_long_and_deep_as_may_be_is_taken(name: str) -> None:
    assert taken(zip_of({name: "x"})) == (1, 1)


def test_a_nul_in_a_name_is_refused() -> None:
    data = zip_of({"appXpy": "x"}).replace(b"appXpy", b"app\0py")

    refused(data, "control character")


@pytest.mark.parametrize(
    ("names", "because"),
    [
        (["a.py", "a.py"], "twice"),
        (["lib/a.py", "lib//a.py"], "twice"),
        (["a.py", "./a.py"], "twice"),
        (["lib/", "lib/./"], "twice"),
        (["a", "a/b"], "both a file and a folder"),
        (["a/b", "a"], "both a file and a folder"),
        (["a/", "a"], "both a file and a folder|twice"),
    ],
)
def test_two_entries_that_clash_are_refused(names: list[str], because: str) -> None:
    pairs: list[tuple[str, bytes | str]] = [
        (name, "" if name.endswith("/") else "x") for name in names
    ]

    refused(zip_of_pairs(pairs), because)


@pytest.mark.parametrize(
    "kind",
    [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK],
)
def test_what_is_no_file_is_refused(kind: int) -> None:
    refused(zip_of({"app.py": "/etc"}, modes={"app.py": kind | 0o777}), "link")


def test_a_file_that_says_it_is_a_folder_is_refused() -> None:
    refused(zip_of({"a": "x"}, modes={"a": stat.S_IFDIR | 0o755}), "both")


def test_a_folder_with_content_is_refused() -> None:
    refused(zip_of({"a/": "x"}), "folder, and has content")


@pytest.mark.parametrize(
    ("signature", "offset", "form", "value", "because"),
    [
        (CENTRAL, 8, "<H", 1, "encrypted"),
        (CENTRAL, 8, "<H", 1 << 5, "flags"),
        (CENTRAL, 10, "<H", 9, "compression method 9"),
        (CENTRAL, 16, "<L", 0, "disagrees"),
        (CENTRAL, 20, "<L", 5, "disagrees"),
        (CENTRAL, 24, "<L", 5, "disagrees"),
        (CENTRAL, 28, "<H", 0xFFFF, "directory is damaged"),
        (CENTRAL, 34, "<H", 1, "another disk"),
        (CENTRAL, 42, "<L", 0xFFFFFFFE, "not inside"),
        (CENTRAL, 42, "<L", 0xFFFFFFFF, "zip64 sizes are missing"),
        (CENTRAL, 42, "<L", 1, "not inside"),
        (LOCAL, 6, "<H", 1, "disagrees"),
        (LOCAL, 8, "<H", 0, "disagrees"),
        (LOCAL, 26, "<H", 5, "another name"),
        (LOCAL, 28, "<H", 0xFFFF, "not inside"),
        (LOCAL, 30, "<B", 0x41, "another name"),
        (END, 4, "<H", 1, "split"),
        (END, 8, "<H", 1, "split"),
        (END, 10, "<H", 1, "split"),
        (END, 12, "<L", 1, "not where"),
        (END, 16, "<L", 0, "not where"),
        (END, 20, "<H", 1, "not a zip"),
    ],
)
def test_a_header_that_lies_is_refused(
    signature: bytes, offset: int, form: str, value: int, because: str
) -> None:
    refused(patched(zip_of(HONEST), signature, offset, form, value), because)


@pytest.mark.parametrize("size", [5, 5_000_000])
def test_a_size_that_both_headers_lie_about_is_refused(size: int) -> None:
    data = zip_of({"app.py": b"x" * 1_000})
    for signature, offset in ((CENTRAL, 24), (LOCAL, 22)):
        data = patched(data, signature, offset, "<L", size)

    refused(data, "bytes than its header says")


def test_a_wrong_checksum_is_refused() -> None:
    data = zip_of({"app.py": b"x"})
    for signature, offset in ((CENTRAL, 16), (LOCAL, 14)):
        data = patched(data, signature, offset, "<L", 7)

    refused(data, "checksum")


def test_damaged_data_is_refused() -> None:
    data = patched(zip_of({"app.py": os.urandom(1_000)}), LOCAL, 40, "<L", 0xFFFFFFFF)

    refused(data, "damaged|checksum|bytes than")


def test_data_that_is_longer_than_its_stream_is_refused() -> None:
    data = zip_of({"a": b"x", "b": b"y" * 10}, method=zipfile.ZIP_DEFLATED)
    # The first entry swallows the second one's header.
    size = data.index(LOCAL, 1) + 10 - 31
    for signature, offset in ((CENTRAL, 20), (LOCAL, 18)):
        data = patched(data, signature, offset, "<L", size)

    refused(data, "overlaps|goes on after its end")


def test_entries_that_share_data_are_refused() -> None:
    data = bytearray(zip_of_pairs([("a", b"x"), ("a", b"x")]))
    second = data.rindex(CENTRAL)
    data[second + 42 : second + 46] = bytes(4)  # both begin at 0

    refused(bytes(data), "overlaps")


def test_a_data_descriptor_that_lies_is_refused() -> None:
    refused(patched(streamed_zip(HONEST), b"PK\x07\x08", 4, "<L", 7), "descriptor")


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"not a zip", zip_of(HONEST)[:-1], zip_of(HONEST) + b"x"]
)
def test_what_is_no_whole_zip_is_refused(data: bytes) -> None:
    refused(data, "^Could not unzip uploaded file")


def test_something_before_the_zip_is_refused() -> None:
    refused(b"#!/bin/sh\n" + zip_of(HONEST), "put before")


def test_two_ends_are_refused() -> None:
    inner = zip_of({"b": "y"})
    data = patched(zip_of({"a": "x"}), END, 20, "<H", len(inner)) + inner

    refused(data, "more than one end")


def _with_zip64_record(
    *, at: int = 0, disks: int = 1, signature: bytes = b"PK\x06\x06", size: int = 44
) -> bytes:
    """A zip with one of nine entries; it has one. `at` is how far from it its locator
    points."""
    data = zip_of({"a": "x"})
    end = data.index(END)
    record = signature + size.to_bytes(8, "little") + bytes(12)
    record += (9).to_bytes(8, "little") * 2 + bytes(16)
    locator = b"PK\x06\x07" + bytes(4) + (end + at).to_bytes(8, "little")
    locator += disks.to_bytes(4, "little")
    return data[:end] + record + locator + data[end:]


@pytest.mark.parametrize(
    ("lie", "because"),
    [
        ({}, "zip64 record and its end"),
        ({"at": 1}, "not where its locator says"),
        ({"at": 2**62}, "not where its locator says"),
        ({"disks": 2}, "not where its locator says"),
        ({"signature": b"PK\x06\x05"}, "zip64 record is damaged"),
        ({"size": 45}, "zip64 record is damaged"),
    ],
)
def test_a_zip64_record_that_lies_is_refused(lie: dict[str, Any], because: str) -> None:
    refused(_with_zip64_record(**lie), because)


def test_an_empty_zip_is_refused() -> None:
    refused(zip_of({}), "non-empty")


def test_a_zip_over_the_limit_is_refused_in_awss_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unpacking, "MAX_ZIPPED", 100)

    with pytest.raises(Refused, match=r"^Zipped size must be smaller than 100 bytes"):
        taken(bytes(101))


def test_what_is_as_large_as_is_allowed_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zip_of({"lib/a": "x" * 500})
    monkeypatch.setattr(unpacking, "MAX_ZIPPED", len(data))
    monkeypatch.setattr(unpacking, "MAX_UNZIPPED", 1_000)
    monkeypatch.setattr(archive, "MAX_ENTRIES", 4)

    assert unpack_all([data, data], tmp_path / "code") == (1, 500)


def test_nothing_stays_open_whether_it_is_taken_or_refused(tmp_path: Path) -> None:
    before = open_files()

    unpack(zip_of({"a/b/c": "x", "a/d": "x", "e/": ""}), tmp_path / "taken")
    damaged = bytearray(zip_of({"a/b/c": "x" * 100}, method=zipfile.ZIP_STORED))
    damaged[damaged.index(b"xxx")] = 0
    with pytest.raises(Refused):
        unpack(bytes(damaged), tmp_path / "refused")

    assert (tmp_path / "refused/a/b/c").exists(), "it was refused while it was written"
    assert open_files() == before


def test_only_a_zip_that_is_too_large_itself_is_called_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unpacking, "MAX_ZIPPED", 100)

    with pytest.raises(Refused) as too_large:
        taken(bytes(101))
    with pytest.raises(Refused) as unreadable:
        taken(b"not a zip")

    assert too_large.value.too_large
    assert not unreadable.value.too_large


def test_a_bomb_is_refused_before_it_is_inflated() -> None:
    megabyte = b"\0" * 1_000_000
    refused(
        zip_of({str(n): megabyte for n in range(263)}),
        "^Unzipped size must be smaller than 262144000 bytes",
    )


def test_inflated_bytes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zip_of({"a": b"x" * 1_000})
    monkeypatch.setattr(unpacking, "MAX_UNZIPPED", 999)

    refused(data, "^Unzipped size")


def test_folders_that_are_only_implied_count_as_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 10)
    refused(zip_of({f"{n}/a/b": "x" for n in range(5)}), "more than 10")
    refused(zip_of({str(n): "x" for n in range(11)}), "11 entries of 10")


def test_content_longer_than_a_chunk_comes_out_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "CHUNK", 1_024)
    contents = {
        "zeros": bytes(1_024 * 64),
        "random": os.urandom(10_000),
        "exact": b"x" * 1_024,
    }

    unpack(zip_of(contents), tmp_path / "code")

    for name, content in contents.items():
        assert (tmp_path / "code" / name).read_bytes() == content


def test_files_and_folders_get_their_modes_and_nothing_more(tmp_path: Path) -> None:
    modes = {"bin/run": 0o104755, "lib/data": 0o100600, "w": 0o100666}
    previous = os.umask(0o077)
    try:
        unpack(zip_of(dict.fromkeys(modes, "x"), modes=modes), tmp_path / "code")
    finally:
        os.umask(previous)

    found = {
        str(path.relative_to(tmp_path / "code")): stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "code").rglob("*")
    }
    assert found == {
        "bin": 0o755,
        "bin/run": 0o755,
        "lib": 0o755,
        "lib/data": 0o644,
        "w": 0o644,
    }


def merged(into: Path, *packages: dict[str, str]) -> dict[str, str]:
    """What is there of all, by path; of a folder, nothing."""
    unpack_all([zip_of(files) for files in packages], into)
    return {
        str(path.relative_to(into)): path.read_text() if path.is_file() else ""
        for path in into.rglob("*")
    }


def test_the_files_of_several_packages_are_in_one_folder(tmp_path: Path) -> None:
    found = merged(tmp_path / "opt", {"lib/a": "1"}, {"lib/b": "2", "c": "3"})

    assert found == {"lib": "", "lib/a": "1", "lib/b": "2", "c": "3"}


def test_a_later_package_s_file_is_there_in_place_of_an_earlier_one_s(
    tmp_path: Path,
) -> None:
    found = merged(
        tmp_path / "opt", {"lib/a": "1", "b": "1"}, {"lib/a": "2"}, {"lib/a": "3"}
    )

    assert found == {"lib": "", "lib/a": "3", "b": "1"}


def test_a_later_file_hides_an_earlier_folder_with_all_that_is_in_it(
    tmp_path: Path,
) -> None:
    found = merged(tmp_path / "opt", {"lib/sub/a": "1", "lib/b": "1"}, {"lib": "2"})

    assert found == {"lib": "2"}


def test_a_later_folder_hides_an_earlier_file(tmp_path: Path) -> None:
    implied = merged(tmp_path / "one", {"lib": "1"}, {"lib/a": "2"})
    named = merged(tmp_path / "two", {"lib": "1"}, {"lib/": "", "a": "2"})
    both = merged(tmp_path / "three", {"x/a": "1"}, {"x": "2"}, {"x/b": "3"})

    assert implied == {"lib": "", "lib/a": "2"}
    assert named == {"lib": "", "a": "2"}
    assert both == {"x": "", "x/b": "3"}


def test_a_folder_that_several_packages_name_is_there_once(tmp_path: Path) -> None:
    found = merged(tmp_path / "opt", {"lib/": "", "a": ""}, {"lib/": "", "b": ""})

    assert found == {"lib": "", "a": "", "b": ""}


def test_the_bytecode_of_a_module_that_is_hidden_is_hidden_too(tmp_path: Path) -> None:
    cached = "lib/__pycache__/m.cpython-311.pyc"
    found = merged(tmp_path / "opt", {"lib/m.py": "1", cached: "1"}, {"lib/m.py": "2"})
    brought = merged(tmp_path / "two", {cached: "1"}, {"lib/m.py": "2", cached: "2"})

    assert found == {"lib": "", "lib/m.py": "2"}
    assert brought[cached] == "2"


def test_each_of_several_packages_is_checked_as_if_it_were_alone() -> None:
    honest = zip_of(HONEST)
    with TemporaryDirectory() as folder:
        for number, bad in enumerate((b"no zip", zip_of({"../a": ""}), zip_of({}))):
            for packages in ([honest, bad], [bad, honest]):
                with pytest.raises(Refused):
                    unpack_all(packages, Path(folder, f"{number}{packages[0] == bad}"))


def test_what_is_hidden_counts_against_the_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = [zip_of({"lib/a": "x" * 500}) for _ in range(3)]
    monkeypatch.setattr(unpacking, "MAX_UNZIPPED", 1_499)
    with pytest.raises(Refused, match=r"^Unzipped size must be smaller than 1499"):
        unpack_all(packages, tmp_path / "size")

    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    with pytest.raises(Refused, match="Together they have 4 files and folders of 3"):
        unpack_all(packages[:2], tmp_path / "entries")

    assert list((tmp_path / "size").iterdir()) == []
    assert list((tmp_path / "entries").iterdir()) == []


paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)


@settings(max_examples=100)
@given(st.lists(st.dictionaries(paths, st.just("")), min_size=1, max_size=4))
def test_the_last_package_is_there_whole_whatever_was_before(
    packages: list[dict[str, str]],
) -> None:
    zips = [
        zip_of(dict.fromkeys(files, str(number)))
        for number, files in enumerate(packages)
    ]
    with TemporaryDirectory() as folder:
        try:
            unpack_all(zips, Path(folder, "opt"))
        except Refused:
            return
        for path in packages[-1]:
            last = str(len(packages) - 1)
            assert Path(folder, "opt", path).read_text() == last


names = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", "a\\b", "é", "\0", "x" * 255]),
    min_size=1,
    max_size=4,
).map("/".join)


@settings(max_examples=60)
@given(st.lists(st.tuples(names, st.binary(max_size=20)), min_size=1, max_size=6))
def test_whatever_passes_stays_below_its_folder(
    files: list[tuple[str, bytes]],
) -> None:
    data = zip_of_pairs(list(files))
    with TemporaryDirectory() as folder:
        try:
            _, size = unpack(data, Path(folder, "code"))
        except Refused:
            size = None

        assert [path.name for path in Path(folder).iterdir()] == ["code"]
        if size is not None:
            written = [path for path in Path(folder).rglob("*") if path.is_file()]
            assert sum(path.stat().st_size for path in written) == size
            assert len(written) == len([name for name, _ in files if name[-1:] != "/"])


@settings(max_examples=60)
@given(st.data())
def test_a_zip_with_any_byte_changed_is_taken_or_refused_but_breaks_nothing(
    data: st.DataObject,
) -> None:
    changed = bytearray(streamed_zip({"lib/app.py": b"print()\n" * 9, "b": b"\1"}))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] = data.draw(st.integers(0, 255))

    try:
        _, size = taken(bytes(changed))
    except Refused:
        return
    assert size == 73
