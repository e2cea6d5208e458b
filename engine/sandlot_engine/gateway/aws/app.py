"""AWS Lambda's API as an ASGI application.

    route → check key and date → read → check signature → read → check → operate → write

`Invoke` leaves this way after the first step; see `invoke.py`.
"""

import asyncio
import re
from contextlib import ExitStack, aclosing
from functools import partial
from typing import Any

from sandlot_engine.errors import (
    DeadlineExceeded,
    NotSupported,
    Refusal,
    SandlotError,
)
from sandlot_engine.garbage import let_go
from sandlot_engine.gateway import faulted
from sandlot_engine.gateway.aws import operations
from sandlot_engine.gateway.aws.asking import asked_of
from sandlot_engine.gateway.aws.call import Call, Parts
from sandlot_engine.gateway.aws.downloads import PREFIX
from sandlot_engine.gateway.aws.faults import (
    OPERATION_NOT_SUPPORTED,
    AwsError,
    aws_error_of,
)
from sandlot_engine.gateway.aws.invoke import (
    INVOKE,
    INVOKE_ASYNC,
    STREAM,
    Headers,
    Invoke,
    RawAnswer,
    WireHeaders,
)
from sandlot_engine.gateway.aws.packages import taken_out
from sandlot_engine.gateway.aws.reading import query_pairs
from sandlot_engine.gateway.aws.receiving import (
    MAX_REQUEST,
    ClientGone,
    Receive,
    Receiver,
    Scope,
    Send,
)
from sandlot_engine.gateway.aws.service import Operation, Service, takes_package
from sandlot_engine.gateway.aws.support import refusal
from sandlot_engine.gateway.aws.writing import Answer, write, write_error
from sandlot_engine.gateway.connections import KEY
from sandlot_engine.gateway.headers import fold
from sandlot_engine.gateway.others import service_of
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.turns import Held
from sandlot_engine.ids import new_request_id

OPERATION_DEADLINE_S = 120.0
"""For all operations but Invoke, whose function has a timeout of its own."""

MAX_HELD, MAX_HELD_OF_TENANT = 512 << 20, 256 << 20
"""Bytes of requests that are being answered: of packages that wait until they are
built, above all. `BodyRoom` is for those that are half here."""

LEAST_OF_PACKAGE = 64 << 10
"""What a package counts there at least: who hung up has it built all the same, and what
waits for that has more than its bytes."""

MAX_PLAIN_REQUEST = 1_048_576
"""Bytes of a request's body that has no package in it. AWS's largest has 20 KB, of a
policy; what takes 70 MB apart does nothing else for seconds."""

_OURS = re.compile(rb"/20\d\d-\d\d-\d\d/|%s" % PREFIX.encode())


def is_aws(raw_path: bytes) -> bool:
    """Whether a path, as it was sent, is one of AWS's, which begin with a date, or of a
    package that one of its answers has linked to."""
    return _OURS.match(raw_path) is not None


