"""Packages on disk: whole or not at all, built once for all who ask."""

import asyncio
import errno
import os
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from sandlot_engine.catalog import building, packages
from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.errors import (
    Internal,
    InvalidParameter,
    NotFound,
    TooLarge,
    Troubled,
    Unavailable,
)
from tests.descriptors import open_files
from tests.fakes.waiting import DEADLINE_S, eventually
from tests.fakes.zips import zip_of
from tests.unit.code_stores import OTHER, PACKAGE, RUNTIME, Builder, all_of, names_in

OLDER = "python3.10"


@pytest.fixture
def builder() -> Builder:
    return Builder()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "code"


@pytest.fixture
async def codes(root: Path, builder: Builder) -> AsyncIterator[CodeStore]:
    async with CodeStore(root, build=builder.build) as store:
        yield store


async def test_a_package_is_kept_for_us_only(codes: CodeStore, root: Path) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)

    path = root / f"{kept.sha256}.zip"
    assert path.read_bytes() == PACKAGE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept.size == len(PACKAGE)
    assert kept.unpacked_size == len("def handler(event, context): return 1")
    assert await codes.hash(PACKAGE) == kept.sha256
    assert await all_of(codes, kept.sha256) == PACKAGE


async def test_a_package_is_read_piece_by_piece(
    codes: CodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "PIECE", 100)
    kept = await codes.put(PACKAGE, RUNTIME)

    read = [piece async for piece in codes.pieces_of(kept.sha256)]

    assert b"".join(read) == PACKAGE
    assert {len(piece) for piece in read[:-1]} == {100}


