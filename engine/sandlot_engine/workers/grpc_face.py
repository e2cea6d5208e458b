"""A worker's gRPC: synchronous invocations of what is at hand, and the core's answers
to everything else."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from sandlot.v1 import (
    concurrency_pb2,
    events_pb2,
    functions_pb2,
    invocations_pb2,
    layers_pb2,
    permissions_pb2,
    tenants_pb2,
    triggers_pb2,
    urls_pb2,
    versions_pb2,
)
from sandlot.v1 import invocations_pb2 as wire
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.rpc import Context, Handler
from sandlot_engine.gateway.rpc.methods import INVOKE
from sandlot_engine.workers.forward_grpc import ForwardGrpc
from sandlot_engine.workers.messages import Address
from sandlot_engine.workers.replica import NotHere

FILES = (
    concurrency_pb2,
    events_pb2,
    functions_pb2,
    invocations_pb2,
    layers_pb2,
    permissions_pb2,
    tenants_pb2,
    triggers_pb2,
    urls_pb2,
    versions_pb2,
    health_pb2,
    reflection_pb2,
)
"""Of all services that the core has."""

Run = Callable[[wire.InvokeRequest], Awaitable[wire.InvokeResponse]]
"""Runs an invocation here, or raises `NotHere`."""


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc,type-arg,unused-ignore]
    """All methods of the core's, by their paths."""

    def __init__(
        self,
        run: Run,
        forward: ForwardGrpc,
        want: Callable[[Address], None],
    ) -> None:
        self._run = run
        self._want = want
        self._invoke_there = forward.unary(INVOKE)
        self._handlers: dict[str, Handler] = {
            f"/{service.full_name}/{method.name}": _forwarding(
                forward, f"/{service.full_name}/{method.name}", method
            )
            for file in FILES
            for service in file.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }
        self._handlers[INVOKE] = grpc.unary_unary_rpc_method_handler(
            cast("Any", self._invoke), request_deserializer=bytes
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        return self._handlers.get(handler_call_details.method)

    async def _invoke(self, data: bytes, context: Context) -> bytes:
        try:
            request = _parsed(data)
            if _may_be_local(request):
                answer = await self._run(request)
                return answer.SerializeToString()
            want = None
        except NotHere as needs:
            want = needs.want
        there: bytes = await self._invoke_there(data, context)
        if want is not None:
            self._want(want)
        return there


def _parsed(data: bytes) -> wire.InvokeRequest:
    try:
        return wire.InvokeRequest.FromString(data)
    except DecodeError as error:
        raise InvalidParameter("the request is not what this method takes") from error


def _may_be_local(request: wire.InvokeRequest) -> bool:
    return not request.idempotency_key and request.invocation_type in (
        wire.INVOCATION_TYPE_UNSPECIFIED,
        wire.INVOCATION_TYPE_REQUEST_RESPONSE,
    )


def _forwarding(forward: ForwardGrpc, path: str, method: MethodDescriptor) -> Handler:
    if method.client_streaming:
        return grpc.stream_stream_rpc_method_handler(cast("Any", forward.stream(path)))
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(
            cast("Any", forward.unary_stream(path)), request_deserializer=bytes
        )
    return grpc.unary_unary_rpc_method_handler(
        cast("Any", forward.unary(path)), request_deserializer=bytes
    )
