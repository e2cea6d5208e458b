"""Refusals become the status that the engine would send, with its details."""

from collections.abc import Iterator
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.fakes.engine import Refusal


class Refusals(grpc.ServerInterceptor):
    """Turns a raised `Refusal` into the status that the engine would send."""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = continuation(details)
        if handler is None or handler.request_streaming or handler.response_streaming:
            return handler and _guard_stream(handler)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: _guarded(handler.unary_unary, request, context),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _guard_stream(handler: Any) -> Any:
    inner = handler.stream_stream or handler.unary_stream

    def outer(request: Any, context: Any) -> Iterator[Any]:
        try:
            yield from inner(request, context)
        except Refusal as refusal:
            abort(context, refusal)

    make = (
        grpc.stream_stream_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_stream_rpc_method_handler
    )
    return make(
        outer,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def _guarded(method: Any, request: Any, context: Any) -> Any:
    try:
        return method(request, context)
    except Refusal as refusal:
        abort(context, refusal)


def abort(context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
    details: list[Any] = [
        error_details_pb2.ErrorInfo(
            reason=refusal.reason, domain="sandlot", metadata=refusal.facts
        )
    ]
    if refusal.retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(int(refusal.retry_after_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if refusal.request_id:
        details.append(error_details_pb2.RequestInfo(request_id=refusal.request_id))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    status = status_pb2.Status(
        code=refusal.code.value[0], message=refusal.message, details=packed
    )
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort does not return")
