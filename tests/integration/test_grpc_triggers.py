"""`TriggerService` over a real gRPC server and channel."""

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from sandlot.v1 import triggers_pb2 as wire
from tests.fakes.backend import ACME, FakeEngine, as_tenant, fake_engine

UNKNOWN = wire.Webhook()
UNKNOWN.scheme = 9  # type: ignore[assignment] # of a newer client
ACMES, GLOBEXS, OPERATORS = map(as_tenant, ("acme", "globex", "operator"))


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with fake_engine() as engine:
        yield engine


async def call(engine: FakeEngine, method: str, who: Any = ACMES, **fields: Any) -> Any:
    request = getattr(wire, f"{method}Request")(**fields)
    stub = getattr(engine.trigger_service, method)
    return await stub(request, metadata=who, timeout=20)


async def refused(engine: FakeEngine, *args: Any, **fields: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call(engine, *args, **fields)
    code: grpc.StatusCode = refusal.value.code()
    return code


def schedule(name: str = "nightly", **fields: Any) -> wire.Trigger:
    given = {"expression": "rate(1 hour)"} | fields
    return wire.Trigger(name=name, function="echo", schedule=wire.Schedule(**given))


async def test_a_schedule_is_made_and_read(engine: FakeEngine) -> None:
    made = await call(
        engine,
        "CreateTrigger",
        trigger=schedule(timezone="Europe/Berlin", input="[1]", window_minutes=5),
    )

    read = await call(engine, "GetTrigger", name="nightly")

    assert made.secret == ""
    assert read.trigger == made.trigger
    shown = read.trigger
    assert (shown.group, shown.enabled, shown.path) == ("default", True, "")
    assert shown.schedule.timezone == "Europe/Berlin"
    assert shown.schedule.maximum_event_age_seconds == 86_400
    assert shown.schedule.maximum_retry_attempts == 185
    assert shown.schedule.missed_runs == wire.MISSED_RUNS_RUN_ONCE
    now = engine.clock.now()
    assert shown.schedule.progress.next_due.ToDatetime() == now.replace(tzinfo=None)


async def test_progress_is_shown(engine: FakeEngine) -> None:
    await call(engine, "CreateTrigger", trigger=schedule())
    engine.triggers.ticker.begin()
    await engine.triggers.ticker.tick()

    shown = (await call(engine, "GetTrigger", name="nightly")).trigger

    progress = shown.schedule.progress
    assert (progress.fired, progress.missed, progress.last_error) == (1, 0, "")
    assert progress.next_due.seconds - progress.last_due.seconds == 3_600


async def test_a_webhooks_secret_is_shown_when_it_is_made_and_rotated(
    engine: FakeEngine,
) -> None:
    webhook = wire.Webhook(scheme=wire.SIGNATURE_SCHEME_GITHUB)
    made = await call(
        engine,
        "CreateTrigger",
        trigger=wire.Trigger(name="push", function="echo", webhook=webhook),
    )

    rotated = await call(engine, "RotateTriggerSecret", name="push")
    read = await call(engine, "GetTrigger", name="push")

    assert made.trigger.path == f"/hooks/{ACME}/push"
    assert len(made.secret) == 43
    assert rotated.secret not in ("", made.secret)
    assert read.trigger.webhook.scheme == wire.SIGNATURE_SCHEME_GITHUB
    assert made.secret.encode() not in read.SerializeToString()


async def test_lists_are_filtered_and_paged(engine: FakeEngine) -> None:
    for name in ("a", "b", "c"):
        await call(engine, "CreateTrigger", trigger=schedule(name))
    bucket = wire.Bucket(filter=wire.ObjectFilter(prefix="in/"))
    await call(
        engine,
        "CreateTrigger",
        trigger=wire.Trigger(name="d", function="slow", bucket=bucket),
    )

    first = await call(engine, "ListTriggers", page_size=3)
    rest = await call(engine, "ListTriggers", page_token=first.next_page_token)
    buckets = await call(engine, "ListTriggers", kind="bucket")
    of_slow = await call(engine, "ListTriggers", function="slow")

    assert [one.name for one in first.triggers] == ["a", "b", "c"]
    assert [one.name for one in rest.triggers] == ["d"]
    assert rest.triggers[0].bucket.filter.prefix == "in/"
    assert buckets.triggers == rest.triggers == of_slow.triggers
    assert (
        await refused(engine, "ListTriggers", kind="kafka")
        is grpc.StatusCode.INVALID_ARGUMENT
    )


async def test_an_update_changes_what_is_given(engine: FakeEngine) -> None:
    await call(engine, "CreateTrigger", trigger=schedule(input="[1]"), paused=True)

    paused = (await call(engine, "GetTrigger", name="nightly")).trigger
    resumed = (
        await call(engine, "UpdateTrigger", name="nightly", enabled=True)
    ).trigger
    moved = (
        await call(
            engine,
            "UpdateTrigger",
            name="nightly",
            function="slow",
            description="x",
            schedule=wire.Schedule(expression="rate(2 hours)"),
        )
    ).trigger

    assert not paused.enabled
    assert not paused.schedule.progress.HasField("next_due")
    assert resumed.enabled
    assert resumed.schedule.input == "[1]"
    assert (moved.function, moved.description) == ("slow", "x")
    assert (moved.schedule.expression, moved.schedule.input) == ("rate(2 hours)", "")
    assert (
        await refused(
            engine, "UpdateTrigger", name="nightly", filter=wire.ObjectFilter()
        )
        is grpc.StatusCode.INVALID_ARGUMENT
    )


async def test_one_is_tried_and_deleted(engine: FakeEngine) -> None:
    await call(engine, "CreateTrigger", trigger=schedule(input='{"a":1}'), paused=True)

    tried = await call(engine, "TestTrigger", name="nightly")
    await call(engine, "DeleteTrigger", name="nightly")

    (event,) = engine.fired.taken
    assert event.request_id == tried.request_id
    assert json.loads(event.payload) == {"a": 1}
    assert await refused(engine, "GetTrigger", name="nightly") is (
        grpc.StatusCode.NOT_FOUND
    )


async def test_triggers_are_their_tenants_own(engine: FakeEngine) -> None:
    await call(engine, "CreateTrigger", trigger=schedule())

    for method in ("GetTrigger", "UpdateTrigger", "TestTrigger", "DeleteTrigger"):
        assert await refused(engine, method, GLOBEXS, name="nightly") is (
            grpc.StatusCode.NOT_FOUND
        )
    listed = await call(engine, "ListTriggers", GLOBEXS)
    assert list(listed.triggers) == []
    mine = await call(engine, "ListTriggers", (*OPERATORS, ("sandlot-tenant", ACME)))
    assert [one.name for one in mine.triggers] == ["nightly"]


async def test_a_directory_is_for_operators(engine: FakeEngine) -> None:
    directory = wire.Trigger(
        name="inbox", function="echo", directory=wire.Directory(path="/tmp")
    )
    for_acme = (*OPERATORS, ("sandlot-tenant", ACME))

    assert await refused(engine, "CreateTrigger", trigger=directory) is (
        grpc.StatusCode.PERMISSION_DENIED
    )
    # This engine was started without --watch-dir.
    assert await refused(engine, "CreateTrigger", for_acme, trigger=directory) is (
        grpc.StatusCode.INVALID_ARGUMENT
    )


@pytest.mark.parametrize(
    "trigger",
    [
        wire.Trigger(name="x", function="echo"),
        wire.Trigger(name="x", function="gone", schedule=wire.Schedule()),
        schedule("a/b"),
        schedule(expression="cron(1)"),
        schedule(window_minutes=-1),
        wire.Trigger(name="x", function="echo", webhook=UNKNOWN),
    ],
)
async def test_what_is_no_trigger_is_refused(
    engine: FakeEngine, trigger: wire.Trigger
) -> None:
    assert await refused(engine, "CreateTrigger", trigger=trigger) is (
        grpc.StatusCode.INVALID_ARGUMENT
    )
