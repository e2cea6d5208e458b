"""A call that failed, decoded as a client would."""

from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2 as details
from grpc_status import rpc_status


async def failure(awaitable: Any) -> tuple[grpc.aio.AioRpcError, dict[str, Any]]:
    """How a call failed, and its details by the names of their types."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    status: Any = await rpc_status.aio.from_call(_AsCall(caught.value))
    kinds = (
        details.ErrorInfo,
        details.RequestInfo,
        details.RetryInfo,
        details.BadRequest,
        details.ResourceInfo,
        details.QuotaFailure,
    )
    found = {}
    for packed in status.details:
        for kind in kinds:
            if packed.Is(kind.DESCRIPTOR):
                found[kind.__name__] = kind()
                packed.Unpack(found[kind.__name__])
    return caught.value, found


class _AsCall:
    """grpcio-status reads calls; a raised error has the same facts."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self._error = error

    async def code(self) -> grpc.StatusCode:
        return self._error.code()

    async def details(self) -> str | None:
        return self._error.details()

    async def trailing_metadata(self) -> Any:
        return self._error.trailing_metadata()
