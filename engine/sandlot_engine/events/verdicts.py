"""What becomes of an event: pure, AWS's rules.

An error of the function is a retry less: after one minute, then two. Where there was no
room or our side broke, the event waits as well, with growing pauses, and has all its
retries left. Both only as long as it does not get too old meanwhile: that is looked at
ahead, so that an event which would be too old at its next try is over now.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from sandlot_engine.errors import Refusal, SandlotError
from sandlot_engine.events.lineage import is_loop
from sandlot_engine.events.pauses import pause_after
from sandlot_engine.model.event import (
    MAX_ATTEMPTS_KEPT,
    MAX_ERROR_TEXT,
    Attempt,
    AttemptStatus,
    Condition,
    Delivery,
    DeliveryKind,
    Event,
    EventState,
)
from sandlot_engine.model.invocation import Outcome, Status

MAX_RETRIES = 2
"""AWS's `MaximumRetryAttempts` where nobody set it."""

MAX_AGE_S = 21_600
"""AWS's `MaximumEventAgeInSeconds` where nobody set it: six hours."""

RETRY_DELAYS_S = (60.0, 120.0)
"""AWS's pauses after the first and the second error of a function."""

MAX_BUILT = 65_536
"""Bytes of an error object that is built whole. Of a longer one, which may be megabytes
of anything, only the message is, if it is a text."""

MAX_DELIVERY_S = 3_600.0
"""How long it is tried to tell a destination of an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the events of a function are treated, as its owner has it now."""

    max_retries: int = MAX_RETRIES
    max_age_s: int = MAX_AGE_S
    on_success: str = ""
    """ARN of a destination; empty: none."""

    on_failure: str = ""
    dead_letter: str = ""
    """ARN of the DeadLetterConfig; empty: none."""

    is_switched_off: bool = False
    """Zero concurrency is reserved for it."""

    may_recurse: bool = False
    """Loops are left alone."""


# --- before it runs -----------------------------------------------------------------


def judged_at_once(event: Event, settings: Settings, *, now: datetime) -> Event | None:
    """What becomes of an event that must not run; None where it may."""
    if settings.is_switched_off:
        why = f"function {event.function!r} has zero reserved concurrency"
        return _over(event, Condition.ZERO_CONCURRENCY, why, now=now)
    if not settings.may_recurse and is_loop(
        event.lineage, event.tenant_id, event.function
    ):
        why = f"function {event.function!r} was part of what led to this too often"
        return _over(event, Condition.RECURSION, why, now=now)
    if _is_too_old(event, settings, at=now):
        return _too_old(event, settings, now=now)
    return None


# --- after it ran, or did not -------------------------------------------------------


def after_run(
    event: Event,
    outcome: Outcome,
    settings: Settings,
    *,
    started: datetime,
    now: datetime,
    delays_s: Sequence[float] = RETRY_DELAYS_S,
) -> Event:
    """It ran, and has succeeded or failed."""
    attempt = Attempt(
        started=started,
        ended=now,
        status=AttemptStatus(outcome.status.value),
        error_type=outcome.error_type,
        error="" if outcome.status is Status.OK else error_text(outcome.payload),
        version=outcome.executed_version,
        is_billed=True,
    )
    event = replace(_with(event, attempt), runs=event.runs + 1, setbacks=0)
    if outcome.status is Status.OK:
        return _over(event, Condition.SUCCESS, "", now=now)
    event = replace(event, errors=event.errors + 1)
    why = f"{attempt.error_type or attempt.status.value}: {attempt.error}"
    if event.errors > settings.max_retries:
        return _over(event, Condition.RETRIES_EXHAUSTED, why, now=now)
    delay_s = delays_s[min(event.errors, len(delays_s)) - 1]
    return _waiting(event, settings, why, pause_s=delay_s, now=now)


def after_refusal(
    event: Event, refusal: SandlotError, settings: Settings, *, now: datetime
) -> Event:
    """There was no room for it. It waits with its lane, which knows for how long."""
    event = replace(event, throttles=event.throttles + 1, reason=refusal.message)
    if _is_too_old(event, settings, at=now):
        return _too_old(event, settings, now=now)
    return replace(event, state=EventState.QUEUED)


def after_fault(
    event: Event,
    error: Exception,
    settings: Settings,
    *,
    started: datetime,
    now: datetime,
    is_billed: bool = False,
) -> Event:
    """Our side broke, or will not run it: the first is tried again, the second not."""
    text = error.message if isinstance(error, SandlotError) else type(error).__name__
    if isinstance(error, Refusal):
        return _over(event, Condition.REFUSED, text, now=now)
    attempt = Attempt(
        started=started,
        ended=now,
        status=AttemptStatus.SYSTEM_ERROR,
        error_type=type(error).__name__,
        error=text[:MAX_ERROR_TEXT],
        is_billed=is_billed,
    )
    return _set_back(event, attempt, settings, now=now)


