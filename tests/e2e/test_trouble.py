"""What the operator is told: of layers that are given up, of launchers that cannot be
used, and nothing but a clean end of a start that was stopped."""

import http.client
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from sandlot import errors
from tests.e2e import processes
from tests.e2e.conftest import deploy_guest
from tests.e2e.engines import USER, Engine, Mode, new_engine
from tests.e2e.processes import Role
from tests.e2e.waiting import wait_until

DOCS = Path(__file__).parent.parent.parent / "docs"

_TOO_FEW = 1_000
"""Open files: less than the layer `limits` asks for."""


def health_of(engine: Engine) -> tuple[int, dict[str, Any]]:
    host, _, port = engine.ready["http"].removeprefix("http://").rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def metrics_of(engine: Engine) -> dict[str, float]:
    rows = [row.split() for row in _told_of(engine) if not row.startswith("#")]
    return {row[0]: float(row[1]) for row in rows}


def _told_of(engine: Engine) -> list[str]:
    with urllib.request.urlopen(f"{engine.ready['http']}/metrics") as answer:  # noqa: S310
        told: str = answer.read().decode()
    return told.splitlines()


def test_a_layer_that_is_given_up_is_named_wherever_one_may_look(mode: Mode) -> None:
    with new_engine(mode) as engine:
        engine.start("--insecure=seccomp,landlock")

        given_up = ["landlock", "seccomp"]
        status, health = health_of(engine)
        assert status == 200
        assert sorted(health["isolation_given_up"]) == given_up
        assert sorted(engine.ready["isolation_given_up"]) == given_up
        rows = engine.client().status().layers
        assert sorted(row.name for row in rows if row.given_up) == given_up
        for layer in given_up:
            assert f"running WITHOUT {layer}, as asked: stops " in engine.said
        function = deploy_guest(engine.client(), "counter")
        reason = engine.client().get_function(function.name).state_reason
        assert reason.startswith("Isolated without ")
        assert all(layer in reason for layer in given_up)


def test_an_engine_that_is_well_says_so_to_who_watches(engine: Engine) -> None:
    metrics = metrics_of(engine)

    assert metrics["sandlot_healthy"] == 1
    assert 0 < time.time() - metrics["sandlot_start_time_seconds"] < 3_600


def test_what_operators_are_to_alarm_on_is_told(engine: Engine) -> None:
    page = (DOCS / "operations.md").read_text()
    alarms = page.partition("### What to alarm on")[2].partition("\n## ")[0]
    named = set(re.findall(r"\b(?:sandlot|process)_\w+", alarms))

    told = {row.split()[2] for row in _told_of(engine) if row.startswith("# HELP")}

    assert len(named) > 10
    assert named <= told


def test_a_machine_that_holds_everything_gives_nothing_up(engine: Engine) -> None:
    status, health = health_of(engine)

    assert (status, health["status"], health["isolation_given_up"]) == (200, "ok", [])
    assert "isolation_given_up" not in engine.ready


def test_a_layer_that_holds_more_weakly_is_named_wherever_one_may_look(
    engine: Engine,
) -> None:
    rows = engine.client().status().layers
    weaker = [row.name for row in rows if not row.holds]

    function = deploy_guest(engine.client(), "counter")

    assert weaker == ([] if engine.mode is Mode.ROOT else ["cgroup"])
    assert health_of(engine)[1]["isolation_weaker"] == weaker
    assert engine.ready.get("isolation_weaker", []) == weaker
    reason = engine.client().get_function(function.name).state_reason
    assert reason == "".join(f"Isolated more weakly by {name}." for name in weaker)


def test_a_new_launcher_that_lacks_a_layer_is_told_and_runs_nothing(
    fresh_engine: Engine,
) -> None:
    client = fresh_engine.client()
    function = deploy_guest(client, "counter")
    function.invoke()
    _take_open_files(fresh_engine)
    launcher = processes.family_of(fresh_engine.pid).only(Role.LAUNCHER)

    os.kill(launcher.pid, signal.SIGKILL)

    wait_until(
        lambda: "limits" in health_of(fresh_engine)[1].get("reason", ""),
        "the new launcher's findings are told",
        shown=lambda: fresh_engine.said,
    )
    status, health = health_of(fresh_engine)
    assert (status, health["status"]) == (503, "unavailable")
    with pytest.raises(errors.Unavailable, match=r"does not enforce.*limits"):
        function.invoke(deadline=5)
    assert "limits" in [row.name for row in client.status().layers if not row.holds]
    metrics = metrics_of(fresh_engine)
    assert metrics["sandlot_healthy"] == 0
    assert metrics["sandlot_launchers_lost_total"] >= 1
    assert metrics["sandlot_faults_total"] >= 1, "the SDK tries again"
    assert "Traceback" not in fresh_engine.said


def test_between_two_launchers_it_is_not_well_and_then_it_is(
    fresh_engine: Engine,
) -> None:
    family = processes.family_of(fresh_engine.pid)
    launcher, supervisor = family.only(Role.LAUNCHER), family.only(Role.SUPERVISOR)
    # So that there is no other until we have looked.
    os.kill(supervisor.pid, signal.SIGSTOP)
    try:
        os.kill(launcher.pid, signal.SIGKILL)
        wait_until(lambda: health_of(fresh_engine)[0] == 503, "its loss is told")
        status, health = health_of(fresh_engine)
    finally:
        os.kill(supervisor.pid, signal.SIGCONT)

    assert (status, health["status"]) == (503, "unavailable")
    assert "the launcher died" in health["reason"]
    wait_until(lambda: health_of(fresh_engine)[0] == 200, "there is a new one")


@pytest.mark.parametrize("moment", ["discovering", "starting", "opening"])
def test_a_start_that_is_stopped_ends_cleanly(mode: Mode, moment: str) -> None:
    with new_engine(mode) as engine:
        engine.begin()
        moments = {
            "discovering": lambda: (engine.data / "lock").exists(),
            "starting": lambda: Role.ENGINE in _roles(engine),
            "opening": lambda: (engine.data / "sandlot.db").exists(),
        }
        wait_until(moments[moment], f"it is {moment}", shown=lambda: engine.said)

        engine.terminate()

        assert engine.wait() == 0
        assert "Traceback" not in engine.said
        assert not (engine.data / "engine.json").exists(), "it was ready"
        engine.start()
        assert engine.client().status().mode == mode


def _take_open_files(engine: Engine) -> None:
    """From whatever the supervisor starts next."""
    limit = ["prlimit", "--pid", str(engine.pid), f"--nofile={_TOO_FEW}:{_TOO_FEW}"]
    is_other = engine.mode is Mode.ROOTLESS and os.geteuid() == 0
    as_whom = {"user": USER, "group": USER, "extra_groups": []} if is_other else {}
    subprocess.run(limit, check=True, timeout=10, **as_whom)  # type: ignore[call-overload]


def _roles(engine: Engine) -> set[Role]:
    return set(processes.family_of(engine.pid).roles.values())
