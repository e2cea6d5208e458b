"""The connection of an `AsyncClient`: it carries out what `calls` and `steps` describe.

Here is all that waits, for answers and between attempts; and the deadlines.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, TypeVar, cast

import grpc

from sandlot import calls, config, failures, steps, transport
from sandlot.calls import Call
from sandlot.errors import Internal, SandlotError, UsageError
from sandlot.parsing import Page
from sandlot.results import JSON, LogLine, MapResult, Reply
from sandlot.steps import Pause, Steps
from sandlot.transport import CALL_DEADLINE_S, Deadline
from sandlot.v1 import invocations_pb2 as pb
from sandlot.window import Window

T = TypeVar("T")


class AsyncConnection:
    """A connection to one engine, with one key. `deadline_s` is for calls that bring
    none."""

    def __init__(self, settings: config.Settings, *, deadline_s: float | None) -> None:
        self.endpoint = settings.address.endpoint
        self._deadline_s = deadline_s
        self._metadata = transport.metadata_of(settings)
        self._address = settings.address
        self._opened: grpc.aio.Channel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._methods: dict[str, grpc.aio.UnaryUnaryMultiCallable[Any, Any]] = {}

    async def close(self) -> None:
        """Calls under way are cancelled."""
        self._is_closed = True
        if self._opened is not None:
            await self._opened.close()

    def limit(self, deadline: float | None, usual_s: float) -> Deadline:
        """The call's own deadline, else the client's, else the usual one. Every call
        begins with it; raises `UsageError` where the client is closed."""
        if self._is_closed:
            raise UsageError("this client is closed: make another, or close it later")
        given = deadline if deadline is not None else self._deadline_s
        return Deadline(usual_s if given is None else given)

    async def ask(self, call: Call[T], deadline: float | None = None) -> T:
        """One call, sent again where that is safe."""
        return await self.drive(steps.ask(call), deadline, CALL_DEADLINE_S)

    async def drive(
        self, errand: Steps[T], deadline: float | None, usual_s: float
    ) -> T:
        """Carry out step after step; an error goes in where the step was asked for."""
        limit = self.limit(deadline, usual_s)
        try:
            step = next(errand)
            while True:
                try:
                    came_of_it = await self._take(step, limit)
                except SandlotError as error:
                    step = errand.throw(error)
                else:
                    step = errand.send(came_of_it)
        except StopIteration as stop:
            return cast(T, stop.value)

    async def _take(self, step: Call[T] | Pause, limit: Deadline) -> T | None:
        match step:
            case Pause(seconds=seconds):
                await asyncio.sleep(min(seconds, limit.left_s()))
                return None
            case Call():
                return await self._call(step, limit)

    async def _call(self, call: Call[T], limit: Deadline) -> T:
        channel = self._channel
        method = self._methods.get(call.method)
        if method is None:
            method = self._methods[call.method] = channel.unary_unary(
                call.method,
                request_serializer=type(call.request).SerializeToString,
                response_deserializer=call.response.FromString,
            )
        try:
            answer = await method(
                call.request, timeout=limit.left_s(), metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise failures.from_call(error, address=self._address) from error
        return call.parse(answer)

    @property
    def _channel(self) -> grpc.aio.Channel:
        # Not in __init__: a channel belongs to the loop that runs when it is opened.
        loop = asyncio.get_running_loop()
        if self._opened is None:
            self._opened, self._loop = _open(self._address), loop
        elif self._loop is not loop:
            raise UsageError(
                "this client was used in another event loop: make one in each, as"
                " asyncio.run() begins another every time"
            )
        return self._opened

    async def pages(self, ask: Callable[[str], Call[Page[T]]]) -> AsyncIterator[T]:
        """What is on all pages; `ask` asks for the one with a token."""
        token = ""
        while True:
            page = await self.ask(ask(token))
            for item in page.items:
                yield item
            if not (token := page.next_token):
                return

    async def stream(self, call: Call[T], limit: Deadline) -> AsyncGenerator[T, None]:
        """What comes of one call, one answer after the other."""
        stream = self._channel.unary_stream(
            call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response.FromString,
        )(call.request, timeout=limit.left_s(), metadata=self._metadata)
        try:
            async for answer in stream:
                yield call.parse(answer)
        except grpc.RpcError as error:
            raise failures.from_call(error, address=self._address) from error
        finally:
            stream.cancel()

    async def pieces(
        self,
        call: Call[bytes | Reply],
        limit: Deadline,
        ended: Callable[[Reply], object],
    ) -> AsyncIterator[bytes]:
        """The parts of an answer; what comes after the last is for `ended`."""
        async with aclosing(self.stream(call, limit)) as parts:
            async for part in parts:
                if isinstance(part, Reply):
                    failures.raise_if_failed(part)
                    ended(part)
                elif part:
                    yield part

    async def map(
        self, window: Window, values: AsyncIterator[JSON], limit: Deadline
    ) -> AsyncIterator[MapResult]:
        """What comes of each value, over one stream; `window` says how many at once."""
        # gRPC reads requests in a task of its own; None ends it.
        requests: asyncio.Queue[pb.InvokeManyRequest | None] = asyncio.Queue()
        stream = self._channel.stream_stream(
            calls.INVOKE_MANY,
            request_serializer=pb.InvokeManyRequest.SerializeToString,
            response_deserializer=pb.InvokeManyResponse.FromString,
        )(_until_none(requests), timeout=limit.left_s(), metadata=self._metadata)
        answers = aiter(stream)
        try:
            while True:
                while (
                    window.has_room and (value := await anext(values, _END)) is not _END
                ):
                    requests.put_nowait(window.sent(value))
                if window.is_empty:
                    break
                for result in window.answered(await _next_of(answers)):
                    yield result
            requests.put_nowait(None)
            await anext(answers, None)  # lets the engine end the stream by itself
        except grpc.RpcError as error:
            if failures.is_grpcs_own(error):
                await self._raise_if_refused(limit)
            raise failures.from_call(error, address=self._address) from error
        finally:
            stream.cancel()

    async def _raise_if_refused(self, limit: Deadline) -> None:
        """Raise what the engine says to a stream of no requests.

        Where it ends a stream in the moment in which grpc.aio writes to that, its word
        is lost, and what is told is that the write failed. Whoever may not call is
        refused before anything is written, too.
        """
        stream = self._channel.stream_stream(
            calls.INVOKE_MANY,
            request_serializer=pb.InvokeManyRequest.SerializeToString,
            response_deserializer=pb.InvokeManyResponse.FromString,
        )(iter(()), timeout=limit.left_s(), metadata=self._metadata)
        try:
            async for _ in stream:
                pass
        except grpc.RpcError as error:
            raise failures.from_call(error, address=self._address) from error

    async def lines(
        self, call: Call[tuple[LogLine, ...]], limit: Deadline
    ) -> AsyncIterator[LogLine]:
        """One by one."""
        async for lines in self.stream(call, limit):
            for line in lines:
                yield line


class AsyncService:
    """One of the engine's services, asked over a connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection


_END = object()
"""What no iterator of values yields."""


def _open(address: config.Address) -> grpc.aio.Channel:
    tls, options = transport.tls_of(address), transport.options_of(address)
    if tls is None:
        return grpc.aio.insecure_channel(address.endpoint, options=options)
    return grpc.aio.secure_channel(address.endpoint, tls, options=options)


async def _until_none(
    requests: asyncio.Queue[pb.InvokeManyRequest | None],
) -> AsyncIterator[pb.InvokeManyRequest]:
    while (request := await requests.get()) is not None:
        yield request


async def _next_of(
    answers: AsyncIterator[pb.InvokeManyResponse],
) -> pb.InvokeManyResponse:
    answer = await anext(answers, None)
    if answer is None:
        raise Internal("the engine ended the stream with answers still owed")
    return answer
