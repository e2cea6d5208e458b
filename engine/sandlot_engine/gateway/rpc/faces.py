"""Our exceptions as gRPC shows them: `google.rpc.Status` with its details.

A message is cut at `MAX_TEXT` bytes: it travels twice, in headers, and a peer
refuses headers over 8 KB altogether.
"""

import asyncio
from dataclasses import dataclass
from typing import NoReturn

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sandlot_engine.errors import (
    InvalidParameter,
    NotFound,
    QuotaExceeded,
    SandlotError,
    Throttled,
)
from sandlot_engine.garbage import let_go
from sandlot_engine.gateway import faulted
from sandlot_engine.gateway.rpc import Context

DOMAIN = "sandlot"

MAX_TEXT = 1_024
"""Bytes of a message or a fact."""


@dataclass(frozen=True, slots=True)
class Face:
    """An exception, ready to be sent."""

    code: grpc.StatusCode
    reason: str
    message: str
    retry_after: duration_pb2.Duration | None
    details: tuple[Message, ...]

    def as_status(self) -> status_pb2.Status:
        return status_pb2.Status(
            code=self.code.value[0],
            message=self.message,
            details=[_packed(detail) for detail in self.details],
        )


def face_of(error: Exception, request_id: str) -> Face:
    """The face of an exception, logged if it is our fault.

    What is not one of ours says nothing to the caller but the id under which it
    was logged: its text may hold anything, another tenant's data included.
    """
    faulted.note(error, request_id)
    if not isinstance(error, SandlotError):
        return _unforeseen(request_id)
    retry_after = None
    if isinstance(error, Throttled):
        retry_after = duration_pb2.Duration()
        retry_after.FromMicroseconds(round(error.retry_after_s * 1_000_000))
    message = _cut(error.message)
    return Face(
        code=grpc.StatusCode[error.grpc],
        reason=error.reason,
        message=message,
        retry_after=retry_after,
        details=(
            error_details_pb2.ErrorInfo(
                reason=error.reason,
                domain=DOMAIN,
                metadata={name: _cut(value) for name, value in error.facts.items()},
            ),
            error_details_pb2.RequestInfo(request_id=request_id),
            *_details(error, message, retry_after),
        ),
    )


async def abort(context: Context, error: Exception, request_id: str) -> NoReturn:
    """End the call with the exception's face."""
    status = rpc_status.to_status(face_of(error, request_id).as_status())
    let_go(error)
    metadata = (*status.trailing_metadata, ("x-request-id", request_id))
    try:
        await context.abort(status.code, status.details, metadata)
    except grpc.aio.InternalError:
        # grpc's word for a caller that is gone: it cancels us next, and would write a
        # traceback to the log first.
        raise asyncio.CancelledError from None


def _unforeseen(request_id: str) -> Face:
    message = f"internal error; it was logged as request {request_id}"
    return Face(
        code=grpc.StatusCode.INTERNAL,
        reason="Internal",
        message=message,
        retry_after=None,
        details=(
            error_details_pb2.ErrorInfo(reason="Internal", domain=DOMAIN),
            error_details_pb2.RequestInfo(request_id=request_id),
        ),
    )


def _details(
    error: SandlotError, message: str, retry_after: duration_pb2.Duration | None
) -> list[Message]:
    """What a client can act on without reading the message."""
    match error:
        case InvalidParameter(field=field) if field:
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=field, description=message
            )
            return [error_details_pb2.BadRequest(field_violations=[violation])]
        case NotFound():
            return [
                error_details_pb2.ResourceInfo(
                    resource_type=error.facts["resource_type"],
                    resource_name=_cut(error.facts["resource_name"]),
                    description=message,
                )
            ]
        case Throttled():
            return [
                error_details_pb2.RetryInfo(retry_delay=retry_after),
                _quota_failure(error.reason, message),
            ]
        case QuotaExceeded():
            return [_quota_failure(error.reason, message)]
        case _:
            return []


def _quota_failure(subject: str, message: str) -> Message:
    violation = error_details_pb2.QuotaFailure.Violation(
        subject=subject, description=message
    )
    failure: Message = error_details_pb2.QuotaFailure(violations=[violation])
    return failure


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _cut(text: str) -> str:
    """At most `MAX_TEXT` bytes, and no half characters at the cut."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= MAX_TEXT:
        return encoded.decode()
    return encoded[: MAX_TEXT - 3].decode(errors="ignore") + "…"
