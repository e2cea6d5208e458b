"""Who waits, runs, is idle: events in, decisions out. No clock, no loop, no I/O.

Names are strings and numbers that mean nothing here. Every method changes the state
at once and returns what has to be done about it; `check` tells whether it is sound.
"""

from sandlot_engine.scheduler.books import Books
from sandlot_engine.scheduler.decisions import (
    Assign,
    Decision,
    Retire,
    Start,
    StartAhead,
)
from sandlot_engine.scheduler.soundness import check
from sandlot_engine.scheduler.versions import Tenant, Version

__all__ = ["Assign", "ClusterState", "Decision", "Retire", "Start", "StartAhead"]


class ClusterState(Books):
    """All versions on the machine. `max_instances` live at once, `max_of_tenant` of
    them one tenant's, and `max_starting` are being started: more at once would only
    make each of them slower. A tenant has at most `max_starting_of_tenant` of the
    latter, since a start may hang; those with something to start take turns, and what
    is started ahead comes after them. `max_kept` instances can be kept, in all, so that
    others have the rest, and `max_standbys` can stand by beside them."""

    # --- invocations --------------------------------------------------------------

    def invocation_arrived(
        self,
        invocation: str,
        version: str,
        *,
        tenant: str,
        holds: bool = False,
        spares_fresh: bool = False,
    ) -> list[Decision]:
        """Empty where it has to wait. One that `holds` waits for an instance that
        serves now, where there is one for it: until `hold_no_more`, none is started for
        it. One that `spares_fresh` rather has one started, if that can be at once, than
        one that is unused."""
        state = self.versions.setdefault(version, Version(tenant))
        if state.idle:
            # Newest first, so that the oldest grow stale and give back their memory.
            # Taking turns would keep every one of them warm for ever.
            instance = state.idle.pop()
            self.idle.discard(instance)
            state.busy.add(instance)
            return [Assign(invocation, instance)]
        if state.fresh and not spares_fresh:
            return [self._use_fresh(invocation, version)]
        state.waiting[invocation] = None
        self.queue[invocation] = version
        if state.fresh:
            return self._start_or_use_fresh(invocation, version)
        if holds and len(state.held) < state.serving:
            state.held[invocation] = None
            return []
        self.tenants.setdefault(tenant, Tenant()).waiting[invocation] = None
        return self._start_what_can_be()

    def _start_or_use_fresh(self, invocation: str, version: str) -> list[Decision]:
        tenant = self.versions[version].tenant
        self.tenants.setdefault(tenant, Tenant()).waiting[invocation] = None
        decisions = self._start_what_can_be()
        if invocation in self.queue and self.versions[version].fresh:
            self.stop_waiting(invocation)
            self.drop_if_idle(tenant)
            decisions.append(self._use_fresh(invocation, version))
        return decisions

    def hold_no_more(self, invocation: str) -> list[Decision]:
        """An instance may be started for it now; harmless if it does not wait."""
        version = self.queue.get(invocation)
        if version is None or invocation not in self.versions[version].held:
            return []
        self.release(self.versions[version], invocation)
        return self._start_what_can_be()

    def instance_borrowed(self, version: str) -> int | None:
        """Somebody takes an idle instance of a version that was used, and frees it
        later; None where there is none."""
        state = self.versions.get(version)
        if state is None or not state.idle:
            return None
        instance = state.idle.pop()
        self.idle.discard(instance)
        state.busy.add(instance)
        return instance

    def invocation_left(self, invocation: str) -> None:
        """It gave up while it waited."""
        if invocation in self.queue:
            version = self.queue[invocation]
            self.stop_waiting(invocation)
            self.drop_if_empty(version)

    # --- instances ----------------------------------------------------------------

    def start_ended(
        self, version: str, instance: int | None, *, ahead: bool = False
    ) -> list[Decision]:
        """An instance was started, and is busy with the invocation it was started
        for; or none was, and that invocation knows.

        One that was started ahead is busy with its init, and free after that; after one
        that could not be started, no other is until `keep` or `stand_by` is called.
        """
        state = self.versions[version]
        state.starting -= 1
        state.starting_ahead -= ahead
        self.starting -= 1
        self.tenants[state.tenant].starting -= 1
        if instance is not None:
            state.busy.add(instance)
            self.homes[instance] = version
            if ahead:
                state.initialising.add(instance)
        else:
            self.give_up_place(state.tenant)
            state.is_stalled = state.is_stalled or ahead
        self.note_due(version)
        self.drop_if_empty(version)
        return self._start_what_can_be()

    def instance_freed(self, instance: int) -> list[Decision]:
        """It answered, or is initialised, and can serve now."""
        version = self.homes.get(instance)
        if version is None:
            return []
        state = self.versions[version]
        is_fresh = instance in state.initialising
        state.initialising.discard(instance)
        if state.waiting and (heir := self._heir(instance)) is not None:
            self.forget(instance)
            return [Retire(instance), self._start(heir), *self._start_what_can_be()]
        state.busy.discard(instance)
        if is_fresh:
            state.fresh.append(instance)
            self.fresh[instance] = None
        else:
            state.idle.append(instance)
            self.idle.add(instance, worth=self.worths.get(version, 1.0))
        if not state.waiting:
            return self._start_what_can_be()
        invocation = next(iter(state.waiting))
        self.stop_waiting(invocation)
        self.drop_if_idle(state.tenant)
        return self.invocation_arrived(invocation, version, tenant=state.tenant)

    def instance_died(self, instance: int, *, was_used: bool = True) -> list[Decision]:
        """Whatever it was doing; telling twice does no harm. After one that was started
        ahead and ended before it was used, no other is until `keep` or `stand_by`."""
        if instance not in self.homes:
            return []
        if not was_used:
            self.versions[self.homes[instance]].is_stalled = True
        self.forget(instance)
        return self._start_what_can_be()

    def evict(self, instance: int) -> list[Decision]:
        """An idle instance has to go, because what it takes is needed."""
        if instance not in self.homes:
            return []
        self.forget(instance, had_to_go=True)
        return [Retire(instance), *self._start_what_can_be()]

    # --- ahead --------------------------------------------------------------------

    def keep(self, version: str, count: int, *, tenant: str) -> list[Decision]:
        """From now on have `count` instances live, or as many as there is room for;
        with 0, none more than are needed. Also to try again what could not be started.
        """
        state = self.versions.setdefault(version, Version(tenant))
        others = sum(self.versions[each].kept for each in self.kept) - state.kept
        state.kept = max(0, min(count, self.max_kept - others))
        state.is_stalled = False
        if state.kept:
            self.kept[version] = None
        else:
            self.kept.pop(version, None)
        self.note_due(version)
        self.drop_if_empty(version)
        return self._start_what_can_be()

    def stand_by(self, version: str, count: int, *, tenant: str) -> list[Decision]:
        """From now on `count` unused instances are to be there beside those that are
        kept, or as many as `max_standbys` leaves. `refill` starts them, also those that
        could not be started before; what is too many goes by `surplus_of`."""
        state = self.versions.setdefault(version, Version(tenant))
        others = self.standbys - state.standbys
        state.standbys = max(0, min(count, self.max_standbys - others))
        self.standbys = others + state.standbys
        state.is_stalled = False
        self.note_due(version)
        self.drop_if_empty(version)
        return self._start_what_can_be()

    def refill(self) -> list[Decision]:
        """Start a standby that is lacking, where nobody waits and there is room: one,
        so that whoever comes finds places to start in."""
        if self.queue or self.is_full or self.starting >= self.max_starting:
            return []
        for version in list(self.due):
            state = self.versions.get(version)
            if state is None or not state.lacking:
                del self.due[version]
            elif (
                self._may_start(state.tenant)
                and self.places[state.tenant] < self.max_of_tenant
            ):
                return [self._start_ahead(version)]
        return []

    def worth(self, version: str, worth: float) -> None:
        """From now on an instance of the version that becomes idle is spared that much
        longer than one that is worth 1; only for versions that have instances."""
        if version in self.versions:
            self.worths[version] = worth

    def check(self) -> None:
        """Raise `AssertionError` if the state contradicts itself."""
        check(self)

    # --- what can be started ------------------------------------------------------

    def _start_what_can_be(self) -> list[Decision]:
        decisions: list[Decision] = []
        while self.starting < self.max_starting and (found := self.next_start()):
            tenant, version, victim = found
            if victim is not None:
                self.forget(victim, had_to_go=True)
                decisions.append(Retire(victim))
            decisions.append(
                self._start(tenant) if version is None else self._start_ahead(version)
            )
        return decisions

    def next_start(self) -> tuple[str, str | None, int | None] | None:
        """Whose turn it is to start something, of which version if it is ahead, and
        who has to go for it; None where nobody can."""
        for name, tenant in self.tenants.items():
            if tenant.waiting and self._may_start(name):
                victim, has_place = self._place_for(name)
                if has_place:
                    return name, None, victim
        for version in self.kept:
            state = self.versions[version]
            if state.missing and self._may_start(state.tenant):
                victim, has_place = self._place_for(state.tenant)
                if has_place:
                    return state.tenant, version, victim
        return None

    def _may_start(self, name: str) -> bool:
        tenant = self.tenants.get(name)
        return tenant is None or tenant.starting < self.max_starting_of_tenant

    def _place_for(self, name: str) -> tuple[int | None, bool]:
        """Who has to go for it, if anybody, and whether there is a place at all."""
        is_at_most = self.places[name] >= self.max_of_tenant
        if not (is_at_most or self.is_full):
            return None, True
        second: int | None = None
        for victim in self.victims():
            owner = self.versions[self.homes[victim]].tenant
            # Of those that were used, those of who has more go first.
            if owner == name or (
                not is_at_most
                and (
                    victim in self.fresh
                    or self.places[owner] > max(1, self.places[name])
                )
            ):
                return victim, True
            if second is None and not is_at_most:
                second = victim
        return second, second is not None

    def _heir(self, instance: int) -> str | None:
        """The tenant that is to have the place of an instance that has just become
        free: one that waits for a place, and has fewer of them."""
        if not self.is_full or self.starting >= self.max_starting:
            return None
        if not self.can_spare(instance):
            return None
        have = self.places[self.versions[self.homes[instance]].tenant]
        for name, tenant in self.tenants.items():
            if (
                tenant.waiting
                and self.places[name] + 1 < have
                and self._may_start(name)
                and self.places[name] < self.max_of_tenant
            ):
                return name
        return None

    def _start(self, name: str) -> Start:
        # To the end of the queue, for its next turn.
        tenant = self.tenants[name] = self.tenants.pop(name)
        invocation = next(iter(tenant.waiting))
        version = self.queue[invocation]
        self.stop_waiting(invocation)
        self.count_start(version)
        return Start(invocation, version)

    def _start_ahead(self, version: str) -> StartAhead:
        # To the end of the queues, for its next turn.
        for turns in (self.kept, self.due):
            if version in turns:
                del turns[version]
                turns[version] = None
        self.tenants.setdefault(self.versions[version].tenant, Tenant())
        self.count_start(version)
        self.versions[version].starting_ahead += 1
        return StartAhead(version)

    def _use_fresh(self, invocation: str, version: str) -> Assign:
        state = self.versions[version]
        is_standby = state.serving >= state.kept
        instance = state.fresh.pop(0)
        del self.fresh[instance]
        state.busy.add(instance)
        self.note_due(version)
        return Assign(invocation, instance, is_standby)
