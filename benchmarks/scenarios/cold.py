"""A first event on an instance that is forked for it.

From the assignment (the engine knows which zygote, a cell waits) to the arrival of the
answer. As in the engine, the cell that it takes is replaced a moment after the start.
"""

import time

from benchmarks.jails import TIMEOUT_S, Jails, ReadyZygote, open_jails
from benchmarks.peers import BareForkServer, bare_fork_server, exec_python
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Series, Table
from benchmarks.workloads import Workload
from sandlot_sandbox.outcome import Ended

EXEC_EVERY = 10
"""A new interpreter takes so long that it gets one sample for so many of ours."""

WARM_UP = 5
"""Rounds of each workload that are not counted."""

WHAT = (
    "a fork on demand out of a ready zygote into a cell that was made before: from the"
    " engine's assignment to the answer's arrival"
)


async def run(plan: Plan) -> Results:
    async with open_jails(plan.runtime) as jails:
        results = Results.of(jails, name="cold", what=WHAT)
        for workload in plan.present():
            package = jails.unpack(workload)
            with bare_fork_server(jails.runtime, package, workload) as bare:
                async with jails.zygote(workload) as zygote:
                    one = _Workload(plan, jails, workload, zygote=zygote, bare=bare)
                    await one.measure()
                    results.tables.append(one.table())
        return results


class _Workload:
    def __init__(
        self,
        plan: Plan,
        jails: Jails,
        workload: Workload,
        *,
        zygote: ReadyZygote,
        bare: BareForkServer,
    ) -> None:
        self._plan = plan
        self._jails = jails
        self._workload = workload
        self._zygote = zygote
        self._bare = bare
        self._ours = Series(label="sandlot", target_ms=workload.cold_target_ms)
        self._init = Series(label="  fork to ready")
        self._duration = Series(label="  ready to answer")
        self._floor = Series(label="bare fork, no jail")
        self._exec = Series(label="python -c")
        self._jail_cpu_s: list[float] = []
        self._engine_cpu_s = 0.0

    async def measure(self) -> None:
        for _ in range(WARM_UP):
            await self._round(with_exec=True)
        self._forget()
        cpu_s = self._jails.cpu_s()
        rounds = range(self._plan.n)
        label = f"cold {self._workload.name}"
        for number in self._plan.progress(rounds, label, self._plan.n):
            await self._round(with_exec=number % EXEC_EVERY == 0)
        await self._zygote.settle()
        after_s = self._jails.cpu_s()
        self._jail_cpu_s = [b - a for a, b in zip(cpu_s, after_s, strict=True)]

    def table(self) -> Table:
        return Table(
            title=f"cold {self._workload.name}: {self._workload.what}",
            series=[self._ours, self._init, self._duration, self._floor, self._exec],
            floor=self._floor,
            notes=[self._cpu()],
        )

    def _cpu(self) -> str:
        """What does not depend on who else uses the machine, or hardly."""
        cpu_s = (self._engine_cpu_s, *self._jail_cpu_s)
        engine, launcher, cells, instances = (s * 1e3 / self._plan.n for s in cpu_s)
        return (
            "CPU ms per cold start, with its end and the next cell:"
            f" {engine:.2f} engine, {launcher:.2f} launcher,"
            f" {cells:.2f} warden and cell, {instances:.2f} zygote and instance"
        )

    async def _round(self, *, with_exec: bool) -> None:
        await self._zygote.settle()
        await self._cold_start()
        await self._zygote.settle()
        self._bare_fork()
        if with_exec:
            package = self._jails.unpack(self._workload)
            self._exec.add(exec_python(self._jails.runtime, package, self._workload))

    async def _cold_start(self) -> None:
        header, cpu_s = self._zygote.header(), time.process_time()
        began = time.perf_counter()
        instance = await self._zygote.fork()
        ending = await instance.invoke(
            header, self._workload.payload, timeout_s=TIMEOUT_S
        )
        took = time.perf_counter() - began
        await instance.destroy()
        self._engine_cpu_s += time.process_time() - cpu_s
        if ending.ended is not Ended.ANSWERED or ending.init_s is None:
            raise RuntimeError(f"not an answer: {ending}")
        self._ours.add(took)
        self._init.add(ending.init_s)
        self._duration.add(ending.duration_s)

    def _bare_fork(self) -> None:
        began = time.perf_counter()
        child = self._bare.fork()
        answer = child.ask(self._workload.payload)
        took = time.perf_counter() - began
        child.close()
        if not answer:
            raise RuntimeError("the bare fork did not answer")
        self._floor.add(took)

    def _forget(self) -> None:
        self._engine_cpu_s = 0.0
        for series in (self._ours, self._init, self._duration, self._floor, self._exec):
            series.samples_s.clear()
