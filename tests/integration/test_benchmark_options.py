"""What a benchmark is told wrongly it says before it measures."""

import os
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from unittest.mock import Mock

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]


def refused(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_file_that_cannot_be_written_is_told_before_an_hour_of_measuring(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()

    within_a_file = refused("cold", "--quick", "--json", str(tmp_path / "file/x.json"))
    a_folder = refused("cold", "--quick", "--markdown", str(tmp_path))
    saved = refused("cold", "--quick", "--save", str(tmp_path / "file"))

    assert f"no folder {tmp_path}/file" in within_a_file
    assert "--save" in a_folder
    assert f"no folder {tmp_path}/file" in saved


def test_the_folder_of_a_report_is_made(tmp_path: Path) -> None:
    benchmarks.new_file(str(tmp_path / "new/x.json"))

    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


def test_one_file_for_all_scenarios_is_refused(tmp_path: Path) -> None:
    assert "--save" in refused("all", "--json", str(tmp_path / "x.json"))


def test_a_trace_that_is_not_there_is_named(tmp_path: Path) -> None:
    told = refused("trace", "--quick", "--trace", str(tmp_path))

    assert f"there is no {tmp_path}/invocations_per_function_md.anon.d01.csv" in told


def test_a_runtime_that_there_is_not_is_told_with_those_there_are() -> None:
    told = refused("http", "--quick", "--workload", "small", "--runtime", "python3.99")

    assert "python3.99" in told
    assert "python3.11" in told


def test_what_was_measured_is_kept_though_nobody_reads_it(tmp_path: Path) -> None:
    kept = tmp_path / "warm.json"
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody:
        words = ("warm", "--n", "1", "--quick", "--workload", "small", "--json", kept)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *words],
            cwd=ROOT,
            check=False,
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )

    assert "Traceback" not in done.stderr
    assert "small" in kept.read_text()


def test_who_reads_the_beginning_alone_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks"],
            cwd=ROOT,
            check=False,
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", ["0", "-3", "x"])
def test_a_number_of_samples_is_one_at_least(number: str) -> None:
    assert "no whole number" in refused("cold", f"--n={number}")


def test_of_all_scenarios_one_that_cannot_be_run_keeps_no_other_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Mock(side_effect=[SystemExit("this takes root"), None])
    one = next(iter(SCENARIOS.values()))
    monkeypatch.setattr(benchmarks, "SCENARIOS", {"first": one, "second": one})
    monkeypatch.setattr(benchmarks, "_run", run)
    console = Mock()

    assert benchmarks.run_all(Namespace(), console) == 1

    assert [call.args[0] for call in run.call_args_list] == ["first", "second"]
    console.print.assert_any_call("first: this takes root")


SCENARIO = """
import subprocess, sys
from benchmarks import __main__ as benchmarks

def measure(options):
    with subprocess.Popen(["cat"], stdin=-1, stdout=-1) as child:
        print("it measures", flush=True)
        try:
            child.stdout.read()
        finally:
            raise RuntimeError("the child is gone")

benchmarks._main = measure
sys.argv = ["benchmarks", "cold"]
sys.exit(benchmarks.main())
"""


def test_what_ends_with_the_interrupted_is_not_told_as_an_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCENARIO],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        assert b"it measures" in process.stdout.readline()
        # As a terminal sends it: to all of the group.
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()

    assert (process.returncode, said) == (130, b"")
