"""An instance, from the fork note to its readiness: in a jail, and without one.

Both have the same engine's side, the same zygote's code and the same image; one enters
a cell after its fork, the other does not. A round is bare, jailed, bare: so a machine
that becomes slower falls on both alike, and the two bare ones say how far samples of
the same thing lie apart. None of these looks at itself, so there is nothing to take
off. The steps come from zygotes of their own, which look.
"""

import asyncio
from contextlib import AsyncExitStack

from benchmarks.bare_launcher import bare_zygote
from benchmarks.guest_marks import WRITING_S, between, marks_in
from benchmarks.jails import TIMEOUT_S, Jails, ReadyZygote
from benchmarks.scenarios.plan import Plan
from benchmarks.stats import Series, Table, differences, median_between_ms
from benchmarks.steps import Chain
from benchmarks.workloads import Workload

TARGET_MS = 0.3

WARM_UP = 5
"""Rounds that are not counted."""

_FIRST, _LAST = "zygote: fork note received", "init: ready sent"


async def measure(
    plan: Plan, workload: Workload, plain: Jails, looking: Jails
) -> list[Table]:
    """Three tables: side by side, the jail's steps, the same without a jail."""
    async with AsyncExitStack() as stack:
        one = _Whole(
            jailed=await stack.enter_async_context(plain.zygote(workload)),
            bare=await stack.enter_async_context(bare_zygote(plain, workload)),
        )
        jailed = _Looker(
            workload, await stack.enter_async_context(looking.zygote(workload))
        )
        bare = _Looker(
            workload,
            await stack.enter_async_context(
                bare_zygote(looking, workload, is_profiled=True)
            ),
        )
        for _ in range(WARM_UP):
            await one.round()
            await jailed.look()
            await bare.look()
        for part in (one, jailed, bare):
            part.forget()
        label = f"jail {workload.name}"
        for _ in plan.progress(range(plan.n), label, plan.n):
            await one.round()
            await jailed.look()
            await bare.look()
    groups = next(layer.detail for layer in plain.layers if layer.name == "cgroup")
    name = f"instance {workload.name}"
    return [
        one.table(f"{name}: from the fork note to readiness", groups),
        jailed.table(f"{name}: the steps, jailed", one.jailed),
        bare.table(f"{name}: the same steps, no jail", one.before),
    ]


class _Whole:
    """The chain from its one end to its other, with nobody looking."""

    def __init__(self, *, jailed: ReadyZygote, bare: ReadyZygote) -> None:
        self._jailed_zygote = jailed
        self._bare_zygote = bare
        self.forget()

    def forget(self) -> None:
        self.jailed = Series(label="jailed")
        self.before = Series(label="bare fork, no jail")
        self._after = Series(label="bare fork, once more")

    async def round(self) -> None:
        for zygote, series in (
            (self._bare_zygote, self.before),
            (self._jailed_zygote, self.jailed),
            (self._bare_zygote, self._after),
        ):
            instance, took = await zygote.fork_until_ready()
            series.add(took)
            await instance.destroy()
            # At once, so that no cell is made while another is timed.
            await zygote.settle()

    def table(self, title: str, groups: str) -> Table:
        around = zip(self.before.samples_s, self._after.samples_s, strict=True)
        bare = Series(label="", samples_s=[(a + b) / 2 for a, b in around])
        adds = differences("the jail adds", self.jailed, bare, target_ms=TARGET_MS)
        noise = differences("bare less bare", self._after, self.before)
        return Table(
            title=title,
            series=[self.jailed, self.before, self._after, adds, noise],
            floor=self.before,
            notes=[self._confidence(adds, noise), f"control groups: {groups}"],
        )

    def _confidence(self, adds: Series, noise: Series) -> str:
        low, high = median_between_ms(adds)
        least, most = median_between_ms(noise)
        p50, p90 = (
            self.jailed.ms(at) - (self.before.ms(at) + self._after.ms(at)) / 2
            for at in (50, 90)
        )
        return (
            "the jail adds: each jailed start less the mean of the bare ones around it;"
            f" its p50 is between {low:.3f} and {high:.3f} ms with 95 % certainty;"
            f" p50 less p50 is {p50:.3f}, p90 less p90 {p90:.3f} ms. Bare less bare has"
            f" its p50 between {least:.3f} and {most:.3f} ms: the nearer to 0, the more"
            " the rest is worth"
        )


class _Looker:
    """The chain's steps, of a zygote whose clones look."""

    def __init__(self, workload: Workload, zygote: ReadyZygote) -> None:
        self._workload = workload
        self._zygote = zygote
        self.forget()

    def forget(self) -> None:
        self._chain = Chain()
        self._whole = Series(label="with looking")

    def table(self, title: str, unseen: Series) -> Table:
        looking = self._whole.ms(50) - unseen.ms(50)
        return self._chain.table(
            title,
            f"seen from the engine, looking makes the whole {looking:.3f} ms longer"
            " (p50): what looks also writes to pages, and that is not taken off",
        )

    async def look(self) -> None:
        instance, took = await self._zygote.fork_until_ready()
        self._whole.add(took)
        printed = []
        # The marks come with the next event.
        for _ in range(2):
            ending = await instance.invoke(
                self._zygote.header(), self._workload.payload, timeout_s=TIMEOUT_S
            )
            printed += marks_in(ending)
            await asyncio.sleep(WRITING_S)
        await instance.destroy()
        await self._zygote.settle()
        self._chain.add(*between(printed[0], _FIRST, _LAST))
