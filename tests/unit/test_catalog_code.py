"""Packages on disk: whole or not at all, once for all who ask."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandlot_engine.catalog import code, packages
from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.errors import Internal, InvalidParameter
from tests.fakes.zips import zip_of

PACKAGE = zip_of({"app.py": "def handler(event, context): return 1"})


@pytest.fixture
async def codes(tmp_path: Path) -> AsyncIterator[CodeStore]:
    async with CodeStore(tmp_path / "code") as store:
        yield store


async def test_a_package_is_kept_for_us_only(codes: CodeStore, tmp_path: Path) -> None:
    kept = await codes.put(PACKAGE)

    path = tmp_path / "code" / f"{kept.sha256}.zip"
    assert path.read_bytes() == PACKAGE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept.size == len(PACKAGE)
    assert await codes.hash(PACKAGE) == kept.sha256


async def test_what_is_no_package_is_not_kept(codes: CodeStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter):
        await codes.put(b"not a zip")

    assert _names(tmp_path / "code") == []


async def test_a_package_comes_back_and_is_unpacked(codes: CodeStore) -> None:
    kept = await codes.put(PACKAGE)

    folder = await codes.unpacked(kept)

    assert folder.name == kept.sha256
    assert _names(folder) == ["app.py"]
    assert await codes.read(kept) == PACKAGE


async def test_all_who_ask_at_once_share_one_unpacking(
    codes: CodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await codes.put(PACKAGE)
    made = []

    def unpack_and_count(zip_path: Path, into: Path) -> None:
        made.append(into.exists())
        packages.unpack(zip_path, into)

    monkeypatch.setattr(code, "unpack", unpack_and_count)

    folders = await asyncio.gather(*(codes.unpacked(kept) for _ in range(10)))

    assert len(set(folders)) == 1
    assert made.count(False) == 1


async def test_a_package_is_discarded_twice_without_complaint(
    codes: CodeStore, tmp_path: Path
) -> None:
    kept = await codes.put(PACKAGE)
    await codes.unpacked(kept)

    await codes.discard(kept)
    await codes.discard(kept)

    assert _names(tmp_path / "code") == []


async def test_a_package_that_is_gone_is_our_fault(codes: CodeStore) -> None:
    kept = await codes.put(PACKAGE)
    await codes.discard(kept)

    with pytest.raises(Internal, match="No such file"):
        await codes.unpacked(kept)


async def test_what_was_half_made_is_gone_after_a_start(tmp_path: Path) -> None:
    root = tmp_path / "code"
    (root / ".new-abc/lib").mkdir(parents=True)
    (root / ".new-abc.zip").write_bytes(b"half")

    async with CodeStore(root) as codes:
        await codes.put(PACKAGE)

    assert not [name for name in _names(root) if name.startswith(".new-")]


async def test_only_what_is_wanted_is_kept(codes: CodeStore, tmp_path: Path) -> None:
    wanted = await codes.put(PACKAGE)
    other = await codes.put(zip_of({"other.py": ""}))
    await codes.unpacked(other)

    await codes.keep_only({wanted.sha256})

    assert _names(tmp_path / "code") == [f"{wanted.sha256}.zip"]


async def test_a_caller_who_gives_up_does_not_stop_the_unpacking(
    codes: CodeStore,
) -> None:
    kept = await codes.put(PACKAGE)
    impatient = asyncio.create_task(codes.unpacked(kept))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait({impatient})

    folder = await codes.unpacked(kept)

    assert _names(folder) == ["app.py"]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
