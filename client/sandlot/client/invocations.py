"""Invocations whose caller waits, and what is told of past ones."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from sandlot import calls, steps
from sandlot.client.connection import Service
from sandlot.results import JSON, LogLine, MapResult, Reply, Run
from sandlot.times import When, point_in_time
from sandlot.transport import CALL_DEADLINE_S, INVOKE_DEADLINE_S, STREAM_DEADLINE_S
from sandlot.v1 import invocations_pb2 as pb
from sandlot.window import Window


class Invocations(Service):
    """See `Client`."""

    def invoke(
        self,
        name: str,
        value: JSON = None,
        *,
        payload: bytes | None = None,
        deadline: float | None = None,
        tail_log: bool = False,
        qualifier: str = "",
        client_context: JSON = None,
        idempotency_key: str = "",
        check: bool = True,
    ) -> Reply:
        """Run a function with `value` as its event, or with `payload` as it is.

        A function that fails raises a `FunctionError`; with `check=False` its reply is
        returned like any other. What is sent again under the same `idempotency_key`
        gets the first reply, and runs no second time.
        """
        request = calls.invoke_request(
            name,
            value,
            payload=payload,
            tail_log=tail_log,
            qualifier=qualifier,
            client_context=client_context,
            idempotency_key=idempotency_key,
        )
        errand = steps.invoke(calls.invoke(request), check=check)
        return self._connection.drive(errand, deadline, INVOKE_DEADLINE_S)

    def stream(
        self,
        name: str,
        value: JSON = None,
        *,
        payload: bytes | None = None,
        deadline: float | None = None,
        tail_log: bool = False,
        qualifier: str = "",
        client_context: JSON = None,
        ended: Callable[[Reply], object] = lambda _: None,
    ) -> Iterator[bytes]:
        """Run a function and yield its answer in pieces, while it makes them.

        That is what functions do that are generators, or that write to a stream; of
        others the answer comes as JSON in one piece or more. One that fails raises a
        `FunctionError`, and what came before is not all. `ended` is called with the
        reply, without its payload, when the answer is whole. Closing the iterator
        early ends the invocation.
        """
        request = calls.invoke_request(
            name,
            value,
            payload=payload,
            tail_log=tail_log,
            qualifier=qualifier,
            client_context=client_context,
        )
        limit = self._connection.limit(deadline, INVOKE_DEADLINE_S)
        return self._connection.pieces(calls.invoke_stream(request), limit, ended)

    def dry_run(self, name: str, *, qualifier: str = "") -> None:
        """Return if the function could be invoked, raise what stands in the way."""
        request = calls.invoke_request(
            name, qualifier=qualifier, invocation_type=pb.INVOCATION_TYPE_DRY_RUN
        )
        self._connection.ask(calls.invoke(request))

    def map(
        self,
        name: str,
        values: Iterable[JSON],
        *,
        concurrency: int = 16,
        ordered: bool = False,
        qualifier: str = "",
        deadline: float | None = None,
    ) -> Iterator[MapResult]:
        """Run a function on many values over one stream, `concurrency` at once.

        Results come when they are ready, or with `ordered` in the order of the values.
        One that failed is a result with an `error`. Values are taken as there is room,
        so they may be endless; a slow result holds up at most `concurrency` others.
        """
        window = Window(
            name,
            concurrency=concurrency,
            ordered=ordered,
            qualifier=qualifier,
            clock=time.monotonic,
        )
        limit = self._connection.limit(deadline, STREAM_DEADLINE_S)
        return self._connection.map(window, iter(values), limit)

    def runs(self, name: str = "") -> Iterator[Run]:
        """Past invocations, newest first; of all functions if no name is given."""
        return self._connection.pages(lambda token: calls.list_invocations(name, token))

    def logs(
        self,
        name: str,
        *,
        since: When | None = "10m",
        follow: bool = False,
        deadline: float | None = None,
    ) -> Iterator[LogLine]:
        """A function's log since then; with `follow`, go on until the deadline, and
        raise `DeadlineExceeded`."""
        start = point_in_time(since, now=datetime.now(UTC))
        call = calls.tail_logs(name, since=start, follow=follow)
        usual_s = STREAM_DEADLINE_S if follow else CALL_DEADLINE_S
        limit = self._connection.limit(deadline, usual_s)
        return (
            line for lines in self._connection.stream(call, limit) for line in lines
        )
