"""When schedules fire, and what becomes of times that passed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.model.trigger import Missed, Progress, Schedule
from sandlot_engine.triggers import plan

NOON = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def schedule(expression: str, **fields: Any) -> Schedule:
    return Schedule(expression=expression, anchor=NOON, **fields)


def step_of(of: Schedule, now: datetime, progress: Progress | None = None) -> plan.Step:
    return plan.step(
        of, plan.due_of(of), progress or plan.begin(of), seed="id", now=now
    )


def settled(step: plan.Step) -> Progress:
    return Progress(through=step.fire or step.through)


def is_over(step: plan.Step) -> bool:
    """Nothing can be due any more."""
    return step.fire is None and step.wake is None


def events(
    of: Schedule, nows: Iterator[datetime] | list[datetime]
) -> tuple[list[datetime], int]:
    """What is fired, asked at these moments, and how much was missed."""
    progress, fired, missed = plan.begin(of), list[datetime](), 0
    for now in nows:
        while True:
            step = step_of(of, now, progress)
            missed += step.missed
            progress = settled(step)
            if step.fire is None:
                break
            fired.append(step.fire)
    return fired, missed


def test_a_rate_without_a_start_begins_at_once() -> None:
    step = step_of(schedule("rate(1 hour)"), NOON)

    assert step.fire == NOON
    assert step_of(schedule("rate(1 hour)"), NOON, settled(step)) == plan.Step(
        through=NOON, wake=NOON + HOUR
    )


def test_a_cron_schedule_waits_for_its_next_time() -> None:
    of = schedule("cron(30 * * * ? *)")

    assert step_of(of, NOON).wake == NOON + 30 * MINUTE
    assert step_of(of, NOON + 30 * MINUTE).fire == NOON + 30 * MINUTE


def test_nothing_is_due_before_the_start_or_from_the_end_on() -> None:
    of = schedule("rate(1 hour)", start=NOON + HOUR, end=NOON + 3 * HOUR)

    fired, missed = events(of, [NOON + n * MINUTE for n in range(0, 600, 10)])

    assert fired == [NOON + HOUR, NOON + 2 * HOUR]
    assert missed == 0
    assert is_over(step_of(of, NOON, Progress(through=NOON + 2 * HOUR)))


def test_a_named_moment_that_is_past_is_due_at_once_and_never_again() -> None:
    of = schedule("at(2025-06-01T11:59:59)")

    step = step_of(of, NOON)

    assert step.fire == NOON - timedelta(seconds=1)
    assert is_over(step_of(of, NOON, settled(step)))


def test_a_named_moment_ignores_dates_as_on_aws() -> None:
    of = schedule("at(2025-06-01T13:00:00)", end=NOON)

    assert step_of(of, NOON).wake == NOON + HOUR


@pytest.mark.parametrize("window_min", [0, 1_440])
def test_a_moment_may_be_the_last_there_is(window_min: int) -> None:
    of = schedule("at(9999-12-31T23:59:59)", window_min=window_min)
    step = step_of(of, NOON)

    assert step.fire is None
    assert step.wake is not None
    assert step.wake >= datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("missed", "fired", "passed_over"),
    [
        # Three days after it stopped an engine comes back, at 12:30.
        (Missed.RUN_ONCE, [NOON + 72 * HOUR], 72),
        (Missed.SKIP, [], 73),
    ],
)
def test_times_that_passed_are_made_up_for_once_or_not_at_all(
    missed: Missed, fired: list[datetime], passed_over: int
) -> None:
    of = schedule("rate(1 hour)", missed=missed)

    assert events(of, [NOON + 72 * HOUR + 30 * MINUTE]) == (fired, passed_over)


def test_what_is_older_than_its_events_may_be_is_not_made_up_for() -> None:
    of = schedule("cron(0 0 1 * ? *)", max_age_s=86_400)

    assert events(of, [datetime(2025, 7, 1, 23, 59, tzinfo=UTC)])[0] != []
    assert events(of, [datetime(2025, 7, 2, 0, 0, tzinfo=UTC)])[0] != []
    assert events(of, [datetime(2025, 7, 2, 0, 1, tzinfo=UTC)]) == ([], 1)


def test_the_age_of_an_event_counts_from_the_end_of_its_window() -> None:
    of = schedule("at(2025-06-01T12:00:00)", window_min=1_440, max_age_s=3_600)

    assert step_of(of, NOON + 24 * HOUR + 59 * MINUTE).fire == NOON
    assert step_of(of, NOON + 25 * HOUR + MINUTE).missed == 1


def test_a_time_that_has_just_come_is_fired_beside_those_that_were_missed() -> None:
    of = schedule("rate(1 hour)", missed=Missed.SKIP)

    # A few seconds after three o'clock: that one is in time.
    fired, missed = events(of, [NOON + 3 * HOUR + timedelta(seconds=5)])

    assert (fired, missed) == ([NOON + 3 * HOUR], 3)


def test_a_time_that_comes_this_moment_is_the_one_that_is_fired() -> None:
    of = schedule("rate(1 hour)", missed=Missed.RUN_ONCE)

    assert events(of, [NOON + 3 * HOUR]) == ([NOON + 3 * HOUR], 3)


def test_one_whose_window_has_just_ended_is_fired_beside_those_that_were_missed() -> (
    None
):
    of = schedule("rate(1 day)", window_min=60, missed=Missed.SKIP)
    last = NOON + 72 * HOUR
    ended = last + HOUR

    for now in (ended, ended + plan.GRACE):
        assert step_of(of, now).fire == last
        assert step_of(of, now).missed == 3
    assert step_of(of, ended + plan.GRACE + timedelta(microseconds=1)).missed == 4


def test_the_count_of_what_was_missed_is_bounded_and_quick() -> None:
    of = schedule("cron(* * * * ? *)", missed=Missed.SKIP)

    step = step_of(of, NOON + timedelta(days=3_650, seconds=90))

    assert step.missed == 100
    assert step.fire == NOON + timedelta(days=3_650, seconds=60)


def test_within_a_window_events_are_spread_and_each_has_its_place() -> None:
    of = schedule("rate(1 hour)", window_min=30)
    places = set[timedelta]()

    for hours in range(1, 40):
        due = NOON + hours * HOUR
        before = Progress(through=due - timedelta(microseconds=1))
        wake = step_of(of, due, before).wake
        assert wake is not None
        assert step_of(of, due, before).wake == wake
        assert step_of(of, wake, before).fire == due
        places.add(wake - due)

    assert min(places) >= timedelta(0)
    assert max(places) < 30 * MINUTE
    assert len(places) > 30


def test_what_is_within_its_window_is_not_late() -> None:
    of = schedule("at(2025-06-01T12:00:00)", window_min=60, missed=Missed.SKIP)

    assert step_of(of, NOON + 60 * MINUTE).fire == NOON
    assert step_of(of, NOON + 62 * MINUTE).missed == 1


def test_a_clock_that_is_put_back_fires_nothing_twice() -> None:
    of = schedule("rate(1 hour)")

    fired, _ = events(of, [NOON, NOON + HOUR, NOON - 5 * HOUR, NOON + HOUR])

    assert fired == [NOON, NOON + HOUR]


@pytest.mark.parametrize("expression", ["rate(1 hour)", "cron(0 * * * ? *)"])
def test_what_a_clock_settled_that_was_years_ahead_is_due_all_the_same(
    expression: str,
) -> None:
    of = schedule(expression)
    wrong = Progress(through=NOON.replace(year=2031))

    step = step_of(of, NOON + MINUTE, wrong)

    assert step.wake == NOON + HOUR
    assert step_of(of, NOON + HOUR, settled(step)).fire == NOON + HOUR


def test_a_schedule_that_begins_in_years_waits_for_that() -> None:
    start = NOON.replace(year=2031)
    of = schedule("rate(1 hour)", start=start)

    step = step_of(of, NOON)

    assert (step.through, step.wake) == (plan.begin(of).through, start)


def test_a_moment_that_was_fired_is_over_however_far_ahead_it_is_now() -> None:
    of = schedule("at(2031-06-01T12:00:00)")

    assert is_over(step_of(of, NOON, Progress(through=NOON.replace(year=2031))))


SCHEDULES = st.builds(
    schedule,
    st.sampled_from(
        ["rate(7 minutes)", "rate(1 hour)", "cron(0/20 * * * ? *)", "cron(5 4 * * ? *)"]
    ),
    window_min=st.sampled_from([0, 1, 15, 90]),
    missed=st.sampled_from(list(Missed)),
    start=st.none() | st.just(NOON + 2 * HOUR),
    end=st.none() | st.just(NOON + 6 * HOUR),
)


@given(
    SCHEDULES,
    # So long that not more come due than are counted one by one.
    st.lists(st.integers(-3 * 3_600, 30 * 3_600), min_size=1, max_size=40),
)
def test_whenever_it_is_asked_nothing_is_fired_twice_or_out_of_turn(
    of: Schedule, seconds: list[int]
) -> None:
    nows = [NOON + timedelta(seconds=s) for s in seconds]
    all_due = list[datetime]()
    found = plan.due_of(of).after(plan.begin(of).through)
    while found is not None and found <= NOON + 30 * HOUR:
        all_due.append(found)
        found = plan.due_of(of).after(found)

    fired, missed = events(of, nows)

    assert fired == sorted(set(fired))
    assert set(fired) <= set(all_due)
    # Every due time whose window and grace are past is accounted for.
    late = timedelta(minutes=of.window_min) + plan.GRACE
    past = [due for due in all_due if due + late < max(nows)]
    assert len(fired) + missed >= len(past)
    assert len(fired) + missed <= len([due for due in all_due if due <= max(nows)])


@given(SCHEDULES)
def test_asked_often_enough_everything_is_fired_and_nothing_missed(
    of: Schedule,
) -> None:
    fired, missed = events(of, [NOON + n * MINUTE for n in range(10 * 60)])

    due = plan.due_of(of)
    at = due.after(plan.begin(of).through)
    expected = list[datetime]()
    while at is not None and at <= NOON + 8 * HOUR:
        expected.append(at)
        at = due.after(at)
    assert missed == 0
    assert fired[: len(expected)] == expected


def test_an_events_id_is_its_due_times() -> None:
    key = "trigger-1 2025-06-01T12:00:00+00:00"

    assert plan.request_id(key) == plan.request_id(key)
    assert plan.request_id(key) != plan.request_id(key.replace("12:", "13:"))


def test_a_schedule_knows_its_place_again_after_a_change_of_description() -> None:
    of = schedule("rate(1 hour)", input="1")

    assert plan.begin(replace(of, input="2")) == plan.begin(of)
