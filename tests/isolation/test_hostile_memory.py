"""Memory by every route: an instance is ended or refused long before it has a
multiple of what its function may have, and nobody else notices."""

import re

import pytest

from sandlot_sandbox.outcome import Ended, Ending
from tests.isolation.aftermath import attacked, expect_answers, instance_of
from tests.isolation.machine import WAIT_S, Guest, Sandbox, ask, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

MEMORY_MB, TMP_MB = 128, 16
TOO_MUCH_MB = 4 * MEMORY_MB
"""With room for an allowance, /tmp, and a watchdog that looks now and then."""

ROUTES = (
    "bytearrays",
    "many_small_objects",
    "malloc",
    "private_mappings",
    "shared_mappings",
    "forgotten_shared_mappings",
    "executable_mappings",
    "memfds",
    "files_in_tmp",
    "deleted_files",
    "children",
    "copies_on_write",
    "stacks_of_threads",
    "growth_by_brk",
    "growth_by_mremap",
    "doubled_shared_mapping",
    "tables_of_pages",
    "many_mappings",
    "pipe_buffers",
    "buffers_of_unix_sockets",
    "buffers_of_tcp",
    "queued_datagrams",
    "sockets_in_flight",
    "pages_behind_single_bytes",
    "short_segments",
    "connections_that_nobody_accepts",
    "locks_on_files",
)

UNCOUNTED = ("attributes_of_files", "lists_of_who_may", "names_of_mappings")
"""What there is none of, as nobody counts it."""

_HELD = re.compile(rb"held (\d+)")


@pytest.mark.parametrize("route", ROUTES)
async def test_memory_ends_long_before_a_multiple_of_it(
    sandbox: Sandbox, curious: Guest, route: str
) -> None:
    settings = {"memory_mb": MEMORY_MB, "tmp_mb": TMP_MB}
    async with attacked(sandbox, curious, "hostile/memory", **settings) as guest:
        instance = await instance_of(guest)

        ending = await send(instance, route, timeout_s=2 * WAIT_S, mb=TOO_MUCH_MB)

        ends = (Ended.ANSWERED, Ended.SIGNALED, Ended.EXITED)
        assert ending.ended in ends or _spun_within_its_memory(ending)
        assert _held_mb(ending) < TOO_MUCH_MB
        await expect_answers(curious)
        await instance.destroy()
        if not guest.zygote.is_lost:
            assert await guest.ask("nothing") == "nothing"


@pytest.mark.parametrize("route", UNCOUNTED)
async def test_of_what_nobody_counts_there_is_none(
    sandbox: Sandbox, curious: Guest, route: str
) -> None:
    settings = {"memory_mb": MEMORY_MB, "tmp_mb": TMP_MB}
    async with attacked(sandbox, curious, "hostile/memory", **settings) as guest:
        assert await ask(await instance_of(guest), route, mb=TOO_MUCH_MB) == 0


async def test_a_server_with_many_connections_has_room(
    sandbox: Sandbox, curious: Guest
) -> None:
    async with attacked(
        sandbox, curious, "hostile/memory", memory_mb=MEMORY_MB
    ) as guest:
        said = await guest.ask("a_server_of_many_connections")

    assert said == 200 * 20 * 1001


def _spun_within_its_memory(ending: Ending) -> bool:
    """Until its time was over: the kernel makes one of short segments as fast as they
    come where the processor is slow enough. Known only where the kernel counts."""
    most_kb = (MEMORY_MB + TMP_MB) << 10
    return ending.ended is Ended.TIMED_OUT and 0 < ending.peak_memory_kb <= most_kb


def _held_mb(ending: Ending) -> int:
    """What it said while it lived."""
    told = [_HELD.fullmatch(line) for _, line in ending.printed]
    return max((int(found[1]) for found in told if found), default=0)
