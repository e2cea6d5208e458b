"""What a function has asked for is started ahead, kept, and replaced."""

import asyncio
from dataclasses import replace

import pytest

from sandlot_engine.errors import Throttled, Unavailable
from sandlot_engine.model.invocation import Ended
from sandlot_engine.scheduler import bounds
from sandlot_engine.scheduler.provisions import PROVISION_REST
from tests.fakes.scheduling import World, named, new_world
from tests.fakes.waiting import eventually


async def test_what_is_provisioned_is_started_before_anybody_calls(
    world: World,
) -> None:
    assert await world.provision(2) == 2
    assert [instance.runs for instance in world.machine.instances] == [0, 0]

    await world.invoke()

    assert len(world.machine.instances) == 2
    assert sum(instance.runs for instance in world.machine.instances) == 1


async def test_only_what_is_provisioned_is_told_so(world: World) -> None:
    world.machine.may_answer.clear()
    await world.provision(1)
    first = world.invoke()
    await world.wait_running()
    second = world.invoke()
    await world.wait_running()
    world.machine.may_answer.set()
    await asyncio.gather(first, second)

    assert world.machine.kept == [True, False]


async def test_what_is_provisioned_is_there_once_it_is_initialised(
    world: World,
) -> None:
    world.machine.may_initialise.clear()
    provisioning = asyncio.create_task(world.provision(1))
    await world.wait_starting()

    assert (await world.invoke()).ended is Ended.ANSWERED
    assert [instance.runs for instance in world.machine.instances] == [0, 1]
    world.machine.instances[1].die()
    assert world.scheduler.provisioned("rev-of-resize") == 0
    assert not provisioning.done()
    world.machine.may_initialise.set()

    assert await provisioning == 1
    assert world.scheduler.provisioned("rev-of-resize") == 1


@pytest.mark.parametrize(("timeout_s", "limit_s"), [(3, 130.0), (900, 900.0)])
async def test_what_is_provisioned_has_time_for_its_init(
    world: World, timeout_s: int, limit_s: float
) -> None:
    function = named("resize")
    assert function.serving is not None
    config = replace(function.serving.config, timeout_s=timeout_s)
    revision = replace(function.serving, config=config)

    await world.scheduler.provision(function, revision, 1)

    assert [each.init_limit_s for each in world.machine.instances] == [limit_s]


async def test_what_cannot_be_initialised_is_told_and_tried_again() -> None:
    async with new_world(again_s=0.0) as world:
        world.machine.initialises = False

        assert await world.provision(1) == 0
        assert world.machine.instances[0].is_stopped
        world.machine.initialises = True

        async def is_there() -> bool:
            return await world.provision(1) == 1

        await eventually(is_there)


async def test_what_failed_after_long_is_not_tried_before_long_whoever_asks() -> None:
    """Nobody pays for it: it would be a way to compute for nothing."""
    async with new_world(again_s=0.0) as world:
        world.machine.initialises = False
        world.machine.may_initialise.clear()
        provisioning = asyncio.create_task(world.provision(1))
        await world.wait_starting()
        world.clock.advance(30.0)
        world.machine.may_initialise.set()
        assert await provisioning == 0
        world.machine.initialises = True

        assert await world.provision(2) == 0
        await world.provision(0)
        assert await world.provision(1) == 0
        assert len(world.machine.instances) == 1

        world.clock.advance(30.0 * PROVISION_REST)
        await world.provision(0)
        assert await world.provision(1) == 1


async def test_what_died_unused_is_not_tried_before_long_where_its_init_was() -> None:
    async with new_world(again_s=0.0) as world:
        world.machine.may_initialise.clear()
        provisioning = asyncio.create_task(world.provision(1))
        await world.wait_starting()
        world.clock.advance(30.0)
        world.machine.may_initialise.set()
        assert await provisioning == 1

        world.machine.instances[0].die()
        await asyncio.sleep(0)

        await world.provision(0)
        assert await world.provision(1) == 0
        assert len(world.machine.instances) == 1


async def test_a_slow_init_ahead_does_not_keep_others_from_starting(
    world: World,
) -> None:
    world.machine.may_initialise.clear()
    provisioning = asyncio.create_task(world.provision(1))
    await world.wait_starting()

    assert (await world.invoke("parse")).ended is Ended.ANSWERED
    world.machine.may_initialise.set()
    assert await provisioning == 1


async def test_what_is_provisioned_does_not_grow_stale(world: World) -> None:
    await world.provision(1)
    await world.invoke()
    world.clock.advance(bounds.IDLE_S)
    now = world.clock.monotonic()

    assert world.scheduler.upkeep.retire_idle(since=now) == 0
    await world.provision(0)

    assert world.scheduler.upkeep.retire_idle(since=now) == 1


