"""The demo's parts; all of it together is `make demo`."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from docs.demo.engine import DemoFailed, Engine, wait_ended
from docs.demo.package import pack_with_requirements

DEMO = Path(__file__).parents[2] / "docs" / "demo"
CHART = DEMO / "functions" / "chart"
PNG = b"\x89PNG\r\n\x1a\n"
CALL = (
    "import json, sys; sys.path.insert(0, sys.argv[1]); import app;"
    " print(json.dumps(app.handler(json.loads(sys.argv[2]), None)))"
)


def test_the_function_draws_a_picture_with_what_was_fetched_for_it(
    tmp_path: Path,
) -> None:
    event = {"title": "Cups", "values": {"Mon": 9, "Tue": 0, "Wed": -1}}

    fetched = pack_with_requirements(CHART, tmp_path / "chart")
    printed = subprocess.run(
        [sys.executable, "-I", "-c", CALL, str(tmp_path / "chart"), json.dumps(event)],
        check=True,
        capture_output=True,
        timeout=30,
    ).stdout

    assert fetched.startswith("pillow ")
    answer = json.loads(printed.splitlines()[-1])
    assert base64.b64decode(answer["png"]).startswith(PNG)


def test_without_an_index_the_demo_says_what_it_could_not_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where fetched packages are kept: an earlier run's are not found there.
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    for name, value in (
        *(("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", "")),
        ("PIP_CONFIG_FILE", "/dev/null"),
    ):
        monkeypatch.setenv(name, value)

    with pytest.raises(DemoFailed, match=r"could not fetch pillow.*\n?.*online\?"):
        pack_with_requirements(CHART, tmp_path / "chart")

    assert not (tmp_path / "chart").exists()


def test_an_engine_that_does_not_start_is_told_with_its_own_words(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    data.write_text("a file where a folder belongs")

    with (
        pytest.raises(DemoFailed, match=r"the engine did not start[\s\S]*data"),
        Engine(data, tmp_path / "engine.log"),
    ):
        pass


def test_interrupted_it_stops_its_engine_and_says_so_in_a_line(tmp_path: Path) -> None:
    with subprocess.Popen(
        # Who starts the tests beside other things may have them ignore it.
        ["/usr/bin/env", "--default-signal=INT", sys.executable, DEMO / "run.py"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        started = next(line for line in demo.stdout if "process " in line)
        demo.send_signal(signal.SIGINT)
        told = demo.stdout.read()
        code = demo.wait(30)

    assert code == 130
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("Interrupted: ")
    assert not psutil.pid_exists(int(started.split()[-1]))
    assert list(tmp_path.iterdir()) == []


def test_what_has_ended_is_not_left_though_nobody_collects_it() -> None:
    with subprocess.Popen(["/bin/true"]) as ended:
        found = psutil.Process(ended.pid)

        # Nobody waits for it, as nobody does for orphans in many a container.
        left = wait_ended([found], time.monotonic() + 10)

        assert left == []
        assert found.status() == psutil.STATUS_ZOMBIE


def test_what_still_runs_is_left() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as running:
        found = psutil.Process(running.pid)

        left = wait_ended([found], time.monotonic())

        running.kill()
        assert left == [found]
