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
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from sandlot_engine.clock import Clock
from sandlot_engine.errors import (
    DeadlineExceeded,
    InvalidParameter,
    NotSupported,
    SandlotError,
    Throttled,
    TooLarge,
    Unauthenticated,
)
from sandlot_engine.gateway.auth import Authenticator, single
from sandlot_engine.gateway.rpc import Context, audit
from sandlot_engine.gateway.rpc.beside import size_beside
from sandlot_engine.gateway.rpc.faces import abort
from sandlot_engine.gateway.turns import RETRY_AFTER_S, Held, StrangersTurns, Turns
from sandlot_engine.gateway.untaken import Unsent
from sandlot_engine.ids import new_request_id
from sandlot_engine.model.invocation import MAX_PAYLOAD
from sandlot_engine.model.tenant import Caller
from sandlot_engine.timeouts import Timeout, Timeouts

SERVICES = "/sandlot.v1."
"""Our own methods. Health and reflection are public knowledge."""

MAX_REQUEST = 64 * 1024
"""Bytes of a request that carries neither a package nor an event."""

MAX_UPLOAD = 52_428_800 + 64 * 1024
"""Bytes of a request with a package (AWS: a zip of 50 MB), and the rest."""

UPLOADS = {
    f"{SERVICES}FunctionService/CreateFunction": 3,
    f"{SERVICES}FunctionService/UpdateFunctionCode": 2,
    f"{SERVICES}LayerService/PublishLayer": 2,
}
"""Methods that take a package, and the number of its field."""

INVOKE = f"{SERVICES}InvocationService/Invoke"

PAYLOAD = 3
"""The number of its field."""

INVOKE_STREAM = f"{SERVICES}InvocationService/InvokeStream"
"""Has an event as well, one message deeper."""

DEFAULT_DEADLINE_S = 120.0
"""For a call that answers once and was sent without a deadline. `Invoke` has its
function's timeout instead; streams may last."""

MAX_CALLS = 4_000
"""Calls of one tenant that are open at once, idle streams included: more than it can
have instances."""

MAX_OPEN_CALLS = 10_000
"""Of all tenants."""

MAX_CALLS_OF_STRANGERS = 200
"""Of all who need no key, together: health and reflection."""

MAX_WATCHES_OF_STRANGERS = 150
"""Of those, calls whose answers may go on for ever: the others are for who asks once
whether we are well, and restarts us if nobody says so."""

MAX_EVENT_STREAMS = 32
"""Of those, streams of requests: each may have us hold a message that does not end."""

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

MAX_HELD, MAX_HELD_OF_TENANT = 512 << 20, 128 << 20
"""Bytes of requests that are being answered, packages aside."""

SMALL_ANSWER = 64 * 1024
"""Bytes of an answer that is not counted while its client does not take it: nearly all
are taken at once, and there are `MAX_OPEN_CALLS` at most."""

COPIES = 2
"""Of an answer that waits: ours, and grpc's."""

Behaviour = Callable[[Any, Context], Awaitable[Any]]
"""A method of a service, of any kind: ours write streams through the context."""

Parse = Callable[[bytes], Any]

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

    held: Held | None = None
    """For the messages of a stream, that come one by one."""

    unsent: Unsent | None = None

    @contextmanager
    def sending(self, size: int) -> Iterator[None]:
        """As long as an answer of `size` bytes waits for the client. Raises `Internal`
        where too many do already."""
        if self.unsent is None or size < SMALL_ANSWER:
            yield
            return
        with self.unsent.held(_who(self), size * COPIES):
            yield


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
    return (Steps(authenticator, clock, public=public),)


class Steps(grpc.aio.ServerInterceptor):
    """Names the call, so that a reply, a log line and a record can be matched. Lets
    nobody in whose key was not checked, nor more of a tenant's calls than it may have
    open. Then the method, with what is around it."""

    def __init__(
        self, authenticator: Authenticator, clock: Clock, *, public: tuple[str, ...]
    ) -> None:
        self._authenticator = authenticator
        self._public = public
        self._limits = Limits(authenticator)
        self._answers = Answers(clock)
        self._known: dict[str, tuple[Handler, bool]] = {}
        """Of methods that there are: what serves them, and whether they take a stream.
        """

    async def intercept_service(
        self, continuation: Continuation, details: grpc.HandlerCallDetails
    ) -> Handler | None:
        method = details.method
        call = Call(request_id=new_request_id(), method=method)
        _current.set(call)
        if not method.startswith(self._public):
            try:
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
            self._limits.count(
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
            answer = self._answers.of(method)
        else:
            answer, parse = _of_grpc(method), _or_empty(parse)
        if handler.request_streaming:
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.response_streaming
                else grpc.stream_unary_rpc_method_handler
            )
            return _made(make, answer, handler, parse), True
        return self._limits.reading(answer, handler, path), False


