"""What a schedule has to do now, and when to look again. Pure.

    nothing due ── wait
    due ────────── fire, within its window
    late ───────── by more than `GRACE`: one event for all of them, or none

A due time is settled once: `Progress.through` only grows. What is fired is named by its
due time (`once_key`), so that whoever takes events can tell a second one of the same.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sandlot_engine.model.trigger import Missed, Progress, Schedule, Trigger
from sandlot_engine.triggers import expressions
from sandlot_engine.triggers.expressions import Timing

GRACE = timedelta(seconds=60)
"""An event within this of its time is not late: AWS promises no more."""

AHEAD = timedelta(days=2)
"""Due times that are settled and further from now than this were settled by a clock
that was wrong, and set back since: they have not been yet. What is nearer stays
settled, or a clock that is put back by hours would fire a second time."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_JUST = timedelta(microseconds=1)
_NAMESPACE = uuid.UUID("5b1c2f0a-3f0e-4f43-9a4b-0c4d5c1f7a52")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to be done. What is not fired is settled at once."""

    fire: datetime | None = None
    """The due time whose event is to be sent; then all up to it is settled."""

    through: datetime
    """What is settled without it."""

    missed: int = 0
    """How many due times are passed over, as `expressions.count` has it."""

    wake: datetime | None = None
    """When to ask again, if nothing is to be fired; None: never."""


@dataclass(frozen=True, slots=True)
class Due:
    """A schedule's due times, those within its dates."""

    timing: Timing
    start: datetime | None
    end: datetime | None

    def after(self, moment: datetime) -> datetime | None:
        if self.start is not None:
            moment = max(moment, self.start - _JUST)
        found = self.timing.after(moment)
        return None if found is None or self._is_past_end(found) else found

    def until(self, moment: datetime) -> datetime | None:
        """The last that is not after `moment`, of which one that is within the dates
        is known not to be."""
        moment += _JUST
        if self.end is not None:
            moment = min(moment, self.end)
        return self.timing.before(moment)

    def _is_past_end(self, moment: datetime) -> bool:
        return self.end is not None and moment >= self.end


def due_of(schedule: Schedule) -> Due:
    """Raises `InvalidParameter` for what is no expression."""
    timing = expressions.parse(
        schedule.expression,
        zone=schedule.zone,
        anchor=schedule.start or schedule.anchor,
    )
    if expressions.is_once(schedule.expression):
        return Due(timing, None, None)  # as AWS, which ignores dates there
    return Due(timing, schedule.start, schedule.end)


def begin(schedule: Schedule) -> Progress:
    """Of a schedule that is new, or has a new expression: nothing before it is due. A
    rate begins at once, and a moment that was named is due though it is past."""
    if expressions.is_once(schedule.expression):
        return Progress(through=EPOCH)
    if expressions.is_rate(schedule.expression):
        return Progress(through=(schedule.start or schedule.anchor) - _JUST)
    return Progress(through=schedule.anchor)


def step(
    schedule: Schedule, due: Due, progress: Progress, *, seed: str, now: datetime
) -> Step:
    """What is to be done at `now`. `seed` is the trigger's id."""
    window = timedelta(minutes=schedule.window_min)
    through = _settled(schedule, progress.through, now)
    first = due.after(through)
    if first is None:
        return Step(through=through)
    # Counted back from now: `first` may be as late as there are dates.
    if now - window - GRACE <= first:
        return _in_time(first, through, _at(first, window, seed), now)
    return _late(schedule, due, through, window, seed, now)


def _settled(schedule: Schedule, through: datetime, now: datetime) -> datetime:
    if expressions.is_once(schedule.expression) or through - now <= AHEAD:
        return through
    return min(through, max(now, begin(schedule).through))


def _in_time(first: datetime, through: datetime, at: datetime, now: datetime) -> Step:
    if now < at:
        return Step(through=through, wake=at)
    return Step(fire=first, through=through)


def _late(
    schedule: Schedule,
    due: Due,
    through: datetime,
    window: timedelta,
    seed: str,
    now: datetime,
) -> Step:
    """Some due times were missed. What comes up is the last whose window is past: it is
    fired, if it is not late itself or is to be made up for."""
    last = due.until(now - window)
    assert last is not None  # noqa: S101 - the first one's is past
    is_late = now > last + window + GRACE
    if is_late and (
        schedule.missed is Missed.SKIP or is_too_old(schedule, last, now=now)
    ):
        missed = expressions.count(due.timing, _from(schedule, through), last)
        upcoming = due.after(last)
        wake = _at(upcoming, window, seed) if upcoming is not None else None
        return Step(through=last, missed=missed, wake=wake)
    missed = expressions.count(due.timing, _from(schedule, through), last - _JUST)
    return Step(fire=last, through=last - _JUST, missed=missed)


def is_too_old(schedule: Schedule, due: datetime, *, now: datetime) -> bool:
    """Whether a due time's event is not to be sent any more. Its age counts from the
    end of its window."""
    age = now - due - timedelta(minutes=schedule.window_min)
    return age > timedelta(seconds=schedule.max_age_s)


def _from(schedule: Schedule, through: datetime) -> datetime:
    if schedule.start is None or expressions.is_once(schedule.expression):
        return through
    return max(through, schedule.start - _JUST)


def _at(due: datetime, window: timedelta, seed: str) -> datetime:
    """When within its window a due time's event is sent: spread over it by chance, and
    yet the same whoever asks again."""
    if not window:
        return due
    digest = hashlib.sha256(f"{seed} {due.isoformat()}".encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    return due + min(window, _LAST - due) * share


def once_key(trigger: Trigger, due: datetime) -> str:
    """Names a due time's event: its request id is made of it."""
    return f"{trigger.id} {due.astimezone(UTC).isoformat()}"


def request_id(once: str) -> str:
    """A UUID that is the same for the same key."""
    return str(uuid.uuid5(_NAMESPACE, once))
