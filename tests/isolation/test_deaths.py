"""Whatever dies takes with it what must not live without it, and nothing else."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from sandlot_sandbox.errors import ZygoteLost
from sandlot_sandbox.host import zygote as host_zygote
from sandlot_sandbox.outcome import Ended
from tests.descriptors import open_files
from tests.isolation.machine import (
    WAIT_S,
    Guest,
    Sandbox,
    ask,
    descendants,
    kernel_facts,
    send,
    wait_frozen,
    wait_gone,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

DAEMONS = 5
_SEGV = int(signal.SIGSEGV)


@pytest.mark.parametrize("stopped", [False, True])
async def test_daemons_die_with_their_instance(sandbox: Sandbox, stopped: bool) -> None:
    async with sandbox.running("orphans") as guest:
        instance = await guest.fork()
        before = set(_inside_cells(sandbox, set()))
        await ask(instance, "daemons", count=DAEMONS, stopped=stopped)
        left = _inside_cells(sandbox, before)
        assert len(left) >= DAEMONS

        await instance.destroy()

        assert _inside_cells(sandbox, before) == []
        assert not guest.zygote.is_lost


@pytest.mark.parametrize(
    ("how", "ended"), [("hang", Ended.TIMED_OUT), ("exit", Ended.EXITED)]
)
async def test_daemons_die_when_their_instance_ends(
    sandbox: Sandbox, how: str, ended: Ended
) -> None:
    async with sandbox.running("orphans") as guest:
        instance = await guest.fork()
        before = set(_inside_cells(sandbox, set()))

        asked: dict[str, Any] = {"count": DAEMONS, how: True}
        timeout_s = 0.5 if how == "hang" else WAIT_S
        ending = await send(instance, "daemons", timeout_s=timeout_s, **asked)
        await guest.wait_death(instance)

        assert ending.ended is ended
        assert _inside_cells(sandbox, before) == []


async def test_an_instance_that_stops_itself_times_out(sandbox: Sandbox) -> None:
    async with sandbox.running("orphans") as guest:
        instance = await guest.fork()

        ending = await send(instance, "stop_myself", timeout_s=0.3)

        assert ending.ended is Ended.TIMED_OUT
        await guest.wait_death(instance)


async def test_a_killed_cell_takes_its_instance_alone(sandbox: Sandbox) -> None:
    async with sandbox.running("orphans") as guest:
        instance, sibling = await guest.fork(), await guest.fork()
        await ask(instance, "daemons", count=1)
        (mine,) = [c for c in _cells(sandbox) if len(_members(sandbox, c)) == 3]

        os.kill(mine, signal.SIGKILL)

        await guest.wait_death(instance)
        assert await ask(sibling, "daemons", count=1) == 1
        assert not guest.zygote.is_lost


async def test_a_zygote_is_not_frozen_before_it_has_reaped(sandbox: Sandbox) -> None:
    async with sandbox.running("orphans") as guest:
        instance, sibling = await guest.fork(), await guest.fork()
        for each in (instance, sibling):
            await ask(each, "daemons", count=1)
            await wait_frozen(each)

        dying = asyncio.ensure_future(instance.destroy())
        await asyncio.sleep(0)
        guest.zygote._freeze_if_idle()  # noqa: SLF001 - as the clock would
        await dying

        assert not guest.zygote.is_lost
        assert await ask(sibling, "daemons", count=1) == 1


async def test_how_a_zygote_died_is_told_however_late_that_is_known(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_zygote, "HUNG_UP_S", 2 * WAIT_S)
    before = set(descendants(sandbox.process.pid))
    guest = sandbox.make_zygote("orphans")
    await guest.zygote.wait_ready()
    warden = _warden(set(descendants(sandbox.process.pid)) - before)
    os.kill(warden, signal.SIGSTOP)

    os.kill(_zygote([warden, *descendants(warden)]), signal.SIGSEGV)
    async with asyncio.timeout(WAIT_S):
        while guest.zygote._mail.is_open:  # noqa: ASYNC110, SLF001 - nobody tells
            await asyncio.sleep(0)
    os.kill(warden, signal.SIGCONT)

    async with asyncio.timeout(WAIT_S):
        await guest.lost.wait()
    with pytest.raises(ZygoteLost, match=f"zygote was killed by signal {_SEGV}"):
        await guest.fork()


@pytest.mark.parametrize("victim", ["warden", "zygote"])
@pytest.mark.parametrize("is_stopped", [False, True])
async def test_a_killed_jail_takes_all_its_own_and_no_other(
    sandbox: Sandbox, curious: Guest, victim: str, is_stopped: bool
) -> None:
    before = set(descendants(sandbox.process.pid))
    guest = sandbox.make_zygote("orphans")
    await guest.zygote.wait_ready()
    instance = await guest.fork()
    await ask(instance, "daemons", count=DAEMONS)
    warden = _warden(set(descendants(sandbox.process.pid)) - before)
    jail = [warden, *descendants(warden)]
    zygote = _zygote(jail)
    if is_stopped:
        for pid in jail:
            os.kill(pid, signal.SIGSTOP)

    os.kill(warden if victim == "warden" else zygote, signal.SIGKILL)
    if is_stopped:
        # A stopped warden does not reap: the order to kill it has to reach it.
        guest.zygote.kill()

    async with asyncio.timeout(WAIT_S):
        await guest.lost.wait()
    await wait_gone(jail)
    assert guest.dead == [instance]
    assert await curious.ask("tmp") == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_killed_launcher_leaves_nothing(
    own_sandbox: Sandbox, number: signal.Signals
) -> None:
    guest = own_sandbox.make_zygote("orphans")
    await guest.zygote.wait_ready()
    instance = await guest.fork()
    await ask(instance, "daemons", count=DAEMONS)
    below = descendants(own_sandbox.process.pid)
    assert len(below) > DAEMONS

    own_sandbox.process.send_signal(number)

    await wait_gone(below)
    async with asyncio.timeout(WAIT_S):
        await own_sandbox.is_lost.wait()
    assert guest.lost.is_set()
    assert guest.dead == [instance]


async def test_a_launcher_whose_engine_hangs_up_leaves_nothing_and_ends_well(
    own_sandbox: Sandbox,
) -> None:
    guest = own_sandbox.make_zygote("orphans")
    await guest.zygote.wait_ready()
    instance = await guest.fork()
    await ask(instance, "daemons", count=DAEMONS)
    below = descendants(own_sandbox.process.pid)

    own_sandbox.launcher.close()

    async with asyncio.timeout(WAIT_S):
        assert await own_sandbox.process.wait() == 0
    await wait_gone(below)


async def test_what_was_taken_is_given_back(own_sandbox: Sandbox) -> None:
    async def live_once() -> None:
        async with own_sandbox.running("curious") as guest:
            for _ in range(3):
                await guest.ask("tmp")

    await live_once()
    before = _held(own_sandbox)

    for _ in range(3):
        await live_once()

    assert _held(own_sandbox) == before


def _held(sandbox: Sandbox) -> tuple[int, int, int, int]:
    """Our open files, the launcher's, its mounts, and all processes below it."""
    theirs = Path(f"/proc/{sandbox.process.pid}")
    return (
        open_files(),
        open_files(sandbox.process.pid),
        len((theirs / "mountinfo").read_text().splitlines()),
        len(descendants(sandbox.process.pid)),
    )


