"""What an instance costs the engine while it is idle: there may be thousands."""

import asyncio
import gc
import os
import socket
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from sandlot_sandbox import frames
from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.host.instance import Instance, State
from sandlot_sandbox.host.minder import (
    AT_A_LOOK,
    AT_LEAST_EVERY_S,
    LOOK_S,
    LOOKING_PART,
    Minder,
)
from sandlot_sandbox.host.wire import FrameWire
from sandlot_sandbox.outcome import Ended

COUNT = 50
MOST_BYTES = 6_000
"""Of Python's memory, for one."""

WAIT_S = 5.0


class Loop:
    """Counts the timers that are asked for, and has none."""

    def __init__(self) -> None:
        self.timers = 0

    def call_later(self, _delay_s: float, _call: Callable[[], None]) -> object:
        self.timers += 1
        return object()


async def test_an_idle_instance_takes_little_of_the_engine_s_memory() -> None:
    minder = Minder()
    with ExitStack() as stack:
        for _ in range(COUNT):
            await _idle(minder, stack)
        gc.collect()
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()

        for _ in range(COUNT):
            await _idle(minder, stack)

        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        assert (after - before) / COUNT < MOST_BYTES


async def test_all_that_are_idle_have_one_timer_and_then_none() -> None:
    minder, loop = Minder(), Loop()
    minder._loop = loop  # type: ignore[assignment]  # noqa: SLF001 - to count
    with ExitStack() as stack:
        instances = [await _idle(minder, stack) for _ in range(COUNT)]
        assert loop.timers == 2, "one for those that serve, one for those that do not"

        for instance in instances:
            instance.idle.idle_since = 0.0
        minder._idle.clear()  # noqa: SLF001 - as if all had been frozen
        minder._freeze_due()  # noqa: SLF001
        minder._look()  # noqa: SLF001

        assert loop.timers == 2
        for instance in instances:
            # What was for its last event is left to ring, and not wound up again.
            instance._deadline._ring()  # noqa: SLF001
            assert instance._deadline._timer is None  # noqa: SLF001


class Busy:
    """An instance at work, of which somebody is told when it is looked at."""

    idle_since = 0.0
    is_shedding = False
    shed_left_s = 0.0

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look

    def freeze_if_idle(self) -> None: ...

    def shed_if_frozen(self) -> bool:
        return False

    def cease_to_shed(self) -> None: ...

    def end_if_greedy(self) -> None:
        self._look()


async def test_of_many_that_are_busy_some_are_looked_at_each_in_its_turn() -> None:
    minder, looks = Minder(), Counter[int]()
    for number in range(3 * AT_A_LOOK):
        minder.note_busy(Busy(partial(looks.update, [number])))

    for _ in range(4):
        minder._look()  # noqa: SLF001

    assert sum(looks.values()) == 4 * AT_A_LOOK
    assert sorted(looks) == list(range(3 * AT_A_LOOK))


@pytest.mark.parametrize("took_s", [0.0, 0.001, 0.1])
async def test_looking_takes_no_more_than_a_part_of_the_time(
    took_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0

    def look() -> None:
        nonlocal now
        now += took_s

    minder = Minder()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    minder.note_busy(Busy(look))
    minder._look()  # noqa: SLF001

    assert minder._looking is not None  # noqa: SLF001
    pause_s = minder._looking.when() - now  # noqa: SLF001
    wanted_s = min(took_s * LOOKING_PART, AT_LEAST_EVERY_S)
    assert pause_s == pytest.approx(max(LOOK_S, wanted_s))
    minder._looking.cancel()  # noqa: SLF001


async def _idle(minder: Minder, stack: ExitStack) -> Instance:
    """One that has answered."""
    ours, theirs = socket.socketpair()
    stack.callback(theirs.close)
    read, write = os.pipe2(os.O_CLOEXEC)
    stack.callback(os.close, write)
    instance = Instance(
        FrameWire(ours),
        read,
        hold=Hold({"freeze": os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)}),
        minder=minder,
        memory_mb=128,
        kill=_kill,
        on_thaw=lambda: None,
        on_death=lambda _: None,
    )
    stack.callback(instance._bury)  # noqa: SLF001 - nobody kills it
    running = asyncio.ensure_future(
        instance.invoke(frames.EventHeader("r", 0, "arn"), b"{}", timeout_s=WAIT_S)
    )
    theirs.send(frames.encode_answer(frames.READY, b""))
    async with asyncio.timeout(WAIT_S):
        while instance.state is not State.BUSY:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        theirs.send(frames.encode_answer(frames.ANSWER, b"1"))
        assert (await running).ended is Ended.ANSWERED
    return instance


async def _kill() -> Any:
    return ""
