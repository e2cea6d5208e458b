"""What a version was used for, and how long it is to be kept for it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandlot_engine.scheduler.histogram import (
    BIN_S,
    BINS,
    MIN_TIMES,
    Histogram,
    Window,
)
from sandlot_engine.scheduler.history import (
    CALM_S,
    MAX_SLOW_STANDBYS,
    MAX_STANDBYS_OF_VERSION,
    MIN_RUNS,
    REST,
    SLOW_S,
    History,
)

KEEP_S = 300.0
HOUR_S = 3_600.0


def _used(history: History, now: float, *, init_s: float | None = None) -> None:
    """One invocation that takes no time."""
    history.note_arrival(now)
    history.note_run(run_s=0.01, init_s=init_s, memory_mb=40.0)
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


def test_what_ran_for_long_is_kept_from_its_end_on() -> None:
    history = History(0.0)
    history.note_arrival(0.0)
    history.note_run(run_s=KEEP_S, init_s=None, memory_mb=40.0)
    history.note_end(KEEP_S)

    assert history.standbys(2 * KEEP_S - 1, keep_s=KEEP_S) == 1
    assert history.standbys(2 * KEEP_S, keep_s=KEEP_S) == 0


def test_whoever_missed_some_has_more_until_it_is_calm() -> None:
    history = History(0.0)
    _used(history, 0.0)
    for _ in range(10):
        history.note_missing(1.0)

    assert history.standbys(1.0, keep_s=KEEP_S) == MAX_STANDBYS_OF_VERSION
    history.note_taken(10.0)
    for after_s, wanted in (
        (CALM_S - 1, MAX_STANDBYS_OF_VERSION),
        (CALM_S, MAX_STANDBYS_OF_VERSION / 2),
        (2 * CALM_S - 1, MAX_STANDBYS_OF_VERSION / 2),
        (2 * CALM_S, MAX_STANDBYS_OF_VERSION / 4),
    ):
        assert history.standbys(10.0 + after_s, keep_s=KEEP_S) == wanted


def test_each_that_is_missing_doubles_what_is_there_and_begins_a_time() -> None:
    history = History(0.0)
    _used(history, 0.0)

    for now, wanted in ((50.0, 2), (51.0, 4)):
        history.note_missing(now)
        assert history.standbys(now, keep_s=KEEP_S) == wanted

    assert history.standbys(51.0 + CALM_S - 1, keep_s=KEEP_S) == 4


def test_what_was_not_expected_any_more_begins_anew_with_one() -> None:
    history = History(0.0)
    _used(history, 0.0)
    for _ in range(3):
        history.note_missing(1.0)
    assert history.standbys(KEEP_S, keep_s=KEEP_S) == 0

    history.note_arrival(KEEP_S)

    assert history.standbys(KEEP_S, keep_s=KEEP_S) == 1


def test_what_is_made_ready_again_has_one_at_least() -> None:
    failed, wanted = History(0.0), History(0.0)
    for history in (failed, wanted):
        _used(history, 0.0)
    failed.note_failed(0.0, took_s=0.0)
    wanted.note_missing(0.0)

    for history in (failed, wanted):
        history.note_back()

    assert failed.standbys(1.0, keep_s=KEEP_S) == 1
    assert wanted.standbys(1.0, keep_s=KEEP_S) == 2


def test_of_what_imports_for_itself_few_stand_by() -> None:
    history = History(0.0)
    _used(history, 0.0, init_s=0.8)
    for _ in range(10):
        history.note_missing(1.0)

    assert history.standbys(1.0, keep_s=KEEP_S) == MAX_SLOW_STANDBYS


def test_an_init_as_long_as_a_fork_s_may_be_is_no_import() -> None:
    history = History(0.0)
    _used(history, 0.0, init_s=SLOW_S)
    for _ in range(10):
        history.note_missing(1.0)

    assert history.standbys(1.0, keep_s=KEEP_S) == MAX_STANDBYS_OF_VERSION


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
        history.note_run(run_s=1.0, init_s=None, memory_mb=1.0)
    assert history.free_in_s([0.9], ahead=0) == math.inf, "too few to tell"
    history.note_run(run_s=1.0, init_s=None, memory_mb=1.0)

    # The first was as far from what was known as it could be; that is forgotten.
    usual_s = 1.0 + 0.2 * 0.8 ** (MIN_RUNS - 1)
    assert history.free_in_s([0.2, 0.9], ahead=0) == pytest.approx(usual_s - 0.9)
    assert history.free_in_s([0.2, 0.9], ahead=1) == pytest.approx(usual_s - 0.2)
    assert history.free_in_s([0.2, 0.9], ahead=2) == math.inf
    assert history.free_in_s([5.0], ahead=0) == math.inf, "it runs longer than usual"
    assert history.free_in_s([], ahead=0) == math.inf


def test_few_times_or_long_ones_tell_nothing() -> None:
    for period_s, times in ((HOUR_S / 2, MIN_TIMES), (5 * HOUR_S, 100)):
        history, last = _every(period_s, times)

        assert history.is_expected(last + KEEP_S - 1, keep_s=KEEP_S)
        assert not history.is_expected(last + KEEP_S, keep_s=KEEP_S)


def _histogram(*times: tuple[int, float]) -> Histogram:
    """So many times each of these, in minutes."""
    histogram = Histogram()
    for count, minutes in times:
        for _ in range(count):
            histogram.note(minutes * BIN_S)
    return histogram


def _from_to(first: int, last: int) -> Window:
    """From the beginning of one minute to the end of another, and a tenth of each."""
    return Window(first * BIN_S * 0.9, (last + 1) * BIN_S * 1.1)


def test_a_window_is_from_a_twentieth_of_all_times_to_nearly_all() -> None:
    assert _histogram((1, 2.5), (19, 10.5)).window() == _from_to(2, 10)
    assert _histogram((1, 2.5), (20, 10.5)).window() == _from_to(10, 10)
    assert _histogram((99, 2.5), (1, 10.5)).window() == _from_to(2, 2)
    assert _histogram((98, 2.5), (2, 10.5)).window() == _from_to(2, 10)


def test_as_few_times_as_tell_something_and_half_of_them_too_long_tell_it() -> None:
    assert _histogram((MIN_TIMES - 1, 5)).window() is None
    assert _histogram((MIN_TIMES, 5)).window() == _from_to(5, 5)
    assert _histogram((MIN_TIMES, 5), (MIN_TIMES, BINS)).window() == _from_to(5, 5)
    assert _histogram((MIN_TIMES, 5), (MIN_TIMES + 1, BINS)).window() is None


@pytest.mark.parametrize(("bins", "tells"), [(79, True), (81, False), (BINS, False)])
def test_times_that_are_spread_over_many_minutes_tell_nothing(
    bins: int, *, tells: bool
) -> None:
    histogram = _histogram(*((1, number) for number in range(bins)))

    assert (histogram.window() is not None) == tells


def test_of_very_many_times_the_older_ones_count_half() -> None:
    histogram = _histogram((65_535, 0), (400, 100))
    assert histogram.window() == _from_to(0, 0), "the others are too few"

    histogram.note(0.0)
    for _ in range(130):
        histogram.note(100 * BIN_S)
    assert histogram.window() == _from_to(0, 0)
    for _ in range(10):
        histogram.note(100 * BIN_S)
    assert histogram.window() == _from_to(0, 100)


def test_of_very_many_times_those_that_are_too_long_count_half_too() -> None:
    fewer = _histogram((65_500, BINS), (65_536, 0))
    more = _histogram((65_600, BINS), (65_536, 0))

    assert fewer.window() == _from_to(0, 0)
    assert more.window() is None, "half of them, and more than the others"


def test_what_is_used_more_or_starts_slower_or_takes_less_is_worth_more() -> None:
    often, _ = _every(1.0)
    seldom, _ = _every(HOUR_S)
    slow = History(0.0)
    _used(slow, 0.0, init_s=1.0)
    large = History(0.0)
    large.note_arrival(0.0)
    large.note_run(run_s=0.01, init_s=None, memory_mb=400.0)

    assert often.worth() > seldom.worth() > large.worth() > 0
    assert slow.worth() > seldom.worth()


def test_what_it_is_worth_is_what_it_saves_by_what_it_takes() -> None:
    forked, slow, small = History(0.0), History(0.0), History(0.0)
    for history, init_s, memory_mb in (
        (forked, None, 40.0),
        (slow, 0.02, 40.0),
        (small, None, 0.5),
    ):
        history.note_arrival(0.0)
        history.note_run(run_s=0.01, init_s=init_s, memory_mb=memory_mb)

    assert forked.worth() == pytest.approx(2 / 40)
    assert slow.worth() == pytest.approx(20 / 40)
    assert small.worth() == pytest.approx(2), "as if it took a megabyte"


def test_an_hour_later_a_use_counts_half_and_a_start_is_an_average() -> None:
    history = History(0.0)
    _used(history, 0.0, init_s=1.0)
    _used(history, HOUR_S, init_s=0.5)
    _used(history, HOUR_S)

    assert history.frequency == pytest.approx(2.5)
    assert history.start_s == pytest.approx(0.9)


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
