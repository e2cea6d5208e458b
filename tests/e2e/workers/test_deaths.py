"""Workers, and what they run, when something ends."""

import http.client
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from sandlot import errors
from tests.e2e import processes
from tests.e2e.bills import bill_of
from tests.e2e.conftest import client_of, deploy_guest
from tests.e2e.engines import Engine, Mode
from tests.e2e.processes import Role
from tests.e2e.waiting import DEADLINE_S, wait_until
from tests.e2e.workers.callers import (
    CONNECTIONS,
    WORKERS,
    deploy_answers,
    end_of,
    instances_of,
    metric,
    new_tenant,
    runs_of,
    workers_of,
)


def test_a_killed_worker_is_replaced_and_what_it_ran_is_billed(fresh: Engine) -> None:
    tenant = new_tenant(fresh)
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        # Long enough that each has an instance of its own.
        nap = {"do": "sleep", "seconds": 0.3}
        tenant.warm(function, callers, event=nap, lent=CONNECTIONS)
        before = {process.pid for process in workers_of(fresh)}
        known = len(runs_of(tenant, function))
        sleep = {"do": "sleep", "seconds": 8}
        with ThreadPoolExecutor(len(callers)) as pool:
            held = [pool.submit(c.invoke, function.name, sleep) for c in callers]
            wait_until(
                lambda: metric(fresh, "running") >= CONNECTIONS, "all of them run"
            )
            victim, lived = min(before), instances_of(fresh)
            os.kill(victim, signal.SIGKILL)
            wait_until(
                lambda: len({p.pid for p in workers_of(fresh)} - {victim}) == WORKERS,
                "there is another worker",
            )
            ends = [end_of(future) for future in held]
    lost = ends.count("lost")

    assert 0 < lost < CONNECTIONS
    assert ends.count("200") == CONNECTIONS - lost
    runs = runs_of(tenant, function)
    assert len(runs) == known + CONNECTIONS
    cut = [run for run in runs if run.error_type == "Sandbox.Cancelled"]
    assert len(cut) == lost
    assert metric(fresh, "worker_restarts_total") == 1
    wait_until(
        lambda: len(lived - instances_of(fresh)) >= lost, "what it ran on is dead"
    )
    with tenant.connections() as callers:
        assert {caller.invoke(function.name).status for caller in callers} == {200}


def test_events_that_were_taken_run_though_workers_are_killed(fresh: Engine) -> None:
    tenant = new_tenant(fresh)
    function = deploy_guest(tenant.client, "counter")
    taken = 0
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.5):
            found = workers_of(fresh)
            if len(found) == WORKERS:
                os.kill(found[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        for _ in range(60):
            with tenant.connections(1) as (caller,):
                try:
                    answer = caller.invoke(
                        function.name, {}, x_amz_invocation_type="Event"
                    )
                except (http.client.HTTPException, OSError):
                    continue
                taken += answer.status == 202
    finally:
        stop.set()
        killer.join()

    def have_run() -> bool:
        # The last that was killed may have been the only one that served already.
        with suppress(errors.ConnectionFailed):
            return len(runs_of(tenant, function)) >= taken
        return False

    assert taken > 0
    wait_until(have_run, "all that was taken has run")


def test_workers_die_with_the_core(fresh: Engine) -> None:
    workers = workers_of(fresh)
    assert len(workers) == WORKERS
    core = processes.family_of(fresh.pid).only(Role.ENGINE)

    os.kill(core.pid, signal.SIGKILL)

    processes.wait_gone(workers)
    fresh.start("--workers", str(WORKERS))
    assert len(workers_of(fresh)) == WORKERS


def test_streams_end_when_the_engine_stops(fresh: Engine) -> None:
    tenant = new_tenant(fresh)
    function = deploy_answers(tenant)
    function.invoke()
    lines = function.logs(follow=True)
    next(lines)

    fresh.terminate()

    with pytest.raises(errors.SandlotError):
        list(lines)
    assert fresh.wait() == 0, fresh.said


def test_workers_finish_what_they_run_when_the_engine_stops(fresh: Engine) -> None:
    tenant = new_tenant(fresh)
    function = deploy_answers(tenant)
    with tenant.connections(4) as callers:
        tenant.warm(function, callers)
        sleep = {"do": "sleep", "seconds": 2}
        with ThreadPoolExecutor(len(callers)) as pool:
            held = [pool.submit(c.invoke, function.name, sleep) for c in callers]
            wait_until(lambda: metric(fresh, "running") >= 4, "all of them run")
            fresh.terminate()
            assert {future.result(DEADLINE_S).status for future in held} == {200}
    assert fresh.wait() == 0, fresh.said

    fresh.start()
    (line,) = bill_of(client_of(fresh, tenant.key)).lines
    assert line.invocations >= 8


@pytest.mark.parametrize("mode", [Mode.ROOTLESS], indirect=True)
def test_what_a_stop_cuts_short_is_told_so_by_workers(fresh: Engine) -> None:
    tenant = new_tenant(fresh)
    function = deploy_answers(tenant, timeout=100)
    sleep = {"do": "be seen", "seconds": 90}

    def are_at_work() -> bool:
        # Not `running`, which counts who waits for an instance: that is cut short as
        # well, and has no record.
        return len(processes.family_of(fresh.pid).of_role(Role.TENANTS)) >= 4

    with tenant.connections(2) as callers, ThreadPoolExecutor(4) as pool:
        function.invoke()
        by_grpc = [pool.submit(function.invoke, sleep) for _ in range(2)]
        by_http = [pool.submit(each.invoke, function.name, sleep) for each in callers]
        wait_until(are_at_work, "all of them run")

        fresh.terminate()
        wait_until(lambda: "draining" in fresh.said, "it drains")
        # Whoever says it twice does not want to wait.
        fresh.terminate()

        for one in by_http:
            answer = one.result(DEADLINE_S)
            assert (answer.status, answer.error) == (500, "ServiceException")
            assert "if it ran, it was stopped" in answer.value["Message"]
        for each in by_grpc:
            with pytest.raises(
                errors.ConnectionFailed, match="if it ran, it was stopped"
            ):
                each.result(2 * DEADLINE_S)
    assert fresh.wait() == 0, fresh.said
    fresh.start()
    runs = [str(run.status) for run in client_of(fresh, tenant.key).runs(function.name)]
    assert sorted(runs) == ["cancelled"] * 4 + ["ok"]
