"""How invocations went, and what they printed."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias

from sandlot import prices
from sandlot.errors import SandlotError

JSON: TypeAlias = Any
"""An event or an answer: what `json.dumps` takes and `json.loads` gives.

`Any`, because its shape is between the caller and the function; the only `Any` that
the public signatures hold.
"""


class Status(StrEnum):
    """How an invocation ended; but for OK and CANCELLED, by the function's failure."""

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    INIT_FAILED = "init-failed"
    CANCELLED = "cancelled"
    """Its caller went away: only past invocations have it."""


class LogSource(StrEnum):
    """Who wrote a line; a function cannot write lines of the platform."""

    PLATFORM = "platform"
    FUNCTION = "function"


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
        """The payload, decoded; None for an empty one. Raises `ValueError` where it is
        no JSON, as programs and answers in pieces may be."""
        return json.loads(self.payload) if self.payload else None


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
