"""Triggers: wire <-> model."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from sandlot.v1 import triggers_pb2 as wire
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.rpc.convert import time_of, timestamp
from sandlot_engine.model.trigger import (
    DEFAULT_GROUP,
    Directory,
    Missed,
    ObjectFilter,
    Progress,
    Schedule,
    Scheme,
    Trigger,
    TriggerKind,
)
from sandlot_engine.triggers import desk
from sandlot_engine.triggers.making import new_trigger

_MISSED: Mapping[int, Missed] = {
    wire.MISSED_RUNS_UNSPECIFIED: Missed.RUN_ONCE,
    wire.MISSED_RUNS_RUN_ONCE: Missed.RUN_ONCE,
    wire.MISSED_RUNS_SKIP: Missed.SKIP,
}
_MISSED_OUT = {
    Missed.RUN_ONCE: wire.MISSED_RUNS_RUN_ONCE,
    Missed.SKIP: wire.MISSED_RUNS_SKIP,
}
_SCHEMES: Mapping[int, Scheme] = {
    wire.SIGNATURE_SCHEME_UNSPECIFIED: Scheme.GENERIC,
    wire.SIGNATURE_SCHEME_GENERIC: Scheme.GENERIC,
    wire.SIGNATURE_SCHEME_GITHUB: Scheme.GITHUB,
    wire.SIGNATURE_SCHEME_STRIPE: Scheme.STRIPE,
    wire.SIGNATURE_SCHEME_SLACK: Scheme.SLACK,
}
_SCHEMES_OUT = {
    Scheme.GENERIC: wire.SIGNATURE_SCHEME_GENERIC,
    Scheme.GITHUB: wire.SIGNATURE_SCHEME_GITHUB,
    Scheme.STRIPE: wire.SIGNATURE_SCHEME_STRIPE,
    Scheme.SLACK: wire.SIGNATURE_SCHEME_SLACK,
}


def trigger_of(
    request: wire.CreateTriggerRequest, tenant_id: str, *, now: datetime
) -> Trigger:
    """Raises `InvalidParameter` where it has no kind."""
    given = request.trigger
    kind = given.WhichOneof("kind")
    if kind is None:
        raise InvalidParameter(
            "a trigger is a schedule, a webhook, a bucket or a directory", field="kind"
        )
    return new_trigger(
        tenant_id,
        TriggerKind(kind),
        given.name,
        given.function,
        given.qualifier,
        now=now,
        group=given.group or DEFAULT_GROUP,
        description=given.description,
        is_enabled=not request.paused,
        **{kind: _kind_of(kind, given, now)},
    )


def _kind_of(kind: str, given: wire.Trigger, now: datetime) -> Any:
    match kind:
        case "schedule":
            return schedule_of(given.schedule, now=now)
        case "webhook":
            return desk.webhook(_member(_SCHEMES, given.webhook.scheme, "scheme"))
        case "bucket":
            return desk.bucket(filter_of(given.bucket.filter))
        case _:
            return Directory(
                path=given.directory.path, filter=filter_of(given.directory.filter)
            )


def schedule_of(given: wire.Schedule, *, now: datetime) -> Schedule:
    return Schedule(
        expression=given.expression,
        zone=given.timezone or "UTC",
        anchor=now,
        start=time_of(given, "start"),
        end=time_of(given, "end"),
        window_min=given.window_minutes,
        missed=_member(_MISSED, given.missed_runs, "missed_runs"),
        is_deleted_after=given.delete_after_completion,
        input=given.input,
        max_age_s=given.maximum_event_age_seconds or 86_400,
        max_retries=given.maximum_retry_attempts
        if given.HasField("maximum_retry_attempts")
        else 185,
    )


def filter_of(given: wire.ObjectFilter) -> ObjectFilter:
    return ObjectFilter(
        buckets=tuple(given.buckets),
        events=tuple(given.events),
        prefix=given.prefix,
        suffix=given.suffix,
    )


def _member(known: Mapping[int, Any], number: int, field: str) -> Any:
    if number not in known:
        raise InvalidParameter(
            f"{field} {number} is not one that there is", field=field
        )
    return known[number]


# --- out ------------------------------------------------------------------------


def trigger_out(
    trigger: Trigger, *, progress: Progress | None, next_due: datetime | None
) -> wire.Trigger:
    """`progress` is a schedule's."""
    has_path = trigger.kind in (TriggerKind.WEBHOOK, TriggerKind.BUCKET)
    shown = wire.Trigger(
        name=trigger.name,
        group=trigger.group,
        function=trigger.function,
        qualifier=trigger.qualifier,
        description=trigger.description,
        enabled=trigger.is_enabled,
        created=timestamp(trigger.created),
        modified=timestamp(trigger.modified),
        path=f"/hooks/{trigger.tenant_id}/{trigger.name}" if has_path else "",
    )
    if trigger.schedule is not None and progress is not None:
        shown.schedule.CopyFrom(_schedule_out(trigger.schedule, progress, next_due))
    if trigger.webhook is not None:
        scheme = _SCHEMES_OUT[trigger.webhook.scheme]
        shown.webhook.CopyFrom(wire.Webhook(scheme=scheme))
    if trigger.bucket is not None:
        shown.bucket.CopyFrom(wire.Bucket(filter=_filter_out(trigger.bucket.filter)))
    if trigger.directory is not None:
        directory = wire.Directory(
            path=trigger.directory.path, filter=_filter_out(trigger.directory.filter)
        )
        shown.directory.CopyFrom(directory)
    return shown


def _schedule_out(
    schedule: Schedule, progress: Progress, next_due: datetime | None
) -> wire.Schedule:
    return wire.Schedule(
        expression=schedule.expression,
        timezone=schedule.zone,
        start=_maybe(schedule.start),
        end=_maybe(schedule.end),
        window_minutes=schedule.window_min,
        missed_runs=_MISSED_OUT[schedule.missed],
        delete_after_completion=schedule.is_deleted_after,
        input=schedule.input,
        maximum_event_age_seconds=schedule.max_age_s,
        maximum_retry_attempts=schedule.max_retries,
        progress=wire.ScheduleProgress(
            next_due=_maybe(next_due),
            last_due=_maybe(progress.last_due),
            fired=progress.fired,
            missed=progress.missed,
            last_error=progress.last_error,
        ),
    )


def _filter_out(chosen: ObjectFilter) -> wire.ObjectFilter:
    return wire.ObjectFilter(
        buckets=chosen.buckets,
        events=chosen.events,
        prefix=chosen.prefix,
        suffix=chosen.suffix,
    )


def _maybe(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else timestamp(moment)
