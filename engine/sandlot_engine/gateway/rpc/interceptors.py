"""What happens around every call, in this order:

    request-id → auth → limits → deadline → errors → the service

The first three come before the call's body is read, so a stranger cannot make the
engine take in 50 MB, nor a tenant forty times that. The others are wrapped around the
method, once per method and not per call. Each may refuse, and all refusals have the
same face.

To grpc all of them are one interceptor and one method: for each that there is, every
call would go through a few coroutines more.
"""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from sandlot_engine.clock import Clock
from sandlot_engine.errors import DeadlineExceeded, NotSupported, SandlotError
from sandlot_engine.gateway.auth import Authenticator, single
from sandlot_engine.gateway.rpc import Behaviour, Context, Handler, audit
from sandlot_engine.gateway.rpc.call import Call, begin, current_call
from sandlot_engine.gateway.rpc.door import Door
from sandlot_engine.gateway.rpc.faces import abort
from sandlot_engine.gateway.rpc.limits import OpenCalls
from sandlot_engine.gateway.rpc.methods import INVOKE, SERVICES
from sandlot_engine.gateway.rpc.reading import Parse, Reading
from sandlot_engine.gateway.turns import Held, Lists
from sandlot_engine.gateway.untaken import Unsent
from sandlot_engine.ids import new_request_id
from sandlot_engine.model.tenant import Caller

DEFAULT_DEADLINE_S = 120.0
"""For a call that answers once and was sent without a deadline. `Invoke` has its
function's timeout instead; streams may last."""

MAX_HELD, MAX_HELD_OF_TENANT = 512 << 20, 128 << 20
"""Bytes of requests that are being answered, packages aside."""

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]


