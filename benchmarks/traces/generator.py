"""A trace that is made, for where the published one is not at hand: in its marginals.

All figures are from Shahrad et al., "Serverless in the Wild: Characterizing and
Optimizing the Serverless Workload at a Large Cloud Provider", USENIX ATC 2020:

    functions per app      54 % have one, 95 % at most 10                       (fig. 1)
    triggers of functions  HTTP 55 %, timer 15.6, queue 15.2, orchestration 7,
                           event 2.2, others 5                                  (fig. 2)
    volume over a day      half of it does not vary                             (fig. 4)
    invocations of an app  45 % at most one an hour, 81 % at most one a minute; the
                           18.6 % above have 99.6 % of all                      (fig. 5)
    times between          coefficient of variation above 1 for 40 % of apps, near 0
                           for those with timers alone                          (fig. 6)
    average duration       log-normal, of seconds: mean -0.38, sigma 2.36       (fig. 7)
    memory of an app       Burr: c = 11.652, k = 0.221, lambda = 107.083 MB     (fig. 8)
    cold with ten minutes  about half of the invocations, in the third-quartile app

The last one says that what is rare comes in clusters: at random in the published rates,
it would be more than nine tenths. So it is the rarer apps that vary here, in sessions
of invocations that are minutes apart; how long they are, the last line has decided. It
is from memory of the paper's evaluation, and was not looked up as the others were.

What is not there: the very most popular apps. The paper's rates reach over eight orders
of magnitude; ours end where the share of the popular ones is as published.
"""

import math
import random
from array import array
from collections.abc import Iterator
from itertools import pairwise

from benchmarks.traces.azure import DURATION_SHARES, MINUTES, Traced, empty

PER_DAY = ((0.0, 0.07), (0.45, 24.0), (0.814, 1440.0), (1.0, 1.1e6))
"""An app's rank among all, and its invocations a day: logarithmic in between."""

FUNCTIONS_PER_APP = (
    *((0.54, 1, 1), (0.70, 2, 2), (0.80, 3, 3)),
    *((0.88, 4, 5), (0.95, 6, 10), (1.0, 11, 40)),
)
"""So many apps have at most: from, to."""

TRIGGERS = {
    "http": 0.55,
    "timer": 0.156,
    "queue": 0.152,
    "orchestration": 0.07,
    "event": 0.022,
    "others": 0.05,
}

LOG_MEAN_S, LOG_SIGMA = -0.38, 2.36
BURR_C, BURR_K, BURR_LAMBDA_MB = 11.652, 0.221, 107.083
CLUSTERED, CLUSTERED_RANK = 0.75, 0.6
"""So many of the apps below that rank come in sessions: together, those whose times
between invocations vary more than at random."""

SESSION = (5.0, 60.0)
"""Invocations of one, on average: from the app with the fewest to that with the most.
"""

_WITHIN_MIN = 1.5
"""Between two of a session, on average."""

STEADY = 0.5
"""Of the volume, what does not go up and down with the day."""

_MANY_A_MINUTE = 4.0
"""From there on, counts are drawn by the minute, and not arrival by arrival."""

_LONGEST_S, _LARGEST_MB = 600.0, 1_500.0


def make(apps: int, *, days: int = 1, seed: int = 2019) -> list[Traced]:
    """A trace of so many apps; the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    return [
        function
        for number in range(apps)
        # Ranks at equal distances: so the marginals hold for few apps, too.
        for function in _app(chance, number, (number + 0.5) / apps, days)
        if any(function.counts)
    ]


def daily_rate(rank: float) -> float:
    """Invocations a day of the app with so many of all below it."""
    for (low, least), (high, most) in pairwise(PER_DAY):
        if rank <= high:
            return float(least * (most / least) ** ((rank - low) / (high - low)))
    return PER_DAY[-1][1]


def burr_mb(share: float) -> float:
    """The share's quantile of memory."""
    return float(BURR_LAMBDA_MB * ((1 - share) ** (-1 / BURR_K) - 1) ** (1 / BURR_C))


