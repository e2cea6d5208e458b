"""Instances: what they keep, when there is another, and what a change does to them."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandlot import Client, FunctionHandle, errors
from sandlot.results import UpdateStatus
from tests.e2e import processes
from tests.e2e.conftest import Deploy, Tenant, deploy_guest
from tests.e2e.engines import Engine
from tests.e2e.overlaps import invoke_at_once
from tests.e2e.waiting import wait_until
from tests.fakes.zips import zip_of

_HOLDING_S = 2.0
"""How long an invocation lasts that something should happen to."""

_SOURCE = """
import time
time.sleep({import_s})
def handler(event, context):
    began = time.time()
    time.sleep(max(0.0, event.get("until", 0.0) - began))
    return {{"began": began, "answer": {answer!r}}}
"""


def _package(answer: str, *, import_s: float = 0.0) -> bytes:
    return zip_of({"app.py": _SOURCE.format(answer=answer, import_s=import_s)})


@pytest.fixture
def changing(client: Client) -> FunctionHandle:
    """A function that answers `old`."""
    name = f"changing-{time.time_ns()}"
    return client.deploy(_package("old"), name=name, handler="app.handler", timeout=60)


def test_an_instance_keeps_what_is_outside_the_handler(deploy: Deploy) -> None:
    function = deploy("counter")

    answers = [function.invoke().value for _ in range(3)]

    assert [answer["count"] for answer in answers] == [1, 2, 3]
    assert len({answer["instance"] for answer in answers}) == 1


def test_a_busy_instance_means_that_another_is_started(deploy: Deploy) -> None:
    function = deploy("counter")

    answers = invoke_at_once(function, 4)

    assert len({answer["instance"] for answer in answers}) == 4


def test_many_values_go_over_one_stream_and_each_is_answered(deploy: Deploy) -> None:
    function = deploy("failing")
    values = [
        {"how": "raise"} if number % 10 == 0 else {"how": "", "filler": "x" * number}
        for number in range(100)
    ]

    results = list(function.map(values, concurrency=8, ordered=True))

    assert [result.index for result in results] == list(range(100))
    assert [
        result.value["size"] if result.error is None else type(result.error)
        for result in results
    ] == [errors.Unhandled if number % 10 == 0 else number for number in range(100)]


def test_a_new_code_serves_once_it_is_ready_and_the_old_until_then(
    client: Client, changing: FunctionHandle
) -> None:
    slow = _package("new", import_s=_HOLDING_S)
    with ThreadPoolExecutor(1) as pool:
        deploying = pool.submit(client.deploy, slow, name=changing.name)
        wait_until(lambda: _is_updating(changing), "the update is in progress")

        meanwhile = []
        while _is_updating(changing):
            answer = changing.invoke().value["answer"]
            if _is_updating(changing):
                meanwhile.append(answer)
        deploying.result()

    assert set(meanwhile) == {"old"}
    assert changing.invoke().value["answer"] == "new"
    changing.delete()


def test_calls_in_flight_finish_on_the_old_code(
    engine: Engine, client: Client, changing: FunctionHandle
) -> None:
    until = time.time() + _HOLDING_S
    known = _instances(engine)
    with ThreadPoolExecutor(1) as pool:
        in_flight = pool.submit(changing.invoke, {"until": until})
        wait_until(lambda: _instances(engine) - known, "the call has an instance")

        client.deploy(_package("new"), name=changing.name)

        assert changing.invoke().value["answer"] == "new"
        answer = in_flight.result().value
    assert answer["began"] < until
    assert answer["answer"] == "old"
    changing.delete()


def test_a_new_configuration_takes_effect(deploy: Deploy) -> None:
    function = deploy("about", env={"COLOUR": "blue"})
    before = function.invoke().value["environment"]

    function.update(env={"COLOUR": "red"}, memory=256, timeout=7)

    seen = function.invoke().value
    assert before["COLOUR"] == "blue"
    assert seen["environment"]["COLOUR"] == "red"
    assert seen["context"]["memory_limit_in_mb"] == "256"
    assert seen["remaining_ms"] <= 7_000


def test_a_deleted_function_finishes_its_calls_and_takes_no_more(
    engine: Engine, client: Client, changing: FunctionHandle
) -> None:
    until = time.time() + _HOLDING_S
    known = _instances(engine)
    with ThreadPoolExecutor(1) as pool:
        in_flight = pool.submit(changing.invoke, {"until": until})
        wait_until(lambda: _instances(engine) - known, "the call has an instance")

        changing.delete()

        answer = in_flight.result().value
    assert answer["answer"] == "old"
    with pytest.raises(errors.NotFound):
        changing.invoke()
    assert changing.name not in {function.name for function in client.functions()}


def test_a_change_leaves_nothing_of_the_old_revision(
    fresh_engine: Engine,
) -> None:
    client = fresh_engine.client()
    function = deploy_guest(client, "family", timeout=900)
    function.invoke({"mark": "of-the-old-revision"})
    family = processes.family_of(fresh_engine.pid)
    old = family.below(*family.of_role(processes.Role.WARDEN))

    function.update(memory=256)

    processes.wait_gone(old)
    assert processes.family_of(fresh_engine.pid).marked("of-the-old-revision") == []
    assert function.invoke().value["count"] == 1


def test_a_caller_whose_deadline_passes_frees_its_slot_and_ends_the_instance(
    engine: Engine, tenant: Tenant
) -> None:
    client = tenant("impatient", concurrency=1)
    function = deploy_guest(client, "family", timeout=900)
    mark = f"deadline-{engine.mode}"

    with pytest.raises(errors.DeadlineExceeded):
        function.invoke({"mark": mark, "hold": True}, deadline=1.0)

    _expect_a_free_slot(function)
    wait_until(lambda: not processes.strays(mark), "its processes are gone")
    function.delete()


def test_a_caller_who_hangs_up_frees_its_slot_and_ends_the_instance(
    engine: Engine, operator: Client
) -> None:
    key = operator.create_tenant("rude", concurrency=1)
    pair = (key.access_key_id, key.secret_access_key)
    client, caller = (
        engine.client(access_key_id=pair[0], secret_access_key=pair[1]) for _ in "12"
    )
    function = deploy_guest(client, "family", timeout=900)
    mark = f"hang-up-{engine.mode}"
    with ThreadPoolExecutor(1) as pool:
        event = {"mark": mark, "hold": True}
        calling = pool.submit(caller.invoke, function.name, event)
        wait_until(lambda: len(processes.strays(mark)) == 2, "it runs")

        caller.close()

        assert calling.exception(20) is not None
    _expect_a_free_slot(function)
    wait_until(lambda: not processes.strays(mark), "its processes are gone")
    (run, *_) = wait_until(
        lambda: [r for r in function.runs() if r.error_type == "Sandbox.Cancelled"],
        "the time it took is on record",
    )
    assert run.report.billed_ms > 0
    function.delete()


def _expect_a_free_slot(function: FunctionHandle) -> None:
    """That the one slot of the tenant is free, soon, and has a new instance in it."""

    def answer() -> dict[str, Any]:
        try:
            value: dict[str, Any] = function.invoke(deadline=20).value
        except errors.Throttled:
            return {}
        return value

    assert wait_until(answer, "the slot is free")["count"] == 1


def _instances(engine: Engine) -> set[tuple[int, int]]:
    instances = processes.family_of(engine.pid).of_role(processes.Role.INSTANCE)
    return {instance.identity for instance in instances}


def _is_updating(function: FunctionHandle) -> bool:
    return function.config().update_status is UpdateStatus.IN_PROGRESS
