"""The engine's hands on packages: whole or not at all, and never through a link."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sandlot_engine.catalog import packages
from sandlot_engine.errors import TooLarge

ORDINARY_UID = 990_073
"""Whom root becomes where its rights would hide a fault: a number nobody has."""


def test_a_zip_over_the_limit_is_refused_in_awss_words() -> None:
    with pytest.raises(
        TooLarge, match=r"^Zipped size must be smaller than 52428800 bytes"
    ):
        packages.check_sent(bytes(packages.MAX_SENT + 1))


def test_a_zip_of_the_limit_is_taken() -> None:
    sent = bytes(packages.MAX_SENT)

    assert packages.check_sent(sent) is sent


def test_one_that_is_fetched_may_have_as_much_as_its_files() -> None:
    packages.check_size(packages.MAX_ZIPPED)

    with pytest.raises(TooLarge, match=r"smaller than 262144000 .* has 262144001\."):
        packages.check_size(packages.MAX_ZIPPED + 1)


def test_a_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "file"

    assert packages.write_file(path, b"first")
    inode = path.stat().st_ino
    assert not packages.write_file(path, b"first")

    assert path.read_bytes() == b"first"
    assert path.stat().st_ino == inode
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damaged", [b"", b"fir", b"firsT"])
def test_a_file_that_a_disk_has_damaged_is_written_anew(
    tmp_path: Path, damaged: bytes
) -> None:
    path = tmp_path / "file"
    path.write_bytes(damaged)

    assert not packages.write_file(path, b"first"), "it was there"

    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(OSError, match="No space"):
        packages.write_file(tmp_path / "file", b"content")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_closed_until_it_is_published(tmp_path: Path) -> None:
    new, path = tmp_path / "new", tmp_path / "code"
    with _made(new) as folder:
        before = stat.S_IMODE(new.stat().st_mode)
        (new / "app.py").touch()

        packages.publish(folder, new, path)

    assert before == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert [p.name for p in path.iterdir()] == ["app.py"]
    assert not new.exists()


def test_what_was_published_before_stays(tmp_path: Path) -> None:
    new, path = tmp_path / "new", tmp_path / "code"
    path.mkdir()
    (path / "old.py").touch()
    with _made(new) as folder:
        (new / "app.py").touch()

        packages.publish(folder, new, path)

    assert [p.name for p in path.iterdir()] == ["old.py"]
    assert not new.exists()


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner/kept").touch()
    folder = tmp_path / "code"
    (folder / "lib/deep").mkdir(parents=True)
    for link in ("a", "lib/b", "lib/deep/c"):
        (folder / link).symlink_to(outside)

    packages.remove(folder)

    assert not folder.exists()
    assert (outside / "inner/kept").exists()


def test_a_link_is_removed_and_not_what_it_names(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "code").symlink_to(outside)

    packages.remove(tmp_path / "code")

    assert list(tmp_path.iterdir()) == [outside]


def test_what_is_not_there_is_removed_without_complaint(tmp_path: Path) -> None:
    packages.remove(tmp_path / "nothing")


def test_folders_nested_without_end_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    _nest(folder, depth=3_000)

    packages.remove(folder)

    assert list(tmp_path.iterdir()) == []


def test_folders_that_nobody_may_enter_are_removed() -> None:
    with TemporaryDirectory() as home, _without_roots_rights(Path(home)):
        inner = Path(home, "code/lib/deep")
        inner.mkdir(parents=True)
        (inner / "file").touch()
        for folder in (inner, inner.parent, inner.parent.parent):
            folder.chmod(0)

        packages.remove(Path(home, "code"))

        assert list(Path(home).iterdir()) == []


@contextmanager
def _without_roots_rights(home: Path) -> Iterator[None]:
    """As the engine is: root may enter anything, and would not notice."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(home, ORDINARY_UID, ORDINARY_UID)
    os.seteuid(ORDINARY_UID)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def _made(path: Path) -> Iterator[int]:
    folder = packages.make_folder(path)
    try:
        yield folder
    finally:
        os.close(folder)


def _nest(folder: Path, *, depth: int) -> None:
    """Deeper than a path can say."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
