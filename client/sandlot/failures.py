"""From what gRPC raises, and from what the engine answers, to `sandlot.errors`.

The engine says what happened in `google.rpc.Status` details: `ErrorInfo.reason` is
the name of its error class or a finer word. An error without them did not come from
an engine but from the transport, and that makes the difference between
`Unavailable` (surely not started) and `ConnectionFailed` (nobody knows).
"""

import re

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status

from sandlot import errors
from sandlot.config import Address, start_on
from sandlot.results import Reply, Status
from sandlot.v1 import invocations_pb2 as pb

REASONS: dict[str, type[errors.SandlotError]] = {
    "InvalidParameter": errors.InvalidParameter,
    "TooLarge": errors.PayloadTooLarge,
    "Unauthenticated": errors.Unauthenticated,
    "PermissionDenied": errors.PermissionDenied,
    "NotFound": errors.NotFound,
    "AlreadyExists": errors.AlreadyExists,
    "Conflict": errors.Conflict,
    "Throttled": errors.Throttled,
    "QuotaExceeded": errors.QuotaExceeded,
    "DeadlineExceeded": errors.DeadlineExceeded,
    "NotSupported": errors.NotSupported,
    "Unavailable": errors.Unavailable,
    "Internal": errors.Internal,
    # An engine's that stopped: as if the connection had been lost, but for its words.
    "CutShort": errors.ConnectionFailed,
    "Refusal": errors.Refused,
    "Fault": errors.Fault,
    # Finer, where the code alone would say something else.
    "SnapStartException": errors.Refused,
    "SnapStartTimeoutException": errors.Refused,
    "SnapStartRegenerationFailureException": errors.Refused,
    "FunctionError.RuntimeInitError": errors.Refused,
    "FunctionError.InitTimeout": errors.Refused,
    "RecursiveInvocationException": errors.Refused,
}
"""The names of the engine's error classes."""

CODES: dict[int, type[errors.SandlotError]] = {
    code_pb2.INVALID_ARGUMENT: errors.InvalidParameter,
    code_pb2.OUT_OF_RANGE: errors.InvalidParameter,
    code_pb2.UNAUTHENTICATED: errors.Unauthenticated,
    code_pb2.PERMISSION_DENIED: errors.PermissionDenied,
    code_pb2.NOT_FOUND: errors.NotFound,
    code_pb2.ALREADY_EXISTS: errors.AlreadyExists,
    code_pb2.ABORTED: errors.Conflict,
    code_pb2.RESOURCE_EXHAUSTED: errors.Throttled,
    code_pb2.FAILED_PRECONDITION: errors.QuotaExceeded,
    code_pb2.UNIMPLEMENTED: errors.NotSupported,
    code_pb2.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    code_pb2.UNAVAILABLE: errors.Unavailable,
}
"""For reasons finer than a class: the class follows from the code."""


def from_call(error: grpc.RpcError, *, address: Address) -> errors.SandlotError:
    """What a failed call means. The caller raises it `from error`."""
    code: int = error.code().value[0]
    words: str = error.details() or ""
    details = _details(error)
    info = details.get("ErrorInfo")
    if not isinstance(info, error_details_pb2.ErrorInfo):
        return _from_transport(code, words, address)
    kind = REASONS.get(info.reason) or CODES.get(code, errors.Internal)
    return kind(
        words,
        reason=info.reason,
        request_id=_request_id(details, info),
        retry_after=_retry_after(details),
        facts=info.metadata,
        docs_url=_docs_url(details),
    )


def is_grpcs_own(error: grpc.RpcError) -> bool:
    """Whether a stream broke for a reason that is gRPC's alone: no engine said it."""
    return error.code() is grpc.StatusCode.INTERNAL and not _details(error)


def from_refused(refused: pb.Refused) -> errors.SandlotError:
    """The same for an invocation that was refused within a stream."""
    kind = REASONS.get(refused.reason) or CODES.get(refused.code, errors.Internal)
    wait = refused.retry_after.ToTimedelta().total_seconds()
    return kind(
        refused.message,
        reason=refused.reason,
        retry_after=wait if refused.HasField("retry_after") else None,
    )


def raise_if_failed(reply: Reply) -> None:
    """Raise what a reply with a `function_error` says."""
    if reply.function_error:
        raise from_reply(reply)


def from_reply(reply: Reply) -> errors.FunctionError:
    """The exception that says what a reply with a `function_error` says."""
    told = _error_object(reply)
    trace = told.get("stackTrace")
    kind = str(told.get("errorType") or "")
    return _function_error(reply.status, kind)(
        str(told.get("errorMessage", reply.payload.decode("utf-8", "replace"))),
        type=kind,
        stack_trace=tuple(map(str, trace)) if isinstance(trace, list) else (),
        request_id=reply.request_id,
        report=reply.report,
        payload=reply.payload,
    )


