"""What a keep-alive policy would have kept of a trace, and what it would have missed.

As in the paper: an app is in memory or not; after an invocation its policy says from
when until when it will be. An invocation outside of that is cold. Memory that is held
while nothing runs is wasted. Minutes are the trace's clock, and so they are ours.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from benchmarks.stats import percentile
from benchmarks.traces.azure import Traced

MINUTE_S = 60.0
FIXED_S = tuple(60.0 * minutes for minutes in (1, 2, 5, 10, 20, 30, 60, 120, 240))
USUAL_S = 600.0
"""Ten minutes: what others are compared to, and what holds where nothing is known."""

_HISTOGRAM = "sandlot_engine.scheduler.histogram"

Window = tuple[float, float]
"""From when until when it is kept, in seconds since the last invocation."""


class Keeper(Protocol):
    """Knows one app."""

    def note(self, idle_s: float) -> None:
        """It was left alone for so long."""
        ...

    def window(self) -> Window: ...


@dataclass(frozen=True, slots=True)
class Policy:
    """Makes a keeper for each app."""

    name: str
    keeper: Callable[[], Keeper]
    keep_s: float | None = None
    """Of those with a fixed time."""


@dataclass(slots=True)
class Fixed:
    """The same time for all, whatever happens."""

    keep_s: float

    def note(self, idle_s: float) -> None: ...

    def window(self) -> Window:
        return 0.0, self.keep_s


class Learned:
    """The engine's own policy: its histogram of one function, and where that does not
    tell, the usual time."""

    def __init__(self, histogram: Any) -> None:
        self._histogram = histogram

    def note(self, idle_s: float) -> None:
        self._histogram.note(idle_s)

    def window(self) -> Window:
        window = self._histogram.window()
        return (window.opens_s, window.closes_s) if window else (0.0, USUAL_S)


def policies() -> tuple[list[Policy], str]:
    """Those that can be tried here; and why the engine's own cannot, if it cannot."""
    fixed = [
        Policy(f"fixed {keep_s / 60:g} min", _fixed(keep_s), keep_s)
        for keep_s in FIXED_S
    ]
    if find_spec(_HISTOGRAM) is None:
        return fixed, "the engine's own keep-alive: not in this tree"
    histogram = import_module(_HISTOGRAM).Histogram
    return [*fixed, Policy("sandlot", lambda: Learned(histogram()))], ""


def _fixed(keep_s: float) -> Callable[[], Keeper]:
    return lambda: Fixed(keep_s)


@dataclass(slots=True)
class Outcome:
    """Of a policy, over all apps."""

    policy: Policy
    invocations: int = 0
    cold: int = 0
    wasted_mb_min: float = 0.0
    cold_shares: list[float] = field(default_factory=list)
    """Of each app's invocations, in %."""

    @property
    def cold_percent(self) -> float:
        return 100 * self.cold / max(1, self.invocations)

    @property
    def third_quartile(self) -> float:
        """Three of four apps have at most so many cold, in %."""
        return percentile(sorted(self.cold_shares), 75)


@dataclass(frozen=True, slots=True)
class App:
    """All functions of an app together."""

    memory_mb: float
    arrivals: list[tuple[int, int]]
    """Minutes with invocations, and how many."""

    minutes: int


def apps_of(functions: Iterable[Traced]) -> list[App]:
    whole: dict[tuple[str, str], list[Traced]] = {}
    for each in functions:
        whole.setdefault((each.owner, each.app), []).append(each)
    return [_app(members) for members in whole.values()]


def _app(members: list[Traced]) -> App:
    counts = [sum(minute) for minute in zip(*(m.counts for m in members), strict=True)]
    arrivals = [(minute, count) for minute, count in enumerate(counts) if count]
    return App(members[0].memory_mb, arrivals, len(counts))


def simulate(policy: Policy, apps: Iterable[App]) -> Outcome:
    """Each app for itself: there is memory for all that a policy keeps."""
    outcome = Outcome(policy)
    for app in apps:
        total = sum(count for _, count in app.arrivals)
        if total:
            cold = _follow(policy.keeper(), app, outcome)
            outcome.invocations += total
            outcome.cold += cold
            outcome.cold_shares.append(100 * cold / total)
    return outcome


def _follow(keeper: Keeper, app: App, outcome: Outcome) -> int:
    """How many of an app's invocations were cold; what was wasted is noted."""
    # The first one ever is, whatever the policy.
    cold, window = 1, (0.0, 0.0)
    last: int | None = None
    for minute, _ in app.arrivals:
        if last is not None:
            idle_s = (minute - last) * MINUTE_S
            opens_s, closes_s = window
            # Within one minute nothing can be told apart.
            if idle_s > MINUTE_S and not opens_s <= idle_s <= closes_s:
                cold += 1
            outcome.wasted_mb_min += _kept_min(window, idle_s) * app.memory_mb
            keeper.note(idle_s)
        last, window = minute, keeper.window()
    if last is not None:
        rest_s = (app.minutes - last) * MINUTE_S
        outcome.wasted_mb_min += _kept_min(window, rest_s) * app.memory_mb
    return cold


def _kept_min(window: Window, idle_s: float) -> float:
    opens_s, closes_s = window
    return max(0.0, min(closes_s, idle_s) - min(opens_s, idle_s)) / MINUTE_S
