"""What benchmarks say about numbers: pure, so it can be asked for anything."""

import asyncio
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import openloop, plots
from benchmarks.plots import Curve, Plot
from benchmarks.stats import Line, Series, fairness, percentile
from benchmarks.traces import azure, generator, keep_alive, replay, room
from benchmarks.traces.keep_alive import App, Policy
from benchmarks.workloads import WORKLOADS

seconds = st.floats(min_value=0, max_value=1e4, allow_nan=False)
shares = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1)


@given(st.lists(seconds, min_size=1), st.floats(min_value=0, max_value=100))
def test_a_percentile_is_one_of_the_values_and_has_its_share_below_it(
    values: list[float], share: float
) -> None:
    found = percentile(sorted(values), share)

    assert found in values
    assert sum(value <= found for value in values) >= share / 100 * len(values) - 1e-6


@given(st.lists(seconds, min_size=1))
def test_percentiles_grow(values: list[float]) -> None:
    ordered = sorted(values)

    found = [percentile(ordered, share) for share in (0, 50, 90, 99, 100)]

    assert found == sorted(found)
    assert found[-1] == max(values)


@given(shares)
def test_fairness_is_between_one_for_all_alike_and_a_share_for_one_alone(
    values: list[float],
) -> None:
    assert 1 / len(values) - 1e-9 <= fairness(values) <= 1 + 1e-9
    assert math.isclose(fairness([7.0] * len(values)), 1)


def test_a_target_is_met_only_if_its_p99_is_met_as_well() -> None:
    series = Series(label="", target_ms=2, target_p99_ms=6, aim_ms=1)
    series.samples_s = [0.001] * 90 + [0.010] * 10

    assert series.ms(50) <= 2
    assert series.is_met is False
    assert series.is_aim_met is True
    assert series.is_enough is False


def test_where_more_is_better_too_little_is_a_miss() -> None:
    assert Line(what="", value=70, unit="%", must=50, is_more_better=True).is_met
    assert not Line(what="", value=70, unit="%", must=50).is_met


# --- open loops -------------------------------------------------------------------


@given(st.floats(min_value=1, max_value=500), st.integers(0, 1000))
def test_arrivals_are_in_order_and_within_their_time(rate: float, seed: int) -> None:
    arrivals = list(openloop.poisson(rate, 5.0, seed=seed))

    assert arrivals == sorted(arrivals)
    assert all(0 < at < 5 for at in arrivals)
    assert abs(len(arrivals) - 5 * rate) < 8 * math.sqrt(5 * rate) + 8


async def test_a_stall_falls_on_all_that_were_due_meanwhile() -> None:
    """What waits for its answer before it asks again would have seen one slow call."""
    arrivals = [number / 1000 for number in range(40)]
    all_were_sent = asyncio.Event()

    async def call(number: int) -> None:
        if number == len(arrivals) - 1:
            all_were_sent.set()
        await all_were_sent.wait()

    load = await openloop.offer(arrivals, call)

    assert len(load.answered_s) == len(arrivals)
    for number, at in enumerate(arrivals):
        assert load.answered_by[number] >= arrivals[-1] - at


async def test_what_is_refused_or_fails_is_counted_and_has_no_latency() -> None:
    async def call(number: int) -> None:
        if number == 0:
            raise openloop.WasThrottled
        if number == 1:
            raise ValueError

    load = await openloop.offer([0.0, 0.0, 0.0], call)

    assert (load.throttled, load.failed, len(load.answered_s)) == (1, 1, 1)
    assert load.failures == {"ValueError": 1}
    assert "1 throttled, 1 failed" in load.account()


# --- plots ------------------------------------------------------------------------

points = st.lists(st.tuples(seconds, seconds), max_size=50)


@given(st.lists(points, max_size=4), st.booleans(), st.booleans())
def test_a_plot_of_anything_is_well_formed_and_within_its_frame(
    curves: list[list[plots.Point]], is_log_x: bool, is_log_y: bool
) -> None:
    plot = Plot(
        title="a < b & c",
        x="x",
        y="y",
        curves=[Curve(name=f"<{n}>", points=each) for n, each in enumerate(curves)],
        is_log_x=is_log_x,
        is_log_y=is_log_y,
    )

    picture = Xml.fromstring(plot.as_svg())  # noqa: S314 - we have just written it

    for line in picture.iter("{http://www.w3.org/2000/svg}polyline"):
        for pair in line.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert -1 <= x <= plots.WIDTH + 1
            assert -1 <= y <= plots.HEIGHT + 1


@given(st.integers(1, 5000))
def test_few_points_are_kept_of_many_with_both_ends(count: int) -> None:
    whole = [(float(n), 0.0) for n in range(count)]

    kept = plots.thinned(whole)

    assert len(kept) <= plots.MAX_POINTS
    assert (kept[0], kept[-1]) == (whole[0], whole[-1])


# --- traces -----------------------------------------------------------------------


def test_a_trace_survives_being_written_in_azure_s_format(tmp_path: Path) -> None:
    made = generator.make(20, days=2, seed=1)

    azure.write(tmp_path, made)
    read = azure.read(tmp_path, days=2)

    def by_function(trace: Sequence[azure.Traced]) -> list[azure.Traced]:
        return sorted(trace, key=lambda each: each.function)

    assert by_function(read) == by_function(made)
    text = (tmp_path / "invocations_per_function_md.anon.d01.csv").read_text()
    assert text.startswith("HashOwner,HashApp,HashFunction,Trigger,1,2,3,")


