"""Hostile programs that take more than their share: they meet a limit."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandlot_sandbox.limits import OPEN_FILES
from sandlot_sandbox.outcome import Ended
from tests.isolation.aftermath import (
    Arena,
    Either,
    Only,
    arena,
    attacked,
    expect_answers,
    instance_of,
    told,
)
from tests.isolation.machine import Guest, Sandbox, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

SPINS_S = 0.3
"""The timeout of programs that never answer."""

TMP_MB = 16
MANY = 100_000
PROCESSES = 4096
"""More than an instance may have by any of its limits."""

LIMITS = {
    "files": (MANY, [OPEN_FILES - 4, "EMFILE"]),
    "copies_of_descriptors": (0, ["ok", "EBADF", "EBADF", "EBADF"]),
    "descriptors_of_every_kind": (MANY, [True, "EMFILE"]),
    "bytes_on_disk": (2 * TMP_MB, [TMP_MB, "ENOSPC"]),
    "bytes_that_are_promised": (2 * TMP_MB, Only("EFBIG", "ENOSPC")),
    "empty_files": (MANY, "ENOSPC"),
    "links_and_pipes": (MANY, "ENOSPC"),
    "hard_links": (MANY, "ENOSPC"),
    "folders_in_folders": (MANY, [True, "ENOSPC"]),
    "long_names": (MANY, "ENOSPC"),
    "output": (200, "written"),
    "output_of_children": (0, "written"),
    "output_byte_by_byte": (0, "written"),
    "block_on_output": (0, "filled"),
    "queued_signals": (MANY, [1024, "EAGAIN"]),
    "chains_of_epolls": (0, [True, "ELOOP"]),
    "descriptors_in_flight": (MANY, [True, True]),
    "circles_of_descriptors": (0, "gone"),
    "raised_limits": (0, []),
    "locked_memory": (0, Either("ENOMEM", "EPERM", "EAGAIN")),
}

ENDLESS = (
    "endless_output",
    "lines_without_end",
    "spin",
    "spin_in_threads",
    "spin_in_children",
    "timers",
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail(sandbox: Sandbox, curious: Guest) -> AsyncIterator[Arena]:
    async with arena(sandbox, curious, "hostile/resources") as made:
        yield made


@pytest.mark.parametrize(
    ("program", "most", "expected"),
    [(program, most, expected) for program, (most, expected) in LIMITS.items()],
    ids=LIMITS,
)
async def test_what_is_counted_has_an_end(
    jail: Arena, program: str, most: int, expected: object
) -> None:
    got = await jail.play(program, most=most)

    assert got == expected


@pytest.mark.parametrize("program", ENDLESS)
async def test_what_has_no_end_is_ended(jail: Arena, program: str) -> None:
    got = await jail.play(program, timeout_s=SPINS_S)

    assert got is Ended.TIMED_OUT


@pytest.mark.parametrize("program", ["sleeping_processes", "sleeping_threads"])
async def test_processes_and_threads_have_an_end(
    sandbox: Sandbox, curious: Guest, program: str
) -> None:
    async with attacked(sandbox, curious, "hostile/resources") as guest:
        instance = await instance_of(guest)

        match told(await send(instance, program, most=PROCESSES)):
            case [made, error]:
                assert 0 < made < PROCESSES
                assert error in ("EAGAIN", "MemoryError", "can't start new thre")
            case ended:
                assert ended is Ended.SIGNALED, "by its memory, which they need as well"
        await expect_answers(curious)
        assert await guest.ask("nothing") == "nothing"


async def test_threads_of_several_processes_are_counted_together(jail: Arena) -> None:
    made = await jail.play("threads_in_children", most=PROCESSES)

    assert 0 < made < PROCESSES
