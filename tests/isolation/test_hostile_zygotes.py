"""A zygote belongs to its tenant from the import on: what one can do to the others
by not doing what a zygote does."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from sandlot_sandbox.errors import StartFailed, ZygoteLost
from sandlot_sandbox.host import invocation as host_invocation
from sandlot_sandbox.host import reserve, room, window
from sandlot_sandbox.host import zygote as host_zygote
from sandlot_sandbox.host.cells import AHEAD, AHEAD_AT_REST
from sandlot_sandbox.host.instance import State
from sandlot_sandbox.host.mail import Mail
from sandlot_sandbox.host.recipe import Obstacle
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
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Unsent(Mail):
    """Without its settings an interpreter waits, and says nothing."""

    def send(self, datagram: bytes, descriptors: Sequence[int] = ()) -> None:
        del datagram, descriptors


async def _lost(guest: Guest) -> None:
    async with asyncio.timeout(WAIT_S):
        await guest.lost.wait()


async def test_one_cannot_stop_what_its_warden_makes(
    sandbox: Sandbox, curious: Guest
) -> None:
    async with sandbox.running("stopping_zygote") as guest:
        # A cell that was stopped while it was made would never be given out.
        for _ in range(8):
            assert (await guest.fork()).state is State.STARTING

        assert await curious.ask("tmp") == []


async def test_one_that_does_not_read_its_forks_loses_its_jail(
    sandbox: Sandbox, curious: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "STUCK_S", 0.05)
    guest = sandbox.make_zygote("deaf_zygote")
    assert await guest.zygote.wait_ready()
    instance = await guest.fork()

    ending = await send(instance, "nothing", timeout_s=0.1, init_counts=True)

    assert ending.ended is Ended.TIMED_OUT
    await _lost(guest)
    assert await curious.ask("tmp") == []


async def test_one_that_takes_forks_and_is_silent_keeps_nobody_waiting(
    sandbox: Sandbox, curious: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_invocation, "INIT_S", 0.3)
    async with sandbox.running("silent_zygote") as guest:
        instance = await guest.fork()

        ending = await send(instance, "nothing")

        # Which has its zygote replaced: see `Hosted.note_late_init`.
        assert ending.ended is Ended.INIT_TIMED_OUT
        await guest.wait_death(instance)
        ahead = await guest.fork(is_ahead=True)
        with pytest.raises(TimeoutError):
            await ahead.wait_ready(0.1)
        await guest.wait_death(ahead)
    assert await curious.ask("tmp") == []


async def test_one_that_never_says_how_instances_ended_loses_its_jail(
    sandbox: Sandbox, curious: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_zygote, "MAX_UNREPORTED", 2)
    guest = sandbox.make_zygote("silent_zygote")
    assert await guest.zygote.wait_ready()

    for _ in range(2):
        await (await guest.fork()).destroy()
    assert not guest.lost.is_set()
    await (await guest.fork()).destroy()

    await _lost(guest)
    assert await curious.ask("tmp") == []


async def test_one_that_is_silent_from_its_import_on_is_late_and_killed(
    sandbox: Sandbox, curious: Guest
) -> None:
    silent = {"SILENT": "from its import on"}
    guest = sandbox.make_zygote("silent_zygote", environment=silent, import_s=0.3)

    assert not await guest.zygote.wait_ready()

    assert guest.zygote.obstacle is Obstacle.LATE
    assert guest.zygote.reason == "the import took longer than 0.3 s"
    await _lost(guest)
    assert await curious.ask("tmp") == []


async def test_one_whose_interpreter_never_says_a_word_is_our_failure(
    sandbox: Sandbox, curious: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_zygote, "START_S", 0.5)
    monkeypatch.setattr(host_zygote, "Mail", Unsent)
    guest = sandbox.make_zygote("silent_zygote")

    with pytest.raises(StartFailed, match="no interpreter had started"):
        await guest.zygote.wait_ready()

    await _lost(guest)
    monkeypatch.undo()
    assert await curious.ask("tmp") == []


async def test_one_that_is_slow_to_read_is_not_taken_for_hostile(
    sandbox: Sandbox,
) -> None:
    async with sandbox.running("curious") as guest:
        instance = await guest.fork()
        await instance.destroy()

        assert await guest.ask("tmp") == []
        assert not guest.zygote.is_lost


@pytest.mark.parametrize("program", ["flooding_zygote", "mute_zygote"])
async def test_one_that_floods_or_hangs_up_loses_its_jail(
    sandbox: Sandbox, curious: Guest, program: str
) -> None:
    guest = sandbox.make_zygote(program)

    await guest.zygote.wait_ready()
    await _lost(guest)

    with pytest.raises(ZygoteLost):
        await guest.fork()
    assert await curious.ask("tmp") == []


@pytest.mark.parametrize("what", ["kind", "short", "long", "empty", "exit"])
async def test_one_that_babbles_loses_its_jail(
    sandbox: Sandbox, curious: Guest, what: str
) -> None:
    guest = sandbox.make_zygote("babbling_zygote", environment={"BABBLE": what})

    await guest.zygote.wait_ready()
    await _lost(guest)

    assert await curious.ask("tmp") == []


async def test_lost_jails_leave_us_no_open_files(
    own_sandbox: Sandbox,
) -> None:
    before = open_files()

    for what in ("kind", "short"):
        guest = own_sandbox.make_zygote("babbling_zygote", environment={"BABBLE": what})
        await guest.zygote.wait_ready()
        await _lost(guest)

    assert open_files() == before


async def test_each_holds_as_many_open_files_of_ours_as_is_reckoned_with(
    own_sandbox: Sandbox,
) -> None:
    before = open_files()

    async with own_sandbox.running("curious") as guest:
        await guest.settle()
        with_berths = open_files()
        guest.zygote._cells.rest()  # noqa: SLF001 - it would, some seconds later
        at_rest = open_files()
        await guest.settle()
        instance = await guest.fork()
        await send(instance, "tmp")
        await guest.settle()
        with_instance = open_files()

    of_berth = (with_berths - at_rest) / (AHEAD - AHEAD_AT_REST)
    assert of_berth <= room.OF_BERTH
    assert at_rest - before - of_berth <= room.OF_ZYGOTE
    assert with_instance - with_berths <= room.OF_INSTANCE


async def test_a_zygote_that_nobody_forks_keeps_one_cell(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserve, "REST_AFTER_S", 0.3)
    async with sandbox.running("curious") as guest:
        before = len(descendants(sandbox.process.pid))
        await guest.settle()
        async with asyncio.timeout(WAIT_S):
            while guest.zygote._cells.ready > AHEAD_AT_REST:  # noqa: ASYNC110, SLF001
                await asyncio.sleep(0.01)
            while len(descendants(sandbox.process.pid)) > before + AHEAD_AT_REST:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

        assert await guest.ask("tmp") == []


async def test_its_word_on_how_an_instance_ended_is_not_needed(
    sandbox: Sandbox,
) -> None:
    async with sandbox.running("liar") as guest:
        instance = await guest.fork()
        ending = await send(instance, "closed")
        await guest.wait_death(instance)

        assert not ending.is_reusable
        assert await ask(await guest.fork(), "nothing", later=True) == "wait for it"


async def test_one_that_has_nothing_to_do_has_no_processor(
    sandbox: Sandbox, curious: Guest
) -> None:
    before = set(descendants(sandbox.process.pid))
    async with sandbox.running("burning_zygote") as guest:
        new = set(descendants(sandbox.process.pid)) - before
        (zygote,) = filter(_is_zygote, new)
        async with asyncio.timeout(WAIT_S):
            while True:
                if kernel_facts(zygote)["State"][0] in "DT":
                    break
                await asyncio.sleep(0)

        assert not guest.zygote.is_lost
    assert await curious.ask("tmp") == []


def _is_zygote(pid: int) -> bool:
    return "bootstrap.py" in Path(f"/proc/{pid}/cmdline").read_text()


async def test_an_import_that_accepts_no_connections_loses_its_jail(
    sandbox: Sandbox, curious: Guest
) -> None:
    guest = sandbox.make_zygote("crowded_zygote")

    with pytest.raises(ZygoteLost):
        await guest.zygote.wait_ready()

    await _lost(guest)
    assert await curious.ask("tmp") == []
