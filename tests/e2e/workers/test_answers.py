"""Workers answer what the core answers, and what changes there at once."""

from typing import Any

import pytest

from sandlot import FunctionHandle
from sandlot_engine.events.lineage import continued
from tests.e2e.waiting import wait_until
from tests.e2e.workers.callers import (
    Connection,
    Tenant,
    deploy_answers,
    metric,
    runs_of,
)
from tests.fakes.zips import zip_of


def test_workers_answer_what_the_core_answers(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        first = callers[0].invoke(function.name, {"n": 1})
        tenant.warm(function, callers)
        # One worker may have been lent all of them: then the other asks for its own.
        for caller in callers:
            caller.invoke(function.name)
        before = metric(tenant.engine, "cold_starts_total")
        warm = [caller.invoke(function.name, {"n": 1}) for caller in callers]
        after = metric(tenant.engine, "cold_starts_total")

    assert {answer.status for answer in warm} == {200}
    assert {answer.headers["x-amz-executed-version"] for answer in warm} == {"$LATEST"}
    assert {answer.value["event"]["n"] for answer in warm} == {
        first.value["event"]["n"]
    }
    assert {frozenset(answer.headers) for answer in warm} == {frozenset(first.headers)}
    assert after == before


def test_a_loop_is_found_by_who_knows_whether_it_is_allowed(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    once = continued("", tenant.key.tenant_id, function.name)
    trace = once.replace(":1", ":16")
    with tenant.connections() as callers:
        tenant.warm(function, callers)
        answers = [
            caller.invoke(function.name, X_Amzn_Trace_Id=f"Lineage={lineage}")
            for caller in callers
            for lineage in (once, trace)
        ]

    assert {answer.status for answer in answers[::2]} == {200}
    assert {answer.error for answer in answers[1::2]} == {
        "RecursiveInvocationException"
    }


def test_grpc_is_served_by_workers_as_well(tenant: Tenant) -> None:
    function = deploy_answers(tenant)

    for n in range(20):
        reply = function.invoke({"n": n})
        assert reply.value["event"] == {"n": n}

    assert metric(tenant.engine, "instances_lent") >= 1
    assert len(runs_of(tenant, function)) == 20


@pytest.mark.parametrize(
    ("event", "status", "kind"),
    [
        ({"do": "raise"}, "error", "ValueError"),
        ({"do": "exit"}, "crashed", "Runtime.ExitError"),
        ({"do": "sleep", "seconds": 5}, "timeout", "Sandbox.Timedout"),
        ({"do": "eat"}, "crashed", "Runtime.OutOfMemory"),
    ],
    ids=["raises", "exits", "times out", "eats"],
)
def test_what_fails_on_a_lent_instance_is_told_as_it_is(
    tenant: Tenant, event: dict[str, Any], status: str, kind: str
) -> None:
    function = deploy_answers(tenant, timeout=1 if status == "timeout" else 30)
    with tenant.connections(1) as (caller,):
        tenant_warm(tenant, function, caller)
        failed = caller.invoke(function.name, event)
        again = caller.invoke(function.name)

    assert failed.status == 200
    assert failed.headers["x-amz-function-error"] == "Unhandled"
    assert again.status == 200
    run = next(run for run in runs_of(tenant, function) if str(run.status) != "ok")
    if kind != "Runtime.OutOfMemory" or run.error_type == kind:
        assert (str(run.status), run.error_type) == (status, kind)
    else:
        assert run.error_type in ("MemoryError", "Runtime.ExitError")


RESETS = """
import os

count = 0

def handler(event, context):
    global count
    count += 1
    with open("/tmp/lines", "a") as file:
        file.write("x")
    if event.get("do") == "exit":
        os._exit(3)
    while event.get("do") == "hang":
        pass
    return {"count": count, "lines": os.path.getsize("/tmp/lines")}
"""


@pytest.mark.parametrize("do", ["exit", "hang"])
def test_after_a_reset_of_a_lent_instance_its_tmp_is_there(
    tenant: Tenant, do: str
) -> None:
    code = zip_of({"app.py": RESETS})
    function = tenant.client.deploy(
        code, name="resets", handler="app.handler", timeout=1 if do == "hang" else 30
    )
    nothing = "nothing is lent of other tests' functions"
    wait_until(lambda: metric(tenant.engine, "instances_lent") == 0, nothing)
    with tenant.connections(1) as (caller,):
        tenant_warm(tenant, function, caller)
        # One caller after the other has one instance, and that is lent now.
        before = caller.invoke(function.name).value
        assert metric(tenant.engine, "instances_lent") >= 1
        failed = caller.invoke(function.name, {"do": do})
        after = caller.invoke(function.name).value

    assert failed.headers["x-amz-function-error"] == "Unhandled"
    assert before["count"] == before["lines"] > 1
    assert after == {"count": 1, "lines": before["lines"] + 2}


def tenant_warm(tenant: Tenant, function: FunctionHandle, caller: Connection) -> None:
    def is_warm() -> bool:
        caller.invoke(function.name)
        return metric(tenant.engine, "instances_lent") >= 1

    wait_until(is_warm, "an instance is lent")


def test_logs_of_lent_instances_are_whole(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections(4) as callers:
        tenant.warm(function, [*callers])
        for number, caller in enumerate(callers):
            answer = caller.invoke(
                function.name,
                {"do": "print", "word": f"word-{number}"},
                x_amz_log_type="Tail",
            )
            assert "x-amz-log-result" in answer.headers

    def heard() -> int:
        text = "\n".join(line.text for line in function.logs())
        return text.count("heard word-")

    wait_until(lambda: heard() == 4, "all is in the log")


def test_what_a_worker_does_not_have_is_answered_by_the_core(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        listed = [caller.send("GET", "/2015-03-31/functions/") for caller in callers]
        missing = [caller.invoke("nowhere") for caller in callers]
        dry = callers[0].invoke(function.name, x_amz_invocation_type="DryRun")
        large = callers[0].invoke(function.name, {"a": "x" * 3_000_000})
        too_large = callers[0].invoke(function.name, {"a": "x" * 7_000_000})

    names = {
        tuple(f["FunctionName"] for f in each.value["Functions"]) for each in listed
    }
    assert names == {(function.name,)}
    assert {answer.error for answer in missing} == {"ResourceNotFoundException"}
    assert dry.status == 204
    assert large.status == 200
    assert len(large.value["event"]["a"]) == 3_000_000
    assert too_large.status == 413


def test_new_code_answers_as_soon_as_it_is_said_to(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        for version in range(2, 6):
            tenant.warm(function, callers)
            deploy_answers(tenant, version)
            seen = {caller.invoke(function.name).value["version"] for caller in callers}
            assert seen == {version}


def test_a_deleted_function_is_gone_at_once(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        tenant.warm(function, callers)
        function.delete()
        errors_ = {caller.invoke(function.name).error for caller in callers}

    assert errors_ == {"ResourceNotFoundException"}


def test_a_revoked_key_is_of_no_use_when_the_call_returns(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    key = tenant.client.create_key()
    other = Tenant(tenant.engine, key, tenant.client)
    with other.connections() as callers:
        other.warm(function, callers)
        tenant.client.revoke_key(key.access_key_id)
        answers = [caller.invoke(function.name) for caller in callers]

    assert {answer.error for answer in answers} == {"UnrecognizedClientException"}
