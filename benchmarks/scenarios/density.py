"""What an idle instance costs: memory, and the engine's memory and CPU while it waits.

Instances are had by a crowd of invocations and then left alone. Their memory is what
the machine has less of available afterwards; what their processes have of it (PSS, with
those that hold their cells) is the second witness. Both are after one invocation.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.engines import Engine, running_engine
from benchmarks.plots import Curve, Plot
from benchmarks.scenarios import crowds
from benchmarks.scenarios.burst import UNHELD
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Line, Sheet

STEPS, QUICK_STEPS = (250, 1_000, 2_500), (10, 20)
WITHIN_S, QUICK_WITHIN_S = 40.0, 1.0

SETTLE_S, QUICK_SETTLE_S = 10.0, 0.5
"""Until most have given back what they have as their zygote has it, and the kernel what
it freed; the rest does while they are watched."""

WATCH_S, QUICK_WATCH_S = 20.0, 0.5
"""How long the engine is watched while nothing is asked of it."""

FOR_PSS = 600
"""Processes whose PSS is read, which takes a while: of more, each n-th."""

ENOUGH = 1_000
"""Instances for a verdict: with fewer, what else the machine does is most of it."""

MUST_PER_GIB, AIM_PER_GIB = 850, 1_400
_KB_PER_GIB = 1 << 20

WHAT = "memory and CPU of instances that wait for their next event, frozen"


async def run(plan: Plan) -> Results:
    options = ("--idle", "3600", *UNHELD)
    async with running_engine(plan.runtime, *options) as engine:
        results = Results.of(engine, name="density", what=WHAT)
        key = await engine.tenant("crowd")
        await engine.deploy(key, crowds.SOURCE, crowds.FUNCTION)
        # Whatever is made once is made before the first look.
        await crowds.gather(engine, key, 4, within_s=QUICK_WITHIN_S)
        looks = [await _look(engine, plan, live=4)]
        within_s = QUICK_WITHIN_S if plan.is_quick else WITHIN_S
        for count in QUICK_STEPS if plan.is_quick else STEPS:
            plan.console.print(f"density: {count:,} instances")
            crowd = await crowds.gather(engine, key, count, within_s=within_s)
            if crowd.instances < count:
                results.not_run.append(
                    f"{count:,} instances: {crowd.instances:,} came; {crowd.told()}"
                )
                break
            looks.append(await _look(engine, plan, live=count))
        lines = _lines(looks, results.isolation)
    results.sheets.append(Sheet(title="density small, per idle instance", lines=lines))
    results.plots.append(_plot(looks))
    return results


@dataclass(frozen=True, slots=True)
class _Look:
    """The machine and the engine, with so many instances idle."""

    live: int
    available_kb: int
    pss_kb: float
    """Of all processes below the supervisor."""

    rss_kb: int
    """Of the engine."""

    cpu: float
    """The engine's, in seconds per second."""


async def _look(engine: Engine, plan: Plan, *, live: int) -> _Look:
    await asyncio.sleep(QUICK_SETTLE_S if plan.is_quick else SETTLE_S)
    watch_s = QUICK_WATCH_S if plan.is_quick else WATCH_S
    before = engine.usage()
    await asyncio.sleep(watch_s)
    after = engine.usage()
    available_kb = psutil.virtual_memory().available >> 10
    cpu = (after.cpu_s - before.cpu_s) / watch_s
    return _Look(live, available_kb, _pss_kb(engine), after.rss_kb, cpu)


def _lines(looks: list[_Look], isolation: str) -> list[Line]:
    first, last = looks[0], looks[-1]
    more = max(1, last.live - first.live)
    each_kb = (first.available_kb - last.available_kb) / more
    lines = [
        Line(
            what=f"instances per GiB, at {last.live:,}",
            value=round(_KB_PER_GIB / each_kb) if each_kb > 0 else 0,
            unit="",
            must=MUST_PER_GIB if last.live >= ENOUGH else None,
            aim=AIM_PER_GIB if last.live >= ENOUGH else None,
            is_more_better=True,
            isolation=isolation,
            note="by what the machine has less of available",
        ),
        Line(
            what="memory of an idle instance",
            value=round(each_kb),
            unit="KB",
            isolation=isolation,
        ),
        Line(
            what="the same, as the PSS of its processes",
            value=(last.pss_kb - first.pss_kb) / more,
            unit="KB",
            isolation=isolation,
        ),
        Line(
            what="engine memory per idle instance",
            value=(last.rss_kb - first.rss_kb) / more,
            unit="KB",
            isolation=isolation,
        ),
    ]
    return lines + [
        Line(
            what=f"engine CPU with {look.live:,} idle",
            value=100 * look.cpu,
            unit="% of a core",
            isolation=isolation,
            note=f"{look.rss_kb >> 10:,} MB",
        )
        for look in looks
    ]


def _pss_kb(engine: Engine) -> float:
    pids = engine.pids_below()
    asked = pids[:: -(-len(pids) // FOR_PSS)]
    return sum(map(_pss_kb_of, asked)) * len(pids) / max(1, len(asked))


def _pss_kb_of(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8")
    except OSError:
        return 0  # it has ended, or is hidden from an ordinary user
    return int(text.partition("\nPss:")[2].split(maxsplit=1)[0])


def _plot(looks: list[_Look]) -> Plot:
    first = looks[0]
    used = [
        (float(look.live), (first.available_kb - look.available_kb) / 1024)
        for look in looks
    ]
    rss = [(float(look.live), (look.rss_kb - first.rss_kb) / 1024) for look in looks]
    return Plot(
        title="memory against idle instances",
        x="idle instances",
        y="MB more than at the beginning",
        curves=[
            Curve(name="the machine", points=used, has_dots=True),
            Curve(name="of it the engine", points=rss, has_dots=True),
        ],
    )
