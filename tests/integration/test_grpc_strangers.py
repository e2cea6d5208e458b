"""What strangers send to grpc's own services is no error of the engine's."""

from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2

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
