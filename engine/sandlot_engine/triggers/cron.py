"""AWS's cron expressions: `minutes hours day-of-month month day-of-week year`. Pure.

They are Quartz's without its seconds, and no other dialect's: a Sunday is 1, one of the
two day fields is `?`, and L, W and # name days that depend on the month. What is here
knows the calendar and a clock on the wall; time zones are `expressions`'s.
"""

import calendar
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

FIRST_YEAR, LAST_YEAR = 1970, 2199

Days = Callable[[int, int], tuple[int, ...]]
"""The days of a month, by year and month, in order."""


class NotCron(ValueError):
    """What is wrong with an expression."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    names: Mapping[str, int]
    most_step: int


def _names(first: int, text: str) -> dict[str, int]:
    return {name: number for number, name in enumerate(text.split(), first)}


_MINUTES = _Field("minutes", 0, 59, {}, 59)
_HOURS = _Field("hours", 0, 23, {}, 23)
_DAYS = _Field("day-of-month", 1, 31, {}, 31)
_MONTHS = _Field(
    "month", 1, 12, _names(1, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"), 12
)
_WEEKDAYS = _Field("day-of-week", 1, 7, _names(1, "SUN MON TUE WED THU FRI SAT"), 7)
_YEARS = _Field("year", FIRST_YEAR, LAST_YEAR, {}, LAST_YEAR - FIRST_YEAR)

_ANY = "?"
_SATURDAY = 7
_MOST_NTH = 5


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression. Moments are without a zone, and whole minutes."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: Days
    months: tuple[int, ...]
    years: tuple[int, ...]

    def after(self, moment: datetime) -> datetime | None:
        """The first minute that fits and begins after `moment`; None after the last."""
        for day in self._days_from(moment):
            first = moment if day.date() == moment.date() else None
            for hour in self.hours:
                if first is not None and hour < first.hour:
                    continue
                begin = 0
                if first is not None and hour == first.hour:
                    begin = bisect_right(self.minutes, first.minute)
                if begin < len(self.minutes):
                    return day.replace(hour=hour, minute=self.minutes[begin])
        return None

    def before(self, moment: datetime) -> datetime | None:
        """The last minute that fits and begins before `moment`; None before the
        first."""
        for day in self._days_back_from(moment):
            last = moment if day.date() == moment.date() else None
            for hour in reversed(self.hours):
                if last is not None and hour > last.hour:
                    continue
                end = len(self.minutes)
                if last is not None and hour == last.hour:
                    # A minute that has begun is before whatever is within it.
                    is_within = bool(last.second or last.microsecond)
                    find = bisect_right if is_within else bisect_left
                    end = find(self.minutes, last.minute)
                if end:
                    return day.replace(hour=hour, minute=self.minutes[end - 1])
        return None

    def _days_from(self, moment: datetime) -> Iterator[datetime]:
        """Midnights of the days that fit, from the moment's own on."""
        for year in self.years[bisect_left(self.years, moment.year) :]:
            for month in self.months:
                if (year, month) < (moment.year, moment.month):
                    continue
                is_same = (year, month) == (moment.year, moment.month)
                for day in self.days(year, month):
                    if not is_same or day >= moment.day:
                        yield datetime(year, month, day)  # noqa: DTZ001 - on the wall

    def _days_back_from(self, moment: datetime) -> Iterator[datetime]:
        for year in reversed(self.years[: bisect_right(self.years, moment.year)]):
            for month in reversed(self.months):
                if (year, month) > (moment.year, moment.month):
                    continue
                is_same = (year, month) == (moment.year, moment.month)
                for day in reversed(self.days(year, month)):
                    if not is_same or day <= moment.day:
                        yield datetime(year, month, day)  # noqa: DTZ001 - on the wall


def parse_cron(text: str) -> Cron:
    """What stands between the parentheses. Raises `NotCron`."""
    fields = text.split()
    if len(fields) != 6:
        raise NotCron(
            f"it has {len(fields)} fields of 6: minutes hours day-of-month month "
            "day-of-week year"
        )
    minutes, hours, days, months, weekdays, years = fields
    if (days == _ANY) == (weekdays == _ANY):
        raise NotCron("one of day-of-month and day-of-week must be ?, and not both")
    return Cron(
        minutes=_numbers(_MINUTES, minutes),
        hours=_numbers(_HOURS, hours),
        days=_weekday_rule(weekdays) if days == _ANY else _day_rule(days),
        months=_numbers(_MONTHS, months),
        years=_numbers(_YEARS, years),
    )


# --- fields -------------------------------------------------------------------

_PART = re.compile(
    r"(?P<from>\*|\w+)(?:-(?P<to>\w+))?(?:/(?P<step>\d{1,4}))?", re.ASCII
)


