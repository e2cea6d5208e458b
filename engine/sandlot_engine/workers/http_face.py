"""A worker's HTTP: synchronous invocations of what is at hand, and the core's answers
to everything else."""

from collections.abc import Callable, MutableMapping
from typing import Any

from sandlot_engine.errors import Unavailable
from sandlot_engine.gateway.aws.app import face_of, raw_answer
from sandlot_engine.gateway.aws.invoke import INVOKE, Invoke, RawAnswer
from sandlot_engine.gateway.aws.receiving import ClientGone, Receive, Scope, Send
from sandlot_engine.gateway.aws.writing import write_error
from sandlot_engine.gateway.connections import KEY
from sandlot_engine.gateway.headers import fold
from sandlot_engine.ids import new_request_id
from sandlot_engine.workers.forward_http import ForwardHttp
from sandlot_engine.workers.messages import Address
from sandlot_engine.workers.replica import NotHere

Message = MutableMapping[str, Any]

MAX_LOCAL = 1024 * 1024
"""Bytes of an event that is run here: it is kept until it is known where it runs."""

_NOT_LOCAL = (
    b"x-amz-durable-execution-name",
    b"x-amz-tenant-id",
    b"idempotency-key",
    b"transfer-encoding",
    b"expect",
)


class WorkerApp:
    """An ASGI callable behind `gateway.http.serve_app`."""

    def __init__(
        self, invoke: Invoke, forward: ForwardHttp, want: Callable[[Address], None]
    ) -> None:
        self._invoke = invoke
        self._forward = forward
        self._want = want

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = fold(scope["headers"])
        found = INVOKE.fullmatch(scope["raw_path"])
        if found is None or not _may_be_local(scope, headers):
            await self._pass_on(scope, receive, send)
            return
        kept = _Kept(receive)
        request_id = new_request_id()
        try:
            answer = await self._invoke.invoke(
                scope, kept.receive, headers, name=found[1], request_id=request_id
            )
        except NotHere as needs:
            await self._pass_on(scope, kept.again, send)
            if needs.want is not None:
                self._want(needs.want)
            return
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the edge: as in `AwsApp`
            answer = _refused(error, request_id)
        await _send(send, answer)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def forward(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._forward(scope, receive, forward)
        except ClientGone:
            return
        except Unavailable as error:
            if has_begun:
                # The core cut it: the client is to see that there is more to it.
                await scope[KEY].cut()
            await _send(send, _refused(error, new_request_id()))


def _may_be_local(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    length = headers.get(b"content-length", b"")
    return (
        scope["method"] == "POST"
        and b".lambda-url." not in headers.get(b"host", b"").lower()
        and length.isdigit()
        and len(length) < 20
        and int(length) <= MAX_LOCAL
        and headers.get(b"x-amz-invocation-type", b"RequestResponse")
        == b"RequestResponse"
        and not any(name in headers for name in _NOT_LOCAL)
    )


class _Kept:
    """A request's body that may have to be read again."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: list[Message] = []

    async def receive(self) -> Message:
        message = await self._receive()
        self._messages.append(message)
        return message

    async def again(self) -> Message:
        """From its beginning, then what was not read yet."""
        return self._messages.pop(0) if self._messages else await self._receive()


def _refused(error: Exception, request_id: str) -> RawAnswer:
    return raw_answer(write_error(face_of(error, request_id), request_id))


async def _send(send: Send, answer: RawAnswer) -> None:
    status, headers, body = answer
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
