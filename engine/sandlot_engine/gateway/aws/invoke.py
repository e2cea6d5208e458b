"""Invoke: the way that nearly every request takes, so it has its own.

From the wire to the invoker and back, without a look into AWS's model: that is only
asked to say what is wrong with a request that is.
"""

import base64
import binascii
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote

from sandlot_engine.clock import Clock
from sandlot_engine.errors import NotFound
from sandlot_engine.events import lineage
from sandlot_engine.gateway.aws import streaming
from sandlot_engine.gateway.aws.checking import check
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.names import FunctionId, function_arn, parse_function
from sandlot_engine.gateway.aws.reading import query_pairs
from sandlot_engine.gateway.aws.receiving import (
    Body,
    Receive,
    Received,
    Receiver,
    Scope,
)
from sandlot_engine.gateway.aws.service import Service
from sandlot_engine.gateway.aws.writing import EVENT_STREAM
from sandlot_engine.invocation.invoker import Invoker
from sandlot_engine.invocation.once import key_of
from sandlot_engine.invocation.streamed import Streamed, answering
from sandlot_engine.model.invocation import (
    MAX_CLIENT_CONTEXT,
    MAX_EVENT_PAYLOAD,
    MAX_PAYLOAD,
    IdempotencyKey,
    Invocation,
    InvocationType,
    Outcome,
)
from sandlot_engine.model.tenant import Caller

MAX_ASYNC_ARGS = 262_144
"""Bytes of an event of the old InvokeAsync (AWS: 256 KB)."""

MAX_KNOWN = 4_096
"""Functions whose names were read already and are at hand."""

MAX_KNOWN_QUERY = 256
"""Bytes of a query that is at hand too. Those of presigned URLs are longer, and no two
are alike."""

INVOKE = re.compile(rb"/2015-03-31/functions/([^/]+)/invocations")
STREAM = re.compile(rb"/2021-11-15/functions/([^/]+)/response-streaming-invocations")
INVOKE_ASYNC = re.compile(rb"/2014-11-13/functions/([^/]+)/invoke-async/?")

WireHeaders = list[tuple[bytes, bytes]]
RawAnswer = tuple[int, WireHeaders, bytes | AsyncGenerator[bytes, None]]
"""Status, headers and body, as ASGI takes them. A body that comes while it is made has
to be closed."""

REPLAYED = (b"idempotent-replayed", b"true")
"""Marks the answer to an earlier request with the same idempotency key."""

_TYPES = {kind.value.encode(): kind for kind in InvocationType}
_LIMITS = {
    InvocationType.REQUEST_RESPONSE: MAX_PAYLOAD,
    InvocationType.DRY_RUN: MAX_PAYLOAD,
    InvocationType.EVENT: MAX_EVENT_PAYLOAD,
}
_TAIL = {b"": False, b"None": False, b"Tail": True}

Headers = Mapping[bytes, bytes]


class InvokePolicies(Protocol):
    """`catalog.policies.Policies`, as far as it is needed here."""

    def may_invoke(
        self, owner_tenant: str, function: str, qualifier: str, caller_tenant: str
    ) -> bool: ...


