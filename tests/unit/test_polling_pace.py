"""How many batches at once, when again, and whose turn it is."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from sandlot_engine.model.mapping import Mapping, SourceKind
from sandlot_engine.polling.pace import (
    FIRST_WIDTH,
    LONG_POLL_S,
    LONGEST_PAUSE_S,
    MAX_WIDTH,
    SHORT_POLL_S,
    STEP,
    THROTTLED_S,
    Width,
    pause_after,
    poll_s,
)
from sandlot_engine.polling.sources import (
    Unread,
    settings_of,
    source_of,
    why_unread,
)
from sandlot_engine.polling.turns import Turns
from tests.fakes.things import NOON

ACME, GLOBEX = "123456789012", "210987654321"


def width_of(width: Width, *, now: float, at_most: int = MAX_WIDTH) -> int:
    """How many may run, once there is no room for more."""
    running = 0
    while width.has_room(running, at_most=at_most, now=now):
        running += 1
    return running


# --- how many -----------------------------------------------------------------


def test_a_mapping_begins_with_five_and_has_five_more_each_second() -> None:
    width = Width()

    assert width_of(width, now=0.0) == FIRST_WIDTH
    assert width_of(width, now=0.9) == FIRST_WIDTH
    assert width_of(width, now=1.0) == FIRST_WIDTH + STEP
    assert width_of(width, now=1.5) == FIRST_WIDTH + STEP
    assert width_of(width, now=2.5) == FIRST_WIDTH + 2 * STEP


def test_a_width_has_an_end() -> None:
    width = Width()

    for second in range(0, 2 * MAX_WIDTH, 2):
        width_of(width, now=float(second))

    assert width_of(width, now=1e6) == MAX_WIDTH


def test_a_mapping_s_own_bound_is_kept_and_asked_about_once_a_second() -> None:
    width = Width()

    assert width_of(width, now=0.0, at_most=2) == 2
    assert width_of(width, now=5.0, at_most=2) == 2
    assert width.grows_at == 6.0


def test_what_was_throttled_leaves_room_for_what_was_let_in() -> None:
    width = Width()
    width_of(width, now=0.0)

    width.note_throttled(3, now=1.0)

    assert width_of(width, now=1.0 + THROTTLED_S - 0.1) == 3
    assert width_of(width, now=1.0 + THROTTLED_S) == 3 + STEP


def test_one_is_always_tried() -> None:
    width = Width()

    width.note_throttled(0, now=0.0)

    assert width_of(width, now=1.0) == 1


def test_an_idle_mapping_begins_anew() -> None:
    width = Width()
    width_of(width, now=0.0)
    width_of(width, now=1.0)

    width.note_idle()

    assert width_of(width, now=50.0) == FIRST_WIDTH


# --- when ---------------------------------------------------------------------


def test_pauses_are_doubled_and_have_an_end() -> None:
    assert [pause_after(failures) for failures in (1, 2, 3)] == [1.0, 2.0, 4.0]
    assert pause_after(1_000_000) == LONGEST_PAUSE_S


def test_where_many_wait_for_a_turn_a_turn_is_short() -> None:
    assert poll_s(64, 64) == LONG_POLL_S
    assert poll_s(65, 64) == SHORT_POLL_S


# --- whose turn ---------------------------------------------------------------


async def in_order(turns: Turns, tenants: list[str]) -> list[str]:
    """Who has had a turn, of one after another that asked in that order."""
    had: list[str] = []

    async def ask(tenant_id: str) -> None:
        async with turns.turn(tenant_id):
            had.append(tenant_id)

    async with asyncio.timeout(10), AsyncExitStack() as stack:
        await stack.enter_async_context(turns.turn(ACME))
        tasks = [asyncio.create_task(ask(each)) for each in tenants]
        for _ in tasks:
            await asyncio.sleep(0)  # they ask
        assert had == []
        await stack.aclose()
        await asyncio.gather(*tasks)
    return had


async def test_tenants_have_turns_one_after_another() -> None:
    had = await in_order(Turns(1), [ACME] * 5 + [GLOBEX] * 2)

    assert had == [ACME, GLOBEX, ACME, GLOBEX, ACME, ACME, ACME]


async def test_no_more_have_a_turn_than_there_are() -> None:
    turns, at_once = Turns(3), [0]

    async def ask() -> int:
        async with turns.turn(ACME):
            at_once[0] += 1
            seen = at_once[0]
            await asyncio.sleep(0)
            at_once[0] -= 1
            return seen

    async with asyncio.timeout(10):
        seen = await asyncio.gather(*(ask() for _ in range(50)))

    assert max(seen) == 3


async def test_who_has_too_many_bytes_is_passed_over_until_some_are_gone() -> None:
    turns = Turns(2, max_held=100, max_held_of_tenant=10)
    turns.hold(ACME, 10)

    async def ask(tenant_id: str) -> None:
        async with asyncio.timeout(10), turns.turn(tenant_id):
            pass

    waiting = asyncio.create_task(ask(ACME))
    await asyncio.sleep(0)  # it asks
    await ask(GLOBEX)
    assert not waiting.done()
    assert turns.refused_for_room
    turns.let_go(ACME, 1)
    await waiting


async def test_nobody_has_a_turn_while_all_have_too_many_bytes() -> None:
    turns = Turns(2, max_held=10, max_held_of_tenant=100)
    turns.hold(ACME, 10)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), turns.turn(GLOBEX):
            pytest.fail("there is no room")

    turns.let_go(ACME, 10)
    async with asyncio.timeout(10), turns.turn(GLOBEX):
        assert turns.held == 0


async def test_a_turn_that_nobody_waits_for_any_more_is_given_to_another() -> None:
    turns = Turns(1)

    async def ask() -> None:
        async with turns.turn(ACME):
            pass

    async with asyncio.timeout(10), AsyncExitStack() as stack:
        await stack.enter_async_context(turns.turn(ACME))
        gone, other = (asyncio.create_task(ask()) for _ in range(2))
        await asyncio.sleep(0)
        await stack.aclose()  # gives it to the first, which does not know yet
        gone.cancel()
        await other
        await asyncio.wait([gone])

    assert gone.cancelled()


# --- which source -------------------------------------------------------------


def mapping(arn: str = f"arn:aws:sqs:us-east-1:{ACME}:jobs", **more: Any) -> Mapping:
    return Mapping(
        tenant_id=ACME,
        uuid="u",
        source_arn=arn,
        kind=SourceKind(arn.split(":")[2]),
        function="f",
        batch_size=10,
        details=more,
        last_modified=NOON,
    )


def test_a_queue_of_the_tenant_s_is_read() -> None:
    source = source_of(mapping(), has_endpoint=True)
    fifo = source_of(mapping(f"{mapping().source_arn}.fifo"), has_endpoint=True)

    assert (source.region, source.account, source.name) == ("us-east-1", ACME, "jobs")
    assert (source.is_fifo, fifo.is_fifo) == (False, True)


@pytest.mark.parametrize(
    ("arn", "why"),
    [
        (f"arn:aws:kinesis:us-east-1:{ACME}:stream/s", "no event sources of kinesis"),
        (f"arn:aws:sqs:us-east-1:{GLOBEX}:jobs", "another account"),
        (f"arn:aws:sqs:us-east-1:{ACME}:../x", "no ARN of a queue"),
        (f"arn:aws:sqs:us-east-1:{ACME}:a/b", "no ARN of a queue"),
        (f"arn:aws:sqs:us-east-1:{ACME}:", "no ARN of a queue"),
        (f"arn:aws:sqs:us-east-1:{ACME}:{'x' * 81}", "no ARN of a queue"),
    ],
)
def test_what_is_not_read_says_why(arn: str, why: str) -> None:
    assert why in why_unread(mapping(arn), has_endpoint=True)
    with pytest.raises(Unread):
        source_of(mapping(arn), has_endpoint=True)


def test_without_an_endpoint_no_queue_is_read() -> None:
    assert "--destination sqs=URL" in why_unread(mapping(), has_endpoint=False)
    assert why_unread(mapping(), has_endpoint=True) == ""


def test_a_mapping_s_settings_are_read_from_what_was_sent() -> None:
    asked = mapping(
        FunctionResponseTypes=["ReportBatchItemFailures"],
        ScalingConfig={"MaximumConcurrency": 2},
        FilterCriteria={"Filters": [{"Pattern": '{"body":["x"]}'}]},
    )

    settings = settings_of(replace(asked, window_s=5))

    assert (settings.batch_size, settings.window_s) == (10, 5)
    assert settings.reports_items
    assert settings.concurrency == 2
    assert settings.patterns == ('{"body":["x"]}',)


def test_what_was_taken_back_is_not_there() -> None:
    taken_back: dict[str, Any] = {"ScalingConfig": {}, "FilterCriteria": {}}

    settings = settings_of(mapping(**taken_back, FunctionResponseTypes=[]))

    assert (settings.concurrency, settings.patterns) == (None, ())
    assert not settings.reports_items
