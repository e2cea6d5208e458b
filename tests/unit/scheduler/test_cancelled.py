"""A caller who leaves, in any moment, takes nothing along."""

import asyncio

import pytest

from sandlot_engine.model.invocation import Ended
from tests.fakes.scheduling import World


async def test_cancelled_while_its_instance_starts(world: World) -> None:
    world.machine.may_start.clear()
    first, second = world.invoke(), world.invoke()
    await world.wait_starting()

    first.cancel()
    await asyncio.wait([first])
    assert await world.wait_starting() == "resize", "the place went to the next"
    world.machine.may_start.set()

    assert (await second).ended is Ended.ANSWERED


async def test_cancelled_while_it_waits_for_a_place(world: World) -> None:
    running = await world.busy(2)
    waiting = world.invoke()
    await asyncio.sleep(0)

    world.clock.advance(9)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert world.cuts == [], "it had no instance"
    world.machine.may_answer.set()
    await asyncio.gather(*running)


async def test_cancelled_while_it_runs(world: World) -> None:
    world.machine.may_answer.clear()
    running = world.invoke()
    instance = await world.wait_running()
    world.clock.advance(0.25)

    running.cancel()
    await asyncio.wait([running])

    assert instance.is_stopped
    assert world.cuts == [0.25]


async def test_cancelled_in_the_moment_in_which_an_instance_is_freed(
    world: World,
) -> None:
    # The turn is cancelled at once, its task runs later: the freed instance must not
    # be given to it, nor the one that freed it be told of that.
    running = await world.busy(2)
    waiting = world.invoke()
    await asyncio.sleep(0)

    world.machine.may_answer.set()
    waiting.cancel()

    assert [run.ended for run in await asyncio.gather(*running)] == [Ended.ANSWERED] * 2
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_cancelled_in_the_moment_in_which_a_place_is_freed(world: World) -> None:
    world.machine.may_start.clear()
    starting = world.invoke()
    await world.wait_starting()
    waiting = world.invoke("parse")
    await asyncio.sleep(0)

    world.machine.may_start.set()
    waiting.cancel()

    assert (await starting).ended is Ended.ANSWERED
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_cancelled_after_it_was_given_an_instance_and_before_it_knew(
    world: World,
) -> None:
    running = await world.busy(2)
    waiting = world.invoke()
    await asyncio.sleep(0)

    world.machine.may_answer.set()
    await world.wait_assigned()
    waiting.cancel()
    await asyncio.wait([waiting])

    await asyncio.gather(*running)
