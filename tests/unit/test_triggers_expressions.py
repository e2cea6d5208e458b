"""Rates, times and time zones, as EventBridge Scheduler documents them."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.triggers import expressions
from sandlot_engine.triggers.expressions import moments, parse

NOON = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def some(expression: str, zone: str, after: str, count: int) -> list[str]:
    timing = parse(expression, zone=zone, anchor=NOON)
    return [
        f"{moment:%d %H:%M}" for moment in islice(moments(timing, at(after)), count)
    ]


# --- rates --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "every"),
    [
        ("rate(1 minute)", timedelta(minutes=1)),
        ("rate(5 minutes)", timedelta(minutes=5)),
        ("rate(1 hours)", timedelta(hours=1)),
        ("rate(2  days)", timedelta(days=2)),
    ],
)
def test_a_rate_begins_at_its_anchor_and_goes_on(
    expression: str, every: timedelta
) -> None:
    rate = parse(expression, anchor=NOON)

    assert rate.after(NOON - timedelta(days=400)) == NOON
    assert rate.after(NOON) == NOON + every
    assert rate.after(NOON + 7 * every - timedelta(seconds=1)) == NOON + 7 * every
    assert rate.before(NOON + 7 * every) == NOON + 6 * every
    assert rate.before(NOON) is None


def test_a_day_of_a_rate_has_24_hours_whatever_clocks_do() -> None:
    rate = parse("rate(1 day)", zone=BERLIN, anchor=at("2025-10-25T12:00:00+02:00"))

    assert rate.after(at("2025-10-25T12:00:00+02:00")) == at(
        "2025-10-26T11:00:00+01:00"
    )


@given(
    st.integers(1, 10_000),
    st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_before_and_after_agree_for_rates(minutes: int, moment: datetime) -> None:
    rate = parse(f"rate({minutes} minutes)", anchor=NOON)

    later = rate.after(moment)

    assert later is not None
    assert later > moment
    earlier = rate.before(later)
    assert earlier is None or earlier <= moment
    assert earlier is None or rate.after(earlier) == later


# --- daylight saving ----------------------------------------------------------


def test_a_time_that_clocks_leave_out_in_spring_is_left_out() -> None:
    # On 30 March 2025 it is 3:00 in Berlin when it would have been 2:00.
    assert some("cron(30 2 * * ? *)", BERLIN, "2025-03-28T12:00:00+01:00", 3) == [
        "29 01:30",
        "31 00:30",
        "01 00:30",
    ]


def test_a_time_that_comes_twice_in_autumn_is_meant_once_and_first() -> None:
    # On 26 October 2025 it is 2:30 in Berlin at 0:30 and at 1:30 UTC.
    assert some("cron(30 2 * * ? *)", BERLIN, "2025-10-25T12:00:00+02:00", 2) == [
        "26 00:30",
        "27 01:30",
    ]


def test_the_hour_that_comes_again_has_none_of_its_own() -> None:
    assert some("cron(0/20 1-3 * * ? *)", BERLIN, "2025-10-26T02:30:00+02:00", 3) == [
        "26 00:40",
        "26 02:00",
        "26 02:20",
    ]


def test_asked_within_the_hour_that_comes_again_what_is_past_is_known() -> None:
    timing = parse("cron(40 2 * * ? *)", zone=BERLIN, anchor=NOON)
    # 2:30, the second time: 2:40 was meant fifty minutes ago, and is not meant again.
    again = at("2025-10-26T01:30:00+00:00")

    assert timing.before(again) == at("2025-10-26T00:40:00+00:00")
    assert timing.after(again) == at("2025-10-27T01:40:00+00:00")


def test_a_day_that_a_zone_leaves_out_has_none() -> None:
    # Samoa went over the date line: it had no 30 December 2011.
    assert some(
        "cron(0 12 * * ? *)", "Pacific/Apia", "2011-12-28T00:00:00+00:00", 3
    ) == ["28 22:00", "29 22:00", "30 22:00"]


ZONES = st.sampled_from(
    ["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
)


@given(
    st.sampled_from(
        ["0/7 * * * ? *", "30 1-3 * * ? *", "0 0 ? * SUN *", "1 2 L * ? *"]
    ),
    ZONES,
    st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_due_times_are_in_order_fit_the_wall_and_are_found_both_ways(
    cron: str, zone: str, moment: datetime
) -> None:
    timing = parse(f"cron({cron})", zone=zone, anchor=NOON)

    ahead = list(islice(moments(timing, moment), 20))

    assert ahead == sorted(set(ahead))
    assert ahead[0] > moment
    walls = [m.astimezone(expressions.time_zone(zone)) for m in ahead]
    assert all(wall.fold == 0 for wall in walls)
    for earlier, later in pairwise(ahead):
        assert timing.before(later) == earlier
        assert timing.after(later - timedelta(microseconds=1)) == later


# --- one moment ---------------------------------------------------------------


def test_at_is_one_moment_in_its_zone() -> None:
    timing = parse("at(2025-12-24T18:00:00)", zone=BERLIN, anchor=NOON)
    moment = at("2025-12-24T17:00:00+00:00")

    assert timing.after(NOON) == moment
    assert timing.after(moment) is None
    assert timing.before(moment) is None
    assert timing.before(moment + timedelta(seconds=1)) == moment


# --- refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("every day", "It must be rate(VALUE UNIT)"),
        ("rate(0 minutes)", "A rate must be 1 to"),
        ("rate(5 seconds)", "It must be rate(VALUE UNIT)"),
        ("rate(5minutes)", "It must be rate(VALUE UNIT)"),
        ("rate(99999999999999 days)", "A rate must be 1 to"),
        ("cron(0 10 * * * *)", "One of day-of-month and day-of-week must be ?"),
        ("cron(0 10 * * ? *", "It must be rate(VALUE UNIT)"),
        ("at(2025-02-30T00:00:00)", "There is no such date or time"),
        ("at(2025-02-01 00:00:00)", "It must be rate(VALUE UNIT)"),
        ("at(0001-01-01T00:00:00)", "There is no such date or time"),
        ("at(2025-03-30T02:30:00)", "That time is left out in Europe/Berlin"),
        ("x" * 5_000, "It must be rate(VALUE UNIT)"),
    ],
)
def test_what_is_no_expression_is_refused_as_aws_does_and_with_the_reason(
    expression: str, why: str
) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        parse(expression, zone=BERLIN, anchor=NOON)

    assert refusal.value.message.startswith(
        f"Invalid Schedule Expression {expression[:256]}. {why}"
    )


@pytest.mark.parametrize(
    "zone",
    [
        *("", "Nowhere", "../etc/passwd", "localtime", "/etc", "Europe", "Europe/"),
        *("right/UTC", "tzdata.zi", "a\0b", "Europe/Berlin\n", "x" * 50),
    ],
)
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidParameter, match="Invalid Schedule Expression Timezone"):
        parse("rate(1 day)", zone=zone, anchor=NOON)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_at_the_ends_of_all_dates_nothing_breaks(zone: str) -> None:
    timing = parse("cron(0 0 1 1 ? *)", zone=zone, anchor=NOON)
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

    assert timing.after(last) is None
    assert timing.before(first) is None
    assert timing.before(last) == timing.before(at("2250-01-01T00:00:00+00:00"))
    assert timing.after(first) == timing.after(at("1900-01-01T00:00:00+00:00"))


def test_counting_ends_at_its_bound() -> None:
    timing = parse("cron(* * * * ? *)", anchor=NOON)

    some = expressions.count(timing, NOON, NOON + timedelta(minutes=10))
    many = expressions.count(timing, NOON, NOON + timedelta(days=30))

    assert (some, many) == (10, expressions.MAX_COUNTED)


@given(
    st.integers(1, 90),
    st.integers(-10_000, 10_000),
    st.integers(-10_000, 10_000),
)
def test_rates_are_counted_all(minutes: int, after_s: int, until_s: int) -> None:
    timing = parse(f"rate({minutes} minutes)", anchor=NOON)
    after, until = (NOON + timedelta(seconds=s) for s in (after_s, until_s))

    meant = takewhile(lambda moment: moment <= until, moments(timing, after))

    assert expressions.count(timing, after, until) == len(list(meant))
