"""Which values of a `map` are on their way, and which answers may go out. Pure.

The window bounds what is held at any time: values sent and not answered, and, where
order is kept, answers that wait for an earlier one.
"""

from collections.abc import Callable

from sandlot import calls, failures, parsing
from sandlot.errors import Internal, UsageError
from sandlot.results import JSON, MapResult
from sandlot.v1 import invocations_pb2 as pb

MAX_CONCURRENCY = 10_000
"""How wide a window may be."""


class Window:
    """`sent` while there is `has_room`, then `answered` until it `is_empty`."""

    def __init__(
        self,
        function: str,
        *,
        concurrency: int,
        ordered: bool,
        qualifier: str,
        clock: Callable[[], float],
    ) -> None:
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise UsageError(
                f"concurrency is {concurrency}, and must be 1 to {MAX_CONCURRENCY}"
            )
        self._function, self._qualifier = calls.qualified(function, qualifier)
        self._concurrency = concurrency
        self._ordered = ordered
        self._clock = clock
        self._next = 0
        self._under_way: dict[int, float] = {}
        self._waiting: dict[int, MapResult] = {}
        """Answers that came before those of earlier values."""
        self._released = 0

    @property
    def has_room(self) -> bool:
        return len(self._under_way) + len(self._waiting) < self._concurrency

    @property
    def is_empty(self) -> bool:
        return not self._under_way

    def sent(self, value: JSON) -> pb.InvokeManyRequest:
        """Take in the next value; the request that carries it."""
        index, self._next = self._next, self._next + 1
        self._under_way[index] = self._clock()
        # Not checked here: one that is too large is refused by the engine, for itself,
        # and the others go on.
        request = pb.InvokeRequest(
            function=self._function,
            payload=calls.encode(value),
            qualifier=self._qualifier,
        )
        return pb.InvokeManyRequest(id=index, request=request)

    def answered(self, response: pb.InvokeManyResponse) -> list[MapResult]:
        """The results that may go out now that this answer has come."""
        sent_at = self._under_way.pop(response.id, None)
        if sent_at is None:
            raise Internal(f"the engine answered {response.id}, which was not asked")
        elapsed_ms = (self._clock() - sent_at) * 1000
        result = _result(response, elapsed_ms=elapsed_ms)
        if not self._ordered:
            return [result]
        self._waiting[result.index] = result
        return self._in_order()

    def _in_order(self) -> list[MapResult]:
        ready = []
        while result := self._waiting.pop(self._released, None):
            self._released += 1
            ready.append(result)
        return ready


def _result(response: pb.InvokeManyResponse, *, elapsed_ms: float) -> MapResult:
    if response.HasField("refused"):
        return MapResult(
            index=response.id,
            reply=None,
            error=failures.from_refused(response.refused),
            elapsed_ms=elapsed_ms,
        )
    reply = parsing.reply(response.response)
    return MapResult(
        index=response.id,
        reply=reply,
        error=failures.from_reply(reply) if reply.function_error else None,
        elapsed_ms=elapsed_ms,
    )
