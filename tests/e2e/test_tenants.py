"""Tenants: their keys, their limits, and that none reaches what is another's."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex, token_urlsafe

import pytest

from sandlot import Client, FunctionHandle, errors
from tests.e2e.bills import bill_of
from tests.e2e.conftest import Tenant, client_of, deploy_guest, guest_zip
from tests.e2e.engines import Engine
from tests.e2e.waiting import wait_until

_HOLDING_S = 2.0

Reach = Callable[[Client, FunctionHandle], object]

REACHES: dict[str, Reach] = {
    "get": lambda other, f: other.get_function(f.name),
    "invoke": lambda other, f: other.invoke(f.name),
    "enqueue": lambda other, f: other.enqueue(f.name),
    "dry run": lambda other, f: other.dry_run(f.name),
    "configure": lambda other, f: other.update_function(f.name, memory=256),
    "delete": lambda other, f: other.delete_function(f.name),
    "logs": lambda other, f: list(other.logs(f.name)),
}


def test_nobody_reaches_the_function_of_another(tenant: Tenant) -> None:
    owner, other = tenant("owner"), tenant("other")
    function = deploy_guest(owner, "counter")
    before = function.config()

    for how, reach in REACHES.items():
        with pytest.raises(errors.NotFound):
            pytest.fail(f"{how}: {reach(other, function)!r}")

    assert function.config() == before
    assert function.invoke().value["count"] == 1
    function.delete()


def test_nobody_sees_functions_runs_and_bills_of_another(tenant: Tenant) -> None:
    owner, other = tenant("owner"), tenant("other")
    function = deploy_guest(owner, "counter")
    function.invoke()
    wait_until(lambda: list(function.runs()), "the run is on record")

    assert list(other.functions()) == []
    assert list(other.runs()) == []
    assert list(other.runs(function.name)) == []
    assert bill_of(other).lines == ()
    assert bill_of(owner).total.invocations == 1
    function.delete()


def test_two_tenants_may_have_functions_of_one_name(tenant: Tenant) -> None:
    clients = [tenant("left"), tenant("right")]
    for client in clients:
        _deploy_as(client, "same-name")

    counts = [
        client.invoke("same-name").value["count"] for client in (*clients, *clients)
    ]

    assert counts == [1, 1, 2, 2]
    for client in clients:
        client.delete_function("same-name")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.create_tenant("mine"),
        lambda client: list(client.list_tenants()),
        lambda client: client.update_tenant("000000000001", concurrency=5),
        lambda client: client.delete_tenant("000000000001"),
    ],
    ids=["create", "list", "update", "delete"],
)
def test_only_an_operator_manages_tenants(
    tenant: Tenant, call: Callable[[Client], object]
) -> None:
    with pytest.raises((errors.PermissionDenied, errors.NotFound)):
        call(tenant())


def test_only_an_operator_speaks_for_another(engine: Engine, operator: Client) -> None:
    mine, other = (operator.create_tenant(name) for name in ("mine", "other"))
    client = engine.client(
        access_key_id=mine.access_key_id,
        secret_access_key=mine.secret_access_key,
        tenant=other.tenant_id,
    )

    with pytest.raises(errors.PermissionDenied):
        list(client.functions())

    assert list(engine.client(tenant=other.tenant_id).functions()) == []


def test_another_tenants_bill_and_keys_do_not_exist(
    operator: Client, tenant: Tenant
) -> None:
    other = operator.create_tenant("other")
    client = tenant("curious")

    with pytest.raises(errors.NotFound):
        client.bill(tenant_id=other.tenant_id)
    with pytest.raises(errors.NotFound):
        list(client.list_keys(other.tenant_id))
    with pytest.raises(errors.NotFound):
        client.create_key(other.tenant_id)


@pytest.mark.parametrize("wrong", ["secret", "key"])
def test_a_wrong_key_is_refused(engine: Engine, operator: Client, wrong: str) -> None:
    key = operator.create_tenant("careless")
    is_key = wrong == "key"
    client = engine.client(
        access_key_id="A" * 20 if is_key else key.access_key_id,
        secret_access_key=key.secret_access_key if is_key else "x" * 40,
    )

    with pytest.raises(errors.Unauthenticated):
        list(client.functions())


def test_a_revoked_key_is_refused(engine: Engine, operator: Client) -> None:
    key = operator.create_tenant("former")
    client = client_of(engine, key)
    assert list(client.functions()) == []

    operator.revoke_key(key.access_key_id)

    with pytest.raises(errors.Unauthenticated):
        list(client.functions())


def test_a_tenant_can_have_the_id_that_was_chosen(
    engine: Engine, operator: Client
) -> None:
    key = operator.create_tenant("chosen", id="123456789012")

    assert key.tenant_id == "123456789012"
    function = deploy_guest(client_of(engine, key), "about")
    arn = function.invoke().value["context"]["invoked_function_arn"]
    assert arn == f"arn:aws:lambda:us-east-1:123456789012:function:{function.name}"
    with pytest.raises(errors.AlreadyExists):
        operator.create_tenant("again", id="123456789012")


def test_an_imported_key_works_as_it_is(engine: Engine, operator: Client) -> None:
    tenant_id = operator.create_tenant("scripted").tenant_id
    key, secret = f"AKIA{token_hex(8).upper()}", token_urlsafe(30)

    operator.import_key(key, secret, tenant_id=tenant_id)

    client = engine.client(access_key_id=key, secret_access_key=secret)
    function = deploy_guest(client, "counter")
    assert f":{tenant_id}:" in function.config().arn
    assert function.invoke().value["count"] == 1


def test_a_tenant_over_its_concurrency_is_throttled_alone(tenant: Tenant) -> None:
    limited, other = tenant("limited", concurrency=1), tenant("other")
    function = deploy_guest(limited, "counter")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(function.invoke, {"until": time.time() + _HOLDING_S})
        refused = None
        while refused is None and not running.done():
            try:
                function.invoke()
            except errors.Throttled as error:
                refused = error
        assert deploy_guest(other, "counter").invoke().value["count"] == 1
        while not running.done():
            running.exception(30)

    assert refused is not None
    assert refused.reason == "ConcurrentInvocationLimitExceeded"
    assert refused.limit == 1
    assert refused.retry_after is not None
    assert "1 invocations running of 1 allowed" in refused.message
    assert function.invoke().value["count"] >= 1
    function.delete()


def _deploy_as(client: Client, name: str) -> None:
    """Deploy the counter under that very name."""
    client.deploy(guest_zip("counter"), name=name, handler="counter.handler")
