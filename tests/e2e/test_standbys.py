"""Standbys: instances that are there before anybody needs them, on a real engine."""

import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandlot import FunctionHandle, Reply
from tests.e2e import processes
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.overlaps import invoke_at_once
from tests.e2e.processes import Role
from tests.e2e.waiting import wait_until
from tests.fakes.zips import zip_of

_IDLE_S = 2.0
_IMPORT_S = 0.4
_BUSY_S = 3.0

_SOURCE = """
import time
time.sleep({import_s})
def handler(event, context):
    began = time.time()
    time.sleep(max(0.0, event.get("until", 0.0) - began))
    return {{"began": began}}
"""

_HOOK_S = 0.3
_HOOK = f"""
import os
os.register_at_fork(after_in_child=lambda: time.sleep({_HOOK_S}))
"""


@pytest.fixture
def forgetful(mode: Mode) -> Iterator[Engine]:
    """An engine on which what was not used for a moment has no standbys."""
    with new_engine(mode) as engine:
        engine.start("--idle", str(_IDLE_S))
        yield engine


def test_a_cold_start_is_given_a_standby_and_another_takes_its_place(
    fresh_engine: Engine,
) -> None:
    function = _deploy(fresh_engine, import_s=0.0)

    first = function.invoke({}, tail_log=True)
    _wait(fresh_engine, "standbys", 1)
    invoke_at_once(function, 2)

    shown = fresh_engine.client().get_function(function.name)
    assert shown.instances > shown.standbys
    assert _init_ms(first) > 0
    assert _reading(fresh_engine, "standby_starts_total") >= 1
    _wait(fresh_engine, "standbys", 1)


def test_a_standby_starts_cold_without_an_init_and_with_the_import_of_its_own(
    fresh_engine: Engine,
) -> None:
    clones = _deploy(fresh_engine, import_s=0.0)
    importing = _deploy(fresh_engine, import_s=_IMPORT_S, init_mode="per-instance")

    for function in (clones, importing):
        function.invoke({})
    _wait(fresh_engine, "standbys", 2)
    cloned = _of_the_standby(fresh_engine, clones)
    imported = _of_the_standby(fresh_engine, importing)

    assert _init_ms(cloned) == 0
    assert _init_ms(imported) >= _IMPORT_S * 1_000
    for reply in (cloned, imported):
        report = reply.report
        assert report is not None
        assert report.cold
        assert report.billed_ms >= report.duration_ms + _init_ms(reply) - 1


def test_what_a_clone_does_before_anybody_asks_is_billed_with_its_first_event(
    fresh_engine: Engine,
) -> None:
    """Or a hook of a fork could compute for nothing, each time anew."""
    function = fresh_engine.client().deploy(
        zip_of({"app.py": _SOURCE.format(import_s=0.0) + _HOOK}),
        name="hooked",
        handler="app.handler",
        timeout=60,
    )
    function.invoke({})
    _wait(fresh_engine, "standbys", 1)

    reply = _of_the_standby(fresh_engine, function)

    assert _reading(fresh_engine, "standby_starts_total") == 1
    assert _init_ms(reply) >= _HOOK_S * 1_000
    assert reply.report is not None
    assert reply.report.billed_ms >= _HOOK_S * 1_000


def test_a_standby_dies_with_its_zygote_and_what_answers_again_has_another(
    fresh_engine: Engine,
) -> None:
    function = _deploy(fresh_engine, import_s=0.0)
    function.invoke({})
    _wait(fresh_engine, "standbys", 1)
    family = processes.family_of(fresh_engine.pid)
    doomed = family.of_role(Role.INSTANCE)
    (zygote,) = family.of_role(Role.ZYGOTE)

    os.kill(zygote.pid, signal.SIGKILL)

    processes.wait_gone(doomed)
    _wait(fresh_engine, "standbys", 0)
    function.invoke({})
    # Or two, where it is known already that this one had to be started for somebody.
    wait_until(lambda: _reading(fresh_engine, "standbys") >= 1, "standbys are there")


def test_what_is_used_no_more_has_no_standby_in_the_end(forgetful: Engine) -> None:
    function = _deploy(forgetful, import_s=0.0)

    function.invoke({})
    _wait(forgetful, "standbys", 1)

    _wait(forgetful, "standbys", 0)
    _wait(forgetful, "instances", 0)


def test_an_engine_can_do_without(mode: Mode) -> None:
    with new_engine(mode) as engine:
        engine.start("--standbys", "0")
        function = _deploy(engine, import_s=0.0)

        invoke_at_once(function, 3)

        assert _reading(engine, "standby_starts_total") == 0
        assert _reading(engine, "instances") == 3


def _deploy(engine: Engine, *, import_s: float, **options: str) -> FunctionHandle:
    name = "of-its-own" if options else "cloned"
    source = zip_of({"app.py": _SOURCE.format(import_s=import_s)})
    return engine.client().deploy(
        source,
        name=name,
        handler="app.handler",
        timeout=60,
        **options,  # type: ignore[arg-type]
    )


def _of_the_standby(engine: Engine, function: FunctionHandle) -> Reply:
    """What is answered while the instance that was used before is busy."""
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(function.invoke, {"until": time.time() + _BUSY_S})
        _wait(engine, "running", 1)
        reply = function.invoke({}, tail_log=True)
        assert not busy.done(), "it was too slow to tell"
        busy.result()
    return reply


def _init_ms(reply: Reply) -> float:
    found = re.search(rb"Init Duration: ([0-9.]+) ms", reply.log_tail)
    assert found is not None, reply.log_tail
    return float(found[1])


def _wait(engine: Engine, name: str, value: float) -> None:
    wait_until(lambda: _reading(engine, name) == value, f"{name} is {value}")


def _reading(engine: Engine, name: str) -> float:
    """Of `/metrics`."""
    url = f"{engine.ready['http']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - ours
        text = answer.read().decode()
    (line,) = [one for one in text.splitlines() if one.startswith(f"sandlot_{name} ")]
    return float(line.split()[1])
