"""What the engine says when it will not, or cannot.

    SandlotError
    ├── Refusal               we will not, and say what would change that
    │   ├── InvalidParameter
    │   │   └── TooLarge
    │   ├── Unauthenticated
    │   ├── PermissionDenied
    │   ├── NotFound
    │   ├── AlreadyExists
    │   ├── Conflict
    │   ├── Throttled
    │   ├── QuotaExceeded
    │   ├── DeadlineExceeded
    │   └── NotSupported
    └── Fault                 our side broke
        ├── Unavailable       the work surely did not start
        │   ├── Stopping      because the engine was told to end
        │   └── Troubled      because of what the operator has been told of
        ├── CutShort          it may have, and was ended as the engine was told to end
        └── Internal          it may have

A failing function is neither: it is a value, `Outcome.status`. Each class carries
its faces, so that a gateway needs no table of its own: `grpc` is the name of a
`grpc.StatusCode`, `aws` is what AWS Lambda's API calls the like, and the class name
is the `ErrorInfo.reason` unless the exception brings a finer one.
"""

from typing import ClassVar


class SandlotError(Exception):
    """`message` says what, why and what to do next; `facts` go out as metadata."""

    grpc: ClassVar[str] = "INTERNAL"
    aws: ClassVar[str] = "ServiceException"

    def __init__(self, message: str, *, reason: str = "", **facts: str | int) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).__name__
        self.facts = {name: str(value) for name, value in facts.items()}


class Refusal(SandlotError):
    """We will not, and the message says what would change that."""

    grpc = "FAILED_PRECONDITION"
    aws = "InvalidParameterValueException"


class InvalidParameter(Refusal):
    """Something in the request is not as it must be; `field` names it."""

    grpc = "INVALID_ARGUMENT"

    def __init__(self, message: str, *, field: str = "", reason: str = "") -> None:
        super().__init__(message, reason=reason, **({"field": field} if field else {}))
        self.field = field


class TooLarge(InvalidParameter):
    """A payload, package or environment is over its limit."""

    aws = "RequestTooLargeException"


class Unauthenticated(Refusal):
    """No key, an unknown key, or a wrong secret."""

    grpc = "UNAUTHENTICATED"
    aws = "UnrecognizedClientException"


SUSPENDED = "TenantSuspended"
"""The reason where nothing of a tenant runs because the operator says so."""


class PermissionDenied(Refusal):
    """The key is good, but not for this."""

    grpc = "PERMISSION_DENIED"
    aws = "AccessDeniedException"


class NotFound(Refusal):
    """There is no such thing, or not for this tenant: the two look the same."""

    grpc = "NOT_FOUND"
    aws = "ResourceNotFoundException"

    def __init__(
        self, message: str, *, kind: str = "", name: str = "", reason: str = ""
    ) -> None:
        super().__init__(message, reason=reason, resource_type=kind, resource_name=name)


class AlreadyExists(Refusal):
    """The name is taken."""

    grpc = "ALREADY_EXISTS"
    aws = "ResourceConflictException"


class Conflict(Refusal):
    """Not in the state the thing is in now; try again when it has changed."""

    grpc = "ABORTED"
    aws = "ResourceConflictException"


class Throttled(Refusal):
    """Over a limit on how much at once or how fast.

    `reason` is AWS's: `ConcurrentInvocationLimitExceeded` and the like.
    """

    grpc = "RESOURCE_EXHAUSTED"
    aws = "TooManyRequestsException"

    def __init__(
        self, message: str, *, reason: str, limit: int, retry_after_s: float
    ) -> None:
        super().__init__(message, reason=reason, limit=limit)
        self.limit = limit
        self.retry_after_s = retry_after_s


class QuotaExceeded(Refusal):
    """Over a limit on how much altogether; waiting does not help."""

    grpc = "FAILED_PRECONDITION"


class DeadlineExceeded(Refusal):
    """The caller's deadline passed before there was an answer."""

    grpc = "DEADLINE_EXCEEDED"
    aws = "DeadlineExceededException"


class NotSupported(Refusal):
    """Sandlot does not do this (yet); never silently ignored.

    On AWS's wire a field or value of that kind is an invalid parameter; a whole
    operation has the reason `OperationNotSupported` and an answer of its own.
    """

    grpc = "UNIMPLEMENTED"


class Fault(SandlotError):
    """Our side broke."""

    is_logged: ClassVar[bool] = True
    """Whether each is worth a traceback in the engine's log."""


class Unavailable(Fault):
    """Our side broke before the work began, so it is safe to send it again."""

    grpc = "UNAVAILABLE"


class Stopping(Unavailable):
    """The same without anything broken: the engine was told to end."""

    is_logged = False

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Unavailable.__name__)


class Troubled(Unavailable):
    """The same for as long as something lasts that has been told once, as a full disk:
    a log of each call that it refuses would hide it, and take of the room itself."""

    is_logged = False

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Unavailable.__name__)


class CutShort(Fault):
    """The engine was told to end, and did not wait for this any longer: nothing is
    broken, and the work may have been done. So it is not `UNAVAILABLE`, which gRPC's
    clients may send again by themselves.
    """

    grpc = "INTERNAL"
    is_logged = False

    def __init__(
        self,
        message: str = "the engine is stopping, or restarting, and waited no longer for"
        " this to end: what was asked for may have been done. Look before you send it"
        " again",
    ) -> None:
        super().__init__(message)


class Internal(Fault):
    """Our side broke, and the work may have been done."""

    grpc = "INTERNAL"
