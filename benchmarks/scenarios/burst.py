"""From no instance to 1,000 and to 3,000 that answer, all asked for at the same moment.

Through the whole engine: gRPC, admission, scheduler, forks into cells. Each engine is
new, its function deployed and its zygote ready, and not one instance there. Every
handler stays until all are in theirs, so that no instance is counted twice.

Then the same once more, when all of those instances have gone: for a crowd that was
there before the engine has cells ready, as many as it has room for.
"""

import asyncio

from benchmarks.engines import Engine, room_for_instances, running_engine
from benchmarks.plots import Curve, Plot, Point, thinned
from benchmarks.scenarios import crowds
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Line, Sheet
from sandlot.results import NewKey

WANTED = {1_000: (1.5, 0.6), 3_000: (6.0, 2.5)}
"""Seconds: what must be, and what is aimed at."""

QUICK = 40
WITHIN_S = {QUICK: 2.0, 1_000: 12.0, 3_000: 40.0}
"""How long handlers stay: on a busy machine, too, all have come by then."""

FORGETFUL = ("--idle", "1", "--standbys", "0")
"""So that the instances of the first have gone soon, and all of them."""

SETTLED_S, QUICK_SETTLED_S = 12.0, 2.0
"""When there was not one cell more for so long, all are there: after many instances it
takes ten seconds until it is looked again whether there is room."""

CELLS_S = 240.0
"""How long that may take."""

UNHELD = ("--scaling", "1000000")
"""AWS lets a function have 1,000 instances more in ten seconds, as we do; here it is
starting them that is measured."""

WHAT = "the time from the first request until so many handlers were entered at once"


async def run(plan: Plan) -> Results:
    results: Results | None = None
    for count in (QUICK,) if plan.is_quick else WANTED:
        async with running_engine(plan.runtime, *UNHELD, *FORGETFUL) as engine:
            if results is None:
                results = Results.of(engine, name="burst", what=WHAT)
            key = await engine.tenant("crowd")
            await engine.deploy(key, crowds.SOURCE, crowds.FUNCTION)
            plan.console.print(f"burst: 0 to {count:,}")
            first, spent_s = await _gather(engine, key, count)
            results.sheets.append(_sheet(first, "", spent_s, results.isolation))
            began_s = engine.cpu_s()
            settled_s = QUICK_SETTLED_S if plan.is_quick else SETTLED_S
            ready = await _wait_cells(engine, settled_s)
            meanwhile_s = engine.cpu_s() - began_s
            plan.console.print(f"burst: 0 to {count:,}, once more")
            second, spent_s = await _gather(engine, key, count)
            sheet = _sheet(second, ", once more", spent_s, results.isolation)
            sheet.notes.append(
                f"{ready:,} cells were ready. With the end of the instances before"
                f" they took {meanwhile_s:.1f} s of a processor, which are not in it"
            )
            results.sheets.append(sheet)
        results.plots.append(_plot(first, second))
    assert results is not None  # noqa: S101 - there is at least one count
    if (room := room_for_instances()) < max(WANTED):
        results.not_run.append(
            f"more than {room:,} instances at once: this machine lets the engine open"
            " no more files than these need"
        )
    return results


async def _gather(
    engine: Engine, key: NewKey, count: int
) -> tuple[crowds.Crowd, float]:
    """What came, and the processor time of the engine and all below."""
    before_s = engine.cpu_s()
    crowd = await crowds.gather(engine, key, count, within_s=WITHIN_S[count])
    return crowd, engine.cpu_s() - before_s


async def _wait_cells(engine: Engine, settled_s: float) -> int:
    """Until the instances have gone, and as many cells are ready as will be."""
    ready, is_growing = 0, True
    async with asyncio.timeout(CELLS_S):
        while is_growing:
            await asyncio.sleep(settled_s)
            before, ready = ready, int(await engine.reading("cells_ready"))
            is_growing = ready > before or await engine.reading("instances") > 0
    return ready


def _sheet(crowd: crowds.Crowd, which: str, cpu_s: float, isolation: str) -> Sheet:
    must, aim = WANTED.get(crowd.wanted, (None, None))
    entered = len(crowd.entered_s)
    asked_again = f"{crowd.throttled:,} times throttled and asked again"
    notes = [f"{crowd.instances:,} different instances; {asked_again}"]
    if crowd.instances < crowd.wanted:
        notes.append(f"NOT REACHED: {crowd.wanted:,} were wanted; {crowd.told()}")
        must = aim = None
    lines = [
        Line(
            what=f"0 to {crowd.wanted:,} answering",
            value=crowd.reached_s,
            unit="s",
            must=must,
            aim=aim,
            isolation=isolation,
        ),
        Line(
            what="half of them",
            value=crowd.entered_s[entered // 2] if entered else 0.0,
            unit="s",
            isolation=isolation,
        ),
        Line(
            what="starts per second, from the first to the last",
            value=round(entered / max(crowd.reached_s, 1e-9)),
            unit="per second",
            isolation=isolation,
        ),
        Line(
            what="CPU per instance, of engine, launcher and jails",
            value=cpu_s * 1e3 / max(1, entered),
            unit="ms",
            isolation=isolation,
        ),
    ]
    title = f"burst: 0 to {crowd.wanted:,}{which}"
    return Sheet(title=title, lines=lines, notes=notes)


def _plot(first: crowds.Crowd, second: crowds.Crowd) -> Plot:
    must, aim = WANTED.get(first.wanted, (None, None))
    marks = [
        (limit, f"{name} {limit:g} s")
        for name, limit in (("must", must), ("aim", aim))
        if limit is not None
    ]
    return Plot(
        title=f"instances that answer, 0 to {first.wanted:,}",
        x="seconds since the first request",
        y="instances in their handlers",
        curves=[
            Curve(name="sandlot", points=_points(first)),
            Curve(name="sandlot, once more", points=_points(second)),
        ],
        marks=marks,
    )


def _points(crowd: crowds.Crowd) -> list[Point]:
    return thinned([(at, float(n + 1)) for n, at in enumerate(crowd.entered_s)])
