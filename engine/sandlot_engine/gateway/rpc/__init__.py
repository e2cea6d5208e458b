"""The gRPC gateway: `proto/sandlot/v1`, wire <-> model and nothing else."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc.aio

    Context = grpc.aio.ServicerContext[Any, Any]
else:
    Context = object