class Invoke:
    """Answers `POST …/invocations`, its twin that streams, and the old
    `…/invoke-async/`."""

    def __init__(
        self,
        *,
        policies: InvokePolicies,
        invoker: Invoker,
        clock: Clock,
        receiver: Receiver,
    ) -> None:
        self._policies = policies
        self._invoker = invoker
        self._clock = clock
        self._receiver = receiver

    async def invoke(
        self,
        scope: Scope,
        receive: Receive,
        headers: Headers,
        *,
        name: bytes,
        request_id: str,
        is_streamed: bool = False,
    ) -> RawAnswer:
        """Invoke the function that the path names `name`.

        Whoever is cancelled while the function runs has it stopped, its slot given
        back, and its time billed, as over gRPC.

        Raises `AwsError`, and what the invoker raises.
        """
        arrived = self._clock.monotonic()
        kind = _TYPES.get(headers.get(b"x-amz-invocation-type") or b"RequestResponse")
        limit = _LIMITS[kind or InvocationType.REQUEST_RESPONSE]
        received = await self._receiver.receive(
            scope,
            receive,
            headers,
            limit=limit,
            too_large=lambda size: _too_large(size, kind, limit),
        )
        tail_log = _TAIL.get(headers.get(b"x-amz-log-type", b""))
        is_event = kind is InvocationType.EVENT
        if kind is None or tail_log is None or (is_streamed and is_event):
            raise _refused(headers, streaming.OPERATION if is_streamed else "Invoke")
        function = _function(name, scope["query_string"], received)
        self._check_may_invoke(received.caller, function, region=received.region)
        has_key = b"idempotency-key" in headers
        trace, led_here = traced(headers)
        client_context = _client_context(headers)
        invocation = Invocation(
            request_id=request_id,
            tenant_id=function.account,
            function=function.name,
            qualifier=function.qualifier or "",
            invoked_arn=function.arn(received.region),
            isolation_key=headers.get(b"x-amz-tenant-id", b"").decode("latin-1"),
            payload=received.body.data or b"{}",
            type=kind,
            idempotency=_key(headers, kind, function, received) if has_key else None,
            # As on AWS, a function that runs later hears nothing of it.
            client_context="" if is_event else client_context,
            trace=trace,
            lineage=led_here,
            trace_id=lineage.trace_id(
                request_id, trace, led_here, function.account, function.name
            ),
            tail_log=tail_log,
            arrived=arrived,
        )
        try:
            await self._check_rest(invocation, headers, received.body)
            return await self._run(invocation, headers, is_streamed=is_streamed)
        except NotFound as error:
            raise _not_found(function, received.region) from error

    async def invoke_async(
        self,
        scope: Scope,
        receive: Receive,
        headers: Headers,
        *,
        name: bytes,
        request_id: str,
    ) -> RawAnswer:
        """As an event. Deprecated on AWS, and still called."""
        received = await self._receiver.receive(
            scope,
            receive,
            headers,
            limit=MAX_ASYNC_ARGS,
            too_large=lambda size: _too_large(
                size, InvocationType.EVENT, MAX_ASYNC_ARGS
            ),
        )
        function = _function(name, b"", received)
        self._check_may_invoke(received.caller, function, region=received.region)
        trace, led_here = traced(headers)
        invocation = Invocation(
            request_id=request_id,
            tenant_id=function.account,
            function=function.name,
            qualifier=function.qualifier or "",
            invoked_arn=function.arn(received.region),
            payload=received.body.data or b"{}",
            type=InvocationType.EVENT,
            trace=trace,
            lineage=led_here,
            arrived=self._clock.monotonic(),
        )
        try:
            if received.body.data is None:
                await self._refuse_size(invocation, received.body, MAX_ASYNC_ARGS)
            return await self._run(invocation, headers)
        except NotFound as error:
            raise _not_found(function, received.region) from error

    def _check_may_invoke(
        self, caller: Caller, function: FunctionId, *, region: str
    ) -> None:
        """Raise `AccessDeniedException` unless the function's policy, or that the
        function is the caller's own, lets it be invoked."""
        if not self._policies.may_invoke(
            function.account, function.name, function.qualifier or "", caller.tenant_id
        ):
            raise AwsError(
                "AccessDeniedException",
                f"User: arn:aws:iam::{caller.tenant_id}:root is not authorized to "
                f"perform: lambda:InvokeFunction on resource: {function.arn(region)} "
                "because no resource-based policy allows the lambda:InvokeFunction "
                "action",
            )

    async def _check_rest(
        self, invocation: Invocation, headers: Headers, body: Body
    ) -> None:
        """What is refused only of a function that there is."""
        if b"x-amz-tenant-id" in headers:
            _check_by_model(headers)
        if b"x-amz-durable-execution-name" in headers:
            await self._refuse_durable(invocation, headers)
        if body.data is None:
            await self._refuse_size(invocation, body, _LIMITS[invocation.type])

    async def _refuse_durable(self, invocation: Invocation, headers: Headers) -> None:
        """No function has that mode."""
        _check_by_model(headers)
        await self._invoker.dry_run(invocation)
        raise AwsError(
            "InvalidParameterValueException",
            "The invoked function is not a durable function. Remove the durable "
            "execution name from your request and try again.",
        )

    async def _refuse_size(
        self, invocation: Invocation, body: Body, limit: int
    ) -> None:
        await self._invoker.dry_run(invocation)
        raise _too_large(body.size, invocation.type, limit)

    async def _run(
        self, invocation: Invocation, headers: Headers, *, is_streamed: bool = False
    ) -> RawAnswer:
        match invocation.type:
            case InvocationType.REQUEST_RESPONSE if is_streamed:
                return await self._stream(invocation, headers)
            case InvocationType.REQUEST_RESPONSE:
                outcome = await self._invoker.invoke(invocation, None)
                common = _common_of(outcome, headers)
                return _answer(outcome, common, tail_log=invocation.tail_log)
            case InvocationType.EVENT:
                request_id = await self._invoker.enqueue(invocation)
                common = _common(request_id, headers)
                return 202, [*common, (b"content-length", b"0")], b""
            case InvocationType.DRY_RUN:
                await self._invoker.dry_run(invocation)
                return 204, _common(invocation.request_id, headers), b""

    async def _stream(self, invocation: Invocation, headers: Headers) -> RawAnswer:
        async with AsyncExitStack() as stack:
            answer = await stack.enter_async_context(
                answering(self._invoker, invocation, deadline=None)
            )
            match answer:
                case Outcome():
                    return _streamed(
                        answer,
                        _common_of(answer, headers),
                        tail_log=invocation.tail_log,
                    )
                case Streamed():
                    common = _common(invocation.request_id, headers)
                    body = _closing(
                        stack.pop_all(),
                        streaming.events_while(answer, tail_log=invocation.tail_log),
                    )
                    return 200, _stream_headers(common, answer.version), body


