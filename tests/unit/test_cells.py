"""How many cells are kept ready, and by whom."""

import asyncio
import os
import socket
from collections.abc import Callable

import pytest

from sandlot_sandbox.host.berth import Berth
from sandlot_sandbox.host.cells import AHEAD, AHEAD_AT_REST, Cells
from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.host.room import OF_ZYGOTE, room_in
from sandlot_sandbox.host.spares import Spares

WAIT_S = 5.0


class Jail:
    """Makes cells at once, and knows which of them are still there."""

    def __init__(self, spares: Spares) -> None:
        self.live: set[int] = set()
        self.cells = Cells(self._make, drop=self._drop, spares=spares)

    async def _make(self) -> Berth:
        number = len(self.live) + 1
        self.live.add(number)
        ours, theirs = socket.socketpair()
        return Berth(number, Hold({}), ours, os.dup(0), None, None, (theirs.detach(),))

    async def _drop(self, cell: int) -> None:
        self.live.remove(cell)

    async def settle(self) -> int:
        """How many are ready when nothing happens any more."""
        for _ in range(20):
            await asyncio.sleep(0)
        return self.cells.ready


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so():  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0)


async def test_a_zygote_at_rest_keeps_one_cell_and_the_others_are_killed() -> None:
    jail = Jail(Spares(100))
    jail.cells.prepare()
    assert await jail.settle() == AHEAD

    jail.cells.rest()

    await until(lambda: len(jail.live) == AHEAD_AT_REST)
    assert jail.cells.ready == AHEAD_AT_REST
    jail.cells.close("the test is over")


async def test_a_zygote_that_is_to_be_replaced_keeps_none() -> None:
    jail = Jail(Spares(100))
    jail.cells.prepare()
    assert await jail.settle() == AHEAD

    jail.cells.add()  # and is on its way
    jail.cells.keep_none()
    jail.cells.prepare()

    await until(lambda: not jail.live)
    assert await jail.settle() == 0
    async with asyncio.timeout(WAIT_S):
        (await jail.cells.take()).close()
    assert await jail.settle() == 0
    jail.cells.close("the test is over")


async def test_all_together_keep_only_so_many_and_who_waits_gets_one() -> None:
    spares = Spares(AHEAD + 1)
    first, second = Jail(spares), Jail(spares)
    for jail in (first, second):
        jail.cells.prepare()
    assert (await first.settle(), await second.settle()) == (AHEAD, 1)

    for _ in range(3):
        async with asyncio.timeout(WAIT_S):
            (await second.cells.take()).close()

    assert await first.settle() == AHEAD
    for jail in (first, second):
        jail.cells.close("the test is over")
    assert spares.left == AHEAD + 1


@pytest.mark.parametrize("open_files", [0, 1_024, 8_192, 20_000, 65_536, 1_048_576])
def test_all_that_may_be_open_at_once_fits(open_files: int) -> None:
    room = room_in(open_files)

    used = room.zygotes * OF_ZYGOTE + room.cell_files + room.connections
    assert used <= open_files


def test_the_fewest_files_with_which_we_start_are_enough_for_something() -> None:
    room = room_in(8_192)

    assert room.zygotes >= 48
    assert room.instances >= 256


def test_twenty_thousand_open_files_are_enough_for_all_instances_of_a_machine() -> None:
    room = room_in(20_000)

    assert room.zygotes >= 128
    assert room.instances >= 3_200


def test_with_plenty_of_files_other_limits_come_first() -> None:
    room = room_in(65_536)

    assert room.zygotes >= 256
    assert room.instances >= 3_000
