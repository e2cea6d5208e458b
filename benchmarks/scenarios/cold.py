"""A first event on an instance that is forked for it, beside other ways to start one.

From the assignment (the engine knows which zygote, a cell waits) to the arrival of the
answer. As in the engine, the cell that it takes is replaced a moment after the start.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import plots
from benchmarks.cache import NOT_RUN
from benchmarks.jails import TIMEOUT_S, Jails, ReadyZygote, open_jails
from benchmarks.peers import BareForkServer, bare_fork_server, exec_python
from benchmarks.peers.commands import SandboxedCommand, sandboxed_commands
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Series, Table
from benchmarks.workloads import Workload
from sandlot_sandbox.outcome import Ended

EXEC_EVERY = 10
"""A new interpreter takes so long that it gets one sample for so many of ours."""

SANDBOX_EVERY = 20
"""And one in somebody else's sandbox even longer."""

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
            with ExitStack() as stack:
                enter = stack.enter_context
                sandboxes, missing = enter(
                    sandboxed_commands(jails.runtime, package, workload)
                )
                forks = [
                    enter(
                        bare_fork_server(
                            jails.runtime, package, workload, with_namespaces=namespaces
                        )
                    )
                    for namespaces in (False, True)
                ]
                async with jails.zygote(workload) as zygote:
                    one = _Workload(
                        plan,
                        jails,
                        workload,
                        zygote=zygote,
                        forks=forks,
                        sandboxes=sandboxes,
                        isolation=results.isolation,
                    )
                    await one.measure()
            table = one.table()
            results.tables.append(table)
            results.plots.append(plots.distribution(table.title, one.plotted()))
            results.not_run += [each for each in missing if each not in results.not_run]
        results.not_run += NOT_RUN
        return results


class _Workload:
    def __init__(
        self,
        plan: Plan,
        jails: Jails,
        workload: Workload,
        *,
        zygote: ReadyZygote,
        forks: Sequence[BareForkServer],
        sandboxes: list[SandboxedCommand],
        isolation: str,
    ) -> None:
        self._plan = plan
        self._jails = jails
        self._workload = workload
        self._zygote = zygote
        self._forks = forks
        self._sandboxes = sandboxes
        self._ours = workload.cold.series("sandlot", isolation=isolation)
        self._init = Series(label="  fork to ready", isolation=isolation)
        self._duration = Series(label="  ready to answer", isolation=isolation)
        self._floors = [
            Series(label="bare fork, no jail", isolation="none"),
            Series(label="clone3 into namespaces", isolation="namespaces alone"),
        ]
        self._exec = Series(label="python -c", isolation="none")
        self._others = [
            Series(label=each.name, isolation=each.isolation) for each in sandboxes
        ]
        self._jail_cpu_s: list[float] = []
        self._engine_cpu_s = 0.0

    async def measure(self) -> None:
        for _ in range(WARM_UP):
            await self._round(with_exec=True, with_sandboxes=False)
        self._forget()
        cpu_s = self._jails.cpu_s()
        rounds = range(self._plan.n)
        label = f"cold {self._workload.name}"
        for number in self._plan.progress(rounds, label, self._plan.n):
            await self._round(
                with_exec=number % EXEC_EVERY == 0,
                with_sandboxes=number % SANDBOX_EVERY == 0,
            )
        await self._zygote.settle()
        after_s = self._jails.cpu_s()
        self._jail_cpu_s = [b - a for a, b in zip(cpu_s, after_s, strict=True)]

    def table(self) -> Table:
        return Table(
            title=f"cold {self._workload.name}: {self._workload.what}",
            series=self._all(),
            floor=self._floors[0],
            notes=[self._cpu()],
        )

    def plotted(self) -> list[Series]:
        """Without the parts of others."""
        return [each for each in self._all() if not each.label.startswith(" ")]

    def _all(self) -> list[Series]:
        ours = [self._ours, self._init, self._duration]
        return [*ours, *self._floors, self._exec, *self._others]

    def _cpu(self) -> str:
        """What does not depend on who else uses the machine, or hardly."""
        cpu_s = (self._engine_cpu_s, *self._jail_cpu_s)
        engine, launcher, cells, instances = (s * 1e3 / self._plan.n for s in cpu_s)
        return (
            "CPU ms per cold start, with its end and the next cell:"
            f" {engine:.2f} engine, {launcher:.2f} launcher,"
            f" {cells:.2f} warden and cell, {instances:.2f} zygote and instance"
        )

    async def _round(self, *, with_exec: bool, with_sandboxes: bool) -> None:
        await self._zygote.settle()
        await self._cold_start()
        await self._zygote.settle()
        for fork, series in zip(self._forks, self._floors, strict=True):
            self._bare_fork(fork, series)
        if with_exec:
            package = self._jails.unpack(self._workload)
            self._exec.add(exec_python(self._jails.runtime, package, self._workload))
        if with_sandboxes:
            for sandbox, series in zip(self._sandboxes, self._others, strict=True):
                series.add(sandbox.start(self._workload))

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

    def _bare_fork(self, server: BareForkServer, series: Series) -> None:
        began = time.perf_counter()
        child = server.fork()
        answer = child.ask(self._workload.payload)
        took = time.perf_counter() - began
        child.close()
        if not answer:
            raise RuntimeError("the bare fork did not answer")
        series.add(took)

    def _forget(self) -> None:
        self._engine_cpu_s = 0.0
        for series in self._all():
            series.samples_s.clear()
