"""Shares of what callers use up before anybody looks at what they sent."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest

from sandlot_engine.errors import Throttled
from sandlot_engine.gateway import turns as module
from sandlot_engine.gateway.turns import (
    MAX_LISTS_WAITING,
    Breaks,
    Held,
    Lists,
    StrangersTurns,
    Turns,
)

ACME, GLOBEX, INITECH = "1", "2", "3"
LONG_S = 3_600.0


def turns(*, most: int = 3, wait_s: float = LONG_S) -> Turns:
    """Two of one tenant's at once, and one that waits."""
    return Turns("calls", most=most, of_tenant=2, waiting=1, wait_s=wait_s)


async def begun(made: Turns, *tenants: str) -> list[asyncio.Task[asyncio.Semaphore]]:
    """Of each, as far as it comes by itself."""
    tasks = [asyncio.create_task(made.begin(tenant_id)) for tenant_id in tenants]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_so_many_of_a_tenant_are_taken_in_and_the_next_waits() -> None:
    made = turns()
    first, second, third = await begun(made, *[ACME] * 3)
    assert (first.done(), second.done(), third.done()) == (True, True, False)

    with pytest.raises(Throttled, match="3 wait or run already") as refusal:
        await made.begin(ACME)
    assert refusal.value.limit == 2

    made.end(ACME, first.result())
    assert await third is second.result()


async def test_a_tenant_s_line_is_not_everybody_s() -> None:
    made = turns()
    await begun(made, *[ACME] * 3)
    assert not made.is_full

    async with made.take(GLOBEX):
        assert made.is_full


async def test_where_all_is_full_whoever_comes_waits_for_anybody() -> None:
    made = turns()
    async with AsyncExitStack() as stack:
        for tenant_id in (ACME, ACME):
            await stack.enter_async_context(made.take(tenant_id))
        async with made.take(GLOBEX):
            (waiting,) = await begun(made, INITECH)
            assert not waiting.done()

        made.end(INITECH, await waiting)


async def test_who_waits_for_too_long_is_refused_and_has_taken_nothing() -> None:
    made = turns(most=2, wait_s=0.0)
    async with made.take(ACME), made.take(ACME):
        for tenant_id in (ACME, GLOBEX):
            with pytest.raises(Throttled, match="none became free within 0 s"):
                await made.begin(tenant_id)

    async with made.take(GLOBEX), made.take(GLOBEX):
        assert made.is_full
    assert not made._shares  # noqa: SLF001 - nothing else shows it


async def test_who_gives_up_while_he_waits_has_taken_nothing() -> None:
    made = turns(most=2)
    async with made.take(ACME), made.take(ACME):
        for waiting in await begun(made, ACME, GLOBEX):
            waiting.cancel()
            await asyncio.wait([waiting])

    async with made.take(GLOBEX), made.take(GLOBEX):
        assert made.is_full
    assert not made._shares  # noqa: SLF001 - likewise


async def test_a_turn_ends_with_its_block_however_that_ends() -> None:
    made = turns(most=1)

    with pytest.raises(ZeroDivisionError):
        async with made.take(ACME):
            raise ZeroDivisionError

    assert not made.is_full


# --- breaks -----------------------------------------------------------------------


class Thread:
    """How much of it was used, as a test says."""

    used_s = 0.0

    def thread_time(self) -> float:
        return self.used_s


@pytest.fixture
def thread(monkeypatch: pytest.MonkeyPatch) -> Thread:
    made = Thread()
    monkeypatch.setattr(module, "time", made)
    return made


def breaks() -> Breaks:
    """For two tenants at once."""
    return Breaks("large ones", times=60, of_all=2, waiting=1, wait_s=0.0)


async def works_a_minute(
    made: Breaks, thread: Thread, tenant_id: str, error: BaseException | None = None
) -> None:
    async with made.take(tenant_id) as work:
        with work:
            thread.used_s += 60.0
            if error is not None:
                raise error


async def has_turn(made: Breaks, tenant_id: str) -> bool:
    for _ in range(5):  # what is over by now is given back
        await asyncio.sleep(0)
    try:
        async with made.take(tenant_id):
            return True
    except Throttled:
        return False


async def test_after_its_turn_a_tenant_has_a_break_and_nobody_else(
    thread: Thread,
) -> None:
    made = breaks()

    await works_a_minute(made, thread, ACME)

    assert not await has_turn(made, ACME)
    assert await has_turn(made, GLOBEX)


async def test_who_fails_or_gives_up_has_a_break_as_well(thread: Thread) -> None:
    made = breaks()

    with pytest.raises(asyncio.CancelledError):
        await works_a_minute(made, thread, ACME, asyncio.CancelledError())

    assert not await has_turn(made, ACME)


