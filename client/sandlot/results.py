"""What calls return: frozen values that know nothing of the wire.

Durations end in `_ms`, sizes in `_mb`; times are aware datetimes, UTC.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from sandlot import prices
from sandlot.errors import SandlotError

JSON: TypeAlias = Any
"""An event or an answer: what `json.dumps` takes and `json.loads` gives.

`Any`, because its shape is between the caller and the function; the only `Any` that
the public signatures hold.
"""


class FunctionState(StrEnum):
    """`PENDING → ACTIVE | FAILED`, and `INACTIVE` after long disuse."""

    PENDING = "Pending"
    ACTIVE = "Active"
    FAILED = "Failed"
    INACTIVE = "Inactive"


class UpdateStatus(StrEnum):
    """How the latest change went; the old revision serves until `SUCCESSFUL`."""

    NONE = ""
    IN_PROGRESS = "InProgress"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"


class InitMode(StrEnum):
    """How instances come to be."""

    AUTO = "auto"
    PER_INSTANCE = "per-instance"


class Network(StrEnum):
    """What a function can reach, from the least to the most."""

    NONE = "none"
    """A loopback of its own, and no way out."""

    EGRESS = "egress"
    """Out to public addresses, and to what the operator allowed its tenant besides."""

    HOST = "host"
    """The machine's own network, local services included."""


class UrlAuth(StrEnum):
    """Who may call a function URL."""

    IAM = "iam"
    """Whoever signs, as AWS's tools do, with a key that may."""

    NONE = "none"
    """Anybody who can reach the engine."""


class Status(StrEnum):
    """How an invocation ended; everything but OK is the function's own failure."""

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    INIT_FAILED = "init-failed"


class LogSource(StrEnum):
    """Who wrote a line; a function cannot write lines of the platform."""

    PLATFORM = "platform"
    FUNCTION = "function"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function as the engine knows it."""

    name: str
    arn: str
    version: str
    handler: str
    runtime: str
    memory_mb: int
    timeout_s: int
    environment: dict[str, str]
    ephemeral_storage_mb: int
    description: str
    init_mode: InitMode
    network: Network
    code_size: int
    """Bytes of the package."""

    code_sha256: str
    """Of the package, base64 as AWS gives it."""

    state: FunctionState
    state_reason: str
    update_status: UpdateStatus
    update_reason: str
    fork_safe: bool
    """Whether instances are forked from a zygote that has imported the handler."""

    fork_safety_reason: str
    """What the import left behind that a fork would share; empty if nothing."""

    last_modified: datetime
    revision_id: str
    """Changes with every change of the function."""

    image: str = ""
    """The container image that it is, in place of a package: `oci:PATH:TAG`."""

    instances: int = 0
    """That live of what serves, whatever they do."""

    standbys: int = 0
    """Of them, those that nobody has used yet, ready for a cold start."""

    snap_start: bool = False
    """AWS's SnapStart, of versions that are published."""

    entry_point: tuple[str, ...] = ()
    """What is run of an image; where it is empty, what the image says."""

    command: tuple[str, ...] = ()
    """What follows the entry point; where it is empty, what the image says."""

    working_directory: str = ""
    """Where it is run; where it is empty, where the image says."""

    @property
    def import_error(self) -> str:
        """Why the handler cannot be imported, and all invocations fail; else empty."""
        reason = self.fork_safety_reason
        return next(
            (reason.removeprefix(one) for one in NO_IMPORT if reason.startswith(one)),
            "",
        )


