"""When a new schedule is due, as it is told to who made it."""

from datetime import UTC, datetime, timedelta

import pytest

from sandlot.cli.text import second, with_zone
from sandlot.cli.trigger_views import due
from sandlot.triggers import MissedRuns, Schedule, ScheduleProgress

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def schedule(
    ago: timedelta | None,
    *,
    expression: str = "at(…)",
    missed_runs: MissedRuns = MissedRuns.RUN_ONCE,
) -> Schedule:
    when = None if ago is None else NOW - ago
    progress = ScheduleProgress(next_due=when)
    return Schedule(expression=expression, progress=progress, missed_runs=missed_runs)


@pytest.mark.parametrize("ago", [timedelta(days=-9), timedelta(hours=23)])
def test_a_time_to_come_and_one_that_is_made_up_for_are_told(ago: timedelta) -> None:
    assert due(schedule(ago), now=NOW) == second(NOW - ago)


def test_whose_time_it_is_is_told_where_there_is_room() -> None:
    told = due(schedule(timedelta(days=-9)), now=NOW, moment=with_zone)

    assert told == with_zone(NOW + timedelta(days=9))


def test_a_time_that_is_past_for_too_long_is_told_as_never() -> None:
    a_week, an_hour = timedelta(weeks=1), timedelta(hours=1)
    skips = schedule(an_hour, missed_runs=MissedRuns.SKIP)

    assert due(schedule(a_week), now=NOW).startswith("never: 2026-11-2")
    assert due(skips, now=NOW).endswith("(--missed skip)")


def test_what_comes_again_is_never_told_as_never() -> None:
    daily = schedule(
        timedelta(minutes=3), expression="rate(1 day)", missed_runs=MissedRuns.SKIP
    )

    assert due(daily, now=NOW) == second(NOW - timedelta(minutes=3))


def test_what_is_not_due_at_all_has_no_time() -> None:
    assert due(schedule(None), now=NOW) == "-"
