"""The scheduler's state: invocations come, wait, run and go in any order."""

from collections import Counter

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
from tests.unit.scheduler.states import TENANTS

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
