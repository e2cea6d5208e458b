# ruff: noqa: DTZ001 -- a clock on the wall has no zone
"""AWS's cron expressions, against the documentation's examples and a walk through every
minute."""

import calendar
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.triggers.cron import Cron, NotCron, parse_cron

Fits = Callable[[datetime], bool]

SOME_DAY = datetime(2025, 6, 1, 12, 0)
WALK = timedelta(days=3)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def next_of(cron: Cron, moment: datetime, count: int) -> list[str]:
    found = list[str]()
    at: datetime | None = moment
    while len(found) < count and at is not None and (at := cron.after(at)):
        found.append(f"{at:%Y-%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The examples of AWS's documentation.
        ("0 10 * * ? *", ["2025-06-02 10:00", "2025-06-03 10:00"]),
        ("15 12 * * ? *", ["2025-06-01 12:15", "2025-06-02 12:15"]),
        ("0 18 ? * MON-FRI *", ["2025-06-02 18:00", "2025-06-03 18:00"]),
        ("0 8 1 * ? *", ["2025-07-01 08:00", "2025-08-01 08:00"]),
        ("0/15 * * * ? *", ["2025-06-01 12:15", "2025-06-01 12:30"]),
        ("0/10 * ? * MON-FRI *", ["2025-06-02 00:00", "2025-06-02 00:10"]),
        ("0/5 8-17 ? * MON-FRI *", ["2025-06-02 08:00", "2025-06-02 08:05"]),
        ("0 9 ? * 2#1 *", ["2025-06-02 09:00", "2025-07-07 09:00"]),
        ("0/30 20-2 ? * MON-FRI *", ["2025-06-02 00:00", "2025-06-02 00:30"]),
        ("15 10 ? * 6L 2022-2026", ["2025-06-27 10:15", "2025-07-25 10:15"]),
        # Days that depend on the month.
        ("0 0 L * ? *", ["2025-06-30 00:00", "2025-07-31 00:00"]),
        ("0 0 L-2 * ? *", ["2025-06-28 00:00", "2025-07-29 00:00"]),
        ("0 0 LW * ? *", ["2025-06-30 00:00", "2025-07-31 00:00", "2025-08-29 00:00"]),
        ("0 0 1W * ? *", ["2025-06-02 00:00", "2025-07-01 00:00", "2025-08-01 00:00"]),
        ("0 0 15W * ? *", ["2025-06-16 00:00", "2025-07-15 00:00", "2025-08-15 00:00"]),
        ("0 0 31W * ? *", ["2025-07-31 00:00", "2025-08-29 00:00", "2025-10-31 00:00"]),
        ("0 0 ? * L *", ["2025-06-07 00:00", "2025-06-14 00:00"]),
        ("0 0 ? * MON#5 *", ["2025-06-30 00:00", "2025-09-29 00:00"]),
        ("0 0 ? * sunl *", ["2025-06-29 00:00", "2025-07-27 00:00"]),
        ("0 0 29 2 ? *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 29 2 ? 2096-2199", ["2096-02-29 00:00", "2104-02-29 00:00"]),
        # Lists, steps, names and what goes over the end.
        ("1/10 0 1 1 ? *", ["2026-01-01 00:01", "2026-01-01 00:11"]),
        ("5-20/5,59 0 1 1 ? *", ["2026-01-01 00:05", "2026-01-01 00:10"]),
        ("0 0 1 nov-FEB ? *", ["2025-11-01 00:00", "2025-12-01 00:00"]),
        ("0 0 ? * FRI-MON *", ["2025-06-02 00:00", "2025-06-06 00:00"]),
        ("0 12 1 6 ? 2025", []),
        ("0 0 30 2 ? *", []),
        ("0 0 1 1 ? 1970-2024", []),
    ],
)
def test_the_next_times_are_those_that_aws_documents(
    text: str, expected: list[str]
) -> None:
    cron = parse_cron(text)

    assert next_of(cron, SOME_DAY, max(len(expected), 1)) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0 10 * * ?", "5 fields of 6"),
        ("0 10 * * * *", "must be ?"),
        ("0 10 ? * ? *", "must be ?"),
        ("60 10 * * ? *", "minutes must be 0 to 59; it is 60"),
        ("0 24 * * ? *", "hours must be 0 to 23"),
        ("0 0 0 * ? *", "day-of-month must be 1 to 31"),
        ("0 0 ? * 0 *", "day-of-week must be 1 to 7"),
        ("0 0 ? * MOON *", "'MOON' cannot be in day-of-week"),
        ("0 0 ? 13 MON *", "month must be 1 to 12"),
        ("0 0 1 1 ? 2200", "year must be 1970 to 2199"),
        ("0 0 1 1 ? 2030-2020", "end before they begin"),
        ("*/60 * * * ? *", "the step in '*/60' of minutes must be 1 to 59"),
        ("0/0 * * * ? *", "must be 1 to 59"),
        ("0 0 ? * 3#6 *", "what follows # must be 1 to 5"),
        ("0 0 ? * 3#1,6#3 *", "what follows # must be 1 to 5"),
        ("0 0 15W,20 * ? *", "'15W' cannot be in day-of-month"),
        ("0 0 L,20 * ? *", "'L' cannot be in day-of-month"),
        ("? * * * ? *", "'?' cannot be in minutes"),
        ("0 ? * * ? *", "'?' cannot be in hours"),
        ("0 0 ? ? MON *", "'?' cannot be in month"),
        ("0 0 * * ? ?", "'?' cannot be in year"),
        ("1-2-3 * * * ? *", "'1-2-3' cannot be in minutes"),
        ("*-5 * * * ? *", "'*-5' cannot be in minutes"),
        (", * * * ? *", "'' cannot be in minutes"),
        ("٣ * * * ? *", "'٣' cannot be in minutes"),
        ("9" * 10_000 + " * * * ? *", "cannot be in minutes"),
    ],
)
def test_what_is_none_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(NotCron) as refusal:
        parse_cron(text)

    assert why in str(refusal.value)
    assert len(str(refusal.value)) < 200


