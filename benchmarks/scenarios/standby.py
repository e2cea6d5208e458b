"""A first event on an instance that stood by: forked, jailed and initialised before.

From the assignment to the answer's arrival, as `cold` has it; what came before is off
the path and not in the numbers. So is the first invocation of a provisioned instance.
Like in the engine, an instance that waits is frozen until its event comes.
"""

import asyncio
import time
from importlib.util import find_spec

from benchmarks import plots
from benchmarks.jails import TIMEOUT_S, ReadyZygote, open_jails
from benchmarks.peers import BareForkServer, bare_fork_server
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Series, Table
from benchmarks.workloads import Workload
from sandlot_sandbox.outcome import Ended

WARM_UP = 5

REST_S = 0.02
"""An instance is frozen 10 ms after it was last at work."""

WHAT = (
    "a first event on an instance that was forked and initialised ahead: from the"
    " engine's assignment to the answer's arrival"
)
_STANDBYS = "sandlot_engine.scheduler.standbys"


async def run(plan: Plan) -> Results:
    async with open_jails(plan.runtime) as jails:
        results = Results.of(jails, name="standby", what=WHAT)
        for workload in plan.present():
            package = jails.unpack(workload)
            with bare_fork_server(jails.runtime, package, workload) as bare:
                async with jails.zygote(workload) as zygote:
                    one = _Workload(workload, zygote, bare, results.isolation)
                    await one.measure(plan)
            table = one.table()
            results.tables.append(table)
            results.plots.append(plots.distribution(table.title, table.series))
    if find_spec(_STANDBYS) is None:
        results.not_run.append(
            "standbys that the scheduler keeps by itself: not in this tree; these are"
            " as provisioned concurrency has them"
        )
    return results


class _Workload:
    def __init__(
        self,
        workload: Workload,
        zygote: ReadyZygote,
        bare: BareForkServer,
        isolation: str,
    ) -> None:
        self._workload = workload
        self._zygote = zygote
        self._bare = bare
        self._rested = workload.standby.series(
            "sandlot, frozen meanwhile", isolation=isolation
        )
        self._fresh = workload.standby.series("sandlot, at once", isolation=isolation)
        self._floor = Series(label="bare child that waited, no jail", isolation="none")

    async def measure(self, plan: Plan) -> None:
        await self._answer_once()
        for _ in range(WARM_UP):
            await self._round()
        for series in (self._rested, self._fresh, self._floor):
            series.samples_s.clear()
        label = f"standby {self._workload.name}"
        for _ in plan.progress(range(plan.n), label, plan.n):
            await self._round()

    def table(self) -> Table:
        return Table(
            title=f"standby {self._workload.name}: {self._workload.what}",
            series=[self._rested, self._fresh, self._floor],
            floor=self._floor,
            floor_name="bare child",
        )

    async def _answer_once(self) -> None:
        """Nothing stands by before there was an answer, and before it is known which
        pages that took."""
        instance = await self._zygote.fork()
        await instance.invoke(
            self._zygote.header(), self._workload.payload, timeout_s=TIMEOUT_S
        )
        async with asyncio.timeout(TIMEOUT_S):
            while not instance.is_frozen:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(REST_S)
        await instance.destroy()

    async def _round(self) -> None:
        for series, rest_s in ((self._rested, REST_S), (self._fresh, 0.0)):
            await self._zygote.settle()
            instance, _ = await self._zygote.fork_until_ready(is_ahead=True)
            await self._zygote.settle()
            await asyncio.sleep(rest_s)
            header, began = self._zygote.header(), time.perf_counter()
            ending = await instance.invoke(
                header, self._workload.payload, timeout_s=TIMEOUT_S
            )
            took = time.perf_counter() - began
            await instance.destroy()
            if ending.ended is not Ended.ANSWERED:
                raise RuntimeError(f"not an answer: {ending}")
            series.add(took)
        child = self._bare.fork()
        await asyncio.sleep(REST_S)
        began = time.perf_counter()
        child.ask(self._workload.payload)
        self._floor.add(time.perf_counter() - began)
        child.close()