def _app(
    chance: random.Random, number: int, rank: float, days: int
) -> Iterator[Traced]:
    size = _size(chance)
    # Some of an app's functions have nearly all of its invocations.
    weights = [chance.paretovariate(1.0) for _ in range(size)]
    memory_mb = min(_LARGEST_MB, burr_mb(chance.random()))
    session = 1.0
    if rank <= CLUSTERED_RANK and chance.random() < CLUSTERED:
        session = math.exp(chance.uniform(*map(math.log, SESSION)))
    triggers = chance.choices([*TRIGGERS], [*TRIGGERS.values()], k=size)
    rates = [daily_rate(rank) * weight / sum(weights) / MINUTES for weight in weights]
    counts = _counts(chance, triggers, rates, days * MINUTES, session)
    for index in range(size):
        average_s = min(_LONGEST_S, chance.lognormvariate(LOG_MEAN_S, LOG_SIGMA))
        yield Traced(
            owner=f"owner{number:06}",
            app=f"app{number:06}",
            function=f"function{number:06}-{index}",
            trigger=triggers[index],
            counts=counts[index],
            average_ms=round(average_s * 1e3, 3),
            percentiles_ms=_spread(average_s),
            memory_mb=round(memory_mb, 1),
        )


def _size(chance: random.Random) -> int:
    at = chance.random()
    return next(
        chance.randint(low, high) for upto, low, high in FUNCTIONS_PER_APP if at <= upto
    )


def _spread(average_s: float) -> tuple[float, ...]:
    """Percentiles around an average. The paper has none of single functions: a mild
    log-normal one."""
    sigma = 0.5
    quantiles = {0: -3.0, 1: -2.33, 25: -0.674, 50: 0.0, 75: 0.674, 99: 2.33, 100: 3.0}
    median_ms = average_s * 1e3 / math.exp(sigma**2 / 2)
    return tuple(
        round(median_ms * math.exp(sigma * quantiles[share]), 3)
        for share in DURATION_SHARES
    )


def _counts(
    chance: random.Random,
    triggers: list[str],
    rates: list[float],
    minutes: int,
    session: float,
) -> "list[array[int]]":
    """Of an app's functions, which have so many invocations a minute each."""
    counts = [empty(minutes) for _ in triggers]
    phase = chance.random()
    together: dict[int, float] = {}
    for index, (trigger, rate) in enumerate(zip(triggers, rates, strict=True)):
        if trigger == "timer":
            every = max(1.0, round(1 / rate))
            for at in _regularly(chance.random() * every, every, minutes):
                counts[index][at] += 1
        elif rate >= _MANY_A_MINUTE:
            for minute in range(minutes):
                mean = rate * _tide(minute, phase)
                drawn = round(chance.gauss(mean, math.sqrt(mean)))
                counts[index][minute] = max(0, drawn)
        else:
            together[index] = rate
    if together:
        indices, shares = [*together], [*together.values()]
        for at in _in_sessions(chance, sum(shares) * _HIGH, minutes, session):
            # Some that come at low tide do not come: what is left has the mean rate.
            if chance.random() < _tide(at, phase) / _HIGH:
                counts[chance.choices(indices, shares)[0]][at] += 1
    return counts


_HIGH = 2 / (1 + STEADY)
"""The highest tide, where the mean is 1."""


def _tide(minute: int, phase: float) -> float:
    day = 2 * math.pi * (minute / MINUTES + phase)
    return _HIGH * (STEADY + (1 - STEADY) * (0.5 + 0.5 * math.sin(day)))


def _regularly(first: float, every: float, minutes: int) -> Iterator[int]:
    at = first
    while at < minutes:
        yield int(at)
        at += every


def _in_sessions(
    chance: random.Random, per_minute: float, minutes: int, session: float
) -> Iterator[int]:
    """Sessions that begin at random, of so many on average; of 1, all is at random."""
    between = session / per_minute
    # Begun somewhere within the first time, or all would be late.
    begun = -chance.random() * between
    while (begun := begun + chance.expovariate(1 / between)) < minutes:
        at = begun
        while at < minutes:
            if at >= 0:
                yield int(at)
            if chance.random() < 1 / session:
                break
            at += chance.expovariate(1 / _WITHIN_MIN)


def popular_share(functions: list[Traced], most: int) -> float:
    """Of all invocations, those of the `most` popular apps."""
    totals: dict[str, int] = {}
    for each in functions:
        totals[each.app] = totals.get(each.app, 0) + each.invocations
    ordered = sorted(totals.values(), reverse=True)
    return sum(ordered[:most]) / max(1, sum(ordered))
