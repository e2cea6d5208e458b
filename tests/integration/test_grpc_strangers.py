"""What strangers have of grpc's own services: what they send is no error of the
engine's, and nobody keeps others from asking whether it is well."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from sandlot_engine.gateway.rpc import limits, reading
from tests.fakes.backend import FakeEngine, fake_engine

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code: grpc.StatusCode = caught.value.code()
    return code


async def told(engine: FakeEngine, sent: bytes) -> reflection_pb2.ErrorResponse:
    stream: Any = engine.channel.stream_stream(
        REFLECTION,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
    await stream.write(sent)
    error: reflection_pb2.ErrorResponse = (await stream.read()).error_response
    return error


async def test_nothing_that_a_stranger_sends_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with fake_engine() as engine:
        refused = await told(engine, b"\xff")
        listed: Any = engine.channel.unary_unary("/grpc.health.v1.Health/List")
        lacking = await code_of(listed(b""))
        checked: Any = engine.channel.unary_unary("/grpc.health.v1.Health/Check")
        unreadable = await code_of(checked(b"\xff"))

    assert refused.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert lacking is grpc.StatusCode.UNIMPLEMENTED
    assert unreadable is grpc.StatusCode.INVALID_ARGUMENT
    assert caplog.records == []


async def test_who_watches_for_ever_leaves_room_to_who_asks_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_CALLS_OF_STRANGERS", 3)
    monkeypatch.setattr(limits, "MAX_WATCHES_OF_STRANGERS", 2)
    async with fake_engine() as engine:
        health: Any = health_pb2_grpc.HealthStub(engine.channel)
        asked = health_pb2.HealthCheckRequest()
        watching = [health.Watch(asked) for _ in range(2)]
        for each in watching:
            await each.read()

        one_more = await code_of(health.Watch(asked).read())
        answer = await health.Check(asked)

    assert one_more is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_who_sends_nothing_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "READING_OF_STRANGERS", 3)
    async with fake_engine() as engine:
        method: Any = engine.channel.stream_unary("/grpc.health.v1.Health/Check")
        silent = [method() for _ in range(4)]
        codes = [asyncio.ensure_future(call.code()) for call in silent]
        [cut], _ = await asyncio.wait(codes, return_when=asyncio.FIRST_COMPLETED)

        health: Any = health_pb2_grpc.HealthStub(engine.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        for call in silent:
            call.cancel()
        await asyncio.wait(codes)

    assert cut.result() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