NO_IMPORT = ("the import failed: ", "the import ended the process: ")
"""How the engine's reason for not forking instances begins where there is nothing to
fork. In the first it quotes the function's own error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an invocation took and costs."""

    request_id: str
    duration_ms: float
    init_ms: float | None
    """What the start of the instance took; None where a warm one was used."""

    wait_ms: float
    """From the call's arrival to the moment an instance was assigned."""

    billed_ms: int
    billed_mb_ms: int
    """memory_mb x billed_ms: the unit that bills sum."""

    memory_mb: int
    max_memory_mb: int
    cold: bool

    @property
    def cost(self) -> Decimal:
        """Dollars for this one, exact; for many, price their sum (see `Bill`)."""
        return prices.compute(self.billed_mb_ms) + prices.requests(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to an invocation."""

    payload: bytes
    """What the handler returned, or the error object, as JSON; empty for events."""

    report: Report | None
    """None for events and dry runs."""

    log_tail: bytes = field(repr=False)
    """The last 4 KB of the log, if asked for; any bytes, they are the function's."""

    request_id: str
    executed_version: str
    status: Status | None
    """None for events and dry runs."""

    function_error: str
    """`Unhandled` where the function failed, else empty."""

    replayed: bool = False
    """Whether it is the answer to an earlier request with the same idempotency key."""

    @property
    def value(self) -> JSON:
        """The payload, decoded; None for an empty one."""
        return json.loads(self.payload) if self.payload else None


class EventState(StrEnum):
    """Where an event is; the last three are final."""

    UNKNOWN = ""
    QUEUED = "queued"
    RUNNING = "running"
    DELIVERING = "delivering"
    """It is over, and a destination or dead-letter target is being told."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """And whoever was to be told was."""

    DEAD = "dead"
    """It is in the dead-letter store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventAttempt:
    """One try to run an event."""

    started: datetime
    ended: datetime
    status: str
    """`ok`, `error`, `timeout`, `crashed`, `init-failed`; `system-error` where the
    engine's side broke, `interrupted` where the engine ended meanwhile."""

    error_type: str
    error: str
    version: str
    """Empty where none ran."""

    billed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What has become of an event."""

    request_id: str
    function: str
    qualifier: str
    state: EventState
    size: int
    """Bytes of its payload."""

    accepted: datetime
    next_attempt: datetime | None
    """While it is queued."""

    ended: datetime | None
    runs: int
    """How often its function has, or may have, run it."""

    throttles: int
    """How often there was no room for it."""

    condition: str
    """Why it left the queue: `Success`, `RetriesExhausted`, `EventAgeExceeded`, …"""

    reason: str
    """Why it waits, or why it failed."""

    undelivered: str
    """Why somebody who was to be told could not be; then it is dead."""

    attempts: tuple[EventAttempt, ...]
    """The last of them, oldest first."""

    @property
    def is_over(self) -> bool:
        return self.state in _OVER


_OVER = frozenset({EventState.SUCCEEDED, EventState.FAILED, EventState.DEAD})


@dataclass(frozen=True, slots=True, kw_only=True)
class MapResult:
    """What became of one value of a `map`: a reply or an error, or both.

    A function that failed has both: its `Reply`, and the `FunctionError` that says
    the same as an exception. A refused invocation has only an error.
    """

    index: int
    """Which of the values, from 0."""

    reply: Reply | None
    error: SandlotError | None
    elapsed_ms: float
    """From handing it to the stream to having its answer, by this side's clock."""

    @property
    def value(self) -> JSON:
        """What the function returned. Raises `error` if there is one."""
        if self.error is not None:
            raise self.error
        return self.reply.value if self.reply else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """What browsers are told of other sites' scripts; `*` is any."""

    origins: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    """Those that requests may have."""

    expose_headers: tuple[str, ...] = ()
    """Those of answers that scripts may see."""

    credentials: bool = False
    max_age_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """An address at which HTTP requests are invocations."""

    function: str
    alias: str
    """Empty for `$LATEST`."""

    url: str
    auth: UrlAuth
    stream: bool
    """Whether answers are passed on while they are made."""

    cors: Cors | None
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of a function's log, without its line end."""

    time: datetime
    request_id: str
    """Empty for what the import printed."""

    source: LogSource
    data: bytes
    """The line as it was written: any bytes."""

    @property
    def text(self) -> str:
        """The line as text; still the tenant's, so escape it before printing."""
        return self.data.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is kept of an invocation that ran."""

    function: str
    time: datetime
    status: Status | None
    error_type: str
    report: Report

    @property
    def request_id(self) -> str:
        return self.report.request_id


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """A sum of the ledger: integers, priced only when asked."""

    function: str
    """Empty in the total."""

    invocations: int
    billed_ms: int
    billed_mb_ms: int

    @property
    def gb_seconds(self) -> Decimal:
        return prices.gb_seconds(self.billed_mb_ms)

    @property
    def requests_cost(self) -> Decimal:
        return prices.requests(self.invocations)

    @property
    def compute_cost(self) -> Decimal:
        return prices.compute(self.billed_mb_ms)

    @property
    def cost(self) -> Decimal:
        """Dollars, exact."""
        return self.requests_cost + self.compute_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a tenant owes for a span of time."""

    tenant_id: str
    lines: tuple[BillLine, ...]
    """By function."""

    total: BillLine
    """The exact sum of the lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """An owner of functions."""

    id: str
    """Twelve digits."""

    name: str
    concurrency: int
    network: Network
    """The most that its functions may have."""

    network_allow: tuple[str, ...]
    """What its functions with `EGRESS` may reach although it is not public: CIDRs."""

    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key, without its secret."""

    tenant_id: str
    access_key_id: str
    is_operator: bool
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key with its secret, which is shown this once."""

    tenant_id: str
    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationLayer:
    """One thing that the jail relies on."""

    name: str
    stops: str
    holds: bool
    detail: str
    given_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """An interpreter that functions can use."""

    name: str
    version: str
    """Empty for those that bring their own, and those that cannot be used."""

    kind: Literal["zygote", "program"] | None = None
    """What an instance is: a clone, or a program that speaks the Runtime API. None
    where that was not asked for."""

    path: str = ""
    """The interpreter on the engine's machine, for operators."""

    is_registered: bool = False
    problem: str = ""
    """Why it cannot be used; empty where it can."""

    functions: int = 0
    """How many functions use it in any version, for operators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """What the engine is and can do."""

    version: str
    mode: str
    """`root` or `rootless`."""

    layers: tuple[IsolationLayer, ...]
    runtimes: tuple[Runtime, ...]
    zygotes: int
    instances: int
    on_host_network: dict[str, int]
    """How many functions share the machine's network, by tenant; for operators."""
