"""What happens around every call, in this order:

    request-id → auth → deadline → limits → errors → the service

The first two come before the call's body is read, so a stranger cannot make the
engine take in 50 MB. The others are wrapped around the method, once per method and
not per call. Each may refuse, and all refusals have the same face.
"""

import asyncio
from abc import abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import grpc
import grpc.aio

from sandlot_engine.clock import Clock
from sandlot_engine.errors import (
    DeadlineExceeded,
    SandlotError,
    Throttled,
    TooLarge,
    Unauthenticated,
)
from sandlot_engine.gateway.auth import Authenticator, single
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.faces import abort
from sandlot_engine.model.tenant import Caller

SERVICES = "/sandlot.v1."
"""Our own methods. Health and reflection are public knowledge."""

MAX_REQUEST = 64 * 1024
"""Bytes of a request that carries neither a package nor an event."""

MAX_UPLOAD = 52_428_800 + 64 * 1024
"""Bytes of a request with a package (AWS: a zip of 50 MB), and the rest."""

UPLOADS = frozenset(
    (
        f"{SERVICES}FunctionService/CreateFunction",
        f"{SERVICES}FunctionService/UpdateFunctionCode",
    )
)

INVOKE = f"{SERVICES}InvocationService/Invoke"

DEFAULT_DEADLINE_S = 120.0
"""For a call that answers once and was sent without a deadline. `Invoke` has its
function's timeout instead; streams may last."""

MAX_CALLS = 2_000
"""Calls of one tenant that are open at once, idle streams included."""

RETRY_AFTER_S = 1.0

Behaviour = Callable[[Any, Context], Awaitable[Any]]
"""A method of a service, of any kind: ours write streams through the context."""

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
else:  # at run time it takes no arguments
    Handler = grpc.RpcMethodHandler

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]


@dataclass(slots=True, kw_only=True)
class Call:
    """What the steps found out about the call that this task serves."""

    request_id: str
    method: str
    caller: Caller | None = None
    deadline: float | None = None
    """Of the clock's `monotonic`; None where the client set none."""


_current: ContextVar[Call] = ContextVar("call")


def current_call() -> Call:
    """The call that this task serves."""
    return _current.get()


def current_caller() -> Caller:
    """Who makes the call that this task serves."""
    caller = _current.get().caller
    if caller is None:
        # Not reachable: a method is called only behind `Authentication`. Should
        # that ever break, nobody is better than anybody.
        raise Unauthenticated("no key was checked for this call")
    return caller


def interceptors(
    authenticator: Authenticator, clock: Clock, *, public: tuple[str, ...]
) -> tuple[grpc.aio.ServerInterceptor, ...]:
    """The steps in their order; `public` methods, by prefix, need no key."""
    return (
        RequestIds(),
        Authentication(authenticator, public=public),
        Deadlines(clock),
        Limits(),
        Errors(),
    )


