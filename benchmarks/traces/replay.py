"""Arrivals for a real engine out of a trace: an hour of it in a minute, say.

Time is compressed, not thinned, until there would be more at once than one machine can
offer; then the most popular functions are thinned, as they are warm in any case. Times
between invocations and durations shrink by the same factor, so what is short in
comparison with a keep-alive time stays so, if that shrinks as well.
"""

import random
from dataclasses import dataclass

from benchmarks.traces.azure import Traced

Arrival = tuple[float, int, float]
"""Seconds from the beginning, a function's index, seconds that its handler takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How a trace is made to fit."""

    functions: int
    """So many of them, of all popularities."""

    first_minute: int
    minutes: int
    """Of the trace, from there."""

    seconds: float
    """In which they are replayed."""

    most_per_s: float
    longest_s: float
    """Of a handler, in the replay."""

    @property
    def speed(self) -> float:
        """Seconds of the trace in one of the replay."""
        return self.minutes * 60 / self.seconds


def chosen(functions: list[Traced], scale: Scale) -> list[Traced]:
    """Of those that are invoked in that time, at equal distances by popularity."""
    part = slice(scale.first_minute, scale.first_minute + scale.minutes)
    alive = [each for each in functions if any(each.counts[part])]
    alive.sort(key=lambda each: sum(each.counts[part]))
    if len(alive) <= scale.functions:
        return alive
    step = (len(alive) - 1) / max(1, scale.functions - 1)
    return [alive[round(number * step)] for number in range(scale.functions)]


def arrivals(functions: list[Traced], scale: Scale, *, seed: int) -> list[Arrival]:
    """Sorted. Within a minute of the trace they come at random."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    shares = _kept_shares(functions, scale)
    found = [
        (
            ((minute + chance.random()) * 60 / scale.speed),
            index,
            min(scale.longest_s, each.average_ms / 1e3 / scale.speed),
        )
        for index, each in enumerate(functions)
        for minute in range(scale.minutes)
        for _ in range(each.counts[scale.first_minute + minute])
        if shares[index] >= 1 or chance.random() < shares[index]
    ]
    return sorted(found)


def _kept_shares(functions: list[Traced], scale: Scale) -> list[float]:
    """Of each function's invocations, so that all are no more than can be offered."""
    part = slice(scale.first_minute, scale.first_minute + scale.minutes)
    totals = [sum(each.counts[part]) for each in functions]
    room = scale.most_per_s * scale.seconds
    limit = _level(totals, room)
    return [min(1.0, limit / total) if total else 1.0 for total in totals]


def _level(totals: list[int], room: float) -> float:
    """The most that one may have, if all together have `room`: water finds it."""
    left, rest = room, len(totals)
    for total in sorted(totals):
        if total * rest >= left:
            return left / rest
        left -= total
        rest -= 1
    return float(max(totals, default=0))
