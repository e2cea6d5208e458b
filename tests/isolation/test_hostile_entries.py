"""Zygotes whose clones do not enter their cells as they are meant to: by a table of
calls that lacks some, twice, or somebody else's. Also what an honest clone reaches of
its cell's first process."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Awaitable, Callable

import pytest

from sandlot_sandbox.errors import SandboxError
from sandlot_sandbox.guest import namespaces
from sandlot_sandbox.limits import COUNTED_PROCESSES, ZYGOTE_PROCESSES
from sandlot_sandbox.outcome import Ended
from tests.isolation.aftermath import attacked, instance_of
from tests.isolation.machine import (
    WAIT_S,
    Guest,
    Sandbox,
    ask,
    descendants,
    needs_groups,
    send,
)
from tests.isolation.posture import is_zygote

pytestmark = pytest.mark.asyncio(loop_scope="session")

GUEST = "hostile/entering"
HELD_MB = 110
"""As much as one instance may; of which the zygote may not hold many."""

TMP_MB = 64
MOST = 64
"""Instances, after which at the latest a zygote that keeps what they held is gone."""

_SYS_CHROOT, _SYS_ADMIN = 1 << 18, 1 << 21
NONE, OF_A_ZYGOTE = 0, _SYS_CHROOT | _SYS_ADMIN

WAYS = {
    "honest": NONE,
    "privileged": OF_A_ZYGOTE,
    "uncounted": NONE,
    "outside": OF_A_ZYGOTE,
    "halfway": NONE,
    "twice": NONE,
}
"""And by which capabilities it is told that a clone went it."""


@pytest.mark.parametrize(("how", "privileges"), WAYS.items())
async def test_whatever_way_a_clone_goes_it_reaches_nobody_elses_process(
    sandbox: Sandbox, curious: Guest, how: str, privileges: int
) -> None:
    async with attacked(sandbox, curious, GUEST, environment={"HOW": how}) as guest:
        instance = await instance_of(guest)

        assert await ask(instance, "capabilities") == privileges
        assert await ask(instance, "reach") == []
        assert await ask(instance, "powers") == []
        assert await ask(instance, "signals") == "there"
        await instance.destroy()


async def test_who_enters_anothers_cell_ends_with_it(
    sandbox: Sandbox, curious: Guest
) -> None:
    how = {"HOW": "in_anothers"}
    async with attacked(sandbox, curious, GUEST, environment=how) as guest:
        first = await instance_of(guest)
        await ask(first, "processes")
        # Were it idle, it would be frozen, and with it who is in its cell.
        lingering = asyncio.create_task(send(first, "linger"))
        second = await guest.fork()
        assert await ask(second, "processes") == [3]

        await first.destroy()
        await guest.wait_death(second)
        assert not (await lingering).is_reusable


async def test_one_that_keeps_what_came_with_a_fork_and_forks_nobody(
    sandbox: Sandbox, curious: Guest
) -> None:
    how = {"HOW": "never"}
    async with attacked(sandbox, curious, GUEST, environment=how) as guest:
        instance = await instance_of(guest)
        ending = await send(instance, "capabilities", timeout_s=0.3, init_counts=True)

        assert ending.ended is Ended.TIMED_OUT
        await guest.wait_death(instance)


@needs_groups
@pytest.mark.parametrize("how", ["uncounted", "outside"])
async def test_memory_that_no_cell_counts_is_its_zygotes(
    sandbox: Sandbox, curious: Guest, how: str
) -> None:
    async with attacked(sandbox, curious, GUEST, environment={"HOW": how}) as guest:
        await instance_of(guest)

        await _until_lost(guest, _holding)


@needs_groups
async def test_a_zygote_that_keeps_the_files_of_dead_cells_loses_its_jail(
    sandbox: Sandbox, curious: Guest
) -> None:
    how = {"environment": {"HOW": "hoarding"}, "tmp_mb": TMP_MB}
    async with attacked(sandbox, curious, GUEST, **how) as guest:
        await instance_of(guest)

        await _until_lost(guest, _filled)


async def test_a_jail_can_have_only_so_many_namespaces(sandbox: Sandbox) -> None:
    # As many as that takes some minutes; what the kernel does at a bound is its word.
    async with sandbox.running("curious"):
        pid = next(filter(is_zygote, descendants(sandbox.process.pid)))
        for kind in ("mnt", "net"):
            bound = await _read_inside(pid, f"/proc/sys/user/max_{kind}_namespaces")
            assert bound in {
                namespaces.most(processes)
                for processes in (ZYGOTE_PROCESSES, COUNTED_PROCESSES)
            }


async def _read_inside(pid: int, path: str) -> int:
    """A file of proc, as a process of its user namespace reads it."""
    enter = shutil.which("nsenter")
    if enter is None or os.geteuid() != 0:
        pytest.skip("nobody here may enter another's user namespace")
    argv = (enter, "--preserve-credentials", "--user", "--target", str(pid))
    process = await asyncio.create_subprocess_exec(
        *argv, "cat", path, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return int(said)


async def _holding(guest: Guest) -> None:
    await send(await guest.fork(), "hold", mb=HELD_MB, init_counts=True)


async def _filled(guest: Guest) -> None:
    instance = await guest.fork()
    await send(instance, "fill", init_counts=True)
    await instance.destroy()


async def _until_lost(guest: Guest, step: Callable[[Guest], Awaitable[None]]) -> None:
    """It has to be, after so many steps, of which the last need not succeed."""
    with contextlib.suppress(SandboxError):
        for _ in range(MOST):
            await step(guest)
    async with asyncio.timeout(WAIT_S):
        await guest.lost.wait()
