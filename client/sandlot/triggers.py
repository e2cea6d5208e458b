"""Triggers: what makes a function run without a caller, as values and as calls.

Pure, as `results`, `calls` and `parsing` are for everything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from sandlot import parsing
from sandlot.calls import PAGE_SIZE, Call
from sandlot.errors import UsageError
from sandlot.parsing import Page
from sandlot.v1 import triggers_pb2 as pb

_SERVICE = "/sandlot.v1.TriggerService/"


class MissedRuns(StrEnum):
    """What becomes of times that passed while nobody could run anything."""

    RUN_ONCE = "run-once"
    """The last of them is made up for, if it is not older than its events may be."""

    SKIP = "skip"


class Scheme(StrEnum):
    """How the sender of a webhook signs."""

    GENERIC = "generic"
    GITHUB = "github"
    STRIPE = "stripe"
    SLACK = "slack"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleProgress:
    """How far a schedule has come."""

    next_due: datetime | None = None
    """None if nothing can be due any more, or it is paused."""

    last_due: datetime | None = None
    fired: int = 0
    missed: int = 0
    """Due times that passed without an event."""

    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a function runs, and with what."""

    expression: str
    """`rate(5 minutes)`, `cron(0 8 ? * MON-FRI *)`, `at(2026-12-24T18:00:00)`."""

    timezone: str = "UTC"
    start: datetime | None = None
    end: datetime | None = None
    window_minutes: int = 0
    """Over which events are spread; 0 for none."""

    missed_runs: MissedRuns | str = MissedRuns.RUN_ONCE
    delete_after_completion: bool = False
    input: str = ""
    """The event, JSON; empty for AWS's `Scheduled Event`."""

    maximum_event_age_s: int = 86_400
    maximum_retry_attempts: int = 185
    progress: ScheduleProgress | None = None
    """The engine's; None in what is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A signed request."""

    scheme: Scheme | str = Scheme.GENERIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A store that posts what happens to its objects. What is empty is any."""

    buckets: Sequence[str] = ()
    events: Sequence[str] = ()
    """`ObjectCreated:*`."""

    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A folder of the engine's machine, for operators. A file's name is its key."""

    path: str
    events: Sequence[str] = ()
    prefix: str = ""
    suffix: str = ""


Source: TypeAlias = Schedule | Webhook | Bucket | Directory
"""What a trigger waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger as the engine knows it."""

    name: str
    group: str
    function: str
    qualifier: str
    description: str
    enabled: bool
    path: str
    """Where to post to, on the HTTP port; empty for schedules and directories."""

    source: Source
    created: datetime
    modified: datetime

    @property
    def kind(self) -> str:
        """`schedule`, `webhook`, `bucket` or `directory`."""
        return type(self.source).__name__.lower()

    @property
    def schedule(self) -> Schedule | None:
        """What it waits for, if that is a time."""
        return self.source if isinstance(self.source, Schedule) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTrigger:
    """A trigger that was made."""

    trigger: Trigger
    secret: str = field(repr=False)
    """Of a webhook, its secret; of a bucket, its bearer token. Shown this once."""


# --- calls ----------------------------------------------------------------------


def create(
    name: str,
    function: str,
    source: Source,
    *,
    qualifier: str,
    description: str,
    group: str,
    paused: bool,
    secret: str,
) -> Call[NewTrigger]:
    trigger = pb.Trigger(
        name=name,
        group=group,
        function=function,
        qualifier=qualifier,
        description=description,
    )
    match source:
        case Schedule():
            trigger.schedule.CopyFrom(_schedule(source))
        case Webhook():
            scheme = _number(_SCHEMES, source.scheme)
            trigger.webhook.CopyFrom(pb.Webhook(scheme=scheme))
        case Bucket():
            trigger.bucket.CopyFrom(pb.Bucket(filter=_filter(source)))
        case Directory():
            directory = pb.Directory(path=source.path, filter=_filter(source))
            trigger.directory.CopyFrom(directory)
    return Call(
        method=f"{_SERVICE}CreateTrigger",
        request=pb.CreateTriggerRequest(trigger=trigger, paused=paused, secret=secret),
        response=pb.CreateTriggerResponse,
        parse=lambda m: NewTrigger(trigger=_parsed(m.trigger), secret=m.secret),
    )


def get(name: str, group: str) -> Call[Trigger]:
    return Call(
        method=f"{_SERVICE}GetTrigger",
        request=pb.GetTriggerRequest(name=name, group=group),
        response=pb.GetTriggerResponse,
        parse=lambda m: _parsed(m.trigger),
    )


def list_(function: str, kind: str, token: str) -> Call[Page[Trigger]]:
    return Call(
        method=f"{_SERVICE}ListTriggers",
        request=pb.ListTriggersRequest(
            function=function, kind=kind, page_size=PAGE_SIZE, page_token=token
        ),
        response=pb.ListTriggersResponse,
        parse=lambda m: parsing.page(m.triggers, _parsed, m.next_page_token),
    )


def update(
    name: str,
    group: str,
    *,
    enabled: bool | None,
    description: str | None,
    function: str | None,
    qualifier: str | None,
    source: Source | None,
) -> Call[Trigger]:
    request = pb.UpdateTriggerRequest(
        name=name,
        group=group,
        description=description,
        function=function,
        qualifier=qualifier,
    )
    if enabled is not None:
        request.enabled = enabled
    match source:
        case None:
            pass
        case Schedule():
            request.schedule.CopyFrom(_schedule(source))
        case Bucket() | Directory():
            request.filter.CopyFrom(_filter(source))
        case Webhook():
            raise UsageError("a webhook's scheme stays: make another trigger")
    return Call(
        method=f"{_SERVICE}UpdateTrigger",
        request=request,
        response=pb.UpdateTriggerResponse,
        parse=lambda m: _parsed(m.trigger),
    )


