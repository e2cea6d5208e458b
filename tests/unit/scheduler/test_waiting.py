"""Who waits for an instance that serves, or whose extensions are at work."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec import structs

from sandlot_engine.errors import Conflict
from sandlot_engine.model.invocation import Ended, Run
from tests.fakes.scheduling import WAIT_S, World, ended_run, new_world


@pytest_asyncio.fixture
async def slow() -> AsyncIterator[World]:
    """A world in which starts take a second and runs a tenth, which is known."""
    async with new_world() as made:
        for _ in range(10):
            made.machine.endings.append(
                structs.replace(ended_run(Ended.ANSWERED), duration_s=0.1, init_s=1.0)
            )
            await made.invoke()
            await made.wait_running()
        yield made


async def test_who_would_wait_longer_for_a_start_waits_for_a_busy_instance(
    slow: World,
) -> None:
    [running] = await slow.busy(1)
    waiting = slow.invoke()
    await asyncio.sleep(0)

    assert slow.scheduler.held == 1
    slow.machine.may_answer.set()
    await asyncio.gather(running, waiting)

    assert len(slow.machine.instances) == 1
    assert not slow.scheduler._serving  # noqa: SLF001 - nothing is left of it


async def test_who_waited_is_not_run_where_that_may_not_be_any_more(
    slow: World,
) -> None:
    [running] = await slow.busy(1)
    waiting = slow.invoke()
    await asyncio.sleep(0)

    slow.machine.run_refusal = Conflict("suspended")
    slow.machine.may_answer.set()
    await running
    with pytest.raises(Conflict, match="suspended"):
        await waiting

    slow.machine.run_refusal = None
    assert (await slow.invoke()).ended is Ended.ANSWERED
    assert len(slow.machine.instances) == 1


async def test_who_waits_for_a_busy_instance_in_vain_has_one_started(
    slow: World,
) -> None:
    [running] = await slow.busy(1)

    # It was likely to be free within a tenth of a second, and is not.
    waiting = slow.invoke()
    await slow.wait_running()

    assert len(slow.machine.instances) == 2
    slow.machine.may_answer.set()
    await asyncio.gather(running, waiting)


async def test_who_is_held_and_gives_up_is_forgotten(slow: World) -> None:
    [running] = await slow.busy(1)
    waiting = slow.invoke()
    await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.wait([waiting])
    slow.machine.may_answer.set()
    await running

    assert slow.scheduler._state.waiting == 0  # noqa: SLF001


async def test_where_starts_are_quick_nobody_waits_for_a_busy_instance(
    world: World,
) -> None:
    both = await world.busy(2)
    world.machine.may_answer.set()
    await asyncio.gather(*both)

    assert world.scheduler.held == 0


def _with_rest() -> Run:
    async def rest() -> Run:
        raise AssertionError("it is the invoker's to ask")

    return structs.replace(ended_run(Ended.ANSWERED), rest=rest)


async def test_an_instance_whose_extensions_are_at_work_is_not_lent(
    world: World,
) -> None:
    world.machine.endings = [_with_rest()]
    await world.invoke()
    await world.invoke()
    first, second = world.machine.instances
    assert (first.runs, second.runs) == (1, 1)

    first.has_settled.set()
    async with asyncio.timeout(WAIT_S):
        while not first.is_usable:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0)
    second.die()
    await world.invoke()

    assert first.runs == 2


async def test_an_instance_whose_extensions_failed_is_let_go(world: World) -> None:
    world.machine.endings = [_with_rest()]
    await world.invoke()
    (first,) = world.machine.instances
    first.is_stopped = True
    first.has_settled.set()
    await world.scheduler.drain("rev-of-resize")
    await world.invoke()

    assert [instance.runs for instance in world.machine.instances] == [1, 1]


async def test_draining_waits_for_extensions(world: World) -> None:
    world.machine.endings = [_with_rest()]
    await world.invoke()
    draining = asyncio.get_running_loop().create_task(
        world.scheduler.drain("rev-of-resize")
    )
    await asyncio.sleep(0)
    assert not draining.done()

    (instance,) = world.machine.instances
    instance.has_settled.set()
    async with asyncio.timeout(WAIT_S):
        await draining

    assert instance.is_stopped
