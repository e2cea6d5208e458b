"""Requests, taken in by ourselves: in turn, within a time, and measured before they are
parsed.

grpc reads a request to its end, up to `MAX_UPLOAD`, before it calls a method. So each
of ours is said to take a stream, and its one message is read here.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from sandlot_engine.errors import DeadlineExceeded, InvalidParameter
from sandlot_engine.gateway.auth import Authenticator
from sandlot_engine.gateway.rpc import Behaviour, Context, Handler
from sandlot_engine.gateway.rpc.call import Call, current_call
from sandlot_engine.gateway.rpc.faces import abort
from sandlot_engine.gateway.rpc.limits import MAX_CALLS_OF_TENANT, check_size
from sandlot_engine.gateway.rpc.methods import UPLOADS
from sandlot_engine.gateway.turns import StrangersTurns, Turns
from sandlot_engine.timeouts import Timeout, Timeouts

UPLOADS_AT_ONCE, UPLOADS_OF_TENANT = 4, 2
"""Packages that are taken in or built at once, and those of one tenant. Each is in
memory two or three times."""

UPLOADS_WAITING, UPLOAD_WAIT_S = 32, 60.0
"""How many of one tenant's wait for that, unread, and how long."""

UPLOAD_S = 100.0
"""In which a package has to arrive."""

READING_AT_ONCE, READING_OF_TENANT = 64, 8
"""Other requests that are being taken in. Nobody knows their size before, and it may
be that of a package."""

READING_OF_STRANGERS = 8
"""Of those who need no key, beside these: they wait in no line."""

READING_WAIT_S = 10.0

BODY_S = 10.0
"""In which any other request has to arrive."""

SLOW_S = 2.0
"""After which one that has not arrived gives way where all turns are taken."""

Parse = Callable[[bytes], Any]


class Reading:
    """The turns of those who send, and what they send."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._of_requests, self._of_others = Timeouts(), Timeouts()
        self._uploads = Turns(
            "packages",
            most=UPLOADS_AT_ONCE,
            of_tenant=UPLOADS_OF_TENANT,
            waiting=UPLOADS_WAITING,
            wait_s=UPLOAD_WAIT_S,
        )
        self._requests = Turns(
            "requests",
            most=READING_AT_ONCE,
            of_tenant=READING_OF_TENANT,
            waiting=MAX_CALLS_OF_TENANT,
            wait_s=READING_WAIT_S,
        )
        self._of_strangers = StrangersTurns("requests", most=READING_OF_STRANGERS)

    def before(self, method: Behaviour, handler: Handler, path: str) -> Handler:
        """The same method, with its request read by us; exceptions are given their
        faces, and those that are our fault are logged."""
        read = self._upload if path in UPLOADS else self._request
        parse = handler.request_deserializer

        async def streamed(_requests: Any, context: Context) -> None:
            call = current_call()
            call.has_begun = False
            try:
                await read(call, parse, method, context)
            except grpc.aio.AbortError as aborted:
                raise _without_frames(aborted) from None
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the edge
                await abort(context, call.told(error), call.request_id)

        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                streamed, response_serializer=handler.response_serializer
            )
        write = handler.response_serializer or bytes

        async def answered(_requests: Any, context: Context) -> bytes:
            call, answer = current_call(), b""
            call.has_begun = False
            try:
                # Made bytes of here, so that one copy less waits for the client.
                answer = write(await read(call, parse, method, context))
                call.until_taken(len(answer))
            except grpc.aio.AbortError as aborted:
                raise _without_frames(aborted) from None
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the edge
                answer = b""  # or the error, which knows this frame, would keep it
                await abort(context, call.told(error), call.request_id)
            return answer

        return grpc.stream_unary_rpc_method_handler(answered)

    async def _request(
        self, call: Call, parse: Parse | None, method: Behaviour, context: Context
    ) -> Any:
        who = call.who
        if who:
            self._make_room()
        turn = self._requests.take(who) if who else self._of_strangers.take()
        async with turn:
            timeouts = self._of_requests if who else self._of_others
            data = await self._message(call, context, timeouts.within(BODY_S))
            size = len(data)
            request = _parsed(call, parse, data)
            del data
        with call.held.hold(who, size):
            call.has_begun = True
            return await method(request, context)

    def _make_room(self) -> None:
        """Those who begin and send nothing are not to keep all others waiting: for each
        that waits, one of them goes, now or as soon as it is slow."""
        if not self._requests.is_full:
            return
        after_s = self._of_requests.expire_first(after_s=SLOW_S, limit_s=BODY_S)
        if after_s:
            asyncio.get_running_loop().call_later(after_s, self._make_room)

    async def _upload(
        self, call: Call, parse: Parse | None, method: Behaviour, context: Context
    ) -> Any:
        async with self._uploads.take(call.who):
            arriving = self._of_others.within(UPLOAD_S)
            data = await self._message(call, context, arriving)
            request = _parsed(call, parse, data)
            del data
            call.has_begun = True
            work = method(request, context)
            del request
            return await _whole(work, call)

    async def _message(self, call: Call, context: Context, arriving: Timeout) -> bytes:
        """The call's one message. Raises `DeadlineExceeded`, `InvalidParameter`, and
        for a key that was taken back while it came as `Authenticator` does."""
        try:
            with arriving:
                data = await context.read()
        except TimeoutError:
            raise DeadlineExceeded("the request did not arrive in time") from None
        if data is grpc.aio.EOF:
            raise InvalidParameter("the call ended without a request")
        if call.caller is not None:
            await self._authenticator.check_still(call.caller)
        return cast("bytes", data)


def _parsed(call: Call, parse: Parse | None, data: bytes) -> Any:
    """The request, once it is known not to be too large."""
    check_size(call.method, data)
    assert parse is not None  # noqa: S101 - every method of a .proto has one
    try:
        return parse(data)
    except DecodeError as error:
        raise InvalidParameter("the request is not what this method takes") from error


def _without_frames(aborted: grpc.aio.AbortError) -> grpc.aio.AbortError:
    """The context of a call keeps it, and so would keep the frames, which know the
    context and what was sent: see `let_go`."""
    return aborted.with_traceback(None)


async def _whole(work: Awaitable[Any], call: Call) -> Any:
    """Wait until the work is done, though the caller may hang up: the catalog goes on
    with a package that it has, and so its turn is not over. Not where a stop cuts it
    short: nobody else has a turn then."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if call.cut is None:
            await asyncio.wait([task])
        raise
    except BaseException as error:
        _forget_frames(error)
        raise
    finally:
        del task  # which knows the error, which knows this frame


def _forget_frames(error: BaseException | None) -> None:
    """It has been logged. It knows the frames that it went through, which know the
    package, and their tasks, which know the error: all of that would stay in memory
    until somebody collects garbage."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__context__
