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

    async def wait_stalled(self) -> None:
        """Until there is one that was stopped while it was made."""
        async with asyncio.timeout(WAIT_S):
            launcher = self.sandbox.process.pid
            while not any(map(_is_stopped, descendants(launcher))):  # noqa: ASYNC110
                await asyncio.sleep(0)


def _is_stopped(pid: int) -> bool:
    """Whether it is the first process of a cell, and was."""
    try:
        facts = kernel_facts(pid)
    except OSError:
        return False
    numbers = facts["NSpid"].split()
    return len(numbers) == 3 and numbers[-1] == "1" and facts["State"][0] == "T"


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

        machine.stall(is_stalling=True)
        stalled = machine.make_cell(guest)
        async with asyncio.timeout(WAIT_S):
            with pytest.raises(StartFailed, match="it was not there after"):
                await stalled
        machine.stall(is_stalling=False)

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

        machine.stall(is_stalling=True)
        stalled = machine.make_cell(guest)
        await machine.wait_stalled()
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

    machine.stall(is_stalling=True)
    stalled = machine.make_cell(guest)
    await machine.wait_stalled()
    instance = await guest.fork()
    guest.zygote._mail.close()  # noqa: SLF001 - a zygote whose engine hangs up ends
    async with asyncio.timeout(WAIT_S):
        await guest.lost.wait()

    assert guest.dead == [instance]
    with pytest.raises(ZygoteLost):
        await stalled
