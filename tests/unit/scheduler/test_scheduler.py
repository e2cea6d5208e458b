"""Lending instances: whatever happens to an invocation, what it took comes back."""

import asyncio

import pytest
from msgspec import structs

from sandlot_engine.errors import Throttled, Unavailable
from sandlot_engine.model.invocation import Ended
from sandlot_engine.scheduler import bounds
from tests.fakes.scheduling import World, ended_run


async def test_an_instance_is_used_again(world: World) -> None:
    await world.invoke()
    await world.invoke()

    assert [instance.runs for instance in world.machine.instances] == [2]


async def test_an_instance_is_never_shared_between_isolation_keys(
    world: World,
) -> None:
    for key in ("ann", "bob", "ann"):
        await world.invoke(isolation_key=key)

    assert [instance.runs for instance in world.machine.instances] == [2, 1]

    await world.invoke(isolation_key="")

    # There are two places: one of the others had to go, and was not lent.
    assert [instance.runs for instance in world.machine.instances] == [2, 1, 1]


async def test_an_invocation_waits_rather_than_share(world: World) -> None:
    world.machine.may_answer.clear()
    running = [world.invoke(isolation_key=key) for key in ("ann", "ann", "bob")]
    first, second = await world.wait_running(), await world.wait_running()

    world.machine.may_answer.set()
    await asyncio.gather(*running)

    assert (first.runs, second.runs) == (1, 1)
    assert len(world.machine.instances) == 3


async def test_draining_retires_instances_of_every_isolation_key(world: World) -> None:
    for key in ("ann", "bob"):
        await world.invoke(isolation_key=key)

    await world.scheduler.drain("rev-of-resize")

    assert all(instance.is_stopped for instance in world.machine.instances)
    assert world.scheduler.instances == 0


async def test_a_busy_instance_means_another_one_is_started(world: World) -> None:
    both = await world.busy(2)
    world.machine.may_answer.set()
    await asyncio.gather(*both)

    assert len(world.machine.instances) == 2


async def test_beyond_the_last_place_an_invocation_waits(world: World) -> None:
    world.machine.may_answer.clear()
    three = [world.invoke() for _ in range(3)]
    await world.wait_running()
    await world.wait_running()

    world.machine.may_answer.set()
    await asyncio.gather(*three)

    assert len(world.machine.instances) == 2


@pytest.mark.parametrize(
    "ended", [Ended.TIMED_OUT, Ended.EXITED, Ended.VIOLATION, Ended.TOO_LARGE]
)
async def test_an_instance_that_did_not_answer_is_not_used_again(
    world: World, ended: Ended
) -> None:
    world.machine.endings = [ended_run(ended)]

    assert (await world.invoke()).ended is ended
    await world.invoke()

    assert [instance.is_stopped for instance in world.machine.instances] == [
        True,
        False,
    ]


async def test_an_init_that_took_too_long_is_tried_again(world: World) -> None:
    late = structs.replace(ended_run(Ended.INIT_TIMED_OUT), init_s=10.0)
    world.machine.endings = [late]

    run = await world.invoke()

    assert (run.ended, run.late_init_s) == (Ended.ANSWERED, 10.0)
    assert [instance.runs for instance in world.machine.instances] == [1, 1]


async def test_a_restore_that_took_too_long_is_not_tried_again(world: World) -> None:
    world.machine.endings = [
        structs.replace(ended_run(Ended.INIT_TIMED_OUT), is_restore=True)
    ]

    assert (await world.invoke()).ended is Ended.INIT_TIMED_OUT
    assert [instance.runs for instance in world.machine.instances] == [1]


async def test_a_start_that_failed_is_told_and_its_place_given_back(
    world: World,
) -> None:
    world.machine.refusal = Unavailable("no")
    with pytest.raises(Unavailable):
        await world.invoke()

    world.machine.refusal = None
    assert (await world.invoke()).ended is Ended.ANSWERED


async def test_a_slow_import_does_not_keep_others_from_starting(world: World) -> None:
    world.machine.importing["slow"] = asyncio.Event()
    slow = world.invoke("slow")
    await asyncio.sleep(0)

    assert (await world.invoke("quick")).ended is Ended.ANSWERED
    world.machine.importing["slow"].set()
    assert (await slow).ended is Ended.ANSWERED


async def test_a_zygote_lost_during_a_start_is_replaced_once(world: World) -> None:
    world.machine.lost_zygotes = 1

    assert (await world.invoke()).ended is Ended.ANSWERED


async def test_a_zygote_that_is_always_lost_is_told(world: World) -> None:
    world.machine.lost_zygotes = 9

    with pytest.raises(Unavailable, match="ended 2 times"):
        await world.invoke()
    world.machine.lost_zygotes = 0


