"""What an alias leads to is known to all workers at once."""

from sandlot import Client, FunctionHandle
from tests.e2e.conftest import client_of
from tests.e2e.waiting import wait_until
from tests.e2e.workers.callers import (
    CONNECTIONS,
    WORKERS,
    Tenant,
    deploy_answers,
    metric,
)


def test_an_alias_that_has_moved_leads_there_from_every_worker(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    function.publish()
    deploy_answers(tenant, version=2)
    callers = [client_of(tenant.engine, tenant.key) for _ in range(CONNECTIONS)]
    function.publish()

    function.put_alias("live", 1)
    wait_until(
        lambda: (
            answers(callers, function) == {1}
            and metric(tenant.engine, "instances_lent") >= WORKERS
        ),
        "workers run it themselves",
    )
    function.put_alias("live", 2)
    moved = answers(callers, function)
    function.put_alias("live", 1)
    back = answers(callers, function)

    assert (moved, back) == ({2}, {1})


def answers(callers: list[Client], function: FunctionHandle) -> set[int]:
    """The versions that answer, each caller over a connection of its own."""
    return {
        caller.invoke(function.name, qualifier="live").value["version"]
        for caller in callers
    }
