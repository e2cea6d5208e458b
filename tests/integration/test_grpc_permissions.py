"""`PermissionService` over a real gRPC server and channel."""

from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import grpc.aio
import pytest

from sandlot.v1 import permissions_pb2 as wire
from sandlot.v1 import permissions_pb2_grpc
from sandlot.v1 import urls_pb2 as urls
from tests.fakes.backend import ACME, FakeEngine, as_tenant, fake_engine

KEY = as_tenant("acme")
OTHER = "210987654321"


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with fake_engine() as engine:
        yield engine


def service(engine: FakeEngine) -> Any:
    return cast("Any", permissions_pb2_grpc).PermissionServiceStub(engine.channel)


async def add(engine: FakeEngine, **fields: Any) -> Any:
    given = {"function": "echo", "id": "one", "principal": OTHER} | fields
    request = wire.AddPermissionRequest(**given)
    done = await service(engine).AddPermission(request, metadata=KEY, timeout=20)
    return done.permission


async def listed(engine: FakeEngine) -> list[Any]:
    request = wire.ListPermissionsRequest(function="echo")
    done = await service(engine).ListPermissions(request, metadata=KEY, timeout=20)
    return list(done.permissions)


async def remove(engine: FakeEngine, **fields: Any) -> None:
    request = wire.RemovePermissionRequest(
        **({"function": "echo", "id": "one"} | fields)
    )
    await service(engine).RemovePermission(request, metadata=KEY, timeout=20)


async def test_another_tenant_may_until_it_is_taken_back(engine: FakeEngine) -> None:
    made = await add(engine)
    could = engine.policies.may_invoke(ACME, "echo", "", OTHER)
    shown = await listed(engine)
    await remove(engine)

    assert could
    assert shown == [made]
    assert (list(made.actions), list(made.principals)) == (
        ["lambda:InvokeFunction"],
        [f"arn:aws:iam::{OTHER}:root"],
    )
    assert not engine.policies.may_invoke(ACME, "echo", "", OTHER)
    assert await listed(engine) == []


async def test_two_let_another_tenant_call_the_url(engine: FakeEngine) -> None:
    await add(engine, action="lambda:InvokeFunctionUrl", url_auth=urls.URL_AUTH_IAM)
    before = engine.policies.may_call_url(ACME, "echo", "", OTHER, auth_type="AWS_IAM")
    await add(engine, id="two", via_url=True)

    assert not before
    assert engine.policies.may_call_url(ACME, "echo", "", OTHER, auth_type="AWS_IAM")
    assert not engine.policies.may_invoke(ACME, "echo", "", OTHER)


async def test_a_policy_that_was_put_as_a_whole_is_shown(engine: FakeEngine) -> None:
    arn = f"arn:aws:lambda:us-east-1:{ACME}:function:echo"
    await engine.policies.put(
        ACME,
        "echo",
        document=(
            '{"Statement":{"Effect":"Deny","Principal":{"AWS":"*"},'
            f'"Action":"lambda:*","Resource":"{arn}"}}}}'
        ),
    )

    (shown,) = await listed(engine)

    assert shown.is_denial
    assert (shown.id, list(shown.principals)) == ("", ["*"])


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"function": "none"}, grpc.StatusCode.NOT_FOUND),
        ({"function": "theirs"}, grpc.StatusCode.NOT_FOUND),
        ({"qualifier": "$LATEST"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"id": "a b"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"principal": "somebody"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"url_auth": 9}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"url_auth": urls.URL_AUTH_IAM}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_what_cannot_be_is_refused(
    engine: FakeEngine, fields: dict[str, Any], code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await add(engine, **fields)

    assert caught.value.code() is code
    assert await listed(engine) == []


async def test_what_is_not_there_or_twice_is_refused(engine: FakeEngine) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as gone:
        await remove(engine)
    await add(engine)
    with pytest.raises(grpc.aio.AioRpcError) as twice:
        await add(engine)

    assert gone.value.code() is grpc.StatusCode.NOT_FOUND
    assert twice.value.code() is grpc.StatusCode.ALREADY_EXISTS
