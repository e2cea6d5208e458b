"""What stands by for the next cold start, and for how long."""

import asyncio
from dataclasses import replace

import pytest

from sandlot_engine.model.invocation import Ended
from sandlot_engine.scheduler import bounds
from sandlot_engine.scheduler.history import REST
from tests.fakes.scheduling import World, ended_run, named, wait_standbys
from tests.fakes.waiting import eventually


async def test_what_has_answered_has_a_standby_for_the_next_cold_start(
    ready: World,
) -> None:
    await ready.invoke()
    await ready.wait_running()
    await wait_standbys(ready, 1)
    ready.machine.may_answer.clear()

    both = [ready.invoke(), ready.invoke()]
    first, second = await ready.wait_running(), await ready.wait_running()
    ready.machine.may_answer.set()
    await asyncio.gather(*both)

    assert [first.was_standby, second.was_standby] == [False, True]
    assert [first.runs, second.runs] == [2, 1]
    assert ready.scheduler.standbys.taken == 1
    await wait_standbys(ready, 1)


async def test_an_environment_that_was_reset_comes_before_a_standby(
    ready: World,
) -> None:
    ready.machine.endings = [ended_run(Ended.ANSWERED), ended_run(Ended.TIMED_OUT)]
    await ready.invoke()
    await wait_standbys(ready, 1)
    standby = ready.machine.instances[-1]
    await ready.invoke()
    assert ready.machine.instances[0].is_stopped
    ready.machine.is_reset = True

    await ready.invoke()

    assert standby.runs == 0
    assert ready.machine.instances[-1].runs == 1


async def test_how_many_live_and_stand_by_can_be_asked(ready: World) -> None:
    function = named("resize")
    assert ready.scheduler.instances_of(function) == (0, 0)

    await ready.invoke()
    await wait_standbys(ready, 1)

    assert ready.scheduler.instances_of(function) == (2, 1)
    assert ready.scheduler.instances_of(replace(function, serving=None)) == (0, 0)


async def test_nothing_stands_by_for_what_has_never_answered(ready: World) -> None:
    ready.machine.endings = [ended_run(Ended.INIT_FAILED)]

    await ready.invoke()

    assert ready.scheduler._state.standbys_of("rev-of-resize") == (0, 0)  # noqa: SLF001


async def test_nobody_knows_for_which_isolation_key_to_stand_by(ready: World) -> None:
    await ready.invoke(isolation_key="ann")

    assert not ready.scheduler._state.due  # noqa: SLF001
    assert len(ready.machine.instances) == 1


async def test_a_standby_goes_when_its_function_is_not_used_any_more(
    ready: World,
) -> None:
    await ready.invoke()
    await wait_standbys(ready, 1)

    ready.clock.advance(bounds.IDLE_S)
    ready.scheduler.standbys.sweep(ready.clock.monotonic())

    assert ready.machine.instances[1].is_stopped
    assert ready.scheduler.instances == 1


async def test_a_standby_is_not_stale_while_it_is_wanted(ready: World) -> None:
    await ready.invoke()
    await wait_standbys(ready, 1)

    assert ready.scheduler.upkeep.retire_idle(since=ready.clock.monotonic() + 1) == 1
    assert ready.machine.instances[0].is_stopped
    assert ready.scheduler.standbys.there == 1


async def test_a_standby_that_cannot_be_initialised_is_not_tried_again(
    ready: World,
) -> None:
    ready.machine.initialises = False
    await ready.invoke()

    async def has_failed() -> bool:
        return len(ready.machine.instances) == 2 and ready.scheduler.instances == 1

    await eventually(has_failed)
    ready.scheduler.standbys.sweep(ready.clock.monotonic())

    assert ready.scheduler._state.standbys_of("rev-of-resize") == (0, 0)  # noqa: SLF001


@pytest.mark.parametrize("initialises", [False, True])
async def test_a_standby_that_ends_unused_after_long_has_no_other_for_long(
    ready: World, *, initialises: bool
) -> None:
    """Nobody pays for it: it would be a way to compute for nothing."""
    machine, standbys = ready.machine, ready.scheduler.standbys
    machine.initialises = initialises
    machine.may_initialise.clear()
    await ready.invoke()
    await ready.wait_starting()
    await ready.wait_starting()
    ready.clock.advance(10.0)
    machine.may_initialise.set()
    if initialises:

        async def is_there() -> bool:
            return standbys.there == 1

        await eventually(is_there)
        machine.instances[1].die()

    async def is_gone() -> bool:
        return ready.scheduler.instances == 1

    await eventually(is_gone)
    machine.initialises = True

    for last in (0, 2, 3):
        machine.instances[last].die()  # so that the next has to be started
        await ready.invoke()
        standbys.sweep(ready.clock.monotonic())
        assert standbys.there == 0
    assert len(machine.instances) == 5, "those that invocations needed"

    ready.clock.advance(10.0 * REST)
    await ready.invoke()
    standbys.sweep(ready.clock.monotonic())

    async def is_back() -> bool:
        return standbys.there > 0

    await eventually(is_back)


async def test_draining_ends_standbys_too(ready: World) -> None:
    await ready.invoke()
    await wait_standbys(ready, 1)

    await ready.scheduler.drain("rev-of-resize")

    assert ready.scheduler.instances == 0
    assert not ready.scheduler._state.versions  # noqa: SLF001


async def test_where_standbys_are_few_those_used_last_have_them(ready: World) -> None:
    for name in ("resize", "parse", "mail"):
        await ready.invoke(name)
        await wait_standbys(ready, min(2, len(ready.machine.instances) // 2 + 1))

    state = ready.scheduler._state  # noqa: SLF001
    wanted = [state.standbys_of(f"rev-of-{n}")[0] for n in ("resize", "parse", "mail")]
    assert wanted == [0, 1, 1]
