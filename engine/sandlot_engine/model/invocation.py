"""Invocations: what is asked, how it ended, and what is kept of it.

Half a dozen of these values are made for each invocation. So they are `msgspec`'s
structures, which are as fixed as frozen dataclasses are, and made ten times as fast;
`msgspec.structs.replace` makes others of them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

MAX_PAYLOAD = 6_291_456
"""Bytes of a synchronous event (AWS: 6 MB)."""

MAX_RESPONSE = 6_291_556
"""Bytes of an answer (AWS: 6 MB + 100)."""

MAX_EVENT_PAYLOAD = 1_048_576
"""Bytes of an asynchronous event (AWS: 1 MB)."""

MAX_CLIENT_CONTEXT = 3_583
"""Bytes of the client context."""

MAX_ISOLATION_KEY = 256
"""Characters of an isolation key."""

MAX_LOG_TAIL = 4_096
"""Bytes of log returned with an answer."""


class InvocationType(StrEnum):
    """AWS's three."""

    REQUEST_RESPONSE = "RequestResponse"
    EVENT = "Event"
    DRY_RUN = "DryRun"


class Status(StrEnum):
    """How an invocation ended; but for OK and CANCELLED, by the function's failure."""

    OK = "ok"
    ERROR = "error"
    """The handler raised, or its answer could not be used."""

    TIMEOUT = "timeout"
    CRASHED = "crashed"
    """The instance exited or was killed."""

    INIT_FAILED = "init-failed"
    """The handler could not be imported."""

    CANCELLED = "cancelled"
    """Its caller went away before the answer. Nobody is told but records and metrics.
    """


class Sink(Protocol):
    """Who takes an answer while it is made. May be slow: then its function waits."""

    version: str
    """Of the function, for it to know: set before anything is run."""

    @property
    def is_full(self) -> bool: ...

    def begin(self, content_type: str) -> None:
        """Once, before the first piece."""
        ...

    def write(self, piece: bytes) -> None: ...

    def when_room(self, call: Callable[[], None]) -> None:
        """Call that once, as soon as it is not full any more."""
        ...


class IdempotencyKey(Struct, frozen=True, kw_only=True):
    """Says that requests are one and the same, however often they are sent."""

    key: str
    """1 to 255 visible characters of ASCII."""

    sender: str = ""
    """Whose it is: one sender's key is not another's. Empty is the tenant's own."""

    request: bytes
    """A hash of what has to be the same under the same key."""


class Invocation(Struct, frozen=True, kw_only=True):
    """One request to run a function, after parsing and authentication."""

    request_id: str
    """A UUID."""

    tenant_id: str
    function: str
    payload: bytes
    """JSON; an empty event was replaced by `{}` at the edge."""

    qualifier: str = ""
    """A version or an alias; empty is `$LATEST`."""

    invoked_arn: str = ""
    """As the caller addressed the function, for its context; empty where the caller
    used no ARN and the engine makes one, unqualified if no qualifier was given."""

    isolation_key: str = ""
    """AWS's `X-Amz-Tenant-Id`: whom a function with tenant isolation works for, 1 to
    256 characters. Nothing of one key is ever used for another."""

    type: InvocationType = InvocationType.REQUEST_RESPONSE
    client_context: str = ""
    tail_log: bool = False
    idempotency: IdempotencyKey | None = None
    """Where it must not be run again for a caller who sends it twice."""

    outlives_caller: bool = False
    """Whether it runs to its end although its caller went away."""

    sink: Sink | None = None
    """Where its answer goes if the function makes it in pieces; else it comes whole."""
    trace: str = ""
    """Root, Parent and Sampled of the caller's X-Amzn-Trace-Id, if there was one."""

    lineage: str = ""
    """Which functions led to it, as `events/lineage.py` writes it."""

    trace_id: str = ""
    """X-Amzn-Trace-Id for the function, whose calls of AWS's SDK carry it on."""

    arrived: float
    """`Clock.monotonic` when the call came in, seconds."""


class Report(Struct, frozen=True, kw_only=True):
    """What an invocation took, by the engine's own clock, never the tenant's."""

    duration_ms: float
    init_ms: float | None
    """None where a warm instance was used."""

    wait_ms: float
    """From arrival to the assignment of an instance."""

    billed_ms: int
    memory_mb: int
    max_memory_used_mb: int

    @property
    def billed_mb_ms(self) -> int:
        """The unit that is summed; money is computed from sums."""
        return self.memory_mb * self.billed_ms

    @property
    def is_cold(self) -> bool:
        return self.init_ms is not None


