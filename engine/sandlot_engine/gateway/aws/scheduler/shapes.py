"""Schedules and groups: from the Scheduler's requests, and as its answers show them."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sandlot_engine.errors import InvalidParameter, NotSupported
from sandlot_engine.gateway.aws import names
from sandlot_engine.model.trigger import Schedule, ScheduleGroup, Trigger

_TARGET = re.compile(
    r"arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):function:"
    r"(?P<name>[a-zA-Z0-9_-]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]+))?",
    re.ASCII,
)
_GROUP = re.compile(
    r"arn:aws[a-z-]*:scheduler:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):"
    r"schedule-group/(?P<name>[0-9a-zA-Z_.-]+)",
    re.ASCII,
)
_SHOWN = 200


def target_of(arn: str, *, region: str, account: str) -> tuple[str, str]:
    """The function and the qualifier. Raises `NotSupported` for other services',
    `InvalidParameter` for other accounts' and regions'."""
    found = _TARGET.fullmatch(arn)
    if not found:
        raise NotSupported(
            f"Target.Arn {arn[:_SHOWN]} is not supported: targets are functions, "
            f"{names.arn_prefix(region)}:{account}:function:NAME."
        )
    if found["region"] != region or found["account"] != account:
        raise InvalidParameter(
            f"Target.Arn {arn[:_SHOWN]} must be of a function of account {account} in "
            f"{region}.",
            field="Target.Arn",
        )
    qualifier = found["qualifier"] or ""
    return found["name"], "" if qualifier == "$LATEST" else qualifier


def schedule_of(given: Mapping[str, Any], *, now: datetime) -> Schedule:
    """Of CreateSchedule and UpdateSchedule alike: what is not given is as it is by
    default. Raises `InvalidParameter` for a window that contradicts itself."""
    target = given["Target"]
    retries = target.get("RetryPolicy", {})
    return Schedule(
        expression=given["ScheduleExpression"],
        zone=given.get("ScheduleExpressionTimezone", "UTC"),
        anchor=now,
        start=given.get("StartDate"),
        end=given.get("EndDate"),
        window_min=_window(given["FlexibleTimeWindow"]),
        is_deleted_after=given.get("ActionAfterCompletion") == "DELETE",
        input=target.get("Input", ""),
        max_age_s=retries.get("MaximumEventAgeInSeconds", 86_400),
        max_retries=retries.get("MaximumRetryAttempts", 185),
        role_arn=target["RoleArn"],
        dead_letter_arn=target.get("DeadLetterConfig", {}).get("Arn", ""),
    )


def _window(given: Mapping[str, Any]) -> int:
    minutes = given.get("MaximumWindowInMinutes", 0)
    if (given["Mode"] == "FLEXIBLE") != bool(minutes):
        raise InvalidParameter(
            "FlexibleTimeWindow must have MaximumWindowInMinutes if its Mode is "
            "FLEXIBLE, and must not if it is OFF.",
            field="FlexibleTimeWindow",
        )
    return int(minutes)


def shown(trigger: Trigger, region: str) -> dict[str, Any]:
    """AWS's GetScheduleOutput."""
    schedule = trigger.schedule
    assert schedule is not None  # noqa: S101 - triggers of others are not shown here
    target: dict[str, Any] = {
        **_target(trigger, region),
        "RoleArn": schedule.role_arn or _no_role(trigger),
        "RetryPolicy": {
            "MaximumEventAgeInSeconds": schedule.max_age_s,
            "MaximumRetryAttempts": schedule.max_retries,
        },
    }
    if schedule.input:
        target["Input"] = schedule.input
    if schedule.dead_letter_arn:
        target["DeadLetterConfig"] = {"Arn": schedule.dead_letter_arn}
    window: dict[str, Any] = {"Mode": "OFF"}
    if schedule.window_min:
        window = {
            "Mode": "FLEXIBLE",
            "MaximumWindowInMinutes": schedule.window_min,
        }
    return {
        **_common(trigger, region),
        "ScheduleExpression": schedule.expression,
        "ScheduleExpressionTimezone": schedule.zone,
        "StartDate": schedule.start,
        "EndDate": schedule.end,
        "Description": trigger.description or None,
        "Target": target,
        "FlexibleTimeWindow": window,
        "ActionAfterCompletion": "DELETE" if schedule.is_deleted_after else "NONE",
    }


def listed(trigger: Trigger, region: str) -> dict[str, Any]:
    """AWS's ScheduleSummary."""
    return {**_common(trigger, region), "Target": _target(trigger, region)}


def _common(trigger: Trigger, region: str) -> dict[str, Any]:
    return {
        "Arn": schedule_arn(trigger, region),
        "GroupName": trigger.group,
        "Name": trigger.name,
        "State": "ENABLED" if trigger.is_enabled else "DISABLED",
        "CreationDate": trigger.created,
        "LastModificationDate": trigger.modified,
    }


def _target(trigger: Trigger, region: str) -> dict[str, Any]:
    return {
        "Arn": names.function_arn(
            region, trigger.tenant_id, trigger.function, trigger.qualifier
        )
    }


def _no_role(trigger: Trigger) -> str:
    """For one that was made without, over gRPC: AWS's answers always have one."""
    return f"arn:aws:iam::{trigger.tenant_id}:role/none"


def schedule_arn(trigger: Trigger, region: str) -> str:
    return (
        f"{_prefix(region)}:{trigger.tenant_id}:schedule/{trigger.group}/{trigger.name}"
    )


def group_arn(account: str, name: str, region: str) -> str:
    return f"{_prefix(region)}:{account}:schedule-group/{name}"


def shown_group(group: ScheduleGroup, account: str, region: str) -> dict[str, Any]:
    """AWS's ScheduleGroupSummary and GetScheduleGroupOutput."""
    return {
        "Arn": group_arn(account, group.name, region),
        "Name": group.name,
        "State": "ACTIVE",
        "CreationDate": group.created,
        "LastModificationDate": group.modified,
    }


def group_of(arn: str, *, region: str, account: str) -> str:
    """The name in a group's ARN. Raises `InvalidParameter` for another's."""
    found = _GROUP.fullmatch(arn)
    if not found or (found["region"], found["account"]) != (region, account):
        raise InvalidParameter(
            f"{arn[:_SHOWN]} is no schedule group of account {account} in {region}.",
            field="ResourceArn",
        )
    return found["name"]


def _prefix(region: str) -> str:
    return f"arn:{names.partition_of(region)}:scheduler:{region}"
