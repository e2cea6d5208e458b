"""What a client can read from a refusal, decoded as a client would."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from sandlot.v1 import functions_pb2, invocations_pb2, tenants_pb2
from sandlot_engine.errors import (
    Conflict,
    Internal,
    QuotaExceeded,
    Throttled,
    Unavailable,
)
from sandlot_engine.gateway.rpc import interceptors, limits
from tests.fakes.backend import FakeEngine, as_tenant, fake_engine
from tests.integration.failures import failure

KEY = as_tenant("acme")


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with fake_engine() as engine:
        yield engine


def invoke(engine: FakeEngine, function: str = "echo", payload: bytes = b"{}") -> Any:
    return engine.invocation_service.Invoke(
        invocations_pb2.InvokeRequest(function=function, payload=payload), metadata=KEY
    )


async def test_a_throttled_caller_learns_the_limit_and_when_to_come_back(
    engine: FakeEngine,
) -> None:
    await engine.tenants.update("111111111111", concurrency=0)

    error, found = await failure(invoke(engine))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    info = found["ErrorInfo"]
    assert info.reason == "ConcurrentInvocationLimitExceeded"
    assert (info.domain, info.metadata["limit"]) == ("sandlot", "0")
    assert found["RetryInfo"].retry_delay.ToMilliseconds() == 1_000
    assert found["QuotaFailure"].violations[0].subject == info.reason


async def test_the_same_refusal_names_each_request(engine: FakeEngine) -> None:
    await engine.tenants.update("111111111111", concurrency=0)

    refused = [await failure(invoke(engine)) for _ in range(2)]

    ids = {found["RequestInfo"].request_id for _, found in refused}
    trailers = [dict(error.trailing_metadata()) for error, _ in refused]
    assert len(ids) == 2
    assert {each["x-request-id"] for each in trailers} == ids
    assert refused[0][0].details() == refused[1][0].details()


async def test_a_full_tenant_still_gets_what_needs_no_room(engine: FakeEngine) -> None:
    await engine.tenants.update("111111111111", concurrency=0)

    answer = await engine.invocation_service.Invoke(
        invocations_pb2.InvokeRequest(
            function="echo",
            payload=b"{}",
            invocation_type=invocations_pb2.INVOCATION_TYPE_DRY_RUN,
        ),
        metadata=KEY,
    )

    assert answer.request_id


async def test_a_missing_function_is_named(engine: FakeEngine) -> None:
    error, found = await failure(invoke(engine, "nothing"))

    assert error.code() is grpc.StatusCode.NOT_FOUND
    resource = found["ResourceInfo"]
    assert (resource.resource_type, resource.resource_name) == ("function", "nothing")


async def test_a_bad_field_is_named(engine: FakeEngine) -> None:
    error, found = await failure(invoke(engine, payload=b"{"))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert found["BadRequest"].field_violations[0].field == "payload"
    assert found["ErrorInfo"].reason == "InvalidRequestContent"
    assert "Could not parse request body into json: " in str(error.details())


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (Conflict("c"), grpc.StatusCode.ABORTED),
        (QuotaExceeded("q"), grpc.StatusCode.FAILED_PRECONDITION),
        (Unavailable("u"), grpc.StatusCode.UNAVAILABLE),
        (Internal("i"), grpc.StatusCode.INTERNAL),
        (
            Throttled("t", reason="r", limit=1, retry_after_s=1),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        ),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_each_exception_keeps_its_face(
    engine: FakeEngine, raised: Exception, code: grpc.StatusCode
) -> None:
    engine.runner.answers["echo"] = raised

    error, found = await failure(invoke(engine))

    assert (error.code(), error.details()) == (code, str(raised))
    assert found["RequestInfo"].request_id


async def test_the_unforeseen_is_logged_once_and_says_nothing(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.runner.answers["echo"] = ValueError("the master key is 1234")

    with caplog.at_level(logging.WARNING):
        error, found = await failure(invoke(engine))

    request_id = found["RequestInfo"].request_id
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == f"internal error; it was logged as request {request_id}"
    assert [record.__dict__["request_id"] for record in caplog.records] == [request_id]


async def test_a_stranger_learns_no_more_from_the_unforeseen(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(access_key_id: str, secret: str) -> None:
        raise RuntimeError("no such table: keys")

    monkeypatch.setattr(engine.tenants, "authenticate", broken)

    error, _ = await failure(invoke(engine))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "table" not in str(error.details())


async def test_a_long_message_still_reaches_the_client(engine: FakeEngine) -> None:
    engine.runner.answers["echo"] = Conflict("é" * 100_000)

    error, _ = await failure(invoke(engine))

    assert error.code() is grpc.StatusCode.ABORTED
    assert str(error.details()).endswith("é…")


async def test_the_same_metadata_twice_is_refused(engine: FakeEngine) -> None:
    request = tenants_pb2.ListKeysRequest()

    error, found = await failure(
        engine.tenant_service.ListKeys(request, metadata=(*KEY, *KEY))
    )

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert found["ErrorInfo"].metadata["field"] == "authorization"


async def test_only_packages_and_events_may_be_large(engine: FakeEngine) -> None:
    large = b"x" * (limits.MAX_REQUEST + 1)

    created = await engine.function_service.CreateFunction(
        functions_pb2.CreateFunctionRequest(name="big", zip=large), metadata=KEY
    )
    error, _ = await failure(
        engine.tenant_service.RevokeKey(
            tenants_pb2.RevokeKeyRequest(access_key_id=large.decode()), metadata=KEY
        )
    )

    assert created.function.code_size == len(large)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stranger_cannot_make_the_engine_read_a_package(
    engine: FakeEngine,
) -> None:
    request = functions_pb2.CreateFunctionRequest(zip=b"x" * limits.MAX_UPLOAD)

    error, _ = await failure(
        engine.function_service.CreateFunction(request, metadata=())
    )

    # Had it been read, it would have been too large: see the next test.
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_more_than_any_request_may_have_is_refused(engine: FakeEngine) -> None:
    request = functions_pb2.CreateFunctionRequest(zip=b"x" * limits.MAX_UPLOAD)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await engine.function_service.CreateFunction(request, metadata=KEY)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("method", ["GetFunction", "TailLogs"])
async def test_a_tenant_has_only_so_many_calls_open(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(limits, "MAX_CALLS_OF_TENANT", 0)
    if method == "GetFunction":
        call = engine.function_service.GetFunction(
            functions_pb2.GetFunctionRequest(name="echo"), metadata=KEY
        )
    else:
        call = engine.invocation_service.TailLogs(
            invocations_pb2.TailLogsRequest(function="echo"), metadata=KEY
        ).read()

    error, found = await failure(call)

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert found["ErrorInfo"].reason == "CallLimitExceeded"


async def test_a_call_without_a_deadline_gets_one(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interceptors, "DEFAULT_DEADLINE_S", 0.01)
    monkeypatch.setattr(engine.records, "bill", _never)

    error, _ = await failure(
        engine.billing_service.GetBill(tenants_pb2.GetBillRequest(), metadata=KEY)
    )

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "default deadline" in str(error.details())


async def _never(*_args: object, **_named: object) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    "request_",
    [
        invocations_pb2.ListInvocationsRequest(page_token="x"),
        invocations_pb2.ListInvocationsRequest(page_token="9" * 40),
        invocations_pb2.ListInvocationsRequest(page_size=-1),
    ],
    ids=["no number", "a huge number", "a negative size"],
)
async def test_a_page_that_cannot_be_is_refused(
    engine: FakeEngine, request_: invocations_pb2.ListInvocationsRequest
) -> None:
    error, _ = await failure(
        engine.invocation_service.ListInvocations(request_, metadata=KEY)
    )

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
