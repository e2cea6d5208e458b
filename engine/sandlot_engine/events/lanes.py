"""Which event is next: pure, facts in and decisions out.

An event waits in the lane of its function. Every lane that has something due may run
one event, whatever others do; more of them as far as its tenant's limit and the limit
of all reach. So a function that is slow, throttled or flooded delays no other's
events, and a tenant nobody else's.

A lane holds the heads of its first events and knows when the next one behind them is
due; what is behind stays on disk, until it is asked for by `Fetch`. A lane whose
function is throttled is parked, for longer each time, and runs no more at once than was
let in. Times are seconds since 1970, by one clock that does not jump.
"""

import heapq
import math
from bisect import insort
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from sandlot_engine.events.pauses import FIRST_PAUSE_S, next_pause

MAX_WINDOW = 64
"""Heads that one lane holds."""

MAX_RUNNING_OF_LANE = 32
"""Events of one function at once."""

MAX_RUNNING_OF_TENANT = 64
"""Events of one tenant at once, but for the first of each function."""

MAX_RUNNING = 1_024
"""Events at once, but for the first of each function."""

MAX_STARTS = 64
MAX_STARTED_BYTES = 4 * 2**20
"""What one `next` starts at most, so that what is read for it is bounded."""

Key = tuple[str, str]
"""A lane: tenant id, and a function's name or what else is waited for."""


