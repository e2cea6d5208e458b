"""The scheduler's state: invocations come, wait, run and go in any order."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from sandlot_engine.scheduler.state import (
    Assign,
    ClusterState,
    Decision,
    Retire,
    Start,
    StartAhead,
)

TENANTS = {"resize": "acme", "parse": "acme", "mail": "globex", "sort": "initech"}
"""Whose the versions are."""

VERSIONS = st.sampled_from(sorted(TENANTS))


class Machine(RuleBasedStateMachine):
    """A shell without I/O; it keeps books that the state must agree with."""

    @initialize(
        instances=st.integers(1, 6),
        starting=st.integers(1, 3),
        of_tenant=st.integers(1, 3),
        kept=st.integers(0, 4),
    )
    def begin(self, instances: int, starting: int, of_tenant: int, kept: int) -> None:
        self.max_kept = min(kept, instances)
        self.max_instances = instances
        self.max_starting = starting
        self.max_starting_of_tenant = of_tenant
        self.state = ClusterState(
            max_instances=instances,
            max_starting=starting,
            max_starting_of_tenant=of_tenant,
            max_kept=self.max_kept,
        )
        self.count = 0
        # By version: how many are to live, and how many are being started ahead.
        self.kept: Counter[str] = Counter()
        self.ahead: Counter[str] = Counter()
        self.initialising: set[int] = set()
        self.waiting: dict[str, str] = {}
        self.starting: dict[str, str] = {}
        self.busy: dict[int, str] = {}
        # In the order in which they became idle.
        self.idle: dict[int, str] = {}
        self.homes: dict[int, str] = {}

    def _number(self) -> int:
        self.count += 1
        return self.count

    def _act(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Assign(invocation=invocation, instance=instance):
                    version = self.waiting.pop(invocation)
                    assert self.homes[instance] == version
                    self.idle.pop(instance, None)
                    self.busy[instance] = invocation
                case Start(invocation=invocation, version=version):
                    assert self.waiting.pop(invocation) == version
                    self.starting[invocation] = version
                case StartAhead(version=version):
                    self.ahead[version] += 1
                    live = Counter(self.homes.values())[version]
                    assert live + self.ahead[version] <= self.kept[version]
                case Retire(instance=instance):
                    spare = [n for n in self.idle if self._is_spare(n)]
                    assert instance == spare[0], "not the stalest"
                    del self.idle[instance]
                    del self.homes[instance]

    def _is_spare(self, instance: int) -> bool:
        version = self.homes[instance]
        return Counter(self.homes.values())[version] > self.kept[version]

    @rule(version=VERSIONS)
    def arrive(self, version: str) -> None:
        invocation = f"i-{self._number()}"
        had_idle = version in self.idle.values()
        self.waiting[invocation] = version

        decisions = self.state.invocation_arrived(
            invocation, version, tenant=TENANTS[version]
        )
        self._act(decisions)

        if had_idle:
            assert [type(decision) for decision in decisions] == [Assign]

    @rule(version=VERSIONS)
    def borrow(self, version: str) -> None:
        """Somebody else runs something on an idle one, and frees it later."""
        idle = [number for number, home in self.idle.items() if home == version]

        instance = self.state.instance_borrowed(version)

        assert instance == (idle[-1] if idle else None), "not the newest"
        if instance is not None:
            del self.idle[instance]
            self.busy[instance] = f"i-{self._number()}"

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        invocation = data.draw(st.sampled_from(sorted(self.waiting)))
        del self.waiting[invocation]

        self.state.invocation_left(invocation)

    @precondition(lambda self: self.starting)
    @rule(data=st.data(), succeeds=st.booleans())
    def start_ends(self, data: st.DataObject, succeeds: bool) -> None:
        invocation = data.draw(st.sampled_from(sorted(self.starting)))
        version = self.starting.pop(invocation)
        number = self._number() if succeeds else None
        if number is not None:
            self.busy[number] = invocation
            self.homes[number] = version

        self._act(self.state.start_ended(version, number))

    @rule(version=VERSIONS, count=st.integers(0, 4))
    def keep(self, version: str, count: int) -> None:
        room = self.max_kept - self.kept.total() + self.kept[version]
        self.kept[version] = min(count, room)

        self._act(self.state.keep(version, count, tenant=TENANTS[version]))

    @precondition(lambda self: self.ahead.total())
    @rule(data=st.data(), succeeds=st.booleans())
    def start_ahead_ends(self, data: st.DataObject, succeeds: bool) -> None:
        version = data.draw(st.sampled_from(sorted(+self.ahead)))
        self.ahead[version] -= 1
        number = self._number() if succeeds else None
        if number is not None:
            self.homes[number] = version
            self.busy[number] = "its init"
            self.initialising.add(number)

        self._act(self.state.start_ended(version, number, ahead=True))

        if not succeeds and self.kept[version]:
            assert self.state.is_stalled(version)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        instance = data.draw(st.sampled_from(sorted(self.busy)))
        del self.busy[instance]
        self.initialising.discard(instance)
        self.idle[instance] = self.homes[instance]

        self._act(self.state.instance_freed(instance))

    @precondition(lambda self: self.homes)
    @rule(data=st.data(), is_told_twice=st.booleans())
    def die(self, data: st.DataObject, is_told_twice: bool) -> None:
        instance = data.draw(st.sampled_from(sorted(self.homes)))
        for place in (self.busy, self.idle, self.homes):
            place.pop(instance, None)
        self.initialising.discard(instance)

        self._act(self.state.instance_died(instance))
        if is_told_twice:
            assert self.state.instance_died(instance) == []

    @rule()
    def strangers_change_nothing(self) -> None:
        assert self.state.instance_died(-1) == []
        assert self.state.instance_freed(-1) == []
        self.state.invocation_left("nobody")

    @invariant()
    def is_sound(self) -> None:
        self.state.check()

    @invariant()
    def the_books_agree(self) -> None:
        assert self.state.waiting == len(self.waiting)
        for version in TENANTS:
            idle = [n for n, home in self.idle.items() if home == version]
            assert sorted(self.state.idle_of(version)) == sorted(idle)
            ours = {n for n, home in self.homes.items() if home == version}
            ready = len(ours - self.initialising)
            assert self.state.kept_of(version) == (self.kept[version], ready)
            assert set(self.state.initialising_of(version)) == ours & self.initialising
        starting = [*self.starting.values(), *self.ahead.elements()]
        assert len(self.homes) + len(starting) <= self.max_instances
        assert len(starting) <= self.max_starting
        of_tenants = Counter(TENANTS[version] for version in starting)
        assert max(of_tenants.values(), default=0) <= self.max_starting_of_tenant

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        idle = Counter(self.idle.values())
        assert not any(idle[version] for version in self.waiting.values())


TestClusterState = Machine.TestCase
TestClusterState.settings = settings(max_examples=120, stateful_step_count=40)


def _state(
    *, instances: int = 10, starting: int = 10, of_tenant: int = 10, kept: int = 10
) -> ClusterState:
    return ClusterState(
        max_instances=instances,
        max_starting=starting,
        max_starting_of_tenant=of_tenant,
        max_kept=kept,
    )


def _keep(state: ClusterState, version: str, count: int) -> list[Decision]:
    return state.keep(version, count, tenant=TENANTS[version])


def _start_ahead(state: ClusterState, instance: int, version: str = "resize") -> None:
    """And initialise."""
    state.start_ended(version, instance, ahead=True)
    state.instance_freed(instance)


def _arrive(state: ClusterState, invocation: str, version: str) -> list[Decision]:
    return state.invocation_arrived(invocation, version, tenant=TENANTS[version])


def _warm(state: ClusterState, *instances: int, version: str = "resize") -> None:
    """Idle instances, the last the newest."""
    for instance in instances:
        _arrive(state, f"warm-{instance}", version)
    for instance in instances:
        state.start_ended(version, instance)
    for instance in instances:
        state.instance_freed(instance)


def test_the_newest_idle_instance_is_preferred() -> None:
    state = _state()
    _warm(state, 1, 2)

    assert _arrive(state, "i", "resize") == [Assign("i", 2)]


def test_a_version_without_an_idle_instance_starts_one() -> None:
    state = _state()
    _warm(state, 1, version="parse")

    assert _arrive(state, "i", "resize") == [Start("i", "resize")]


def test_a_freed_instance_goes_to_who_has_waited_longest() -> None:
    state = _state(instances=1)
    _arrive(state, "first", "resize")
    state.start_ended("resize", 1)
    _arrive(state, "second", "resize")
    _arrive(state, "third", "resize")

    assert state.instance_freed(1) == [Assign("second", 1)]


def test_no_more_are_started_at_once_than_may_be() -> None:
    state = _state(starting=1)
    _arrive(state, "first", "resize")

    assert _arrive(state, "second", "parse") == []
    assert state.start_ended("resize", 1) == [Start("second", "parse")]


def test_a_full_machine_makes_room_by_an_idle_instance_of_another() -> None:
    state = _state(instances=2)
    _warm(state, 1, 2)

    assert _arrive(state, "i", "parse") == [Retire(1), Start("i", "parse")]


def test_on_a_machine_full_of_busy_instances_it_waits() -> None:
    state = _state(instances=1)
    _warm(state, 1)
    _arrive(state, "busy", "resize")

    assert _arrive(state, "i", "parse") == []
    assert state.instance_died(1) == [Start("i", "parse")]


def test_a_failed_start_lets_the_next_one_begin() -> None:
    state = _state(instances=1)
    _arrive(state, "first", "resize")
    _arrive(state, "second", "resize")

    assert state.start_ended("resize", None) == [Start("second", "resize")]


def test_the_stalest_idle_instance_of_all_makes_room() -> None:
    state = _state(instances=3)
    _warm(state, 1, version="parse")
    _warm(state, 2, 3, version="mail")
    _arrive(state, "again", "parse")
    state.instance_freed(1)

    # Of the version that was there first, but used since.
    assert _arrive(state, "i", "resize") == [Retire(2), Start("i", "resize")]


def test_a_tenant_whose_starts_hang_leaves_places_to_others() -> None:
    state = _state(starting=2, of_tenant=1)
    _arrive(state, "hangs", "resize")

    assert _arrive(state, "of the same tenant", "parse") == []
    assert _arrive(state, "another's", "mail") == [Start("another's", "mail")]
    assert state.start_ended("resize", None) == [Start("of the same tenant", "parse")]


def test_tenants_take_turns_to_start() -> None:
    state = _state(starting=1)
    _arrive(state, "first", "resize")
    for number in range(3):
        _arrive(state, f"acme's {number}", "parse")
    _arrive(state, "globex's", "mail")

    assert state.start_ended("resize", None) == [Start("acme's 0", "parse")]
    assert state.start_ended("parse", None) == [Start("globex's", "mail")]
    assert state.start_ended("mail", None) == [Start("acme's 1", "parse")]


def test_what_is_kept_is_started_ahead_and_waits_idle() -> None:
    state = _state()

    assert _keep(state, "resize", 2) == [StartAhead("resize")] * 2
    assert state.start_ended("resize", 1, ahead=True) == []
    assert state.kept_of("resize") == (2, 0)
    assert state.instance_freed(1) == []
    assert state.kept_of("resize") == (2, 1)
    assert _arrive(state, "i", "resize") == [Assign("i", 1)]


def test_one_that_is_started_ahead_is_for_whoever_waits_when_it_is_initialised() -> (
    None
):
    state = _state(instances=1)
    _keep(state, "resize", 1)
    _arrive(state, "i", "resize")

    assert state.start_ended("resize", 1, ahead=True) == []
    assert state.instance_freed(1) == [Assign("i", 1)]


def test_nobody_is_given_what_is_still_being_initialised() -> None:
    state = _state()
    _keep(state, "resize", 1)
    state.start_ended("resize", 1, ahead=True)

    assert _arrive(state, "i", "resize") == [Start("i", "resize")]


def test_what_is_kept_makes_no_room_for_others() -> None:
    state = _state(instances=2)
    _keep(state, "resize", 1)
    _start_ahead(state, 1)
    _warm(state, 2, version="parse")

    assert not state.can_spare(1)
    assert _arrive(state, "i", "mail") == [Retire(2), Start("i", "mail")]
    assert _arrive(state, "j", "mail") == []


def test_what_is_kept_is_replaced_when_it_dies() -> None:
    state = _state()
    _keep(state, "resize", 1)
    state.start_ended("resize", 1, ahead=True)

    assert state.instance_died(1) == [StartAhead("resize")]


def test_a_start_ahead_that_failed_is_tried_again_when_somebody_says_so() -> None:
    state = _state()
    _keep(state, "resize", 1)

    assert state.start_ended("resize", None, ahead=True) == []
    assert state.is_stalled("resize")
    assert _keep(state, "resize", 1) == [StartAhead("resize")]


def test_invocations_come_before_what_is_started_ahead() -> None:
    state = _state(starting=1)
    _arrive(state, "first", "resize")
    _keep(state, "resize", 2)
    _arrive(state, "second", "mail")

    assert state.start_ended("resize", 1) == [Start("second", "mail")]
    assert state.start_ended("mail", 2) == [StartAhead("resize")]


def test_versions_take_turns_to_start_ahead() -> None:
    state = _state(starting=1)
    _keep(state, "resize", 3)
    _keep(state, "mail", 1)

    assert state.start_ended("resize", 1, ahead=True) == [StartAhead("resize")]
    assert state.start_ended("resize", 2, ahead=True) == [StartAhead("mail")]
    assert state.start_ended("mail", 3, ahead=True) == [StartAhead("resize")]


def test_one_that_ends_before_it_was_used_is_not_replaced_at_once() -> None:
    state = _state()
    _keep(state, "resize", 1)
    state.start_ended("resize", 1, ahead=True)

    assert state.instance_died(1, was_used=False) == []
    assert _keep(state, "resize", 1) == [StartAhead("resize")]


def test_no_more_are_kept_than_may_be() -> None:
    state = _state(kept=3)

    assert len(_keep(state, "resize", 2)) == 2
    assert len(_keep(state, "mail", 2)) == 1
    assert state.kept_of("mail") == (1, 0)


def test_what_is_kept_no_more_can_go() -> None:
    state = _state(instances=1)
    _keep(state, "resize", 1)
    _start_ahead(state, 1)
    _keep(state, "resize", 0)

    assert state.can_spare(1)
    assert _arrive(state, "i", "mail") == [Retire(1), Start("i", "mail")]


def test_what_is_over_is_forgotten() -> None:
    state = _state(instances=1)
    _warm(state, 1, version="mail")
    _arrive(state, "busy", "mail")
    _arrive(state, "waits", "resize")
    state.invocation_left("waits")
    state.instance_died(1)

    state.check()
    assert not state._tenants  # noqa: SLF001 - only seen there
    assert not state._versions  # noqa: SLF001


def test_its_repr_counts() -> None:
    state = _state(starting=1)
    _warm(state, 1)
    _arrive(state, "a", "parse")
    _arrive(state, "b", "parse")

    assert repr(state) == "<ClusterState 1 idle, 0 busy, 1 starting, 1 waiting>"


def test_a_state_that_contradicts_itself_is_noticed() -> None:
    state = _state()
    _warm(state, 1)
    state._homes.clear()  # noqa: SLF001 - to break it

    with pytest.raises((AssertionError, KeyError)):
        state.check()
