"""What was sent is gone with the answer, also where that is an error: not once somebody
looks for cycles, which is after so many objects and not bytes."""

import gc
from collections.abc import Iterator
from types import FrameType

import grpc
import grpc.aio
import pytest

from sandlot.v1 import invocations_pb2 as wire
from tests.fakes.backend import as_tenant, fake_engine
from tests.integration.http_port import code_of, serving, until

_before: list[FrameType] = []
"""Frames that other tests of the same process have left, in exceptions that they keep.
Held here, so that no new one is taken for one of them."""

PAYLOAD = b'"' + b"x" * 100_000 + b'"'
UNKNOWN = "/2015-03-31/functions/nobody"


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    _before[:] = frames()
    yield
    _before.clear()
    gc.enable()


def frames() -> list[FrameType]:
    return [each for each in gc.get_objects() if isinstance(each, FrameType)]


def frames_of(*functions: str) -> list[str]:
    """Functions of ours that are over and whose variables are still there."""
    known = {id(each) for each in _before}
    names = (each.f_code for each in frames() if id(each) not in known)
    return [
        code.co_name
        for code in names
        if code.co_name in functions and "sandlot_engine" in code.co_filename
    ]


@pytest.mark.parametrize(
    ("path", "body", "answered"),
    [
        (f"{UNKNOWN}/invocations", PAYLOAD, (404, "ResourceNotFoundException")),
        ("/2015-03-31/functions", PAYLOAD, (400, "SerializationException")),
        (f"{UNKNOWN}/versions", b"{}", (404, "ResourceNotFoundException")),
    ],
)
async def test_what_was_refused_over_http_is_gone(
    path: str, body: bytes, answered: tuple[int, str]
) -> None:
    async with serving() as port:
        answer = await port.exchange(port.signed(path, body=body))
        kept = frames_of("_operate", "_perform", "_read", "invoke", "_run", "read")

    assert code_of(answer) == answered
    assert kept == []


@pytest.mark.parametrize("payload", [PAYLOAD, PAYLOAD + b"x"])
async def test_what_was_refused_over_grpc_is_gone(payload: bytes) -> None:
    async with fake_engine() as engine:
        request = wire.InvokeRequest(function="nobody", payload=payload)
        with pytest.raises(grpc.aio.AioRpcError):
            await engine.invocation_service.Invoke(request, metadata=as_tenant("acme"))

        await until(lambda: frames_of("_request", "answer", "Invoke", "_invoke") == [])
