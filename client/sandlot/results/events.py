"""Events that were queued, and what has become of them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EventState(StrEnum):
    """Where an event is; the last three are final."""

    UNKNOWN = ""
    QUEUED = "queued"
    RUNNING = "running"
    DELIVERING = "delivering"
    """It is over, and a destination or dead-letter target is being told."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """And whoever was to be told was."""

    DEAD = "dead"
    """It is in the dead-letter store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventAttempt:
    """One try to run an event."""

    started: datetime
    ended: datetime
    status: str
    """`ok`, `error`, `timeout`, `crashed`, `init-failed`; `system-error` where the
    engine's side broke, `interrupted` where the engine ended meanwhile."""

    error_type: str
    error: str
    version: str
    """Empty where none ran."""

    billed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What has become of an event."""

    request_id: str
    function: str
    qualifier: str
    state: EventState
    size: int
    """Bytes of its payload."""

    accepted: datetime
    next_attempt: datetime | None
    """While it is queued."""

    ended: datetime | None
    runs: int
    """How often its function has, or may have, run it."""

    throttles: int
    """How often there was no room for it."""

    condition: str
    """Why it left the queue: `Success`, `RetriesExhausted`, `EventAgeExceeded`, …"""

    reason: str
    """Why it waits, or why it failed."""

    undelivered: str
    """Why somebody who was to be told could not be; then it is dead."""

    attempts: tuple[EventAttempt, ...]
    """The last of them, oldest first."""

    @property
    def is_over(self) -> bool:
        return self.state in _OVER


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    """How a function's events are treated; the defaults where nothing is set."""

    function: str
    qualifier: str
    """A version or an alias; empty for `$LATEST`."""

    max_retries: int
    """How often what has failed is tried again."""

    max_age_s: int
    """How long an event may wait."""

    on_success: str
    """ARN of what is told of each that has succeeded; empty where nobody is."""

    on_failure: str
    """The same of each that cannot be run."""


_OVER = frozenset({EventState.SUCCEEDED, EventState.FAILED, EventState.DEAD})
