"""The triggers of all tenants: made, changed, found, deleted.

A trigger belongs to its function, and goes with it. So its document has the function
as its owner, and gets a new key each time that it comes to another: one that moves is
never without a document, and where a crash leaves both, the newer counts.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.pages import page_of
from sandlot_engine.catalog.targets import check_is_not_isolated
from sandlot_engine.clock import Clock
from sandlot_engine.errors import (
    AlreadyExists,
    InvalidParameter,
    NotFound,
    QuotaExceeded,
)
from sandlot_engine.model.trigger import (
    DEFAULT_GROUP,
    Progress,
    ScheduleGroup,
    Trigger,
    TriggerKind,
)
from sandlot_engine.store.ports import DocumentStore
from sandlot_engine.triggers import changes, plan
from sandlot_engine.triggers.checks import check, check_start

MAX_TRIGGERS = 1_000
"""Of one tenant."""

MAX_INPUTS = 16 * 2**20
"""Bytes that all schedules of one tenant send: they are in memory."""

_SWEPT_FROM = 1_024
"""So many places before it is worth while to see which are empty."""

Change = Callable[[Trigger], Trigger]
Hear = Callable[[Trigger], object]


def kept_triggers(store: DocumentStore) -> Kept[Trigger]:
    """One of the `belongings` of `Functions`."""
    return Kept(store, "trigger", Trigger)


def kept_progress(store: DocumentStore) -> Kept[Progress]:
    """The same; under the keys of their triggers."""
    return Kept(store, "trigger-progress", Progress)


def kept_groups(store: DocumentStore) -> Kept[ScheduleGroup]:
    """Of tenants: one of the `of_tenants` of `Functions`. By name, without an owner."""
    return Kept(store, "schedule-group", ScheduleGroup)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a trigger's documents are."""

    owner: str
    key: str


