"""Function URLs as an ASGI application.

    which URL → preflight? → who, and may they → body → event → function → response

Who nobody vouches for, as with every URL of the auth type NONE, is held to bounds of
their own: `BodyRoom` by the function's owner, and a time for each body.

A function runs to its end although its caller hangs up: else any passer-by could have
instances destroyed by the hundred.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from sandlot_engine.errors import TooLarge
from sandlot_engine.events import lineage
from sandlot_engine.gateway.aws.faults import AwsError
from sandlot_engine.gateway.aws.invoke import trace_id_of
from sandlot_engine.gateway.aws.names import function_arn
from sandlot_engine.gateway.aws.receiving import (
    BodyRoom,
    ClientGone,
    Receive,
    Receiver,
    Scope,
    Send,
    read_body,
)
from sandlot_engine.gateway.connections import Connection
from sandlot_engine.gateway.headers import fold
from sandlot_engine.gateway.ports import Backend, Catalog
from sandlot_engine.gateway.urls import cors, refusals
from sandlot_engine.gateway.urls.addresses import Addressed, Addresses
from sandlot_engine.gateway.urls.answers import (
    WITHOUT_BODY,
    Malformed,
    Response,
    response_of,
)
from sandlot_engine.gateway.urls.events import Request, Signer, event_of
from sandlot_engine.gateway.urls.ports import Answering, by_invoker
from sandlot_engine.gateway.urls.refusals import Forbidden
from sandlot_engine.gateway.urls.sending import Cut, Streaming
from sandlot_engine.ids import new_request_id
from sandlot_engine.invocation.once import key_of
from sandlot_engine.invocation.streamed import Streamed
from sandlot_engine.model.invocation import (
    MAX_PAYLOAD,
    IdempotencyKey,
    Invocation,
    LogLine,
    LogSource,
    Outcome,
)
from sandlot_engine.model.url import FunctionUrl, InvokeMode, UrlAuthType

MAX_BODIES = 128 * 1024 * 1024
"""Bytes of bodies of unsigned requests that are half here, for all functions."""

MAX_BODIES_OF_TENANT = MAX_BODIES // 4
"""The same for the functions of one tenant."""

SLOW_S = 5.0
"""After which a body gives way, where there is no room for another."""

BODY_S = 60.0
"""In which the body of an unsigned request has to arrive: 6 MB over 1 Mbit/s."""

_VOUCHES = re.compile(rb"auth|cookie|credential|email|key|secret|session|token|user")
"""Names of headers by which a function may tell who asks, as `x-api-key` and
`x-forwarded-user` are."""

_NOBODY = frozenset((b"idempotency-key", b"user-agent"))
"""Of these, those that are nobody's."""

Headers = Mapping[bytes, bytes]


@dataclass(slots=True)
class _Asked:
    """A request, and who sent it."""

    signer: Signer | None
    body: bytes


