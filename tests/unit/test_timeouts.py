"""Time limits that share a timer behave as `asyncio.timeout` does."""

import asyncio

import pytest

from sandlot_engine.timeouts import Timeouts

LONG_S = 30.0


async def test_a_block_that_takes_too_long_is_ended() -> None:
    limit = Timeouts().within(0.01)

    with pytest.raises(TimeoutError):
        with limit:
            await asyncio.get_running_loop().create_future()

    assert limit.expired()
    assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]


async def test_a_block_that_is_in_time_is_let_alone_and_forgotten() -> None:
    timeouts = Timeouts()

    with timeouts.within(LONG_S) as limit:
        await asyncio.sleep(0)

    assert not limit.expired()
    assert not timeouts


async def test_a_short_limit_is_not_kept_waiting_by_a_long_one() -> None:
    timeouts = Timeouts()
    with timeouts.within(LONG_S):
        with pytest.raises(TimeoutError):
            with timeouts.within(0.01):
                await asyncio.get_running_loop().create_future()

    assert not timeouts


async def test_limits_that_begin_later_end_later() -> None:
    timeouts, ended = Timeouts(), list[float]()

    async def wait(limit_s: float) -> None:
        with pytest.raises(TimeoutError):
            with timeouts.within(limit_s):
                await asyncio.get_running_loop().create_future()
        ended.append(limit_s)

    async with asyncio.timeout(LONG_S):
        await asyncio.gather(*(wait(limit_s) for limit_s in (0.03, 0.01, 0.02)))

    assert ended == [0.01, 0.02, 0.03]


async def test_the_first_may_be_ended_if_it_is_old_enough() -> None:
    timeouts, never = Timeouts(), asyncio.Event()

    async def wait() -> None:
        with timeouts.within(LONG_S):
            await never.wait()

    first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0)
    left_s = timeouts.expire_first(after_s=LONG_S, limit_s=LONG_S)
    none_ended = len(timeouts)
    now_s = timeouts.expire_first(after_s=0.0, limit_s=LONG_S)

    with pytest.raises(TimeoutError):
        await first
    assert (none_ended, len(timeouts), second.done()) == (2, 1, False)
    assert 0.0 == now_s < left_s <= LONG_S
    never.set()
    await second
    assert timeouts.expire_first(after_s=0.0, limit_s=LONG_S) == 0.0


async def test_a_cancellation_by_others_stays_one() -> None:
    timeouts, has_begun = Timeouts(), asyncio.Event()

    async def wait() -> None:
        with timeouts.within(LONG_S):
            has_begun.set()
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(wait())
    await has_begun.wait()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert not timeouts


async def test_an_error_of_the_block_goes_out_as_it_is() -> None:
    timeouts = Timeouts()

    with pytest.raises(KeyError):
        with timeouts.within(LONG_S):
            raise KeyError

    assert not timeouts