async def _closing(
    stack: AsyncExitStack, events: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """The same events; the function is let go of when they end, or are not wanted."""
    async with stack, aclosing(events):
        async for event in events:
            yield event


# --- what is asked ----------------------------------------------------------------


def _function(name: bytes, query: bytes, received: Received) -> FunctionId:
    read = _known_function if len(query) <= MAX_KNOWN_QUERY else _read_function
    return read(name, query, received.region, received.caller.tenant_id)


def _read_function(name: bytes, query: bytes, region: str, account: str) -> FunctionId:
    asked = {"FunctionName": unquote(name.decode("latin-1"))}
    for parameter, value in query_pairs(query):
        if parameter == "Qualifier":
            asked["Qualifier"] = value
        elif not parameter.startswith("X-Amz-"):
            raise AwsError(
                "InvalidParameterValueException",
                f"Invoke has no query parameter {parameter[:64]!r}; Qualifier is all.",
            )
    check(Service.load().operation("Invoke"), asked)
    return parse_function(
        asked["FunctionName"],
        region=region,
        account=account,
        qualifier=asked.get("Qualifier"),
    )


# What is refused is not kept, so no name here is longer than a name may be.
_known_function = lru_cache(maxsize=MAX_KNOWN)(_read_function)


def _key(
    headers: Headers, kind: InvocationType, function: FunctionId, received: Received
) -> IdempotencyKey:
    caller = received.caller.tenant_id
    return key_of(
        headers[b"idempotency-key"].decode("latin-1"),
        kind.value,
        _client_context(headers),
        headers.get(b"x-amz-tenant-id", b""),
        received.body.data or b"{}",
        sender="" if caller == function.account else caller,
    )


def _client_context(headers: Headers) -> str:
    """As the function gets it: JSON."""
    encoded = headers.get(b"x-amz-client-context")
    if not encoded:
        return ""
    if len(encoded) > MAX_CLIENT_CONTEXT:
        raise AwsError(
            "InvalidRequestContentException",
            f"The client context has {len(encoded)} bytes in base64 of "
            f"{MAX_CLIENT_CONTEXT} allowed.",
        )
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise AwsError(
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
        ) from error


def _refused(headers: Headers, operation: str) -> AwsError:
    """What AWS's model says of headers that are none of ours."""
    try:
        _check_by_model(headers, operation)
    except AwsError as error:
        return error
    # A newer model has a value that we do not know.
    return AwsError(
        "InvalidParameterValueException",
        "The invocation type or the log type is not supported.",
    )


def _check_by_model(headers: Headers, name: str = "Invoke") -> None:
    """Raise `ValidationException` in AWS's words."""
    operation = Service.load().operation(name)
    assert operation.input is not None  # noqa: S101 - Invoke has a function's name
    given: dict[str, Any] = {"FunctionName": "any"}
    for member in operation.input.members.values():
        value = headers.get(member.wire.lower().encode())
        if value is not None and member.name != "ClientContext":
            given[member.name] = value.decode("latin-1")
    check(operation, given)


# --- what is answered -------------------------------------------------------------


def _common(request_id: str, headers: Headers) -> WireHeaders:
    return [
        (b"x-amzn-requestid", request_id.encode()),
        (b"x-amzn-trace-id", trace_id_of(request_id, headers).encode()),
    ]


def _answer(outcome: Outcome, common: WireHeaders, *, tail_log: bool) -> RawAnswer:
    headers = [
        *common,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(outcome.payload)),
        (b"x-amz-executed-version", outcome.executed_version.encode()),
    ]
    if outcome.function_error:
        headers.append((b"x-amz-function-error", outcome.function_error.encode()))
    if tail_log:
        headers.append((b"x-amz-log-result", base64.b64encode(outcome.log_tail)))
    return 200, headers, outcome.payload


