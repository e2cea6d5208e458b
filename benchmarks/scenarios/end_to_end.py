"""What `http` and `grpc` have in common: latency of one caller, rate of many."""

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from benchmarks import plots
from benchmarks.openloop import Load, closed
from benchmarks.scenarios.plan import Plan, Results
from benchmarks.stats import Line, Series, Sheet, Table

WARM_UP = 50
CALLERS = 16
"""At once, for the rate: more do not make two cores faster."""

ROUNDS, QUICK_ROUNDS = 10, 1
ROUND_S, QUICK_ROUND_S = 1.0, 0.25
"""All take turns of so long, so that what else the machine does falls on all."""

Call = Callable[[int], Awaitable[object]]


@dataclass(slots=True)
class Contender:
    """One of those that are set side by side."""

    name: str
    isolation: str
    call: Call
    latency: Series = field(init=False)
    rate: Load = field(default_factory=Load)

    def __post_init__(self) -> None:
        self.latency = Series(label=self.name, isolation=self.isolation)

    @property
    def per_s(self) -> float:
        return len(self.rate.answered_s) / max(self.rate.took_s, 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Of the bare echo's rate, what ours has to be."""

    must: float
    aim: float


async def measure(
    plan: Plan,
    results: Results,
    contenders: list[Contender],
    *,
    share: Share,
    title: str,
) -> None:
    """Ours is the first, the bare echo the second. Adds a table, a sheet, a plot."""
    for each in contenders:
        await _ask(each, WARM_UP, Series(label=""))
    for _ in plan.progress(range(plan.n), title, plan.n):
        for each in contenders:
            await _ask(each, 1, each.latency)
    rounds = range(QUICK_ROUNDS if plan.is_quick else ROUNDS)
    round_s = QUICK_ROUND_S if plan.is_quick else ROUND_S
    for _ in plan.progress(rounds, f"{title}: rate", len(rounds)):
        for each in contenders:
            _add(each.rate, await closed(CALLERS, round_s, each.call))
    ours, echo = contenders[:2]
    results.tables.append(
        Table(
            title=f"{title}: one caller, one connection",
            series=[each.latency for each in contenders],
            floor=echo.latency,
            floor_name="the echo",
        )
    )
    results.sheets.append(_rates(ours, echo, contenders, share, title))
    results.plots.append(
        plots.distribution(f"{title}, one caller", [e.latency for e in contenders])
    )


def _rates(
    ours: Contender,
    echo: Contender,
    contenders: Iterable[Contender],
    share: Share,
    title: str,
) -> Sheet:
    whole = Line(
        what="sandlot's share of the bare echo",
        value=100 * ours.per_s / max(echo.per_s, 1e-9),
        unit="%",
        must=share.must,
        aim=share.aim,
        is_more_better=True,
        isolation=ours.isolation,
    )
    lines = [
        Line(
            what=each.name,
            value=round(each.per_s),
            unit="answers per second",
            isolation=each.isolation,
            note=each.rate.account() if each.rate.failed or each.rate.throttled else "",
        )
        for each in contenders
    ]
    return Sheet(
        title=f"{title}: {CALLERS} callers, as fast as they are answered",
        lines=[*lines, whole],
        notes=["callers, servers and functions share this machine's cores"],
    )


async def _ask(each: Contender, times: int, series: Series) -> None:
    for _ in range(times):
        load = await closed_once(each.call)
        series.add(load)


async def closed_once(call: Call) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    await call(0)
    return time.perf_counter() - began


def _add(whole: Load, part: Load) -> None:
    whole.arrivals += part.arrivals
    whole.answered_s += part.answered_s
    whole.throttled += part.throttled
    whole.failed += part.failed
    whole.took_s += part.took_s