def after_interruption(
    event: Event, *, started: datetime, now: datetime, is_billed: bool = False
) -> Event:
    """The engine ended while it ran, or may have. It is tried again: at once after the
    first time, as it is rarely the event's doing."""
    attempt = Attempt(
        started=started,
        ended=now,
        status=AttemptStatus.INTERRUPTED,
        error="the engine ended while it ran",
        is_billed=is_billed,
    )
    event = replace(_with(event, attempt), runs=event.runs + 1)
    pause_s = pause_after(event.setbacks) if event.setbacks else 0.0
    return replace(
        event,
        state=EventState.QUEUED,
        setbacks=event.setbacks + 1,
        due=now + timedelta(seconds=pause_s),
        reason=attempt.error,
    )


def redriven(event: Event, *, now: datetime) -> Event:
    """A dead event, as if it came now: it runs, or where it has succeeded already, it
    is told of once more. What was, is kept."""
    if event.condition is Condition.SUCCESS:
        return replace(
            event, state=EventState.DELIVERING, ended=now, reason="", undelivered=""
        )
    return replace(
        event,
        state=EventState.QUEUED,
        accepted=now,
        due=now,
        ended=None,
        errors=0,
        setbacks=0,
        condition=None,
        reason="redriven",
        undelivered="",
    )


def _set_back(
    event: Event, attempt: Attempt, settings: Settings, *, now: datetime
) -> Event:
    event = replace(
        _with(event, attempt), runs=event.runs + 1, setbacks=event.setbacks + 1
    )
    pause_s = pause_after(event.setbacks)
    return _waiting(event, settings, attempt.error, pause_s=pause_s, now=now)


def _waiting(
    event: Event, settings: Settings, why: str, *, pause_s: float, now: datetime
) -> Event:
    due = now + timedelta(seconds=pause_s)
    if _is_too_old(event, settings, at=due):
        return _too_old(replace(event, reason=why), settings, now=now)
    return replace(event, state=EventState.QUEUED, due=due, reason=why)


def _is_too_old(event: Event, settings: Settings, *, at: datetime) -> bool:
    return (at - event.accepted).total_seconds() > settings.max_age_s


def _too_old(event: Event, settings: Settings, *, now: datetime) -> Event:
    why = f"older than {settings.max_age_s} s"
    if event.reason:
        why = f"{why} at its next try; {event.reason}"
    return _over(event, Condition.AGE_EXCEEDED, why, now=now)


# --- when it is over ----------------------------------------------------------------


def deliveries_of(event: Event, settings: Settings) -> tuple[Delivery, ...]:
    """Who is to be told of an event that is over."""
    if event.condition is Condition.SUCCESS:
        targets = [(DeliveryKind.DESTINATION, settings.on_success)]
    else:
        targets = [
            (DeliveryKind.DESTINATION, settings.on_failure),
            (DeliveryKind.DEAD_LETTER, settings.dead_letter),
        ]
    assert event.ended is not None  # noqa: S101 - it is over
    return tuple(
        Delivery(
            position=event.position,
            tenant_id=event.tenant_id,
            kind=kind,
            target=target,
            due=event.ended,
            since=event.ended,
        )
        for kind, target in targets
        if target
    )


def delivering(event: Event) -> Event:
    """Over, with somebody to be told first."""
    return replace(event, state=EventState.DELIVERING)


def told(event: Event, *, left: int, undelivered: str = "") -> Event:
    """One of those who are to be told was, or could not be, for that reason; `left`
    are still to be told."""
    event = replace(event, undelivered=event.undelivered or undelivered)
    if left:
        return event
    if event.undelivered:
        return replace(event, state=EventState.DEAD)
    is_success = event.condition is Condition.SUCCESS
    return replace(
        event, state=EventState.SUCCEEDED if is_success else EventState.FAILED
    )


def delivery_failed(delivery: Delivery, why: str, *, now: datetime) -> Delivery | None:
    """It is tried again after a pause; None where it is given up."""
    tries = delivery.tries + 1
    due = now + timedelta(seconds=pause_after(tries))
    if (due - delivery.since).total_seconds() > MAX_DELIVERY_S:
        return None
    return replace(delivery, tries=tries, due=due, error=why[:MAX_ERROR_TEXT])


def error_text(payload: bytes) -> str:
    """The `errorMessage` of an error object, cut; empty where there is none."""
    try:
        message = str(_message_in(payload))[:MAX_ERROR_TEXT]
    except (ValueError, AttributeError, RecursionError, msgspec.DecodeError):
        return ""
    # Half a surrogate pair, as in the name of a file, is in JSON and in no store.
    return message.encode("utf-8", "replace").decode()


def _message_in(payload: bytes) -> object:
    if len(payload) <= MAX_BUILT:
        return json.loads(payload).get("errorMessage", "")
    return msgspec.json.decode(payload, type=_Error).errorMessage


class _Error(msgspec.Struct):
    errorMessage: str = ""  # noqa: N815 - AWS's name


def _over(event: Event, condition: Condition, why: str, *, now: datetime) -> Event:
    """Left the queue; dead, until somebody is found who is to be told."""
    is_success = condition is Condition.SUCCESS
    return replace(
        event,
        state=EventState.SUCCEEDED if is_success else EventState.DEAD,
        ended=now,
        condition=condition,
        reason=why,
    )


def _with(event: Event, attempt: Attempt) -> Event:
    attempts = (*event.attempts, attempt)[-MAX_ATTEMPTS_KEPT:]
    return replace(event, attempts=attempts)