class UrlApp:
    """An ASGI callable, but for what the router found out before."""

    def __init__(
        self,
        backend: Backend,
        catalog: Catalog,
        receiver: Receiver,
        addresses: Addresses,
        *,
        answering: Answering | None = None,
    ) -> None:
        self._urls = catalog.urls
        self._policies = catalog.policies
        self._receiver = receiver
        self._addresses = addresses
        self._answering = answering or by_invoker(backend.invoker)
        self._clock = backend.clock
        self._records = backend.records
        self._region = backend.region
        self._metrics = backend.invoker.metrics
        self.room = BodyRoom(
            most=MAX_BODIES,
            of_one=MAX_BODIES_OF_TENANT,
            whose="function URLs of",
            slow_s=SLOW_S,
        )

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        addressed: Addressed,
        connection: Connection,
    ) -> None:
        arrived = self._clock.monotonic()
        request_id, headers = new_request_id(), fold(scope["headers"])
        trace_id = trace_id_of(request_id, headers)
        url = self._urls.by_id(addressed.url_id)
        answer = _Answer(self, send, headers, url, request_id, trace_id)
        try:
            if url is None:
                await answer.send(refusals.nothing_here())
                return
            connection.owner = url.tenant_id
            rules = url.active_cors
            if rules is not None and cors.is_preflight(scope["method"], headers):
                await answer.send(cors.preflight(rules, headers), is_plain=True)
                return
            asked = await self._asked(scope, receive, headers, url)
            invocation = self._invocation(
                scope, headers, url, asked, addressed, request_id, trace_id, arrived
            )
            await self._run(invocation, url, answer)
        except ClientGone:
            return
        except Cut:
            await connection.cut()
        except Exception as error:  # noqa: BLE001 - the edge: it ends in a face or a log
            refusal = refusals.refusal_of(error, request_id)
            if answer.has_begun:
                await connection.cut()
            await answer.send(refusal)

    def note(self, status: int) -> None:
        self._metrics.note_url_request(status)

    # --- who and what ---------------------------------------------------------------

    async def _asked(
        self, scope: Scope, receive: Receive, headers: Headers, url: FunctionUrl
    ) -> _Asked:
        """Raises `Forbidden`, and what is wrong with signature or body."""
        if url.auth_type is UrlAuthType.NONE:
            # Before the body is read: a stranger is not to fill anything.
            self._check_may_call(url, "")
            return _Asked(None, await self._unsigned_body(receive, headers, url))
        try:
            received = await self._receiver.receive(
                scope, receive, headers, limit=MAX_PAYLOAD, too_large=_too_large_aws
            )
        except AwsError as error:
            if error.code == "MissingAuthenticationTokenException":
                raise Forbidden from error
            raise
        caller = received.caller
        self._check_may_call(url, caller.tenant_id)
        if received.body.data is None:
            raise _too_large(received.body.size)
        return _Asked(
            Signer(account=caller.tenant_id, access_key_id=caller.access_key_id),
            received.body.data,
        )

    def _check_may_call(self, url: FunctionUrl, caller: str) -> None:
        if not self._policies.may_call_url(
            url.tenant_id,
            url.function,
            url.qualifier,
            caller,
            auth_type=url.auth_type.value,
        ):
            raise Forbidden

    async def _unsigned_body(
        self, receive: Receive, headers: Headers, url: FunctionUrl
    ) -> bytes:
        try:
            async with asyncio.timeout(BODY_S):
                body = await read_body(
                    receive,
                    headers,
                    self.room,
                    url.tenant_id,
                    limit=MAX_PAYLOAD,
                    most=MAX_PAYLOAD,
                    too_large=_too_large,
                )
        except TimeoutError:
            raise AwsError(
                "DeadlineExceededException", f"no whole body within {BODY_S:g} s"
            ) from None
        assert body.data is not None  # noqa: S101 - over the limit it is refused
        return body.data

    def _invocation(
        self,
        scope: Scope,
        headers: Headers,
        url: FunctionUrl,
        asked: _Asked,
        addressed: Addressed,
        request_id: str,
        trace_id: str,
        arrived: float,
    ) -> Invocation:
        scheme, port = self._addresses.scheme_and_port or _reached(scope, headers)
        event = event_of(
            Request(
                method=scope["method"],
                path=addressed.path.decode("latin-1"),
                query=scope["query_string"].decode("latin-1"),
                protocol=f"HTTP/{scope['http_version']}",
                headers=scope["headers"],
                body=asked.body,
                source_ip=str((scope.get("client") or ("",))[0]),
                scheme=scheme,
                port=port,
            ),
            url_id=url.id,
            signer=asked.signer,
            request_id=request_id,
            trace_id=trace_id,
            now=self._clock.now(),
        )
        return Invocation(
            request_id=request_id,
            tenant_id=url.tenant_id,
            function=url.function,
            # The lineage that a stranger tells of is nobody's.
            trace_id=lineage.trace_id(
                request_id, trace_id, "", url.tenant_id, url.function
            ),
            qualifier=url.qualifier,
            invoked_arn=function_arn(
                self._region, url.tenant_id, url.function, url.qualifier
            ),
            payload=event,
            idempotency=_key(scope, headers, url, asked, addressed),
            outlives_caller=True,
            arrived=arrived,
        )

    # --- the answer -----------------------------------------------------------------

    async def _run(
        self, invocation: Invocation, url: FunctionUrl, answer: "_Answer"
    ) -> None:
        may_stream = url.invoke_mode is InvokeMode.RESPONSE_STREAM
        async with AsyncExitStack() as stack:
            came = await stack.enter_async_context(
                self._answering(invocation, may_stream=may_stream)
            )
            match came:
                case Outcome():
                    response = self._response_of(came, url)
                    await answer.send(response, replayed=came.is_replayed)
                case Streamed():
                    try:
                        await answer.stream(came)
                    except Malformed as error:
                        self._note(error, url, invocation.request_id)
                        await answer.send(refusals.bad_gateway())

    def _response_of(self, outcome: Outcome, url: FunctionUrl) -> Response:
        if outcome.function_error:
            return refusals.bad_gateway()
        try:
            return response_of(outcome.payload)
        except Malformed as error:
            if not outcome.is_replayed:
                self._note(error, url, outcome.request_id)
            return refusals.bad_gateway()

    def _note(self, error: Malformed, url: FunctionUrl, request_id: str) -> None:
        """In the function's log, for its caller is not told: a 502 says no more."""
        line = LogLine(
            time=self._clock.now(),
            request_id=request_id,
            source=LogSource.PLATFORM,
            text=b"Function URL: 502, the answer is no HTTP response: %s"
            % str(error).encode(),
        )
        self._records.append_log(url.tenant_id, url.function, (line,))


