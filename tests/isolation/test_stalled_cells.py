"""A cell that does not come up takes nobody along."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandlot_sandbox.errors import StartFailed, ZygoteLost
from tests.isolation import stalling_launcher
from tests.isolation.machine import (
    MODES,
    WAIT_S,
    Guest,
    Sandbox,
    Store,
    ask,
    descendants,
    kernel_facts,
    started,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Machine:
    """A launcher whose cells can be kept from coming up."""

    def __init__(self, sandbox: Sandbox, stalls: Path) -> None:
        self.sandbox = sandbox
        self._stalls = stalls

    def stall(self, *, is_stalling: bool) -> None:
        with self._stalls.open("r+b") as file:
            file.write(b"1" if is_stalling else b"0")

    def make_cell(self, guest: Guest) -> "asyncio.Future[object]":
        making = self.sandbox.launcher.make_cell(guest.zygote._number)  # noqa: SLF001
        return asyncio.ensure_future(making)

    async def wait_stalled(self, guest: Guest) -> "asyncio.Future[object]":
        """Of a cell that is being made; it is there, and comes to nothing."""
        before = self._first_processes()
        self.stall(is_stalling=True)
        making = self.make_cell(guest)
        async with asyncio.timeout(WAIT_S):
            while self._first_processes() == before:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
        self.stall(is_stalling=False)
        return making

    def _first_processes(self) -> int:
        return sum(map(_is_first, descendants(self.sandbox.process.pid)))


def _is_first(pid: int) -> bool:
    """Whether it is the first process of a cell."""
    try:
        numbers = kernel_facts(pid)["NSpid"].split()
    except (OSError, KeyError):
        return False
    return len(numbers) == 3 and numbers[-1] == "1"


@pytest_asyncio.fixture(loop_scope="session", params=MODES)
async def machine(
    request: pytest.FixtureRequest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Machine]:
    stalls = store.code.parent / "stalls"
    stalls.write_bytes(b"0")
    stalls.chmod(0o644)
    monkeypatch.setenv("STALLS", str(stalls))
    program = stalling_launcher.__name__
    async with started(request.param, store, program=program) as sandbox:
        yield Machine(sandbox, stalls)


async def test_a_cell_that_does_not_come_up_fails_alone(machine: Machine) -> None:
    async with machine.sandbox.running("curious") as guest:
        await guest.settle()
        instance = await guest.fork()
        assert await ask(instance, "tmp") == []
        await guest.settle()

        stalled = await machine.wait_stalled(guest)
        async with asyncio.timeout(WAIT_S):
            with pytest.raises(StartFailed, match="it was not there after"):
                await stalled

        assert await ask(instance, "tmp") == []
        assert await guest.ask("tmp") == []
        assert not guest.zygote.is_lost


async def test_while_one_is_awaited_others_die_and_that_is_told(
    machine: Machine,
) -> None:
    async with machine.sandbox.running("curious") as guest:
        instance, other = await guest.fork(), await guest.fork()
        for each in (instance, other):
            assert await ask(each, "tmp") == []
        await guest.settle()

        stalled = await machine.wait_stalled(guest)
        await instance.destroy()

        assert not stalled.done()
        assert await ask(other, "tmp") == []
        with pytest.raises(StartFailed):
            await stalled


async def test_a_zygote_that_ends_meanwhile_takes_its_jail_at_once(
    machine: Machine,
) -> None:
    guest = machine.sandbox.make_zygote("curious")
    assert await guest.zygote.wait_ready()
    await guest.settle()

    stalled = await machine.wait_stalled(guest)
    instance = await guest.fork()
    guest.zygote._mail.close()  # noqa: SLF001 - a zygote whose engine hangs up ends
    async with asyncio.timeout(WAIT_S):
        await guest.lost.wait()

    assert guest.dead == [instance]
    with pytest.raises(ZygoteLost):
        await stalled
