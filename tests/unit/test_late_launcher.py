"""A launcher that stands still takes no jail of functions that are well."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandlot_sandbox import spec
from sandlot_sandbox.errors import StartFailed
from sandlot_sandbox.host import launcher as module
from sandlot_sandbox.host import mail
from tests.fakes.jail import Jail

CELL = 7


@pytest_asyncio.fixture
async def jail(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Jail]:
    """With a zygote, and a cell that lives."""
    monkeypatch.setattr(module, "_KILL_CELL_S", 0.05)
    monkeypatch.setattr(module, "_KILL_CELL_AT_MOST_S", 0.3)
    monkeypatch.setattr(module, "_MAKE_CELL_S", 0.05)
    monkeypatch.setattr(mail, "LATE_S", 0.01)
    made = Jail()
    made.make_zygote()
    made.launcher._live_cells.add((made.number, CELL))  # noqa: SLF001 - as if it was made
    yield made
    made.close()


async def test_a_warden_that_does_not_reap_loses_its_jail(jail: Jail) -> None:
    killing = asyncio.create_task(jail.launcher.kill_cell(jail.number, CELL))

    assert await jail.next_order() == spec.KillCell(jail.number, CELL)
    assert await jail.next_order() == spec.KillZygote(jail.number)
    jail.report(spec.ZygoteDied(jail.number, "it was killed", started=True))
    assert await killing == ""


async def test_one_whose_launcher_has_not_read_the_order_keeps_it(jail: Jail) -> None:
    killing = asyncio.create_task(jail.launcher.kill_cell(jail.number, CELL))
    _, pending = await asyncio.wait([killing], timeout=0.3)
    assert pending

    jail.report(spec.CellDied(jail.number, CELL, "too much memory"))

    assert await killing == "too much memory"
    assert await jail.next_order() == spec.KillCell(jail.number, CELL)
    assert no_other_order(jail)


async def test_a_cell_that_a_late_launcher_did_not_make_takes_no_jail(
    jail: Jail,
) -> None:
    with pytest.raises(StartFailed, match="no cell came"):
        await jail.launcher.make_cell(jail.number)

    assert isinstance(await jail.next_order(), spec.MakeCell)
    assert no_other_order(jail)


async def test_a_cell_that_a_warden_did_not_make_does(jail: Jail) -> None:
    making = asyncio.create_task(jail.launcher.make_cell(jail.number))

    assert isinstance(await jail.next_order(), spec.MakeCell)
    with pytest.raises(StartFailed, match="no cell came"):
        await making
    assert await jail.next_order() == spec.KillZygote(jail.number)


async def test_a_warden_that_makes_others_meanwhile_is_not_stuck(jail: Jail) -> None:
    making = asyncio.create_task(jail.launcher.make_cell(jail.number))
    assert isinstance(await jail.next_order(), spec.MakeCell)

    while not making.done():
        jail.report(spec.CellFailed(jail.number, 99, "another, that nobody wants"))
        await asyncio.sleep(0.01)

    with pytest.raises(StartFailed, match="no cell came"):
        await making
    assert no_other_order(jail)


async def test_a_cell_takes_its_time_to_die_while_others_do(jail: Jail) -> None:
    killing = asyncio.create_task(jail.launcher.kill_cell(jail.number, CELL))
    assert await jail.next_order() == spec.KillCell(jail.number, CELL)

    for _ in range(15):
        jail.report(spec.CellDied(jail.number, 99, ""))
        await asyncio.sleep(0.01)

    assert no_other_order(jail)
    jail.report(spec.CellDied(jail.number, CELL, ""))
    assert await killing == ""


async def test_but_not_for_ever(jail: Jail) -> None:
    killing = asyncio.create_task(jail.launcher.kill_cell(jail.number, CELL))
    assert await jail.next_order() == spec.KillCell(jail.number, CELL)

    async with asyncio.timeout(5):
        while no_other_order(jail):
            jail.report(spec.CellDied(jail.number, 99, ""))
            await asyncio.sleep(0.01)

    jail.report(spec.ZygoteDied(jail.number, "it was killed", started=True))
    assert await killing == ""


def no_other_order(jail: Jail) -> bool:
    jail._channel.setblocking(False)  # noqa: SLF001 - its own end of the channel
    try:
        os.read(jail._channel.fileno(), spec.MAX_MESSAGE)  # noqa: SLF001
    except BlockingIOError:
        return True
    return False