class Steps(grpc.aio.ServerInterceptor):
    """Names the call, so that a reply, a log line and a record can be matched. Lets
    nobody in whose key was not checked or who comes while the server stops, nor more of
    a tenant's calls than it may have open. Then the method, with what is around it.

    `public` methods, by prefix, need no key."""

    def __init__(
        self,
        authenticator: Authenticator,
        clock: Clock,
        door: Door,
        *,
        public: tuple[str, ...],
    ) -> None:
        self._authenticator = authenticator
        self._door = door
        self._clock = clock
        self._public = public
        self.open = OpenCalls()
        self._reading = Reading(authenticator)
        self._held = Held(most=MAX_HELD, of_tenant=MAX_HELD_OF_TENANT)
        self._unsent = Unsent()
        self._lists = Lists()
        self._known: dict[str, tuple[Handler, bool]] = {}
        """Of methods that there are: what serves them, and whether they take a stream.
        """

    async def intercept_service(
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> Handler | None:
        method = details.method
        call = Call(
            request_id=new_request_id(),
            method=method,
            held=self._held,
            unsent=self._unsent,
        )
        begin(call)
        if not method.startswith(self._public):
            try:
                self._door.check()
                call.caller = await self._caller_of(details.invocation_metadata)
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody gets in
                return _refusal(error, call.request_id)
        if (known := self._known.get(method)) is None:
            handler = await continuation(details)
            # An unknown method: grpc says UNIMPLEMENTED, and we keep nothing that a
            # stranger may choose.
            if handler is None:
                return None
            known = self._known[method] = self._around(handler, method)
        handler, is_stream = known
        try:
            self.open.count(
                call, is_stream=is_stream, may_last=handler.response_streaming
            )
        except SandlotError as refusal:
            return _refusal(refusal, call.request_id)
        return handler

    async def _caller_of(self, metadata: Any) -> Caller:
        authorization: list[str] = []
        on_behalf_of: list[str] = []
        for key, value in metadata or ():
            if key == "authorization":
                authorization.append(value)
            elif key == "sandlot-tenant":
                on_behalf_of.append(value)
        return await self._authenticator.caller_of(
            single(authorization, "authorization"),
            single(on_behalf_of, "sandlot-tenant"),
        )

    def _around(self, handler: Handler, path: str) -> tuple[Handler, bool]:
        method = cast("Behaviour", _method_of(handler))
        if audit.changes_something(path):
            method = _audited(method)
        parse = handler.request_deserializer
        if path.startswith(SERVICES):
            if path.rpartition("/")[2].startswith("List"):
                method = self._listed(method)
            answer = _answering(method, self._clock)
        else:
            answer, parse = _of_grpc(method), _or_empty(parse)
        if not handler.request_streaming:
            return self._reading.before(answer, handler, path), False
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        made = make(
            _with_faces(answer),
            request_deserializer=parse,
            response_serializer=handler.response_serializer,
        )
        return made, True

    def _listed(self, method: Behaviour) -> Behaviour:
        """In turn, with a key that is still good then."""

        async def answer(request: Any, context: Context) -> Any:
            call = current_call()

            async def listed() -> Any:
                if call.caller is not None:
                    await self._authenticator.check_still(call.caller)
                return await method(request, context)

            return await self._lists.take(call.who, listed)

        return answer


def _method_of(handler: Handler) -> object:
    return (
        handler.unary_unary
        or handler.unary_stream
        or handler.stream_unary
        or handler.stream_stream
    )


def _refusal(error: Exception, request_id: str) -> Handler:
    """A handler that ends the call at once. It says that it takes a stream,
    whatever the method takes, because grpc reads a single request to its end
    before it calls a handler."""

    async def refuse(_requests: Any, context: Context) -> None:
        await abort(context, error, request_id)

    return grpc.stream_stream_rpc_method_handler(refuse)


def _audited(method: Behaviour) -> Behaviour:
    async def answer(request: Any, context: Context) -> Any:
        call = current_call()
        if call.caller is None or not call.caller.is_operator:
            return await method(request, context)
        about, work = audit.about(request), method(request, context)
        del request  # it may be a package
        answered = await work
        if about:
            audit.tell(call.method, call.caller, about, request_id=call.request_id)
        return answered

    return answer


def _answering(method: Behaviour, clock: Clock) -> Behaviour:
    """Turns the time that is left into a point in time, and gives one to calls that
    answer once and came without."""

    async def answer(request: Any, context: Context) -> Any:
        call = current_call()
        left_s = context.time_remaining()
        if left_s is not None:
            # grpc itself cancels the call when the time is over.
            call.deadline = clock.monotonic() + left_s
        elif call.method != INVOKE and not _is_stream(request):
            return await _by_default(method, request, context)
        return await method(request, context)

    return answer


def _with_faces(method: Behaviour) -> Behaviour:
    """Gives exceptions their faces, as `Reading` does where it reads the request."""
    if inspect.isasyncgenfunction(method):
        method = _written(method)

    async def answer(requests: Any, context: Context) -> Any:
        try:
            return await method(requests, context)
        except grpc.aio.AbortError:
            raise
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the edge
            call = current_call()
            await abort(context, call.told(error), call.request_id)

    return answer


def _written(answers: Callable[[Any, Context], AsyncGenerator[Any, None]]) -> Behaviour:
    """A method of grpc's own that yields its answers, as one that writes them: that can
    be ended with a word."""

    async def answer(requests: Any, context: Context) -> None:
        async with aclosing(answers(requests, context)) as each:
            async for message in each:
                await context.write(message)

    return answer


def _is_stream(request: Any) -> bool:
    return not hasattr(request, "ByteSize")


async def _by_default(method: Behaviour, request: Any, context: Context) -> Any:
    timer = asyncio.timeout(DEFAULT_DEADLINE_S)
    try:
        async with timer:
            return await method(request, context)
    except TimeoutError as error:
        if not timer.expired():
            raise
        raise DeadlineExceeded(
            f"no answer within {DEFAULT_DEADLINE_S:.0f} s, the default deadline"
        ) from error


def _of_grpc(method: Behaviour) -> Behaviour:
    """A method of grpc's own services, which strangers may call: what it lacks is a
    refusal, and nothing for the operator's log."""
    if inspect.isasyncgenfunction(method):
        return cast("Behaviour", method)  # grpc knows what to do with it

    async def answer(request: Any, context: Context) -> Any:
        try:
            return await method(request, context)
        except NotImplementedError:
            raise NotSupported("there is no such method") from None

    return answer


def _or_empty(parse: Parse | None) -> Parse | None:
    """What is no message is an empty one, which such a method refuses. A worker parses
    none of them."""
    if parse is None:
        return None

    def read(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError:
            return parse(b"")

    return read
