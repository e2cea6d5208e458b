"""Events: invocations whose callers do not wait, and what has become of them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MAX_ATTEMPTS_KEPT = 20
"""Attempts of an event that are kept, the newest; `runs` counts all."""

MAX_ERROR_TEXT = 1_024
"""Characters that are kept of an error (AWS: 1 KB in a dead letter's attributes)."""


class EventState(StrEnum):
    """`QUEUED ⇄ RUNNING`, then `DELIVERING` where something is to be told of it, and
    one of the last three."""

    QUEUED = "queued"
    RUNNING = "running"
    DELIVERING = "delivering"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """And a destination or dead-letter target has been told."""

    DEAD = "dead"
    """It is in our own dead-letter store: nobody else has been told."""

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset({EventState.SUCCEEDED, EventState.FAILED, EventState.DEAD})


class Condition(StrEnum):
    """Why an event left the queue: AWS's four, and two of ours."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    AGE_EXCEEDED = "EventAgeExceeded"
    ZERO_CONCURRENCY = "ZeroReservedConcurrency"
    REFUSED = "Refused"
    """It cannot be run any more: its function is gone, or may not be run."""

    RECURSION = "RecursiveInvocation"
    """It would have been one more round of a loop."""


class AttemptStatus(StrEnum):
    """How one attempt ended. The first five are an invocation's `Status`."""

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    INIT_FAILED = "init-failed"
    SYSTEM_ERROR = "system-error"
    """Our side broke, and it may have run."""

    INTERRUPTED = "interrupted"
    """The engine ended while it ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to run an event."""

    started: datetime
    ended: datetime
    status: AttemptStatus
    error_type: str = ""
    error: str = ""
    """At most `MAX_ERROR_TEXT` characters."""

    version: str = ""
    """The one that ran; empty where none has."""

    is_billed: bool = False
    """Whether there is a record of it, with what it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event, without its payload."""

    position: int = 0
    """Given by the store, rising in the order in which events came."""

    request_id: str
    """The same for all its attempts. A tenant has no two events of one."""

    tenant_id: str
    function: str
    qualifier: str = ""
    invoked_arn: str = ""
    isolation_key: str = ""
    client_context: str = ""
    trace: str = ""
    """Root, Parent and Sampled of its sender's X-Amzn-Trace-Id, if there was one."""

    lineage: str = ""
    """Which functions this event is a consequence of, as `lineage.py` writes it."""

    size: int
    """Bytes of the payload."""

    state: EventState = EventState.QUEUED
    accepted: datetime
    """UTC. Its age counts from here; a redrive begins it anew."""

    due: datetime
    """When it is tried next, or was."""

    ended: datetime | None = None
    """When it was succeeded, failed or dead."""

    runs: int = 0
    """How often its function has, or may have, run it: `approximateInvokeCount`."""

    errors: int = 0
    """Runs that failed by the function's fault: these are what retries are for."""

    setbacks: int = 0
    """System errors and interruptions since it last ran: each doubles the pause."""

    throttles: int = 0
    """How often there was no room to run it."""

    condition: Condition | None = None
    """Why it has left the queue."""

    reason: str = ""
    """Why it waits, or why it is dead, in words."""

    undelivered: str = ""
    """Why somebody who was to be told of it could not be; then it is dead."""

    attempts: tuple[Attempt, ...] = ()
    """The last `MAX_ATTEMPTS_KEPT`, oldest first."""


class DeliveryKind(StrEnum):
    """What is told of an event that has left the queue."""

    DESTINATION = "destination"
    """AWS's record of the invocation."""

    DEAD_LETTER = "dead-letter"
    """The event as it was, to the function's DeadLetterConfig."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Something that is to be told of an event; its body is made when it is sent."""

    id: int = 0
    """Given by the store."""

    position: int
    """Of the event."""

    tenant_id: str
    kind: DeliveryKind
    target: str
    """An ARN."""

    due: datetime
    since: datetime
    """When it was first to be sent."""

    tries: int = 0
    error: str = ""
    """Why the last try failed."""
