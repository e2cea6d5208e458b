"""Where the time of a cold start and of a warm event goes, step by step.

The zygotes run a copy of the guest that writes down when each step was done; engine and
guest read the same monotonic clock. Looking costs something: the sums here are for
finding the dear steps, the other scenarios for what it takes.
"""

import asyncio
import time

from benchmarks.guest_marks import BOOTSTRAP, WRITING_S, Mark, marks_in, steps_of
from benchmarks.jails import TIMEOUT_S, ReadyZygote, open_jails
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Series, Table
from benchmarks.workloads import Workload

WHAT = "the steps of a cold start and of a warm event, as a guest that looks sees them"


async def run(plan: Plan) -> Results:
    async with open_jails(plan.runtime, bootstrap=BOOTSTRAP) as jails:
        results = Results.of(jails, name="profile", what=WHAT)
        for workload in plan.present():
            cold, warm = _Steps(), _Steps()
            async with jails.zygote(workload) as zygote:
                label = f"profile {workload.name}"
                for _ in plan.progress(range(plan.n), label, plan.n):
                    await _look_at_one(workload, zygote, cold, warm)
            results.tables.append(cold.table(f"cold {workload.name}, by step"))
            results.tables.append(warm.table(f"warm {workload.name}, by step"))
        return results


async def _look_at_one(
    workload: Workload, zygote: ReadyZygote, cold: "_Steps", warm: "_Steps"
) -> None:
    await zygote.settle()
    began, printed = [time.monotonic_ns()], []
    instance = await zygote.fork()
    cold.note_sent.add((time.monotonic_ns() - began[0]) / 1e9)
    answered = []
    # The marks of an event come with its answer or with the next.
    for _ in ("cold", "warm", "for the marks of the one before"):
        ending = await instance.invoke(
            zygote.header(), workload.payload, timeout_s=TIMEOUT_S
        )
        answered.append(time.monotonic_ns())
        printed += marks_in(ending)
        await asyncio.sleep(WRITING_S)
        began.append(time.monotonic_ns())
    await instance.destroy()
    cold.add(began[0], printed[0], answered[0])
    warm.add(began[1], printed[1], answered[1])


class _Steps:
    """One series for each step, in the order of their first appearance."""

    def __init__(self) -> None:
        self.whole = Series(label="whole")
        self.note_sent = Series(label="(engine: fork() returned)")
        self._series: dict[str, Series] = {}

    def add(self, began: int, marks: list[Mark], answered: int) -> None:
        self.whole.add((answered - began) / 1e9)
        for name, seconds, faults in steps_of(began, marks, answered):
            series = self._series.setdefault(name, Series(label=name))
            series.add(seconds)
            series.page_faults += faults

    def table(self, title: str) -> Table:
        notes = []
        if self.note_sent.samples_s:
            notes.append(
                f"the engine's fork() had returned after {self.note_sent.ms(50):.3f} ms"
                " (p50), while the zygote was at work already"
            )
        return Table(
            title=title, series=[*self._series.values(), self.whole], notes=notes
        )
