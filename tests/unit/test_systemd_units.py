"""The units that operators copy: systemd understands them, and they say what we need.

That an engine runs within what they take away is `tests/e2e/test_service.py`.
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from sandlot.cli.root import USAGE
from sandlot_engine import supervisor
from sandlot_sandbox.probe import EX_CONFIG
from tests.systemd import SYSTEM, USER, read_unit
from tests.unit.conftest import Cli

UNITS = pytest.mark.parametrize("unit", [SYSTEM, USER], ids=lambda path: path.stem)

ANALYZE = shutil.which("systemd-analyze")
RUNNING = {
    *("Type", "ExecStart", "KillMode", "TimeoutStopSec"),
    *("Restart", "RestartSec", "RestartPreventExitStatus"),
    *("Delegate", "OOMPolicy", "TasksMax", "LimitNOFILE"),
}
TAKEN_AWAY = {
    *("UMask", "NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateTmp"),
    "CapabilityBoundingSet",
}
"""What was tried. Most else that systemd can take away, jails are made of."""


@UNITS
def test_a_unit_runs_up_with_options_that_there_are(unit: Path, cli: Cli) -> None:
    (command,) = read_unit(unit)["Service.ExecStart"]
    program, subcommand, *arguments = shlex.split(command)
    known = re.findall(r"--[a-z-]+", cli("up", "--help").stdout)

    options = [argument for argument in arguments if argument.startswith("--")]

    assert (Path(program).name, subcommand) == ("sandlot", "up")
    assert options != []
    assert set(options) <= set(known)


@UNITS
def test_a_unit_ends_and_restarts_the_service_as_it_needs(unit: Path) -> None:
    found = read_unit(unit)

    assert found["Service.KillMode"] == ["mixed"], "only the supervisor drains"
    (stop_s,) = found["Service.TimeoutStopSec"]
    assert float(stop_s) > supervisor._DRAIN_S  # noqa: SLF001 - what it has to outlast
    assert found["Service.Restart"] == ["on-failure"]
    assert found["Service.RestartPreventExitStatus"] == [f"{USAGE} {EX_CONFIG}"]


@UNITS
def test_a_unit_delegates_its_control_group(unit: Path) -> None:
    found = read_unit(unit)

    assert found["Service.Delegate"] == ["yes"]
    assert found["Service.OOMPolicy"] == ["continue"], "an instance's end is not ours"
    assert found["Service.TasksMax"] == ["infinity"]


@UNITS
def test_a_unit_takes_nothing_away_that_was_not_tried(unit: Path) -> None:
    keys = {key.partition(".")[2] for key in read_unit(unit) if "Service." in key}

    assert keys - RUNNING - TAKEN_AWAY == set()


def test_the_two_units_agree() -> None:
    system, user = read_unit(SYSTEM), read_unit(USER)

    shared = {key for key in user if key in system} - {
        *("Service.ExecStart", "Install.WantedBy")
    }

    assert {key: user[key] for key in shared} == {key: system[key] for key in shared}
    assert {key.partition(".")[2] for key in user.keys() - system.keys()} == set()
    assert user["Install.WantedBy"] == ["default.target"]


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd here")
@UNITS
@pytest.mark.parametrize("is_broken", [False, True], ids=["as it is", "broken"])
def test_systemd_has_nothing_to_say_about_a_unit(
    unit: Path, is_broken: bool, tmp_path: Path
) -> None:
    program = tmp_path / "sandlot"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={program}", unit.read_text())
    if is_broken:
        text = text.replace("KillMode=mixed", "KillMode=mixxed\nNoSuchKey=1")
    copy = tmp_path / unit.name
    copy.write_text(text)
    whose = ["--user"] if unit == USER else []

    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", *whose, str(copy)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    said = [line for line in done.stderr.splitlines() if unit.name in line]
    if is_broken:
        assert len(said) == 2
    else:
        assert (done.returncode, said) == (0, [])
