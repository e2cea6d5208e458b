"""What one instance leaves, no other finds; and what is idle, does nothing."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.isolation.aftermath import attacked, expect_answers, instance_of
from tests.isolation.machine import (
    WAIT_S,
    Guest,
    Sandbox,
    ask,
    descendants,
    kernel_facts,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

IDLE_S = 0.3
"""How long others are served while an instance is idle."""

IDLE_CPU_S = 0.06
"""What may run meanwhile: the clock that counts it ticks a hundred times a second, and
what continues itself runs for a moment before it is found."""

SIGNALS = {
    "flock": ("lock_a_shared_file", "try_the_lock", "ok"),
    "open file locks": ("lock_a_range", "ask_for_locks", "free"),
    "flock of a device": ("lock_a_device", "try_the_device", "ok"),
}
"""Two programs of two tenants each: one says something, the other hears it."""


async def test_a_sibling_finds_no_marks(sandbox: Sandbox, curious: Guest) -> None:
    async with attacked(sandbox, curious, "hostile/state") as guest:
        one, other = await instance_of(guest), await guest.fork()

        assert await ask(one, "leave_marks") == "left"
        assert await ask(other, "find_marks") == []
        await one.destroy()
        assert await guest.ask("find_marks") == [], "nor does one that comes later"


async def test_another_tenant_finds_no_marks(sandbox: Sandbox, curious: Guest) -> None:
    async with (
        attacked(sandbox, curious, "hostile/state") as one,
        sandbox.running("hostile/state") as other,
    ):
        assert await ask(await instance_of(one), "leave_marks") == "left"
        assert await other.ask("find_marks") == []


@pytest.mark.parametrize("how", SIGNALS)
async def test_a_lock_is_no_word_to_another_tenant(
    sandbox: Sandbox, curious: Guest, how: str
) -> None:
    say, hear, silence = SIGNALS[how]
    async with (
        attacked(sandbox, curious, "hostile/state") as one,
        sandbox.running("hostile/state") as other,
    ):
        assert await ask(await instance_of(one), say) == "locked"
        assert await other.ask(hear) == silence


async def test_a_time_is_no_word_to_another_tenant(
    sandbox: Sandbox, curious: Guest
) -> None:
    async with (
        attacked(sandbox, curious, "hostile/state") as one,
        sandbox.running("hostile/state") as other,
    ):
        before = await other.ask("read_the_time")
        answer = await ask(await instance_of(one), "write_a_time")

        assert await other.ask("read_the_time") == before, answer


async def test_reading_leaves_no_time_behind(sandbox: Sandbox, curious: Guest) -> None:
    before = _last_read()
    async with attacked(sandbox, curious, "hostile/state") as guest:
        await ask(await instance_of(guest), "read_a_file")

        assert _last_read() == before


@pytest.mark.parametrize("program", ["count_in_a_thread", "count_in_a_child"])
async def test_an_idle_instance_uses_no_processor(
    sandbox: Sandbox, curious: Guest, program: str
) -> None:
    known = set(descendants(sandbox.process.pid))
    async with attacked(sandbox, curious, "hostile/state") as guest:
        instance = await instance_of(guest)
        counted = await ask(instance, program)
        ours = set(descendants(sandbox.process.pid)) - known
        async with asyncio.timeout(WAIT_S):
            before = await _settled_cpu_s(ours, curious)

        await _serve_others(curious)

        assert _cpu_s(ours) - before < IDLE_CPU_S
        assert await ask(instance, program) > counted, "and it does work"


CONTINUED = ("continue_a_thread", "continue_a_child", "continue_and_fork")


@pytest.mark.parametrize("program", CONTINUED)
async def test_what_has_itself_continued_is_ended(
    sandbox: Sandbox, curious: Guest, program: str
) -> None:
    known = set(descendants(sandbox.process.pid))
    async with attacked(sandbox, curious, "hostile/state") as guest:
        instance = await instance_of(guest)
        await ask(instance, program)
        if sandbox.mode == "root":
            # A group that is frozen does not hear of signals.
            ours = set(descendants(sandbox.process.pid)) - known
            async with asyncio.timeout(WAIT_S):
                before = await _settled_cpu_s(ours, curious)
            await _serve_others(curious)
            assert _cpu_s(ours) - before < IDLE_CPU_S
        else:
            await guest.wait_death(instance)
        assert await guest.ask("nothing") == "nothing"


async def test_a_zygote_that_has_itself_continued_is_ended(
    sandbox: Sandbox, curious: Guest
) -> None:
    settings = {"environment": {"DO": "continue_the_zygote"}}
    async with attacked(sandbox, curious, "hostile/state", **settings) as guest:
        assert await guest.ask("nothing") == "nothing"
        if sandbox.mode == "root":
            assert await guest.ask("nothing") == "nothing"
        else:
            async with asyncio.timeout(WAIT_S):
                await guest.lost.wait()


@pytest.mark.parametrize("program", ["count_in_the_zygote", "fork_from_the_zygote"])
async def test_a_zygote_that_does_not_fork_uses_no_processor(
    sandbox: Sandbox, curious: Guest, program: str
) -> None:
    settings = {"environment": {"DO": program}}
    known = set(descendants(sandbox.process.pid))
    async with attacked(sandbox, curious, "hostile/state", **settings) as guest:
        assert await guest.ask("nothing") == "nothing"
        ours = set(descendants(sandbox.process.pid)) - known
        async with asyncio.timeout(WAIT_S):
            before = await _settled_cpu_s(ours, curious)

        await _serve_others(curious)

        assert _cpu_s(ours) == before


async def _settled_cpu_s(pids: set[int], others: Guest) -> float:
    """What they have used when they stand still, and did at the look before: one look
    may meet a process that only waits for a disk."""
    seen: float | None = None
    while True:
        is_still = all(map(_is_still, pids))
        now = _cpu_s(pids) if is_still else None
        if now is not None and now == seen:
            return now
        seen = now
        await expect_answers(others)


def _is_still(pid: int) -> bool:
    """Frozen or gone, or one of our own that only wait."""
    try:
        is_tenant_s = "bootstrap.py" in Path(f"/proc/{pid}/cmdline").read_text()
        return not is_tenant_s or kernel_facts(pid)["State"][0] in "DTZX"
    except OSError:
        return True


async def _serve_others(neighbour: Guest) -> None:
    until = time.monotonic() + IDLE_S
    while time.monotonic() < until:
        await expect_answers(neighbour)


def _last_read() -> int:
    return Path("/usr/bin/env").stat().st_atime_ns


def _cpu_s(pids: set[int]) -> float:
    """Processor time of those that still live."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
