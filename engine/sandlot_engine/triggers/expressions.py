"""`rate(…)`, `cron(…)` and `at(…)` in a time zone -> the moments they mean. Pure.

As EventBridge Scheduler has it: rates are elapsed time and know of no daylight saving,
so that a day has 24 hours. A cron expression is read off the clock on the wall: a time
that a clock put forward leaves out is left out, and one that comes twice is meant once,
the first time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.triggers.cron import Cron, NotCron, parse_cron

MAX_COUNTED = 100
"""Moments on the wall that `count` looks at one by one: each takes 30 µs."""

MAX_RATE = 10**6
"""Of any unit; 2,700 years of days."""

_UNITS = {"minute": 60, "hour": 3_600, "day": 86_400}
_RATE = re.compile(r"rate\((\d{1,18})\s+(minute|hour|day)s?\)", re.ASCII)
_CRON = re.compile(r"cron\((.*)\)", re.ASCII)
_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)", re.ASCII)
_SHOWN = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Every so often, from `anchor` on."""

    every: timedelta
    anchor: datetime

    def after(self, moment: datetime) -> datetime | None:
        """The first moment that is meant and is later; None after the last."""
        if moment < self.anchor:
            return self.anchor
        return self._nth((moment - self.anchor) // self.every + 1)

    def before(self, moment: datetime) -> datetime | None:
        """The last that is meant and is earlier."""
        if moment <= self.anchor:
            return None
        # Just before, so that a moment that is meant itself is not its own last.
        just = moment - timedelta(microseconds=1)
        return self._nth((just - self.anchor) // self.every)

    def count(self, after: datetime, until: datetime) -> int:
        """How many are meant after the one moment and up to the other."""
        first = max((after - self.anchor) // self.every, -1)
        return max((until - self.anchor) // self.every - first, 0)

    def _nth(self, number: int) -> datetime | None:
        try:
            return self.anchor + number * self.every
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """At one moment."""

    moment: datetime

    def after(self, moment: datetime) -> datetime | None:
        return self.moment if moment < self.moment else None

    def before(self, moment: datetime) -> datetime | None:
        return self.moment if moment > self.moment else None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnTheWall:
    """When a clock in `zone` shows what `cron` says."""

    cron: Cron
    zone: tzinfo

    def after(self, moment: datetime) -> datetime | None:
        wall = self._local(moment).replace(tzinfo=None)
        while (found := self.cron.after(wall)) is not None:
            wall = found
            # In the hour that comes a second time, what is later on the wall is mostly
            # past: it was meant the first time.
            if (meant := self._moment(wall)) is not None and meant > moment:
                return meant
        return None

    def before(self, moment: datetime) -> datetime | None:
        local = self._local(moment)
        # For the same reason: past may be what the wall will show again.
        ahead = _LONGEST_BACK if local.fold else timedelta(0)
        wall = local.replace(tzinfo=None) + ahead
        while (found := self.cron.before(wall)) is not None:
            wall = found
            if (meant := self._moment(wall)) is not None and meant < moment:
                return meant
        return None

    def _moment(self, wall: datetime) -> datetime | None:
        return moment_of(wall, self.zone)

    def _local(self, moment: datetime) -> datetime:
        """What the clock shows; where no date has it any more, the last that has one,
        or the first."""
        try:
            return moment.astimezone(self.zone)
        except OverflowError:
            if moment.year > 1:
                return datetime.max.replace(tzinfo=self.zone)
            return datetime.min.replace(tzinfo=self.zone)


_LONGEST_BACK = timedelta(hours=25)
"""By which any clock is put back at once: a zone that changes sides of the date line
loses a day."""

Timing = Rate | Once | OnTheWall
"""When something is due: `after` and `before` a moment. All moments are in UTC."""


def moment_of(wall: datetime, zone: tzinfo) -> datetime | None:
    """When a clock in `zone` shows that, for the first time; None if it never does."""
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    shown = moment.astimezone(zone).replace(tzinfo=None, fold=0)
    return moment if shown == wall else None


def parse(text: str, *, zone: str = "UTC", anchor: datetime) -> Timing:
    """An expression as EventBridge Scheduler takes it. `anchor` is where a rate begins.

    Raises `InvalidParameter`, whose text begins as AWS's.
    """
    in_zone = time_zone(zone)
    if rate := _RATE.fullmatch(text):
        number = int(rate[1])
        if not 1 <= number <= MAX_RATE:
            raise invalid(text, f"a rate must be 1 to {MAX_RATE}")
        every = timedelta(seconds=number * _UNITS[rate[2]])
        return Rate(every=every, anchor=anchor)
    if at := _AT.fullmatch(text):
        return Once(moment=_at(text, at[1], in_zone, zone))
    if cron := _CRON.fullmatch(text):
        try:
            return OnTheWall(cron=parse_cron(cron[1]), zone=in_zone)
        except NotCron as error:
            raise invalid(text, str(error)) from error
    raise invalid(
        text,
        "it must be rate(VALUE UNIT), cron(MINUTES HOURS DAY-OF-MONTH MONTH DAY-OF-WEEK"
        " YEAR) or at(YYYY-MM-DDTHH:MM:SS)",
    )


def is_once(text: str) -> bool:
    """Whether an expression that `parse` takes is of one moment."""
    return text.startswith("at(")


def is_rate(text: str) -> bool:
    """Whether an expression that `parse` takes is a rate."""
    return text.startswith("rate(")


def count(timing: Timing, after: datetime, until: datetime) -> int:
    """How many moments are meant after the one and up to the other; of those on the
    wall no more than `MAX_COUNTED` are counted."""
    if isinstance(timing, Rate):
        return timing.count(after, until)
    due = takewhile(lambda moment: moment <= until, moments(timing, after))
    return sum(1 for _ in islice(due, MAX_COUNTED))


def moments(timing: Timing, after: datetime) -> Iterator[datetime]:
    """All that are meant after a moment; there may be no end of them."""
    found = timing.after(after)
    while found is not None:
        yield found
        found = timing.after(found)


def time_zone(name: str) -> tzinfo:
    """By its name in the IANA's data. Raises `InvalidParameter`."""
    if name == "UTC":
        return UTC  # also on a machine without that data
    try:
        if _ZONE.fullmatch(name) and name not in _NO_ZONES:
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass  # there is no such file, or it is none
    raise InvalidParameter(
        f"Invalid Schedule Expression Timezone {name[:_SHOWN]}. It must be a time zone "
        "that this machine knows, such as Europe/Berlin.",
        field="ScheduleExpressionTimezone",
    )


_ZONE = re.compile(r"(?!posix/|right/)[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*", re.ASCII)
_NO_ZONES = frozenset({"localtime", "Factory", "posixrules"})
"""What also lies where the zones do: this machine's own, and none."""


def _at(text: str, written: str, zone: tzinfo, name: str) -> datetime:
    try:
        wall = datetime.strptime(written, "%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007 - the wall's
        moment = moment_of(wall, zone)
    except (ValueError, OverflowError) as error:
        raise invalid(text, "there is no such date or time") from error
    if moment is None:
        raise invalid(text, f"that time is left out in {name}")
    return moment


def invalid(text: str, why: str) -> InvalidParameter:
    return InvalidParameter(
        f"Invalid Schedule Expression {text[:_SHOWN]}. {why[:1].upper()}{why[1:]}.",
        field="ScheduleExpression",
    )
