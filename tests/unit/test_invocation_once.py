"""Idempotency keys: done once, and answered as often as it is asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sandlot_engine.errors import (
    DeadlineExceeded,
    Internal,
    InvalidParameter,
    NotFound,
    Throttled,
    Unavailable,
)
from sandlot_engine.invocation import once
from sandlot_engine.invocation.detached import Detached
from sandlot_engine.invocation.once import MAX_KEY, Once, key_of
from sandlot_engine.model.invocation import (
    Ended,
    Invocation,
    InvocationType,
    Outcome,
    Run,
    Status,
)
from sandlot_engine.store.ports import KeptAnswer
from sandlot_engine.store.sqlite import SqliteStore
from tests.fakes.backend import ACME, GLOBEX, FakeEngine

WINDOW_S = 24 * 3600
THROTTLED = Throttled("no room", reason="any", limit=1, retry_after_s=1.0)


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    engine = FakeEngine()
    async with engine.invoker:
        yield engine


def invocation(
    key: str = "key-1",
    payload: bytes = b"1",
    *,
    request_id: str = "r-1",
    sender: str = "",
    **fields: Any,
) -> Invocation:
    kind = fields.get("type", InvocationType.REQUEST_RESPONSE)
    plain: dict[str, Any] = {"tenant_id": ACME, "function": "echo", "arrived": 1_000.0}
    return Invocation(
        request_id=request_id,
        payload=payload,
        idempotency=key_of(key, kind.value, payload, sender=sender),
        **(plain | fields),
    )


async def ask(engine: FakeEngine, asked: Invocation) -> Outcome:
    return await engine.invoker.invoke(asked, None)


def runs(engine: FakeEngine) -> int:
    return engine.runner.started.qsize()


async def test_a_repeat_gets_the_first_answer(engine: FakeEngine) -> None:
    first = await ask(engine, invocation())
    repeat = await ask(engine, invocation(request_id="r-2"))

    assert (first.payload, first.is_replayed) == (b"1", False)
    assert repeat == replace(first, is_replayed=True)
    assert repeat.request_id == "r-1"
    assert runs(engine) == len(engine.records.records) == engine.invoker.once.replayed
    assert runs(engine) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"key": "key-2"},
        {"sender": "another"},
        {"function": "slow"},
        {"tenant_id": GLOBEX, "function": "theirs"},
        {"qualifier": "$LATEST"},
    ],
)
async def test_what_a_key_is_for_tells_it_from_others(
    engine: FakeEngine, other: dict[str, str]
) -> None:
    await ask(engine, invocation())

    answer = await ask(engine, invocation(request_id="r-2", **other))  # type: ignore[arg-type]

    assert not answer.is_replayed
    assert runs(engine) == 2


async def test_a_key_is_not_taken_for_another_event(engine: FakeEngine) -> None:
    held = engine.runner.hold("slow")
    running = asyncio.create_task(ask(engine, invocation(function="slow")))
    await engine.runner.started.get()

    with pytest.raises(InvalidParameter, match="used for another") as while_running:
        await ask(engine, invocation(payload=b"2", function="slow"))
    held.set()
    await running
    with pytest.raises(InvalidParameter, match="used for another") as afterwards:
        await ask(engine, invocation(payload=b"2", function="slow"))

    assert while_running.value.reason == afterwards.value.reason == once.REUSED
    assert runs(engine) == 0


async def test_a_repeat_waits_for_the_first_that_still_runs(engine: FakeEngine) -> None:
    held = engine.runner.hold("slow")
    first = asyncio.create_task(ask(engine, invocation(function="slow")))
    await engine.runner.started.get()

    repeat = asyncio.create_task(ask(engine, invocation(function="slow")))
    held.set()

    assert not (await first).is_replayed
    assert (await repeat).is_replayed
    assert runs(engine) == 0


async def test_the_first_goes_on_when_its_caller_is_gone(engine: FakeEngine) -> None:
    held = engine.runner.hold("slow")
    first = asyncio.create_task(ask(engine, invocation(function="slow")))
    await engine.runner.started.get()

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    repeat = asyncio.create_task(ask(engine, invocation(function="slow")))
    held.set()

    assert (await repeat).payload == b"1"
    assert engine.runner.cancelled == []


async def test_a_deadline_ends_the_waiting_and_not_the_run(engine: FakeEngine) -> None:
    held = engine.runner.hold("slow")

    with pytest.raises(DeadlineExceeded, match="was not stopped"):
        await engine.invoker.invoke(invocation(function="slow"), 1_000.0)
    held.set()
    repeat = await ask(engine, invocation(function="slow"))

    assert repeat.is_replayed
    assert engine.runner.cancelled == []


async def test_a_failure_of_the_function_is_an_answer(engine: FakeEngine) -> None:
    engine.runner.answers["echo"] = Run(
        ended=Ended.EXITED, exit_code=3, duration_s=0.1, wait_s=0.0, max_memory_mb=9
    )

    first = await ask(engine, invocation())
    del engine.runner.answers["echo"]
    repeat = await ask(engine, invocation())

    assert first.status is repeat.status is Status.CRASHED
    assert runs(engine) == 1


@pytest.mark.parametrize(
    "refusal", [THROTTLED, Unavailable("no instance"), Internal("lost")], ids=type
)
async def test_what_was_not_answered_is_not_kept(
    engine: FakeEngine, refusal: Exception
) -> None:
    engine.runner.answers["echo"] = refusal
    with pytest.raises(type(refusal)):
        await ask(engine, invocation())

    del engine.runner.answers["echo"]
    answer = await ask(engine, invocation())

    assert (answer.payload, answer.is_replayed) == (b"1", False)


async def test_a_function_that_is_not_there_answers_nobody(engine: FakeEngine) -> None:
    with pytest.raises(NotFound):
        await ask(engine, invocation(function="none"))


async def test_an_answer_is_given_until_the_window_is_over(engine: FakeEngine) -> None:
    await ask(engine, invocation())

    engine.clock.advance(WINDOW_S)
    within = await ask(engine, invocation())
    engine.clock.advance(1)
    after = await ask(engine, invocation())
    again = await ask(engine, invocation())

    assert (within.is_replayed, after.is_replayed) == (True, False)
    assert again.is_replayed


@pytest.mark.parametrize("by_s", [-9 * WINDOW_S, 9 * WINDOW_S], ids=["back", "forward"])
async def test_a_clock_that_is_set_makes_no_answer_older(
    engine: FakeEngine, by_s: float
) -> None:
    await ask(engine, invocation())
    engine.clock.set_calendar(by_s)
    await ask(engine, invocation("key-2"))
    engine.clock.set_calendar(-by_s)

    again = await ask(engine, invocation())

    assert again.is_replayed
    assert runs(engine) == 2


async def test_an_event_is_taken_once(engine: FakeEngine) -> None:
    event = invocation(type=InvocationType.EVENT)

    ids = [
        await engine.invoker.enqueue(replace(event, request_id=f"r-{n}"))
        for n in range(3)
    ]
    started = await engine.runner.started.get()

    assert len(set(ids)) == 1
    assert started.request_id == ids[0]
    assert runs(engine) == 0


async def test_an_event_whose_answer_was_not_kept_is_taken_once_all_the_same(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object, **__: object) -> int:
        raise Unavailable("as if the engine had died before")

    monkeypatch.setattr(engine.store, "keep_answer", die)
    event = invocation(type=InvocationType.EVENT)

    first = await engine.invoker.enqueue(event)
    engine.clock.advance(1)
    again = await engine.invoker.enqueue(replace(event, request_id="r-2"))
    await engine.runner.started.get()
    other = await engine.invoker.enqueue(
        invocation(payload=b"2", type=InvocationType.EVENT)
    )
    ran = await engine.runner.started.get()

    assert first == again != other
    assert ran.request_id == other, "and the first but once"
    engine.clock.advance(WINDOW_S)
    assert await engine.invoker.enqueue(event) not in (first, other)


async def test_an_event_that_was_not_taken_is_not_kept(engine: FakeEngine) -> None:
    event = invocation(type=InvocationType.EVENT, function="none")

    with pytest.raises(NotFound):
        await engine.invoker.enqueue(event)
    with pytest.raises(NotFound):
        await engine.invoker.enqueue(event)


async def test_an_answer_outlives_the_engine(tmp_path: Path) -> None:
    async def ask_anew(asked: Invocation, payload: bytes) -> Outcome:
        async with SqliteStore.open(tmp_path / "sandlot.db") as store:
            engine = FakeEngine(answers=store)
            engine.runner.answers["echo"] = Run(
                ended=Ended.ANSWERED,
                payload=payload,
                duration_s=0.1,
                init_s=0.2,
                wait_s=0.0,
                max_memory_mb=9,
            )
            async with engine.invoker:
                return await ask(engine, asked)

    first = await ask_anew(invocation(tail_log=True), b'{"n": 1}')
    repeat = await ask_anew(invocation(tail_log=True, request_id="r-2"), b'{"n": 2}')

    assert repeat == replace(first, is_replayed=True)
    assert first.log_tail.startswith(b"START")


class Broken:
    """A store that can be read, and not written."""

    async def find_answer(self, *_: object) -> KeptAnswer | None:
        return None

    async def keep_answer(self, *_: object, **__: object) -> int:
        raise Internal("the disk is full")


async def test_an_answer_that_cannot_be_kept_is_given_and_counted() -> None:
    engine = FakeEngine(answers=Broken())

    async with engine.invoker:
        answer = await ask(engine, invocation())

    assert answer.payload == b"1"
    assert engine.invoker.once.not_kept == 1


async def test_those_under_way_are_bounded(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "MAX_BYTES_UNDER_WAY", 2 * once.LEAST_BYTES)
    held = engine.runner.hold("slow")
    running = [
        asyncio.create_task(ask(engine, invocation(f"key-{n}", function="slow")))
        for n in range(2)
    ]
    for _ in running:
        await engine.runner.started.get()

    with pytest.raises(Throttled, match="not answered yet"):
        await ask(engine, invocation("key-3"))
    held.set()
    await asyncio.gather(*running)

    assert (await ask(engine, invocation("key-3"))).payload == b"1"


async def test_one_that_ends_frees_what_it_had_and_no_more(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "MAX_BYTES_UNDER_WAY", 2 * once.LEAST_BYTES)
    held = engine.runner.hold("slow")
    first = asyncio.create_task(ask(engine, invocation("key-1", function="slow")))
    await engine.runner.started.get()
    await ask(engine, invocation("key-2"))
    await engine.runner.started.get()
    second = asyncio.create_task(ask(engine, invocation("key-3", function="slow")))
    await engine.runner.started.get()

    with pytest.raises(Throttled, match="not answered yet"):
        await ask(engine, invocation("key-4"))

    held.set()
    await asyncio.gather(first, second)


async def test_leaving_ends_what_still_runs() -> None:
    engine = FakeEngine()
    engine.runner.hold("slow")
    detached = Detached(engine.clock, drain_s=0.0)
    left = Once(engine.store, engine.clock, detached)
    began = asyncio.Event()

    async def work() -> Outcome:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with detached:
        waiting = asyncio.create_task(left.outcome(invocation(), work, None))
        await began.wait()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(Unavailable, match="stopping"):
        await left.outcome(invocation("key-2"), work, None)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("a", "a"),
        (' "8e03978e-40d5" ', "8e03978e-40d5"),
        ('"', '"'),
        ('"a', '"a'),
        ('a"', 'a"'),
        ("a b", "a b"),
        ("x" * MAX_KEY, "x" * MAX_KEY),
    ],
)
def test_a_key_may_be_in_quotes(text: str, key: str) -> None:
    assert key_of(text).key == key


@pytest.mark.parametrize("text", ["", '""', "x" * (MAX_KEY + 1), "ä", "a\x00", '" a"'])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="visible characters"):
        key_of(text)


def test_requests_are_told_apart_by_their_parts() -> None:
    different: list[Callable[[], Any]] = [
        lambda: key_of("k", "a", "bc"),
        lambda: key_of("k", "ab", "c"),
        lambda: key_of("k", "abc"),
        lambda: key_of("k", "a", "bc", ""),
    ]

    assert len({make().request for make in different}) == len(different)
    assert key_of("k", "a", b"bc") == key_of("k", b"a", "bc")
