"""`InvocationService`: running functions, and reading what happened."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import (
    ExitStack,
    aclosing,
    contextmanager,
    nullcontext,
)
from typing import Any

import grpc.aio
from google.protobuf.message import DecodeError

from sandlot.v1 import invocations_pb2 as wire
from sandlot_engine.clock import Clock
from sandlot_engine.errors import InvalidParameter, Stopping, Throttled
from sandlot_engine.events.lineage import trace_id
from sandlot_engine.garbage import let_go
from sandlot_engine.gateway.auth import Authenticator
from sandlot_engine.gateway.paging import page_size, position
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.call import Call, current_call, current_caller
from sandlot_engine.gateway.rpc.convert import (
    invocation_type_of,
    log_line_out,
    outcome_out,
    record_out,
    refused_out,
    time_of,
)
from sandlot_engine.gateway.rpc.faces import face_of
from sandlot_engine.gateway.tail import catch_up, tail
from sandlot_engine.gateway.turns import Holding
from sandlot_engine.ids import new_request_id
from sandlot_engine.invocation.invoker import Invoker
from sandlot_engine.invocation.once import key_of
from sandlot_engine.invocation.streamed import BrokenOff, Streamed, answering
from sandlot_engine.model.invocation import (
    IdempotencyKey,
    Invocation,
    InvocationType,
    LogLine,
    Outcome,
)

MAX_IN_FLIGHT = 64
"""Invocations of one `InvokeMany` stream at once, unsent answers included. Over it
we stop reading, and HTTP/2's flow control slows the sender down."""

MAX_PIECE = 1024 * 1024
"""Bytes of an answer in one message."""

MAX_FOLLOWERS = 100
"""Logs that one tenant follows at once."""

FOLLOW_RETRY_AFTER_S = 10.0

MAX_BATCH_BYTES = 1024 * 1024
"""Bytes of log in one message: clients refuse messages over 4 MB by default."""


async def run_invocation(
    request: wire.InvokeRequest, invoker: Invoker, clock: Clock
) -> wire.InvokeResponse:
    """Run what this task's call asks for, and wait for the answer: a request of type
    `RequestResponse`. Raises as `Invoker.invoke` does."""
    call = current_call()
    invocation = _invocation_of(request, call.request_id, clock)
    return outcome_out(await invoker.invoke(invocation, call.deadline))


def _invocation_of(
    request: wire.InvokeRequest, request_id: str, clock: Clock
) -> Invocation:
    kind = invocation_type_of(request.invocation_type)
    tenant_id = current_caller().tenant_id
    return Invocation(
        request_id=request_id,
        tenant_id=tenant_id,
        function=request.function,
        trace_id=trace_id(request_id, "", "", tenant_id, request.function),
        qualifier=request.qualifier,
        payload=request.payload or b"{}",
        type=kind,
        idempotency=_key_of(request, kind) if request.idempotency_key else None,
        client_context=request.client_context,
        tail_log=request.tail_log,
        arrived=clock.monotonic(),
    )


