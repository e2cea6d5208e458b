"""How the jailed side of an invocation ended, as the host saw it."""

from dataclasses import dataclass, field
from enum import StrEnum


class Ended(StrEnum):
    """The tenant's doing, every one of them: our own failures are exceptions."""

    ANSWERED = "answered"
    FAILED = "failed"
    """The runtime reported an error; `payload` is its error object."""

    INIT_FAILED = "init-failed"
    TIMED_OUT = "timed-out"
    INIT_TIMED_OUT = "init-timed-out"
    EXITED = "exited"
    SIGNALED = "signaled"
    TOO_LARGE = "too-large"
    VIOLATION = "violation"


@dataclass(slots=True, kw_only=True)
class Ending:
    """One invocation on one instance. Only `ANSWERED` and `FAILED` leave it usable.

    Not frozen, as there is one for each invocation: that would take three times as long
    to make. Nobody changes it."""

    ended: Ended
    payload: bytes = b""
    error_type: str = ""
    why: str = ""
    """Of an extension that ended: the tenant's word, for its error message."""

    exit_code: int | None = None
    signal: int | None = None
    init_s: float | None = None
    """Of the instance, where this was its first invocation."""

    init_is_within: bool = False
    """Whether it was a part of the invocation, for which it was done again: what AWS
    Lambda calls a suppressed init."""

    duration_s: float
    peak_memory_kb: int
    """At most the function's size."""

    is_streamed: bool = False
    """Whether the payload, but for an error, went to the invocation's sink."""

    printed: tuple[tuple[float, bytes], ...] = field(default=(), repr=False)
    """Lines with the wall-clock time at which we read them, without line ends."""

    dropped: int = 0
    """Bytes printed beyond what is kept."""

    @property
    def is_reusable(self) -> bool:
        """Whether the instance may serve another event."""
        return self.ended in (Ended.ANSWERED, Ended.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What an instance's extensions did after the answer of an invocation."""

    duration_s: float
    peak_memory_kb: int
    error_type: str = ""
    """Why the instance is lost, if it is; `Sandbox.Timedout` where they took too long.
    """

    printed: tuple[tuple[float, bytes], ...] = field(default=(), repr=False)
    dropped: int = 0
