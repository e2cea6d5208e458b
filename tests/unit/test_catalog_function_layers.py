"""Functions with layers: what is on disk for them, and for how long."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandlot_engine.catalog import layers as module
from sandlot_engine.catalog.quotas import Quota
from sandlot_engine.errors import InvalidParameter, QuotaExceeded
from sandlot_engine.model.function import Function, FunctionConfig, LayerUse
from sandlot_engine.model.layer import LayerVersion
from tests.fakes.catalog import CONFIG, OTHER_ZIP, TENANT, ZIP, Bench, Node, opened
from tests.fakes.stores import MemoryStore
from tests.fakes.waiting import eventually
from tests.fakes.zips import zip_of

REGION = "eu-north-1"
ONE = zip_of({"python/m.py": "ANSWER = 1"})
TWO = zip_of({"python/m.py": "ANSWER = 2", "python/n.py": ""})


async def publish(bench: Bench, name: str, content: bytes) -> LayerVersion:
    return await bench.functions.layers.publish(TENANT, name, content)


def used(bench: Bench, *versions: LayerVersion) -> tuple[LayerUse, ...]:
    arns = [version.arn(REGION) for version in versions]
    return bench.functions.layers.resolve(TENANT, arns, region=REGION)


async def create(
    bench: Bench, *versions: LayerVersion, name: str = "resize"
) -> Function:
    """A function with these layers that is ready."""
    config = replace(CONFIG, layers=used(bench, *versions))
    await bench.functions.create(TENANT, name, config, ZIP)
    return await bench.settled(name)


async def update(bench: Bench, **changes: Any) -> Function:
    await bench.functions.update_configuration(TENANT, "resize", changes)
    return await bench.settled()


def opt(config: FunctionConfig) -> str:
    return f"{config.opt_sha256}-{config.runtime}"


def on_disk(bench: Bench) -> set[str]:
    return {path.name for path in bench.code_folder.iterdir()}


async def is_left(bench: Bench, *names: str) -> None:
    """Wait until this is all there is."""

    async def has_come_true() -> bool:
        return on_disk(bench) == set(names)

    await eventually(has_come_true)


async def test_layers_are_merged_before_a_function_is_prepared(bench: Bench) -> None:
    one, two = await publish(bench, "one", ONE), await publish(bench, "two", TWO)

    function = await create(bench, one, two)

    folder = bench.code_folder / opt(function.current.config)
    assert (folder / "python/m.py").read_text() == "ANSWER = 2"
    assert (folder / "python/n.py").exists()


async def test_functions_with_the_same_layers_share_a_folder_until_the_last_is_gone(
    bench: Bench,
) -> None:
    layer = await publish(bench, "one", ONE)
    first = await create(bench, layer, name="first")
    await create(bench, layer, name="second")
    zips = f"{layer.code.sha256}.zip", f"{first.current.code.sha256}.zip"
    code = f"{first.current.code.sha256}-python3.11"
    merged = opt(first.current.config)

    await bench.functions.delete(TENANT, "first")
    assert on_disk(bench) == {*zips, code, merged}

    await bench.functions.delete(TENANT, "second")
    await is_left(bench, zips[0])


async def test_a_deleted_layer_is_there_until_its_last_function_is_gone(
    bench: Bench,
) -> None:
    layer = await publish(bench, "one", ONE)
    function = await create(bench, layer)
    await bench.publish()

    await bench.functions.layers.delete(TENANT, "one", 1)
    with pytest.raises(InvalidParameter, match=r"does not exist\.$"):
        used(bench, layer)
    await update(bench, memory_mb=256)
    assert f"{layer.code.sha256}.zip" in on_disk(bench)

    await update(bench, layers=())
    assert opt(function.current.config) in on_disk(bench), "version 1 has it"

    await bench.functions.delete(TENANT, "resize")
    await is_left(bench)


async def test_what_other_layers_were_merged_into_goes_with_them(bench: Bench) -> None:
    one, two = await publish(bench, "one", ONE), await publish(bench, "two", TWO)
    before = await create(bench, one)

    after = await update(bench, layers=used(bench, two))

    code = before.current.code.sha256
    await is_left(
        bench,
        *(f"{code}.zip", f"{code}-python3.11", opt(after.current.config)),
        *(f"{one.code.sha256}.zip", f"{two.code.sha256}.zip"),
    )


async def test_a_layer_that_is_deleted_while_a_function_is_created_is_there_for_it(
    bench: Bench,
) -> None:
    layer = await publish(bench, "one", ONE)
    config = replace(CONFIG, layers=used(bench, layer))

    await asyncio.gather(
        bench.functions.create(TENANT, "resize", config, ZIP),
        bench.functions.layers.delete(TENANT, "one", 1),
    )

    await bench.settled()
    assert opt(config) in on_disk(bench)


async def test_a_deleted_layer_of_a_function_that_was_refused_goes(
    bench: Bench,
) -> None:
    layer = await publish(bench, "one", ONE)
    config = replace(CONFIG, layers=used(bench, layer))

    refused, _ = await asyncio.gather(
        bench.functions.create(TENANT, "resize", config, b"not a zip"),
        bench.functions.layers.delete(TENANT, "one", 1),
        return_exceptions=True,
    )

    assert isinstance(refused, InvalidParameter)
    await is_left(bench)


async def test_at_its_start_an_engine_keeps_what_functions_and_layers_have(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    async with opened(tmp_path, store, Node(), None) as before:
        one, two = await publish(before, "one", ONE), await publish(before, "two", TWO)
        function = await create(before, one, two)
        await before.functions.layers.delete(TENANT, "two", 1)
        known = on_disk(before)
        (before.code_folder / f"{'f' * 64}-python3.11").mkdir()

    async with opened(tmp_path, store, Node(), None) as after:
        assert on_disk(after) == known
        assert opt(function.current.config) in known
        assert (await publish(after, "two", TWO)).version == 2


async def test_a_function_that_is_too_large_with_its_layers_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await publish(bench, "one", ONE), await publish(bench, "two", TWO)
    function = await create(bench, one)
    size = function.current.code.unpacked_size + one.code.unpacked_size
    monkeypatch.setattr(module, "MAX_UNZIPPED", size)
    larger = zip_of({"app.py": "def handler(event, context): return 12345"})
    layers = used(bench, one, two)

    with pytest.raises(InvalidParameter, match="Function code combined with layers"):
        await bench.functions.create(
            TENANT, "other", replace(CONFIG, layers=layers), ZIP
        )
    with pytest.raises(InvalidParameter, match="Function code combined with layers"):
        await bench.functions.update_configuration(TENANT, "resize", {"layers": layers})
    with pytest.raises(InvalidParameter, match="Function code combined with layers"):
        await bench.functions.update_code(TENANT, "resize", larger)

    await bench.functions.update_code(TENANT, "resize", OTHER_ZIP)


async def test_layers_count_against_a_tenant_s_bytes(tmp_path: Path) -> None:
    room = len(ONE) + len("ANSWER = 1") + 1
    quota = Quota(code_bytes=room)
    async with opened(tmp_path, MemoryStore(), Node(), quota) as bench:
        layer = await publish(bench, "one", ONE)
        await publish(bench, "other", ONE)

        with pytest.raises(QuotaExceeded, match="Code storage limit exceeded"):
            await publish(bench, "one", TWO)
        with pytest.raises(QuotaExceeded, match="Code storage limit exceeded"):
            await bench.functions.create(TENANT, "resize", CONFIG, ZIP)

        await is_left(bench, f"{layer.code.sha256}.zip")


async def test_merged_layers_count_for_whose_function_they_are_merged(
    tmp_path: Path,
) -> None:
    """They are on disk once for each order; 5 layers have 325 orders."""
    store = MemoryStore()
    async with opened(tmp_path, store, Node(), None) as bench:
        one, two = await publish(bench, "one", ONE), await publish(bench, "two", TWO)
        await create(bench, one, two)
        room = bench.functions.code_bytes(TENANT)

    async with opened(tmp_path, store, Node(), Quota(code_bytes=room)) as bench:
        await create(bench, one, two, name="same")
        await update(bench, memory_mb=256)

        with pytest.raises(QuotaExceeded, match="Code storage limit exceeded"):
            await create(bench, two, one, name="other")
        with pytest.raises(QuotaExceeded, match="Code storage limit exceeded"):
            await update(bench, layers=used(bench, two, one))
        await update(bench, layers=())


async def test_who_has_too_much_may_do_what_takes_no_more(tmp_path: Path) -> None:
    store = MemoryStore()
    async with opened(tmp_path, store, Node(), None) as bench:
        await create(bench)

    async with opened(tmp_path, store, Node(), Quota(code_bytes=1)) as bench:
        await update(bench, memory_mb=256)
        await bench.functions.update_code(TENANT, "resize", ZIP)
        await bench.settled()

        with pytest.raises(QuotaExceeded, match="Code storage limit exceeded"):
            await bench.functions.update_code(TENANT, "resize", OTHER_ZIP)


async def test_of_a_tenant_that_was_deleted_no_layer_is_left(bench: Bench) -> None:
    await publish(bench, "one", ONE)
    await publish(bench, "two", TWO)

    await bench.functions.forget(TENANT)

    await is_left(bench)
    assert bench.functions.layers.list_layers(TENANT) == ([], "")
