"""The benchmarks run, and print what a release note could quote."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.board import EMPTY, FIRST
from benchmarks.stats import Series, median_between_ms
from benchmarks.steps import Chain

ROOT = Path(__file__).parents[2]
RUN_S = 50.0


def run_benchmark(scenario: str, n: int, *more: str, deadline_s: float = RUN_S) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", scenario, "--n", str(n)),
            *("--workload", "small", *more),
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=deadline_s,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("scenario", "wanted"), [("cold", "≤ 2"), ("warm", "≤ 0.12")])
def test_a_benchmark_sets_ours_beside_its_peers_and_its_target(
    scenario: str, wanted: str
) -> None:
    printed = run_benchmark(scenario, 5)

    ours = next(line for line in printed.splitlines() if line.startswith("sandlot "))
    assert wanted in ours
    assert "bare fork" in printed
    assert "python -c" in printed


def test_a_benchmark_tells_the_machine_and_the_isolation_it_was_run_with() -> None:
    printed = run_benchmark("warm", 2)

    for fact in ("cores", "Linux", "load average", "seccomp", "network"):
        assert fact in printed


def test_every_sample_and_a_summary_are_written_where_they_were_asked_for(
    tmp_path: Path,
) -> None:
    run_benchmark(
        *("cold", 3, "--json", str(tmp_path / "raw.json")),
        *("--markdown", str(tmp_path / "summary.md")),
    )

    raw = json.loads((tmp_path / "raw.json").read_text())
    ours = raw["tables"][0]["series"][0]
    assert len(ours["samples_us"]) == 3
    assert f"{ours['p50_us'] / 1000:.3f}" in (tmp_path / "summary.md").read_text()


def test_the_steps_of_a_profile_add_up_to_the_whole(tmp_path: Path) -> None:
    run_benchmark("profile", 3, "--json", str(tmp_path / "raw.json"))

    for table in json.loads((tmp_path / "raw.json").read_text())["tables"]:
        *steps, whole = (sum(series["samples_us"]) for series in table["series"])
        assert sum(steps) == pytest.approx(whole, rel=0.05)


@pytest.mark.timeout(300)
def test_after_chaos_the_books_balance() -> None:
    printed = run_benchmark("chaos", 3, deadline_s=280.0)

    assert "killed: " in printed
    assert "bare group commit" in printed


@pytest.fixture(scope="module")
def jail(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a short run of `jail` wrote, and `printed`."""
    file = tmp_path_factory.mktemp("jail") / "raw.json"
    printed = run_benchmark("jail", 5, "--json", str(file))
    return {**json.loads(file.read_text()), "printed": printed}


def test_what_the_jail_adds_is_set_beside_its_targets(jail: dict[str, Any]) -> None:
    lines = jail["printed"].splitlines()

    adds = next(line for line in lines if line.startswith("the jail adds"))
    assert "≤ 0.3" in adds
    seal = next(line for line in lines if line.startswith("the seal"))
    assert "≤ 6" in seal
    assert "95 % certainty" in jail["printed"]
    assert "cells per second" in jail["printed"]


def test_what_the_jail_adds_is_each_jailed_start_less_the_bare_ones_around_it(
    jail: dict[str, Any],
) -> None:
    series = {each["label"]: each["samples_us"] for each in jail["tables"][0]["series"]}

    around = zip(
        series["bare fork, no jail"], series["bare fork, once more"], strict=True
    )
    expected = [
        ours - (before + after) / 2
        for ours, (before, after) in zip(series["jailed"], around, strict=True)
    ]
    assert series["the jail adds"] == pytest.approx(expected, abs=2)


def test_the_jail_s_steps_add_up_to_the_whole(jail: dict[str, Any]) -> None:
    chains = [t for t in jail["tables"] if t["series"][-1]["label"] == "whole"]

    assert len(chains) == 6
    for table in chains:
        *steps, whole = (sum(each["samples_us"]) for each in table["series"])
        assert sum(steps) == pytest.approx(whole, rel=0.05), table["title"]


@pytest.mark.parametrize(
    ("title", "layers"),
    [
        (
            "instance small: the steps, jailed",
            {
                *("fork", "mount namespace", "network namespace", "descriptors"),
                *("limit", "Landlock", "capabilities", "seccomp"),
            },
        ),
        (
            "zygote: the seal, step by step",
            {
                *("clone", "id maps", "root: mounts attached", "/tmp", "/proc"),
                *("loopback", "fork", "limits", "bounding set", "Landlock"),
                *("seccomp", "exec"),
            },
        ),
        (
            "cell: the steps",
            {"clone", "/tmp", "/proc", "loopback", "Landlock", "cell arrived"},
        ),
    ],
)
def test_no_step_of_the_jail_is_left_out(
    jail: dict[str, Any], title: str, layers: set[str]
) -> None:
    table = next(table for table in jail["tables"] if table["title"] == title)

    labels = [each["label"] for each in table["series"]]
    assert {layer for layer in layers if not any(layer in x for x in labels)} == set()
    counts = {len(each["samples_us"]) for each in table["series"]}
    assert len(counts) == 1, "a step that only some of the samples have"


def test_what_a_mark_costs_is_taken_off_once_for_each_mark() -> None:
    chain = Chain()

    chain.add(
        1_000,
        [(FIRST, 9_000, 3), (EMPTY, 10_000, 0), ("a", 15_000, 1), ("a", 18_000, 1)],
    )

    (step,) = chain.steps()
    assert step.samples_s == pytest.approx([(5_000 + 3_000 - 2 * 1_000) / 1e9])
    assert step.page_faults == 2
    assert chain.whole("whole").samples_s == pytest.approx(step.samples_s)


def test_a_median_of_many_samples_is_known_better_than_one_of_few() -> None:
    few = Series(label="", samples_s=[n / 10 for n in range(11)])
    many = Series(label="", samples_s=[n / 1000 for n in range(1001)])

    for series in (few, many):
        low, high = median_between_ms(series)
        assert low < series.ms(50) < high
    narrow, wide = median_between_ms(many), median_between_ms(few)
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
