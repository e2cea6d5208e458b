"""The benchmarks run, and print what a release note could quote."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN_S = 50.0


def run_benchmark(scenario: str, n: int, *more: str) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", scenario, "--n", str(n)),
            *("--workload", "small", *more),
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=RUN_S,
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
