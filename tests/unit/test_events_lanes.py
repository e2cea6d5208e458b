"""Lanes: events come, wait, run and go in any order, and none is lost or delayed by
another's."""

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sandlot_engine.events.lanes import (
    MAX_STARTED_BYTES,
    MAX_STARTS,
    Fetch,
    Head,
    Key,
    Lanes,
    Start,
)

KEYS = [("acme", "resize"), ("acme", "parse"), ("globex", "mail"), ("initech", "sort")]
LANES = st.sampled_from(KEYS)
DELAYS = st.sampled_from([0.0, 0.0, 0.0, 1.0, 60.0])
MAX_WINDOW, MAX_OF_LANE, MAX_OF_TENANT, MAX_RUNNING = 2, 2, 3, 4


class Machine(RuleBasedStateMachine):
    """A shell and a disk in memory, with books that the lanes must agree with."""

    @initialize()
    def begin(self) -> None:
        self.lanes = Lanes(
            max_window=MAX_WINDOW,
            max_of_lane=MAX_OF_LANE,
            max_of_tenant=MAX_OF_TENANT,
            max_running=MAX_RUNNING,
        )
        self.now = 1_000.0
        self.count = 0
        self.waiting: dict[Key, dict[int, float]] = {key: {} for key in KEYS}
        self.running: dict[int, Key] = {}
        self.dues: dict[int, float] = {}
        """When those that run were due."""
        self.reading: dict[Key, list[Head] | None] = {}
        """Fetches that were asked for, and what they saw, once they looked."""
        self.parked: set[Key] = set()

    def _disk(self, key: Key) -> list[Head]:
        found = sorted(Head(due, p) for p, due in self.waiting[key].items())
        return found[:MAX_WINDOW]

    @rule(key=LANES, delay=DELAYS)
    def add(self, key: Key, delay: float) -> None:
        self.count += 1
        self.waiting[key][self.count] = self.now + delay
        self.lanes.added(key, Head(self.now + delay, self.count))

    @rule(key=LANES, delay=DELAYS, number=st.integers(1, 4))
    def find(self, key: Key, delay: float, number: int) -> None:
        for _ in range(number):
            self.count += 1
            self.waiting[key][self.count] = self.now + delay
        self.lanes.found(key, self.now + delay)

    @rule(seconds=st.sampled_from([0.5, 1.0, 60.0, 400.0]))
    def advance(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        self._act()

    def _act(self) -> bool:
        decisions = self.lanes.next(self.now)
        for decision in decisions:
            match decision:
                case Start(key=key, head=head):
                    due = self.waiting[key].pop(head.position)
                    assert due == head.due <= self.now
                    self.dues[head.position] = due
                    self.running[head.position] = key
                case Fetch(key=key):
                    assert key not in self.reading
                    self.reading[key] = None
        return bool(decisions)

    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        """A fetch looks at the disk, some time before its answer is told."""
        if unread := sorted(key for key, seen in self.reading.items() if seen is None):
            key = data.draw(st.sampled_from(unread))
            self.reading[key] = self._disk(key)

    @rule(data=st.data(), fails=st.booleans())
    def answer(self, data: st.DataObject, fails: bool) -> None:
        if self.reading:
            self._answer(data.draw(st.sampled_from(sorted(self.reading))), fails=fails)

    def _answer(self, key: Key, *, fails: bool = False) -> None:
        seen = self.reading.pop(key)
        if fails:
            self.lanes.fetch_failed(key, self.now)
            self.parked.add(key)
            return
        heads = self._disk(key) if seen is None else seen
        self.lanes.fetched(key, heads, is_all=len(heads) < MAX_WINDOW)

    @rule(data=st.data(), way=st.sampled_from(["finish", "expire", "retry", "refuse"]))
    def end(self, data: st.DataObject, way: str) -> None:
        if self.running:
            self._end(data.draw(st.sampled_from(sorted(self.running))), way)

    def _end(self, position: int, way: str) -> None:
        key = self.running.pop(position)
        match way:
            case "finish":
                self.parked.discard(key)
                self.lanes.finished(key, position)
            case "expire":
                self.lanes.finished(key, position, has_run=False)
            case "retry":
                self.parked.discard(key)
                self.waiting[key][position] = self.now + 60.0
                self.lanes.returned(key, position, due=self.now + 60.0)
            case _:
                # It waits as it did before.
                self.parked.add(key)
                self.waiting[key][position] = self.dues[position]
                self.lanes.refused(key, position, now=self.now)

    @rule(by=st.sampled_from([-3_600.0, 3_600.0]))
    def set_clock(self, by: float) -> None:
        """All times on disk move; an answer that is under way would be of before."""
        for key in sorted(self.reading):
            self._answer(key)
        self.now += by
        for waiting in self.waiting.values():
            for position in waiting:
                waiting[position] += by
        self.dues = {p: due + by for p, due in self.dues.items()}
        self.lanes.shifted(by)

    @invariant()
    def limits_hold(self) -> None:
        if not hasattr(self, "lanes"):
            return
        assert self.lanes.running == len(self.running)
        by_tenant: dict[str, set[Key]] = {}
        for key in self.running.values():
            by_tenant.setdefault(key[0], set()).add(key)
        for key in KEYS:
            assert list(self.running.values()).count(key) <= MAX_OF_LANE
        for tenant, keys in by_tenant.items():
            of_tenant = sum(key[0] == tenant for key in self.running.values())
            # Each function may have one whatever the others have.
            assert of_tenant <= max(MAX_OF_TENANT, MAX_OF_TENANT - 1 + len(keys))

    @rule()
    def nobody_is_delayed(self) -> None:
        """After all was done that can be, each lane that has something due runs."""
        while self._act() or self.reading:
            for key in sorted(self.reading):
                self._answer(key)
        for key in KEYS:
            due = min(self.waiting[key].values(), default=math.inf)
            if due <= self.now and key not in self.parked:
                assert key in self.running.values(), f"{key} waits for others"
        assert self.lanes.wake_at() > self.now

    def teardown(self) -> None:
        """Nothing is lost: with time everything runs, and nothing is left."""
        if not hasattr(self, "lanes"):
            return
        rounds = 2 * (self.count + 1)
        for _ in range(rounds):
            self.now += 400.0
            while self._act() or self.reading:
                for key in sorted(self.reading):
                    self._answer(key)
            for position in sorted(self.running):
                self._end(position, "finish")
        assert not any(self.waiting.values())
        assert repr(self.lanes) == "<Lanes 0 lanes, 0 running>"


TestLanes = Machine.TestCase


def test_no_more_is_begun_at_once_than_can_be_read() -> None:
    lanes = Lanes()
    for number in range(MAX_STARTS + 6):
        lanes.added((f"tenant-{number}", "f"), Head(0.0, number))

    assert [len(lanes.next(1.0)) for _ in range(3)] == [MAX_STARTS, 6, 0]


def test_no_more_bytes_are_begun_at_once_than_can_be_read() -> None:
    lanes = Lanes()
    size = MAX_STARTED_BYTES // 4
    for number in range(6):
        lanes.added((f"tenant-{number}", "f"), Head(0.0, number, size))

    assert [len(lanes.next(1.0)) for _ in range(3)] == [4, 2, 0]


def _begun(lanes: Lanes) -> list[int]:
    """The positions of what begins now."""
    found = lanes.next(1.0)
    return [each.head.position for each in found if isinstance(each, Start)]


def test_a_tenant_has_so_many_at_once_and_the_first_of_each_function() -> None:
    lanes = Lanes(max_of_lane=9, max_of_tenant=3)
    for number in range(6):
        lanes.added(("acme", "a"), Head(0.0, number))
    assert _begun(lanes) == [0, 1, 2]

    for number in (10, 11):
        lanes.added(("acme", "b"), Head(0.0, number))
    assert _begun(lanes) == [10]

    lanes.finished(("acme", "a"), 0)
    assert _begun(lanes) == []
    lanes.finished(("acme", "a"), 1)
    assert len(_begun(lanes)) == 1


def test_all_tenants_have_so_many_at_once_and_the_first_of_each_function() -> None:
    lanes = Lanes(max_of_lane=9, max_of_tenant=9, max_running=3)
    for number in range(6):
        lanes.added(("acme", "a"), Head(0.0, number))
    assert _begun(lanes) == [0, 1, 2]

    for number in (10, 11):
        lanes.added(("globex", "b"), Head(0.0, number))

    assert _begun(lanes) == [10]
