"""Who may call what. Goes through the service descriptors, so that a method that is
added later is refused to strangers from its first day, or these tests fail."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor

from sandlot import AsyncClient, errors
from sandlot.v1 import (
    concurrency_pb2,
    events_pb2,
    functions_pb2,
    invocations_pb2,
    layers_pb2,
    permissions_pb2,
    tenants_pb2,
    versions_pb2,
)
from tests.fakes.backend import (
    ACME,
    GLOBEX,
    OPERATOR,
    FakeEngine,
    as_tenant,
    fake_engine,
)
from tests.fakes.functions import make_function

METHODS = [
    pytest.param(method, id=method.name)
    for file in (
        *(concurrency_pb2, events_pb2, functions_pb2, invocations_pb2),
        *(layers_pb2, permissions_pb2, tenants_pb2, versions_pb2),
    )
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]

BAD_METADATA = {
    "no key": (),
    "no secret": (("authorization", "Bearer key-of-acme"),),
    "a wrong secret": (("authorization", "Bearer key-of-acme:nonsense"),),
    "an unknown key": (("authorization", "Bearer nobody:nobody-secret"),),
    "another scheme": (("authorization", "Basic key-of-acme:key-of-acme-secret"),),
}

FOR_OPERATORS = {"CreateTenant", "UpdateTenant", "ListTenants", "DeleteTenant"}


HAVE_TESTS_OF_THEIR_OWN = {
    "CreateFunction",
    "DeleteLayerVersion",
    "GetEvent",
    "ImportKey",
    "InvokeMany",
    "ListEvents",
    "ListInvocations",
    "PublishLayer",
    "PurgeEvents",
    "RedriveEvents",
}


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with fake_engine() as engine:
        yield engine


async def call(
    engine: FakeEngine,
    method: MethodDescriptor,
    *,
    metadata: Any,
    fields: dict[str, Any] | None = None,
) -> grpc.StatusCode:
    """Call a method of any kind with one request, and return how it ended. None is sent
    where there may be many: grpc.aio tells of a call that ended while it wrote as its
    own failure."""
    kind = {
        (False, False): engine.channel.unary_unary,
        (False, True): engine.channel.unary_stream,
        (True, False): engine.channel.stream_unary,
        (True, True): engine.channel.stream_stream,
    }[method.client_streaming, method.server_streaming]
    service = method.containing_service.full_name
    request_class: Any = message_factory.GetMessageClass(method.input_type)
    response_class: Any = message_factory.GetMessageClass(method.output_type)
    stub: Any = kind(
        f"/{service}/{method.name}",
        request_serializer=request_class.SerializeToString,
        response_deserializer=response_class.FromString,
    )
    request = request_class(**(fields or {}))
    sent = () if method.client_streaming else (request,)
    ended = stub(*sent, metadata=metadata, timeout=20)
    if method.server_streaming:
        with suppress(grpc.aio.AioRpcError):
            async for _ in ended:
                pass
    code: grpc.StatusCode = await ended.code()
    return code


@pytest.mark.parametrize("metadata", BAD_METADATA.values(), ids=BAD_METADATA.keys())
@pytest.mark.parametrize("method", METHODS)
async def test_nobody_without_a_good_key_gets_in(
    engine: FakeEngine, method: MethodDescriptor, metadata: Any
) -> None:
    code = await call(engine, method, metadata=metadata)

    assert code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("method", METHODS)
async def test_a_tenant_cannot_speak_for_another(
    engine: FakeEngine, method: MethodDescriptor
) -> None:
    metadata = (*as_tenant("acme"), ("sandlot-tenant", GLOBEX))

    code = await call(engine, method, metadata=metadata)

    assert code is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("method", METHODS)
async def test_an_operator_cannot_speak_for_a_tenant_that_is_not_there(
    engine: FakeEngine, method: MethodDescriptor
) -> None:
    metadata = (*as_tenant("operator"), ("sandlot-tenant", "999999999999"))

    code = await call(engine, method, metadata=metadata)

    assert code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "method",
    [param for param in METHODS if param.id not in HAVE_TESTS_OF_THEIR_OWN],
)
async def test_what_is_another_tenants_looks_as_if_it_were_not_there(
    engine: FakeEngine, method: MethodDescriptor
) -> None:
    """Every way in which a request can name a thing, with Globex's and with no
    one's names: Acme gets the same answer, and no good one."""
    foreign, missing = (_named(method.input_type, which) for which in (0, 1))
    for_foreign = await call(engine, method, metadata=as_tenant("acme"), fields=foreign)
    for_missing = await call(engine, method, metadata=as_tenant("acme"), fields=missing)

    assert for_foreign is for_missing
    if method.name in FOR_OPERATORS:
        assert for_foreign is grpc.StatusCode.PERMISSION_DENIED
    elif foreign:
        assert for_foreign is grpc.StatusCode.NOT_FOUND
    else:
        assert for_foreign is grpc.StatusCode.OK