class _Answer:
    """One response on its way out: whole, or piece by piece."""

    def __init__(
        self,
        app: UrlApp,
        send: Send,
        headers: Headers,
        url: FunctionUrl | None,
        request_id: str,
        trace_id: bytes | str,
    ) -> None:
        self._app = app
        self._send = send
        self._headers = headers
        self._cors = url.active_cors if url is not None else None
        self._ids = [
            (b"x-amzn-requestid", request_id.encode()),
            (b"x-amzn-trace-id", str(trace_id).encode()),
        ]
        self.has_begun = False

    async def send(
        self, response: Response, *, is_plain: bool = False, replayed: bool = False
    ) -> None:
        """The whole of it; `is_plain` where CORS has been seen to."""
        headers = self._told(response, is_plain=is_plain)
        if replayed:
            headers.append((b"idempotent-replayed", b"true"))
        if response.status not in WITHOUT_BODY:
            headers.append((b"content-length", b"%d" % len(response.body)))
        await self._start(response.status, headers)
        await self._send({"type": "http.response.body", "body": response.body})

    async def stream(self, streamed: Streamed) -> None:
        """Raises `Cut` where it breaks after it has begun, and before that `Malformed`
        where its prelude is none."""
        streaming = Streaming(streamed)
        head = await streaming.head()
        await self._start(head.status, self._told(head))
        has_body = head.status not in WITHOUT_BODY
        async for piece in streaming.body():
            if has_body:
                await self._send(
                    {"type": "http.response.body", "body": piece, "more_body": True}
                )
        await self._send({"type": "http.response.body", "body": b""})

    def _told(self, response: Response, *, is_plain: bool = False) -> list[Any]:
        headers = response.headers
        if not is_plain:
            headers = cors.apply(self._cors, self._headers, headers)
        ours = {name for name, _ in self._ids}
        return [*self._ids, *(each for each in headers if each[0] not in ours)]

    async def _start(self, status: int, headers: list[Any]) -> None:
        self._app.note(status)
        self.has_begun = True
        await self._send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )


def _reached(scope: Scope, headers: Headers) -> tuple[str, int]:
    """By which scheme and port: what the client said, who knows it best."""
    scheme: str = scope["scheme"]
    port = headers.get(b"host", b"").rpartition(b":")[2]
    if port.isdigit() and len(port) < 6:
        return scheme, int(port)
    return scheme, 443 if scheme == "https" else 80


def _key(
    scope: Scope,
    headers: Headers,
    url: FunctionUrl,
    asked: _Asked,
    addressed: Addressed,
) -> IdempotencyKey | None:
    """The caller's, if one was sent.

    The event says when it was made, and so is no two times the same. What vouches for
    somebody towards the function is part of the request: nobody is to have another's
    answer for knowing a key.
    """
    if b"idempotency-key" not in headers:
        return None
    signer = asked.signer
    return key_of(
        headers[b"idempotency-key"].decode("latin-1"),
        scope["method"],
        addressed.path,
        scope["query_string"],
        headers.get(b"content-type", b""),
        _vouching(headers, is_signed=signer is not None),
        asked.body,
        sender=f"url {url.id} {signer.account if signer else ''}",
    )


def _vouching(headers: Headers, *, is_signed: bool) -> bytes:
    """A signature is of its time, and who made it is known."""
    passed = _NOBODY | {b"authorization"} if is_signed else _NOBODY
    return b"\n".join(
        b"%s:%s" % (name, headers[name])
        for name in sorted(headers.keys() - passed)
        if _VOUCHES.search(name)
    )


def _too_large(size: int) -> TooLarge:
    return TooLarge(f"{size} bytes of {MAX_PAYLOAD} allowed", field="payload")


def _too_large_aws(size: int) -> AwsError:
    return AwsError("RequestTooLargeException", _too_large(size).message)
