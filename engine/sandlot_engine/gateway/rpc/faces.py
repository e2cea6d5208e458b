"""Our exceptions as gRPC shows them: `google.rpc.Status` with its details.

A message is cut at `MAX_TEXT` bytes: it travels twice, in headers, and a peer
refuses headers over 8 KB altogether.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn, cast

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

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


DETAILS = "grpc-status-details-bin"
"""The trailer with the whole of a `google.rpc.Status`."""

KNOWN = 256
"""Refusals that are kept as they are sent: who asks for too much is told the same a
thousand times a second, and it takes as long to build as all the rest of a refusal."""


@dataclass(frozen=True, slots=True)
class Face:
    """An exception, ready to be sent."""

    code: grpc.StatusCode
    reason: str
    message: str
    retry_after: duration_pb2.Duration | None
    status: bytes
    """A `google.rpc.Status`, but for which request it was."""


def face_of(error: Exception, request_id: str) -> Face:
    """The face of an exception, logged if it is our fault.

    What is not one of ours says nothing to the caller but the id under which it
    was logged: its text may hold anything, another tenant's data included.
    """
    faulted.note(error, request_id)
    if not isinstance(error, SandlotError):
        return _unforeseen(request_id)
    return _known_face(
        cast("Any", type(error)),  # a class can be hashed, whatever mypy says
        grpc.StatusCode[error.grpc],
        error.reason,
        _cut(error.message),
        error.retry_after_s if isinstance(error, Throttled) else None,
        tuple((name, _cut(value)) for name, value in error.facts.items()),
    )


async def abort(context: Context, error: Exception, request_id: str) -> NoReturn:
    """End the call with the exception's face."""
    face = face_of(error, request_id)
    let_go(error)
    metadata = (
        # Two messages in a row are one, with the details of both.
        (DETAILS, face.status + _of_request(request_id)),
        ("x-request-id", request_id),
    )
    try:
        await context.abort(face.code, face.message, metadata)
    except grpc.aio.InternalError:
        # grpc's word for a caller that is gone: it cancels us next, and would write a
        # traceback to the log first.
        raise asyncio.CancelledError from None


@lru_cache(KNOWN)
def _known_face(
    kind: type[SandlotError],
    code: grpc.StatusCode,
    reason: str,
    message: str,
    retry_after_s: float | None,
    facts: tuple[tuple[str, str], ...],
) -> Face:
    retry_after = None
    if retry_after_s is not None:
        retry_after = duration_pb2.Duration()
        retry_after.FromMicroseconds(round(retry_after_s * 1_000_000))
    info = error_details_pb2.ErrorInfo(
        reason=reason, domain=DOMAIN, metadata=dict(facts)
    )
    details = (info, *_details(kind, reason, message, retry_after, dict(facts)))
    return Face(code, reason, message, retry_after, _status(code, message, details))


def _status(code: grpc.StatusCode, message: str, details: Iterable[Message]) -> bytes:
    status = status_pb2.Status(
        code=code.value[0],
        message=message,
        details=[_packed(detail) for detail in details],
    )
    return bytes(status.SerializeToString())


def _of_request(request_id: str) -> bytes:
    """The part of a status that says which request it was."""
    said = request_id.encode()
    return _before_request(len(said)) + said


@lru_cache(KNOWN)
def _before_request(length: int) -> bytes:
    """What stands before an id of so many bytes, which is the last of all."""
    info = error_details_pb2.RequestInfo(request_id="-" * length)
    whole = bytes(status_pb2.Status(details=[_packed(info)]).SerializeToString())
    return whole[: len(whole) - length]


def _unforeseen(request_id: str) -> Face:
    message = f"internal error; it was logged as request {request_id}"
    info = error_details_pb2.ErrorInfo(reason="Internal", domain=DOMAIN)
    code = grpc.StatusCode.INTERNAL
    return Face(code, "Internal", message, None, _status(code, message, (info,)))


def _details(
    kind: type[SandlotError],
    reason: str,
    message: str,
    retry_after: duration_pb2.Duration | None,
    facts: dict[str, str],
) -> list[Message]:
    """What a client can act on without reading the message."""
    if issubclass(kind, InvalidParameter) and (field := facts.get("field")):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=field, description=message
        )
        return [error_details_pb2.BadRequest(field_violations=[violation])]
    if issubclass(kind, NotFound):
        return [
            error_details_pb2.ResourceInfo(
                resource_type=facts["resource_type"],
                resource_name=facts["resource_name"],
                description=message,
            )
        ]
    if issubclass(kind, Throttled):
        return [
            error_details_pb2.RetryInfo(retry_delay=retry_after),
            _quota_failure(reason, message),
        ]
    if issubclass(kind, QuotaExceeded):
        return [_quota_failure(reason, message)]
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
    if len(text) <= MAX_TEXT and text.isascii():
        return text  # nearly always
    encoded = text.encode(errors="replace")
    if len(encoded) <= MAX_TEXT:
        return encoded.decode()
    return encoded[: MAX_TEXT - 3].decode(errors="ignore") + "…"
