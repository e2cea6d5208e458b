"""A function is made ready before it serves: how that fails, and what then serves."""

import asyncio

import pytest

from sandlot_engine.catalog import preparing
from sandlot_engine.errors import (
    SUSPENDED,
    Conflict,
    Internal,
    SandlotError,
    Unavailable,
)
from sandlot_engine.model.function import FunctionState, UpdateStatus
from tests.fakes.catalog import OTHER_ZIP, TENANT, ZIP, Bench
from tests.fakes.waiting import eventually


@pytest.mark.parametrize("error", [Unavailable("no launcher"), Internal("broken")])
async def test_a_function_that_cannot_be_made_ready_has_failed(
    bench: Bench, error: SandlotError
) -> None:
    bench.node.error = error
    await bench.create()

    failed = await bench.settled()

    assert failed.state is FunctionState.FAILED
    assert failed.state_reason == error.message
    with pytest.raises(Conflict, match=r"state: Failed.*Delete the function"):
        bench.functions.resolve(TENANT, "resize")
    with pytest.raises(Conflict, match="state: Failed"):
        await bench.functions.update_code(TENANT, "resize", ZIP)


@pytest.mark.parametrize("is_resumed_meanwhile", [False, True])
async def test_what_a_suspended_tenant_has_under_way_is_made_ready_when_it_is_resumed(
    bench: Bench, *, is_resumed_meanwhile: bool
) -> None:
    bench.node.error = Conflict("suspended", reason=SUSPENDED)
    await bench.create()
    await bench.node.preparing.wait()

    if is_resumed_meanwhile:
        bench.functions.resume(TENANT)
    bench.node.go.set()
    await eventually(bench.node.has_refused)
    bench.node.error = None
    if not is_resumed_meanwhile:
        bench.functions.resume(TENANT)
    ready = await bench.settled()

    assert ready.state is FunctionState.ACTIVE


async def test_what_waits_for_its_tenant_can_be_deleted(bench: Bench) -> None:
    bench.node.error = Conflict("suspended", reason=SUSPENDED)
    await bench.create()
    bench.node.go.set()
    await eventually(bench.node.has_refused)

    await bench.functions.delete(TENANT, "resize")

    await bench.codes_left(0)


async def test_a_failed_function_can_be_deleted_and_created_again(
    bench: Bench,
) -> None:
    bench.node.error = Unavailable("no launcher")
    await bench.create()
    await bench.settled()
    bench.node.error = None

    await bench.functions.delete(TENANT, "resize")
    await bench.create()

    assert (await bench.settled()).state is FunctionState.ACTIVE


async def test_a_bug_of_ours_fails_the_function_and_tells_no_details(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.node.error = ZeroDivisionError("at secret place")
    await bench.create()

    failed = await bench.settled()

    assert failed.state is FunctionState.FAILED
    assert "secret" not in failed.state_reason
    assert "secret" in caplog.text


async def test_what_takes_too_long_has_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "PREPARE_TIMEOUT_S", 0.0)
    await bench.create()

    async def is_given_up() -> bool:
        return bool(bench.node.cancelled)

    await eventually(is_given_up)

    failed = await bench.settled()

    assert failed.state is FunctionState.FAILED
    assert "not ready after" in failed.state_reason


async def test_the_old_revision_serves_until_the_new_one_is_ready(
    bench: Bench,
) -> None:
    await bench.create()
    old = await bench.settled()
    bench.node.go.clear()

    updating = await bench.functions.update_code(TENANT, "resize", OTHER_ZIP)

    assert updating.update_status is UpdateStatus.IN_PROGRESS
    assert bench.functions.resolve(TENANT, "resize").serving == old.serving
    assert updating.current.code != old.current.code

    new = await bench.settled()

    assert new.update_status is UpdateStatus.SUCCESSFUL
    assert new.serving == updating.pending
    await bench.codes_left(1)
    assert bench.node.retired == [old.current.id]


async def test_an_update_that_fails_leaves_the_old_revision_serving(
    bench: Bench,
) -> None:
    await bench.create()
    old = await bench.settled()
    bench.node.error = Unavailable("no launcher")

    await bench.functions.update_code(TENANT, "resize", OTHER_ZIP)
    failed = await bench.settled()

    assert failed.update_status is UpdateStatus.FAILED
    assert failed.update_reason == "no launcher"
    assert failed.state is FunctionState.ACTIVE
    assert failed.serving == old.serving
    await bench.codes_left(1)


@pytest.mark.parametrize("first", [True, False], ids=["create", "update"])
async def test_what_could_not_be_made_ready_is_retired(
    bench: Bench, *, first: bool
) -> None:
    if not first:
        await bench.create()
        await bench.settled()
    bench.node.error = Unavailable("no launcher")

    if first:
        failing = await bench.create()
    else:
        failing = await bench.functions.update_code(TENANT, "resize", OTHER_ZIP)
    await bench.settled()

    async def is_retired() -> bool:
        return bench.node.retired == [failing.current.id]

    await eventually(is_retired)


async def test_a_package_stays_while_what_has_it_mounted_still_runs(
    bench: Bench,
) -> None:
    await bench.create()
    old = await bench.settled()
    bench.node.busy[old.current.id] = asyncio.Event()
    await bench.functions.update_configuration(TENANT, "resize", {"timeout_s": 9})
    new = await bench.settled()

    await bench.functions.delete(TENANT, "resize")
    retired, kept = list(bench.node.retired), list(bench.code_folder.glob("*.zip"))
    bench.node.busy[old.current.id].set()

    assert retired == [new.current.id]
    assert len(kept) == 1
    await bench.codes_left(0)
