"""The operations: each an async function from a `Call` to its output."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sandlot_engine.clock import Clock
from sandlot_engine.errors import AlreadyExists
from sandlot_engine.gateway.aws.scheduler import shapes
from sandlot_engine.model.tenant import Caller
from sandlot_engine.model.trigger import DEFAULT_GROUP, Trigger, TriggerKind
from sandlot_engine.triggers.groups import Groups
from sandlot_engine.triggers.keeping import Triggers
from sandlot_engine.triggers.making import new_trigger

PAGE = 100
"""Things in a page where nobody says how many; AWS's most."""

_KIND = TriggerKind.SCHEDULE


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Authentic, and as the model allows it."""

    caller: Caller
    region: str
    input: Mapping[str, Any]
    triggers: Triggers
    groups: Groups
    clock: Clock

    @property
    def tenant_id(self) -> str:
        return self.caller.tenant_id

    @property
    def group(self) -> str:
        group: str = self.input.get("GroupName", DEFAULT_GROUP)
        return group

    def page(self) -> tuple[int, str]:
        return self.input.get("MaxResults", PAGE), self.input.get("NextToken", "")


async def create_schedule(call: Call) -> Mapping[str, Any]:
    given, target = call.input, call.input["Target"]
    function, qualifier = shapes.target_of(
        target["Arn"], region=call.region, account=call.tenant_id
    )
    now = call.clock.now()
    wanted = new_trigger(
        call.tenant_id,
        _KIND,
        given["Name"],
        function,
        qualifier,
        now=now,
        group=call.group,
        description=given.get("Description", ""),
        is_enabled=given.get("State") != "DISABLED",
        client_token=given.get("ClientToken", ""),
        schedule=shapes.schedule_of(given, now=now),
    )
    try:
        made = await call.triggers.create(wanted)
    except AlreadyExists:
        # The same call again, whose answer was lost on the way.
        found = call.triggers.find(call.tenant_id, wanted.name, wanted.group)
        if found is None or not found.client_token:
            raise
        if found.client_token != wanted.client_token:
            raise
        made = found
    return {"ScheduleArn": shapes.schedule_arn(made, call.region)}


async def get_schedule(call: Call) -> Mapping[str, Any]:
    found = call.triggers.get(
        call.tenant_id, call.input["Name"], call.group, kind=_KIND
    )
    return shapes.shown(found, call.region)


async def update_schedule(call: Call) -> Mapping[str, Any]:
    """As a whole: what is not given is again as it is by default."""
    given, target = call.input, call.input["Target"]
    function, qualifier = shapes.target_of(
        target["Arn"], region=call.region, account=call.tenant_id
    )
    schedule = shapes.schedule_of(given, now=call.clock.now())

    def changed(old: Trigger) -> Trigger:
        assert old.schedule is not None  # noqa: S101 - it is of that kind
        return replace(
            old,
            function=function,
            qualifier=qualifier,
            description=given.get("Description", ""),
            is_enabled=given.get("State") != "DISABLED",
            # Not AWS's, and so not for its API to change.
            schedule=replace(schedule, missed=old.schedule.missed),
        )

    trigger = await call.triggers.change(
        call.tenant_id, given["Name"], call.group, kind=_KIND, change=changed
    )
    return {"ScheduleArn": shapes.schedule_arn(trigger, call.region)}


async def delete_schedule(call: Call) -> Mapping[str, Any]:
    await call.triggers.delete(
        call.tenant_id, call.input["Name"], call.group, kind=_KIND
    )
    return {}


async def list_schedules(call: Call) -> Mapping[str, Any]:
    given = call.input
    if "GroupName" in given:
        call.groups.get(call.tenant_id, given["GroupName"])
    size, token = call.page()
    page, token = call.triggers.list(
        call.tenant_id,
        kind=_KIND,
        group=given.get("GroupName", ""),
        prefix=given.get("NamePrefix", ""),
        is_enabled=_STATES[given.get("State", "")],
        page_size=size,
        page_token=token,
    )
    return {
        "Schedules": [shapes.listed(one, call.region) for one in page],
        "NextToken": token or None,
    }


_STATES = {"": None, "ENABLED": True, "DISABLED": False}


async def create_schedule_group(call: Call) -> Mapping[str, Any]:
    given = call.input
    tags = {tag["Key"]: tag["Value"] for tag in given.get("Tags", ())}
    group = await call.groups.create(call.tenant_id, given["Name"], tags)
    return {
        "ScheduleGroupArn": shapes.group_arn(call.tenant_id, group.name, call.region)
    }


async def get_schedule_group(call: Call) -> Mapping[str, Any]:
    group = call.groups.get(call.tenant_id, call.input["Name"])
    return shapes.shown_group(group, call.tenant_id, call.region)


async def delete_schedule_group(call: Call) -> Mapping[str, Any]:
    await call.groups.delete(call.tenant_id, call.input["Name"])
    return {}


async def list_schedule_groups(call: Call) -> Mapping[str, Any]:
    size, token = call.page()
    page, token = call.groups.list(
        call.tenant_id,
        prefix=call.input.get("NamePrefix", ""),
        page_size=size,
        page_token=token,
    )
    return {
        "ScheduleGroups": [
            shapes.shown_group(group, call.tenant_id, call.region) for group in page
        ],
        "NextToken": token or None,
    }


async def tag_resource(call: Call) -> Mapping[str, Any]:
    more = {tag["Key"]: tag["Value"] for tag in call.input["Tags"]}
    await _tag(call, lambda tags: tags | more)
    return {}


async def untag_resource(call: Call) -> Mapping[str, Any]:
    gone = set(call.input["TagKeys"])
    await _tag(call, lambda tags: {k: v for k, v in tags.items() if k not in gone})
    return {}


async def list_tags_for_resource(call: Call) -> Mapping[str, Any]:
    tags = call.groups.get(call.tenant_id, _group_of(call)).tags
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


async def _tag(call: Call, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    await call.groups.tag(call.tenant_id, _group_of(call), change)


def _group_of(call: Call) -> str:
    return shapes.group_of(
        call.input["ResourceArn"], region=call.region, account=call.tenant_id
    )


OPERATIONS: Mapping[str, Callable[[Call], Awaitable[Mapping[str, Any]]]] = {
    "CreateSchedule": create_schedule,
    "GetSchedule": get_schedule,
    "UpdateSchedule": update_schedule,
    "DeleteSchedule": delete_schedule,
    "ListSchedules": list_schedules,
    "CreateScheduleGroup": create_schedule_group,
    "GetScheduleGroup": get_schedule_group,
    "DeleteScheduleGroup": delete_schedule_group,
    "ListScheduleGroups": list_schedule_groups,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
    "ListTagsForResource": list_tags_for_resource,
}
