"""Hands an HTTP request on to the core, as it came, and its answer back.

Over connections of a unix socket that only workers can reach. Whatever the core checks
of a request it checks again; where it came from, it is told in a header, which a client
cannot set.
"""

import asyncio
from collections import deque
from typing import Any, cast

import httptools

from sandlot_engine.errors import Unavailable
from sandlot_engine.gateway.aws.receiving import ClientGone, Receive, Scope, Send

PEER = b"x-sandlot-peer"
"""`ADDRESS PORT SCHEME` of the client."""

MAX_IDLE = 64
"""Connections to the core that wait for their next request."""

IDLE_S = 20.0
"""How long: less than the core keeps them."""

MAX_UNREAD = 256 * 1024
"""Bytes of an answer that the client has not taken yet."""

_OF_ONE_HOP = frozenset(
    (b"connection", b"keep-alive", b"transfer-encoding", b"expect", b"upgrade", PEER)
)
_NOT_BACK = _OF_ONE_HOP | {b"date"}

Headers = list[tuple[bytes, bytes]]


class ForwardHttp:
    """An ASGI callable: the core's, from here."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: deque[tuple[float, _Connection]] = deque()
        self._loop = asyncio.get_running_loop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `ClientGone`, and `Unavailable` where the core broke off; then nothing
        was sent."""
        connection = await self._connection()
        is_clean = False
        try:
            is_clean = await _exchange(connection, scope, receive, send)
        finally:
            if is_clean and connection.is_reusable and len(self._idle) < MAX_IDLE:
                self._idle.append((self._loop.time(), connection))
            else:
                # Cancels what the core does of it.
                connection.close()

    async def _connection(self) -> "_Connection":
        while self._idle:
            since, connection = self._idle.pop()
            if connection.is_reusable and self._loop.time() - since < IDLE_S:
                return connection
            connection.close()
        try:
            _, connection = await self._loop.create_unix_connection(
                _Connection, self._path
            )
        except OSError as error:
            raise Unavailable(f"the engine's core cannot be reached: {error}") from None
        return connection

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()


async def _exchange(
    connection: "_Connection", scope: Scope, receive: Receive, send: Send
) -> bool:
    """Whether all of the request and of its answer has gone through."""
    first = await _part(receive)
    is_chunked = connection.begin(scope, first)
    body = asyncio.ensure_future(_send_body(connection, receive, first, is_chunked))
    try:
        status, headers = await connection.head()
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        while (data := await connection.body()) is not None:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return body.done() and body.exception() is None
    finally:
        if not body.done():
            body.cancel()
        await asyncio.wait([body])
        if not body.cancelled():
            body.exception()


async def _send_body(
    connection: "_Connection",
    receive: Receive,
    part: tuple[bytes, bool],
    is_chunked: bool,
) -> None:
    while True:
        data, is_last = part
        await connection.write(data, is_chunked=is_chunked, is_last=is_last)
        if is_last:
            return
        part = await _part(receive)


async def _part(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    return message.get("body", b""), not message.get("more_body", False)


def _head(scope: Scope, *, is_chunked: bool) -> bytes:
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    host, port = scope.get("client") or ("", 0)
    lines = [b"%s %s HTTP/1.1" % (scope["method"].encode(), target)]
    lines += [
        b"%s: %s" % (name, value)
        for name, value in scope["headers"]
        if name not in _OF_ONE_HOP
    ]
    peer = f"{host or '-'} {port} {scope.get('scheme', 'http')}"
    lines.append(b"%s: %s" % (PEER, peer.encode()))
    if is_chunked:
        lines.append(b"transfer-encoding: chunked")
    return b"\r\n".join(lines) + b"\r\n\r\n"


class _Connection(asyncio.Protocol):
    """One request after another; the parser calls the methods that begin with `on_`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._headers: Headers = []
        self._body: deque[bytes] = deque()
        self._unread = 0
        self._has_head = False
        self._is_complete = True
        self._is_lost = False
        self._is_head_only = False
        self._heard = asyncio.Event()
        self._can_write = asyncio.Event()
        self._can_write.set()

    @property
    def is_reusable(self) -> bool:
        return self._is_complete and not self._is_lost and not self._is_head_only

    def close(self) -> None:
        self._is_lost = True
        if self._transport is not None:
            self._transport.close()

    # --- the request ------------------------------------------------------------------

    def begin(self, scope: Scope, first: tuple[bytes, bool]) -> bool:
        """Send the head; whether the body is to be sent in chunks."""
        names = {name for name, _ in scope["headers"]}
        has_body = bool(first[0]) or not first[1]
        is_chunked = has_body and b"content-length" not in names
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._has_head, self._is_complete = [], False, False
        self._is_head_only = scope["method"] == "HEAD"
        assert self._transport is not None  # noqa: S101
        self._transport.write(_head(scope, is_chunked=is_chunked))
        return is_chunked

    async def write(self, data: bytes, *, is_chunked: bool, is_last: bool) -> None:
        await self._can_write.wait()
        if self._is_lost or self._transport is None:
            return
        if is_chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data) if data else b""
            data += b"0\r\n\r\n" if is_last else b""
        if data:
            self._transport.write(data)

    # --- the answer -------------------------------------------------------------------

    async def head(self) -> tuple[int, Headers]:
        """Raises `Unavailable`."""
        while not self._has_head:
            await self._wait()
        kept = [pair for pair in self._headers if pair[0] not in _NOT_BACK]
        return self._parser.get_status_code(), kept

    async def body(self) -> bytes | None:
        """Some more of it; None after its end. Raises `Unavailable`."""
        while not self._body:
            if self._is_complete or self._is_head_only:
                return None
            await self._wait()
        data = b"".join(self._body)
        self._body.clear()
        if self._unread > MAX_UNREAD and self._transport is not None:
            self._transport.resume_reading()
        self._unread = 0
        return data

    async def _wait(self) -> None:
        if self._is_lost:
            raise Unavailable("the engine's core ended the connection")
        self._heard.clear()
        await self._heard.wait()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._has_head = True

    def on_body(self, data: bytes) -> None:
        self._body.append(data)
        self._unread += len(data)
        if self._unread > MAX_UNREAD and self._transport is not None:
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._is_complete = True

    # --- asyncio.Protocol -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
        self._heard.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._heard.set()
        self._can_write.set()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()


class FromWorkers:
    """The core's end: puts back where a request came from, and first takes in what
    workers have told, so that whoever asks is told of what was answered before."""

    def __init__(self, app: Any, read_ledgers: Any) -> None:
        self._app = app
        self._read_ledgers = read_ledgers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = scope["headers"]
        for name, value in headers:
            if name == PEER:
                host, port, scheme = value.decode("latin-1").split(" ")
                scope["client"] = (host, int(port))
                scope["scheme"] = scheme
        scope["headers"] = [pair for pair in headers if pair[0] != PEER]
        self._read_ledgers()
        await self._app(scope, receive, send)
