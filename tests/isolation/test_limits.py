"""What a function can take: memory, files, processes, room in /tmp."""

import json
import resource

import pytest

from sandlot_sandbox.limits import (
    INODES_PER_MB,
    OPEN_FILES,
    PROCESSES,
    ZYGOTE_PROCESSES,
)
from sandlot_sandbox.outcome import Ended
from tests.isolation.groups import control
from tests.isolation.machine import MODES, Guest, Sandbox, Store, ask, send, started

pytestmark = pytest.mark.asyncio(loop_scope="session")

TMP_MB = 16


async def test_memory_ends_at_the_limit(curious: Guest) -> None:
    assert await curious.ask("memory", mb=100) == 100
    assert await curious.ask("memory", mb=1024) == "MemoryError"


async def test_open_files_end_at_the_limit(curious: Guest) -> None:
    held, error = await curious.ask("open_files", up_to=2 * OPEN_FILES)

    assert (held, error) == (OPEN_FILES - 4, "EMFILE")


async def test_tmp_is_full_at_its_size(curious: Guest) -> None:
    written, error = await curious.ask("fill", up_to_mb=2 * TMP_MB)

    assert (written, error) == (TMP_MB, "ENOSPC")


async def test_tmp_is_full_at_its_number_of_files(curious: Guest) -> None:
    allowed = TMP_MB * INODES_PER_MB
    made, error = await curious.ask("files", up_to=2 * allowed)

    assert error == "ENOSPC"
    assert made < allowed


async def test_what_one_instance_filled_is_free_for_the_next(curious: Guest) -> None:
    await curious.ask("fill", up_to_mb=2 * TMP_MB)

    assert await curious.ask("fill", up_to_mb=8) == [8, "ok"]


async def test_a_single_file_ends_a_page_after_the_size_of_tmp(curious: Guest) -> None:
    page = resource.getpagesize()

    assert await curious.ask("big_file", size=(TMP_MB << 20) + page) == "ok"
    assert await curious.ask("big_file", size=(TMP_MB << 20) + page + 1) == "EFBIG"


async def test_a_program_that_fills_tmp_is_told_so_and_not_killed(
    curious: Guest,
) -> None:
    ended, said, kept = await curious.ask("fill_by_program", mb=2 * TMP_MB)

    assert (ended, kept) == (1, TMP_MB)
    assert "No space left on device" in said


async def test_a_fork_bomb_ends_at_the_limit_and_leaves_room_to_fork(
    sandbox: Sandbox, curious: Guest
) -> None:
    async with sandbox.running("curious", memory_mb=4096) as bombed:
        instance = await bombed.fork()
        ending = await send(instance, "fork_bomb", up_to=2 * ZYGOTE_PROCESSES)

        _, controls = control(sandbox)
        if "pids" in controls:
            made, error = json.loads(ending.payload)
            assert error == "EAGAIN"
            assert PROCESSES - 4 < made < PROCESSES
        else:
            # Nobody holds it at a number, but who goes beyond it is ended.
            assert ending.ended is Ended.SIGNALED
        assert await bombed.ask("tmp") == [], "its own function can still fork"
        assert await curious.ask("tmp") == [], "and so can another"


@pytest.mark.parametrize(
    "name", ["RLIMIT_NOFILE", "RLIMIT_DATA", "RLIMIT_NPROC", "RLIMIT_FSIZE"]
)
async def test_a_limit_cannot_be_raised(curious: Guest, name: str) -> None:
    assert await curious.ask("raise_limit", name=name) in ("ValueError", "OSError")


@pytest.mark.parametrize("mode", MODES)
async def test_open_files_on_their_way_are_no_other_tenant_s_loss(
    store: Store, mode: str
) -> None:
    # Without root they count for the one user that all jails, the launcher and the
    # engine have in common: see unix(7), ETOOMANYREFS.
    files = f"--nofile={8 * OPEN_FILES}:{8 * OPEN_FILES}"
    async with (
        started(mode, store, prlimit=(files,)) as sandbox,
        sandbox.running("hoarding") as hoarder,
        sandbox.running("curious") as other,
    ):
        holders = [await hoarder.fork() for _ in range(10)]
        sent = [await ask(holder, "", up_to=5_000) for holder in holders]

        assert sent[0] >= OPEN_FILES
        for _ in range(8):
            assert await other.ask("tmp") == []


async def test_where_its_starter_may_have_few_processes_it_has_fewer(
    store: Store,
) -> None:
    async with (
        started(MODES[-1], store, prlimit=("--nproc=1500:1500",)) as sandbox,
        sandbox.running("curious") as guest,
    ):
        limits = await guest.ask("limits")

    assert limits["RLIMIT_NPROC"] == [1500, 1500]