def _audited(method: Behaviour) -> Behaviour:
    async def answer(request: Any, context: Context) -> Any:
        call = _current.get()
        if call.caller is None or not call.caller.is_operator:
            return await method(request, context)
        about, work = audit.about(request), method(request, context)
        del request  # it may be a package
        answered = await work
        if about:
            audit.tell(call.method, call.caller, about, request_id=call.request_id)
        return answered

    return answer


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


def _method_of(handler: Handler) -> object:
    return (
        handler.unary_unary
        or handler.unary_stream
        or handler.stream_unary
        or handler.stream_stream
    )


def _made(
    make: Callable[..., Handler], method: Behaviour, like: Handler, parse: object
) -> Handler:
    return make(
        method,
        request_deserializer=parse,
        response_serializer=like.response_serializer,
    )


def _refusal(error: Exception, request_id: str) -> Handler:
    """A handler that ends the call at once. It says that it takes a stream,
    whatever the method takes, because grpc reads a single request to its end
    before it calls a handler."""

    async def refuse(_requests: Any, context: Context) -> None:
        await abort(context, error, request_id)

    return grpc.stream_stream_rpc_method_handler(refuse)


class Answers:
    """Turns the time that is left into a point in time, and gives one to calls that
    answer once and came without. Gives exceptions their faces, and logs those that are
    our fault."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def of(self, method: Behaviour) -> Behaviour:
        """The same method, with that around it."""

        async def answer(request: Any, context: Context) -> Any:
            call = _current.get()
            try:
                left_s = context.time_remaining()
                if left_s is not None:
                    # grpc itself cancels the call when the time is over.
                    call.deadline = self._clock.monotonic() + left_s
                elif call.method != INVOKE and not _is_stream(request):
                    return await _by_default(method, request, context)
                return await method(request, context)
            except Exception as error:  # noqa: BLE001 - the edge: it ends in a face or a log
                await abort(context, error, call.request_id)

        return answer


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


class Limits:
    """Bounds what one tenant has open, and what of it is in memory.

    grpc reads a request to its end, up to `MAX_UPLOAD`, before it calls a method. So
    each of ours is said to take a stream, and its one message is read here: in turn,
    within a time, and measured before it is parsed.
    """

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._all = 0
        self._open: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()
        self._watches: Counter[str] = Counter()
        self._held = Held(most=MAX_HELD, of_tenant=MAX_HELD_OF_TENANT)
        self._unsent = Unsent()
        self._of_requests, self._of_others = Timeouts(), Timeouts()
        self._uploads = Turns(
            "packages",
            most=UPLOADS_AT_ONCE,
            of_tenant=UPLOADS_OF_TENANT,
            waiting=UPLOADS_WAITING,
            wait_s=UPLOAD_WAIT_S,
        )
        self._reading = Turns(
            "requests",
            most=READING_AT_ONCE,
            of_tenant=READING_OF_TENANT,
            waiting=MAX_CALLS,
            wait_s=READING_WAIT_S,
        )
        self._of_strangers = StrangersTurns("requests", most=READING_OF_STRANGERS)

    def count(self, call: Call, *, is_stream: bool, may_last: bool) -> None:
        """As open until it is over. Raises `Throttled`."""
        who = _who(call)
        allowed = MAX_CALLS if who else MAX_CALLS_OF_STRANGERS
        _check_room(who, self._open[who], allowed, "calls")
        if self._all >= MAX_OPEN_CALLS:
            raise Throttled(
                f"{self._all} calls are open of {MAX_OPEN_CALLS} that all tenants may"
                " have together",
                reason="CallLimitExceeded",
                limit=MAX_OPEN_CALLS,
                retry_after_s=RETRY_AFTER_S,
            )
        counters = [self._open]
        if is_stream:
            _check_room(who, self._streams[who], MAX_EVENT_STREAMS, "streams")
            counters.append(self._streams)
        if may_last and not who:
            allowed = MAX_WATCHES_OF_STRANGERS
            _check_room(who, self._watches[who], allowed, "streams")
            counters.append(self._watches)
        self._all += 1
        for counter in counters:
            counter[who] += 1
        call.held, call.unsent = self._held, self._unsent

        def is_over(_: object) -> None:
            self._all -= 1
            for counter in counters:
                counter[who] -= 1
                if not counter[who]:
                    del counter[who]

        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - grpc.aio serves each call in one
        task.add_done_callback(is_over)

    def reading(self, method: Behaviour, handler: Handler, path: str) -> Handler:
        """The same method, with its request read by us."""
        read = self._upload if path in UPLOADS else self._request
        parse = handler.request_deserializer

        async def streamed(_requests: Any, context: Context) -> None:
            call = _current.get()
            try:
                await read(call, parse, method, context)
            except SandlotError as refusal:
                await abort(context, refusal, call.request_id)
            except grpc.aio.AbortError as aborted:
                raise _without_frames(aborted) from None

        if handler.response_streaming:
            return _made(grpc.stream_stream_rpc_method_handler, streamed, handler, None)
        write = handler.response_serializer or bytes

        async def answered(_requests: Any, context: Context) -> bytes:
            call, answer = _current.get(), b""
            try:
                # Made bytes of here, so that one copy less waits for the client.
                answer = write(await read(call, parse, method, context))
                if len(answer) >= SMALL_ANSWER:
                    _until_taken(call, len(answer))
            except SandlotError as refusal:
                answer = b""  # or the error, which knows this frame, would keep it
                await abort(context, refusal, call.request_id)
            except grpc.aio.AbortError as aborted:
                raise _without_frames(aborted) from None
            return answer

        return grpc.stream_unary_rpc_method_handler(answered)

    async def _request(
        self, call: Call, parse: Parse | None, method: Behaviour, context: Context
    ) -> Any:
        who = _who(call)
        if who:
            self._make_room()
        turn = self._reading.take(who) if who else self._of_strangers.take()
        async with turn:
            timeouts = self._of_requests if who else self._of_others
            arriving = timeouts.within(BODY_S)
            data = await self._message(call, context, arriving)
            size = len(data)
            _check_size(call.method, data)
            request = _parsed(parse, data)
            del data
        with self._held.hold(who, size):
            return await method(request, context)

    def _make_room(self) -> None:
        """Those who begin and send nothing are not to keep all others waiting: for each
        that waits, one of them goes, now or as soon as it is slow."""
        if not self._reading.is_full:
            return
        after_s = self._of_requests.expire_first(after_s=SLOW_S, limit_s=BODY_S)
        if after_s:
            asyncio.get_running_loop().call_later(after_s, self._make_room)

    async def _upload(
        self, call: Call, parse: Parse | None, method: Behaviour, context: Context
    ) -> Any:
        async with self._uploads.take(_who(call)):
            arriving = self._of_others.within(UPLOAD_S)
            data = await self._message(call, context, arriving)
            _check_size_beside(data, UPLOADS[call.method], "package")
            request = _parsed(parse, data)
            del data
            work = method(request, context)
            del request
            return await _whole(work)

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


def _without_frames(aborted: grpc.aio.AbortError) -> grpc.aio.AbortError:
    """The context of a call keeps it, and so would keep the frames, which know the
    context and what was sent: see `let_go`."""
    return aborted.with_traceback(None)


def _until_taken(call: Call, size: int) -> None:
    """Count an answer that grpc sends for us, until the call's task has ended."""
    sending = ExitStack()
    sending.enter_context(call.sending(size))
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - as in `count`
    task.add_done_callback(lambda _: sending.close())


