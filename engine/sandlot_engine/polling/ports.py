"""What reading a queue needs of others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sandlot_engine.model.invocation import Invocation, Outcome
from sandlot_engine.polling.records import Message
from sandlot_engine.polling.sources import Source

Reserved = Callable[[str], Mapping[str, int]]
"""A tenant's reserved concurrency by function; from memory."""

Raw = Sequence[dict[str, Any]]
Sorted = tuple[list[Message], list[str]]
"""Those that were chosen, and the handles of the others."""


class Invoking(Protocol):
    """The invoker: by it batches are invocations as all others."""

    async def invoke(self, invocation: Invocation, deadline: float | None) -> Outcome:
        """Raises `Throttled` and the like where it was not started."""
        ...

    async def dry_run(self, invocation: Invocation) -> None:
        """Raise what `invoke` would, as far as that can be said."""
        ...


class Telling(Protocol):
    """Of `Queues`, what `Settling` needs."""

    async def delete(self, source: Source, handles: Sequence[str]) -> list[str]: ...

    async def release(self, source: Source, handles: Sequence[str]) -> None: ...


class Asking(Telling, Protocol):
    """Of `Queues`, what a reader needs."""

    async def receive(
        self,
        source: Source,
        *,
        count: int,
        wait_s: int,
        read: Callable[[Raw], Sorted],
    ) -> Sorted: ...

    async def visibility_s(self, source: Source) -> float: ...


class Endpoint(Asking, Protocol):
    """Of `Queues`, what a poller needs."""

    @property
    def has_endpoint(self) -> bool: ...