def _inside_cells(sandbox: Sandbox, known: set[int]) -> list[int]:
    """What lives in cells, beside their first processes and beside `known`."""
    return [
        pid
        for pid in descendants(sandbox.process.pid)
        if pid not in known and len(_numbers(pid)) == 3 and _numbers(pid)[-1] > 1
    ]


def _numbers(pid: int) -> list[int]:
    """A process's numbers, from our pid namespace's to its own."""
    try:
        return [int(n) for n in kernel_facts(pid)["NSpid"].split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _cells(sandbox: Sandbox) -> list[int]:
    return [
        pid
        for pid in descendants(sandbox.process.pid)
        if len(_numbers(pid)) == 3 and _numbers(pid)[-1] == 1
    ]


def _members(sandbox: Sandbox, cell: int) -> list[int]:
    mine = _pid_namespace(cell)
    below = descendants(sandbox.process.pid)
    return [pid for pid in below if _pid_namespace(pid) == mine]


def _pid_namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except FileNotFoundError:
        return ""


def _warden(jail: set[int]) -> int:
    (pid,) = [p for p in jail if len(_numbers(p)) == 2 and _numbers(p)[-1] == 1]
    return pid


def _zygote(jail: list[int]) -> int:
    (pid,) = [
        p
        for p in jail
        if len(_numbers(p)) == 2
        and "bootstrap.py" in Path(f"/proc/{p}/cmdline").read_text()
    ]
    return pid
