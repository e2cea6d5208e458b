"""What goes where memory is short, and what is made ready for what is expected."""

import asyncio

from msgspec.structs import replace

from sandlot_engine.errors import Unavailable
from sandlot_engine.model.invocation import Ended
from sandlot_engine.scheduler.upkeep import LEAST_MB
from tests.fakes.scheduling import World, ended_run, wait_standbys
from tests.fakes.waiting import eventually


async def test_where_memory_is_short_standbys_go_first_and_then_the_idle(
    ready: World,
) -> None:
    await ready.invoke()
    await wait_standbys(ready, 1)
    ready.machine.missing_mb = LEAST_MB

    assert ready.scheduler.upkeep.relieve() == 1
    assert ready.machine.has_dropped, "what is kept of the dead goes before the living"
    assert [i.is_stopped for i in ready.machine.instances] == [False, True]
    assert ready.machine.shed_mb == 0
    assert ready.scheduler.upkeep.relieve() == 1
    assert ready.machine.instances[0].is_stopped
    assert ready.scheduler.upkeep.relieve() == 0
    assert ready.machine.shed_mb == LEAST_MB


async def test_where_cells_went_it_is_looked_again_before_anybody_is_evicted(
    ready: World,
) -> None:
    await ready.invoke()
    ready.machine.missing_mb = LEAST_MB
    ready.machine.has_cells = True

    assert ready.scheduler.upkeep.relieve() == 0
    assert not any(each.is_stopped for each in ready.machine.instances)
    assert ready.scheduler.upkeep.relieve() == 1


async def test_where_memory_is_short_nothing_stands_by_until_it_is_not(
    ready: World,
) -> None:
    ready.machine.missing_mb = 1.0
    ready.scheduler.upkeep.relieve()
    await ready.invoke()

    assert ready.scheduler._ahead._refill is None  # noqa: SLF001 - nobody will look
    ready.machine.missing_mb = 0.0
    ready.scheduler.upkeep.relieve()
    await ready.invoke()

    await wait_standbys(ready, 1)


async def test_as_much_is_given_back_as_is_missing(world: World) -> None:
    for key in ("ann", "bob"):
        await world.invoke(isolation_key=key)
    for instance in world.machine.instances:
        instance.memory_mb = 50.0
    world.machine.missing_mb = 40.0

    assert world.scheduler.upkeep.relieve() == 1
    assert [i.is_stopped for i in world.machine.instances] == [True, False]


async def test_what_takes_more_goes_first_although_it_ran_once_and_last(
    world: World,
) -> None:
    for name, max_memory_mb in (("small", 2), ("large", 500)):
        run = replace(ended_run(Ended.ANSWERED), max_memory_mb=max_memory_mb)
        world.machine.endings.append(run)
        await world.invoke(name)
    world.machine.missing_mb = LEAST_MB

    assert world.scheduler.upkeep.relieve() == 1
    assert [i.is_stopped for i in world.machine.instances] == [False, True]


async def test_what_is_kept_stays_however_short_memory_is(world: World) -> None:
    await world.provision(1)
    world.machine.missing_mb = 1_000.0

    assert world.scheduler.upkeep.relieve() == 0
    assert world.scheduler.provisioned("rev-of-resize") == 1


async def test_what_is_expected_is_made_ready_and_stands_by(ready: World) -> None:
    for _ in range(30):
        await ready.invoke()
        ready.clock.advance(1_800)
    ready.scheduler.standbys.sweep(ready.clock.monotonic() - 900)
    ready.machine.importing["resize"] = asyncio.Event()
    ready.machine.importing["resize"].set()
    made = len(ready.machine.instances)

    ready.scheduler.upkeep.bring_back(ready.clock.monotonic())

    await wait_standbys(ready, 1)
    assert "resize" not in ready.machine.importing
    assert len(ready.machine.instances) >= made


async def test_what_is_not_expected_soon_is_named_before_others_give_room(
    ready: World,
) -> None:
    for _ in range(30):
        await ready.invoke()
        ready.clock.advance(1_800)
    await ready.invoke()
    (known,) = ready.scheduler.standbys
    ready.machine.missing_mb = 1_000.0

    ready.scheduler.upkeep.relieve()

    assert ready.machine.away == {known.revision.id}
    ready.clock.advance(1_790)
    ready.scheduler.upkeep.relieve()
    assert not ready.machine.away, "now it is"


async def test_what_cannot_be_made_ready_ahead_is_not_tried_for_ever(
    ready: World,
) -> None:
    for _ in range(30):
        await ready.invoke()
        ready.clock.advance(1_800)
    ready.machine.importing["resize"] = asyncio.Event()
    ready.machine.import_refusal = Unavailable("no")
    (known,) = ready.scheduler.standbys
    now = ready.clock.monotonic()
    assert known.history.is_coming_back(now)

    ready.scheduler.upkeep.bring_back(now)

    async def has_given_up() -> bool:
        return not known.history.is_coming_back(now)

    await eventually(has_given_up)
    del ready.machine.importing["resize"]
