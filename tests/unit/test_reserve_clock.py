"""When a zygote's reserve has cells made, and when it gives them up: on a clock that a
test moves, over cells that are made at once."""

import asyncio
from typing import cast

import pytest

from sandlot_sandbox.host.cells import AHEAD, AHEAD_AT_REST, Cells
from sandlot_sandbox.host.crowd import FEWEST, Crowd
from sandlot_sandbox.host.reserve import CALM_S, FAILURE_S, REST_AFTER_S, Reserve
from sandlot_sandbox.host.room import OF_BERTH
from sandlot_sandbox.host.spares import FILL_EVERY_S, Spares
from tests.fakes.loop import Loop


class Ready:
    """As many as somebody said there are."""

    ahead, owner, each, is_busy = AHEAD, 1, OF_BERTH, False

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.kept = self.failed = 0
        self.fails = False
        self.tried_at: list[float] = []

    @property
    def extra(self) -> int:
        return max(0, self.kept - self.ahead)

    def prepare(self) -> None:
        self.kept = max(self.kept, self.ahead)

    def add(self) -> None:
        self.tried_at.append(self._loop.now)
        self.failed += self.fails
        self.kept += not self.fails

    def rest(self, most: int) -> None:
        self.kept = min(self.kept, most)

    def give_up(self, count: int) -> int:
        self.kept -= count
        return count


class Stage:
    def __init__(self, loop: Loop) -> None:
        self.cells = Ready(loop)
        spares = Spares(100, most_extra=100)
        spares.add(self.cells)
        self.reserve = Reserve(cast("Cells", self.cells), Crowd(), spares=spares)

    def come(self) -> None:
        for _ in range(FEWEST):
            self.reserve.note_use()
            self.reserve.note_fork()

    def go(self) -> None:
        for _ in range(FEWEST):
            self.reserve.note_end()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


@pytest.fixture
def stage(loop: Loop) -> Stage:
    return Stage(loop)


def test_a_few_are_kept_until_nobody_has_asked_for_a_while(
    loop: Loop, stage: Stage
) -> None:
    stage.reserve.prepare()

    loop.pass_by(REST_AFTER_S)
    assert stage.cells.kept == AHEAD
    loop.pass_by(CALM_S)
    assert stage.cells.kept == AHEAD_AT_REST
    assert loop.running == 0, "then nothing is left to look at"


def test_whoever_asks_meanwhile_has_that_begin_anew(loop: Loop, stage: Stage) -> None:
    stage.reserve.prepare()
    loop.pass_by(REST_AFTER_S - CALM_S)

    stage.reserve.note_use()

    loop.pass_by(REST_AFTER_S - CALM_S)
    assert stage.cells.kept == AHEAD
    loop.pass_by(REST_AFTER_S)
    assert stage.cells.kept == AHEAD_AT_REST


def test_what_is_too_many_goes_however_often_somebody_asks(
    loop: Loop, stage: Stage
) -> None:
    stage.cells.kept = AHEAD + 5

    for _ in range(5):
        stage.reserve.note_use()
        loop.pass_by(CALM_S / 2)

    assert stage.cells.kept == AHEAD
    assert loop.running == 1


def test_for_a_crowd_one_is_made_after_another_when_nobody_has_come_for_a_moment(
    loop: Loop, stage: Stage
) -> None:
    began = loop.now
    stage.come()
    stage.go()

    loop.pass_by(CALM_S + 2.5 * FILL_EVERY_S)

    expected = [began + CALM_S + number * FILL_EVERY_S for number in range(3)]
    assert stage.cells.tried_at == pytest.approx(expected)
    loop.pass_by(REST_AFTER_S)
    assert stage.cells.kept == FEWEST


def test_whoever_comes_meanwhile_comes_before_what_is_made(
    loop: Loop, stage: Stage
) -> None:
    stage.come()
    stage.go()
    loop.pass_by(CALM_S + 2.5 * FILL_EVERY_S)

    stage.reserve.note_use()

    loop.pass_by(CALM_S - FILL_EVERY_S)
    assert len(stage.cells.tried_at) == 3
    loop.pass_by(2 * FILL_EVERY_S)
    assert len(stage.cells.tried_at) > 3


def test_when_instances_end_what_they_leave_is_soon_made_good(
    loop: Loop, stage: Stage
) -> None:
    stage.come()
    loop.pass_by(3.5 * REST_AFTER_S)
    assert stage.cells.tried_at == []

    stage.go()

    loop.pass_by(CALM_S + FILL_EVERY_S / 2)
    assert len(stage.cells.tried_at) == 1


def test_where_one_cannot_be_made_the_next_is_tried_much_later(
    loop: Loop, stage: Stage
) -> None:
    stage.cells.fails = True
    stage.come()
    stage.go()

    loop.pass_by(FAILURE_S)
    assert len(stage.cells.tried_at) == 1
    loop.pass_by(2 * CALM_S)
    assert len(stage.cells.tried_at) == 2


def test_a_zygote_that_is_gone_has_no_timer(loop: Loop, stage: Stage) -> None:
    stage.come()
    stage.go()

    stage.reserve.close()

    assert loop.running == 0


def test_a_zygote_that_is_gone_begins_nothing(loop: Loop, stage: Stage) -> None:
    stage.reserve.close()

    stage.come()

    assert loop.running == 0