def test_a_made_trace_has_the_marginals_that_were_published() -> None:
    ranks = [(number + 0.5) / 10_000 for number in range(10_000)]
    rates = [generator.daily_rate(rank) for rank in ranks]

    assert sum(rate <= 24 for rate in rates) / 10_000 == 0.45
    assert abs(sum(rate <= 1440 for rate in rates) / 10_000 - 0.814) < 0.001
    assert abs(sum(rates[8140:]) / sum(rates) - 0.996) < 0.001
    # The published median of the fit, by its own formula.
    assert 110 < generator.burr_mb(0.25) < generator.burr_mb(0.5) < 170


def test_a_made_trace_comes_in_clusters_as_the_published_one_does() -> None:
    apps = keep_alive.apps_of(generator.make(200, days=7, seed=1))
    ten_minutes = Policy("fixed", lambda: keep_alive.Fixed(600.0), 600.0)

    third = keep_alive.simulate(ten_minutes, apps).third_quartile

    assert 30 < third < 75, "about 50; at random it would be more than 90"


arrivals_of_app = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(1, 5)),
    min_size=1,
    max_size=40,
    unique_by=lambda each: each[0],
)


@given(st.lists(arrivals_of_app, min_size=1, max_size=5))
def test_to_keep_longer_costs_memory_and_saves_cold_starts(
    all_arrivals: list[list[tuple[int, int]]],
) -> None:
    apps = [App(100.0, sorted(arrivals), 2001) for arrivals in all_arrivals]
    fixed, _ = keep_alive.policies()

    outcomes = [
        keep_alive.simulate(policy, apps)
        for policy in fixed
        if policy.keep_s is not None
    ]

    cold = [outcome.cold for outcome in outcomes]
    memory = [outcome.wasted_mb_min for outcome in outcomes]
    assert cold == sorted(cold, reverse=True)
    assert memory == sorted(memory)
    assert all(outcome.cold >= len(apps) for outcome in outcomes)


class _Regular:
    """Knows that the next one comes in an hour."""

    def note(self, idle_s: float) -> None: ...

    def window(self) -> tuple[float, float]:
        return 3500.0, 3700.0


def test_a_policy_that_is_back_in_time_wastes_little_and_misses_nothing() -> None:
    hourly = App(100.0, [(60 * hour, 1) for hour in range(10)], 600)

    knowing = keep_alive.simulate(Policy("regular", _Regular), [hourly])
    fixed = keep_alive.simulate(
        Policy("an hour", lambda: keep_alive.Fixed(3600.0)), [hourly]
    )

    assert knowing.cold == fixed.cold == 1
    assert knowing.wasted_mb_min < fixed.wasted_mb_min / 10


@given(st.integers(0, 50), st.floats(min_value=1, max_value=200))
def test_a_replay_has_no_more_than_was_asked_for_and_is_in_order(
    seed: int, most_per_s: float
) -> None:
    scale = replay.Scale(
        functions=5,
        first_minute=0,
        minutes=30,
        seconds=10.0,
        most_per_s=most_per_s,
        longest_s=0.5,
    )
    chosen = replay.chosen(TRACE, scale)

    due = replay.arrivals(chosen, scale, seed=seed)

    assert due == sorted(due)
    assert all(0 <= at < 10 and takes_s <= 0.5 for at, _, takes_s in due)
    room = most_per_s * 10
    assert len(due) <= room + 6 * math.sqrt(room) + 6


TRACE = generator.make(30, seed=3)


def test_what_a_function_does_not_need_is_not_in_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It once was, all that was installed for others: deploying took a minute."""
    monkeypatch.setenv("SANDLOT_BENCHMARK_CACHE", str(tmp_path))
    runtime = f"python3.{sys.version_info.minor}"
    (tmp_path / "packages" / runtime / "pandas").mkdir(parents=True)

    sources = [source.name for source in WORKLOADS["small"].sources(runtime)]

    assert sources == ["small_function.py"]


def test_a_function_on_another_interpreter_has_packages_for_that_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It once had ours, whose compiled parts that one does not find."""
    monkeypatch.setenv("SANDLOT_BENCHMARK_CACHE", str(tmp_path))
    other = f"python3.{sys.version_info.minor + 1}"

    assert WORKLOADS["numpy"].is_missing(other)
    assert not WORKLOADS["small"].is_missing(other)

    (tmp_path / "packages" / other / "numpy" / "numpy").mkdir(parents=True)
    sources = [source.name for source in WORKLOADS["numpy"].sources(other)]

    assert not WORKLOADS["numpy"].is_missing(other)
    assert sources == ["numpy_function.py", "numpy"]


def test_zygotes_stay_while_there_is_room_and_those_that_will_be_back_go_first() -> (
    None
):
    hourly = App(100.0, [(60 * hour, 1) for hour in range(10)], 600)
    seldom = App(100.0, [(1, 1), (500, 1)], 600)

    def with_room(size_mb: float, *, regular: type[keep_alive.Keeper]) -> list[float]:
        keepers = iter([regular(), keep_alive.Fixed(60.0)])
        policy = Policy("two", lambda: next(keepers))
        return room.simulate(policy, [hourly, seldom], size_mb=size_mb).cold_shares

    assert with_room(200.0, regular=_Regular) == [10.0, 50.0], "the first one ever"
    # The hourly one's place is free while it is away, but for the minutes around.
    assert with_room(199.0, regular=_Regular) == [10.0, 100.0]
    assert with_room(0.0, regular=_Always)[1] == 100.0


class _Always(_Regular):
    def window(self) -> tuple[float, float]:
        return 0.0, 7200.0
