"""The connection of a `Client`: it carries out what `calls` and `steps` describe.

Here is all that waits, for answers and between attempts; and the deadlines.
"""

import asyncio
import inspect
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from queue import SimpleQueue
from threading import Lock
from typing import Any, TypeVar, cast

import grpc

from sandlot import calls, config, failures, steps, transport
from sandlot.calls import Call
from sandlot.errors import Internal, SandlotError, UsageError
from sandlot.parsing import Page
from sandlot.results import JSON, MapResult, Reply
from sandlot.steps import Pause, Steps
from sandlot.transport import CALL_DEADLINE_S, Deadline
from sandlot.v1 import invocations_pb2 as pb
from sandlot.window import Window

T = TypeVar("T")


class Connection:
    """A connection to one engine, with one key. `deadline_s` is for calls that bring
    none."""

    def __init__(self, settings: config.Settings, *, deadline_s: float | None) -> None:
        self.endpoint = settings.address.endpoint
        self._deadline_s = deadline_s
        self._metadata = transport.metadata_of(settings)
        self._address = settings.address
        self._opened: grpc.Channel | None = None
        self._opening = Lock()
        self._methods: dict[str, grpc.UnaryUnaryMultiCallable[Any, Any]] = {}
        self._has_warned = False
        self._is_closed = False
        self._process = 0

    def close(self) -> None:
        """Calls under way fail."""
        self._is_closed = True
        if self._opened is not None:
            self._opened.close()

    def limit(self, deadline: float | None, usual_s: float) -> Deadline:
        """The call's own deadline, else the client's, else the usual one. Every call
        begins with it; raises `UsageError` where the client is closed, or a fork's."""
        if self._is_closed:
            raise UsageError("this client is closed: make another, or close it later")
        # A connection is not forked along, and gRPC takes it for one that was lost.
        self._process = self._process or os.getpid()
        if self._process != os.getpid():
            raise UsageError(
                "this client was used before this process was forked: make one in each"
            )
        given = deadline if deadline is not None else self._deadline_s
        return Deadline(usual_s if given is None else given)

    def ask(self, call: Call[T], deadline: float | None = None) -> T:
        """One call, sent again where that is safe."""
        return self.drive(steps.ask(call), deadline, CALL_DEADLINE_S)

    def drive(self, errand: Steps[T], deadline: float | None, usual_s: float) -> T:
        """Carry out step after step; an error goes in where the step was asked for."""
        self._warn_in_event_loop()
        limit = self.limit(deadline, usual_s)
        try:
            step = next(errand)
            while True:
                try:
                    came_of_it = self._take(step, limit)
                except SandlotError as error:
                    step = errand.throw(error)
                else:
                    step = errand.send(came_of_it)
        except StopIteration as stop:
            return cast(T, stop.value)

    def _take(self, step: Call[T] | Pause, limit: Deadline) -> T | None:
        match step:
            case Pause(seconds=seconds):
                time.sleep(min(seconds, limit.left_s()))
                return None
            case Call():
                return self._call(step, limit)

    def _call(self, call: Call[T], limit: Deadline) -> T:
        method = self._methods.get(call.method)
        if method is None:
            method = self._methods[call.method] = self._channel.unary_unary(
                call.method,
                request_serializer=type(call.request).SerializeToString,
                response_deserializer=call.response.FromString,
            )
        try:
            answer = method(
                call.request, timeout=limit.left_s(), metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise failures.from_call(error, address=self._address) from error
        return call.parse(answer)

    @property
    def _channel(self) -> grpc.Channel:
        # Not in __init__: who makes a client and then forks would fork gRPC's threads.
        with self._opening:
            if self._opened is None:
                self._opened = _open(self._address)
            return self._opened

    def pages(self, ask: Callable[[str], Call[Page[T]]]) -> Iterator[T]:
        """What is on all pages; `ask` asks for the one with a token."""
        token = ""
        while True:
            page = self.ask(ask(token))
            yield from page.items
            if not (token := page.next_token):
                return

    def stream(self, call: Call[T], limit: Deadline) -> Generator[T, None, None]:
        """What comes of one call, one answer after the other."""
        self._warn_in_event_loop()
        stream = self._channel.unary_stream(
            call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response.FromString,
        )(call.request, timeout=limit.left_s(), metadata=self._metadata)
        try:
            for answer in stream:
                yield call.parse(answer)
        except grpc.RpcError as error:
            raise failures.from_call(error, address=self._address) from error
        finally:
            stream.cancel()

    def pieces(
        self,
        call: Call[bytes | Reply],
        limit: Deadline,
        ended: Callable[[Reply], object],
    ) -> Iterator[bytes]:
        """The parts of an answer; what comes after the last is for `ended`."""
        with closing(self.stream(call, limit)) as parts:
            for part in parts:
                if isinstance(part, Reply):
                    failures.raise_if_failed(part)
                    ended(part)
                elif part:
                    yield part

    def map(
        self, window: Window, values: Iterator[JSON], limit: Deadline
    ) -> Iterator[MapResult]:
        """What comes of each value, over one stream; `window` says how many at once."""
        self._warn_in_event_loop()
        # gRPC reads requests in a thread of its own; None ends it.
        requests: SimpleQueue[pb.InvokeManyRequest | None] = SimpleQueue()
        stream = self._channel.stream_stream(
            calls.INVOKE_MANY,
            request_serializer=pb.InvokeManyRequest.SerializeToString,
            response_deserializer=pb.InvokeManyResponse.FromString,
        )(iter(requests.get, None), timeout=limit.left_s(), metadata=self._metadata)
        try:
            while True:
                while window.has_room and (value := next(values, _END)) is not _END:
                    requests.put(window.sent(value))
                if window.is_empty:
                    break
                yield from window.answered(_next_of(stream))
            requests.put(None)
            next(stream, None)  # lets the engine end the stream, instead of breaking it
        except grpc.RpcError as error:
            raise failures.from_call(error, address=self._address) from error
        finally:
            requests.put(None)
            stream.cancel()

    def _warn_in_event_loop(self) -> None:
        if self._has_warned:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._has_warned = True
        warnings.warn(
            "sandlot.Client blocks, and here it stops a running event loop: use "
            "sandlot.AsyncClient",
            RuntimeWarning,
            stacklevel=_frames_to_caller(),
        )


class Service:
    """One of the engine's services, asked over a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection


_END = object()
"""What no iterator of values yields."""


def _open(address: config.Address) -> grpc.Channel:
    tls, options = transport.tls_of(address), transport.options_of(address)
    if tls is None:
        return grpc.insecure_channel(address.endpoint, options=options)
    return grpc.secure_channel(address.endpoint, tls, options=options)


def _next_of(stream: Iterator[pb.InvokeManyResponse]) -> pb.InvokeManyResponse:
    answer = next(stream, None)
    if answer is None:
        raise Internal("the engine ended the stream with answers still owed")
    return answer


def _frames_to_caller() -> int:
    """How far up, for `warnings`, the code outside this package is."""
    level, frame = 0, inspect.currentframe()
    while frame and frame.f_globals.get("__package__") == __package__:
        level, frame = level + 1, frame.f_back
    return level
