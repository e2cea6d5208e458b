"""Provisioned concurrency, by boto3: initialised before anybody calls, and kept so."""

import base64
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.compat.clients import (
    Cloud,
    Lambda,
    invoke,
    new_function,
    package,
    wait_active,
    wait_published,
)
from tests.e2e import processes
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.processes import Process, Role
from tests.e2e.waiting import wait_until

_COUNT = 4
_IDLE_S = 1.0
_OVERLAPS_S = (0.5, 2.0, 8.0)
"""How long the invocations last: longer, if the machine was too busy for less."""

_INIT_DURATION = b"Init Duration"

_SOURCE = """
import secrets, time
{first}
time.sleep({import_s})
instance = ""
def handler(event, context):
    global instance
    began = time.time()
    instance = instance or secrets.token_hex(8)
    time.sleep(max(0.0, event["until"] - began))
    return {{"began": began, "instance": instance}}
"""
_THREAD = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
"""With one, every instance imports for itself."""


@pytest.fixture
def aws(engine: Engine) -> Iterator[Lambda]:
    cloud = Cloud(engine)
    yield cloud.account("provisioned").aws()
    cloud.close()


@pytest.fixture
def quick_to_retire(mode: Mode) -> Iterator[Engine]:
    """An engine that retires what has been idle for a moment."""
    with new_engine(mode) as engine:
        engine.start("--idle", str(_IDLE_S))
        yield engine


@pytest.mark.parametrize("first", ["", _THREAD], ids=["cloned", "per instance"])
def test_as_many_at_once_as_are_provisioned_are_all_warm(
    aws: Lambda, first: str
) -> None:
    name = _published(aws, _SOURCE.format(first=first, import_s=0.5))

    ready = _provision(aws, name)
    answers = _invoke_at_once(aws, name, _COUNT)

    assert ready["Status"] == "READY"
    assert ready["AvailableProvisionedConcurrentExecutions"] == _COUNT
    assert len({answer["instance"] for answer in answers}) == _COUNT
    assert not any(answer["is_cold"] for answer in answers)
    aws.delete_function(FunctionName=name)


def test_one_more_at_once_than_are_provisioned_is_started_on_demand(
    aws: Lambda,
) -> None:
    name = _published(aws, _SOURCE.format(first="", import_s=0))
    _provision(aws, name)

    answers = _invoke_at_once(aws, name, _COUNT + 1)

    assert len({answer["instance"] for answer in answers}) == _COUNT + 1
    assert [answer["is_cold"] for answer in answers].count(True) == 1
    aws.delete_function(FunctionName=name)


def test_a_provisioned_instance_that_is_killed_is_replaced(
    engine: Engine, aws: Lambda
) -> None:
    name = _published(aws, _SOURCE.format(first="", import_s=0))
    others = set(_instances(engine))
    _provision(aws, name)
    ours = _instances(engine).keys() - others
    victim = _instances(engine)[min(ours)]
    # Until a frozen zygote reaps it, what is dead is still to be seen.
    others |= {victim.identity}

    os.kill(victim.pid, signal.SIGKILL)

    processes.wait_gone([victim])
    wait_until(
        lambda: len(_instances(engine).keys() - others) == _COUNT, "it is replaced"
    )
    _wait_available(aws, name)
    answers = _invoke_at_once(aws, name, _COUNT)
    assert not any(answer["is_cold"] for answer in answers)
    aws.delete_function(FunctionName=name)


def test_what_cannot_be_initialised_has_failed_and_says_so(aws: Lambda) -> None:
    name = _published(aws, "raise RuntimeError('no')\ndef handler(*_): ...")

    failed = _provision(aws, name)

    assert failed["Status"] == "FAILED"
    assert failed["StatusReason"]
    assert failed["AvailableProvisionedConcurrentExecutions"] == 0
    aws.delete_function(FunctionName=name)


def test_what_is_provisioned_outlives_idleness_and_a_restart_and_not_its_config(
    quick_to_retire: Engine,
) -> None:
    engine = quick_to_retire
    account = Cloud(engine).account("provisioned")
    with closing(account.aws()) as aws:
        name = _published(aws, _SOURCE.format(first="", import_s=0))
        _provision(aws, name)
        _invoke_at_once(aws, name, _COUNT + 1)
        wait_until(lambda: len(_instances(engine)) == _COUNT, "one more has gone")
    assert engine.stop() == 0
    engine.start("--idle", str(_IDLE_S))

    with closing(replace(account, cloud=Cloud(engine)).aws()) as aws:
        _wait_available(aws, name)
        assert len(_instances(engine)) == _COUNT
        aws.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")

        wait_until(lambda: not _instances(engine), "all of them are retired")


def _published(aws: Lambda, source: str) -> str:
    """A function with a version 1 that is active."""
    made = aws.create_function(
        **new_function(package(source)), Publish=True, Timeout=30
    )
    name: str = made["FunctionName"]
    wait_active(aws, name)
    wait_published(aws, name, "1")
    return name


def _provision(aws: Lambda, name: str) -> dict[str, Any]:
    """What becomes of it, once it is no longer in progress."""
    aws.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=_COUNT
    )
    return wait_until(lambda: _settled(aws, name), "it is ready, or has failed")


def _settled(aws: Lambda, name: str) -> dict[str, Any]:
    found = _config(aws, name)
    return found if found["Status"] != "IN_PROGRESS" else {}


def _wait_available(aws: Lambda, name: str) -> None:
    member = "AvailableProvisionedConcurrentExecutions"
    wait_until(lambda: _config(aws, name)[member] == _COUNT, "all are available")


def _config(aws: Lambda, name: str) -> dict[str, Any]:
    found: dict[str, Any] = aws.get_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1"
    )
    return found


def _invoke_at_once(aws: Lambda, name: str, count: int) -> list[dict[str, Any]]:
    """The answers of invocations of which each began before any ended, and whether any
    so far of each one's instance `is_cold`."""
    cold: set[str] = set()
    for last_s in _OVERLAPS_S:
        until = time.time() + last_s
        with ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(partial(_answer, aws, name), [until] * count))
        cold |= {answer["instance"] for answer in answers if answer["is_cold"]}
        if all(answer["began"] < until for answer in answers):
            return [
                {**answer, "is_cold": answer["instance"] in cold} for answer in answers
            ]
    pytest.fail(f"{count} invocations never overlapped")


def _answer(aws: Lambda, name: str, until: float) -> dict[str, Any]:
    answer = invoke(aws, f"{name}:1", {"until": until}, LogType="Tail")
    log = base64.b64decode(answer["LogResult"])
    return {**answer["Payload"], "is_cold": _INIT_DURATION in log}


def _instances(engine: Engine) -> dict[tuple[int, int], Process]:
    found = processes.family_of(engine.pid).of_role(Role.INSTANCE)
    return {instance.identity: instance for instance in found}
