"""Errands of several calls, as generators: they yield what to do, and get the result.

    step ── Call ──► the client sends it ──► its result, or its error, comes back in
         └─ Pause ─► the client sleeps

So each is written once: the blocking client and the asynchronous one only differ in
how they carry out a step. The deadline is theirs too, one for the whole errand.

Retries: gRPC itself repeats reads on UNAVAILABLE (see `transport`). Anything else
is repeated only on the engine's own word that it did not start. A lost connection is
UNAVAILABLE to gRPC as well, and repeating an invocation after that would run it twice,
unless it has an idempotency key.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

from sandlot import calls, failures
from sandlot.calls import Call, FunctionOptions
from sandlot.errors import (
    ConnectionFailed,
    DeadlineExceeded,
    DeployFailed,
    Unavailable,
)
from sandlot.results import (
    Event,
    Function,
    FunctionState,
    ProvisionedConcurrency,
    ProvisionStatus,
    Reply,
    UpdateStatus,
)

T = TypeVar("T")

BACKOFF_S = (0.05, 0.1, 0.2)
"""Pauses before the second, third and fourth attempt."""

FIRST_POLL_S, LAST_POLL_S = 0.02, 0.5
"""Pauses between looks at a function being made ready; each is half as long again."""

WAIT_EVENT_S = 20.0
"""How long one call waits for an event to be over."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for a while."""

    seconds: float


Steps: TypeAlias = Generator[Call[Any] | Pause, Any, T]


def ask(call: Call[T]) -> Steps[T]:
    """One call, repeated while the engine says that it did not start; and, where that
    does no harm, when the connection was lost."""
    again = (Unavailable, ConnectionFailed) if call.has_key else (Unavailable,)
    for pause_s in () if call.is_read else BACKOFF_S:
        try:
            return cast(T, (yield call))
        except again:
            yield Pause(pause_s)
    return cast(T, (yield call))


def invoke(call: Call[Reply], *, check: bool) -> Steps[Reply]:
    """An invocation. With `check`, a function that failed raises."""
    reply = yield from ask(call)
    if check:
        failures.raise_if_failed(reply)
    return reply


def configure(name: str, options: FunctionOptions) -> Steps[Function]:
    """Change settings, and wait until they serve."""
    yield from ask(calls.update_configuration(name, options))
    return (yield from ready(name))


def publish(name: str, call: Call[Function]) -> Steps[Function]:
    """Publish a version, and wait until it can be invoked."""
    version = yield from ask(call)
    return (yield from ready(name, version.version))


def provision(
    name: str, qualifier: str | int, count: int
) -> Steps[ProvisionedConcurrency]:
    """Ask for instances, and look until they are there, or it is clear that not."""
    put = calls.put_provisioned_concurrency(name, qualifier, count)
    look = calls.get_provisioned_concurrency(name, qualifier)
    pause_s = FIRST_POLL_S
    found = yield from ask(put)
    while found.status is ProvisionStatus.IN_PROGRESS:
        try:
            yield Pause(pause_s)
            found = yield from ask(look)
        except DeadlineExceeded as error:
            raise DeadlineExceeded(
                f"{found.available} of {count} instances of {name}:{qualifier} are "
                "there, and the others are still being started: "
                f"see `sandlot concurrency show {name}`"
            ) from error
        pause_s = min(pause_s * 1.5, LAST_POLL_S)
    return found


def wait_event(request_id: str) -> Steps[Event]:
    """Ask until the event is over; the engine answers when it is, or after a while."""
    while True:
        event = yield from ask(calls.get_event(request_id, wait_s=WAIT_EVENT_S))
        if event.is_over:
            return event
        # An engine that is stopping answers at once.
        yield Pause(FIRST_POLL_S)


def redrive_events(*, function: str, request_id: str) -> Steps[int]:
    """All of them; how many these were."""
    return _all(calls.redrive_events(request_id=request_id, function=function))


def purge_events(*, function: str, request_id: str) -> Steps[int]:
    """Likewise."""
    return _all(calls.purge_events(request_id=request_id, function=function))


def _all(some: Call[tuple[int, bool]]) -> Steps[int]:
    """A call does this many, and says whether there are more."""
    total = 0
    while True:
        count, more = yield from ask(some)
        total += count
        if not more:
            return total


def ready(name: str, version: str = "") -> Steps[Function]:
    """Look until it serves. Raises `DeployFailed`, which says why not."""
    function = yield from settled(name, version)
    if function.state is FunctionState.FAILED:
        what = _qualified(name, version)
        raise DeployFailed(
            f"{what} could not be made ready: {function.state_reason}",
            facts={"function": name},
        )
    if function.update_status is UpdateStatus.FAILED:
        raise DeployFailed(
            f"the change of {name} failed and what was there before still serves: "
            f"{function.update_reason}",
            facts={"function": name},
        )
    return function


def settled(name: str, version: str = "") -> Steps[Function]:
    """Look until nothing is being made ready; how it went is for the caller."""
    pause_s = FIRST_POLL_S
    look = calls.get_function(name, qualifier=version)
    function = yield from ask(look)
    while _is_in_the_making(function):
        try:
            yield Pause(pause_s)
            function = yield from ask(look)
        except DeadlineExceeded as error:
            what = _qualified(name, version)
            raise DeadlineExceeded(
                f"{what} is still being made ready, and goes on being so: "
                f"see `sandlot fn show {what}`"
            ) from error
        pause_s = min(pause_s * 1.5, LAST_POLL_S)
    return function


def _qualified(name: str, version: str) -> str:
    return f"{name}:{version}" if version else name


def _is_in_the_making(function: Function) -> bool:
    return (
        function.state is FunctionState.PENDING
        or function.update_status is UpdateStatus.IN_PROGRESS
    )