def rotate_secret(name: str, secret: str) -> Call[str]:
    return Call(
        method=f"{_SERVICE}RotateTriggerSecret",
        request=pb.RotateTriggerSecretRequest(name=name, secret=secret),
        response=pb.RotateTriggerSecretResponse,
        parse=lambda m: str(m.secret),
    )


def test(name: str, group: str) -> Call[str]:
    return Call(
        method=f"{_SERVICE}TestTrigger",
        request=pb.TestTriggerRequest(name=name, group=group),
        response=pb.TestTriggerResponse,
        parse=lambda m: str(m.request_id),
    )


def delete(name: str, group: str) -> Call[None]:
    return Call(
        method=f"{_SERVICE}DeleteTrigger",
        request=pb.DeleteTriggerRequest(name=name, group=group),
        response=pb.DeleteTriggerResponse,
        parse=parsing.nothing,
    )


# --- out ------------------------------------------------------------------------

_MISSED = {
    MissedRuns.RUN_ONCE: pb.MISSED_RUNS_RUN_ONCE,
    MissedRuns.SKIP: pb.MISSED_RUNS_SKIP,
}
_SCHEMES = {
    Scheme.GENERIC: pb.SIGNATURE_SCHEME_GENERIC,
    Scheme.GITHUB: pb.SIGNATURE_SCHEME_GITHUB,
    Scheme.STRIPE: pb.SIGNATURE_SCHEME_STRIPE,
    Scheme.SLACK: pb.SIGNATURE_SCHEME_SLACK,
}


def _schedule(schedule: Schedule) -> pb.Schedule:
    return pb.Schedule(
        expression=schedule.expression,
        timezone=schedule.timezone,
        start=_stamp(schedule.start),
        end=_stamp(schedule.end),
        window_minutes=schedule.window_minutes,
        missed_runs=_number(_MISSED, schedule.missed_runs),
        delete_after_completion=schedule.delete_after_completion,
        input=schedule.input,
        maximum_event_age_seconds=schedule.maximum_event_age_s,
        maximum_retry_attempts=schedule.maximum_retry_attempts,
    )


def _filter(source: Bucket | Directory) -> pb.ObjectFilter:
    return pb.ObjectFilter(
        buckets=source.buckets if isinstance(source, Bucket) else (),
        events=source.events,
        prefix=source.prefix,
        suffix=source.suffix,
    )


def _stamp(when: datetime | None) -> Timestamp | None:
    if when is None:
        return None
    stamp = Timestamp()
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    stamp.FromDatetime(aware.astimezone(UTC))
    return stamp


def _number(known: dict[Any, Any], value: object) -> Any:
    for one, number in known.items():
        if one == value:
            return number
    raise UsageError(f"{value!r} is not one of {', '.join(known)}")


# --- back -----------------------------------------------------------------------


def _parsed(message: pb.Trigger) -> Trigger:
    return Trigger(
        name=message.name,
        group=message.group,
        function=message.function,
        qualifier=message.qualifier,
        description=message.description,
        enabled=message.enabled,
        path=message.path,
        source=_source(message),
        created=message.created.ToDatetime(tzinfo=UTC),
        modified=message.modified.ToDatetime(tzinfo=UTC),
    )


def _source(message: pb.Trigger) -> Source:
    match message.WhichOneof("kind"):
        case "schedule":
            return _parsed_schedule(message.schedule)
        case "bucket":
            return Bucket(**_chosen(message.bucket.filter, with_buckets=True))
        case "directory":
            directory = message.directory
            return Directory(path=directory.path, **_chosen(directory.filter))
        case _:
            # Also a kind that this client does not know: of those it has, the one
            # that says the least.
            scheme = _name(_SCHEMES, message.webhook.scheme, Scheme.GENERIC)
            return Webhook(scheme=scheme)


def _parsed_schedule(message: pb.Schedule) -> Schedule:
    progress = message.progress
    return Schedule(
        expression=message.expression,
        timezone=message.timezone,
        start=_time(message, "start"),
        end=_time(message, "end"),
        window_minutes=message.window_minutes,
        missed_runs=_name(_MISSED, message.missed_runs, MissedRuns.RUN_ONCE),
        delete_after_completion=message.delete_after_completion,
        input=message.input,
        maximum_event_age_s=message.maximum_event_age_seconds,
        maximum_retry_attempts=message.maximum_retry_attempts,
        progress=ScheduleProgress(
            next_due=_time(progress, "next_due"),
            last_due=_time(progress, "last_due"),
            fired=progress.fired,
            missed=progress.missed,
            last_error=progress.last_error,
        ),
    )


def _chosen(message: pb.ObjectFilter, *, with_buckets: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {
        "events": tuple(message.events),
        "prefix": message.prefix,
        "suffix": message.suffix,
    }
    return found | ({"buckets": tuple(message.buckets)} if with_buckets else {})


def _name(known: dict[Any, Any], number: int, default: Any) -> Any:
    found = (name for name, one in known.items() if one == number)
    return next(found, default)


def _time(message: Any, name: str) -> datetime | None:
    if not message.HasField(name):
        return None
    found: datetime = getattr(message, name).ToDatetime(tzinfo=UTC)
    return found
