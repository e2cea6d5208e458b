"""Load that does not wait for its answers: arrivals are fixed before the first is sent.

A caller who waits for an answer before sending the next event leaves out just those
events that would have met a slow engine ("coordinated omission"). Here each arrival has
its time, whatever became of those before it, and its latency counts from that time, not
from when the sender came to send it.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.stats import Series

MAX_OPEN = 8_000
"""Invocations that may be on their way. Whatever arrives beyond that is not sent, but
counted: a machine that does not keep up must not fill its memory with them."""

MAX_TOLD, MAX_KINDS = 120, 5
"""Characters of a failure, and different ones of them, that are told."""

LATE_S = 0.05
"""A sender that is later than this is too slow itself: its numbers say so."""


@dataclass(slots=True)
class Load:
    """What became of the arrivals."""

    arrivals: int = 0
    answered_by: dict[int, float] = field(default_factory=dict)
    """By the arrival's number, for open loops: from the scheduled time to the answer.
    """

    answered_s: list[float] = field(default_factory=list)
    """The same, in the order of the answers."""

    late_s: list[float] = field(default_factory=list)
    """From the scheduled time to the sending."""

    throttled: int = 0
    failed: int = 0
    unsent: int = 0
    took_s: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)

    def series(self, label: str, *, isolation: str = "") -> Series:
        return Series(label=label, samples_s=self.answered_s, isolation=isolation)

    def account(self) -> str:
        """One line on what was and was not answered, and how late the sender was."""
        sent_late = sum(late > LATE_S for late in self.late_s)
        parts = [
            f"{self.arrivals:,} arrivals",
            f"{len(self.answered_s):,} answered",
            f"{self.throttled:,} throttled",
            f"{self.failed:,} failed",
            f"{self.unsent:,} not sent: too late, or {MAX_OPEN:,} under way",
            f"{sent_late:,} sent more than {LATE_S * 1e3:.0f} ms late",
        ]
        parts += [f"{count:,} x {name}" for name, count in self.failures.items()]
        return ", ".join(part for part in parts if not part.startswith("0 "))

    def note_failure(self, error: Exception) -> None:
        self.failed += 1
        name = f"{type(error).__name__}: {error}"[:MAX_TOLD].rstrip(": ")
        if len(self.failures) >= MAX_KINDS and name not in self.failures:
            name = "others"
        self.failures[name] = self.failures.get(name, 0) + 1


class WasThrottled(Exception):
    """Raised by a call that was refused for want of room."""


def poisson(rate: float, duration_s: float, *, seed: int) -> Iterator[float]:
    """Seconds from the beginning, of arrivals that know nothing of one another."""
    chance, at = random.Random(seed), 0.0  # noqa: S311 - no secret
    while (at := at + chance.expovariate(rate)) < duration_s:
        yield at


def evenly(rate: float, duration_s: float) -> Iterator[float]:
    """Seconds from the beginning, of arrivals at equal distances."""
    for number in range(int(rate * duration_s)):
        yield number / rate


async def offer(
    arrivals: list[float],
    call: Callable[[int], Awaitable[object]],
    *,
    latest_s: float = math.inf,
) -> Load:
    """Make `call(n)` at the n-th time of `arrivals`, which are sorted; return when all
    of them have ended.

    What could only be sent more than `latest_s` late is not: for whoever is there to
    make noise, and not to measure.
    """
    # Not the loop's clock: uvloop's counts in milliseconds.
    load, clock = Load(arrivals=len(arrivals)), time.perf_counter
    began, under_way = clock(), 0

    async def one(number: int, due: float) -> None:
        nonlocal under_way
        load.late_s.append(clock() - due)
        try:
            await call(number)
        except WasThrottled:
            load.throttled += 1
        except Exception as error:  # noqa: BLE001 - counted by name, and told
            load.note_failure(error)
        else:
            took_s = clock() - due
            load.answered_s.append(took_s)
            load.answered_by[number] = took_s
        finally:
            under_way -= 1

    async with asyncio.TaskGroup() as group:
        for number, at in enumerate(arrivals):
            wait_s = began + at - clock()
            # Also where it is late: others are to have their turn.
            await asyncio.sleep(max(0.0, wait_s))
            if under_way >= MAX_OPEN or -wait_s > latest_s:
                load.unsent += 1
                continue
            under_way += 1
            group.create_task(one(number, began + at))
    load.took_s = clock() - began
    return load


async def closed(
    callers: int, seconds: float, call: Callable[[int], Awaitable[object]]
) -> Load:
    """So many callers, each waiting for its answer before it asks again: for what can
    be reached, not for latencies under load."""
    load, clock = Load(), time.perf_counter
    began = clock()
    end = began + seconds

    async def one(number: int) -> None:
        while (at := clock()) < end:
            load.arrivals += 1
            try:
                await call(number)
            except WasThrottled:
                load.throttled += 1
            except Exception as error:  # noqa: BLE001 - counted by name, and told
                load.note_failure(error)
            else:
                load.answered_s.append(clock() - at)

    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(one(number))
    load.took_s = clock() - began
    return load