@dataclass(frozen=True, slots=True, order=True)
class Head:
    """An event that waits: when it is due, and where it is kept."""

    due: float
    position: int
    size: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Start:
    """Run this event; it is the lane's no more until one of the facts is told."""

    key: Key
    head: Head


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read the lane's first `MAX_WINDOW` events that wait, by due time and position,
    and tell `fetched` or `fetch_failed`."""

    key: Key


Decision = Start | Fetch


@dataclass(slots=True)
class _Lane:
    window: list[Head] = field(default_factory=list)
    """The first that wait, in order."""

    behind: float = math.inf
    """When the first of those on disk alone is due, or earlier; none is due before the
    last of the window."""

    is_fetching: bool = False
    meanwhile: float = math.inf
    """While fetching: when the first of those is due that came since."""

    left: set[int] = field(default_factory=set)
    """While fetching: what was running when it began, and is not any more."""

    running: dict[int, Head] = field(default_factory=dict)
    width: float = MAX_RUNNING_OF_LANE
    """How many may run: as many as were let in, and slowly more."""

    parked_until: float = -math.inf
    pause_s: float = FIRST_PAUSE_S
    wake: float = math.inf
    """When it is to be looked at, as the heap has it."""

    is_listed: bool = False
    """Whether its tenant has it among those that are ready or held."""

    @property
    def due(self) -> float:
        """When something could be done for it, but for who else runs."""
        first = math.inf
        if self.window:
            first = self.window[0].due
        elif not self.is_fetching:
            first = self.behind
        return max(first, self.parked_until)

    @property
    def is_empty(self) -> bool:
        waits = self.window or self.running or self.is_fetching
        return not waits and self.behind == math.inf


@dataclass(slots=True)
class _Tenant:
    running: int = 0
    ready: deque[Key] = field(default_factory=deque)
    """Lanes with something due, in turn."""

    held: deque[Key] = field(default_factory=deque)
    """Lanes that run something, and could run more but for a limit."""

    has_turn: bool = False
    """Whether it is among those that are asked for what they could do."""


class Lanes:
    """All lanes of one kind. Nothing here waits, and nothing is lost: an event that was
    told of is in a window, running, or on disk behind a time that is known."""

    def __init__(
        self,
        *,
        max_window: int = MAX_WINDOW,
        max_of_lane: int = MAX_RUNNING_OF_LANE,
        max_of_tenant: int = MAX_RUNNING_OF_TENANT,
        max_running: int = MAX_RUNNING,
    ) -> None:
        self._max_window = max_window
        self._max_of_lane = max_of_lane
        self._max_of_tenant = max_of_tenant
        self._max_running = max_running
        self._lanes: dict[Key, _Lane] = {}
        self._tenants: dict[str, _Tenant] = {}
        self._turns: deque[str] = deque()
        """Tenants with lanes that are ready or held."""
        self._wakes: list[tuple[float, int, Key]] = []
        self._numbers = count()
        self.running = 0

    def __repr__(self) -> str:
        return f"<Lanes {len(self._lanes)} lanes, {self.running} running>"

    @property
    def parked(self) -> int:
        """Lanes that wait because there was no room for them."""
        return sum(lane.pause_s > FIRST_PAUSE_S for lane in self._lanes.values())

    # --- facts ------------------------------------------------------------------------

    def found(self, key: Key, due: float) -> None:
        """There are events of the lane on disk that nobody told of yet; the first is
        due then, or later."""
        lane = self._lane(key)
        if lane.is_fetching:
            lane.meanwhile = min(lane.meanwhile, due)
        else:
            # What is due later goes back behind it.
            kept = [head for head in lane.window if head.due <= due]
            lane.window, lane.behind = kept, min(lane.behind, due)
        self._touch(key, lane)

    def added(self, key: Key, head: Head) -> None:
        """An event waits, and is on disk."""
        lane = self._lane(key)
        self._wait(lane, head)
        self._touch(key, lane)

    def fetched(self, key: Key, heads: Sequence[Head], *, is_all: bool) -> None:
        """What a `Fetch` has found, in order; `is_all` unless there is more."""
        lane = self._lanes[key]
        lane.is_fetching = False
        found = [h for h in heads if h.position not in lane.running.keys() | lane.left]
        # What came since may be due before the last that were found: these go back
        # behind it, or it would have to wait for them.
        lane.window = [head for head in found if head.due <= lane.meanwhile]
        lane.behind = lane.meanwhile
        if len(lane.window) < len(found):
            lane.behind = min(lane.behind, found[len(lane.window)].due)
        elif not is_all:
            lane.behind = min(lane.behind, heads[-1].due)
        lane.meanwhile = math.inf
        lane.left.clear()
        self._touch(key, lane)

    def fetch_failed(self, key: Key, now: float) -> None:
        """It was not to be read; try again after a pause."""
        lane = self._lanes[key]
        lane.is_fetching = False
        lane.behind = min(now, lane.meanwhile)
        lane.meanwhile = math.inf
        lane.left.clear()
        lane.parked_until = max(lane.parked_until, now + FIRST_PAUSE_S)
        self._touch(key, lane)

    def finished(self, key: Key, position: int, *, has_run: bool = True) -> None:
        """An event has left for good. If it ran, there was room for it."""
        lane = self._release(key, position)
        if has_run:
            self._widen(lane)
        self._touch(key, lane)

    def returned(
        self, key: Key, position: int, *, due: float, has_run: bool = True
    ) -> None:
        """An event waits again, and is on disk with that due time."""
        lane = self._lanes[key]
        size = lane.running[position].size
        self._release(key, position)
        if has_run:
            self._widen(lane)
        self._wait(lane, Head(due, position, size))
        self._touch(key, lane)

    def refused(self, key: Key, position: int, *, now: float) -> None:
        """There was no room for an event: it waits again as before, and its lane is
        parked until the pause is over or one of its events was done."""
        lane = self._lanes[key]
        head = lane.running[position]
        self._release(key, position)
        lane.width = max(1.0, float(len(lane.running)))
        lane.parked_until = now + lane.pause_s
        lane.pause_s = next_pause(lane.pause_s)
        self._wait(lane, head)
        self._touch(key, lane)

    def shifted(self, by: float) -> None:
        """The clock was set, and all that is on disk was moved with it."""
        for key, lane in self._lanes.items():
            lane.window = [replace(head, due=head.due + by) for head in lane.window]
            for position, head in lane.running.items():
                lane.running[position] = replace(head, due=head.due + by)
            lane.behind += by
            lane.meanwhile += by
            lane.parked_until += by
            self._touch(key, lane)

    # --- decisions --------------------------------------------------------------------

    def next(self, now: float) -> list[Decision]:
        """What is to be done now. Ask again after each fact, at `wake_at`, and as long
        as there are answers."""
        self._wake(now)
        decisions: list[Decision] = []
        size = idle = 0
        while idle < len(self._turns):
            tenant_id = self._turns[0]
            self._turns.rotate(-1)
            decision = self._next_of(tenant_id, now)
            if decision is None:
                # One that has nothing left has no turn any more, and is not counted.
                idle += tenant_id in self._tenants and self._tenants[tenant_id].has_turn
                continue
            idle = 0
            decisions.append(decision)
            size += decision.head.size if isinstance(decision, Start) else 0
            if len(decisions) >= MAX_STARTS or size >= MAX_STARTED_BYTES:
                break
        return decisions

    def wake_at(self) -> float:
        """When there may be something to do without another fact; or infinity."""
        while self._wakes:
            when, _, key = self._wakes[0]
            lane = self._lanes.get(key)
            if lane is not None and lane.wake == when:
                return when
            heapq.heappop(self._wakes)
        return math.inf

    def _next_of(self, tenant_id: str, now: float) -> Decision | None:
        tenant = self._tenants[tenant_id]
        for key in self._offered(tenant):
            lane = self._lanes[key]
            lane.is_listed = False
            if lane.due > now or len(lane.running) >= int(lane.width):
                # A fact will bring it back: time, or one of its events that ends.
                self._touch(key, lane, is_held=len(lane.running) >= int(lane.width))
            elif not lane.window:
                lane.is_fetching = True
                lane.behind = math.inf
                return Fetch(key)
            elif lane.running and not self._has_room(tenant):
                lane.is_listed = True
                tenant.held.append(key)
            else:
                return self._start(key, lane, tenant)
        if not tenant.held:
            tenant.has_turn = False
            self._turns.remove(tenant_id)
            self._forget(tenant_id)
        return None

    def _offered(self, tenant: _Tenant) -> Iterator[Key]:
        """Lanes in their turn; those that are held only while there is room."""
        while tenant.ready or (tenant.held and self._has_room(tenant)):
            yield (tenant.ready or tenant.held).popleft()

    def _has_room(self, tenant: _Tenant) -> bool:
        return tenant.running < self._max_of_tenant and self.running < self._max_running

    def _start(self, key: Key, lane: _Lane, tenant: _Tenant) -> Start:
        head = lane.window.pop(0)
        lane.running[head.position] = head
        tenant.running += 1
        self.running += 1
        lane.is_listed = True
        tenant.ready.append(key)
        return Start(key, head)

    # --- lanes ------------------------------------------------------------------------

    def _lane(self, key: Key) -> _Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(width=self._max_of_lane)
        return lane

    def _wait(self, lane: _Lane, head: Head) -> None:
        """Into the window, where it belongs there and is not known to be full."""
        if lane.is_fetching:
            lane.meanwhile = min(lane.meanwhile, head.due)
        elif lane.behind == math.inf or (lane.window and head < lane.window[-1]):
            insort(lane.window, head)
            if len(lane.window) > self._max_window:
                lane.behind = min(lane.behind, lane.window.pop().due)
        else:
            lane.behind = min(lane.behind, head.due)

    def _release(self, key: Key, position: int) -> _Lane:
        lane = self._lanes[key]
        del lane.running[position]
        if lane.is_fetching:
            lane.left.add(position)
        tenant = self._tenants[key[0]]
        tenant.running -= 1
        self.running -= 1
        if not lane.running and key in tenant.held:
            # It has none, so it may have one, whatever the limits are.
            tenant.held.remove(key)
            tenant.ready.append(key)
        return lane

    def _widen(self, lane: _Lane) -> None:
        lane.width = min(float(self._max_of_lane), lane.width + 1 / lane.width)
        lane.parked_until, lane.pause_s = -math.inf, FIRST_PAUSE_S

    def _touch(self, key: Key, lane: _Lane, *, is_held: bool = False) -> None:
        """Have it looked at when it is due, unless it is listed already."""
        if lane.is_empty:
            if not lane.is_listed:
                del self._lanes[key]
                self._forget(key[0])
            return
        due = math.inf if is_held else lane.due
        if lane.is_listed or due == lane.wake:
            return
        lane.wake = due
        if due < math.inf:
            heapq.heappush(self._wakes, (due, next(self._numbers), key))

    def _wake(self, now: float) -> None:
        while self.wake_at() <= now:
            _, _, key = heapq.heappop(self._wakes)
            lane = self._lanes[key]
            lane.wake = math.inf
            lane.is_listed = True
            tenant = self._tenants.setdefault(key[0], _Tenant())
            if not tenant.has_turn:
                tenant.has_turn = True
                self._turns.append(key[0])
            tenant.ready.append(key)

    def _forget(self, tenant_id: str) -> None:
        tenant = self._tenants.get(tenant_id)
        if tenant and not (tenant.running or tenant.has_turn):
            del self._tenants[tenant_id]
