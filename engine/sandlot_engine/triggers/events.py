"""The events that triggers make, as functions get them. Pure."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from sandlot_engine.model.trigger import Trigger

_ATTRIBUTE = re.compile(
    r"<aws\.scheduler\.(schedule-arn|scheduled-time|execution-id|attempt-number)>"
)


def schedule_arn(trigger: Trigger, region: str) -> str:
    return (
        f"arn:aws:scheduler:{region}:{trigger.tenant_id}:schedule/"
        f"{trigger.group}/{trigger.name}"
    )


def scheduled_event(
    trigger: Trigger, due: datetime, *, request_id: str, region: str, attempt: int = 1
) -> bytes:
    """What EventBridge Scheduler sends: the schedule's input, or, if it has none, an
    event of AWS's. The four context attributes in an input are replaced."""
    assert trigger.schedule is not None  # noqa: S101 - only schedules have due times
    arn, time = schedule_arn(trigger, region), in_iso(due)
    if not trigger.schedule.input:
        return encoded(
            {
                "version": "0",
                "id": request_id,
                "detail-type": "Scheduled Event",
                "source": "aws.scheduler",
                "account": trigger.tenant_id,
                "time": time,
                "region": region,
                "resources": [arn],
                # A string, as AWS has it.
                "detail": "{}",
            }
        )
    attributes = {
        "schedule-arn": arn,
        "scheduled-time": time,
        "execution-id": request_id,
        "attempt-number": str(attempt),
    }
    # None of these has a character that JSON would have escaped.
    text = _ATTRIBUTE.sub(lambda found: attributes[found[1]], trigger.schedule.input)
    return text.encode()


def in_iso(moment: datetime) -> str:
    """`2025-06-01T12:00:00Z`, without fractions."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def encoded(event: Mapping[str, object]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
