"""What a worker does itself of gRPC."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.rpc.interceptors import INVOKE
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