@given(
    st.lists(
        st.text(st.sampled_from("0123456789*,-/?LW#MON "), max_size=12) | st.text(),
        min_size=5,
        max_size=7,
    )
)
def test_whatever_is_written_it_is_parsed_or_refused(fields: list[str]) -> None:
    try:
        cron = parse_cron(" ".join(fields))
    except NotCron:
        return
    found = cron.after(SOME_DAY)
    assert found is None or found > SOME_DAY


# --- against every minute -----------------------------------------------------


@st.composite
def fields(draw: st.DrawFn, first: int, last: int) -> tuple[str, frozenset[int]]:
    """A field's text, and the values that it means, worked out apart."""
    numbers = st.integers(first, last)
    parts, meant = list[str](), set[int]()
    for _ in range(draw(st.integers(1, 3))):
        low, high = draw(numbers), draw(numbers)
        step = draw(st.integers(1, last))
        match draw(st.sampled_from(["all", "one", "range", "steps", "range-steps"])):
            case "all":
                parts.append("*")
                meant |= set(range(first, last + 1))
            case "one":
                parts.append(str(low))
                meant.add(low)
            case "steps":
                parts.append(f"{low}/{step}")
                meant |= {n for n in range(low, last + 1) if (n - low) % step == 0}
            case kind:
                low, high = min(low, high), max(low, high)
                every = step if kind == "range-steps" else 1
                parts.append(f"{low}-{high}" + (f"/{every}" if every > 1 else ""))
                meant |= {n for n in range(low, high + 1) if (n - low) % every == 0}
    return ",".join(parts), frozenset(meant)


