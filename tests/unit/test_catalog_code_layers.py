"""Layers on disk: kept as they came, merged once for all who have them."""

import asyncio
import stat
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandlot_engine.catalog import packages, shelf
from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.errors import Internal, InvalidParameter, TooLarge, Unavailable
from sandlot_engine.model.function import ImageSource, Unpacked
from tests.descriptors import open_files
from tests.fakes.waiting import DEADLINE_S
from tests.fakes.zips import zip_of
from tests.unit.code_stores import (
    OTHER,
    PACKAGE,
    RUNTIME,
    Builder,
    all_of,
    names_in,
    with_layers,
)


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


async def test_a_layer_that_a_disk_has_damaged_is_our_fault(
    codes: CodeStore, root: Path
) -> None:
    config = await with_layers(codes, PACKAGE, OTHER)
    sha256 = config.layers[1].code.sha256
    (root / f"{sha256}.zip").write_bytes(b"")

    with pytest.raises(Internal, match=f"{sha256} is damaged"):
        await codes.opt(config)


async def test_a_layer_is_kept_as_a_zip_alone_and_measured(
    codes: CodeStore, root: Path, builder: Builder
) -> None:
    kept = await codes.put_layer(PACKAGE, RUNTIME)
    again = await codes.put_layer(PACKAGE, "python3.9")

    assert again == kept
    assert kept.unpacked_size == len("def handler(event, context): return 1")
    assert names_in(root) == [f"{kept.sha256}.zip"]
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

    assert names_in(root) == []


async def test_a_package_may_be_a_layer_and_a_function_s_code(
    codes: CodeStore, root: Path
) -> None:
    layer = await codes.put_layer(PACKAGE, RUNTIME)
    code = await codes.put(PACKAGE, RUNTIME)

    assert code == layer
    assert names_in(root) == [f"{code.sha256}-{RUNTIME}", f"{code.sha256}.zip"]


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
    assert names_in(folder) == ["app.py", "other.py"]
    assert (folder / "app.py").read_text() == "later"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


async def test_a_function_without_layers_has_no_folder_of_them(
    codes: CodeStore, root: Path
) -> None:
    assert await codes.opt(await with_layers(codes)) is None
    assert names_in(root) == []


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

    assert names_in(root) == [f"{config.layers[0].code.sha256}.zip"]


async def test_a_merge_that_fails_leaves_nothing(
    codes: CodeStore, root: Path, builder: Builder
) -> None:
    config = await with_layers(codes, PACKAGE, OTHER)
    before = names_in(root), open_files()
    builder.error = Unavailable("the launcher died")

    with pytest.raises(Unavailable):
        await codes.opt(config)

    assert (names_in(root), open_files()) == before


async def test_layers_whose_zip_is_gone_are_our_fault(
    codes: CodeStore, root: Path
) -> None:
    config = await with_layers(codes, PACKAGE, OTHER)
    await codes.discard(config.layers[1].code.sha256)

    with pytest.raises(Internal, match="is gone from the engine's code store"):
        await codes.opt(config)

    assert names_in(root) == [f"{config.layers[0].code.sha256}.zip"]


async def test_a_folder_of_layers_that_nobody_knows_goes_at_the_start(
    codes: CodeStore, root: Path
) -> None:
    known = await with_layers(codes, PACKAGE)
    unknown = await with_layers(codes, OTHER)
    for config in (known, unknown):
        await codes.opt(config)

    sha256 = known.layers[0].code.sha256
    await codes.keep_only({sha256, known.opt_sha256})

    assert names_in(root) == sorted(
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
    assert names_in(folder) == ["app.py"]
    assert len(names_in(root)) == 2


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
