"""Reserved and provisioned concurrency, by our own face."""

import json
from collections.abc import Callable, Iterator

import pytest

from sandlot import AsyncClient, Client, FunctionHandle, NewKey, errors
from sandlot.results import ProvisionStatus
from tests.e2e.conftest import Deploy, Tenant
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.waiting import wait_until
from tests.e2e.workers.callers import WORKERS
from tests.fakes.zips import zip_of

COUNT = 3
GOOD = {"app.py": "def handler(event, context): return 1"}
BROKEN = {"app.py": "raise RuntimeError('no')\ndef handler(*_): ..."}


def test_a_function_is_switched_off_and_on_again(tenant: Tenant) -> None:
    client = tenant(concurrency=200)
    function = client.deploy(zip_of(GOOD), name="off", handler="app.handler")

    off = client.put_reserved_concurrency("off", 0)
    with pytest.raises(errors.Throttled):
        function.invoke()
    on = client.put_reserved_concurrency("off", 100)

    assert function.invoke().value == 1
    assert (off.limit, off.unreserved, off.reserved) == (200, 200, {"off": 0})
    assert (on.unreserved, on.reserved) == (100, {"off": 100})
    with pytest.raises(errors.InvalidParameter, match="100"):
        client.put_reserved_concurrency("off", 101)
    assert client.delete_reserved_concurrency("off").unreserved == 200
    function.delete()


@pytest.fixture
def published(client: Client, deploy: Deploy) -> FunctionHandle:
    """With version 1, and the alias `live` of it."""
    function = deploy(GOOD)
    function.publish()
    function.put_alias("live", 1)
    return function


@pytest.fixture
def key(client: Client) -> NewKey:
    return client.create_key()


async def test_what_is_provisioned_is_ready_when_the_call_returns_and_then_warm(
    engine: Engine, published: FunctionHandle, key: NewKey
) -> None:
    name = published.name
    async with AsyncClient(
        engine.ready["grpc"],
        access_key_id=key.access_key_id,
        secret_access_key=key.secret_access_key,
    ) as aclient:
        ready = await aclient.put_provisioned_concurrency(name, "live", COUNT)
        reply = await aclient.invoke(name, qualifier="live")
        await aclient.delete_provisioned_concurrency(name, "live")
        left = [one async for one in aclient.list_provisioned_concurrency(name)]

    assert (ready.status, ready.allocated) == (ProvisionStatus.READY, COUNT)
    assert reply.report is not None
    assert not reply.report.cold
    assert left == []


def test_what_does_not_start_has_failed_and_says_so(
    client: Client, deploy: Deploy
) -> None:
    function = deploy(BROKEN)
    function.publish()

    failed = client.put_provisioned_concurrency(function.name, 1, COUNT)

    assert (failed.status, failed.available) == (ProvisionStatus.FAILED, 0)
    assert f"0 of {COUNT}" in failed.reason


def test_an_alias_takes_what_is_provisioned_along(
    client: Client, published: FunctionHandle
) -> None:
    function = published
    client.put_provisioned_concurrency(function.name, "live", COUNT)
    client.deploy(zip_of({"app.py": "def handler(*_): return 2"}), name=function.name)
    function.publish()

    function.put_alias("live", 2)

    def is_ready() -> bool:
        found = client.get_provisioned_concurrency(function.name, "live")
        return found.status == "READY" and found.available == COUNT

    wait_until(is_ready, "the other version has them")
    reply = function.invoke(qualifier="live")
    assert reply.value == 2
    assert reply.report is not None
    assert not reply.report.cold


@pytest.fixture(params=[0, WORKERS], ids=["alone", "with workers"])
def command(request: pytest.FixtureRequest, mode: Mode) -> Iterator[Callable[..., str]]:
    """`sandlot …` as the operator of an engine: what it said, where it went well."""
    with new_engine(mode) as engine:
        engine.start("--workers", str(request.param))
        handle = engine.client().deploy(
            zip_of(GOOD), name="hello", handler="app.handler"
        )
        handle.publish()

        def run(*words: str) -> str:
            status, said = engine.run(*words)
            assert status == 0, said
            return said

        yield run


def test_the_command_line_shares_it_out(command: Callable[..., str]) -> None:
    command("alias", "set", "hello", "live", "1")

    command("concurrency", "reserve", "hello", "20")
    provisioned = command("concurrency", "provision", "hello:live", str(COUNT))
    shown = json.loads(command("concurrency", "show", "hello", "--json"))
    invoked = command("invoke", "hello:live")
    command("concurrency", "unprovision", "hello:live")
    command("concurrency", "unreserve", "hello")
    after = json.loads(command("concurrency", "show", "hello", "--json"))

    assert "READY" in provisioned
    assert shown["reserved"] == 20
    assert [
        (one["qualifier"], one["available"], one["status"])
        for one in shown["provisioned"]
    ] == [("live", COUNT, "READY")]
    assert "  warm  " in invoked
    assert (after["reserved"], after["provisioned"]) == (None, [])
