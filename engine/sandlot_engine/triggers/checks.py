"""What a trigger may be. Pure: every check takes a value and raises, or not."""

import re
from datetime import datetime, timedelta

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.invocation import json_check
from sandlot_engine.model.trigger import (
    DEFAULT_GROUP,
    Bucket,
    ObjectFilter,
    Schedule,
    Trigger,
    TriggerKind,
)
from sandlot_engine.triggers import plan

MAX_NAME = 64
MAX_DESCRIPTION = 512
MAX_INPUT = 262_144
"""Bytes of what a schedule sends (AWS: 256 KB)."""

WINDOW_MIN = range(1_440 + 1)
MAX_AGE_S = range(60, 86_400 + 1)
MAX_RETRIES = range(185 + 1)
MAX_FILTER_ITEMS = 32
MAX_FILTER_TEXT = 1_024
MAX_PAST_START = timedelta(minutes=5)

_NAME = re.compile(r"[0-9a-zA-Z_.-]+", re.ASCII)
_EVENT = re.compile(r"(?:s3:)?[A-Za-z]+:(?:[A-Za-z]+|\*)|\*", re.ASCII)
_SHOWN = 100


def check_name(name: str) -> None:
    """Of a trigger or a group."""
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise InvalidParameter(
            f"Name {name[:_SHOWN]!r} has {len(name)} characters. It must have 1 to "
            f"{MAX_NAME}, of letters, digits, '-', '_' and '.'.",
            field="Name",
        )


def check(trigger: Trigger) -> None:
    """Raise `InvalidParameter` for what a trigger of its kind cannot be."""
    check_name(trigger.name)
    if len(trigger.description) > MAX_DESCRIPTION:
        raise InvalidParameter(
            f"The description has {len(trigger.description)} characters of "
            f"{MAX_DESCRIPTION} allowed. Shorten it.",
            field="Description",
        )
    if trigger.kind is not TriggerKind.SCHEDULE and trigger.group != DEFAULT_GROUP:
        raise InvalidParameter("Only schedules are in groups.", field="GroupName")
    if trigger.schedule is not None:
        _check_schedule(trigger.schedule)
    if trigger.bucket is not None:
        check_filter(trigger.bucket.filter)
        _check_buckets(trigger.bucket)
    if trigger.directory is not None:
        check_filter(trigger.directory.filter)


def check_start(start: datetime | None, *, now: datetime) -> None:
    """Of one that is set now."""
    if start is not None and start < now - MAX_PAST_START:
        raise InvalidParameter(
            "The StartDate you specify cannot be earlier than 5 minutes ago.",
            field="StartDate",
        )


def _check_schedule(schedule: Schedule) -> None:
    plan.due_of(schedule)
    if schedule.start and schedule.end and schedule.end <= schedule.start:
        raise InvalidParameter(
            "The EndDate must be later than the StartDate.", field="EndDate"
        )
    for field, value, allowed in (
        ("MaximumWindowInMinutes", schedule.window_min, WINDOW_MIN),
        ("MaximumEventAgeInSeconds", schedule.max_age_s, MAX_AGE_S),
        ("MaximumRetryAttempts", schedule.max_retries, MAX_RETRIES),
    ):
        if value not in allowed:
            raise InvalidParameter(
                f"{field} is {value}; it must be {allowed.start} to "
                f"{allowed.stop - 1}.",
                field=field,
            )
    _check_input(schedule.input)


def _check_input(text: str) -> None:
    size = len(text.encode())
    if size > MAX_INPUT:
        raise InvalidParameter(
            f"Input has {size} bytes of {MAX_INPUT} allowed. Put the data where the "
            "function can read it, and send where that is.",
            field="Input",
        )
    if text:
        try:
            json_check.check(text.encode())
        except json_check.NotJson as error:
            raise InvalidParameter(
                f"Input is the function's event, and must be JSON: {error}",
                field="Input",
            ) from error


def check_filter(chosen: ObjectFilter) -> None:
    for field, items in (("buckets", chosen.buckets), ("events", chosen.events)):
        if len(items) > MAX_FILTER_ITEMS:
            raise InvalidParameter(
                f"{field} has {len(items)} items of {MAX_FILTER_ITEMS} allowed.",
                field=field,
            )
    texts = (*chosen.buckets, chosen.prefix, chosen.suffix)
    if any(len(text) > MAX_FILTER_TEXT for text in texts):
        raise InvalidParameter(
            f"A filter may have {MAX_FILTER_TEXT} characters of each kind.",
            field="filter",
        )
    for event in chosen.events:
        if len(event) > _SHOWN or not _EVENT.fullmatch(event):
            raise InvalidParameter(
                f"{event[:_SHOWN]!r} is no event such as s3:ObjectCreated:* or "
                "ObjectRemoved:Delete.",
                field="events",
            )


def _check_buckets(bucket: Bucket) -> None:
    if any(not name for name in bucket.filter.buckets):
        raise InvalidParameter("A bucket's name is empty.", field="buckets")