def _who(call: Call) -> str:
    """Whose share it is; all strangers have one together."""
    return call.caller.tenant_id if call.caller is not None else ""


def _check_room(who: str, taken: int, allowed: int, what: str) -> None:
    if taken >= allowed:
        name = f"tenant {who!r} already has" if who else "callers without a key have"
        raise Throttled(
            f"{name} {taken} {what} open of {allowed} allowed",
            reason="CallLimitExceeded",
            limit=allowed,
            retry_after_s=RETRY_AFTER_S,
        )


def _check_size(method: str, data: bytes) -> None:
    # The server's own limit must let packages through, so this one is ours.
    if len(data) <= MAX_REQUEST:
        return
    if method == INVOKE:
        # Its payload is the invoker's to measure, in AWS's words.
        _check_size_beside(data, PAYLOAD, "payload")
        return
    allowed = MAX_REQUEST + (MAX_PAYLOAD if method == INVOKE_STREAM else 0)
    if len(data) > allowed:
        raise TooLarge(f"the request has {len(data)} bytes of {allowed} allowed")


def _check_size_beside(data: bytes, field: int, what: str) -> None:
    if size_beside(data, field, most=MAX_REQUEST) > MAX_REQUEST:
        raise TooLarge(
            f"the request has more than {MAX_REQUEST} bytes beside its {what}"
        )


def _parsed(parse: Parse | None, data: bytes) -> Any:
    assert parse is not None  # noqa: S101 - every method of a .proto has one
    try:
        return parse(data)
    except DecodeError as error:
        raise InvalidParameter("the request is not what this method takes") from error


async def _whole(work: Awaitable[Any]) -> Any:
    """Wait until the work is done, though the caller may hang up: the catalog goes on
    with a package that it has, and so its turn is not over."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
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


def _is_stream(request: Any) -> bool:
    return not hasattr(request, "ByteSize")