class AwsApp:
    """An ASGI callable. What it is sent must be HTTP, and `is_aws`."""

    def __init__(self, backend: Backend, parts: Parts) -> None:
        self._parts = parts
        self._service = Service.load()
        self._operations = operations.load()
        self.receiver = Receiver(backend.tenants, backend.clock)
        self._held = Held(most=MAX_HELD, of_tenant=MAX_HELD_OF_TENANT)
        self._invoke = Invoke(
            policies=parts.catalog.policies,
            invoker=backend.invoker,
            clock=backend.clock,
            receiver=self.receiver,
        )

    def is_of_another(self, scope: Scope) -> bool:
        """Whether a request is for another service whose paths begin with dates, as
        those of Route 53 and CloudFront do, by its date and by its signature."""
        if self._service.begins(scope["path"]):
            return False
        return bool(service_of(fold(scope["headers"]), scope["query_string"]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        try:
            answer = await self._answer(scope, receive, request_id)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the edge: it ends in a face or a log
            refusal = face_of(error, request_id)
            answer = raw_answer(write_error(refusal, request_id))
            let_go(error)
        status, headers, body = answer
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        if isinstance(body, bytes):
            await send({"type": "http.response.body", "body": body})
            return
        try:
            async with aclosing(body):
                async for part in body:
                    await send(
                        {"type": "http.response.body", "body": part, "more_body": True}
                    )
        except SandlotError as error:
            # A package that went meanwhile: what has begun cannot be refused.
            faulted.note(error, request_id)
            let_go(error)
            await scope[KEY].cut()
        await send({"type": "http.response.body", "body": b""})

    async def _answer(
        self, scope: Scope, receive: Receive, request_id: str
    ) -> RawAnswer:
        path, headers = scope["raw_path"], fold(scope["headers"])
        if scope["method"] == "POST":
            if found := INVOKE.fullmatch(path):
                return await self._invoke.invoke(
                    scope, receive, headers, name=found[1], request_id=request_id
                )
            if found := STREAM.fullmatch(path):
                return await self._invoke.invoke(
                    scope,
                    receive,
                    headers,
                    name=found[1],
                    request_id=request_id,
                    is_streamed=True,
                )
            if found := INVOKE_ASYNC.fullmatch(path):
                return await self._invoke.invoke_async(
                    scope, receive, headers, name=found[1], request_id=request_id
                )
        if path.startswith(PREFIX.encode()):
            return await self._download(scope)
        answer = await self._operate(scope, receive, headers, request_id)
        return raw_answer(answer)

    async def _download(self, scope: Scope) -> RawAnswer:
        """A package, for whoever has a link."""
        sha256 = self._parts.downloads.granted(
            scope["path"], scope["query_string"].decode("latin-1")
        )
        if scope["method"] != "GET" or not sha256:
            raise AwsError("AccessDeniedException", "Request has expired, or is none.")
        size, pieces = await self._parts.catalog.functions.package(sha256)
        headers: WireHeaders = [
            (b"content-type", b"application/zip"),
            (b"content-length", b"%d" % size),
        ]
        return 200, headers, pieces

    async def _operate(
        self, scope: Scope, receive: Receive, headers: Headers, request_id: str
    ) -> Answer:
        query = query_pairs(scope["query_string"])
        operation, labels = self._service.match(
            scope["method"], scope["raw_path"].decode("latin-1"), query
        )
        limit = MAX_REQUEST if takes_package(operation) else MAX_PLAIN_REQUEST
        received = await self.receiver.receive(
            scope,
            receive,
            headers,
            limit=limit,
            too_large=lambda _: too_large(operation, limit),
        )
        body, received.body.data = received.body.data, None
        if body is None:
            raise too_large(operation, limit)
        tenant_id = received.caller.tenant_id
        with ExitStack() as holding:
            size = len(body)
            if takes_package(operation):
                size = max(size, LEAST_OF_PACKAGE)
            holding.enter_context(self._held.hold(tenant_id, size))
            blobs: dict[str, bytes] = {}
            if len(body) > 2 * MAX_PLAIN_REQUEST:
                taken = await taken_out(body, most=MAX_PLAIN_REQUEST)
                if taken is None:
                    raise too_large_beside(operation)
                body, blobs = taken
            async with self.receiver.reading(received.caller, len(body)):
                asked = asked_of(
                    operation,
                    labels,
                    query,
                    headers,
                    body,
                    unknown_code="InvalidParameterValueException",
                    blobs=blobs,
                )
            if blobs:
                raise too_large_beside(operation)
            del body  # a package is in there as well

            def hold(size: int) -> None:
                holding.enter_context(self._held.hold(tenant_id, size))

            call = Call(
                caller=received.caller,
                region=received.region,
                request_id=request_id,
                operation=operation.name,
                input=asked,
                parts=self._parts,
                base_url=_base_url(scope, headers),
                hold=hold,
                check_key=partial(
                    self.receiver.good_key, received.caller.access_key_id
                ),
            )
            try:
                return await self.receiver.answering(
                    received.caller,
                    operation.name,
                    partial(self._perform, call, operation),
                )
            finally:
                for work in call.begun:
                    if not work.done():
                        # Who hangs up, or is told that it takes too long, leaves its
                        # package in memory: else it could send one after another.
                        work.add_done_callback(partial(_done_with, holding.pop_all()))

    async def _perform(self, call: Call, operation: Operation) -> Answer:
        perform = self._operations.get(operation.name)
        if why := refusal(operation.name, call.input):
            reason = "" if perform else OPERATION_NOT_SUPPORTED
            raise NotSupported(why, reason=reason)
        if perform is None:
            raise NotSupported(
                f"{operation.name} is not supported.", reason=OPERATION_NOT_SUPPORTED
            )
        timer = asyncio.timeout(OPERATION_DEADLINE_S)
        try:
            async with timer:
                return write(operation, await perform(call), call.request_id)
        except Refusal as refused:
            raise _in_region(aws_error_of(refused), call) from refused
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise DeadlineExceeded(
                f"{operation.name} did not end within {OPERATION_DEADLINE_S:.0f} s"
            ) from error


def _done_with(held: ExitStack, work: "asyncio.Task[Any]") -> None:
    """What nobody waited for any more."""
    held.close()
    if not work.cancelled():
        let_go(work.exception())


def _in_region(error: AwsError, call: Call) -> AwsError:
    """The same, its ARNs as the caller has them: below, all are the engine's."""
    return AwsError(error.code, call.in_region(error.message), error.members)


def face_of(error: Exception, request_id: str) -> AwsError:
    """The face of an exception, logged if it is our fault.

    What is not one of ours says nothing to the caller but the id under which it was
    logged: its text may hold anything, another tenant's data included.
    """
    match error:
        case AwsError():
            return error
        case SandlotError():
            faulted.note(error, request_id)
            return aws_error_of(error)
        case _:
            faulted.note(error, request_id)
            return AwsError(
                "ServiceException",
                f"internal error; it was logged as request {request_id}",
            )


def too_large(operation: Operation, limit: int) -> AwsError:
    return AwsError(
        "RequestEntityTooLargeException",
        f"Request must be smaller than {limit} bytes for the {operation.name} "
        "operation",
    )


def too_large_beside(operation: Operation) -> AwsError:
    """Of what is no package."""
    return AwsError(
        "RequestEntityTooLargeException",
        f"Request must be smaller than {MAX_PLAIN_REQUEST} bytes beside its package "
        f"for the {operation.name} operation",
    )


def _base_url(scope: Scope, headers: Headers) -> str:
    return f"{scope['scheme']}://{headers.get(b'host', b'').decode('latin-1')}"


def raw_answer(answer: Answer) -> RawAnswer:
    """As it goes over the wire."""
    headers: WireHeaders = [
        (name.encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in answer.headers
    ]
    if answer.status != 204:  # No Content, and so no length of it
        headers.append((b"content-length", b"%d" % len(answer.body)))
    return answer.status, headers, answer.body
