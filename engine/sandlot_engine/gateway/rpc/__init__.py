"""The gRPC gateway: `proto/sandlot/v1`, wire <-> model and nothing else."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc.aio

    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]
else:
    Context = Handler = object

Behaviour = Callable[[Any, Context], Awaitable[Any]]
"""A method of a service, of any kind: ours write streams through the context."""
