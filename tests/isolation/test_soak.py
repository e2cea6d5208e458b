"""What one instance leaves behind, three hundred leave three hundred times.

`python -m benchmarks soak` has ten thousand."""

import asyncio
import re
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest

from benchmarks.scenarios.soak import JAILS, Soaked, soak
from sandlot_sandbox.host.cells import AHEAD
from tests.isolation.machine import PROJECT, WAIT_S, Guest, Sandbox, ask

LIVES = 300


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.timeout(180)
async def test_as_much_is_there_after_many_instances_as_before(
    own_sandbox: Sandbox,
) -> None:
    lived = []
    async with AsyncExitStack() as stack:
        jails: list[Soaked] = [
            _Jail(await stack.enter_async_context(own_sandbox.running("curious")))
            for _ in range(JAILS)
        ]

        before, after = await soak(
            jails, own_sandbox.process.pid, LIVES, on_life=lambda: lived.append(1)
        )

    assert len(lived) == LIVES
    assert before.left_behind(after) == {}


def test_the_benchmark_tells_what_there_was_before_and_after() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "soak", "--instances", "20"],
        cwd=PROJECT,
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert done.returncode == 0, done.stderr
    assert re.search(r"processes: (\d+) before, \1 after", done.stdout)


class _Jail:
    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    async def live(self) -> None:
        instance = await self._guest.fork()
        assert await ask(instance, "tmp") == []
        await instance.destroy()

    async def settle(self) -> None:
        """Until as many cells are ready as there are while nobody asks for one."""
        cells = self._guest.zygote._cells  # noqa: SLF001 - nobody else tells
        self._guest.zygote.prepare_cells()
        async with asyncio.timeout(WAIT_S):
            while cells.ready != AHEAD:  # noqa: ASYNC110 - nobody sets an event
                await asyncio.sleep(0.002)