class LogSource(StrEnum):
    """Who wrote a line; a function cannot write lines of the platform."""

    PLATFORM = "platform"
    FUNCTION = "function"


class LogLine(Struct, frozen=True, kw_only=True):
    """A line of a function's log, without its line end."""

    time: datetime
    """UTC, when the engine read it."""

    request_id: str
    """Empty for what the import printed in a zygote."""

    source: LogSource
    text: bytes
    """The tenant's bytes: never a key, a path or a format string."""


class Outcome(Struct, frozen=True, kw_only=True):
    """How an invocation ended: the value that travels back to the caller."""

    request_id: str
    status: Status
    payload: bytes
    """What the handler returned, or AWS's error object, as JSON."""

    executed_version: str
    report: Report
    error_type: str = ""
    log: tuple[LogLine, ...] = ()
    """START, what the function printed (bounded), END, REPORT."""

    log_tail: bytes = b""
    """The last `MAX_LOG_TAIL` bytes of the log, as AWS formats it."""

    is_streamed: bool = False
    """Whether the payload, but for an error object, went to the invocation's sink."""

    is_replayed: bool = False
    """Whether it is the answer to an earlier request with the same idempotency key."""

    @property
    def function_error(self) -> str:
        """The value of `X-Amz-Function-Error`."""
        return "" if self.status is Status.OK else "Unhandled"


class Record(Struct, frozen=True, kw_only=True):
    """What is kept of an invocation that ran: one row of the ledger."""

    request_id: str
    tenant_id: str
    function: str
    version: str
    time: datetime
    """UTC, when it ended."""

    status: Status
    error_type: str
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """A sum over records. Integers only."""

    function: str
    invocations: int
    billed_ms: int
    billed_mb_ms: int


class Ended(StrEnum):
    """How the instance's part in an invocation ended, as the node saw it."""

    ANSWERED = "answered"
    """The handler returned; `payload` is its answer."""

    FAILED = "failed"
    """The runtime reported an error; `payload` is its error object."""

    INIT_FAILED = "init-failed"
    """The import failed; `payload` is the runtime's error object."""

    TIMED_OUT = "timed-out"
    INIT_TIMED_OUT = "init-timed-out"
    """The init phase was too long. The scheduler tries again; nobody above sees it."""

    EXITED = "exited"
    """The instance exited by itself, with `exit_code`."""

    SIGNALED = "signaled"
    """The instance was killed by `signal`, not by us."""

    TOO_LARGE = "too-large"
    """The answer was over `MAX_RESPONSE`."""

    VIOLATION = "violation"
    """What came back was not a frame, or not one that was asked for; we killed it."""

    ABANDONED = "abandoned"
    """Its caller went away, and we killed it."""


class Run(Struct, frozen=True, kw_only=True):
    """What a node saw of one invocation, before it is put in AWS's words."""

    ended: Ended
    payload: bytes = b""
    error_type: str = ""
    """From the runtime's error object; checked to be a short plain string."""

    exit_code: int | None = None
    signal: int | None = None
    why: str = ""
    """Of an extension that ended: the tenant's word, for the error message."""

    init_s: float | None = None
    """None where a warm instance was used."""

    init_is_within: bool = False
    """Whether that is a part of the invocation: its environment was reset, or an init
    had taken too long before. AWS calls it suppressed."""

    late_init_s: float | None = None
    """What an init before that took, which took too long."""

    is_restore: bool = False
    """Whether its start was from a snapshot, as AWS has them: `init_s` is what it took,
    with the after-restore hooks."""

    is_provisioned: bool = False
    """Whether its instance was started for what its tenant has provisioned."""

    duration_s: float
    wait_s: float
    max_memory_mb: int
    log: tuple[LogLine, ...] = ()
    """What the function printed, bounded."""

    is_streamed: bool = False
    """Whether the payload, but for an error object, went to the invocation's sink."""

    log_bytes_dropped: int = 0
    extensions_s: float = 0.0
    """What extensions took after the answer; part of the duration."""

    lost_because: str = ""
    """Error type of what ended the instance after the answer."""

    rest: Callable[[], Awaitable["Run"]] | None = None
    """Where the function's extensions work on: waits until they have done, within the
    function's timeout, for what the invocation came to with them."""
