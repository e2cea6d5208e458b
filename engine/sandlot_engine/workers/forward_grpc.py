"""Hands a gRPC call on to the core, as it came, and its answers and status back."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from sandlot_engine.gateway.rpc import Context, Handler
from sandlot_engine.gateway.rpc.interceptors import Continuation
from sandlot_engine.gateway.rpc.server import MAX_STREAMS

IDLE_MS = 9_000
"""A connection without calls is closed after that, or twice as long."""

CALLS_OF_CHANNEL = MAX_STREAMS * 9 // 10
"""Of one connection's the core takes `MAX_STREAMS` at once, and a call beyond waits for
as long as those last: one tenant's that wait for an answer would keep out others'."""

OPTIONS = (
    # Or all channels had one connection.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.default_authority", "localhost"),
    # Before the core does it, which gRPC would note on stderr.
    ("grpc.client_idle_timeout_ms", IDLE_MS),
)
_OURS = ("grpc-", ":")
"""Prefixes of metadata that gRPC makes for each connection."""

Forward = Callable[[Any, Context], Awaitable[Any]]


@dataclass(slots=True)
class _Channel:
    """A connection, and the calls that are open on it."""

    made: Any
    """Bytes go through it as they are; the stubs know of no such channel."""

    calls: int = 0


class ForwardGrpc:
    """To the core's socket at `path`; closed by `close`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._channels: list[_Channel] = []
        """As many as the most calls have needed; idle ones are not connected."""

    def unary(self, method: str) -> Forward:
        """For calls with one request and one answer, in bytes."""

        async def forward(request: bytes, context: Context) -> bytes:
            with self._channel() as channel:
                call: Any = channel.unary_unary(method)(
                    request,
                    timeout=context.time_remaining(),
                    metadata=_metadata(context),
                )
                try:
                    answer: bytes = await call
                    trailing = await call.trailing_metadata()
                    context.set_trailing_metadata(_passed(trailing))
                except grpc.aio.AioRpcError as error:
                    _end(context, error)
                    return b""
                finally:
                    call.cancel()
                return answer

        return forward

    def unary_stream(self, method: str) -> Forward:
        """For calls with one request and any number of answers."""

        async def forward(request: bytes, context: Context) -> None:
            with self._channel() as channel:
                call: Any = channel.unary_stream(method)(
                    request,
                    timeout=context.time_remaining(),
                    metadata=_metadata(context),
                )
                await _answer(call, context)

        return forward

    def stream(self, method: str) -> Forward:
        """For calls with any number of them."""

        async def forward(_: Any, context: Context) -> None:
            with self._channel() as channel:
                call: Any = channel.stream_stream(method)(
                    _requests(context),
                    timeout=context.time_remaining(),
                    metadata=_metadata(context),
                )
                await _answer(call, context)

        return forward

    async def close(self) -> None:
        for channel in self._channels:
            await channel.made.close()

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        """One with room for a call, for as long as the block lasts."""
        has_room = (each for each in self._channels if each.calls < CALLS_OF_CHANNEL)
        if (channel := next(has_room, None)) is None:
            made = grpc.aio.insecure_channel(f"unix:{self._path}", options=OPTIONS)
            channel = _Channel(made)
            self._channels.append(channel)
        channel.calls += 1
        try:
            yield channel.made
        finally:
            channel.calls -= 1


async def _requests(context: Context) -> AsyncIterator[bytes]:
    while (message := await context.read()) is not grpc.aio.EOF:
        yield message


async def _answer(call: Any, context: Context) -> None:
    try:
        async for message in call:
            await context.write(message)
        trailing = await call.trailing_metadata()
        context.set_trailing_metadata(_passed(trailing))
    except grpc.aio.AioRpcError as error:
        _end(context, error)
    except grpc.aio.InternalError:
        return  # the client is gone, and we are cancelled next
    finally:
        call.cancel()


def _end(context: Context, error: grpc.aio.AioRpcError) -> None:
    # Not `abort`, which raises: what is around a call would give that a face.
    context.set_trailing_metadata(_passed(error.trailing_metadata()))
    context.set_details(error.details() or "")
    context.set_code(error.code())


def _metadata(context: Context) -> tuple[tuple[str, Any], ...]:
    return _passed(context.invocation_metadata())


def _passed(metadata: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (key, value)
        for key, value in metadata or ()
        if key == "grpc-status-details-bin"
        or not (key.startswith(_OURS) or key == "user-agent")
    )


class ReadLedgers(grpc.aio.ServerInterceptor):
    """The core's end: first takes in what workers have told, so that whoever asks is
    told of what was answered before."""

    def __init__(self, read_ledgers: Callable[[], None]) -> None:
        self._read_ledgers = read_ledgers

    async def intercept_service(
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> Handler | None:
        self._read_ledgers()
        return await continuation(details)
