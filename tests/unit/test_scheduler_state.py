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

from sandlot_engine.scheduler.state import Assign, ClusterState, Decision, Retire, Start

VERSIONS = st.sampled_from(["resize", "parse", "mail"])


class Machine(RuleBasedStateMachine):
    """A shell without I/O; it keeps books that the state must agree with."""

    @initialize(instances=st.integers(1, 6), starting=st.integers(1, 3))
    def begin(self, instances: int, starting: int) -> None:
        self.max_instances = instances
        self.max_starting = starting
        self.state = ClusterState(max_instances=instances, max_starting=starting)
        self.count = 0
        self.waiting: dict[str, str] = {}
        self.starting: dict[str, str] = {}
        self.busy: dict[int, str] = {}
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
                case Retire(instance=instance):
                    del self.idle[instance]
                    del self.homes[instance]

    @rule(version=VERSIONS)
    def arrive(self, version: str) -> None:
        invocation = f"i-{self._number()}"
        had_idle = version in self.idle.values()
        self.waiting[invocation] = version

        decisions = self.state.invocation_arrived(invocation, version)
        self._act(decisions)

        if had_idle:
            assert [type(decision) for decision in decisions] == [Assign]

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

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        instance = data.draw(st.sampled_from(sorted(self.busy)))
        del self.busy[instance]
        self.idle[instance] = self.homes[instance]

        self._act(self.state.instance_freed(instance))

    @precondition(lambda self: self.homes)
    @rule(data=st.data(), is_told_twice=st.booleans())
    def die(self, data: st.DataObject, is_told_twice: bool) -> None:
        instance = data.draw(st.sampled_from(sorted(self.homes)))
        for place in (self.busy, self.idle, self.homes):
            place.pop(instance, None)

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
        for version in ("resize", "parse", "mail"):
            idle = [n for n, home in self.idle.items() if home == version]
            assert sorted(self.state.idle_of(version)) == sorted(idle)
        assert len(self.homes) + len(self.starting) <= self.max_instances
        assert len(self.starting) <= self.max_starting

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        idle = Counter(self.idle.values())
        assert not any(idle[version] for version in self.waiting.values())


TestClusterState = Machine.TestCase
TestClusterState.settings = settings(max_examples=120, stateful_step_count=40)


def _state(*, instances: int = 10, starting: int = 10) -> ClusterState:
    return ClusterState(max_instances=instances, max_starting=starting)


def _warm(state: ClusterState, *instances: int, version: str = "resize") -> None:
    """Idle instances, the last the newest."""
    for instance in instances:
        state.invocation_arrived(f"warm-{instance}", version)
    for instance in instances:
        state.start_ended(version, instance)
    for instance in instances:
        state.instance_freed(instance)


def test_the_newest_idle_instance_is_preferred() -> None:
    state = _state()
    _warm(state, 1, 2)

    assert state.invocation_arrived("i", "resize") == [Assign("i", 2)]


def test_a_version_without_an_idle_instance_starts_one() -> None:
    state = _state()
    _warm(state, 1, version="parse")

    assert state.invocation_arrived("i", "resize") == [Start("i", "resize")]


def test_a_freed_instance_goes_to_who_has_waited_longest() -> None:
    state = _state(instances=1)
    state.invocation_arrived("first", "resize")
    state.start_ended("resize", 1)
    state.invocation_arrived("second", "resize")
    state.invocation_arrived("third", "resize")

    assert state.instance_freed(1) == [Assign("second", 1)]


def test_no_more_are_started_at_once_than_may_be() -> None:
    state = _state(starting=1)
    state.invocation_arrived("first", "resize")

    assert state.invocation_arrived("second", "parse") == []
    assert state.start_ended("resize", 1) == [Start("second", "parse")]


def test_a_full_machine_makes_room_by_an_idle_instance_of_another() -> None:
    state = _state(instances=2)
    _warm(state, 1, 2)

    assert state.invocation_arrived("i", "parse") == [Retire(1), Start("i", "parse")]


def test_on_a_machine_full_of_busy_instances_it_waits() -> None:
    state = _state(instances=1)
    _warm(state, 1)
    state.invocation_arrived("busy", "resize")

    assert state.invocation_arrived("i", "parse") == []
    assert state.instance_died(1) == [Start("i", "parse")]


def test_a_failed_start_lets_the_next_one_begin() -> None:
    state = _state(instances=1)
    state.invocation_arrived("first", "resize")
    state.invocation_arrived("second", "resize")

    assert state.start_ended("resize", None) == [Start("second", "resize")]


def test_its_repr_counts() -> None:
    state = _state(starting=1)
    _warm(state, 1)
    state.invocation_arrived("a", "parse")
    state.invocation_arrived("b", "parse")

    assert repr(state) == "<ClusterState 1 idle, 0 busy, 1 starting, 1 waiting>"


def test_a_state_that_contradicts_itself_is_noticed() -> None:
    state = _state()
    _warm(state, 1)
    state._homes.clear()  # noqa: SLF001 - to break it

    with pytest.raises((AssertionError, KeyError)):
        state.check()