def _numbers(field: _Field, text: str) -> tuple[int, ...]:
    """All values that a field allows, in order."""
    found: set[int] = set()
    for part in text.split(","):
        found.update(_part(field, part))
    return tuple(sorted(found))


def _part(field: _Field, text: str) -> Iterator[int]:
    parsed = _PART.fullmatch(text)
    if not parsed or (parsed["from"] == "*" and parsed["to"]):
        raise _bad(field, text)
    step = int(parsed["step"]) if parsed["step"] else 1
    if not 1 <= step <= field.most_step:
        raise NotCron(
            f"the step in {text[:20]!r} of {field.name} must be 1 to {field.most_step}"
        )
    if parsed["from"] == "*":
        return iter(range(field.first, field.last + 1, step))
    first = _number(field, parsed["from"])
    if parsed["to"]:
        return _range(field, first, _number(field, parsed["to"]), step)
    return iter(range(first, (field.last if parsed["step"] else first) + 1, step))


def _range(field: _Field, first: int, last: int, step: int) -> Iterator[int]:
    """`FRI-MON` goes on at the beginning; years do not come again."""
    if last >= first:
        return iter(range(first, last + 1, step))
    if field is _YEARS:
        raise NotCron(f"the years {first}-{last} end before they begin")
    size = field.last - field.first + 1
    return (
        (number - field.first) % size + field.first
        for number in range(first, last + size + 1, step)
    )


def _number(field: _Field, text: str) -> int:
    if (named := field.names.get(text.upper())) is not None:
        return named
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise _bad(field, text)
    number = int(text)
    if not field.first <= number <= field.last:
        raise NotCron(
            f"{field.name} must be {field.first} to {field.last}; it is {number}"
        )
    return number


def _bad(field: _Field, text: str) -> NotCron:
    return NotCron(f"{text[:20]!r} cannot be in {field.name}")


# --- days ---------------------------------------------------------------------


def _day_rule(text: str) -> Days:
    """Of the day-of-month field. L and W stand alone."""
    upper = text.upper()
    if upper == "L":
        return partial(_last_day, 0)
    if upper == "LW":
        return _last_workday
    if upper.startswith("L-"):
        return partial(_last_day, _number(_DAYS, upper[2:]))
    if upper.endswith("W"):
        return partial(_workday_near, _number(_DAYS, upper[:-1]))
    return partial(_these_days, _numbers(_DAYS, text))


def _weekday_rule(text: str) -> Days:
    """Of the day-of-week field. L and # stand alone."""
    upper = text.upper()
    if upper == "L":
        return partial(_these_weekdays, (_SATURDAY,))
    if "#" in upper:
        day, _, which = upper.partition("#")
        if which not in {"1", "2", "3", "4", "5"}:
            raise NotCron(f"what follows # must be 1 to {_MOST_NTH}, and nothing else")
        return partial(_nth_weekday, _number(_WEEKDAYS, day), int(which))
    if upper.endswith("L"):
        return partial(_last_weekday, _number(_WEEKDAYS, upper[:-1]))
    return partial(_these_weekdays, _numbers(_WEEKDAYS, text))


def _these_days(days: tuple[int, ...], year: int, month: int) -> tuple[int, ...]:
    return days[: bisect_right(days, _length(year, month))]


def _last_day(days_before: int, year: int, month: int) -> tuple[int, ...]:
    day = _length(year, month) - days_before
    return (day,) if day >= 1 else ()


def _workday_near(day: int, year: int, month: int) -> tuple[int, ...]:
    """The nearest of Monday to Friday, never in another month; none in a month that is
    too short for that day."""
    last = _length(year, month)
    if day > last:
        return ()
    match _weekday(year, month, day):
        case 7:  # Saturday
            return (day - 1 if day > 1 else day + 2,)
        case 1:  # Sunday
            return (day + 1 if day < last else day - 2,)
        case _:
            return (day,)


def _last_workday(year: int, month: int) -> tuple[int, ...]:
    return _workday_near(_length(year, month), year, month)


def _these_weekdays(
    weekdays: tuple[int, ...], year: int, month: int
) -> tuple[int, ...]:
    first = _weekday(year, month, 1)
    return tuple(
        day
        for day in range(1, _length(year, month) + 1)
        if (first + day - 2) % 7 + 1 in weekdays
    )


def _nth_weekday(weekday: int, which: int, year: int, month: int) -> tuple[int, ...]:
    return _these_weekdays((weekday,), year, month)[which - 1 : which]


def _last_weekday(weekday: int, year: int, month: int) -> tuple[int, ...]:
    return _these_weekdays((weekday,), year, month)[-1:]


def _length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _weekday(year: int, month: int, day: int) -> int:
    """1 for Sunday, as AWS counts."""
    return (calendar.weekday(year, month, day) + 1) % 7 + 1
