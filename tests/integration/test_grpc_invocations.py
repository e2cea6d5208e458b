"""Invoking over a real gRPC server and channel, with a runner that runs nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest

from sandlot.v1 import invocations_pb2 as wire
from sandlot_engine.errors import Throttled
from sandlot_engine.gateway.rpc.invocations import MAX_IN_FLIGHT
from sandlot_engine.model.invocation import (
    MAX_PAYLOAD,
    Ended,
    LogLine,
    LogSource,
    Run,
)
from tests.fakes.backend import ACME, FakeEngine, as_tenant, fake_engine

KEY = as_tenant("acme")


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with fake_engine() as engine:
        yield engine


async def invoke(engine: FakeEngine, function: str = "echo", **fields: Any) -> Any:
    request = wire.InvokeRequest(function=function, **fields)
    return await engine.invocation_service.Invoke(request, metadata=KEY, timeout=20)


async def test_the_answer_brings_its_report(engine: FakeEngine) -> None:
    engine.runner.answers["echo"] = Run(
        ended=Ended.ANSWERED,
        payload=b'"hi"',
        init_s=0.010,
        duration_s=0.0035,
        wait_s=0.001,
        max_memory_mb=36,
    )

    response = await invoke(engine, payload=b'{"a": 1}')

    assert (response.payload, response.function_error) == (b'"hi"', "")
    assert response.status == wire.INVOCATION_STATUS_OK
    assert response.executed_version == "$LATEST"
    assert response.report.duration.ToMicroseconds() == 3_500
    assert response.report.init_duration.ToMicroseconds() == 10_000
    assert response.report.wait_duration.ToMicroseconds() == 1_000
    assert (response.report.billed_ms, response.report.billed_mb_ms) == (14, 14 * 128)
    assert response.report.request_id == response.request_id


async def test_an_empty_event_is_an_empty_object(engine: FakeEngine) -> None:
    assert (await invoke(engine)).payload == b"{}"


async def test_a_repeat_gets_the_first_answer(engine: FakeEngine) -> None:
    first = await invoke(engine, payload=b"1", idempotency_key="k")
    repeat = await invoke(engine, payload=b"1", idempotency_key="k")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await invoke(engine, payload=b"2", idempotency_key="k")

    assert (first.replayed, repeat.replayed) == (False, True)
    assert repeat.request_id == first.request_id
    assert repeat.report == first.report
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(engine.records.records) == 1


async def test_an_event_with_a_key_is_queued_once(engine: FakeEngine) -> None:
    fields: dict[str, Any] = {
        "invocation_type": wire.INVOCATION_TYPE_EVENT,
        "idempotency_key": "k",
    }

    answers = [await invoke(engine, **fields) for _ in range(2)]
    await engine.runner.started.get()

    assert answers[0].request_id == answers[1].request_id
    assert engine.runner.started.empty()


async def test_a_function_that_fails_is_not_a_failed_call(engine: FakeEngine) -> None:
    engine.runner.answers["echo"] = Run(
        ended=Ended.EXITED, exit_code=3, duration_s=0.1, wait_s=0.0, max_memory_mb=9
    )

    response = await invoke(engine, tail_log=True)

    assert response.function_error == "Unhandled"
    assert b"exit status 3" in response.payload
    assert response.status == wire.INVOCATION_STATUS_CRASHED
    assert response.log_tail.startswith(b"START RequestId: ")


async def test_a_caller_that_cancels_frees_its_slot(engine: FakeEngine) -> None:
    engine.runner.hold("slow")
    call = engine.invocation_service.Invoke(
        wire.InvokeRequest(function="slow"), metadata=KEY
    )
    await engine.runner.started.get()

    call.cancel()
    with suppress(asyncio.CancelledError):
        await call

    await until(lambda: engine.invoker.admission.running(ACME) == 0)
    assert len(engine.runner.cancelled) == 1
    assert engine.records.records[0].error_type == "Sandbox.Cancelled"


async def test_a_deadline_is_honoured(engine: FakeEngine) -> None:
    engine.runner.hold("slow")
    request = wire.InvokeRequest(function="slow")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await engine.invocation_service.Invoke(request, metadata=KEY, timeout=0.2)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: engine.invoker.admission.running(ACME) == 0)


async def test_the_largest_event_passes_and_one_byte_more_does_not(
    engine: FakeEngine,
) -> None:
    largest = b'"' + b"x" * (MAX_PAYLOAD - 2) + b'"'

    response = await invoke(engine, payload=largest)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await invoke(engine, payload=largest + b" ")

    assert len(response.payload) == MAX_PAYLOAD
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == (
        "6291457 byte payload is too large for the RequestResponse invocation type "
        "(limit 6291456 bytes)"
    )


async def test_an_event_is_answered_at_once_and_run_later(engine: FakeEngine) -> None:
    held = engine.runner.hold("slow")

    response = await invoke(engine, "slow", invocation_type=wire.INVOCATION_TYPE_EVENT)
    started = await engine.runner.started.get()
    held.set()

    assert response.request_id == started.request_id
    assert not response.HasField("report")
    await until(lambda: not engine.invoker.events.depths.queued)


async def test_a_dry_run_runs_nothing(engine: FakeEngine) -> None:
    response = await invoke(engine, invocation_type=wire.INVOCATION_TYPE_DRY_RUN)

    assert response.status == wire.INVOCATION_STATUS_UNSPECIFIED
    assert engine.runner.started.empty()


async def test_an_unknown_invocation_type_is_refused(engine: FakeEngine) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await invoke(engine, invocation_type=9)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def many(engine: FakeEngine, **kwargs: Any) -> Any:
    return engine.invocation_service.InvokeMany(metadata=KEY, **kwargs)


def numbered(number: int, function: str = "echo") -> wire.InvokeManyRequest:
    request = wire.InvokeRequest(function=function, payload=str(number).encode())
    return wire.InvokeManyRequest(id=number, request=request)


async def test_a_stream_answers_in_the_order_of_being_ready(engine: FakeEngine) -> None:
    held = engine.runner.hold("slow")
    stream = many(engine)

    await stream.write(numbered(1, "slow"))
    await stream.write(numbered(2))
    first = await stream.read()
    held.set()
    second = await stream.read()
    await stream.done_writing()

    assert [first.id, second.id] == [2, 1]
    assert second.response.payload == b"1"
    assert await stream.read() is grpc.aio.EOF


async def test_a_refusal_does_not_end_its_stream(engine: FakeEngine) -> None:
    engine.runner.answers["slow"] = Throttled(
        "no room", reason="NoRoom", limit=1, retry_after_s=1.5
    )
    stream = many(engine)

    await stream.write(numbered(1, "slow"))
    refused = (await stream.read()).refused
    await stream.write(numbered(2))

    assert (refused.reason, refused.message) == ("NoRoom", "no room")
    assert refused.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert refused.retry_after.ToMilliseconds() == 1_500
    assert (await stream.read()).response.payload == b"2"


async def test_a_key_that_is_taken_back_invokes_nothing_over_an_open_stream(
    engine: FakeEngine,
) -> None:
    stream = many(engine)
    await stream.write(numbered(1))
    before = await stream.read()

    await engine.tenants.revoke_key(ACME, "key-of-acme")
    await stream.write(numbered(2))
    refused = (await stream.read()).refused

    assert before.response.payload == b"1"
    assert refused.code == grpc.StatusCode.UNAUTHENTICATED.value[0]
    assert len(engine.records.records) == 1


async def test_what_is_no_message_ends_its_stream_and_nothing_before_it(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    held = engine.runner.hold("slow")
    stream: Any = engine.channel.stream_stream(
        "/sandlot.v1.InvocationService/InvokeMany",
        response_deserializer=wire.InvokeManyResponse.FromString,
    )(metadata=KEY)

    await stream.write(numbered(1, "slow").SerializeToString())
    await stream.write(b"\xff")
    await engine.runner.started.get()
    held.set()
    answer = await stream.read()

    assert answer.response.payload == b"1"
    assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caplog.records == []


async def test_a_cancelled_stream_cancels_its_invocations(engine: FakeEngine) -> None:
    engine.runner.hold("slow")
    stream = many(engine)
    for number in (1, 2):
        await stream.write(numbered(number, "slow"))
        await engine.runner.started.get()

    stream.cancel()

    await until(lambda: engine.invoker.admission.running(ACME) == 0)
    assert len(engine.runner.cancelled) == 2


async def test_a_stream_whose_caller_is_gone_ends_without_a_complaint(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    # Answers that become ready in the moment in which their caller hangs up.
    await engine.tenants.update(ACME, concurrency=30)
    held = engine.runner.hold("slow")
    stream = many(engine)
    for number in range(20):
        await stream.write(numbered(number, "slow"))
        await engine.runner.started.get()

    stream.cancel()
    held.set()

    await until(lambda: engine.invoker.admission.running(ACME) == 0)
    await invoke(engine)
    assert [record.message for record in caplog.records] == []


async def test_a_stream_has_only_so_many_in_flight(engine: FakeEngine) -> None:
    await engine.tenants.update(ACME, concurrency=10 * MAX_IN_FLIGHT)
    held = engine.runner.hold("slow")
    stream = many(engine)
    for number in range(MAX_IN_FLIGHT + 10):
        await stream.write(numbered(number, "slow"))
    for _ in range(MAX_IN_FLIGHT):
        await engine.runner.started.get()
    await invoke(engine)  # a whole call later, none has been started beyond them
    running = engine.invoker.admission.running(ACME)
    held.set()
    await stream.done_writing()
    answers = [answer async for answer in stream]

    assert running == MAX_IN_FLIGHT
    assert len(answers) == MAX_IN_FLIGHT + 10


def line(engine: FakeEngine, text: str, *, ago_s: float = 0.0) -> LogLine:
    return LogLine(
        time=engine.clock.now() - timedelta(seconds=ago_s),
        request_id="r1",
        source=LogSource.FUNCTION,
        text=text.encode(),
    )


async def test_a_log_is_replayed_and_then_followed(engine: FakeEngine) -> None:
    request = wire.TailLogsRequest(function="echo", follow=True)
    request.since.FromDatetime(engine.clock.now() - timedelta(minutes=1))
    kept = [line(engine, "too old", ago_s=100), line(engine, "kept", ago_s=9)]
    engine.records.append_log(ACME, "echo", kept)
    stream = engine.invocation_service.TailLogs(request, metadata=KEY)

    replayed = await stream.read()
    engine.records.append_log(ACME, "echo", [line(engine, "new")])
    await engine.records.flush()
    followed = await stream.read()
    stream.cancel()

    assert [line.text for line in replayed.lines] == [b"kept"]
    assert [line.text for line in followed.lines] == [b"new"]
    assert followed.lines[0].source == wire.LOG_SOURCE_FUNCTION


async def test_a_log_is_followed_no_more_with_a_key_that_is_taken_back(
    engine: FakeEngine,
) -> None:
    request = wire.TailLogsRequest(function="echo", follow=True)
    request.since.FromDatetime(engine.clock.now() - timedelta(minutes=1))
    engine.records.append_log(ACME, "echo", [line(engine, "kept")])
    stream = engine.invocation_service.TailLogs(request, metadata=KEY)
    await stream.read()

    await engine.tenants.revoke_key(ACME, "key-of-acme")
    engine.records.append_log(ACME, "echo", [line(engine, "new")])
    await engine.records.flush()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()

    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_log_that_is_not_followed_ends(engine: FakeEngine) -> None:
    request = wire.TailLogsRequest(function="echo")
    request.since.FromDatetime(engine.clock.now() - timedelta(minutes=1))
    engine.records.append_log(ACME, "echo", [line(engine, "kept")])

    pages = [
        page async for page in engine.invocation_service.TailLogs(request, metadata=KEY)
    ]

    assert [line.text for page in pages for line in page.lines] == [b"kept"]


async def test_a_slow_reader_stops_the_reading_of_the_store(engine: FakeEngine) -> None:
    lines = [line(engine, "x" * 100_000) for _ in range(2_000)]
    engine.records.append_log(ACME, "echo", lines)
    request = wire.TailLogsRequest(function="echo")
    request.since.FromDatetime(engine.clock.now() - timedelta(minutes=1))
    stream = engine.invocation_service.TailLogs(request, metadata=KEY)

    await stream.read()
    await invoke(engine)

    # Ten reads would be all of it; flow control stops us after the first few.
    assert engine.records.reads <= 3
    stream.cancel()


async def test_invocations_are_listed_newest_first_page_by_page(
    engine: FakeEngine,
) -> None:
    for _ in range(3):
        await invoke(engine)
    ids = [record.request_id for record in engine.records.records]

    listing = engine.invocation_service.ListInvocations
    first = await listing(wire.ListInvocationsRequest(page_size=2), metadata=KEY)
    second = await listing(
        wire.ListInvocationsRequest(page_size=2, page_token=first.next_page_token),
        metadata=KEY,
    )

    listed = [*first.invocations, *second.invocations]
    assert [record.report.request_id for record in listed] == ids[::-1]
    assert second.next_page_token == ""
    # What ran a moment ago is in the list; later pages are of what was before.
    assert engine.records.flushes == 1


async def until(is_true: Any) -> None:
    """Let others run until something is true; pytest's timeout is the deadline."""
    while not is_true():  # noqa: ASYNC110 - what is awaited tells nobody
        await asyncio.sleep(0)
