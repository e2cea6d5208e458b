"""What a worker does itself of gRPC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from sandlot_engine.clock import SystemClock
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.rpc.door import Door
from sandlot_engine.gateway.rpc.interceptors import Steps
from sandlot_engine.gateway.rpc.methods import INVOKE
from sandlot_engine.workers import forward_grpc
from sandlot_engine.workers.forward_grpc import ForwardGrpc
from sandlot_engine.workers.grpc_face import Calls


async def test_what_is_no_request_is_refused_as_by_the_core(tmp_path: Path) -> None:
    async def run(_: object) -> Any:
        raise AssertionError

    forward = ForwardGrpc(str(tmp_path / "core"))
    handler = Calls(run, forward, lambda _: None).service(
        cast("Any", SimpleNamespace(method=INVOKE))
    )
    assert handler is not None
    invoke: Any = handler.unary_unary

    with pytest.raises(InvalidParameter, match="not what this method takes"):
        await invoke(b"\xff", None)
    await forward.close()


async def test_calls_that_last_keep_nobody_else_from_the_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One tenant may have thousands, which wait for the answer to one key."""
    monkeypatch.setattr(forward_grpc, "CALLS_OF_CHANNEL", 2)
    begun = asyncio.Semaphore(0)
    path = str(tmp_path / "core")
    async with _core(path, begun, streams=2):
        forward = ForwardGrpc(path)
        follow, ask = forward.unary_stream("/core/Follow"), forward.unary("/core/Ask")
        lasting = [asyncio.ensure_future(follow(b"", _context())) for _ in range(5)]
        for _ in lasting:
            await begun.acquire()

        answer = await ask(b"", _context())

        assert answer == b"answer"
        for each in lasting:
            each.cancel()
        await asyncio.wait(lasting)
        await forward.close()


@asynccontextmanager
async def _core(
    path: str, begun: asyncio.Semaphore, *, streams: int
) -> AsyncIterator[None]:
    async def follow(_request: bytes, _: object) -> AsyncIterator[bytes]:
        begun.release()
        await asyncio.Event().wait()
        yield b""

    async def ask(_request: bytes, _: object) -> bytes:
        return b"answer"

    methods: dict[str, Any] = {
        "Follow": grpc.unary_stream_rpc_method_handler(cast("Any", follow)),
        "Ask": grpc.unary_unary_rpc_method_handler(cast("Any", ask)),
    }
    server = grpc.aio.server(options=(("grpc.max_concurrent_streams", streams),))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("core", methods),)
    )
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


def _context() -> Any:
    def nothing(*_: object) -> None:
        """Nobody looks at how it ends."""

    return SimpleNamespace(
        time_remaining=lambda: 5.0,
        invocation_metadata=lambda: (),
        set_trailing_metadata=nothing,
        set_details=nothing,
        set_code=nothing,
    )


async def test_what_is_handed_on_is_not_parsed() -> None:
    async def forward(_requests: object, _context: object) -> None:
        raise AssertionError

    handler: Any = grpc.stream_stream_rpc_method_handler(cast("Any", forward))

    async def found(_: object) -> Any:
        return handler

    steps = Steps(cast("Any", None), SystemClock(), Door(), public=("/grpc.",))
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    made = await steps.intercept_service(
        found, cast("Any", SimpleNamespace(method=method, invocation_metadata=()))
    )

    assert made is not None
    assert made.request_deserializer is None
