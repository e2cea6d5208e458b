"""Limits hold over all workers, and every invocation is billed once."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.bills import bill_of
from tests.e2e.conftest import deploy_guest
from tests.e2e.engines import Engine
from tests.e2e.waiting import wait_until
from tests.e2e.workers.callers import (
    CONNECTIONS,
    Answer,
    Connection,
    Tenant,
    deploy_answers,
    end_of,
    metric,
    new_tenant,
    runs_of,
)


def test_concurrency_is_held_over_all_workers(engine: Engine) -> None:
    tenant = new_tenant(engine, concurrency=3)
    function = deploy_guest(tenant.client, "counter")
    with tenant.connections() as callers:
        for _ in range(3):
            # Places that are lent and not used are others' to have.
            for caller in callers:
                assert caller.invoke(function.name).status == 200
            until = time.time() + 1.5

            def hold(caller: Connection, until: float = until) -> Answer:
                return caller.invoke(function.name, {"until": until})

            with ThreadPoolExecutor(len(callers)) as pool:
                answers = list(pool.map(hold, callers))
            statuses = Counter(answer.status for answer in answers)
            assert statuses == {200: 3, 429: len(callers) - 3}


def test_a_lowered_limit_holds_for_what_is_lent(engine: Engine) -> None:
    tenant = new_tenant(engine, concurrency=6)
    function = deploy_guest(tenant.client, "counter")
    with tenant.connections() as callers:
        tenant.warm(function, callers[:6])
        engine.client().update_tenant(tenant.key.tenant_id, concurrency=1)
        until = time.time() + 1.5
        with ThreadPoolExecutor(len(callers)) as pool:
            answers = list(
                pool.map(lambda c: c.invoke(function.name, {"until": until}), callers)
            )

    assert Counter(a.status for a in answers) == {200: 1, 429: len(callers) - 1}


def test_every_invocation_is_billed_once(tenant: Tenant) -> None:
    function = deploy_guest(tenant.client, "counter")
    each = 40
    with tenant.connections() as callers:

        def load(caller: Connection) -> int:
            answers = [caller.invoke(function.name) for _ in range(each)]
            return sum(answer.status == 200 for answer in answers)

        with ThreadPoolExecutor(len(callers)) as pool:
            answered = sum(pool.map(load, callers))
        # At once: what was answered is on the bill.
        (line,) = bill_of(tenant.client).lines

    runs = runs_of(tenant, function)
    assert answered == each * CONNECTIONS
    assert line.invocations == answered == len({run.request_id for run in runs})
    assert line.billed_ms == sum(run.report.billed_ms for run in runs)


def test_a_caller_who_leaves_is_billed_and_its_instance_is_gone(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections(1) as (caller,):
        tenant.warm(function, [caller], lent=1)
        known = len(runs_of(tenant, function))
        with ThreadPoolExecutor(1) as pool:
            event = {"do": "sleep", "seconds": 15}
            held = pool.submit(caller.invoke, function.name, event)
            wait_until(lambda: metric(tenant.engine, "running") >= 1, "it runs")
            caller.hang_up()
            assert end_of(held) == "lost"
        wait_until(lambda: metric(tenant.engine, "running") == 0, "it was stopped")

    runs = runs_of(tenant, function)
    assert len(runs) == known + 1
    assert runs[0].error_type == "Sandbox.Cancelled"


def test_a_function_that_is_switched_off_runs_on_no_worker(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        tenant.warm(function, callers)
        tenant.client.put_reserved_concurrency(function.name, 0)
        off = [caller.invoke(function.name) for caller in callers]
        tenant.client.delete_reserved_concurrency(function.name)
        on = [caller.invoke(function.name) for caller in callers]

    assert {answer.status for answer in off} == {429}
    assert {answer.status for answer in on} == {200}
