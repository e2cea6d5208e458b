"""How fast a function may have new instances."""

import asyncio

import pytest

from sandlot_engine.errors import Throttled
from sandlot_engine.model.invocation import Ended
from sandlot_engine.scheduler import ahead
from sandlot_engine.scheduler.scaling import SCALING_S
from tests.fakes.scheduling import new_world, wait_standbys


async def test_a_function_has_only_so_many_new_instances_within_a_time() -> None:
    async with new_world(scaling=2) as world:
        for key in ("ann", "bob"):
            await world.invoke(isolation_key=key)

        with pytest.raises(Throttled, match="2 new instances") as caught:
            await world.invoke(isolation_key="cid")
        await world.invoke(isolation_key="bob")
        await world.invoke("parse")
        world.clock.advance(caught.value.retry_after_s)
        await world.invoke(isolation_key="cid")

        assert caught.value.reason == "ConcurrentInvocationLimitExceeded"
        assert caught.value.limit == 2
        assert 0 < caught.value.retry_after_s <= SCALING_S / 2 + 1e-6


async def test_who_waits_and_is_given_one_that_was_used_has_had_no_new_one() -> None:
    async with new_world(scaling=3) as world:
        running = await world.busy(2)
        waiting = world.invoke()
        await asyncio.sleep(0)
        with pytest.raises(Throttled, match="3 new instances"):
            await world.invoke()

        world.machine.may_answer.set()
        await asyncio.gather(*running, waiting)

        assert len(world.machine.instances) == 2
        assert (await world.invoke(isolation_key="ann")).ended is Ended.ANSWERED


async def test_who_gives_up_while_he_waits_has_had_no_new_one() -> None:
    async with new_world(scaling=3) as world:
        running = await world.busy(2)
        waiting = world.invoke(isolation_key="ann")
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        world.machine.may_answer.set()
        await asyncio.gather(*running)
        again = await world.invoke(isolation_key="ann")

        assert again.ended is Ended.ANSWERED


async def test_a_standby_is_new_for_the_function_when_it_is_first_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ahead, "REFILL_S", 0.0)
    async with new_world(max_instances=16, max_standbys=2, scaling=1) as world:
        await world.invoke()
        await wait_standbys(world, 1)
        [running] = await world.busy(1)

        with pytest.raises(Throttled, match="1 new instances"):
            await world.invoke()

        world.machine.may_answer.set()
        await running


async def test_without_a_limit_a_function_grows_as_fast_as_it_can() -> None:
    async with new_world(scaling=0) as world:
        for number in range(4):
            await world.invoke(isolation_key=f"key-{number}")
