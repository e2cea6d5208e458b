"""Cells, which are made ahead of time: what one takes, and how many come in a second.

From the engine's order to the cell's arrival there. The steps go through four processes
one after another; the cell's first only makes calls, and cannot look.
"""

import asyncio
import time

from benchmarks.board import LAUNCHER, WARDEN, Board
from benchmarks.jails import Jails, WatchedLauncher
from benchmarks.scenarios.jail.seals import as_steps
from benchmarks.scenarios.plan import Plan
from benchmarks.stats import Series, Table
from benchmarks.steps import Chain
from benchmarks.workloads import Workload

AT_ONCE = 4
"""As many as the engine keeps ready."""

WARM_UP = 5

_SETTLE_S = 0.002
"""As before other samples."""


async def measure(
    plan: Plan, workload: Workload, plain: Jails, looking: Jails, board: Board
) -> list[Table]:
    """Two tables: made and ended, and the steps."""
    whole = _Whole(plain)
    steps = _Steps(looking.launcher, board)
    async with plain.zygote(workload):
        async with looking.zygote(workload):
            for _ in range(WARM_UP):
                await whole.round()
                await steps.round()
            whole.forget()
            steps.forget()
            for _ in plan.progress(range(plan.n), "jail cells", plan.n):
                await whole.round()
                await steps.round()
        await whole.hurry(max(1, plan.n // AT_ONCE))
    return [whole.table(), steps.table()]


class _Whole:
    """With nobody looking."""

    def __init__(self, jails: Jails) -> None:
        self._jails = jails
        self._launcher = jails.launcher
        self._cpu_ms: list[float] = []
        self.forget()

    def forget(self) -> None:
        self._alone = Series(label="made, one at a time")
        self._together = Series(label=f"made, {AT_ONCE} at a time: each")
        self._end = Series(label="killed, until it is dead")

    async def round(self) -> None:
        await asyncio.sleep(_SETTLE_S)
        zygote = self._launcher.newest
        began = time.perf_counter()
        cell = await self._launcher.make_cell(zygote)
        self._alone.add(time.perf_counter() - began)
        cell.close()
        await asyncio.sleep(_SETTLE_S)
        began = time.perf_counter()
        await self._launcher.kill_cell(zygote, cell.number)
        self._end.add(time.perf_counter() - began)

    async def hurry(self, times: int) -> None:
        """Have several made at once, again and again."""
        zygote, before_s = self._launcher.newest, self._jails.cpu_s()
        for _ in range(times):
            await asyncio.sleep(_SETTLE_S)
            began = time.perf_counter()
            cells = await asyncio.gather(
                *(self._launcher.make_cell(zygote) for _ in range(AT_ONCE))
            )
            self._together.add((time.perf_counter() - began) / AT_ONCE)
            for cell in cells:
                cell.close()
                await self._launcher.kill_cell(zygote, cell.number)
        spent = zip(before_s, self._jails.cpu_s(), strict=True)
        self._cpu_ms = [(b - a) * 1e3 / times / AT_ONCE for a, b in spent]

    def table(self) -> Table:
        alone, together = (1e3 / s.ms(50) for s in (self._alone, self._together))
        rate = (
            f"cells per second: {alone:.0f} one at a time, {together:.0f} with"
            f" {AT_ONCE} under way (p50)"
        )
        launcher_ms, cell_ms, _ = self._cpu_ms
        cpu = (
            f"CPU ms per cell, with its end: {launcher_ms:.2f} launcher, {cell_ms:.2f}"
            " warden and cell"
        )
        return Table(
            title="cell: from the order to its arrival, and its end",
            series=[self._alone, self._together, self._end],
            floor=self._alone,
            floor_name="the first",
            notes=[rate, cpu],
        )


class _Steps:
    def __init__(self, launcher: WatchedLauncher, board: Board) -> None:
        self._launcher = launcher
        self._board = board
        self.forget()

    def forget(self) -> None:
        self._chain = Chain()

    async def round(self) -> None:
        await asyncio.sleep(_SETTLE_S)
        self._board.clear()
        zygote, began_ns = self._launcher.newest, time.monotonic_ns()
        cell = await self._launcher.make_cell(zygote)
        ended_ns = time.monotonic_ns()
        steps = as_steps(self._board.read(LAUNCHER, WARDEN))
        self._chain.add(began_ns, [*steps, ("engine: cell arrived", ended_ns, 0)])
        cell.close()
        await asyncio.sleep(_SETTLE_S)
        await self._launcher.kill_cell(zygote, cell.number)

    def table(self) -> Table:
        return self._chain.table("cell: the steps")
