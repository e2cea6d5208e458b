"""What can go wrong, for callers of the SDK. No error of gRPC ever gets out.

    SandlotError
    ├── FunctionError           the function's own code failed
    │   ├── Unhandled           it raised, or its answer could not be used
    │   ├── TimedOut            its timeout passed
    │   ├── OutOfMemory         it used more than its memory size
    │   ├── SyscallDenied       it made a system call that the jail forbids
    │   ├── InitFailed          its handler could not be imported
    │   └── Crashed             its process exited or was killed
    ├── Refused                 the engine will not; the message says what would help
    │   ├── InvalidParameter
    │   │   └── UsageError      noticed here, before anything was asked of an engine
    │   ├── NotFound
    │   ├── AlreadyExists
    │   ├── Conflict            not now: something else is changing it
    │   ├── PermissionDenied
    │   ├── Unauthenticated
    │   ├── Throttled           too much at once; `retry_after` says when to come back
    │   ├── QuotaExceeded       too much altogether; waiting does not help
    │   ├── PayloadTooLarge
    │   ├── NotSupported
    │   └── DeployFailed        the new code or settings could not be made ready
    ├── Fault                   the engine broke
    │   ├── Unavailable         before the work began: sending it again is safe
    │   └── Internal            the work may have been done
    ├── DeadlineExceeded        no answer in time; the work may have been done
    └── ConnectionFailed        no engine answered; the work may have been done

Where the transport failed, `__cause__` keeps its error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandlot.results import Report


class SandlotError(Exception):
    """`message` says what, why and what to do next."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        facts: Mapping[str, str] | None = None,
        docs_url: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).__name__
        """The class's name, or finer: `ConcurrentInvocationLimitExceeded`."""
        self.request_id = request_id
        self.retry_after = retry_after
        """Seconds after which it may work; None where waiting does not help."""
        self.facts = dict(facts or {})
        """What else the engine said: `limit`, `field`, `resource_name` and the like."""
        self.docs_url = docs_url

    @property
    def limit(self) -> int | None:
        """The limit that was reached, where one was."""
        text = self.facts.get("limit", "")
        return int(text) if text.isdecimal() else None

    def as_dict(self) -> dict[str, object]:
        """The error as plain values, for logs and for `--json`."""
        return {
            "error": type(self).__name__,
            "reason": self.reason,
            "message": self.message,
            "request_id": self.request_id,
            "retry_after": self.retry_after,
        }


class FunctionError(SandlotError):
    """The function's own code failed; type, message and stack_trace are its words."""

    def __init__(
        self,
        message: str,
        *,
        type: str = "",  # noqa: A002  # AWS's error object calls it so, and so do users
        stack_trace: tuple[str, ...] = (),
        request_id: str = "",
        report: Report | None = None,
        payload: bytes = b"",
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.type = type
        """The name of the exception's class, or the engine's: `Sandbox.Timedout`."""
        self.stack_trace = stack_trace
        self.report = report
        self.payload = payload
        """The error object as it came, JSON."""

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.type, self.message)))


class Unhandled(FunctionError):
    """The handler raised, or its answer could not be used."""


class TimedOut(FunctionError):
    """The function's timeout passed."""


class OutOfMemory(FunctionError):
    """The function used more than its memory size."""


class SyscallDenied(FunctionError):
    """The function made a system call that the jail forbids."""


class InitFailed(FunctionError):
    """The handler could not be imported."""


class Crashed(FunctionError):
    """The function's process exited or was killed."""


class Refused(SandlotError):
    """The engine will not, and the message says what would change that."""


class InvalidParameter(Refused):
    """Something in the request, or in the client's settings, is not as it must be."""


class UsageError(InvalidParameter):
    """Noticed on this side: an argument, a setting or a file is not as it must be."""


class NotFound(Refused):
    """There is no such thing, or not for this tenant."""


class AlreadyExists(Refused):
    """The name is taken."""


class Conflict(Refused):
    """Not in the state the thing is in now."""


class PermissionDenied(Refused):
    """The key is good, but not for this."""


class Unauthenticated(Refused):
    """No key, an unknown key, or a wrong secret."""


class Throttled(Refused):
    """Over a limit on how much at once or how fast."""


class QuotaExceeded(Refused):
    """Over a limit on how much altogether."""


class PayloadTooLarge(Refused):
    """An event, a package or an environment is over its limit."""


class NotSupported(Refused):
    """The engine does not do this."""


class DeployFailed(Refused):
    """The new code or settings could not be made ready; the old ones still serve."""


class Fault(SandlotError):
    """The engine broke."""


class Unavailable(Fault):
    """The engine broke before the work began."""


class Internal(Fault):
    """The engine broke, and the work may have been done."""


class DeadlineExceeded(SandlotError):
    """No answer in time; the work may have been done."""


class ConnectionFailed(SandlotError):
    """No engine answered, or the connection was lost; the work may have been done."""
