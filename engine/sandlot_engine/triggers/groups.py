"""Groups of schedules: names that tenants put together what they like under."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.pages import page_of
from sandlot_engine.catalog.settings import checked_tags
from sandlot_engine.clock import Clock
from sandlot_engine.errors import AlreadyExists, InvalidParameter, QuotaExceeded
from sandlot_engine.model.trigger import DEFAULT_GROUP, ScheduleGroup
from sandlot_engine.triggers.checks import check_name
from sandlot_engine.triggers.keeping import Triggers, no_group
from sandlot_engine.triggers.plan import EPOCH

MAX_GROUPS = 500
"""Of one tenant (AWS's)."""

_DEFAULT = ScheduleGroup(name=DEFAULT_GROUP, created=EPOCH, modified=EPOCH)


class Groups:
    """The groups of all tenants' schedules. Each tenant has the group `default` from
    the beginning."""

    def __init__(
        self,
        kept: Kept[ScheduleGroup],
        triggers: Triggers,
        functions: Functions,
        *,
        clock: Clock,
    ) -> None:
        self._kept = kept
        self._triggers = triggers
        self._functions = functions
        self._clock = clock

    def get(self, tenant_id: str, name: str) -> ScheduleGroup:
        """Raises `NotFound`."""
        found = self._kept.get(tenant_id, "", name)
        if found is None and name == DEFAULT_GROUP:
            return _DEFAULT
        if found is None:
            raise no_group(name)
        return found

    async def create(
        self, tenant_id: str, name: str, tags: Mapping[str, str]
    ) -> ScheduleGroup:
        """Raises `InvalidParameter`, `AlreadyExists`, `QuotaExceeded`."""
        check_name(name)
        checked = checked_tags(tags)

        async def create() -> ScheduleGroup:
            groups = self._kept.of(tenant_id, "")
            if name == DEFAULT_GROUP or name in groups:
                raise AlreadyExists(f"Schedule group {name} already exists.")
            if len(groups) >= MAX_GROUPS:
                raise QuotaExceeded(
                    f"Tenant {tenant_id} has {len(groups)} schedule groups of "
                    f"{MAX_GROUPS} allowed. Delete one first.",
                    limit=MAX_GROUPS,
                )
            now = self._clock.now()
            group = ScheduleGroup(name=name, created=now, modified=now, tags=checked)
            return await self._kept.put(tenant_id, "", name, group)

        return await self._functions.in_turn(tenant_id, create)

    async def tag(
        self,
        tenant_id: str,
        name: str,
        change: Callable[[dict[str, str]], dict[str, str]],
    ) -> ScheduleGroup:
        """Have its tags as `change` makes them. Raises `NotFound`,
        `InvalidParameter`."""

        async def tag() -> ScheduleGroup:
            old = self.get(tenant_id, name)
            tags = checked_tags(change(dict(old.tags)))
            group = replace(old, tags=tags, modified=self._clock.now())
            return await self._kept.put(tenant_id, "", name, group)

        return await self._functions.in_turn(tenant_id, tag)

    async def delete(self, tenant_id: str, name: str) -> None:
        """Delete it, with all its schedules. Raises `NotFound`, `InvalidParameter`."""
        if name == DEFAULT_GROUP:
            raise InvalidParameter(
                f"The schedule group {DEFAULT_GROUP} cannot be deleted.", field="Name"
            )
        await self._triggers.delete_group(tenant_id, name)

    # Last, because from here on the class's `list` hides the builtin.
    def list(
        self, tenant_id: str, *, prefix: str, page_size: int, page_token: str
    ) -> tuple[list[ScheduleGroup], str]:
        """A page by name, and the token of the next."""
        groups = {DEFAULT_GROUP: _DEFAULT, **self._kept.of(tenant_id, "")}
        names = sorted(name for name in groups if name.startswith(prefix))
        page, token = page_of(names, page_size, page_token)
        return [groups[name] for name in page], token