class InvocationService:
    """Wire to invoker and back.

    When `draining` is set, streams that could last for ever end with UNAVAILABLE:
    whoever follows a log connects again, and no stream takes new invocations.
    """

    def __init__(self, backend: Backend, draining: asyncio.Event) -> None:
        self._functions = backend.functions
        self._invoker = backend.invoker
        self._records = backend.records
        self._clock = backend.clock
        self._keys = Authenticator(backend.tenants)
        self._draining = draining
        self._followers: Counter[str] = Counter()

    async def Invoke(
        self, request: wire.InvokeRequest, _: Context
    ) -> wire.InvokeResponse:
        call = current_call()
        return await self._invoke(request, call, call.request_id)

    async def InvokeStream(
        self, request: wire.InvokeStreamRequest, context: Context
    ) -> None:
        call = current_call()
        invocation = _invocation_of(request.request, call.request_id, self._clock)
        if invocation.type is not InvocationType.REQUEST_RESPONSE:
            raise InvalidParameter(
                "only an invocation that is waited for can be streamed; leave"
                " invocation_type out",
                field="request.invocation_type",
            )
        async with answering(
            self._invoker, invocation, deadline=call.deadline
        ) as answer:
            match answer:
                case Outcome():
                    with call.sending(len(answer.payload)):
                        await _send_whole(answer, context)
                case Streamed():
                    await _send_pieces(answer, context)

    async def _invoke(
        self, request: wire.InvokeRequest, call: Call, request_id: str
    ) -> wire.InvokeResponse:
        kind = invocation_type_of(request.invocation_type)
        if kind is InvocationType.REQUEST_RESPONSE and not request.idempotency_key:
            self._invoker.check_room(current_caller().tenant_id)
        invocation = _invocation_of(request, request_id, self._clock)
        match kind:
            case InvocationType.REQUEST_RESPONSE:
                outcome = await self._invoker.invoke(invocation, call.deadline)
                return outcome_out(outcome)
            case InvocationType.EVENT:
                request_id = await self._invoker.enqueue(invocation)
            case InvocationType.DRY_RUN:
                await self._invoker.dry_run(invocation)
        return wire.InvokeResponse(request_id=request_id)

    async def InvokeMany(self, _requests: object, context: Context) -> None:
        call, room, writing = (
            current_call(),
            asyncio.Semaphore(MAX_IN_FLIGHT),
            asyncio.Lock(),  # grpc takes one message at a time
        )
        malformed = False

        async def read(answers: asyncio.TaskGroup) -> None:
            nonlocal malformed
            try:
                while (request := await context.read()) is not grpc.aio.EOF:
                    await room.acquire()
                    answers.create_task(answer(request))
            except DecodeError:
                # Nobody knows its id. What came before it is answered all the same.
                malformed = True

        async def answer(request: wire.InvokeManyRequest) -> None:
            try:
                with ExitStack() as sending:
                    message = await self._answer(request, call, sending)
                    async with writing:
                        await context.write(message)
            except grpc.aio.InternalError:
                return  # grpc's word for a caller that is gone: we are cancelled next
            finally:
                room.release()

        # A stream that is cancelled cancels the group, and so its invocations.
        async with asyncio.TaskGroup() as answers:
            was_cut = await self._cut_by_draining(read(answers))
        if was_cut:
            raise _stopping()
        if malformed:
            raise InvalidParameter("a message is not what this method takes")

    async def _answer(
        self, request: wire.InvokeManyRequest, call: Call, sending: ExitStack
    ) -> wire.InvokeManyResponse:
        """A refusal is an answer here: it must not end its neighbours. `sending` ends
        when it was sent."""
        request_id = new_request_id()
        try:
            await self._keys.check_still(current_caller())
            with _holding(request.request, call):
                response = await self._invoke(request.request, call, request_id)
            sending.enter_context(call.sending(len(response.payload)))
        except Exception as error:  # noqa: BLE001 - as around any call
            refused = refused_out(face_of(error, request_id))
            let_go(error)
            return wire.InvokeManyResponse(id=request.id, refused=refused)
        return wire.InvokeManyResponse(id=request.id, response=response)

    async def TailLogs(self, request: wire.TailLogsRequest, context: Context) -> None:
        tenant_id = current_caller().tenant_id
        since = time_of(request, "since") or self._clock.now()
        function = await self._functions.get(tenant_id, request.function)
        pages = tail(
            self._records, tenant_id, function.name, since=since, follow=request.follow
        )
        with self._following(tenant_id) if request.follow else nullcontext():
            if await self._cut_by_draining(self._send_pages(pages, context)):
                raise _stopping()

    async def _send_pages(
        self, pages: AsyncGenerator[list[LogLine], None], context: Context
    ) -> None:
        """`write` waits for a slow reader, and the next page is read after it."""
        async with aclosing(pages):
            async for page in pages:
                await self._keys.check_still(current_caller())
                for lines in _batches(page):
                    response = wire.TailLogsResponse(
                        lines=[log_line_out(line) for line in lines]
                    )
                    try:
                        await context.write(response)
                    except grpc.aio.InternalError:
                        return  # grpc's word for a caller that is gone

    @contextmanager
    def _following(self, tenant_id: str) -> Iterator[None]:
        followers = self._followers[tenant_id]
        if followers >= MAX_FOLLOWERS:
            raise Throttled(
                f"tenant {tenant_id!r} already follows {followers} logs "
                f"of {MAX_FOLLOWERS} allowed",
                reason="LogFollowerLimitExceeded",
                limit=MAX_FOLLOWERS,
                retry_after_s=FOLLOW_RETRY_AFTER_S,
            )
        self._followers[tenant_id] += 1
        try:
            yield
        finally:
            self._followers[tenant_id] -= 1
            if not self._followers[tenant_id]:
                del self._followers[tenant_id]

    async def _cut_by_draining(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do `work`, but cancel it when the server drains; whether that was so."""
        try:
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(work)
                drain = tasks.create_task(self._cancel_when_draining(task))
                await asyncio.wait([task])
                drain.cancel()
        except ExceptionGroup as group:
            # Only `work` can fail, so there is one, and is to have its own face.
            raise group.exceptions[0] from None
        return task.cancelled()

    async def _cancel_when_draining(self, task: asyncio.Task[None]) -> None:
        await self._draining.wait()
        task.cancel()

    async def ListInvocations(
        self, request: wire.ListInvocationsRequest, _: Context
    ) -> wire.ListInvocationsResponse:
        size = page_size(request.page_size)
        if not request.page_token:
            await catch_up(self._records)
        # One more than asked for tells whether there is another page.
        rows = await self._records.list_records(
            current_caller().tenant_id,
            request.function,
            before=position(request.page_token),
            limit=size + 1,
        )
        page = rows[:size]
        return wire.ListInvocationsResponse(
            invocations=[record_out(record) for _, record in page],
            next_page_token=str(page[-1][0]) if len(rows) > size else "",
        )


async def _send_whole(outcome: Outcome, context: Context) -> None:
    complete = outcome_out(outcome)
    if not outcome.function_error:
        for start in range(0, len(outcome.payload), MAX_PIECE):
            piece = outcome.payload[start : start + MAX_PIECE]
            await context.write(wire.InvokeStreamResponse(piece=piece))
        complete.payload = b""
    await context.write(wire.InvokeStreamResponse(complete=complete))


async def _send_pieces(streamed: Streamed, context: Context) -> None:
    """`write` waits for a slow reader, and then the function waits as well."""
    await context.write(wire.InvokeStreamResponse(content_type=streamed.content_type))
    try:
        async for piece in streamed.pieces:
            await context.write(wire.InvokeStreamResponse(piece=piece))
        assert streamed.outcome is not None  # noqa: S101 - it has one of the invoker
        complete = await streamed.outcome
    except BrokenOff as broken:
        complete = broken.outcome
    await context.write(wire.InvokeStreamResponse(complete=outcome_out(complete)))


def _key_of(request: wire.InvokeRequest, kind: InvocationType) -> IdempotencyKey:
    payload = request.payload or b"{}"
    return key_of(
        request.idempotency_key, kind.value, request.client_context, "", payload
    )


def _holding(request: wire.InvokeRequest, call: Call) -> Holding:
    """A stream's messages are read before anybody knows how many it will have."""
    return call.held.hold(current_caller().tenant_id, len(request.payload))


def _batches(page: list[LogLine]) -> Iterator[list[LogLine]]:
    """Runs of lines that fit into one message together."""
    batch: list[LogLine] = []
    size = 0
    for line in page:
        if batch and size + len(line.text) > MAX_BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.text)
    if batch:
        yield batch


def _stopping() -> Stopping:
    return Stopping("the engine is stopping; connect again")
