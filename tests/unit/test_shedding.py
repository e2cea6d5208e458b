"""Instances that wait for long are asked to give back memory; who answers what."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sandlot_sandbox import frames
from sandlot_sandbox.host import minder
from sandlot_sandbox.host.instance import State
from sandlot_sandbox.host.minder import SHEDDING, Minder
from sandlot_sandbox.outcome import Ended
from tests.fakes.other_end import WAIT_S, OtherEnd

HAS_SHED = frames.encode_answer(frames.HAS_SHED, b"")


class Other(OtherEnd):
    def wait_long(self) -> None:
        self.instance.idle.freeze_if_idle()
        self.instance.idle.idle_since = 0.0
        self.minder._ask_to_shed()  # noqa: SLF001 - what the clock would do

    def wait_for_so_long(self, shed_s: float) -> None:
        shedding = self.minder._shedding  # noqa: SLF001
        shedding.update(dict.fromkeys(shedding, time.monotonic() - shed_s))
        self.minder._ask_to_shed()  # noqa: SLF001

    def wait_longer(self) -> None:
        shedding = self.minder._shedding  # noqa: SLF001
        shedding.update(dict.fromkeys(shedding, 0.0))
        self.minder._ask_to_shed()  # noqa: SLF001


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
async def used(stack: ExitStack) -> Other:
    """One that has answered."""
    other = Other(stack)
    other.is_ready()
    assert await other.serve() is Ended.ANSWERED
    return other


async def test_who_waits_for_long_is_let_go_until_it_has_shed(used: Other) -> None:
    used.wait_long()

    assert not used.instance.is_frozen
    assert await used.hears() == frames.SHED
    used.channel.send(HAS_SHED)
    await used.becomes_frozen()
    used.wait_longer()
    assert used.instance.is_frozen
    assert used.has_nothing_to_hear(), "once is enough"


async def test_who_has_waited_for_less_is_left_alone(used: Other) -> None:
    used.instance.idle.freeze_if_idle()
    used.wait_longer()

    assert used.instance.is_frozen
    assert used.has_nothing_to_hear()


async def test_an_event_that_comes_meanwhile_is_answered(used: Other) -> None:
    used.wait_long()
    assert used.thaws == 0, "its zygote sleeps on"

    assert await used.serve(after=frames.SHED, first=HAS_SHED) is Ended.ANSWERED
    assert used.thaws == 1
    assert used.instance.state is State.IDLE
    used.wait_long()
    assert await used.hears() == frames.SHED


async def test_who_does_not_answer_is_frozen_and_may_answer_later(used: Other) -> None:
    used.wait_long()
    used.wait_longer()

    assert used.instance.is_frozen
    assert await used.serve(after=frames.SHED, first=HAS_SHED) is Ended.ANSWERED
    used.wait_long()
    assert used.has_nothing_to_hear(), "it could run for as long each time"


@pytest.mark.parametrize(("took_s", "times"), [(0.002, 50), (0.2, 2)])
async def test_nobody_runs_for_long_each_time(
    used: Other, monkeypatch: pytest.MonkeyPatch, took_s: float, times: int
) -> None:
    for _ in range(times):
        used.wait_long()
        assert await used.hears() == frames.SHED
        began = time.monotonic()
        used.channel.send(HAS_SHED)
        await used.becomes_frozen()
        monkeypatch.setattr(time, "monotonic", lambda: began + took_s)  # noqa: B023
        used.minder._ask_to_shed()  # noqa: SLF001 - what the clock would do
        monkeypatch.undo()
        assert await used.serve() is Ended.ANSWERED

    left_s = used.instance.idle.shed_left_s
    assert left_s == pytest.approx(minder.SHED_S if took_s < 0.01 else 0.18, abs=0.04)
    used.wait_long()
    used.wait_for_so_long(left_s + 0.01)
    assert used.instance.is_frozen


async def test_nobody_else_says_that_it_has(used: Other) -> None:
    used.wait_long()
    used.channel.send(HAS_SHED * 2)

    async with asyncio.timeout(WAIT_S):
        while used.instance.state is State.IDLE:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    assert used.instance.state in (State.STOPPING, State.DEAD)


async def test_few_do_so_at_once(stack: ExitStack) -> None:
    shared = Minder()
    others = [Other(stack, minder=shared) for _ in range(SHEDDING + 1)]
    for other in others:
        other.is_ready()
        assert await other.serve() is Ended.ANSWERED
        other.instance.idle.freeze_if_idle()
        other.instance.idle.idle_since = 0.0

    shared._ask_to_shed()  # noqa: SLF001 - what the clock would do

    assert [other.instance.is_frozen for other in others] == [
        *[False] * SHEDDING,
        True,
    ]
    others[0].channel.send(HAS_SHED)
    await others[0].becomes_frozen()
    shared._ask_to_shed()  # noqa: SLF001 - what the clock would do
    assert not others[-1].instance.is_frozen


async def test_what_is_ahead_of_its_first_event_keeps_its_pages(
    stack: ExitStack,
) -> None:
    other = Other(stack)
    other.is_ready()
    assert await other.instance.wait_ready(WAIT_S)

    other.wait_long()

    assert other.instance.is_frozen
    assert other.has_nothing_to_hear()


async def test_who_cannot_is_not_asked(stack: ExitStack) -> None:
    other = Other(stack, sheds=False)
    other.is_ready()
    assert await other.serve() is Ended.ANSWERED

    other.wait_long()

    assert other.instance.is_frozen
    assert other.has_nothing_to_hear()


async def test_the_dead_are_not_asked(used: Other) -> None:
    used.instance.idle.freeze_if_idle()
    used.instance.idle.idle_since = 0.0
    used.instance._bury()  # noqa: SLF001 - as its zygote's end does
    used.wait_longer()

    assert not used.minder._shedding  # noqa: SLF001
