"""A tenant that is suspended: nothing of it runs, and all is as it was when it is
resumed. With workers, which have its keys and instances at hand."""

from collections.abc import Iterator

import pytest

from sandlot import errors
from tests.e2e.bills import bill_of
from tests.e2e.conftest import client_of, deploy_guest
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.waiting import wait_until


@pytest.fixture(params=[0, 2], ids=["alone", "with workers"])
def engine(mode: Mode, request: pytest.FixtureRequest) -> Iterator[Engine]:
    with new_engine(mode) as engine:
        engine.start("--workers", str(request.param))
        yield engine


def test_nothing_runs_until_it_is_resumed(engine: Engine) -> None:
    operator = engine.client()
    key = operator.create_tenant("acme")
    client = client_of(engine, key)
    function = deploy_guest(client, "counter")
    for _ in range(4):
        function.invoke()

    operator.update_tenant(key.tenant_id, suspended=True)
    with pytest.raises(errors.PermissionDenied, match="suspended: ask the operator"):
        function.invoke()
    with pytest.raises(errors.PermissionDenied, match="suspended: ask the operator"):
        client.get_function(function.name)
    theirs = engine.client(tenant=key.tenant_id)
    for refused in (theirs.invoke, theirs.enqueue):
        with pytest.raises(errors.Conflict, match="suspended by the operator"):
            refused(function.name)
    assert theirs.get_function(function.name).name == function.name
    assert bill_of(theirs).total.invocations == 4

    operator.update_tenant(key.tenant_id, suspended=False)
    assert function.invoke().value["count"] > 4
    wait_until(lambda: bill_of(theirs).total.invocations == 5, "it is billed")
