"""How many cells a zygote keeps ready for a crowd that was there before."""

import asyncio
from collections.abc import Callable

import pytest

from sandlot_sandbox.errors import StartFailed
from sandlot_sandbox.host import reserve
from sandlot_sandbox.host.berth import Berth
from sandlot_sandbox.host.cells import AHEAD, Cells
from sandlot_sandbox.host.crowd import FEWEST, Crowd
from sandlot_sandbox.host.reserve import Reserve
from sandlot_sandbox.host.spares import Spares
from tests.unit.test_cells import Jail, until

MOST = 2 * FEWEST


class Stage:
    """A zygote's reserve, over cells that are made at once. Somebody says how many
    instances it has."""

    def __init__(self, *, room: int = 100, most: int = MOST) -> None:
        self.spares = Spares(100, most_extra=room)
        self.jail = Jail(self.spares)
        self.live = 0
        self.reserve = Reserve(
            *(self.jail.cells, Crowd()),
            spares=self.spares,
            live=lambda: self.live,
            most=most,
        )

    @property
    def cells(self) -> Cells:
        return self.jail.cells

    def crowd_comes(self, instances: int) -> None:
        self.live = instances
        self.reserve.note_use()
        self.reserve.note_fork()

    def close(self) -> None:
        self.reserve.close()
        self.cells.close("the test is over")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done after a while is done in the next turns of the loop."""
    for name in ("REST_AFTER_S", "FILL_EVERY_S", "CALM_S", "TROUBLE_S"):
        monkeypatch.setattr(reserve, name, 0.0)


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
    stage.crowd_comes(MOST)
    stage.live = 0

    await until(lambda: stage.cells.ready == MOST)

    assert await stays(lambda: len(stage.jail.live)) == MOST
    stage.close()


async def test_none_is_kept_for_whom_there_is_an_instance() -> None:
    stage = Stage()
    stage.crowd_comes(MOST)
    await turns()
    assert stage.cells.ready <= AHEAD

    stage.live = MOST - 10
    await until(lambda: stage.cells.ready == 10)

    stage.live = MOST
    await until(lambda: len(stage.jail.live) <= AHEAD)
    stage.close()


async def test_no_more_are_made_than_there_is_room_for() -> None:
    stage = Stage(room=7)
    stage.crowd_comes(MOST)
    stage.live = 0

    await until(lambda: stage.cells.ready == AHEAD + 7)

    assert await stays(lambda: len(stage.jail.live)) == AHEAD + 7
    stage.close()


async def test_where_each_takes_more_than_there_is_none_is_made_for_a_crowd() -> None:
    stage = Stage(most=0)
    stage.crowd_comes(MOST)
    stage.live = 0

    assert await stays(lambda: stage.cells.ready) == 0
    stage.close()


async def test_they_go_first_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    stage.crowd_comes(MOST)
    stage.live = 0
    await until(lambda: stage.cells.ready == MOST)
    monkeypatch.setattr(reserve, "TROUBLE_S", 3_600.0)

    stage.reserve.drop()

    await until(lambda: len(stage.jail.live) == AHEAD)
    assert await stays(lambda: len(stage.jail.live)) <= AHEAD
    stage.close()


async def test_after_it_was_short_half_as_many_are_made() -> None:
    stage = Stage()
    stage.crowd_comes(MOST)
    stage.live = 0
    await until(lambda: stage.cells.ready == MOST)

    stage.reserve.drop()

    await until(lambda: len(stage.jail.live) == AHEAD)
    await until(lambda: stage.cells.ready == MOST // 2)
    assert await stays(lambda: len(stage.jail.live)) == MOST // 2
    stage.close()


async def test_where_none_can_be_made_it_is_not_tried_on_and_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reserve, "TROUBLE_S", 3_600.0)
    stage = Stage()
    tried = 0

    async def fail() -> Berth:
        nonlocal tried
        tried += 1
        raise StartFailed("no cell could be made")

    monkeypatch.setattr(stage.cells, "_make", fail)
    stage.crowd_comes(MOST)
    stage.live = 0

    await until(lambda: tried > 0)
    assert await stays(lambda: tried) == 1
    stage.close()
