"""How large an event may be, by each method that takes one."""

from typing import Any

import grpc
import grpc.aio
import pytest

from sandlot.v1 import invocations_pb2 as wire
from sandlot_engine.gateway.rpc.limits import MAX_REQUEST
from sandlot_engine.model.invocation import MAX_PAYLOAD
from tests.fakes.backend import FakeEngine, as_tenant, fake_engine

KEY = as_tenant("acme")
LARGEST = b'"' + b"x" * (MAX_PAYLOAD - 2) + b'"'


def streamed(engine: FakeEngine, payload: bytes) -> Any:
    request = wire.InvokeRequest(function="echo", payload=payload)
    return engine.invocation_service.InvokeStream(
        wire.InvokeStreamRequest(request=request), metadata=KEY
    )


async def test_an_event_whose_answer_is_streamed_may_be_as_large_as_any() -> None:
    async with fake_engine() as engine:
        answers = [message async for message in streamed(engine, LARGEST)]

    assert b"".join(message.piece for message in answers) == LARGEST


async def test_one_that_is_larger_is_refused() -> None:
    async with fake_engine() as engine:
        with pytest.raises(grpc.aio.AioRpcError, match="6356992 allowed") as caught:
            await streamed(engine, LARGEST + b" " * MAX_REQUEST).read()

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_comes_beside_an_event_is_measured_before_it_is_read() -> None:
    request = wire.InvokeRequest(function="a" * 70_000, payload=LARGEST)
    async with fake_engine() as engine:
        with pytest.raises(grpc.aio.AioRpcError, match="65536 bytes beside its payl"):
            await engine.invocation_service.Invoke(request, metadata=KEY)