def _function_error(status: Status | None, kind: str) -> type[errors.FunctionError]:
    match status:
        case Status.TIMEOUT:
            return errors.TimedOut
        case Status.INIT_FAILED:
            return errors.InitFailed
        case Status.CRASHED:
            # Only here is the type the engine's word: a handler may call its own
            # exceptions what it likes.
            word = kind.rpartition(".")[2]
            finer = {
                "OutOfMemory": errors.OutOfMemory,
                "SyscallDenied": errors.SyscallDenied,
            }
            return finer.get(word, errors.Crashed)
        case _:
            return errors.Unhandled


def _error_object(reply: Reply) -> dict[str, object]:
    try:
        told = reply.value
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _from_transport(code: int, words: str, address: Address) -> errors.SandlotError:
    """Nothing that an engine said: the connection, the deadline, or gRPC itself."""
    endpoint = address.endpoint
    if code == code_pb2.UNAVAILABLE and not _NOBODY_THERE.search(words):
        return errors.ConnectionFailed(
            f"the connection to {endpoint} was lost before the answer came ({words}). "
            "The work may have been done, so look before you send it again."
        )
    if code == code_pb2.CANCELLED:
        # Not by us: whoever cancels a call of ours is told otherwise. grpc does that
        # with calls that come in the moment in which a server stops.
        return errors.ConnectionFailed(
            f"{endpoint} ended the call, as an engine does that stops ({words}). The "
            "work may have been done, so look before you send it again."
        )
    if code == code_pb2.UNAVAILABLE:
        start = (
            f"The one on {address.data} was there: start it with "
            f"`{start_on(address.data)}`; its log says why it ended."
            if address.data
            else "Start one with `sandlot up`, or say where it is with SANDLOT_DATA or "
            "SANDLOT_ENDPOINT."
        )
        hint = next(
            (hint for sign, hint in _WRONG_PORT.items() if sign in words), start
        )
        why = _AROUND.sub("", words).rstrip(".")
        return errors.ConnectionFailed(
            f"no engine answers at {endpoint}: {why}. {hint}"
        )
    if code == code_pb2.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded(
            f"{endpoint} gave no answer before the deadline ({words}). The work may "
            "have been done; a longer deadline waits longer."
        )
    if code == code_pb2.RESOURCE_EXHAUSTED and "larger than max" in words:
        return errors.PayloadTooLarge(words)
    if code == code_pb2.UNIMPLEMENTED:
        return errors.NotSupported(
            f"the server at {endpoint} does not know this call: it is not a Sandlot "
            f"engine, or an older one ({words})"
        )
    return CODES.get(code, errors.Internal)(words or f"gRPC status {code}")


_NOBODY_THERE = re.compile(r"connect to|^DNS resolution failed|^errors resolving")
"""What gRPC says where nothing was sent."""

_AROUND = re.compile(
    r"^failed to connect to all addresses; last error: \w+: \S+: "
    r"(?:Failed to connect to remote host: )?"
)
"""What gRPC says in front of why: it is known already."""

_NO_SUCH_NAME = "Look at how the name is written, and who is asked for names here."

_WRONG_PORT = {
    "WRONG_VERSION_NUMBER": "What listens there has no TLS: leave grpcs:// out.",
    "CERTIFICATE_VERIFY_FAILED": "Its certificate is of no authority that is trusted "
    "here: name that as ca_file in the profile, or the engine's own --data DIR.",
    "Hostname Verification Check failed": "Its certificate is for another name: use "
    "the one that it has, or name the engine's own --data DIR.",
    "DNS resolution failed": _NO_SUCH_NAME,
    "errors resolving": _NO_SUCH_NAME,
    "Socket closed": "If that is a port with TLS, write grpcs://HOST:PORT.",
    "http1.x server": "That is a port for HTTP: the engine's for gRPC is another, 9071 "
    "unless it was told otherwise.",
}
"""What else to do, by what gRPC says of an address where something listens."""


def _details(error: grpc.RpcError) -> dict[str, Message]:
    """The `google.rpc` details by the names of their types; none where they lie."""
    try:
        status = rpc_status.from_call(error)
    except (ValueError, DecodeError):
        return {}
    found: dict[str, Message] = {}
    for packed in status.details if status else ():
        name = packed.TypeName().rpartition(".")[2]
        kind = getattr(error_details_pb2, name, None)
        if kind is not None:
            message = kind()
            packed.Unpack(message)
            found[name] = message
    return found


def _request_id(details: dict[str, Message], info: error_details_pb2.ErrorInfo) -> str:
    request = details.get("RequestInfo")
    if isinstance(request, error_details_pb2.RequestInfo):
        return str(request.request_id)
    return str(info.metadata.get("request_id", ""))


def _retry_after(details: dict[str, Message]) -> float | None:
    retry = details.get("RetryInfo")
    if not isinstance(retry, error_details_pb2.RetryInfo):
        return None
    return float(retry.retry_delay.ToTimedelta().total_seconds())


def _docs_url(details: dict[str, Message]) -> str:
    help_ = details.get("Help")
    if isinstance(help_, error_details_pb2.Help) and help_.links:
        return str(help_.links[0].url)
    return ""