@st.composite
def day_fields(draw: st.DrawFn) -> tuple[str, str, Fits]:
    """Both day fields, and whether a day is one that they mean."""
    day, nth = draw(st.integers(1, 31)), draw(st.integers(1, 5))
    weekday = draw(st.integers(1, 7))

    def last(moment: datetime) -> int:
        return calendar.monthrange(moment.year, moment.month)[1]

    def weekday_of(moment: datetime) -> int:
        return moment.isoweekday() % 7 + 1

    def is_nearest_workday(moment: datetime, wanted: int) -> bool:
        if wanted > last(moment) or weekday_of(moment) in (1, 7):
            return False
        # Nobody of the month who works is nearer to the day; ties there are none, as
        # a weekend has one end nearer.
        others = [
            moment.replace(day=n)
            for n in range(1, last(moment) + 1)
            if weekday_of(moment.replace(day=n)) not in (1, 7)
        ]
        return min(others, key=lambda other: abs(other.day - wanted)) == moment

    match draw(st.sampled_from(["days", "L", "L-", "W", "LW", "weekdays", "#", "wL"])):
        case "days":
            text, meant = draw(fields(1, 31))
            return text, "?", lambda m: m.day in meant
        case "L":
            return "L", "?", lambda m: m.day == last(m)
        case "L-":
            return f"L-{day}", "?", lambda m: m.day == last(m) - day
        case "W":
            return f"{day}W", "?", lambda m: is_nearest_workday(m, day)
        case "LW":
            return "LW", "?", lambda m: is_nearest_workday(m, last(m))
        case "weekdays":
            text, meant = draw(fields(1, 7))
            return "?", text, lambda m: weekday_of(m) in meant
        case "#":
            return (
                "?",
                f"{weekday}#{nth}",
                lambda m: weekday_of(m) == weekday and (m.day - 1) // 7 == nth - 1,
            )
        case _:
            return (
                "?",
                f"{weekday}L",
                lambda m: weekday_of(m) == weekday and m.day > last(m) - 7,
            )


@st.composite
def crons(draw: st.DrawFn) -> tuple[str, Fits]:
    minute, minutes = draw(fields(0, 59))
    hour, hours = draw(fields(0, 23))
    month, months = draw(fields(1, 12))
    day, weekday, is_day = draw(day_fields())

    def fits(m: datetime) -> bool:
        return (
            m.minute in minutes
            and m.hour in hours
            and m.month in months
            and is_day(m.replace(hour=0, minute=0))
        )

    return f"{minute} {hour} {day} {month} {weekday} *", fits


WALL = st.datetimes(datetime(1999, 12, 25), datetime(2032, 3, 5))


@given(crons(), WALL)
def test_after_gives_every_minute_that_fits_and_no_other(
    pair: tuple[str, Fits], start: datetime
) -> None:
    cron, (text, fits) = parse_cron(pair[0]), pair
    minute = start.replace(second=0, microsecond=0)
    walked = [m for n in range(1, WALK // MINUTE + 1) if fits(m := minute + n * MINUTE)]

    found = list[datetime]()
    at = cron.after(start)
    while at is not None and at <= minute + WALK:
        found.append(at)
        at = cron.after(at)

    assert found == walked, text


@given(crons(), WALL)
def test_before_goes_the_same_way_back(pair: tuple[str, Fits], start: datetime) -> None:
    cron = parse_cron(pair[0])
    ahead = list(islice(_after(cron, start), 5))

    back = list[datetime]()
    at = cron.before(ahead[-1] + MINUTE / 2) if ahead else None
    while at is not None and at > start:
        back.append(at)
        at = cron.before(at)

    assert back == ahead[::-1]


@given(day_fields())
def test_days_are_right_in_every_month_of_four_years(
    days: tuple[str, str, Fits],
) -> None:
    day, weekday, fits = days
    cron = parse_cron(f"0 0 {day} * {weekday} *")
    first, last = datetime(2027, 1, 1), datetime(2031, 1, 1)
    walked = [m for n in range((last - first).days) if fits(m := first + n * DAY)]

    found = list[datetime]()
    for at in _after(cron, first - MINUTE):
        if at >= last:
            break
        found.append(at)

    assert found == walked


def _after(cron: Cron, moment: datetime) -> Iterator[datetime]:
    at = cron.after(moment)
    while at is not None:
        yield at
        at = cron.after(at)