_NAMES = {
    "name": ("theirs", "nothing"),
    "function": ("theirs", "nothing"),
    "tenant_id": (GLOBEX, "999999999999"),
    "id": (GLOBEX, "999999999999"),
    "access_key_id": ("key-of-globex", "key-of-nobody"),
}
"""Globex's, and no one's."""


def _named(message: Descriptor | None, which: int) -> dict[str, Any]:
    """Fields that name something; and those of a request within the request."""
    found: dict[str, Any] = {}
    assert message is not None
    for field in message.fields:
        if field.name in _NAMES:
            found[field.name] = _NAMES[field.name][which]
        elif field.name == "request":
            found["request"] = _named(field.message_type, which)
    return found


async def test_two_tenants_may_use_the_same_name(engine: FakeEngine) -> None:
    request = functions_pb2.CreateFunctionRequest(name="theirs", zip=b"zip")

    await engine.function_service.CreateFunction(request, metadata=as_tenant("acme"))

    assert {owner for owner, name in engine.functions.all if name == "theirs"} == {
        ACME,
        GLOBEX,
    }


async def test_a_stream_does_not_reach_another_tenants_function(
    engine: FakeEngine,
) -> None:
    stream = engine.invocation_service.InvokeMany(metadata=as_tenant("acme"))
    for number, function in enumerate(("theirs", "nothing")):
        await stream.write(
            invocations_pb2.InvokeManyRequest(
                id=number, request=invocations_pb2.InvokeRequest(function=function)
            )
        )

    answers = [await stream.read(), await stream.read()]

    assert {answer.refused.reason for answer in answers} == {"NotFound"}


async def test_a_list_shows_the_callers_own(engine: FakeEngine) -> None:
    await engine.invocation_service.Invoke(
        invocations_pb2.InvokeRequest(function="theirs"), metadata=as_tenant("globex")
    )

    functions = await engine.function_service.ListFunctions(
        functions_pb2.ListFunctionsRequest(), metadata=as_tenant("acme")
    )
    theirs = await engine.invocation_service.ListInvocations(
        invocations_pb2.ListInvocationsRequest(function="theirs"),
        metadata=as_tenant("acme"),
    )

    assert [function.name for function in functions.functions] == ["echo", "slow"]
    assert not theirs.invocations


async def test_a_tenant_cannot_give_another_a_key(engine: FakeEngine) -> None:
    request = tenants_pb2.ImportKeyRequest(
        tenant_id=GLOBEX, access_key_id="A" * 16, secret_access_key="B" * 16
    )

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await engine.tenant_service.ImportKey(request, metadata=as_tenant("acme"))

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "A" * 16 not in engine.tenants.keys


async def test_a_tenant_manages_its_own_keys(engine: FakeEngine) -> None:
    service, mine = engine.tenant_service, as_tenant("acme")

    made = await service.CreateKey(tenants_pb2.CreateKeyRequest(), metadata=mine)
    await service.RevokeKey(
        tenants_pb2.RevokeKeyRequest(access_key_id="key-of-acme"), metadata=mine
    )
    metadata = (
        ("authorization", f"Bearer {made.key.access_key_id}:{made.secret_access_key}"),
    )
    left = await service.ListKeys(tenants_pb2.ListKeysRequest(), metadata=metadata)

    assert [key.access_key_id for key in left.keys] == [made.key.access_key_id]
    assert made.key.tenant_id == ACME


async def test_an_operator_speaks_for_a_tenant(engine: FakeEngine) -> None:
    metadata = (*as_tenant("operator"), ("sandlot-tenant", GLOBEX))

    functions = await engine.function_service.ListFunctions(
        functions_pb2.ListFunctionsRequest(), metadata=metadata
    )

    assert [function.name for function in functions.functions] == ["theirs"]


