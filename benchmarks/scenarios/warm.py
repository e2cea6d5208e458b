"""The second and later events of an instance, beside a bare child's and an echo.

Several instances after one another. The answers of a bare child, forked without a jail,
come in turns with ours, and so do those of a process that only sends back what it gets:
less than that no answer over a socket can take.
"""

import time
from contextlib import closing

from benchmarks import plots
from benchmarks.jails import TIMEOUT_S, Jails, ReadyZygote, open_jails
from benchmarks.peers import (
    BareChild,
    BareForkServer,
    bare_fork_server,
    exec_python,
    socket_echo,
)
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Series, Table
from benchmarks.workloads import Workload
from sandlot_sandbox.host.instance import Instance
from sandlot_sandbox.outcome import Ended

PER_INSTANCE = 100
"""Events on one instance before the next one is taken: no instance is like another."""

EXEC_PER_INSTANCE = 5

WARM_UP = 10
"""Events on each instance that are not counted, the cold one among them."""

WHAT = (
    "an event on an idle instance: from the engine's assignment to the answer's arrival"
)


async def run(plan: Plan) -> Results:
    async with open_jails(plan.runtime) as jails:
        results = Results.of(jails, name="warm", what=WHAT)
        for workload in plan.present():
            package = jails.unpack(workload)
            with (
                bare_fork_server(jails.runtime, package, workload) as bare,
                socket_echo() as echo,
            ):
                async with jails.zygote(workload) as zygote:
                    one = _Workload(
                        jails,
                        workload,
                        zygote=zygote,
                        bare=bare,
                        echo=echo,
                        isolation=results.isolation,
                    )
                    await one.measure(plan)
            table = one.table()
            results.tables.append(table)
            results.plots.append(plots.distribution(table.title, table.series))
        return results


class _Workload:
    def __init__(
        self,
        jails: Jails,
        workload: Workload,
        *,
        zygote: ReadyZygote,
        bare: BareForkServer,
        echo: BareChild,
        isolation: str,
    ) -> None:
        self._jails = jails
        self._workload = workload
        self._zygote = zygote
        self._bare = bare
        self._echo = echo
        self._ours = workload.warm.series("sandlot", isolation=isolation)
        self._floor = Series(label="bare fork's child, no jail", isolation="none")
        self._echoed = Series(label="socket echo", isolation="none")
        self._exec = Series(label="python -c, new each time", isolation="none")

    async def measure(self, plan: Plan) -> None:
        left = range(0, plan.n, PER_INSTANCE)
        label = f"warm {self._workload.name}"
        for done in plan.progress(left, label, len(left)):
            await self._with_an_instance(min(PER_INSTANCE, plan.n - done))
            for _ in range(EXEC_PER_INSTANCE):
                self._new_interpreter()

    def table(self) -> Table:
        return Table(
            title=f"warm {self._workload.name}: {self._workload.what}",
            series=[self._ours, self._floor, self._echoed, self._exec],
            floor=self._floor,
        )

    async def _with_an_instance(self, events: int) -> None:
        await self._zygote.settle()
        instance = await self._zygote.fork()
        with closing(self._bare.fork()) as child:
            for _ in range(WARM_UP):
                await self._invoke(instance)
                self._ask(child)
            await self._zygote.settle()
            for _ in range(events):
                self._ours.add(await self._invoke(instance))
                self._floor.add(self._ask(child))
                self._echoed.add(self._ask(self._echo))
        await instance.destroy()

    async def _invoke(self, instance: Instance) -> float:
        header = self._zygote.header()
        began = time.perf_counter()
        ending = await instance.invoke(
            header, self._workload.payload, timeout_s=TIMEOUT_S
        )
        took = time.perf_counter() - began
        if ending.ended is not Ended.ANSWERED:
            raise RuntimeError(f"not an answer: {ending}")
        return took

    def _ask(self, child: BareChild) -> float:
        began = time.perf_counter()
        answer = child.ask(self._workload.payload)
        took = time.perf_counter() - began
        if not answer:
            raise RuntimeError("the bare child did not answer")
        return took

    def _new_interpreter(self) -> None:
        package = self._jails.unpack(self._workload)
        self._exec.add(exec_python(self._jails.runtime, package, self._workload))