async def test_what_is_provisioned_makes_no_room_for_others(impatient: World) -> None:
    await impatient.provision(2)

    with pytest.raises(Throttled):
        await impatient.invoke("parse")
    await impatient.provision(1)

    assert (await impatient.invoke("parse")).ended is Ended.ANSWERED


async def test_what_is_provisioned_is_replaced_when_it_dies(world: World) -> None:
    await world.provision(1)
    await world.wait_starting()
    await world.invoke()

    world.machine.instances[0].die()
    await world.wait_starting()

    assert await world.provision(1) == 1
    assert world.scheduler.instances == 1


async def test_what_dies_before_it_was_used_is_tried_again_later() -> None:
    async with new_world(again_s=0.0) as world:
        await world.provision(1)
        await world.wait_starting()

        world.machine.instances[0].die()
        await world.wait_starting()

        assert await world.provision(1) == 1


async def test_what_could_not_be_started_ahead_is_told_and_tried_again() -> None:
    async with new_world(again_s=0.0) as world:
        world.machine.refusal = Unavailable("no")
        assert await world.provision(1) == 0
        world.machine.lost_zygotes = 1
        world.machine.refusal = None

        async def is_there() -> bool:
            return await world.provision(1) == 1

        await eventually(is_there)


async def test_what_cannot_be_imported_is_told(world: World) -> None:
    world.machine.importing["resize"] = asyncio.Event()
    world.machine.import_refusal = Unavailable("no")

    assert await world.provision(1) == 0


async def test_no_more_is_provisioned_than_may_be() -> None:
    async with new_world(max_kept=1) as world:
        assert await world.provision(2) == 1


async def test_half_of_what_a_machine_has_room_for_is_left_to_others() -> None:
    async with new_world(max_kept=None) as world:
        assert await world.provision(2) == 1


async def test_a_revision_that_is_drained_is_provisioned_no_more(
    world: World,
) -> None:
    await world.provision(2)

    await world.scheduler.drain("rev-of-resize")

    assert world.scheduler.instances == 0
    assert all(instance.is_stopped for instance in world.machine.instances)


async def test_what_is_being_initialised_is_drained_too(world: World) -> None:
    world.machine.may_initialise.clear()
    provisioning = asyncio.create_task(world.provision(1))
    await world.wait_starting()
    await asyncio.sleep(0)

    await world.scheduler.drain("rev-of-resize")
    world.machine.may_initialise.set()

    assert await provisioning == 0
    assert [instance.is_stopped for instance in world.machine.instances] == [True]
    assert world.scheduler.instances == 0


async def test_provisioning_is_given_up_while_it_starts(world: World) -> None:
    world.machine.may_start.clear()
    provisioning = asyncio.create_task(world.provision(2))
    await world.wait_starting()

    await world.provision(0)
    world.machine.may_start.set()

    assert await provisioning == 0
    assert (await world.invoke()).ended is Ended.ANSWERED


async def test_what_is_provisioned_comes_before_an_environment_that_was_reset(
    world: World,
) -> None:
    await world.provision(1)
    world.machine.is_reset = True

    await world.invoke()

    assert [instance.runs for instance in world.machine.instances] == [1]


async def test_whoever_asks_for_one_more_waits_until_that_is_there(
    world: World,
) -> None:
    assert await world.provision(1) == 1
    world.machine.may_initialise.clear()
    more = asyncio.create_task(world.provision(2))
    while len(world.machine.instances) < 2:
        await world.wait_starting()
    await asyncio.sleep(0)

    assert not more.done()
    world.machine.may_initialise.set()

    assert await more == 2


async def test_what_is_not_asked_for_any_more_is_not_tried_again() -> None:
    async with new_world(again_s=0.0) as world:
        world.machine.importing["resize"] = asyncio.Event()
        world.machine.import_refusal = Unavailable("no")
        await world.provision(1)

        assert await world.provision(0) == 0

        world.machine.import_refusal = None
        world.machine.importing["resize"].set()
        for _ in range(50):
            await asyncio.sleep(0)
        assert world.machine.instances == []
        await world.invoke()
        assert world.scheduler.provisioned("rev-of-resize") == 0


async def test_what_is_tried_again_is_as_much_as_was_asked_for_last() -> None:
    async with new_world(again_s=0.0) as world:
        world.machine.importing["resize"] = asyncio.Event()
        world.machine.import_refusal = Unavailable("no")
        assert await world.provision(1) == 0
        assert await world.provision(2) == 0
        world.machine.import_refusal = None
        world.machine.importing["resize"].set()

        async def are_there() -> bool:
            return world.scheduler.provisioned("rev-of-resize") == 2

        await eventually(are_there)


async def test_why_nothing_is_started_ahead_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with new_world(again_s=0.0) as world:
        world.machine.importing["resize"] = asyncio.Event()
        world.machine.import_refusal = Unavailable("no")
        await world.provision(1)
        for _ in range(50):
            await asyncio.sleep(0)

    assert caplog.text.count("nothing is started ahead: no") == 1