def _common_of(outcome: Outcome, headers: Headers) -> WireHeaders:
    common = _common(outcome.request_id, headers)
    return [*common, REPLAYED] if outcome.is_replayed else common


def _stream_headers(common: WireHeaders, version: str) -> WireHeaders:
    return [
        *common,
        (b"content-type", EVENT_STREAM.encode()),
        (b"x-amz-executed-version", version.encode()),
    ]


def _streamed(outcome: Outcome, common: WireHeaders, *, tail_log: bool) -> RawAnswer:
    body = streaming.events_of(outcome, tail_log=tail_log)
    headers = _stream_headers(common, outcome.executed_version)
    headers.append((b"content-length", b"%d" % len(body)))
    return 200, headers, body


def traced(headers: Headers) -> tuple[str, str]:
    """The caller's trace, and which functions led here: a function's SDK says both."""
    return lineage.read(headers.get(b"x-amzn-trace-id", b"").decode("latin-1"))


def trace_id_of(request_id: str, headers: Headers) -> str:
    """The caller's, or a new one, which is not sampled."""
    return lineage.whole(traced(headers)[0], request_id)


def _too_large(size: int, kind: InvocationType | None, limit: int) -> AwsError:
    # A dry run says what the real call would.
    name = "Event" if kind is InvocationType.EVENT else "RequestResponse"
    return AwsError(
        "RequestTooLargeException",
        f"{size} byte payload is too large for the {name} invocation type "
        f"(limit {limit} bytes)",
    )


def _not_found(function: FunctionId, region: str) -> AwsError:
    arn = function_arn(
        region, function.account, function.name, function.qualifier or "$LATEST"
    )
    return AwsError("ResourceNotFoundException", f"Function not found: {arn}")
