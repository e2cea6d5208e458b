"""The benchmarks run, and print what a release note could quote."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import cache, compiled
from benchmarks.board import EMPTY, FIRST
from benchmarks.peers.commands import COMMANDS
from benchmarks.scenarios import SCENARIOS
from benchmarks.stats import Series, median_between_ms
from benchmarks.steps import Chain
from sandlot_sandbox.launcher import networks, runtimes

ROOT = Path(__file__).parents[2]
RUN_S = 100.0


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Not by each of some twenty benchmarks."""
    folder = tmp_path_factory.mktemp("compiled")
    folder.chmod(0o755)
    runtimes.discover(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(compiled.FOLDER, str(folder))
        yield


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


def test_without_a_scenario_each_is_told_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )

    told = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line]
    names = {line[0] for line in told if len(line) == 2 and line[1].endswith(".")}
    assert {*SCENARIOS, "all", "peers"} <= names


WHOLE_ENGINE = {
    "http": "sandlot's share of the bare echo",
    "grpc": "sandlot's share of the bare echo",
    "open-loop": "closed-loop rate",
    "burst": "40 different instances",
    "churn": "slow answers",
    "noisy-neighbour": "p99 beside the noise",
    "density": "engine memory per idle instance",
    "trace": "third quartile of apps",
    "standby": "frozen meanwhile",
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scenario", WHOLE_ENGINE)
def test_a_scenario_runs_and_writes_its_report_with_plots(
    scenario: str, tmp_path: Path
) -> None:
    printed = run_benchmark(scenario, 3, "--quick", "--save", str(tmp_path))

    assert WHOLE_ENGINE[scenario] in printed
    assert " jail, " in printed, "isolation is told with the numbers"
    report = (tmp_path / f"{scenario}.md").read_text()
    raw = json.loads((tmp_path / f"{scenario}.json").read_text())
    assert raw["plots"]
    for number in range(1, len(raw["plots"]) + 1):
        plot = f"{scenario}-{number}.svg"
        assert plot in report
        assert (tmp_path / plot).read_text().startswith("<svg")


def test_a_peer_that_is_not_here_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SANDLOT_BENCHMARK_CACHE", str(tmp_path))

    printed = run_benchmark("cold", 2)

    for name in COMMANDS:
        is_here = cache.peer(name).path is not None
        assert is_here or f"not run: {name}: not installed" in printed


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of its own for temporary files, removed with all that is left in it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        # An engine's own user has to get through, from the top.
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_benchmark_that_was_interrupted(
    number: int, folder: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "churn"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
        # Ctrl-C reaches all of a terminal's foreground group; we send it to this one.
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        assert b"deploying" in process.stderr.readline()
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        process.communicate(timeout=RUN_S)
    finally:
        process.kill()
        process.wait()

    assert len(below) > 3, "it had not begun"
    _, alive = psutil.wait_procs(below, timeout=RUN_S)
    assert alive == []
    # Of one that was killed nobody was left to remove files.
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert list(folder.iterdir()) == []
    pids = {str(each.pid) for each in below}
    groups = [p.name for p in Path("/sys/fs/cgroup").glob("*/sandlot-*")]
    launchers = [name.removeprefix("sandlot-").partition(".")[0] for name in groups]
    assert [pid for pid in launchers if pid in pids] == []


def test_a_benchmark_tells_the_machine_and_the_isolation_it_was_run_with() -> None:
    printed = run_benchmark("warm", 2)

    for fact in (
        "cores",
        "Linux",
        "load average",
        "a fresh page",
        "seccomp",
        "network",
    ):
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


@pytest.mark.skipif(os.geteuid() != 0, reason="an internet of one's own takes root")
@pytest.mark.skipif(shutil.which("ip") is None, reason="there is no ip: iproute2")
@pytest.mark.skipif(bool(networks.probe_egress()), reason="there is no egress here")
def test_ways_out_are_set_beside_nat_where_there_is_nft() -> None:
    printed = run_benchmark("egress", 30)

    assert "the machine itself" in printed
    assert printed.count("public ok") >= 2
    assert ("NAT, router" in printed) == (shutil.which("nft") is not None)


@pytest.mark.timeout(300)
def test_after_chaos_the_books_balance() -> None:
    printed = run_benchmark("chaos", 3, "--quick", deadline_s=280.0)

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

    assert len(chains) == 5
    for table in chains:
        *steps, whole = (sum(each["samples_us"]) for each in table["series"])
        assert sum(steps) == pytest.approx(whole, rel=0.05), table["title"]


@pytest.mark.parametrize(
    ("title", "layers"),
    [
        (
            "instance small: the steps, jailed",
            {"way laid out", "setns(pid)", "fork", "cell: entered"},
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
            {"control group made", "calls laid out", "cloned", "cell arrived"},
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


@pytest.mark.timeout(120)
def test_programs_are_set_beside_a_bare_exec_of_the_same(tmp_path: Path) -> None:
    printed = run_benchmark("programs", 2, "--save", str(tmp_path))

    tables = json.loads((tmp_path / "programs.json").read_text())["tables"]
    shell = next(table for table in tables if "shell" in table["title"])
    series = {each["label"]: each for each in shell["series"]}
    assert series["bare exec"]["isolation"] == "none"
    assert " jail, " in series["in a jail"]["isolation"]
    overhead = series["the jail's overhead over a bare exec"]
    assert overhead["target_us"] == 3_000
    pairs = (series[name]["samples_us"] for name in ("in a jail", "bare exec"))
    expected = [ours - bare for ours, bare in zip(*pairs, strict=True)]
    assert overhead["samples_us"] == pytest.approx(expected, abs=2)
    assert "the jail's overhead over a bare exec" in printed


@pytest.mark.timeout(120)
def test_every_runtime_has_a_row_with_cold_warm_and_memory(tmp_path: Path) -> None:
    run_benchmark("runtimes", 2, "--save", str(tmp_path))

    (table,) = json.loads((tmp_path / "runtimes.json").read_text())["side_by_side"]
    rows = {
        row[0]: dict(zip(table["titles"], row, strict=True)) for row in table["rows"]
    }
    ours = rows[f"python3.{sys.version_info.minor}"]
    assert ours["instance"] == "clone"
    assert rows["provided.al2023, shell"]["instance"] == "program"
    for row in rows.values():
        assert 0 < row["warm p50"] < row["cold p50"]
        assert float(row["Max Memory Used, MB"]) > 0
        assert " jail, " in row["isolation"]
    assert "| provided.al2023, shell |" in (tmp_path / "runtimes.md").read_text()


def test_a_median_of_many_samples_is_known_better_than_one_of_few() -> None:
    few = Series(label="", samples_s=[n / 10 for n in range(11)])
    many = Series(label="", samples_s=[n / 1000 for n in range(1001)])

    for series in (few, many):
        low, high = median_between_ms(series)
        assert low < series.ms(50) < high
    narrow, wide = median_between_ms(many), median_between_ms(few)
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
