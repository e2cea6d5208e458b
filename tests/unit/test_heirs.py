"""What is kept of instances that ended at work, for how long and for how many."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from sandlot_sandbox.errors import StartFailed
from sandlot_sandbox.host import heirs as module
from sandlot_sandbox.host.berth import Berth
from sandlot_sandbox.host.heirs import MAX_HEIRS, MAX_OF_ALL, Estate, Heirs
from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.memory_group import MEMORY_V2
from tests.fakes.waiting import eventually


@pytest.fixture(autouse=True)
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Jail, "group", tmp_path, raising=False)


class Jail:
    """Kills cells and makes heirs when the test says so."""

    group: Path
    """What stands for their control groups."""

    def __init__(self, estate: Estate | None = None) -> None:
        self.may_make = asyncio.Event()
        self.may_make.set()
        self.dropped: list[int] = []
        self.killed: list[int] = []
        self.can_make = True
        self.events = b"oom_kill 0\n"
        self.brake: Path | None = None
        self.heirs = Heirs(
            self._make,
            drop=self.dropped.append,
            kill=self._kill,
            estate=estate or Estate(spares=1_000),
        )

    async def _make(self, dead: int) -> Berth:
        await self.may_make.wait()
        if not self.can_make:
            raise StartFailed("there is no room")
        ours, theirs = socket.socketpair()
        (self.group / "memory.events").write_bytes(self.events)
        parts = {MEMORY_V2: os.open(self.group, os.O_PATH)}
        if self.brake is not None:
            flags = os.O_WRONLY | os.O_TRUNC | os.O_CREAT
            parts["freeze"] = os.open(self.brake, flags, 0o600)
        hold = Hold(parts)
        return Berth(
            *(dead + 100, hold, ours, os.dup(0), None, None, (theirs.detach(),))
        )

    async def _kill(self, cell: int) -> str:
        self.killed.append(cell)
        return ""

    async def end(self, cell: int, verdict: str = "") -> None:
        async def kill() -> str:
            return verdict

        assert await self.heirs.end(cell, kill) == verdict

    async def close(self) -> None:
        self.heirs.close()
        await eventually(lambda: _is(not self.heirs.are_there))

    async def take(self) -> int | None:
        berth = await self.heirs.take()
        if berth is None:
            return None
        berth.close()
        return berth.cell


async def test_one_that_waits_stands_still_until_it_is_taken() -> None:
    """Its group is one that the zygote was given to join, and may have kept."""
    jail = Jail()
    brake = jail.group / "cgroup.freeze"
    jail.brake = brake
    await jail.end(1)
    await eventually(lambda: _is(brake.exists() and brake.read_bytes() == b"1"))

    assert await jail.take() == 101
    assert brake.read_bytes() == b"10"


async def test_one_that_cannot_stand_still_is_none() -> None:
    jail = Jail()
    jail.brake = Path("/dev/full")

    await jail.end(1)

    await eventually(lambda: _is(jail.killed == [101]))
    assert await jail.take() is None


async def test_who_comes_while_an_heir_is_made_waits_for_it() -> None:
    jail = Jail()
    jail.may_make.clear()
    await jail.end(1)

    taking = asyncio.create_task(jail.take())
    await asyncio.sleep(0)
    assert jail.heirs.are_there
    jail.may_make.set()

    assert await taking == 101
    assert not jail.heirs.are_there
    assert await jail.take() is None


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.0)
    jail = Jail()
    jail.may_make.clear()
    await jail.end(1)

    assert await jail.take() is None
    jail.may_make.set()
    await jail.close()


async def test_nothing_is_kept_of_who_was_killed_for_something() -> None:
    jail = Jail()

    await jail.end(1, verdict="memory")

    assert not jail.heirs.are_there
    assert jail.dropped == [1]


async def test_an_heir_that_cannot_be_made_leaves_nothing() -> None:
    jail = Jail()
    jail.can_make = False
    await jail.end(1)

    assert await jail.take() is None
    assert (jail.dropped, jail.heirs.are_there) == ([1], False)


async def test_nothing_is_kept_of_who_ran_out_of_memory_at_last() -> None:
    jail = Jail()
    jail.events = b"oom_kill 1\n"
    await jail.end(1)

    assert await jail.take() is None
    assert jail.killed == [101]


async def test_there_are_only_so_many_of_one_zygote_and_of_all() -> None:
    assert Estate(spares=1_000_000).left == MAX_OF_ALL
    assert Estate(spares=0).left == 0
    estate = Estate(spares=4 * (MAX_HEIRS + 1))
    first, second = Jail(estate), Jail(estate)
    for cell in range(MAX_HEIRS):
        await first.end(cell)
    assert not first.heirs.has_room
    assert second.heirs.has_room
    await second.end(1)
    assert not second.heirs.has_room

    assert await first.take() == 100

    assert second.heirs.has_room
    await first.close()
    await second.close()


async def test_what_is_given_back_or_waits_too_long_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jail = Jail()
    await jail.end(1)
    await eventually(lambda: _is(jail.heirs.used_kb == 0 and jail.heirs._ready))  # noqa: SLF001
    jail.heirs.drop_all()
    await eventually(lambda: _is(jail.killed == [101]))

    monkeypatch.setattr(module, "KEPT_S", 0.0)
    await jail.end(2)

    await eventually(lambda: _is(jail.killed == [101, 102]))
    assert not jail.heirs.are_there


async def test_with_its_zygote_all_of_it_goes() -> None:
    jail = Jail()
    await jail.end(1)
    jail.may_make.clear()
    await jail.end(2)

    jail.heirs.close()
    jail.may_make.set()

    assert await jail.take() is None
    assert not jail.heirs.are_there
    assert not jail.heirs.has_room


async def _is(fact: object) -> bool:
    return bool(fact)
