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
        of_tenant=st.integers(1, 6),
        starting=st.integers(1, 3),
        starting_of_tenant=st.integers(1, 3),
        kept=st.integers(0, 4),
        standbys=st.integers(0, 4),
    )
    def begin(
        self,
        instances: int,
        of_tenant: int,
        starting: int,
        starting_of_tenant: int,
        kept: int,
        standbys: int,
    ) -> None:
        self.max_kept = min(kept, instances)
        self.max_standbys = standbys
        self.max_instances = instances
        self.max_of_tenant = min(of_tenant, instances)
        self.max_starting = starting
        self.max_starting_of_tenant = starting_of_tenant
        self.state = ClusterState(
            max_instances=instances,
            max_of_tenant=self.max_of_tenant,
            max_starting=starting,
            max_starting_of_tenant=starting_of_tenant,
            max_kept=self.max_kept,
            max_standbys=standbys,
        )
        self.count = 0
        # By version: how many are to live or stand by, and how many are started ahead.
        self.kept: Counter[str] = Counter()
        self.standbys: Counter[str] = Counter()
        self.ahead: Counter[str] = Counter()
        self.initialising: set[int] = set()
        self.waiting: dict[str, str] = {}
        # Of those, the ones that may have asked to be held, and not been started.
        self.held: set[str] = set()
        self.starting: dict[str, str] = {}
        self.busy: dict[int, str] = {}
        # In the order in which they became idle.
        self.idle: dict[int, str] = {}
        self.fresh: dict[int, str] = {}
        self.homes: dict[int, str] = {}

    def _number(self) -> int:
        self.count += 1
        return self.count

    def _act(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Assign(invocation=invocation, instance=instance):
                    self._assign(invocation, instance, decision.is_standby)
                case Start(invocation=invocation, version=version):
                    assert self.waiting.pop(invocation) == version
                    self.held.discard(invocation)
                    self.starting[invocation] = version
                case StartAhead(version=version):
                    self.ahead[version] += 1
                    live = Counter(self.homes.values())[version]
                    assert live + self.ahead[version] <= (
                        self.kept[version]
                        + self.standbys[version]
                        + self._used(version)
                    )
                case Retire(instance=instance):
                    self._retire(instance)

    def _assign(self, invocation: str, instance: int, is_standby: bool) -> None:
        version = self.waiting.pop(invocation)
        self.held.discard(invocation)
        assert self.homes[instance] == version
        is_unused = instance in self.fresh or instance in self.initialising
        assert is_standby == (
            is_unused and self._serving(version) >= self.kept[version]
        )
        if is_unused:
            assert version not in self.idle.values(), "a standby beside a warm one"
        self.idle.pop(instance, None)
        self.fresh.pop(instance, None)
        self.initialising.discard(instance)
        self.busy[instance] = invocation

    def _retire(self, instance: int) -> None:
        assert self._is_spare(instance), "it was kept"
        if instance in self.busy:
            # It was freed just now, for a tenant that has less.
            assert len(self.homes) + len(self.starting) >= self.max_instances - 1
            del self.busy[instance]
        else:
            has_standbys = any(self._is_spare(n) for n in self.fresh)
            owner = TENANTS[self.homes[instance]]
            is_own = self._places()[owner] >= self.max_of_tenant
            assert instance in self.fresh or not has_standbys or is_own
            self.idle.pop(instance, None)
            self.fresh.pop(instance, None)
        del self.homes[instance]

    def _is_spare(self, instance: int) -> bool:
        version = self.homes[instance]
        return Counter(self.homes.values())[version] > self.kept[version]

    def _serving(self, version: str) -> int:
        return sum(
            self.homes[number] == version and number not in self.initialising
            for number in self.busy
        )

    def _used(self, version: str) -> int:
        idle = Counter(self.idle.values())[version]
        starting = Counter(self.starting.values())[version]
        return idle + starting + self._serving(version)

    def _places(self) -> Counter[str]:
        everywhere = [*self.homes.values(), *self.starting.values()]
        everywhere += self.ahead.elements()
        return Counter(TENANTS[version] for version in everywhere)

    @rule(version=VERSIONS, holds=st.booleans(), spares=st.booleans())
    def arrive(self, version: str, holds: bool, spares: bool) -> None:
        invocation = f"i-{self._number()}"
        was_used = version in self.idle.values()
        had_idle = was_used or version in self.fresh.values()
        self.waiting[invocation] = version

        decisions = self.state.invocation_arrived(
            invocation,
            version,
            tenant=TENANTS[version],
            holds=holds,
            spares_fresh=spares,
        )
        serves = self._serving(version)
        self._act(decisions)

        if holds and invocation in self.waiting:
            self.held.add(invocation)
        if holds and serves > len(self.state.versions[version].held):
            assert decisions == [] or had_idle
        if was_used or (had_idle and not spares):
            assert [type(decision) for decision in decisions] == [Assign]
        if had_idle:
            assert invocation not in self.waiting, "it was given one, or a start"

    @rule(version=VERSIONS)
    def borrow(self, version: str) -> None:
        instance = self.state.instance_borrowed(version)

        assert (instance is not None) == (version in self.idle.values())
        if instance is not None:
            assert self.idle.pop(instance) == version
            self.busy[instance] = "borrowed"

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def hold_no_more(self, data: st.DataObject) -> None:
        invocation = data.draw(st.sampled_from(sorted(self.held)))
        version = self.waiting[invocation]
        self.held.discard(invocation)

        self._act(self.state.hold_no_more(invocation))

        state = self.state.versions.get(version)
        assert state is None or invocation not in state.held

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        invocation = data.draw(st.sampled_from(sorted(self.waiting)))
        del self.waiting[invocation]
        self.held.discard(invocation)

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

    @rule(version=VERSIONS, count=st.integers(0, 3))
    def stand_by(self, version: str, count: int) -> None:
        room = self.max_standbys - self.standbys.total() + self.standbys[version]
        self.standbys[version] = min(count, room)

        self._act(self.state.stand_by(version, count, tenant=TENANTS[version]))

        for instance in self.state.surplus_of(version):
            assert instance in self.fresh
            assert self._is_spare(instance)

    @rule()
    def refill(self) -> None:
        decisions = self.state.refill()

        assert len(decisions) <= 1
        assert not (decisions and self.waiting), "before somebody who waits"
        for decision in decisions:
            assert isinstance(decision, StartAhead)
            assert self.standbys[decision.version]
        self._act(decisions)

    @rule(version=VERSIONS, worth=st.sampled_from([0.01, 1.0, 30.0]))
    def be_worth(self, version: str, worth: float) -> None:
        self.state.worth(version, worth)

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
        version = self.homes[instance]
        decisions = self.state.instance_freed(instance)
        if version not in self.waiting.values() or Retire(instance) not in decisions:
            del self.busy[instance]
            is_fresh = instance in self.initialising
            self.initialising.discard(instance)
            (self.fresh if is_fresh else self.idle)[instance] = version
        else:
            places = self._places()
            heir = next(d for d in decisions if isinstance(d, Start))
            assert places[TENANTS[heir.version]] + 1 < places[TENANTS[version]]

        self._act(decisions)

    @precondition(lambda self: self.homes)
    @rule(data=st.data(), is_told_twice=st.booleans())
    def die(self, data: st.DataObject, is_told_twice: bool) -> None:
        instance = data.draw(st.sampled_from(sorted(self.homes)))
        for place in (self.busy, self.idle, self.fresh, self.homes):
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
            idle = {**self.idle, **self.fresh}
            ours = {n for n, home in self.homes.items() if home == version}
            assert set(self.state.idle_of(version)) == ours & idle.keys()
            ready = len(ours - self.initialising)
            assert self.state.kept_of(version) == (self.kept[version], ready)
            assert set(self.state.initialising_of(version)) == ours & self.initialising
            wanted, there = self.state.standbys_of(version)
            assert wanted == self.standbys[version]
            assert there <= min(wanted, len(ours & self.fresh.keys()))
        starting = [*self.starting.values(), *self.ahead.elements()]
        assert len(self.homes) + len(starting) <= self.max_instances
        assert len(starting) <= self.max_starting
        of_tenants = Counter(TENANTS[version] for version in starting)
        assert max(of_tenants.values(), default=0) <= self.max_starting_of_tenant
        assert max(self._places().values(), default=0) <= self.max_of_tenant

    @invariant()
    def nobody_is_held_for_an_instance_that_is_not_there(self) -> None:
        for name, version in self.state.versions.items():
            assert version.held.keys() <= self.held
            assert len(version.held) <= self._serving(name)

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        idle = Counter([*self.idle.values(), *self.fresh.values()])
        assert not any(idle[version] for version in self.waiting.values())


TestClusterState = Machine.TestCase
TestClusterState.settings = settings(max_examples=120, stateful_step_count=40)


def _state(
    *,
    instances: int = 10,
    starting: int = 10,
    of_tenant: int = 10,
    kept: int = 10,
    standbys: int = 10,
    places: int | None = None,
) -> ClusterState:
    return ClusterState(
        max_instances=instances,
        max_of_tenant=places,
        max_standbys=standbys,
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


# --- fairness -------------------------------------------------------------------------


def test_a_tenant_leaves_others_some_places_however_long_its_own_are_busy() -> None:
    state = _state(instances=3, places=2)
    for invocation in ("a", "b", "c"):
        _arrive(state, invocation, "resize")

    assert state.waiting == 1
    assert _arrive(state, "globex's", "mail") == [Start("globex's", "mail")]
    assert _arrive(state, "initech's", "sort") == []


def test_a_tenant_with_all_its_places_makes_room_by_its_own() -> None:
    state = _state(instances=3, places=2)
    _warm(state, 1, 2)
    _warm(state, 3, version="mail")

    assert _arrive(state, "i", "parse") == [Retire(1), Start("i", "parse")]


def test_who_has_less_gets_the_next_place_of_who_has_more() -> None:
    state = _state(instances=3)
    for number in (1, 2, 3):
        _arrive(state, f"acme's {number}", "resize")
        state.start_ended("resize", number)
    _arrive(state, "acme's 4", "resize")
    for name in ("b", "c"):
        _arrive(state, f"globex's {name}", "mail")

    assert state.instance_freed(1) == [Retire(1), Start("globex's b", "mail")]
    state.start_ended("mail", 4)
    # Now it is two of one and one of the other: nobody has much more.
    assert state.instance_freed(2) == [Assign("acme's 4", 2)]


def test_what_is_kept_is_given_to_nobody_else() -> None:
    state = _state(instances=3)
    _keep(state, "resize", 3)
    for number in (1, 2, 3):
        _start_ahead(state, number)
        _arrive(state, f"acme's {number}", "resize")
    _arrive(state, "acme's 4", "resize")
    _arrive(state, "globex's", "mail")

    assert state.instance_freed(1) == [Assign("acme's 4", 1)]


def test_of_idle_instances_those_of_who_has_more_go_first() -> None:
    state = _state(instances=4)
    _warm(state, 1, version="mail")
    _warm(state, 2, 3, 4, version="resize")

    assert _arrive(state, "i", "sort") == [Retire(2), Start("i", "sort")]


# --- held -----------------------------------------------------------------------------


def _serve(state: ClusterState, *instances: int) -> None:
    for instance in instances:
        _arrive(state, f"runs-{instance}", "resize")
        state.start_ended("resize", instance)


def _hold(state: ClusterState, invocation: str) -> list[Decision]:
    return state.invocation_arrived(
        invocation, "resize", tenant=TENANTS["resize"], holds=True
    )


def test_none_is_started_for_one_that_is_held_and_it_gets_the_next_free_one() -> None:
    state = _state()
    _serve(state, 1)

    assert _hold(state, "i") == []
    assert state.instance_freed(1) == [Assign("i", 1)]


def test_there_is_one_that_serves_for_each_that_is_held() -> None:
    state = _state()
    _serve(state, 1)
    _hold(state, "i")

    assert _hold(state, "j") == [Start("j", "resize")]


def test_one_is_started_when_it_has_been_held_for_long_enough() -> None:
    state = _state()
    _serve(state, 1)
    _hold(state, "i")

    assert state.hold_no_more("i") == [Start("i", "resize")]
    assert state.hold_no_more("i") == []
    assert state.hold_no_more("nobody") == []


def test_one_is_started_when_what_it_is_held_for_dies() -> None:
    state = _state()
    _serve(state, 1)
    _hold(state, "i")

    assert state.instance_died(1) == [Start("i", "resize")]


def test_who_leaves_while_it_is_held_leaves_nothing() -> None:
    state = _state()
    _serve(state, 1)
    _hold(state, "i")

    state.invocation_left("i")

    state.check()
    assert state.waiting == 0


# --- standing by ----------------------------------------------------------------------


def _stand_by(state: ClusterState, version: str, count: int) -> list[Decision]:
    return state.stand_by(version, count, tenant=TENANTS[version])


def test_a_standby_is_started_when_it_is_time_and_used_as_a_cold_start() -> None:
    state = _state()

    assert _stand_by(state, "resize", 1) == []
    assert state.refill() == [StartAhead("resize")]
    assert state.refill() == []
    _start_ahead(state, 1)
    assert state.standbys_of("resize") == (1, 1)
    assert _arrive(state, "i", "resize") == [Assign("i", 1, is_standby=True)]
    assert state.refill() == [StartAhead("resize")]


def test_a_warm_instance_is_used_before_a_standby() -> None:
    state = _state()
    _stand_by(state, "resize", 1)
    _warm(state, 1)
    state.refill()
    _start_ahead(state, 2)

    assert _arrive(state, "i", "resize") == [Assign("i", 1)]
    assert _arrive(state, "j", "resize") == [Assign("j", 2, is_standby=True)]


def test_what_is_kept_is_no_cold_start_and_what_stands_by_beside_it_is() -> None:
    state = _state()
    _keep(state, "resize", 1)
    _stand_by(state, "resize", 1)
    _start_ahead(state, 1)
    state.refill()
    _start_ahead(state, 2)

    assert _arrive(state, "i", "resize") == [Assign("i", 1)]
    assert _arrive(state, "j", "resize") == [Assign("j", 2, is_standby=True)]


def test_no_standby_is_started_before_somebody_who_waits_or_in_anothers_place() -> None:
    state = _state(instances=2, starting=1)
    _stand_by(state, "resize", 2)
    _arrive(state, "first", "mail")
    _arrive(state, "second", "mail")

    assert state.refill() == []
    state.start_ended("mail", 1)
    state.start_ended("mail", 2)
    assert state.refill() == [], "there is no room"


def test_standbys_are_the_first_to_go() -> None:
    state = _state(instances=2)
    _warm(state, 1, version="mail")
    _stand_by(state, "resize", 1)
    state.refill()
    _start_ahead(state, 2)

    assert _arrive(state, "i", "sort") == [Retire(2), Start("i", "sort")]


def test_what_stands_by_no_more_is_surplus() -> None:
    state = _state()
    _stand_by(state, "resize", 2)
    for number in (1, 2):
        state.refill()
        _start_ahead(state, number)
    _stand_by(state, "resize", 1)

    assert state.surplus_of("resize") == [1]


def test_no_more_stand_by_than_may() -> None:
    state = _state(standbys=3)
    _stand_by(state, "resize", 2)
    _stand_by(state, "mail", 2)

    assert state.standbys_of("mail") == (1, 0)


def test_what_is_worth_more_is_spared() -> None:
    state = _state(instances=2)
    _arrive(state, "warm", "mail")
    state.start_ended("mail", 1)
    state.worth("mail", 16.0)
    state.instance_freed(1)
    _warm(state, 2, version="sort")

    assert _arrive(state, "i", "resize") == [Retire(2), Start("i", "resize")]


def test_what_is_over_is_forgotten() -> None:
    state = _state(instances=1)
    _warm(state, 1, version="mail")
    _arrive(state, "busy", "mail")
    _arrive(state, "waits", "resize")
    state.invocation_left("waits")
    state.instance_died(1)

    state.check()
    assert not state.tenants
    assert not state.versions


def test_its_repr_counts() -> None:
    state = _state(starting=1)
    _warm(state, 1)
    _arrive(state, "a", "parse")
    _arrive(state, "b", "parse")

    assert repr(state) == "<ClusterState 1 idle, 0 busy, 1 starting, 1 waiting>"


def test_a_state_that_contradicts_itself_is_noticed() -> None:
    state = _state()
    _warm(state, 1)
    state.homes.clear()

    with pytest.raises((AssertionError, KeyError)):
        state.check()