class Triggers:
    """Of all tenants. `load` comes once the catalog has loaded what it keeps.

    `heard` are told, without waiting, of each trigger that was made, changed or
    deleted; those that went with their function are noticed by whoever looks.
    """

    def __init__(
        self,
        kept: Kept[Trigger],
        progress: Kept[Progress],
        groups: Kept[ScheduleGroup],
        functions: Functions,
        *,
        clock: Clock,
    ) -> None:
        self._kept = kept
        self._progress = progress
        self._groups = groups
        self._functions = functions
        self._clock = clock
        self._places: dict[tuple[str, str, str], _Place] = {}
        """By tenant, group and name. A function that goes takes its triggers along and
        tells nobody, so that a place may turn out to be empty."""
        self._sweep_at = _SWEPT_FROM
        self.heard: list[Hear] = []

    async def load(self) -> None:
        """Find what there is, and end moves that a crash had stopped half-way."""
        for tenant_id in self._kept.tenants():
            found = [
                (trigger, _Place(owner, key))
                for owner, triggers in self._kept.owners(tenant_id).items()
                for key, trigger in triggers.items()
            ]
            found.sort(key=lambda each: each[0].modified)
            for trigger, place in found:
                name = (tenant_id, trigger.group, trigger.name)
                if older := self._places.get(name):
                    await self._delete(tenant_id, older)
                self._places[name] = place

    # --- found --------------------------------------------------------------------

    def find(
        self, tenant_id: str, name: str, group: str = DEFAULT_GROUP
    ) -> Trigger | None:
        """From memory. Never waits."""
        place = self._places.get((tenant_id, group, name))
        if place is None:
            return None
        found = self._kept.get(tenant_id, place.owner, place.key)
        if found is None:
            del self._places[tenant_id, group, name]
        return found

    def get(
        self,
        tenant_id: str,
        name: str,
        group: str = DEFAULT_GROUP,
        *,
        kind: TriggerKind | None = None,
    ) -> Trigger:
        """Raises `NotFound`, also for one of another kind."""
        found = self.find(tenant_id, name, group)
        if found is None or kind not in (None, found.kind):
            what = "Schedule" if kind is TriggerKind.SCHEDULE else "Trigger"
            raise NotFound(f"{what} {name} does not exist.", kind="trigger", name=name)
        return found

    def is_current(self, trigger: Trigger) -> bool:
        """Whether it is still there, and as it was."""
        return self.find(trigger.tenant_id, trigger.name, trigger.group) == trigger

    def of_kind(self, kind: TriggerKind) -> Iterator[Trigger]:
        """Of all tenants."""
        for tenant_id in self._kept.tenants():
            yield from (each for each in self.all(tenant_id) if each.kind is kind)

    def all(self, tenant_id: str) -> Iterator[Trigger]:
        for triggers in self._kept.owners(tenant_id).values():
            yield from triggers.values()

    def progress(self, trigger: Trigger) -> Progress:
        """How far a schedule has come."""
        assert trigger.schedule is not None  # noqa: S101 - others have none
        place = self._places.get(_name(trigger))
        found = place and self._progress.get(trigger.tenant_id, place.owner, place.key)
        return found or plan.begin(trigger.schedule)

    # --- changed ------------------------------------------------------------------

    async def create(self, trigger: Trigger) -> Trigger:
        """Raises `InvalidParameter`, `AlreadyExists`, `QuotaExceeded`."""
        check(trigger)
        if trigger.schedule is not None:
            check_start(trigger.schedule.start, now=self._clock.now())

        async def create() -> Trigger:
            self._require(trigger)
            self._check_room(trigger, old=None)
            if self.find(trigger.tenant_id, trigger.name, trigger.group):
                what = trigger.kind.value.capitalize()
                raise AlreadyExists(f"{what} {trigger.name} already exists.")
            place = _Place(trigger.function, _new_key())
            await self._put(trigger, place)
            return trigger

        created = await self._functions.in_turn(trigger.tenant_id, create)
        self._tell(created)
        return created

    async def change(
        self,
        tenant_id: str,
        name: str,
        group: str = DEFAULT_GROUP,
        *,
        kind: TriggerKind | None = None,
        change: Change,
    ) -> Trigger:
        """Make what `change` makes of it. Raises `NotFound`, and as `create` does.

        A schedule whose times are others now begins anew; one that is resumed makes up
        for nothing that passed while it was paused.
        """

        async def change_it() -> Trigger:
            old = self.get(tenant_id, name, group, kind=kind)
            new = self._changed(old, change(old))
            check(new)
            self._require(new)
            self._check_room(new, old=old)
            await self._replace(old, new)
            return new

        changed = await self._functions.in_turn(tenant_id, change_it)
        self._tell(changed)
        return changed

    async def delete(
        self,
        tenant_id: str,
        name: str,
        group: str = DEFAULT_GROUP,
        *,
        kind: TriggerKind | None = None,
    ) -> Trigger:
        """What it was. Raises `NotFound`."""

        async def delete() -> Trigger:
            found = self.get(tenant_id, name, group, kind=kind)
            await self._delete(tenant_id, self._places.pop(_name(found)))
            return found

        deleted = await self._functions.in_turn(tenant_id, delete)
        self._tell(deleted)
        return deleted

    async def settle(
        self, trigger: Trigger, progress: Progress, *, sets_back: bool = False
    ) -> bool:
        """Keep how far a schedule has come, if it is still there; whether it is. It has
        never come less far than before, unless that `sets_back`."""

        async def settle() -> bool:
            found = self.find(trigger.tenant_id, trigger.name, trigger.group)
            if found is None or found.id != trigger.id:
                return False
            place = self._places[_name(trigger)]
            if found.schedule != trigger.schedule:
                # It was changed meanwhile, and may have begun anew.
                return True
            # It may also have been paused and resumed: then it is further.
            through = progress.through
            if not sets_back:
                through = max(through, self.progress(found).through)
            await self._progress.put(
                trigger.tenant_id,
                place.owner,
                place.key,
                replace(progress, through=through),
            )
            return True

        return await self._functions.in_turn(trigger.tenant_id, settle)

    async def delete_group(self, tenant_id: str, group: str) -> None:
        """A group, and all its schedules. Raises `NotFound`."""

        async def delete() -> tuple[Trigger, ...]:
            if self._groups.get(tenant_id, "", group) is None:
                raise no_group(group)
            gone = tuple(one for one in self.all(tenant_id) if one.group == group)
            for trigger in gone:
                await self._delete(tenant_id, self._places.pop(_name(trigger)))
            await self._groups.delete(tenant_id, "", group)
            return gone

        for trigger in await self._functions.in_turn(tenant_id, delete):
            self._tell(trigger)

    async def delete_if_same(self, trigger: Trigger) -> None:
        """Unless it was changed meanwhile."""

        async def delete() -> None:
            if self.is_current(trigger):
                await self._delete(trigger.tenant_id, self._places.pop(_name(trigger)))

        await self._functions.in_turn(trigger.tenant_id, delete)

    # Last of the public ones: from here on `list` hides the builtin.
    def list(
        self,
        tenant_id: str,
        *,
        kind: TriggerKind | None = None,
        group: str = "",
        function: str = "",
        prefix: str = "",
        is_enabled: bool | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> tuple[list[Trigger], str]:
        """A page by group and name, and the token of the next."""
        found = {
            f"{each.group}/{each.name}": each
            for each in self.all(tenant_id)
            if kind in (None, each.kind)
            and group in ("", each.group)
            and function in ("", each.function)
            and each.name.startswith(prefix)
            and is_enabled in (None, each.is_enabled)
        }
        page, token = page_of(sorted(found), page_size, page_token)
        return [found[key] for key in page], token

    def _changed(self, old: Trigger, new: Trigger) -> Trigger:
        """As it is kept: a schedule with other times has another beginning."""
        now = self._clock.now()
        schedule = new.schedule
        if schedule is not None and old.schedule is not None:
            if schedule.start != old.schedule.start:
                check_start(schedule.start, now=now)
            is_same = changes.times(new) == changes.times(old)
            schedule = replace(schedule, anchor=old.schedule.anchor if is_same else now)
        return replace(new, schedule=schedule, modified=now)

    # --- in turn ------------------------------------------------------------------

    async def _put(self, trigger: Trigger, place: _Place) -> None:
        await self._kept.put(trigger.tenant_id, place.owner, place.key, trigger)
        self._places[_name(trigger)] = place
        if len(self._places) > self._sweep_at:
            for tenant_id, group, name in list(self._places):
                self.find(tenant_id, name, group)
            self._sweep_at = max(2 * len(self._places), _SWEPT_FROM)

    async def _replace(self, old: Trigger, new: Trigger) -> None:
        place = self._places[_name(old)]
        if new.schedule != old.schedule or (new.schedule and not old.is_enabled):
            await self._put_progress(old, new, place)
        if new.function == old.function:
            await self._put(new, place)
            return
        # There first, and gone here after: see above.
        moved = _Place(new.function, _new_key())
        if progress := self._progress.get(new.tenant_id, place.owner, place.key):
            await self._progress.put(new.tenant_id, moved.owner, moved.key, progress)
        await self._put(new, moved)
        await self._delete(new.tenant_id, place)

    async def _put_progress(self, old: Trigger, new: Trigger, place: _Place) -> None:
        """Before the schedule itself: a crash between leaves one that skips what was
        due, and not one that makes up for what was not."""
        progress = changes.changed_progress(
            old, new, self.progress(old), now=self._clock.now()
        )
        await self._progress.put(old.tenant_id, place.owner, place.key, progress)

    async def _delete(self, tenant_id: str, place: _Place) -> None:
        await self._kept.delete(tenant_id, place.owner, place.key)
        await self._progress.delete(tenant_id, place.owner, place.key)

    def _require(self, trigger: Trigger) -> None:
        if trigger.group != DEFAULT_GROUP and not self._groups.get(
            trigger.tenant_id, "", trigger.group
        ):
            raise no_group(trigger.group)
        try:
            found = self._functions.find(
                trigger.tenant_id, trigger.function, trigger.qualifier
            )
        except NotFound as error:
            raise InvalidParameter(error.message, field="function") from error
        check_is_not_isolated(found, "A trigger")

    def _check_room(self, new: Trigger, *, old: Trigger | None) -> None:
        others = [each for each in self.all(new.tenant_id) if each is not old]
        if len(others) >= MAX_TRIGGERS:
            raise QuotaExceeded(
                f"Tenant {new.tenant_id} has {len(others)} triggers of {MAX_TRIGGERS} "
                "allowed. Delete one first.",
                limit=MAX_TRIGGERS,
            )
        size = sum(map(_input_size, (new, *others)))
        if size > MAX_INPUTS:
            raise QuotaExceeded(
                f"The inputs of tenant {new.tenant_id}'s schedules would have {size} "
                f"bytes of {MAX_INPUTS} allowed.",
                limit=MAX_INPUTS,
            )

    def _tell(self, trigger: Trigger) -> None:
        for hear in self.heard:
            hear(trigger)


def no_group(name: str) -> NotFound:
    return NotFound(
        f"Schedule group {name} does not exist.", kind="schedule-group", name=name
    )


def _input_size(trigger: Trigger) -> int:
    return len(trigger.schedule.input) if trigger.schedule is not None else 0


def _name(trigger: Trigger) -> tuple[str, str, str]:
    return trigger.tenant_id, trigger.group, trigger.name


def _new_key() -> str:
    """Never one of a version or an alias, with which a function's belongings go."""
    return f"trigger/{secrets.token_hex(16)}"
