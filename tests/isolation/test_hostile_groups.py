"""Who wants more than its function has, by ways around what counts what it uses."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from sandlot_sandbox.errors import ZygoteLost
from sandlot_sandbox.host.invocation import OUT_OF_MEMORY
from sandlot_sandbox.launcher.server import LOOK_AGAIN_S
from sandlot_sandbox.outcome import Ended
from tests.isolation.aftermath import expect_answers
from tests.isolation.groups import control
from tests.isolation.machine import (
    RUNTIME,
    WAIT_S,
    Guest,
    Sandbox,
    ask,
    descendants,
    kernel_facts,
    needs_groups,
    send,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

MEMORY_MB = 128
MOST_S = 1.0
"""Of a processor, in six seconds or more."""


@needs_groups
async def test_who_stays_in_a_dead_instance_s_groups_goes_with_its_jail(
    sandbox: Sandbox, curious: Guest
) -> None:
    guest = sandbox.make_zygote("hostile/squatter")
    assert await guest.zygote.wait_ready()

    instance = await guest.fork()
    await ask(instance, "")
    await instance.destroy()

    async with asyncio.timeout(WAIT_S):
        await guest.lost.wait()
    await expect_answers(curious)


@needs_groups
async def test_who_stays_in_a_dead_instance_s_groups_has_little_of_a_processor(
    sandbox: Sandbox, curious: Guest
) -> None:
    """It has some seconds until it is found to hide, and nobody pays for them."""
    if "cpu" not in control(sandbox)[1]:
        pytest.skip("nobody limits processors here")
    guest = sandbox.make_zygote("hostile/lurker")
    assert await guest.zygote.wait_ready()
    instance = await guest.fork()
    await ask(instance, "stay")
    (lurker,) = filter(_lurks, descendants(sandbox.process.pid))

    await instance.destroy()

    at_first = last = _cpu_s(lurker)
    async with asyncio.timeout(WAIT_S):
        while not guest.lost.is_set():
            with suppress(FileNotFoundError, ProcessLookupError):
                last = _cpu_s(lurker)
            await asyncio.sleep(0)
    assert last - at_first < MOST_S
    await expect_answers(curious)


@needs_groups
async def test_who_hides_in_what_waits_for_an_instance_stands_still(
    sandbox: Sandbox, curious: Guest
) -> None:
    """The group of one that ended at work is its heir's, who waits for minutes."""
    async with sandbox.running("hostile/lurker") as guest:
        first = await guest.fork()
        assert (await send(first, "end")).ended is Ended.EXITED
        await guest.wait_death(first)
        assert guest.zygote.has_heirs
        (lurker,) = filter(_lurks, descendants(sandbox.process.pid))

        async with asyncio.timeout(WAIT_S):
            while not _stands_still(lurker):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)

        assert await guest.ask("again") == "ok", "the heir is of use"
        assert not guest.zygote.has_heirs
    await expect_answers(curious)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _lurks(pid: int) -> bool:
    return kernel_facts(pid)["Name"] == "lurker"


def _stands_still(pid: int) -> bool:
    return kernel_facts(pid)["State"][0] in "DT"


async def test_memory_of_processes_without_a_first_thread_counts(
    sandbox: Sandbox, curious: Guest
) -> None:
    async with sandbox.running("hostile/headless", memory_mb=MEMORY_MB) as guest:
        instance = await guest.fork()

        ending = await send(instance, "", children=6, mb=100)

        assert (ending.ended, ending.error_type) == (Ended.SIGNALED, OUT_OF_MEMORY)
    await expect_answers(curious)


async def test_memory_of_an_import_s_children_counts(
    sandbox: Sandbox, curious: Guest
) -> None:
    guest = sandbox.make_zygote("hostile/hungry_import", memory_mb=MEMORY_MB)

    # Its children are killed, or all of it is. Not at once where the kernel first looks
    # for what it can drop, again and again.
    async with asyncio.timeout(2 * WAIT_S):
        try:
            assert not await guest.zygote.wait_ready()
            assert "MemoryError" in guest.zygote.reason
        except ZygoteLost:
            # In v2 the kernel ends a group as a whole; in v1 one process of it.
            assert control(sandbox)[0] != "v1"
        guest.zygote.kill()
        await guest.lost.wait()
    await expect_answers(curious)


async def test_what_the_kernel_remembers_of_files_is_not_its_memory(
    sandbox: Sandbox,
) -> None:
    package = sandbox.store.code / f"{sandbox.store.add('hostile/reading')}-{RUNTIME}"
    big = package / "big"
    if not big.exists():
        big.write_bytes(os.urandom(1 << 20) * (2 * MEMORY_MB))
        big.chmod(0o644)
    with big.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    async with sandbox.running("hostile/reading", memory_mb=MEMORY_MB) as guest:
        ending = await send(await guest.fork(), "")

    assert ending.ended is Ended.ANSWERED


async def test_a_name_that_is_no_text_harms_nobody_who_looks(
    own_sandbox: Sandbox,
) -> None:
    # Longer than whoever looks waits between two looks: at it while it is busy, and
    # when it is frozen.
    seconds = LOOK_AGAIN_S + 0.3
    async with own_sandbox.running("hostile/naming", memory_mb=MEMORY_MB) as guest:
        instance = await guest.fork()
        await ask(instance, "", seconds=seconds)
        await ask(instance, "", seconds=seconds)

        assert await ask(await guest.fork(), "", seconds=0) is not None
        assert not own_sandbox.launcher.is_lost
