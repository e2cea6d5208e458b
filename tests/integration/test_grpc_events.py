"""What has become of events, over gRPC; and the dead-letter store."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from sandlot.v1 import events_pb2 as wire
from sandlot.v1 import invocations_pb2
from sandlot_engine.errors import NotFound
from sandlot_engine.events import dead_letters, depths
from sandlot_engine.gateway.rpc.server import serve
from sandlot_engine.model.event import EventState
from sandlot_engine.model.invocation import Ended, Run
from tests.fakes.backend import ACME, FakeEngine, as_tenant, fake_engine

DEADLINE_S = 20
QUEUE = f"arn:aws:sqs:us-east-1:{ACME}:told"
FAILS = Run(
    ended=Ended.FAILED,
    payload=b'{"errorMessage":"boom","errorType":"ValueError"}',
    error_type="ValueError",
    duration_s=0.003,
    wait_s=0.0,
    max_memory_mb=30,
)


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with fake_engine() as engine:
        yield engine


async def send(engine: FakeEngine, function: str = "echo", count: int = 1) -> str:
    request_id = ""
    for _ in range(count):
        response = await engine.invocation_service.Invoke(
            invocations_pb2.InvokeRequest(
                function=function,
                payload=b'{"n":1}',
                invocation_type=invocations_pb2.INVOCATION_TYPE_EVENT,
            ),
            metadata=as_tenant("acme"),
        )
        request_id = response.request_id
    return request_id


async def ask(
    engine: FakeEngine, method: str, *, tenant: str = "acme", **fields: Any
) -> Any:
    request = getattr(wire, f"{method}Request")(**fields)
    call = getattr(engine.event_service, method)
    return await call(request, metadata=as_tenant(tenant), timeout=DEADLINE_S)


async def over(engine: FakeEngine, request_id: str) -> Any:
    request = wire.GetEventRequest(request_id=request_id, payload=True)
    request.wait.FromSeconds(DEADLINE_S)
    return await engine.event_service.GetEvent(
        request, metadata=as_tenant("acme"), timeout=DEADLINE_S
    )


async def dead(engine: FakeEngine, count: int = 1) -> str:
    """Events that can never run; the id of the last."""
    engine.runner.answers["echo"] = NotFound("gone")
    request_id = await send(engine, count=count)
    async with asyncio.timeout(DEADLINE_S):
        while engine.invoker.events.depths.dead < count:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    return request_id


async def test_an_event_is_told_of_when_it_is_over(engine: FakeEngine) -> None:
    held = engine.runner.hold("slow")
    request_id = await send(engine, "slow")
    running = await ask(engine, "GetEvent", request_id=request_id)
    waiting = asyncio.create_task(over(engine, request_id))
    await engine.runner.started.get()
    held.set()

    told = await waiting

    assert running.event.state in (wire.EVENT_STATE_QUEUED, wire.EVENT_STATE_RUNNING)
    assert told.event.state == wire.EVENT_STATE_SUCCEEDED
    assert (told.event.condition, told.event.runs) == ("Success", 1)
    assert [each.status for each in told.event.attempts] == ["ok"]
    assert told.event.attempts[0].billed
    assert told.payload == b""


async def test_an_event_that_waits_for_its_next_try_says_when_and_why(
    engine: FakeEngine,
) -> None:
    engine.runner.answers["echo"] = FAILS
    request_id = await send(engine)
    async with asyncio.timeout(DEADLINE_S):
        while True:
            told = await ask(engine, "GetEvent", request_id=request_id, payload=True)
            if told.event.runs and told.event.state == wire.EVENT_STATE_QUEUED:
                break

    event = told.event
    assert event.next_attempt.seconds - event.accepted.seconds == 60
    assert event.reason == "ValueError: boom"
    assert event.attempts[0].error == "boom"
    assert told.payload == b'{"n":1}'


async def test_who_waits_is_answered_when_the_server_drains() -> None:
    engine = FakeEngine()
    engine.runner.answers["echo"] = FAILS
    async with engine.invoker, asyncio.timeout(DEADLINE_S):
        async with serve(engine.backend(), address="127.0.0.1:0") as port:
            engine.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
            waiting = asyncio.create_task(over(engine, await send(engine)))
            while not engine.invoker.events.followers:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)

        told = await waiting
        await engine.channel.close()

    assert told.event.state in (wire.EVENT_STATE_QUEUED, wire.EVENT_STATE_RUNNING)


@pytest.mark.parametrize("method", ["GetEvent", "RedriveEvents", "PurgeEvents"])
async def test_anothers_event_looks_as_if_it_were_not_there(
    engine: FakeEngine, method: str
) -> None:
    request_id = await dead(engine)
    codes = []

    for which in (request_id, "nothing"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(engine, method, tenant="globex", request_id=which)
        codes.append((caught.value.code(), caught.value.details() or ""))

    assert codes[0][0] is codes[1][0] is grpc.StatusCode.NOT_FOUND
    assert codes[0][1].replace(request_id, "nothing") == codes[1][1]
    assert engine.invoker.events.depths.dead == 1


async def test_events_are_listed_page_by_page_and_are_ones_own(
    engine: FakeEngine,
) -> None:
    await send(engine, count=3)

    first = await ask(engine, "ListEvents", page_size=2)
    rest = await ask(engine, "ListEvents", page_token=first.next_page_token)
    theirs = await ask(engine, "ListEvents", tenant="globex", function="echo")

    assert (len(first.events), len(rest.events)) == (2, 1)
    assert rest.next_page_token == ""
    assert list(theirs.events) == []


async def test_events_are_listed_by_state(engine: FakeEngine) -> None:
    request_id = await dead(engine)

    listed = await ask(engine, "ListEvents", states=[wire.EVENT_STATE_DEAD])
    none = await ask(engine, "ListEvents", states=[wire.EVENT_STATE_QUEUED])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(engine, "ListEvents", states=[99])

    assert [event.request_id for event in listed.events] == [request_id]
    assert list(none.events) == []
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_dead_event_is_run_again(engine: FakeEngine) -> None:
    request_id = await dead(engine)
    del engine.runner.answers["echo"]

    done = await ask(engine, "RedriveEvents", request_id=request_id)
    told = await over(engine, request_id)

    assert (done.count, done.more) == (1, False)
    assert told.event.state == wire.EVENT_STATE_SUCCEEDED
    assert engine.invoker.events.depths.dead == 0


async def test_all_of_a_functions_are_run_again_some_at_a_time(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "MAX_AT_ONCE", 2)
    await dead(engine, count=3)
    del engine.runner.answers["echo"]

    others = await ask(engine, "RedriveEvents", function="slow")
    first = await ask(engine, "RedriveEvents", function="echo")
    second = await ask(engine, "RedriveEvents")

    assert (others.count, others.more) == (0, False)
    assert (first.count, first.more) == (2, True)
    assert (second.count, second.more) == (1, False)


async def test_what_has_no_room_is_not_run_again(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dead(engine)
    monkeypatch.setattr(depths, "MAX_QUEUED", 0)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(engine, "RedriveEvents")

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert engine.invoker.events.depths.dead == 1


async def test_dead_events_are_deleted(engine: FakeEngine) -> None:
    request_id = await dead(engine, count=3)

    one = await ask(engine, "PurgeEvents", request_id=request_id)
    others = await ask(engine, "PurgeEvents", function="slow")
    rest = await ask(engine, "PurgeEvents")

    assert (one.count, others.count, rest.count) == (1, 0, 2)
    assert engine.invoker.events.depths.of(ACME, EventState.DEAD) == (0, 0)
    assert engine.events.all == {}


# --- how they are treated ---------------------------------------------------------


async def settings(engine: FakeEngine, method: str, **fields: Any) -> Any:
    return (await ask(engine, method, function="echo", **fields)).settings


async def test_settings_are_defaults_until_something_is_said(
    engine: FakeEngine,
) -> None:
    before = await settings(engine, "GetEventSettings")
    first = await settings(engine, "PutEventSettings", max_retries=0)
    second = await settings(
        engine, "PutEventSettings", max_age_s=60, on_failure="slow", on_success=QUEUE
    )
    third = await settings(engine, "PutEventSettings", on_success="")

    assert (before.function, before.max_retries, before.max_age_s) == ("echo", 2, 21600)
    assert (first.max_retries, first.max_age_s) == (0, 21600)
    assert (second.max_retries, second.max_age_s) == (0, 60)
    assert second.on_success == QUEUE
    assert second.on_failure == f"arn:aws:lambda:us-east-1:{ACME}:function:slow"
    assert (third.on_success, third.on_failure) == ("", second.on_failure)
    assert await settings(engine, "GetEventSettings") == third
    assert engine.event_configs.get(ACME, "echo").max_retries == 0


async def test_settings_that_are_deleted_are_defaults_whether_some_were_set_or_not(
    engine: FakeEngine,
) -> None:
    await ask(engine, "DeleteEventSettings", function="echo")
    await settings(engine, "PutEventSettings", max_retries=0)

    await ask(engine, "DeleteEventSettings", function="echo")

    assert (await settings(engine, "GetEventSettings")).max_retries == 2


@pytest.mark.parametrize("method", ["Get", "Put", "Delete"])
async def test_settings_say_what_there_is_not(engine: FakeEngine, method: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await settings(engine, f"{method}EventSettings", qualifier="live")

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    # Where AWS says "The function doesn't exist", of whichever.
    assert "Function not found: " in (caught.value.details() or "")


@pytest.mark.parametrize(
    "fields",
    [
        {"max_retries": 3},
        {"max_retries": -1},
        {"max_age_s": 59},
        {"on_failure": "nothing"},
        {"on_failure": "echo"},
        {"on_success": "arn:aws:sqs:us-east-1:000000000001:queue.fifo"},
    ],
    ids=repr,
)
async def test_settings_that_cannot_be_are_refused(
    engine: FakeEngine, fields: dict[str, Any]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await settings(engine, "PutEventSettings", **fields)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await settings(engine, "GetEventSettings")).max_retries == 2
