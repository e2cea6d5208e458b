"""What callers of function URLs are told when there is no answer of the function's.

Texts and statuses are AWS's where they are known. A caller is nobody in particular, and
so learns nothing of limits, tenants or what broke.
"""

import json

from sandlot_engine.errors import (
    SUSPENDED,
    Conflict,
    DeadlineExceeded,
    Fault,
    NotFound,
    PermissionDenied,
    SandlotError,
    Throttled,
    TooLarge,
    Unavailable,
)
from sandlot_engine.gateway import faulted
from sandlot_engine.gateway.aws.faults import AwsError, aws_error_of
from sandlot_engine.gateway.aws.writing import write_error
from sandlot_engine.gateway.urls.answers import JSON, Response

_FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
_DENIED = "AccessDeniedException"


class Forbidden(Exception):
    """The function's policy does not let the caller in, or nobody signed."""


def nothing_here() -> Response:
    """No function URL has that id. AWS says the same of one that is gone."""
    return _message(403, None, _DENIED)


def bad_gateway() -> Response:
    """The function failed, or what it answered is no HTTP response."""
    return Response(502, [(b"content-type", JSON)], b"Internal Server Error")


def refusal_of(error: Exception, request_id: str) -> Response:
    """The response for an exception, logged if it is our fault."""
    match error:
        case Forbidden():
            return _message(403, _FORBIDDEN, _DENIED)
        case NotFound() | PermissionDenied():
            # What its owner may not have any more is between it and the operator.
            return nothing_here()
        case Conflict() if error.reason == SUSPENDED:
            return nothing_here()
        case TooLarge():
            return _message(413, "Request Entity Too Large", "RequestTooLargeException")
        case DeadlineExceeded():
            return _message(504, "Gateway Timeout", "DeadlineExceededException")
        case Unavailable():
            faulted.note(error, request_id)
            return _message(503, "Service Unavailable", "ServiceException")
        case Fault():
            faulted.note(error, request_id)
            return _message(500, "Internal Server Error", "ServiceException")
        case AwsError() | SandlotError():
            return _as_aws(error, request_id)
        case _:
            faulted.note(error, request_id)
            return _message(500, "Internal Server Error", "ServiceException")


def _as_aws(error: AwsError | SandlotError, request_id: str) -> Response:
    """Throttles, wrong signatures, a function that is not ready, a key used twice."""
    if isinstance(error, Throttled):
        # Which of the owner's limits it was is the owner's to know.
        error = Throttled(
            "", reason=error.reason, limit=0, retry_after_s=error.retry_after_s
        )
    answer = write_error(
        error if isinstance(error, AwsError) else aws_error_of(error), request_id
    )
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in answer.headers
        if name.lower() != "x-amzn-requestid"
    ]
    return Response(answer.status, headers, answer.body)


def _message(status: int, text: str | None, kind: str) -> Response:
    body = json.dumps({"Message": text}, separators=(",", ":")).encode()
    headers = [(b"content-type", JSON), (b"x-amzn-errortype", kind.encode())]
    return Response(status, headers, body)
