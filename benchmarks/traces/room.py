"""Where memory is what there is, and not what a policy wants: zygotes and windows.

The engine has an app in memory while its history expects it, by an instance or a
standby. When it does not, the zygote stays for as long as there is room: those go first
that are expected later and made ready ahead of that, and then those that were left
alone for longest. All apps together have so much memory, and no more: which is what
makes it comparable to a fixed time, that has as much on average.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from benchmarks.traces.keep_alive import MINUTE_S, App, Keeper, Outcome, Policy


@dataclass(slots=True)
class _Held:
    """One app, and what is in memory of it."""

    app: App
    keeper: Keeper
    number: int
    cold: int = 0
    last: int | None = None
    is_expected: bool = False


@dataclass(slots=True)
class _Room:
    """All memory there is, in MB, and who has it."""

    size_mb: float
    expected_mb: float = 0.0
    alone_mb: float = 0.0
    alone: OrderedDict[int, _Held] = field(default_factory=OrderedDict)
    """Zygotes that nothing expects: first those that were left alone for longest."""

    later: OrderedDict[int, _Held] = field(default_factory=OrderedDict)
    """Those that will be expected, and be back by then. They go first."""

    def has(self, held: _Held) -> bool:
        return (
            held.is_expected or held.number in self.alone or held.number in self.later
        )

    def expect(self, held: _Held) -> None:
        self.forget(held)
        held.is_expected = True
        self.expected_mb += held.app.memory_mb

    def leave(self, held: _Held, *, is_back_later: bool) -> None:
        """Its zygote stays, while there is room."""
        self.forget(held)
        (self.later if is_back_later else self.alone)[held.number] = held
        self.alone_mb += held.app.memory_mb

    def forget(self, held: _Held) -> None:
        if held.is_expected:
            held.is_expected = False
            self.expected_mb -= held.app.memory_mb
        elif self.alone.pop(held.number, None) or self.later.pop(held.number, None):
            self.alone_mb -= held.app.memory_mb

    def make(self) -> None:
        while self.alone_mb > 0 and self.expected_mb + self.alone_mb > self.size_mb:
            first = next(iter(self.later.values()), None)
            first = first or next(iter(self.alone.values()), None)
            if first is None:
                return
            self.forget(first)


def simulate(policy: Policy, apps: Iterable[App], *, size_mb: float) -> Outcome:
    """A cold start here is one that finds no zygote. What was wasted is what was had,
    minute by minute."""
    room, outcome = _Room(size_mb), Outcome(policy)
    all_held = [_Held(app, policy.keeper(), number) for number, app in enumerate(apps)]
    minutes = max((each.app.minutes for each in all_held), default=0)
    arrivals: list[list[_Held]] = [[] for _ in range(minutes)]
    for held in all_held:
        for minute, count in held.app.arrivals:
            arrivals[minute].append(held)
            outcome.invocations += count
    turns: list[_Turn] = []
    for minute in range(minutes):
        _turn(room, turns, minute * MINUTE_S)
        for held in arrivals[minute]:
            _arrive(room, turns, held, minute)
        room.make()
        outcome.wasted_mb_min += room.expected_mb + room.alone_mb
    for held in all_held:
        if total := sum(count for _, count in held.app.arrivals):
            outcome.cold += held.cold
            outcome.cold_shares.append(100 * held.cold / total)
    return outcome


_Turn = tuple[float, int, int, bool, _Held]
"""From when, of which app since which arrival, whether it is expected."""


def _arrive(room: _Room, turns: list[_Turn], held: _Held, minute: int) -> None:
    held.cold += not room.has(held)
    if held.last is not None:
        held.keeper.note((minute - held.last) * MINUTE_S)
    held.last = minute
    opens_s, closes_s = held.keeper.window()
    now = minute * MINUTE_S
    if opens_s:
        room.leave(held, is_back_later=True)
    else:
        room.expect(held)
    for at_s, is_expected in ((opens_s, True), (closes_s, False)):
        if at_s:
            heapq.heappush(turns, (now + at_s, held.number, minute, is_expected, held))


def _turn(room: _Room, turns: list[_Turn], now: float) -> None:
    """What has come to be expected, or no longer is."""
    while turns and turns[0][0] <= now:
        _, _, since, is_expected, held = heapq.heappop(turns)
        if held.last == since:
            if is_expected:
                room.expect(held)
            else:
                room.leave(held, is_back_later=False)