async def test_so_many_tenants_have_a_break_and_the_next_waits(thread: Thread) -> None:
    made = breaks()
    for tenant_id in (ACME, GLOBEX):
        await works_a_minute(made, thread, tenant_id)

    assert not await has_turn(made, INITECH)


async def test_what_others_did_while_a_turn_waited_is_in_no_break(
    thread: Thread,
) -> None:
    made = breaks()

    async with made.take(ACME) as work:
        thread.used_s += 60.0
        with work:
            pass

    assert await has_turn(made, ACME)


async def test_of_what_waits_only_its_own_steps_are_in_its_break(
    thread: Thread,
) -> None:
    made, may_go = breaks(), asyncio.Event()

    async def steps(took_s: float) -> str:
        thread.used_s += took_s
        await may_go.wait()
        thread.used_s += took_s
        return "done"

    async def take() -> tuple[str, float]:
        async with made.take(ACME) as work:
            return await work.of(steps(1.0)), work.took_s

    taking = asyncio.create_task(take())
    await asyncio.sleep(0)
    thread.used_s += 60.0  # by others
    may_go.set()

    assert await taking == ("done", 2.0)


async def test_what_works_in_steps_is_cancelled_and_fails_as_ever() -> None:
    made, ended = breaks(), list[str]()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def fails() -> None:
        raise ZeroDivisionError

    async def take(tenant_id: str, work: Coroutine[Any, Any, None]) -> None:
        async with made.take(tenant_id) as turn:
            await turn.of(work)

    taking = asyncio.create_task(take(ACME, waits()))
    await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    with pytest.raises(ZeroDivisionError):
        await take(GLOBEX, fails())
    assert ended == ["cancelled"]


async def test_only_so_many_of_a_tenant_s_lists_wait(thread: Thread) -> None:
    lists = Lists()

    async def lists_a_minute() -> str:
        thread.used_s += 60.0
        return "a page"

    assert await lists.take(ACME, lists_a_minute) == "a page"
    waiting = [
        asyncio.create_task(lists.take(ACME, lists_a_minute))
        for _ in range(MAX_LISTS_WAITING)
    ]
    await asyncio.sleep(0)

    with pytest.raises(Throttled, match="lists"):
        await lists.take(ACME, lists_a_minute)
    assert await lists.take(GLOBEX, lists_a_minute) == "a page"
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)


# --- strangers --------------------------------------------------------------------


async def test_of_strangers_who_has_been_at_it_for_longest_gives_way() -> None:
    made = StrangersTurns("requests", most=2)
    gone: list[int] = []

    async def stay(number: int) -> None:
        try:
            async with made.take():
                await asyncio.sleep(LONG_S)
        except Throttled:
            gone.append(number)

    staying = []
    for number in range(4):
        staying.append(asyncio.create_task(stay(number)))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await asyncio.wait(staying[:2])

    assert gone == [0, 1]
    assert not any(task.done() for task in staying[2:])
    for task in staying[2:]:
        task.cancel()
    await asyncio.wait(staying)


async def test_a_stranger_that_has_ended_makes_nobody_give_way() -> None:
    made = StrangersTurns("requests", most=1)
    async with made.take():
        pass

    async with made.take():
        await asyncio.sleep(0)


async def test_a_stranger_s_own_timeout_is_its_own() -> None:
    with pytest.raises(TimeoutError):
        async with StrangersTurns("requests", most=1).take(), asyncio.timeout(0):
            await asyncio.sleep(LONG_S)


# --- bytes ------------------------------------------------------------------------


def test_as_many_bytes_are_held_as_one_and_all_may_have() -> None:
    held = Held(most=10, of_tenant=6)
    with held.hold(ACME, 4), held.hold(ACME, 2):
        with pytest.raises(Throttled, match="6 bytes of this tenant's") as refusal:
            held.take(ACME, 1)
        assert refusal.value.limit == 6
        with held.hold(GLOBEX, 4), pytest.raises(Throttled):
            held.take(INITECH, 1)

    with ExitStack() as stack:
        for tenant_id in (ACME, GLOBEX):
            stack.enter_context(held.hold(tenant_id, 5))


def test_two_who_hold_all_there_is_leave_a_little_to_each_other_tenant() -> None:
    """A package from a bucket is half of it, and waits for minutes."""
    held = Held(most=320, of_tenant=160)
    with held.hold(ACME, 160), held.hold(GLOBEX, 160):
        with held.hold(INITECH, 10), pytest.raises(Throttled):
            held.take(INITECH, 1)
        with pytest.raises(Throttled):
            held.take(ACME, 1)


def test_who_holds_none_any_more_is_forgotten() -> None:
    held = Held(most=10, of_tenant=6)

    with pytest.raises(ZeroDivisionError), held.hold(ACME, 6):
        raise ZeroDivisionError

    assert not held._of  # noqa: SLF001 - nothing else shows it
    with held.hold(GLOBEX, 6):
        pass
