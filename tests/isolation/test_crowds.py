"""Cells that are ready for as many instances as there were at once before."""

import asyncio

import pytest

from sandlot_sandbox.host import reserve
from sandlot_sandbox.host.berth import Berth
from sandlot_sandbox.host.crowd import FEWEST
from sandlot_sandbox.host.spares import MAX_SPARES, Spares
from tests.isolation.machine import WAIT_S, Guest, Sandbox, descendants, send

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_second_crowd_finds_cells_for_all_of_it(
    own_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CALM_S", "REST_AFTER_S"):
        monkeypatch.setattr(reserve, name, 0.1)
    spares = Spares(MAX_SPARES, most_extra=FEWEST)
    monkeypatch.setattr(own_sandbox.launcher, "spares", spares)
    async with own_sandbox.running("curious") as guest:
        await _come_and_go(guest)
        await _until_ready(guest, FEWEST)
        processes = len(descendants(own_sandbox.process.pid))
        cells = guest.zygote._cells  # noqa: SLF001 - nobody tells which they are
        ready = {berth.cell for berth in cells._ready}  # noqa: SLF001
        taken, take = set[int](), cells.take

        async def note() -> Berth:
            berth = await take()
            taken.add(berth.cell)
            return berth

        monkeypatch.setattr(cells, "take", note)
        await _come_and_go(guest)

        assert taken == ready
        await _until_ready(guest, FEWEST)
        async with asyncio.timeout(WAIT_S):
            while len(descendants(own_sandbox.process.pid)) != processes:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_one_that_is_to_be_replaced_keeps_no_cells_for_the_next_crowd(
    own_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserve, "CALM_S", 0.1)
    spares = Spares(MAX_SPARES, most_extra=FEWEST)
    monkeypatch.setattr(own_sandbox.launcher, "spares", spares)
    async with own_sandbox.running("curious") as guest:
        instance = await guest.fork()
        await send(instance, "tmp")
        await _come_and_go(guest)
        await _until_ready(guest, FEWEST)

        guest.zygote.kill_when_empty()

        await _until_ready(guest, 0)
        assert spares.ready == 0
        await send(instance, "tmp")
        await instance.destroy()
        async with asyncio.timeout(WAIT_S):
            await guest.lost.wait()


async def _come_and_go(guest: Guest) -> None:
    """So many at once, each in a cell of its own, which answer."""
    crowd = await asyncio.gather(*(guest.fork() for _ in range(FEWEST)))
    await asyncio.gather(*(send(instance, "tmp") for instance in crowd))
    await asyncio.gather(*(instance.destroy() for instance in crowd))


async def _until_ready(guest: Guest, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while guest.zygote._cells.ready != count:  # noqa: ASYNC110, SLF001 - nobody tells
            await asyncio.sleep(0.01)
