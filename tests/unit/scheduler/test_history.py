"""What a version was used for, and how long it is to be kept for it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.scheduler.histogram import BIN_S, BINS, MIN_TIMES, Histogram
from sandlot_engine.scheduler.history import (
    CALM_S,
    MAX_SLOW_STANDBYS,
    MAX_STANDBYS_OF_VERSION,
    MIN_RUNS,
    REST,
    History,
)

KEEP_S = 300.0
HOUR_S = 3_600.0


def _used(history: History, now: float, *, init_s: float | None = None) -> None:
    """One invocation that takes no time."""
    history.note_arrival(now)
    history.note_run(now, run_s=0.01, init_s=init_s, memory_mb=40.0)
    history.note_end(now)


def _every(period_s: float, times: int = 3 * MIN_TIMES) -> tuple[History, float]:
    """One that is used at fixed intervals, and the time of its last use."""
    history = History(0.0)
    for number in range(times):
        _used(history, number * period_s)
    return history, (times - 1) * period_s


def test_what_was_never_answered_has_no_standby() -> None:
    history = History(0.0)
    history.note_arrival(0.0)

    assert history.standbys(0.0, keep_s=KEEP_S) == 0


def test_what_was_used_has_one_for_a_while() -> None:
    history = History(0.0)
    _used(history, 0.0)

    assert history.standbys(KEEP_S - 1, keep_s=KEEP_S) == 1
    assert history.standbys(KEEP_S, keep_s=KEEP_S) == 0


def test_what_runs_keeps_its_standby_however_long_it_takes() -> None:
    history = History(0.0)
    _used(history, 0.0)
    history.note_arrival(1.0)

    assert history.standbys(1.0 + KEEP_S, keep_s=KEEP_S) == 1


def test_whoever_missed_some_has_more_until_it_is_calm() -> None:
    history = History(0.0)
    _used(history, 0.0)
    for _ in range(10):
        history.note_missing(1.0)

    assert history.standbys(1.0, keep_s=KEEP_S) == MAX_STANDBYS_OF_VERSION
    history.note_taken(10.0)
    assert history.standbys(10.0, keep_s=KEEP_S) == MAX_STANDBYS_OF_VERSION
    assert history.standbys(10.0 + CALM_S, keep_s=KEEP_S) == MAX_STANDBYS_OF_VERSION / 2


def test_of_what_imports_for_itself_few_stand_by() -> None:
    history = History(0.0)
    _used(history, 0.0, init_s=0.8)
    for _ in range(10):
        history.note_missing(1.0)

    assert history.standbys(1.0, keep_s=KEEP_S) == MAX_SLOW_STANDBYS


def test_after_a_failure_none_stand_by_until_it_has_answered() -> None:
    history = History(0.0)
    _used(history, 0.0)
    history.note_failed(0.0, took_s=0.001)

    assert history.standbys(1.0, keep_s=KEEP_S) == 0
    _used(history, 2.0)
    assert history.standbys(2.0, keep_s=KEEP_S) == 1


def test_after_a_failure_that_took_long_none_stand_by_for_long() -> None:
    history = History(0.0)
    _used(history, 0.0)
    history.note_failed(10.0, took_s=10.0)
    history.note_failed(11.0, took_s=0.0)

    for now in (12.0, 10.0 + 10.0 * REST - 1.0):
        _used(history, now)
        history.note_missing(now)
        assert history.standbys(now, keep_s=KEEP_S) == 0

    assert history.standbys(10.0 + 10.0 * REST, keep_s=KEEP_S) > 0


def test_what_comes_every_half_an_hour_is_there_shortly_before_it_comes() -> None:
    history, last = _every(HOUR_S / 2)

    there = [
        minute
        for minute in range(60)
        if history.standbys(last + minute * 60, keep_s=KEEP_S)
    ]

    assert 30 in there
    assert 25 <= min(there) <= 29
    assert 31 <= max(there) <= 36


def test_what_comes_every_minute_is_there_all_the_time_and_no_longer() -> None:
    history, last = _every(60.0)

    assert history.is_expected(last + 60, keep_s=KEEP_S)
    assert not history.is_expected(last + 200, keep_s=KEEP_S)


def test_an_idle_instance_stays_no_longer_than_it_is_expected_to_be_used() -> None:
    often, _ = _every(60.0)
    seldom, _ = _every(HOUR_S / 2)

    assert 60 < often.keep_s(KEEP_S) < 200
    assert seldom.keep_s(KEEP_S) == KEEP_S
    assert History(0.0).keep_s(KEEP_S) == KEEP_S


def test_what_was_away_is_coming_back_and_is_not_tried_twice() -> None:
    history, last = _every(HOUR_S / 2)

    assert not history.is_coming_back(last + 60)
    assert history.is_coming_back(last + 1_700)
    history.note_lost()
    assert not history.is_coming_back(last + 1_700)
    _used(history, last + 1_800)
    assert history.is_coming_back(last + 1_800 + 1_700)


def test_what_comes_regularly_is_away_in_between() -> None:
    history, last = _every(HOUR_S / 2)

    assert history.is_away(last + 60)
    assert not history.is_away(last + 1_700), "it is expected"
    assert not history.is_away(last + 3 * HOUR_S), "it has not come"
    history.note_arrival(last + 1_800)
    assert not history.is_away(last + 1_860), "it runs"


def test_what_is_there_all_the_time_does_not_come_back() -> None:
    history, last = _every(30.0)

    assert not history.is_coming_back(last + 30)


def test_how_soon_one_is_free_follows_from_how_long_runs_take() -> None:
    history = History(0.0)
    for _ in range(MIN_RUNS - 1):
        history.note_run(0.0, run_s=1.0, init_s=None, memory_mb=1.0)
    assert history.free_in_s([0.9], ahead=0) == math.inf, "too few to tell"
    history.note_run(0.0, run_s=1.0, init_s=None, memory_mb=1.0)

    assert history.free_in_s([0.2, 0.9], ahead=0) == pytest.approx(0.1, abs=0.2)
    assert history.free_in_s([0.2, 0.9], ahead=1) == pytest.approx(0.8, abs=0.2)
    assert history.free_in_s([0.2, 0.9], ahead=2) == math.inf
    assert history.free_in_s([5.0], ahead=0) == math.inf, "it runs longer than usual"
    assert history.free_in_s([], ahead=0) == math.inf


def test_few_times_or_long_ones_tell_nothing() -> None:
    for period_s, times in ((HOUR_S / 2, MIN_TIMES), (5 * HOUR_S, 100)):
        history, last = _every(period_s, times)

        assert history.is_expected(last + KEEP_S - 1, keep_s=KEEP_S)
        assert not history.is_expected(last + KEEP_S, keep_s=KEEP_S)


def test_times_that_are_spread_over_all_the_hours_tell_nothing() -> None:
    histogram = Histogram()
    for number in range(BINS):
        histogram.note(number * BIN_S)

    assert histogram.window() is None


def test_what_is_used_more_or_starts_slower_or_takes_less_is_worth_more() -> None:
    often, _ = _every(1.0)
    seldom, _ = _every(HOUR_S)
    slow = History(0.0)
    _used(slow, 0.0, init_s=1.0)
    large = History(0.0)
    large.note_arrival(0.0)
    large.note_run(0.0, run_s=0.01, init_s=None, memory_mb=400.0)

    assert often.worth() > seldom.worth() > large.worth() > 0
    assert slow.worth() > seldom.worth()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["use", "miss", "take", "fail", "begin"]),
            st.floats(0, 20_000),
        ),
        max_size=60,
    )
)
def test_whatever_happens_it_wants_few_and_forgets_in_the_end(
    events: list[tuple[str, float]],
) -> None:
    history, now, open_ones = History(0.0), 0.0, 0
    for what, after_s in events:
        now += after_s
        if what == "use":
            _used(history, now, init_s=0.001)
        elif what == "miss":
            history.note_missing(now)
        elif what == "take":
            history.note_taken(now)
        elif what == "fail":
            history.note_failed(now, took_s=after_s)
        else:
            history.note_arrival(now)
            open_ones += 1

        wanted = history.standbys(now, keep_s=KEEP_S)
        assert 0 <= wanted <= MAX_STANDBYS_OF_VERSION
        assert history.running == open_ones
    for _ in range(open_ones):
        history.note_end(now)

    assert history.standbys(now + 10 * HOUR_S, keep_s=KEEP_S) == 0


@given(st.lists(st.floats(0, 20_000), max_size=300))
def test_a_window_is_a_time_that_comes(times: list[float]) -> None:
    histogram = Histogram()
    for idle_s in times:
        histogram.note(idle_s)
    window = histogram.window()

    if window is not None:
        assert 0 <= window.opens_s < window.closes_s <= BINS * BIN_S * 1.1
        assert len(times) >= MIN_TIMES
        inside = [t for t in times if window.opens_s <= t < window.closes_s]
        within = [t for t in times if t < BINS * BIN_S]
        assert len(inside) >= 0.9 * len(within)
