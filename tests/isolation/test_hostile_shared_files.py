"""Hostile programs on files that all jails share: nobody else is made to wait."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.isolation.aftermath import Arena, arena, attacked, instance_of
from tests.isolation.machine import Guest, Sandbox, ask, descendants

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHARED = Path("/usr/bin/env")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail(sandbox: Sandbox, curious: Guest) -> AsyncIterator[Arena]:
    async with arena(sandbox, curious, "hostile/shared_files") as made:
        yield made


async def test_no_file_is_locked(sandbox: Sandbox, curious: Guest) -> None:
    async with attacked(sandbox, curious, "hostile/shared_files") as guest:
        instance = await instance_of(guest)

        assert await ask(instance, "take_locks") == ["ok"]
        assert not _locks(sandbox)


def _locks(sandbox: Sandbox) -> list[str]:
    """What the kernel has, of our jails' processes, or on the shared program; whoever
    locks for an open file has no process."""
    inode = str(SHARED.stat().st_ino)
    pids = {str(pid) for pid in descendants(sandbox.process.pid)}
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    # "1: POSIX ADVISORY READ 17 fe:00:12 0 EOF"; with "->" before what waits.
    found = [[word for word in line if word != "->"] for line in lines]
    return [
        " ".join(line)
        for line in found
        if line[4] in pids or line[5].rpartition(":")[2] == inode
    ]


@pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the numbers are those of x86-64"
)
async def test_the_disk_is_not_told_to_flush(jail: Arena) -> None:
    assert await jail.play("flush_the_disk") == ["ok"] * 5
    assert await jail.play("ask_what_is_mapped") == "ENOMEM"


async def test_what_wants_locks_works_without(jail: Arena) -> None:
    assert await jail.play("count_in_a_database") == [2, 2]
