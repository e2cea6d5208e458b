"""How much a tenant may keep: functions, and bytes of code."""

import asyncio
from pathlib import Path

import pytest

from sandlot_engine.catalog.on_disk import ENTRY_BYTES
from sandlot_engine.catalog.quotas import Quota
from sandlot_engine.errors import QuotaExceeded
from tests.fakes.catalog import OTHER_ZIP, TENANT, ZIP, Bench, Node, opened
from tests.fakes.stores import MemoryStore
from tests.fakes.waiting import eventually
from tests.fakes.zips import zip_of


async def test_a_tenant_has_a_bounded_number_of_functions(tmp_path: Path) -> None:
    quota = Quota(functions=2)
    async with opened(tmp_path, MemoryStore(), Node(), quota) as bench:
        results = await asyncio.gather(
            *(bench.create(str(n)) for n in range(4)), return_exceptions=True
        )

        assert sum(isinstance(each, QuotaExceeded) for each in results) == 2


async def test_a_tenant_has_a_bounded_number_of_code_bytes(tmp_path: Path) -> None:
    quota = Quota(code_bytes=len(ZIP) + ENTRY_BYTES + 100)
    async with opened(tmp_path, MemoryStore(), Node(), quota) as bench:
        await bench.create("first")
        await bench.create("same-package")

        with pytest.raises(QuotaExceeded) as refusal:
            await bench.create("other", code=OTHER_ZIP)

        assert refusal.value.reason == "CodeStorageExceeded"
        await bench.codes_left(1)


async def test_what_is_retired_counts_until_it_is_gone(bench: Bench) -> None:
    """It is on disk for as long as its last invocation: a function that is invoked and
    changed again and again had as many packages there as it liked."""
    await bench.create()
    old = (await bench.settled()).current
    alone = bench.functions.code_bytes(TENANT)
    bench.node.busy[old.id] = asyncio.Event()

    await bench.functions.update_code(TENANT, "resize", OTHER_ZIP)
    new = (await bench.settled()).current
    more = new.code.size + new.code.unpacked_size + ENTRY_BYTES

    async def is_counted(bytes_: int) -> bool:
        return bench.functions.code_bytes(TENANT) == bytes_

    await eventually(lambda: is_counted(alone + more))
    bench.node.busy[old.id].set()
    await eventually(lambda: is_counted(more))


async def test_each_file_counts_and_so_does_each_runtime(bench: Bench) -> None:
    """Of files without content a file system has no more than of others."""
    files = zip_of({"app.py": "x = 1", **{f"{n}.txt": "" for n in range(10)}})

    await bench.create(code=files)
    await bench.settled()
    once = bench.functions.code_bytes(TENANT)
    await bench.functions.update_configuration(
        TENANT, "resize", {"runtime": "python3.12"}
    )
    twice = bench.functions.code_bytes(TENANT)

    assert once == len(files) + len("x = 1") + 11 * ENTRY_BYTES
    assert twice == once + len("x = 1") + 11 * ENTRY_BYTES