async def test_an_operator_makes_and_changes_tenants(engine: FakeEngine) -> None:
    service, key = engine.tenant_service, as_tenant("operator")

    made = await service.CreateTenant(
        tenants_pb2.CreateTenantRequest(name="initech"), metadata=key
    )
    changed = await service.UpdateTenant(
        tenants_pb2.UpdateTenantRequest(id=made.tenant.id, concurrency=0), metadata=key
    )
    listed = await service.ListTenants(tenants_pb2.ListTenantsRequest(), metadata=key)

    assert made.secret_access_key == "key-of-initech-secret"
    assert (changed.tenant.name, changed.tenant.concurrency) == ("initech", 0)
    assert {tenant.id for tenant in listed.tenants} >= {OPERATOR, ACME, GLOBEX}


async def test_a_bill_is_the_callers_own_and_any_for_the_operator(
    engine: FakeEngine,
) -> None:
    invoke = engine.invocation_service.Invoke
    for name, function in (("acme", "echo"), ("acme", "slow"), ("globex", "theirs")):
        await invoke(
            invocations_pb2.InvokeRequest(function=function), metadata=as_tenant(name)
        )
    engine.clock.advance(1)

    get_bill = engine.billing_service.GetBill
    mine = await get_bill(tenants_pb2.GetBillRequest(), metadata=as_tenant("acme"))
    theirs = await get_bill(
        tenants_pb2.GetBillRequest(tenant_id=GLOBEX), metadata=as_tenant("operator")
    )

    assert [line.function for line in mine.lines] == ["echo", "slow"]
    assert (mine.total.invocations, mine.total.billed_mb_ms) == (2, 2 * 3 * 128)
    assert [line.function for line in theirs.lines] == ["theirs"]


async def test_tenants_do_not_see_how_busy_the_engine_is(engine: FakeEngine) -> None:
    get_status = engine.engine_service.GetStatus
    request = tenants_pb2.GetStatusRequest()

    for_tenant = await get_status(request, metadata=as_tenant("acme"))
    for_operator = await get_status(request, metadata=as_tenant("operator"))

    assert (for_tenant.instances, len(for_tenant.layers)) == (0, 0)
    assert for_tenant.runtimes[0].name == "python3.11"
    assert (for_operator.instances, for_operator.layers[0].name) == (7, "seccomp")


async def test_tenants_see_runtimes_and_not_where_they_are(engine: FakeEngine) -> None:
    list_runtimes = engine.engine_service.ListRuntimes
    request = tenants_pb2.ListRuntimesRequest()

    for_tenant = await list_runtimes(request, metadata=as_tenant("acme"))
    for_operator = await list_runtimes(request, metadata=as_tenant("operator"))

    assert [one.name for one in for_tenant.runtimes] == ["python3.11"]
    assert (for_tenant.runtimes[0].path, for_tenant.runtimes[0].functions) == ("", 0)
    usable, broken = for_operator.runtimes
    assert (usable.path, usable.functions) == ("/usr/bin/python3.11", 3)
    assert (broken.is_registered, broken.problem) == (True, "it is not there")


async def test_one_tenants_limit_is_not_anothers(engine: FakeEngine) -> None:
    engine.functions.add(make_function(GLOBEX, "slow"))
    engine.runner.hold("slow")
    request = invocations_pb2.InvokeRequest(function="slow")
    calls = [
        engine.invocation_service.Invoke(request, metadata=as_tenant("acme"))
        for _ in range(2)
    ]
    for _ in calls:
        await engine.runner.started.get()

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await engine.invocation_service.Invoke(request, metadata=as_tenant("acme"))
    calls.append(
        engine.invocation_service.Invoke(request, metadata=as_tenant("globex"))
    )
    started = await engine.runner.started.get()

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert started.tenant_id == GLOBEX
    for open_call in calls:
        open_call.cancel()


async def test_a_stranger_s_map_is_told_so_however_much_it_writes(
    engine: FakeEngine,
) -> None:
    """Of most such calls grpc.aio tells that its own write failed."""

    async def refused() -> str:
        stranger = AsyncClient(
            f"127.0.0.1:{engine.port}", access_key_id="nobody", secret_access_key="no"
        )
        async with stranger:
            with pytest.raises(errors.SandlotError) as caught:
                async for _ in stranger.map("hello", range(50)):
                    pass
        return type(caught.value).__name__

    assert {await refused() for _ in range(20)} == {"Unauthenticated"}