async def test_between_two_pieces_nothing_is_open(
    codes: CodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many read, and however slowly: who has a link may have thousands."""
    monkeypatch.setattr(packages, "PIECE", 100)
    kept = await codes.put(PACKAGE, RUNTIME)
    before = open_files()

    async with aclosing(codes.pieces_of(kept.sha256)) as pieces:
        await anext(pieces)
        assert open_files() == before

    assert open_files() == before


async def test_whoever_hangs_up_while_it_is_opened_leaves_no_file_open(
    codes: CodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)
    before = open_files()
    begun, go, opened = threading.Event(), threading.Event(), threading.Event()
    open_file = packages.open_file

    def open_late(path: Path) -> int:
        begun.set()
        go.wait(DEADLINE_S)
        descriptor = open_file(path)
        opened.set()
        return descriptor

    async def is_closed() -> bool:
        return open_files() == before

    monkeypatch.setattr(packages, "open_file", open_late)
    reading = asyncio.create_task(all_of(codes, kept.sha256))
    assert await asyncio.to_thread(begun.wait, DEADLINE_S)
    reading.cancel()
    await asyncio.wait([reading])
    go.set()

    assert await asyncio.to_thread(opened.wait, DEADLINE_S)
    await eventually(is_closed)


async def test_a_package_that_goes_while_it_is_read_is_not_there_any_more(
    codes: CodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "PIECE", 100)
    kept = await codes.put(PACKAGE, RUNTIME)

    async with aclosing(codes.pieces_of(kept.sha256)) as pieces:
        await anext(pieces)
        await codes.discard(kept.sha256)
        with pytest.raises(NotFound, match=f"no package {kept.sha256} any more"):
            await anext(pieces)


async def test_a_package_is_built_when_it_is_put(
    codes: CodeStore, root: Path, builder: Builder
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)

    folder = await codes.unpacked(kept, RUNTIME)

    assert folder == root / f"{kept.sha256}-{RUNTIME}"
    assert names_in(folder) == ["app.py"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert builder.runtimes == [RUNTIME]


async def test_what_is_too_large_is_never_on_disk(
    codes: CodeStore, root: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "MAX_ZIPPED", 100)

    with pytest.raises(TooLarge):
        await codes.put(bytes(101), RUNTIME)

    assert names_in(root) == []
    assert builder.runtimes == []


@pytest.mark.parametrize(
    "refused", [b"", b"not a zip", zip_of({"app.py": "", "../out.py": ""})]
)
async def test_what_is_refused_leaves_nothing(
    codes: CodeStore, root: Path, refused: bytes
) -> None:
    with pytest.raises(InvalidParameter, match=r"^Could not unzip"):
        await codes.put(refused, RUNTIME)

    assert names_in(root) == []


async def test_a_builder_that_fails_leaves_nothing(
    codes: CodeStore, root: Path, builder: Builder
) -> None:
    builder.error = Unavailable("the launcher died")

    with pytest.raises(Unavailable):
        await codes.put(PACKAGE, RUNTIME)

    assert names_in(root) == []


async def test_a_builder_that_fails_takes_nothing_that_was_there(
    codes: CodeStore, root: Path, builder: Builder
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)
    builder.error = Unavailable("the launcher died")

    with pytest.raises(Unavailable):
        await codes.put(PACKAGE, "python3.9")

    assert names_in(root) == [f"{kept.sha256}-{RUNTIME}", f"{kept.sha256}.zip"]


async def test_a_package_has_a_folder_for_each_runtime(
    codes: CodeStore, builder: Builder
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)

    other = await codes.unpacked(kept, "python3.9")

    assert other != await codes.unpacked(kept, RUNTIME)
    assert names_in(other) == ["app.py"]
    assert builder.runtimes == [RUNTIME, "python3.9"]


async def test_a_package_that_is_put_again_is_not_built_again(
    codes: CodeStore, builder: Builder
) -> None:
    first = await codes.put(PACKAGE, RUNTIME)

    second = await codes.put(PACKAGE, RUNTIME)

    assert second == first
    assert builder.runtimes == [RUNTIME]


async def test_a_package_of_an_engine_before_is_put_with_its_size(
    root: Path, builder: Builder
) -> None:
    async with CodeStore(root, build=builder.build) as before:
        kept = await before.put(PACKAGE, RUNTIME)
        inode = (await before.unpacked(kept, RUNTIME)).stat().st_ino

    async with CodeStore(root, build=builder.build) as after:
        again = await after.put(PACKAGE, RUNTIME)
        folder = await after.unpacked(again, RUNTIME)

    assert again == kept
    # It may be mounted: the one that was there stays.
    assert folder.stat().st_ino == inode
    assert names_in(root) == [folder.name, f"{kept.sha256}.zip"]


async def test_a_folder_that_is_missing_is_built_from_the_zip(
    root: Path, builder: Builder
) -> None:
    async with CodeStore(root, build=builder.build) as before:
        kept = await before.put(PACKAGE, RUNTIME)
        folder = await before.unpacked(kept, RUNTIME)
        (folder / "app.py").unlink()
        folder.rmdir()

    async with CodeStore(root, build=builder.build) as after:
        assert names_in(await after.unpacked(kept, RUNTIME)) == ["app.py"]


async def test_all_who_ask_at_once_share_one_build(
    codes: CodeStore, builder: Builder
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)

    folders = await asyncio.gather(
        *(codes.unpacked(kept, "python3.9") for _ in range(10))
    )

    assert len(set(folders)) == 1
    assert builder.runtimes == [RUNTIME, "python3.9"]


async def test_few_packages_are_built_at_once(
    codes: CodeStore, builder: Builder
) -> None:
    zips = [zip_of({f"{number}.py": ""}) for number in range(6)]
    builder.go.clear()

    async def are_at_it() -> bool:
        return builder.at_once == building.BUILDS

    async with asyncio.TaskGroup() as tasks:
        for zipped in zips:
            tasks.create_task(codes.put(zipped, RUNTIME))
        await eventually(are_at_it)
        builder.go.set()

    assert builder.most_at_once == building.BUILDS
    assert len(builder.runtimes) == len(zips)


async def test_a_package_is_discarded_twice_without_complaint(
    codes: CodeStore, root: Path
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)
    await codes.unpacked(kept, "python3.9")

    await codes.discard(kept.sha256)
    await codes.discard(kept.sha256)

    assert names_in(root) == []


async def test_a_package_that_was_discarded_can_be_put_again(
    codes: CodeStore, builder: Builder
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)
    await codes.discard(kept.sha256)

    assert await codes.put(PACKAGE, RUNTIME) == kept

    assert names_in(await codes.unpacked(kept, RUNTIME)) == ["app.py"]
    assert builder.runtimes == [RUNTIME, RUNTIME]


async def test_a_package_that_is_gone_is_our_fault(
    codes: CodeStore, root: Path
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)
    await codes.discard(kept.sha256)

    with pytest.raises(Internal, match="is gone from the engine's code store"):
        await codes.unpacked(kept, RUNTIME)

    assert names_in(root) == []


async def test_a_package_that_a_disk_has_damaged_is_our_fault_until_it_is_put_again(
    codes: CodeStore, root: Path
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)
    zip_ = root / f"{kept.sha256}.zip"
    zip_.write_bytes(PACKAGE[:-9])

    with pytest.raises(Internal, match=f"{kept.sha256} is damaged"):
        await codes.unpacked(kept, OLDER)
    await codes.put(PACKAGE, RUNTIME)

    assert zip_.read_bytes() == PACKAGE
    assert names_in(await codes.unpacked(kept, OLDER)) == ["app.py"]


async def test_a_damaged_package_that_is_put_again_stays_though_it_cannot_be_built(
    codes: CodeStore, root: Path, builder: Builder
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)
    zip_ = root / f"{kept.sha256}.zip"
    zip_.write_bytes(b"")
    builder.error = Unavailable("no room")

    with pytest.raises(Unavailable):
        await codes.put(PACKAGE, OLDER)

    assert zip_.read_bytes() == PACKAGE


@pytest.mark.parametrize(
    ("number", "raised"), [(errno.ENOSPC, Unavailable), (errno.EIO, Internal)]
)
async def test_a_disk_that_takes_no_package_leaves_nothing_of_it(
    codes: CodeStore,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    raised: type[Exception],
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(raised, match="data directory"):
            await codes.put(PACKAGE, RUNTIME)

    assert names_in(root) == []
    await codes.put(PACKAGE, RUNTIME)
    assert len(names_in(root)) == 2


async def test_that_the_disk_is_full_is_told_once_until_something_is_kept(
    codes: CodeStore, root: Path, builder: Builder, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        for package in (PACKAGE, OTHER):
            builder.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with pytest.raises(Troubled, match=r"data directory is on is full"):
                await codes.put(package, RUNTIME)
        assert names_in(root) == []
        builder.error = None
        kept = await codes.put(PACKAGE, RUNTIME)
        await codes.discard(kept.sha256)

    told = [each.getMessage() for each in caplog.records]
    assert len(told) == 2
    assert all("a package could not be kept: The disk" in each for each in told)


async def test_what_was_half_made_is_gone_after_a_start(
    root: Path, builder: Builder
) -> None:
    (root / ".new-abc/lib").mkdir(parents=True)
    (root / ".new-abc.zip").write_bytes(b"half")

    async with CodeStore(root, build=builder.build) as codes:
        await codes.put(PACKAGE, RUNTIME)

    assert not [name for name in names_in(root) if name.startswith(".new-")]


async def test_only_what_is_wanted_is_kept(codes: CodeStore, root: Path) -> None:
    wanted = await codes.put(PACKAGE, RUNTIME)
    other = await codes.put(OTHER, RUNTIME)
    (root / other.sha256).mkdir()  # as engines before this one called it

    await codes.keep_only({wanted.sha256})

    assert names_in(root) == [f"{wanted.sha256}-{RUNTIME}", f"{wanted.sha256}.zip"]


async def test_what_cannot_be_removed_keeps_no_engine_from_starting(
    root: Path,
    builder: Builder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def remove(path: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(packages, "remove", remove)
    (root / "lost+found").mkdir(parents=True)
    (root / ".new-abc").mkdir()

    async with CodeStore(root, build=builder.build) as codes:
        await codes.keep_only(())
        await codes.put(PACKAGE, RUNTIME)

    assert caplog.text.count("cannot be removed") == 2


async def test_a_caller_who_gives_up_does_not_stop_the_build(
    codes: CodeStore, root: Path, builder: Builder
) -> None:
    builder.go.clear()
    impatient = asyncio.create_task(codes.put(PACKAGE, RUNTIME))
    await builder.began.wait()
    impatient.cancel()
    await asyncio.wait({impatient})
    builder.go.set()

    kept = await codes.put(PACKAGE, RUNTIME)

    assert builder.runtimes == [RUNTIME]
    assert names_in(root) == [f"{kept.sha256}-{RUNTIME}", f"{kept.sha256}.zip"]


async def test_no_descriptor_is_left_open(codes: CodeStore, builder: Builder) -> None:
    await codes.put(OTHER, RUNTIME)
    before = open_files()

    await codes.put(PACKAGE, RUNTIME)
    with pytest.raises(InvalidParameter):
        await codes.put(b"not a zip", RUNTIME)
    builder.error = Unavailable("the launcher died")
    with pytest.raises(Unavailable):
        await codes.put(PACKAGE, "python3.9")

    assert open_files() == before
