"""How many cells a zygote keeps ready for a crowd that was there before."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from sandlot_sandbox.errors import StartFailed
from sandlot_sandbox.host import reserve, spares
from sandlot_sandbox.host.berth import Berth
from sandlot_sandbox.host.cells import AHEAD, Cells
from sandlot_sandbox.host.crowd import FEWEST, Crowd
from sandlot_sandbox.host.reserve import Reserve
from sandlot_sandbox.host.spares import Spares
from tests.unit.test_cells import Jail, until

MOST = 2 * FEWEST
"""Instances that come at once."""


class Stage:
    """A zygote's reserve, over cells that are made at once, for instances that nobody
    makes."""

    def __init__(
        self,
        *,
        room: int = 100,
        most: int = 2 * MOST,
        spares: Spares | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        self.spares = spares or Spares(100, most_extra=room)
        self.jail = Jail(self.spares)
        self.crowd = crowd or Crowd()
        self.reserve = Reserve(
            self.jail.cells, self.crowd, spares=self.spares, most=most
        )

    @property
    def cells(self) -> Cells:
        return self.jail.cells

    def come(self, instances: int = MOST) -> None:
        for _ in range(instances):
            self.reserve.note_use()
            self.reserve.note_fork()

    def go(self, instances: int = MOST) -> None:
        for _ in range(instances):
            self.reserve.note_end()

    def close(self) -> None:
        self.reserve.close()
        self.cells.close("the test is over")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done after a while is done in the next turns of the loop."""
    for name in ("REST_AFTER_S", "CALM_S", "FAILURE_S"):
        monkeypatch.setattr(reserve, name, 0.0)
    for name in ("FILL_EVERY_S", "TROUBLE_S"):
        monkeypatch.setattr(spares, name, 0.0)


async def turns() -> None:
    """Until nothing would happen that has not."""
    for _ in range(200):
        await asyncio.sleep(0)


async def stays(count: Callable[[], int]) -> int:
    before = count()
    await turns()
    assert count() == before
    return before


async def test_who_comes_in_crowds_finds_as_many_cells() -> None:
    stage = Stage()
    stage.come()
    stage.go()

    await until(lambda: stage.cells.ready == MOST)

    assert await stays(lambda: len(stage.jail.live)) == MOST
    stage.close()


def test_the_engine_s_own_loop_does_what_is_due_at_once() -> None:
    """Its timers that are due at once are none, and cannot be asked when."""

    async def crowd() -> int:
        stage = Stage()
        stage.come()
        stage.go()
        await until(lambda: stage.cells.ready == MOST)
        stage.close()
        return stage.cells.failed

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(crowd()) == 0


async def test_a_zygote_that_is_gone_has_none_made_whoever_asks() -> None:
    stage = Stage()
    stage.come()
    stage.go()
    stage.reserve.close()
    stage.come()
    stage.go()

    assert await stays(lambda: len(stage.jail.live)) == 0
    stage.close()


async def test_none_is_kept_for_whom_there_is_an_instance() -> None:
    stage = Stage()
    stage.come()
    await turns()
    assert stage.cells.ready <= AHEAD

    stage.go(10)
    await until(lambda: stage.cells.ready == 10)

    stage.come(10)
    await until(lambda: len(stage.jail.live) <= AHEAD)
    stage.close()


async def test_no_more_are_made_than_there_is_room_for() -> None:
    stage = Stage(room=7)
    stage.come()
    stage.go()

    await until(lambda: stage.cells.ready == AHEAD + 7)

    assert await stays(lambda: len(stage.jail.live)) == AHEAD + 7
    stage.close()


async def test_where_each_takes_more_than_there_is_none_is_made_for_a_crowd() -> None:
    stage = Stage(most=0)
    stage.come()
    stage.go()

    assert await stays(lambda: stage.cells.ready) == 0
    stage.close()


async def test_they_go_first_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    stage.come()
    stage.go()
    await until(lambda: stage.cells.ready == MOST)
    monkeypatch.setattr(spares, "TROUBLE_S", 3_600.0)

    assert stage.reserve.drop() == MOST - AHEAD

    await until(lambda: len(stage.jail.live) == AHEAD)
    later = Stage(spares=stage.spares)
    later.come()
    later.go()
    assert await stays(lambda: len(later.jail.live)) <= AHEAD
    later.close()
    assert await stays(lambda: len(stage.jail.live)) <= AHEAD
    stage.close()


async def test_after_it_was_short_as_many_are_made_as_are_still_expected() -> None:
    stage = Stage()
    stage.come()
    stage.go()
    await until(lambda: stage.cells.ready == MOST)

    stage.crowd.doubt(asyncio.get_running_loop().time())
    stage.reserve.drop()

    await until(lambda: len(stage.jail.live) == MOST // 2)
    assert await stays(lambda: len(stage.jail.live)) == MOST // 2
    stage.close()


async def test_all_zygotes_together_have_one_made_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spares, "FILL_EVERY_S", 3_600.0)
    shared = Spares(100, most_extra=100)
    stages = [Stage(spares=shared) for _ in range(3)]
    for stage in stages:
        stage.come()
        stage.go()

    await until(lambda: shared.ready > 0)

    assert await stays(lambda: shared.ready) == 1
    for stage in stages:
        stage.close()


async def test_of_two_zygotes_of_a_function_one_is_ready_for_its_crowd() -> None:
    crowd, shared = Crowd(), Spares(100, most_extra=100)
    first, second = (Stage(spares=shared, crowd=crowd) for _ in range(2))
    first.come()
    second.come(2)
    first.go()
    second.go(2)

    await until(lambda: second.cells.ready == MOST + 2)
    assert await stays(lambda: first.cells.ready) <= AHEAD

    second.close()
    first.reserve.note_use()
    await until(lambda: first.cells.ready == MOST + 2)
    first.close()


async def test_where_none_can_be_made_it_is_not_tried_on_and_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reserve, "FAILURE_S", 3_600.0)
    stage = Stage()
    tried = 0

    async def fail() -> Berth:
        nonlocal tried
        tried += 1
        raise StartFailed("no cell could be made")

    monkeypatch.setattr(stage.cells, "_make", fail)
    stage.come()
    stage.go()

    await until(lambda: tried > 0)
    assert await stays(lambda: tried) == 1
    stage.close()
