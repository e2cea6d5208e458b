"""Packages on disk: whole or not at all, built once for all who ask."""

import asyncio
import errno
import os
import stat
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from sandlot_engine.catalog import building, packages, shelf
from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.errors import (
    Internal,
    InvalidParameter,
    NotFound,
    TooLarge,
    Troubled,
    Unavailable,
)
from sandlot_engine.model.function import (
    FunctionConfig,
    ImageSource,
    LayerUse,
    Unpacked,
)
from tests.descriptors import open_files
from tests.fakes.building import build_here
from tests.fakes.waiting import DEADLINE_S, eventually
from tests.fakes.zips import zip_of

PACKAGE = zip_of({"app.py": "def handler(event, context): return 1"})
OTHER = zip_of({"other.py": ""})
RUNTIME = "python3.11"
OLDER = "python3.10"


class Builder:
    """Builds without a jail, when it is let to; counts."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.began = asyncio.Event()
        self.runtimes: list[str] = []
        self.for_opt: list[bool] = []
        self.at_once = self.most_at_once = 0
        self.error: Exception | None = None
        """Raised after the files were written."""

    async def build(
        self,
        runtime: str,
        packages: Sequence[int],
        folder: int,
        *,
        is_opt: bool = False,
    ) -> Unpacked:
        self.runtimes.append(runtime)
        self.for_opt.append(is_opt)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.began.set()
        try:
            await self.go.wait()
            made = await build_here(runtime, packages, folder)
        finally:
            self.at_once -= 1
        if self.error is not None:
            raise self.error
        return made


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


async def all_of(codes: CodeStore, sha256: str) -> bytes:
    read = b"".join([piece async for piece in codes.pieces_of(sha256)])
    assert await codes.size_of(sha256) == len(read)
    return read


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
    assert _names(folder) == ["app.py"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert builder.runtimes == [RUNTIME]


async def test_what_is_too_large_is_never_on_disk(
    codes: CodeStore, root: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "MAX_ZIPPED", 100)

    with pytest.raises(TooLarge):
        await codes.put(bytes(101), RUNTIME)

    assert _names(root) == []
    assert builder.runtimes == []


@pytest.mark.parametrize(
    "refused", [b"", b"not a zip", zip_of({"app.py": "", "../out.py": ""})]
)
async def test_what_is_refused_leaves_nothing(
    codes: CodeStore, root: Path, refused: bytes
) -> None:
    with pytest.raises(InvalidParameter, match=r"^Could not unzip"):
        await codes.put(refused, RUNTIME)

    assert _names(root) == []


async def test_a_builder_that_fails_leaves_nothing(
    codes: CodeStore, root: Path, builder: Builder
) -> None:
    builder.error = Unavailable("the launcher died")

    with pytest.raises(Unavailable):
        await codes.put(PACKAGE, RUNTIME)

    assert _names(root) == []


async def test_a_builder_that_fails_takes_nothing_that_was_there(
    codes: CodeStore, root: Path, builder: Builder
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)
    builder.error = Unavailable("the launcher died")

    with pytest.raises(Unavailable):
        await codes.put(PACKAGE, "python3.9")

    assert _names(root) == [f"{kept.sha256}-{RUNTIME}", f"{kept.sha256}.zip"]


async def test_a_package_has_a_folder_for_each_runtime(
    codes: CodeStore, builder: Builder
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)

    other = await codes.unpacked(kept, "python3.9")

    assert other != await codes.unpacked(kept, RUNTIME)
    assert _names(other) == ["app.py"]
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
    assert _names(root) == [folder.name, f"{kept.sha256}.zip"]


async def test_a_folder_that_is_missing_is_built_from_the_zip(
    root: Path, builder: Builder
) -> None:
    async with CodeStore(root, build=builder.build) as before:
        kept = await before.put(PACKAGE, RUNTIME)
        folder = await before.unpacked(kept, RUNTIME)
        (folder / "app.py").unlink()
        folder.rmdir()

    async with CodeStore(root, build=builder.build) as after:
        assert _names(await after.unpacked(kept, RUNTIME)) == ["app.py"]


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

    assert _names(root) == []


async def test_a_package_that_was_discarded_can_be_put_again(
    codes: CodeStore, builder: Builder
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)
    await codes.discard(kept.sha256)

    assert await codes.put(PACKAGE, RUNTIME) == kept

    assert _names(await codes.unpacked(kept, RUNTIME)) == ["app.py"]
    assert builder.runtimes == [RUNTIME, RUNTIME]


async def test_a_package_that_is_gone_is_our_fault(
    codes: CodeStore, root: Path
) -> None:
    kept = await codes.put(PACKAGE, RUNTIME)
    await codes.discard(kept.sha256)

    with pytest.raises(Internal, match="is gone from the engine's code store"):
        await codes.unpacked(kept, RUNTIME)

    assert _names(root) == []


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
    assert _names(await codes.unpacked(kept, OLDER)) == ["app.py"]


async def test_a_layer_that_a_disk_has_damaged_is_our_fault(
    codes: CodeStore, root: Path
) -> None:
    config = await with_layers(codes, PACKAGE, OTHER)
    sha256 = config.layers[1].code.sha256
    (root / f"{sha256}.zip").write_bytes(b"")

    with pytest.raises(Internal, match=f"{sha256} is damaged"):
        await codes.opt(config)


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

    assert _names(root) == []
    await codes.put(PACKAGE, RUNTIME)
    assert len(_names(root)) == 2


async def test_that_the_disk_is_full_is_told_once_until_something_is_kept(
    codes: CodeStore, root: Path, builder: Builder, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        for package in (PACKAGE, OTHER):
            builder.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with pytest.raises(Troubled, match=r"data directory is on is full"):
                await codes.put(package, RUNTIME)
        assert _names(root) == []
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

    assert not [name for name in _names(root) if name.startswith(".new-")]


async def test_only_what_is_wanted_is_kept(codes: CodeStore, root: Path) -> None:
    wanted = await codes.put(PACKAGE, RUNTIME)
    other = await codes.put(OTHER, RUNTIME)
    (root / other.sha256).mkdir()  # as engines before this one called it

    await codes.keep_only({wanted.sha256})

    assert _names(root) == [f"{wanted.sha256}-{RUNTIME}", f"{wanted.sha256}.zip"]


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


async def with_layers(codes: CodeStore, *layers: bytes) -> FunctionConfig:
    """The settings of a function that has these layers."""
    kept = [await codes.put_layer(layer, RUNTIME) for layer in layers]
    uses = tuple(
        LayerUse(arn=f"arn:{number}", code=code) for number, code in enumerate(kept)
    )
    return FunctionConfig(handler="app.handler", runtime=RUNTIME, layers=uses)


async def test_a_layer_is_kept_as_a_zip_alone_and_measured(
    codes: CodeStore, root: Path, builder: Builder
) -> None:
    kept = await codes.put_layer(PACKAGE, RUNTIME)
    again = await codes.put_layer(PACKAGE, "python3.9")

    assert again == kept
    assert kept.unpacked_size == len("def handler(event, context): return 1")
    assert _names(root) == [f"{kept.sha256}.zip"]
    assert await all_of(codes, kept.sha256) == PACKAGE
    assert (builder.runtimes, builder.for_opt) == ([RUNTIME], [True])


async def test_a_layer_that_is_refused_leaves_nothing(
    codes: CodeStore, root: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "MAX_ZIPPED", 10_000)
    with pytest.raises(InvalidParameter, match=r"^Could not unzip"):
        await codes.put_layer(zip_of({"../out.py": ""}), RUNTIME)
    with pytest.raises(TooLarge):
        await codes.put_layer(bytes(10_001), RUNTIME)

    assert _names(root) == []


async def test_a_package_may_be_a_layer_and_a_function_s_code(
    codes: CodeStore, root: Path
) -> None:
    layer = await codes.put_layer(PACKAGE, RUNTIME)
    code = await codes.put(PACKAGE, RUNTIME)

    assert code == layer
    assert _names(root) == [f"{code.sha256}-{RUNTIME}", f"{code.sha256}.zip"]


async def test_layers_are_merged_into_one_folder_once(
    codes: CodeStore, root: Path, builder: Builder
) -> None:
    config = await with_layers(codes, PACKAGE, OTHER, zip_of({"app.py": "later"}))
    builder.for_opt.clear()

    folders = await asyncio.gather(*(codes.opt(config) for _ in range(5)))

    assert set(folders) == {root / f"{config.opt_sha256}-{RUNTIME}"}
    assert builder.for_opt == [True]
    (folder,) = set(folders)
    assert folder is not None
    assert _names(folder) == ["app.py", "other.py"]
    assert (folder / "app.py").read_text() == "later"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


async def test_a_function_without_layers_has_no_folder_of_them(
    codes: CodeStore, root: Path
) -> None:
    assert await codes.opt(await with_layers(codes)) is None
    assert _names(root) == []


async def test_the_same_layers_in_another_order_are_another_folder(
    codes: CodeStore,
) -> None:
    one = await with_layers(codes, PACKAGE, OTHER)
    other = await with_layers(codes, OTHER, PACKAGE)

    assert await codes.opt(one) != await codes.opt(other)


async def test_layers_have_a_folder_for_each_runtime(
    codes: CodeStore, root: Path
) -> None:
    config = await with_layers(codes, PACKAGE)
    await codes.opt(config)
    await codes.opt(replace(config, runtime="python3.9"))

    await codes.discard(config.opt_sha256)

    assert _names(root) == [f"{config.layers[0].code.sha256}.zip"]


async def test_a_merge_that_fails_leaves_nothing(
    codes: CodeStore, root: Path, builder: Builder
) -> None:
    config = await with_layers(codes, PACKAGE, OTHER)
    before = _names(root), open_files()
    builder.error = Unavailable("the launcher died")

    with pytest.raises(Unavailable):
        await codes.opt(config)

    assert (_names(root), open_files()) == before


async def test_layers_whose_zip_is_gone_are_our_fault(
    codes: CodeStore, root: Path
) -> None:
    config = await with_layers(codes, PACKAGE, OTHER)
    await codes.discard(config.layers[1].code.sha256)

    with pytest.raises(Internal, match="is gone from the engine's code store"):
        await codes.opt(config)

    assert _names(root) == [f"{config.layers[0].code.sha256}.zip"]


async def test_a_folder_of_layers_that_nobody_knows_goes_at_the_start(
    codes: CodeStore, root: Path
) -> None:
    known = await with_layers(codes, PACKAGE)
    unknown = await with_layers(codes, OTHER)
    for config in (known, unknown):
        await codes.opt(config)

    sha256 = known.layers[0].code.sha256
    await codes.keep_only({sha256, known.opt_sha256})

    assert _names(root) == sorted(
        (f"{sha256}.zip", f"{known.opt_sha256}-{RUNTIME}"),
    )


async def test_a_zip_can_not_take_the_place_of_merged_layers(
    codes: CodeStore, root: Path
) -> None:
    config = await with_layers(codes, PACKAGE)
    folder = await codes.opt(config)
    named_alike = config.layers[0].code.sha256.encode()
    assert await codes.hash(named_alike) == config.opt_sha256

    for put in (codes.put, codes.put_layer):
        with pytest.raises(InvalidParameter, match="not a zip"):
            await put(named_alike, RUNTIME)

    assert folder is not None
    assert _names(folder) == ["app.py"]
    assert len(_names(root)) == 2


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
    assert _names(root) == [f"{kept.sha256}-{RUNTIME}", f"{kept.sha256}.zip"]


class SlowImages:
    """Copies when it is let to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)

    def pack(self, uri: str, into: int) -> str:
        self.begun.release()
        self.go.wait()
        return ""

    async def build(self, archive: int, tag: str, folder: int) -> tuple[Unpacked, str]:
        raise AssertionError("nothing is built")


async def test_what_is_there_is_found_while_others_are_copied(
    root: Path, builder: Builder
) -> None:
    """Each start of a zygote asks for it."""
    images = SlowImages()
    async with (
        CodeStore(root, build=builder.build, images=images) as codes,
        asyncio.TaskGroup() as group,
    ):
        config = await with_layers(codes, PACKAGE)
        kept = await codes.put(OTHER, RUNTIME)
        await codes.opt(config)

        async def copy() -> None:
            async with codes.staged(ImageSource(uri="oci:image")):
                pass

        for _ in range(shelf.THREADS):
            group.create_task(copy())
            await asyncio.to_thread(images.begun.acquire)
        try:
            async with asyncio.timeout(DEADLINE_S):
                assert (await codes.unpacked(kept, RUNTIME)).is_dir()
                assert await codes.opt(config)
                assert not await codes.has_extensions(config)
        finally:
            images.go.set()


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


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
