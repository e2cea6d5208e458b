"""A deadline that is moved has one timer, and lapses when it is due."""

import asyncio
import gc
import weakref

import pytest

from sandlot_sandbox.host import deadline
from sandlot_sandbox.host.deadline import Deadline
from tests.fakes.loop import Loop

LONG_S = 3_600.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    monkeypatch.setattr(deadline, "time", made)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


def test_it_lapses_once_when_it_is_due(clock: Loop) -> None:
    lapses: list[float] = []
    tested = Deadline(lambda: lapses.append(clock.now))

    tested.set(5.0)
    clock.pass_by(4.9)
    assert lapses == []
    clock.pass_by(0.1)
    clock.pass_by(LONG_S)

    assert lapses == [1_005.0]
    assert clock.running == 0


def test_many_later_ones_have_one_timer(clock: Loop) -> None:
    lapses: list[float] = []
    tested = Deadline(lambda: lapses.append(clock.now))

    for _ in range(16):
        tested.set(5.0)
        clock.pass_by(0.25)
    assert len(clock.timers) == 1
    clock.pass_by(1.0)  # it rings too early, and is wound up for what is left
    assert lapses == []
    clock.pass_by(3.75)

    assert lapses == [1_008.75]


def test_an_earlier_one_does_not_wait_for_the_timer_of_a_later_one(
    clock: Loop,
) -> None:
    lapses: list[float] = []
    tested = Deadline(lambda: lapses.append(clock.now))

    tested.set(5.0)
    tested.set(1.0)
    clock.pass_by(1.0)

    assert lapses == [1_001.0]
    assert clock.running == 0


def test_one_that_is_lifted_is_let_ring_and_does_not_lapse(clock: Loop) -> None:
    lapses: list[float] = []
    tested = Deadline(lambda: lapses.append(clock.now))

    tested.set(5.0)
    tested.lift()
    assert clock.running == 1
    clock.pass_by(LONG_S)

    assert lapses == []
    assert clock.running == 0


def test_what_is_closed_has_no_timer_and_does_not_keep_its_owner(clock: Loop) -> None:
    class Owner:
        def __init__(self) -> None:
            self.deadline = Deadline(self.lapsed)

        def lapsed(self) -> None: ...

    owner = Owner()
    owner.deadline.set(5.0)
    owner.deadline.close()
    assert clock.running == 0
    clock.timers.clear()
    gc.disable()
    try:
        gone = weakref.ref(owner)
        del owner
        assert gone() is None
    finally:
        gc.enable()