async def test_who_finds_no_instance_free_in_time_is_refused(impatient: World) -> None:
    running = await impatient.busy(2)

    with pytest.raises(Throttled, match="2 instances at most") as caught:
        await impatient.invoke()

    assert caught.value.retry_after_s > 0
    impatient.machine.may_answer.set()
    await asyncio.gather(*running)


async def test_who_finds_no_place_to_start_in_time_is_refused(impatient: World) -> None:
    impatient.machine.may_start.clear()
    hanging = impatient.invoke()
    await impatient.wait_starting()

    with pytest.raises(Throttled, match="starts 1 at once"):
        await impatient.invoke("parse")

    impatient.machine.may_start.set()
    assert (await hanging).ended is Ended.ANSWERED


async def test_a_run_may_take_longer_than_the_wait_for_a_place(
    impatient: World,
) -> None:
    impatient.machine.may_start.clear()
    slow = impatient.invoke()
    await impatient.wait_starting()
    with pytest.raises(Throttled):
        await impatient.invoke()

    impatient.machine.may_start.set()

    assert (await slow).ended is Ended.ANSWERED


@pytest.mark.parametrize("has_been_told", [True, False])
async def test_an_idle_instance_that_died_is_not_given_to_anyone(
    world: World, has_been_told: bool
) -> None:
    await world.invoke()
    (instance,) = world.machine.instances
    if has_been_told:
        instance.die()
    else:
        instance.is_usable = False

    assert (await world.invoke()).ended is Ended.ANSWERED
    assert [i.runs for i in world.machine.instances] == [1, 1]


async def test_an_instance_that_dies_between_assignment_and_use_is_replaced(
    world: World,
) -> None:
    world.machine.may_answer.clear()
    running = [world.invoke(), world.invoke()]
    first = await world.wait_running()
    await world.wait_running()
    waiting = world.invoke()
    await asyncio.sleep(0)

    world.machine.may_answer.set()
    await world.wait_assigned()
    for instance in (first, *world.machine.instances):
        instance.die()

    assert (await waiting).ended is Ended.ANSWERED
    await asyncio.gather(*running)


async def test_an_idle_instance_that_ended_unnoticed_is_no_caller_s_loss(
    world: World,
) -> None:
    await world.invoke()
    (instance,) = world.machine.instances
    instance.ended_unnoticed = True

    assert (await world.invoke()).ended is Ended.ANSWERED
    assert instance.is_stopped
    assert [i.runs for i in world.machine.instances] == [2, 1]


async def test_a_new_instance_that_could_not_start_is_told(world: World) -> None:
    world.machine.endings = [Unavailable("no clone")]

    with pytest.raises(Unavailable, match="no clone"):
        await world.invoke()

    assert [i.runs for i in world.machine.instances] == [1]


async def test_the_idle_are_retired_after_their_time(world: World) -> None:
    await world.invoke()
    (instance,) = world.machine.instances
    since = world.clock.monotonic()
    world.clock.advance(1)

    assert world.scheduler.upkeep.retire_idle(since=since - 1) == 0
    assert world.scheduler.upkeep.retire_idle(since=since) == 1
    assert instance.is_stopped
    assert world.scheduler.instances == 0


async def test_draining_waits_for_the_busy_and_retires_all(world: World) -> None:
    world.machine.may_answer.clear()
    running = world.invoke()
    instance = await world.wait_running()
    draining = asyncio.get_running_loop().create_task(
        world.scheduler.drain("rev-of-resize")
    )
    await asyncio.sleep(0)
    assert not draining.done()

    world.machine.may_answer.set()
    await draining

    assert (await running).ended is Ended.ANSWERED
    assert instance.is_stopped
    assert world.scheduler.instances == 0


async def test_draining_waits_for_an_init_that_is_tried_again(world: World) -> None:
    world.machine.may_answer.clear()
    world.machine.endings = [ended_run(Ended.INIT_TIMED_OUT)]
    running = world.invoke()
    await world.wait_starting()
    await world.wait_running()
    draining = asyncio.get_running_loop().create_task(
        world.scheduler.drain("rev-of-resize")
    )
    world.machine.may_start.clear()
    world.machine.may_answer.set()
    await world.wait_starting()
    await asyncio.sleep(0)

    assert not draining.done(), "the version would be retired while it is in use"
    world.machine.may_start.set()
    assert (await running).ended is Ended.ANSWERED
    await draining


async def test_a_full_machine_retires_an_idle_instance_of_another(
    world: World,
) -> None:
    await asyncio.gather(world.invoke(), world.invoke())
    await world.invoke("parse")

    assert [i.is_stopped for i in world.machine.instances].count(True) <= 1
    assert world.scheduler.instances <= 2


def test_the_limits_of_a_machine_have_names() -> None:
    assert bounds.MAX_STARTING_OF_TENANT < bounds.MAX_STARTING < bounds.MAX_INSTANCES
