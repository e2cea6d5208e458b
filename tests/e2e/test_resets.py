"""The life of an environment, as tenants see it: frozen, reset, and what stays."""

from typing import Any

import pytest

from sandlot import Client, FunctionHandle, errors
from tests.e2e.conftest import Tenant
from tests.e2e.engines import Engine
from tests.e2e.processes import Role, family_of
from tests.e2e.waiting import wait_until
from tests.fakes.zips import zip_of
from tests.isolation.groups import is_frozen

_GAP_S = 1.0

_SOURCE = """
import os, threading, time

count = 0
ticks = []

def tick():
    last = time.monotonic()
    while True:
        time.sleep(0.002)
        now = time.monotonic()
        ticks.append((now - last, last, now))
        last = now

def handler(event, context):
    global count
    count += 1
    with open("/tmp/lines", "a") as file:
        file.write("x")
    if event.get("tick"):
        if count == 1:
            threading.Thread(target=tick, daemon=True).start()
        seen = len(ticks)
        while len(ticks) == seen:
            time.sleep(0.002)
    if event.get("end") == "hang":
        time.sleep(60)
    if event.get("end") == "exit":
        os._exit(3)
    time.sleep(event.get("for_s", 0.0))
    return {
        "count": count,
        "lines": os.path.getsize("/tmp/lines"),
        "longest": max(ticks)[0] if ticks else 0.0,
        "monotonic": time.monotonic(),
        # Of several looks, that at which least came between the two.
        "ahead": min(time.time() - time.monotonic() for _ in range(9)),
    }
"""


def _deploy(
    client: Client, name: str, *, timeout: int = 2, **options: Any
) -> FunctionHandle:
    package = zip_of({"app.py": _SOURCE})
    return client.deploy(
        package, name=name, handler="app.handler", timeout=timeout, **options
    )


@pytest.mark.parametrize("init_mode", ["auto", "per-instance"])
@pytest.mark.parametrize(
    ("end", "error"), [("hang", errors.TimedOut), ("exit", errors.Crashed)]
)
def test_after_a_timeout_or_a_crash_tmp_is_there_and_globals_are_not(
    tenant: Tenant, init_mode: str, end: str, error: type[Exception]
) -> None:
    # Of its own each, so that nobody has started anything ahead of it.
    function = _deploy(tenant(), "resets", init_mode=init_mode)
    with pytest.raises(error):
        function.invoke({"end": end})

    reply = function.invoke({}, tail_log=True)
    found = reply.value

    assert (found["count"], found["lines"]) == (1, 2)
    # As on AWS, where the environment is the old one.
    assert b"\tInit Duration" not in reply.log_tail


def test_an_environment_that_was_reset_comes_before_one_that_stands_by(
    fresh_engine: Engine,
) -> None:
    client = fresh_engine.client()
    function = _deploy(client, "resets")
    function.invoke({})
    with pytest.raises(errors.TimedOut):
        function.invoke({"end": "hang"})

    found = function.invoke({}).value

    assert (found["count"], found["lines"]) == (1, 3)


def test_threads_do_not_run_between_invocations_and_clocks_go_on(
    engine: Engine, tenant: Tenant
) -> None:
    client = tenant()
    function = _deploy(client, "ticking", timeout=30)
    other = _deploy(client, "waiting", timeout=30)
    before = function.invoke({"tick": True}).value
    wait_until(lambda: _all_are_frozen(engine), "nothing in the instances runs")

    other.invoke({"for_s": _GAP_S})
    after = function.invoke({"tick": True}).value

    assert after["count"] == 2
    assert after["longest"] >= _GAP_S, "its thread ran meanwhile"
    assert after["monotonic"] - before["monotonic"] >= _GAP_S
    assert abs(after["ahead"] - before["ahead"]) < 0.1


def _all_are_frozen(engine: Engine) -> bool:
    instances = family_of(engine.pid).of_role(Role.INSTANCE)
    return bool(instances) and all(is_frozen(each.pid) for each in instances)
