"""From a request to an outcome, with a runner that runs nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from sandlot_engine.errors import (
    Conflict,
    CutShort,
    DeadlineExceeded,
    Internal,
    InvalidParameter,
    NotFound,
    PermissionDenied,
    Refusal,
    SandlotError,
    Stopping,
    Throttled,
    TooLarge,
    Unavailable,
)
from sandlot_engine.invocation import invoker as invoker_module
from sandlot_engine.model.function import FunctionState
from sandlot_engine.model.invocation import (
    MAX_EVENT_PAYLOAD,
    MAX_PAYLOAD,
    Ended,
    Invocation,
    InvocationType,
    Run,
    Status,
)
from sandlot_engine.model.network import Network
from tests.fakes.backend import ACME, FakeEngine
from tests.fakes.functions import make_function
from tests.fakes.waiting import eventually


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    engine = FakeEngine()
    async with engine.invoker:
        yield engine


def request(function: str = "echo", **fields: Any) -> Invocation:
    return Invocation(
        **{
            "request_id": f"id-{function}",
            "tenant_id": ACME,
            "function": function,
            "payload": b'{"a":1}',
            "arrived": 1_000.0,
            **fields,
        }
    )


async def test_an_outcome_comes_back_and_its_record_is_kept(engine: FakeEngine) -> None:
    outcome = await engine.invoker.invoke(request(), None)

    assert (outcome.status, outcome.payload) == (Status.OK, b'{"a":1}')
    assert [record.report for record in engine.records.records] == [outcome.report]
    assert [line for _, _, line in engine.records.lines] == list(outcome.log)


async def test_a_function_that_fails_is_a_value_and_is_billed(
    engine: FakeEngine,
) -> None:
    engine.runner.answers["echo"] = Run(
        ended=Ended.TIMED_OUT, duration_s=3.1, wait_s=0.0, max_memory_mb=1
    )

    outcome = await engine.invoker.invoke(request(), None)

    assert outcome.status is Status.TIMEOUT
    assert engine.records.records[0].report.billed_ms == 3_000


@pytest.mark.parametrize(
    "raised",
    [
        Throttled("no room", reason="r", limit=1, retry_after_s=1),
        Unavailable("no instance"),
        Internal("lost"),
        ValueError("unforeseen"),
    ],
    ids=lambda raised: type(raised).__name__,
)
async def test_what_we_failed_to_run_frees_its_slot_and_costs_nothing(
    engine: FakeEngine, raised: Exception
) -> None:
    engine.runner.answers["echo"] = raised

    with pytest.raises(type(raised)):
        await engine.invoker.invoke(request(), None)

    assert engine.invoker.admission.running(ACME) == 0
    assert not engine.records.records


async def test_in_a_hurry_what_runs_is_cut_and_billed_and_nothing_more_begins(
    engine: FakeEngine,
) -> None:
    engine.runner.hold("slow")
    running = asyncio.create_task(engine.invoker.invoke(request("slow"), None))
    await engine.runner.started.get()

    engine.invoker.hurry()

    with pytest.raises(CutShort, match="the engine was stopped before"):
        await running
    with pytest.raises(Stopping):
        await engine.invoker.invoke(request("echo"), None)
    assert engine.invoker.admission.running(ACME) == 0
    assert [each.request_id for each in engine.records.records] == ["id-slow"]


async def test_a_cancelled_caller_gives_its_slot_back_and_pays(
    engine: FakeEngine,
) -> None:
    engine.runner.hold("slow")
    task = asyncio.create_task(engine.invoker.invoke(request("slow"), None))
    await engine.runner.started.get()
    engine.clock.advance(0.25)

    task.cancel()
    await asyncio.wait([task])

    assert engine.invoker.admission.running(ACME) == 0
    assert len(engine.runner.cancelled) == 1
    (record,) = engine.records.records
    assert record.report.billed_ms == 250
    assert record.status is Status.CANCELLED


async def test_a_caller_that_gives_up_while_it_waits_pays_nothing(
    engine: FakeEngine,
) -> None:
    engine.runner.is_full = True
    engine.runner.hold("slow")
    task = asyncio.create_task(engine.invoker.invoke(request("slow"), None))
    await engine.runner.started.get()
    engine.clock.advance(0.25)

    task.cancel()
    await asyncio.wait([task])

    assert engine.invoker.admission.running(ACME) == 0
    assert not engine.records.records


async def test_a_deadline_stops_the_run(engine: FakeEngine) -> None:
    engine.runner.hold("slow")
    deadline = engine.clock.monotonic() + 0.01

    with pytest.raises(DeadlineExceeded, match="'slow'"):
        await engine.invoker.invoke(request("slow"), deadline)

    assert engine.invoker.admission.running(ACME) == 0
    assert len(engine.runner.cancelled) == 1


async def test_a_deadline_that_has_passed_starts_nothing(engine: FakeEngine) -> None:
    with pytest.raises(DeadlineExceeded):
        await engine.invoker.invoke(request(), engine.clock.monotonic())

    assert engine.runner.started.empty()


async def test_nothing_runs_for_ever_without_a_deadline(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The function's timeout is 3 s.
    monkeypatch.setattr(invoker_module, "GRACE_S", -2.99)
    engine.runner.hold("slow")

    with pytest.raises(Internal, match="did not end"):
        await engine.invoker.invoke(request("slow"), None)


async def test_a_timeout_error_of_the_runner_is_not_taken_for_the_deadline(
    engine: FakeEngine,
) -> None:
    engine.runner.answers["echo"] = TimeoutError("a socket's")

    with pytest.raises(TimeoutError, match="a socket's"):
        await engine.invoker.invoke(request(), engine.clock.monotonic() + 9)


async def test_the_tenants_concurrency_is_kept(engine: FakeEngine) -> None:
    engine.runner.hold("slow")
    tasks = [
        asyncio.create_task(engine.invoker.invoke(request("slow"), None))
        for _ in range(2)
    ]
    for _ in tasks:
        await engine.runner.started.get()

    with pytest.raises(Throttled, match="2 invocations running of 2 allowed") as late:
        await engine.invoker.invoke(request(), None)
    with pytest.raises(Throttled) as early:
        engine.invoker.check_room(ACME)

    assert (early.value.message, early.value.reason, early.value.limit) == (
        late.value.message,
        late.value.reason,
        late.value.limit,
    )
    counted = 'sandlot_throttled_total{reason="ConcurrentInvocationLimitExceeded"} 2.0'
    assert counted in engine.invoker.metrics.text().decode()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    engine.invoker.check_room(ACME)


async def test_where_something_is_reserved_what_is_asked_for_decides_the_reason(
    engine: FakeEngine,
) -> None:
    engine.functions.shares = {"slow": 1}
    await engine.tenants.update(ACME, concurrency=0)

    engine.invoker.check_room(ACME)

    engine.functions.shares = {}
    with pytest.raises(Throttled):
        engine.invoker.check_room(ACME)


async def test_reserved_concurrency_bounds_a_function_and_the_others(
    engine: FakeEngine,
) -> None:
    engine.functions.shares = {"slow": 1}
    engine.runner.hold("slow")
    task = asyncio.create_task(engine.invoker.invoke(request("slow"), None))
    await engine.runner.started.get()

    with pytest.raises(Throttled) as share:
        await engine.invoker.invoke(request("slow"), None)
    await engine.invoker.invoke(request(), None)
    engine.functions.shares = {"slow": 2}
    with pytest.raises(Throttled) as rest:
        await engine.invoker.invoke(request(), None)

    assert share.value.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert rest.value.reason == "ConcurrentInvocationLimitExceeded"
    task.cancel()
    await asyncio.wait([task])
    assert engine.invoker.admission.running_of(ACME, "slow") == 0


@pytest.mark.parametrize(
    ("fields", "raised", "says"),
    [
        ({"function": "nothing"}, NotFound, "nothing"),
        ({"qualifier": "7"}, NotFound, "echo"),
        (
            {"function": "shared"},
            InvalidParameter,
            (
                "^The invoked function is enabled with tenancy configuration. Add a "
                "valid tenant ID in your request and try again.$"
            ),
        ),
        (
            {"isolation_key": "ann"},
            InvalidParameter,
            (
                "^The invoked function is not enabled with tenancy configuration. "
                "Remove the tenant ID from your request and try again.$"
            ),
        ),
        (
            {"function": "shared", "isolation_key": "ann\n"},
            InvalidParameter,
            "^The tenant ID must have 1 to 256",
        ),
        (
            {"function": "shared", "isolation_key": "a" * 257},
            InvalidParameter,
            "it has 257 characters",
        ),
        (
            {"payload": b" " * (MAX_PAYLOAD + 1)},
            TooLarge,
            (
                "6291457 byte payload is too large for the RequestResponse invocation "
                r"type \(limit 6291456 bytes\)"
            ),
        ),
        (
            {"payload": b" " * (MAX_EVENT_PAYLOAD + 1), "type": InvocationType.EVENT},
            TooLarge,
            (
                "1048577 byte payload is too large for the Event invocation "
                r"type \(limit 1048576 bytes\)"
            ),
        ),
        ({"client_context": "é" * 1_792}, TooLarge, "3584 bytes of 3583 allowed"),
        (
            {"payload": b"{"},
            InvalidParameter,
            "^Could not parse request body into json",
        ),
        (
            {"payload": b"[" + b" " * 100_000},
            InvalidParameter,
            "^Could not parse request body into json",
        ),
    ],
)
@pytest.mark.parametrize("way", ["invoke", "enqueue", "dry_run"])
async def test_what_cannot_be_run_is_refused_in_every_way(
    engine: FakeEngine,
    fields: dict[str, Any],
    raised: type[SandlotError],
    says: str,
    way: str,
) -> None:
    engine.functions.add(make_function(ACME, "shared", per_tenant=True))
    invocation = request(**fields)
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "invoke": lambda: engine.invoker.invoke(invocation, None),
        "enqueue": lambda: engine.invoker.enqueue(invocation),
        "dry_run": lambda: engine.invoker.dry_run(invocation),
    }

    with pytest.raises(raised, match=says):
        await ways[way]()

    assert engine.runner.started.empty()
    assert engine.invoker.admission.running(ACME) == 0


async def test_a_function_that_is_not_ready_is_refused(engine: FakeEngine) -> None:

    function = engine.functions.all[ACME, "echo"]
    pending = replace(
        function, serving=None, pending=function.serving, state=FunctionState.PENDING
    )
    engine.functions.add(pending)

    with pytest.raises(Conflict, match="in the following state: Pending"):
        await engine.invoker.invoke(request(), None)


async def test_an_event_runs_after_its_caller_was_answered(engine: FakeEngine) -> None:
    await engine.invoker.enqueue(request(type=InvocationType.EVENT))

    started = await engine.runner.started.get()

    assert started.request_id == "id-echo"


async def test_an_event_runs_the_version_it_was_sent_to(engine: FakeEngine) -> None:
    published = replace(engine.functions.all[ACME, "echo"], version="7")
    engine.functions.add(published)

    await engine.invoker.enqueue(request(type=InvocationType.EVENT, qualifier="7"))
    started = await engine.runner.started.get()

    assert started.qualifier == "7"


async def test_the_version_that_ran_is_told_logged_and_kept(engine: FakeEngine) -> None:
    published = replace(engine.functions.all[ACME, "echo"], version="7")
    engine.functions.add(published)

    outcome = await engine.invoker.invoke(request(qualifier="7"), None)

    assert outcome.executed_version == "7"
    assert outcome.log[0].text == b"START RequestId: id-echo Version: 7"
    assert [record.version for record in engine.records.records] == ["7"]


async def test_an_isolation_key_reaches_the_runner(engine: FakeEngine) -> None:
    engine.functions.add(make_function(ACME, "shared", per_tenant=True))

    await engine.invoker.invoke(request("shared", isolation_key="ann@x.org"), None)
    started = await engine.runner.started.get()

    assert started.isolation_key == "ann@x.org"


async def test_a_dry_run_takes_no_slot(engine: FakeEngine) -> None:
    await engine.tenants.update(ACME, concurrency=0)

    await engine.invoker.dry_run(request(type=InvocationType.DRY_RUN))

    assert engine.runner.started.empty()


@pytest.mark.parametrize("way", ["invoke", "enqueue", "dry_run"])
async def test_a_function_above_its_tenants_network_is_refused_in_every_way(
    engine: FakeEngine, way: str
) -> None:
    await engine.tenants.update(ACME, network=Network.HOST)
    engine.functions.add(make_function(ACME, "local", network=Network.HOST))
    await engine.invoker.dry_run(request("local"))
    await engine.tenants.update(ACME, network=Network.EGRESS)
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "invoke": lambda: engine.invoker.invoke(request("local"), None),
        "enqueue": lambda: engine.invoker.enqueue(request("local")),
        "dry_run": lambda: engine.invoker.dry_run(request("local")),
    }

    with pytest.raises(PermissionDenied, match="may have 'egress' at most"):
        await ways[way]()

    assert engine.runner.started.empty()
    assert engine.invoker.admission.running(ACME) == 0


class Extensions:
    """Work on after an answer, until a test says that they have done."""

    def __init__(self) -> None:
        self.have_done = asyncio.Event()
        self.lost_because = ""
        self.run = Run(
            ended=Ended.ANSWERED,
            payload=b'"at once"',
            duration_s=0.003,
            wait_s=0.0,
            max_memory_mb=30,
            rest=self._rest,
        )

    async def _rest(self) -> Run:
        await self.have_done.wait()
        return structs.replace(
            self.run,
            duration_s=0.503,
            extensions_s=0.5,
            lost_because=self.lost_because,
            rest=None,
        )


async def test_the_answer_does_not_wait_for_extensions_and_the_bill_does(
    engine: FakeEngine,
) -> None:
    extensions = Extensions()
    engine.runner.answers["echo"] = extensions.run

    outcome = await engine.invoker.invoke(request(), None)

    assert outcome.payload == b'"at once"'
    assert engine.records.records == []
    # They still use what its tenant may use at once.
    assert engine.invoker.admission.running(ACME) == 1

    extensions.have_done.set()

    async def are_recorded() -> bool:
        return bool(engine.records.records)

    await eventually(are_recorded)

    assert engine.records.records[0].report.billed_ms == 503
    assert engine.invoker.admission.running(ACME) == 0


async def test_who_asks_for_the_end_of_the_log_waits_for_extensions(
    engine: FakeEngine,
) -> None:
    extensions = Extensions()
    extensions.lost_because = "Sandbox.Timedout"
    engine.runner.answers["echo"] = extensions.run

    asked = asyncio.create_task(engine.invoker.invoke(request(tail_log=True), None))
    await engine.runner.started.get()
    assert not asked.done()
    extensions.have_done.set()
    outcome = await asked

    assert (outcome.status, outcome.payload) == (Status.OK, b'"at once"')
    assert b"Duration: 503.00 ms" in outcome.log_tail
    assert b"Status: timeout" in outcome.log_tail
    assert len(engine.records.records) == 1


async def test_an_engine_that_ends_bills_what_it_knows_of_extensions() -> None:
    engine = FakeEngine()
    engine.invoker._drain_s = 0.01  # noqa: SLF001 - as an impatient engine has it
    engine.runner.answers["echo"] = Extensions().run
    async with engine.invoker:
        await engine.invoker.invoke(request(), None)

    assert [record.report.billed_ms for record in engine.records.records] == [3]


async def test_who_does_not_wait_for_extensions_pays_for_the_answer(
    engine: FakeEngine,
) -> None:
    engine.runner.answers["echo"] = Extensions().run

    asked = asyncio.create_task(engine.invoker.invoke(request(tail_log=True), None))
    await engine.runner.started.get()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)

    assert [record.report.billed_ms for record in engine.records.records] == [3]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (Ended.INIT_FAILED, "SnapStartException"),
        (Ended.INIT_TIMED_OUT, "SnapStartTimeoutException"),
    ],
)
async def test_what_could_not_be_restored_is_refused_and_billed(
    engine: FakeEngine, how: Ended, reason: str
) -> None:
    engine.runner.answers["echo"] = Run(
        ended=how,
        error_type="Runtime.AfterRestoreError",
        init_s=0.25,
        is_restore=True,
        duration_s=0.0,
        wait_s=0.0,
        max_memory_mb=1,
    )

    with pytest.raises(Refusal) as refused:
        await engine.invoker.invoke(request(), None)

    assert refused.value.reason == reason
    (record,) = engine.records.records
    assert record.report.billed_ms == 250
    assert engine.invoker.admission.running(ACME) == 0
