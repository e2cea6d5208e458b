"""What a worker does itself of gRPC."""

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
