"""`sandlot status`: what an operator sees at a glance is what is so."""

import json
import time

from tests.e2e.conftest import deploy_guest
from tests.e2e.engines import Engine, Mode
from tests.e2e.waiting import wait_until

_ROWS = (
    *("status", "engine", "up", "isolation", "functions", "instances", "zygotes"),
    *("memory", "invocations", "throttled", "events", "faults", "disk"),
)


def test_what_lives_and_runs_is_told(fresh_engine: Engine) -> None:
    engine = fresh_engine
    busy, idle = (deploy_guest(engine.client(), "counter") for _ in range(2))
    idle.invoke()

    def told() -> dict[str, object]:
        status, said = engine.run("status", "--json")
        assert status == 0, said
        found: dict[str, object] = json.loads(said)
        return found

    def is_busy() -> bool:
        instances = told()["instances"]
        assert isinstance(instances, dict)
        return bool(instances["busy"] == 1 and instances["idle"] >= 1)

    busy.enqueue({"until": time.time() + 50})
    wait_until(is_busy, "one is seen to be busy", shown=told)

    found = told()
    assert found["status"] == "ok"
    assert found["mode"] == engine.mode
    assert found["functions"] == 2
    assert found["zygotes"] == 2
    assert found["invocations"] == {"ok": 1}
    assert found["events"] == {"waiting": 1, "running": 1, "dead_kept": 0}
    assert found["faults"] == 0
    assert bool(found["memory_used_bytes"]) is (engine.mode is Mode.ROOT)


def test_people_have_a_line_for_each_thing(engine: Engine) -> None:
    status, said = engine.run("status")

    assert status == 0
    assert tuple(line.split()[0] for line in said.splitlines()) == _ROWS
    assert f"isolation    {engine.mode}, with " in said


def test_an_engine_that_runs_nothing_says_why_and_fails(fresh_engine: Engine) -> None:
    engine = fresh_engine
    (engine.data / "sandlot.db").rename(engine.data / "away.db")

    wait_until(lambda: engine.run("status")[0] == 4, "it is noticed")

    status, said = engine.run("status", "--json")
    assert status == 4
    found = json.loads(said)
    assert found["status"] == "unavailable"
    assert "it is gone" in found["reason"]


def test_an_engine_that_has_ended_is_told_with_what_to_do(fresh_engine: Engine) -> None:
    fresh_engine.stop()

    status, said = fresh_engine.run("status")

    assert status == 4
    assert f"sandlot up --data {fresh_engine.data}" in said
    assert "Traceback" not in said
