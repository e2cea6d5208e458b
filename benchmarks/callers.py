"""Callers that cost little: what they take would be counted as the engine's.

Over HTTP, bytes that were signed once are sent again and again on connections that
stay open; AWS's signature is good for minutes. Over gRPC, the generated messages on a
channel, without the SDK around them.
"""

import asyncio
from collections import deque
from typing import cast

import grpc
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.engines import Engine
from benchmarks.openloop import WasThrottled
from sandlot.results import NewKey
from sandlot.transport import OPTIONS
from sandlot.v1 import invocations_pb2 as pb

CALL_S = 30.0
_INVOKE = "/sandlot.v1.InvocationService/Invoke"
_TOO_MANY = 429
_OK = range(200, 300)


class NoAnswer(Exception):
    """A reply that is not what was asked for."""


class HttpCaller:
    """Sends one request's bytes as often as it is called, on as many connections as
    calls are under way."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self._host = host
        self._port = port
        self._request = request
        self._idle: deque[_Connection] = deque()
        self._all: list[_Connection] = []

    async def __call__(self, _: int = 0) -> bytes:
        """The body. Raises `WasThrottled`, and `NoAnswer` for any other refusal."""
        async with asyncio.timeout(CALL_S):
            connection = self._take() or await self._connect()
            status, body = await connection.ask(self._request)
        self._idle.append(connection)
        if status == _TOO_MANY:
            raise WasThrottled(body.decode("utf-8", "replace"))
        if status not in _OK:
            raise NoAnswer(f"{status}: {body[:300]!r}")
        return body

    def close(self) -> None:
        for connection in self._all:
            connection.close()

    def _take(self) -> "_Connection | None":
        # Some servers close what was not used for a while.
        while self._idle:
            if (connection := self._idle.pop()).is_open:
                return connection
        return None

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            _Connection, self._host, self._port
        )
        self._all.append(connection)
        return connection


class _Connection(asyncio.Protocol):
    """One request at a time, answers with a length."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # By word: uvloop's is none by its class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._answer is None or self._answer.done():
            return
        head = bytes(self._buffer[:end]).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
        if len(self._buffer) >= (whole := end + 4 + length):
            body = bytes(self._buffer[end + 4 : whole])
            del self._buffer[:whole]
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswer(f"connection lost: {exc}"))

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        if self._transport is None or not self.is_open:
            raise NoAnswer("connection lost")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def plain_request(host: str, path: str, body: bytes) -> bytes:
    """A POST without any signature."""
    return _bytes_of(path, {"Host": host, "Content-Type": "application/json"}, body)


def lambda_request(address: str, key: NewKey, function: str, body: bytes) -> bytes:
    """A signed POST of AWS Lambda's Invoke."""
    path = f"/2015-03-31/functions/{function}/invocations"
    request = AWSRequest(
        method="POST",
        url=f"http://{address}{path}",
        data=body,
        headers={"Content-Type": "application/json", "Host": address},
    )
    SigV4Auth(
        Credentials(key.access_key_id, key.secret_access_key), "lambda", "us-east-1"
    ).add_auth(request)
    return _bytes_of(path, dict(request.headers.items()), body)


def http_caller(engine: Engine, key: NewKey, function: str, body: bytes) -> HttpCaller:
    """Of a function, as its tenant."""
    address = engine.http.removeprefix("http://")
    host, _, port = address.rpartition(":")
    return HttpCaller(host, int(port), lambda_request(address, key, function, body))


def _bytes_of(path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


_OPTIONS = (*OPTIONS, ("grpc.enable_http_proxy", 0))
"""What is measured is on this machine."""


class GrpcCaller:
    """One channel, one request, as often as it is called."""

    def __init__(
        self,
        address: str,
        request: pb.InvokeRequest,
        metadata: tuple[tuple[str, str], ...] = (),
        *,
        timeout_s: float = CALL_S,
    ) -> None:
        self._timeout_s = timeout_s
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._invoke = self._channel.unary_unary(
            _INVOKE,
            request_serializer=pb.InvokeRequest.SerializeToString,
            response_deserializer=pb.InvokeResponse.FromString,
        )
        self.request = request
        self._metadata = metadata

    async def __call__(self, _: int = 0) -> pb.InvokeResponse:
        return await self.ask(self.request)

    async def ask(self, request: pb.InvokeRequest) -> pb.InvokeResponse:
        """Raises `WasThrottled`, and `NoAnswer` for any other refusal or failure."""
        try:
            reply: pb.InvokeResponse = await self._invoke(
                request, metadata=self._metadata, timeout=self._timeout_s
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise WasThrottled(error.details()) from error
            raise NoAnswer(f"{error.code().name}: {error.details()}") from error
        if reply.function_error:
            raise NoAnswer(f"{reply.function_error}: {reply.payload[:300]!r}")
        return reply

    async def close(self) -> None:
        await self._channel.close()


def grpc_caller(
    engine: Engine,
    key: NewKey,
    function: str,
    body: bytes,
    *,
    timeout_s: float = CALL_S,
) -> GrpcCaller:
    """Of a function, as its tenant."""
    bearer = f"Bearer {key.access_key_id}:{key.secret_access_key}"
    return GrpcCaller(
        engine.grpc,
        pb.InvokeRequest(function=function, payload=body),
        (("authorization", bearer),),
        timeout_s=timeout_s,
    )