class RequestIds(grpc.aio.ServerInterceptor):
    """Names the call, so that a reply, a log line and a record can be matched."""

    async def intercept_service(
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> Handler | None:
        _current.set(Call(request_id=str(uuid4()), method=details.method))
        return await continuation(details)


class Authentication(grpc.aio.ServerInterceptor):
    """Lets nobody in whose key was not checked."""

    def __init__(
        self, authenticator: Authenticator, *, public: tuple[str, ...]
    ) -> None:
        self._authenticator = authenticator
        self._public = public

    async def intercept_service(
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> Handler | None:
        if details.method.startswith(self._public):
            return await continuation(details)
        call = _current.get()
        try:
            call.caller = await self._caller_of(details.invocation_metadata)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody gets in
            return _refusal(error, call.request_id)
        return await continuation(details)

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


def _refusal(error: Exception, request_id: str) -> Handler:
    """A handler that ends the call at once. It says that it takes a stream,
    whatever the method takes, because grpc reads a single request to its end
    before it calls a handler."""

    async def refuse(_requests: Any, context: Context) -> None:
        await abort(context, error, request_id)

    return grpc.stream_stream_rpc_method_handler(refuse)


class _Around(grpc.aio.ServerInterceptor):
    """A step around our own methods, wrapped once for each of them."""

    def __init__(self) -> None:
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> Handler | None:
        if (wrapped := self._wrapped.get(details.method)) is not None:
            return wrapped
        handler = await continuation(details)
        # None is an unknown method: grpc says UNIMPLEMENTED, and we cache nothing
        # that a stranger may choose.
        if handler is None or not details.method.startswith(SERVICES):
            return handler
        wrapped = self._wrapped[details.method] = _wrap(handler, self._step)
        return wrapped

    @abstractmethod
    async def _step(self, method: Behaviour, request: Any, context: Context) -> Any:
        """Do what is to be done around `method(request, context)`."""


def _wrap(
    handler: Handler, step: Callable[[Behaviour, Any, Context], Awaitable[Any]]
) -> Handler:
    kinds = {
        (False, False): (handler.unary_unary, grpc.unary_unary_rpc_method_handler),
        (False, True): (handler.unary_stream, grpc.unary_stream_rpc_method_handler),
        (True, False): (handler.stream_unary, grpc.stream_unary_rpc_method_handler),
        (True, True): (handler.stream_stream, grpc.stream_stream_rpc_method_handler),
    }
    method, make = kinds[handler.request_streaming, handler.response_streaming]

    async def wrapped(request: Any, context: Context) -> Any:
        return await step(cast("Behaviour", method), request, context)

    return make(
        wrapped,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


class Deadlines(_Around):
    """Turns the time that is left into a point in time, and gives one to calls
    that answer once and came without."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    async def _step(self, method: Behaviour, request: Any, context: Context) -> Any:
        call = _current.get()
        left_s = context.time_remaining()
        if left_s is not None:
            # grpc itself cancels the call when the time is over.
            call.deadline = self._clock.monotonic() + left_s
        elif call.method != INVOKE and not _is_stream(request):
            return await self._by_default(method, request, context, call)
        return await method(request, context)

    async def _by_default(
        self, method: Behaviour, request: Any, context: Context, call: Call
    ) -> Any:
        timer = asyncio.timeout(DEFAULT_DEADLINE_S)
        try:
            async with timer:
                return await method(request, context)
        except TimeoutError:
            if not timer.expired():
                raise
            refusal = DeadlineExceeded(
                f"no answer within {DEFAULT_DEADLINE_S:.0f} s, the default deadline"
            )
            await abort(context, refusal, call.request_id)


class Limits(_Around):
    """Bounds what one tenant has open, and how large a request may be."""

    def __init__(self) -> None:
        super().__init__()
        self._open: Counter[str] = Counter()

    async def _step(self, method: Behaviour, request: Any, context: Context) -> Any:
        tenant_id, call = current_caller().tenant_id, _current.get()
        try:
            self._check(tenant_id, call.method, request)
        except SandlotError as refusal:
            await abort(context, refusal, call.request_id)
        self._open[tenant_id] += 1
        try:
            return await method(request, context)
        finally:
            self._open[tenant_id] -= 1
            if not self._open[tenant_id]:
                del self._open[tenant_id]

    def _check(self, tenant_id: str, method: str, request: Any) -> None:
        if self._open[tenant_id] >= MAX_CALLS:
            raise Throttled(
                f"tenant {tenant_id!r} already has {self._open[tenant_id]} calls open "
                f"of {MAX_CALLS} allowed",
                reason="CallLimitExceeded",
                limit=MAX_CALLS,
                retry_after_s=RETRY_AFTER_S,
            )
        # The server's own limit must let packages through, so this one is ours.
        # An invocation's payload is the invoker's to measure, in AWS's words.
        if _is_stream(request) or method in UPLOADS or method == INVOKE:
            return
        if (size := request.ByteSize()) > MAX_REQUEST:
            raise TooLarge(f"the request has {size} bytes of {MAX_REQUEST} allowed")


class Errors(_Around):
    """Gives exceptions their faces, and logs those that are our fault."""

    async def _step(self, method: Behaviour, request: Any, context: Context) -> Any:
        try:
            return await method(request, context)
        except Exception as error:  # noqa: BLE001 - the edge: it ends in a face or a log
            await abort(context, error, _current.get().request_id)


def _is_stream(request: Any) -> bool:
    return not hasattr(request, "ByteSize")
