"""Answers that are passed on while they are made."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from sandlot_engine.errors import Throttled
from sandlot_engine.invocation import streamed
from sandlot_engine.invocation.streamed import BrokenOff, Streamed, answering
from sandlot_engine.model.invocation import Invocation, Outcome, Report, Sink, Status

WAIT_S = 5.0
REPORT = Report(
    duration_ms=1.0,
    init_ms=None,
    wait_ms=0.0,
    billed_ms=1,
    memory_mb=128,
    max_memory_used_mb=10,
)


def an_outcome(payload: bytes = b"", status: Status = Status.OK) -> Outcome:
    return Outcome(
        request_id="r",
        status=status,
        payload=payload,
        executed_version="7",
        report=REPORT,
    )


class Function:
    """An invoker whose one function does what a test says."""

    def __init__(self, act: Callable[[Sink], Awaitable[Outcome]]) -> None:
        self._act = act
        self.was_cancelled = False

    async def invoke(self, invocation: Invocation, _: float | None, /) -> Outcome:
        assert invocation.sink is not None
        invocation.sink.version = "7"
        try:
            return await self._act(invocation.sink)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


INVOCATION = Invocation(
    request_id="r", tenant_id="t", function="f", payload=b"{}", arrived=0.0
)


async def _answer(
    stack: AsyncExitStack, act: Callable[[Sink], Awaitable[Outcome]]
) -> tuple[Outcome | Streamed, Function]:
    function = Function(act)
    answer = await stack.enter_async_context(
        answering(function, INVOCATION, deadline=None)
    )
    return answer, function


async def test_an_answer_at_once_is_an_outcome() -> None:
    async def act(_: Sink) -> Outcome:
        return an_outcome(b"[1]")

    async with AsyncExitStack() as stack:
        answer, _ = await _answer(stack, act)
        assert isinstance(answer, Outcome)
        assert answer.payload == b"[1]"


async def test_what_is_refused_is_raised() -> None:
    async def act(_: Sink) -> Outcome:
        raise Throttled("no", reason="r", limit=1, retry_after_s=1)

    async with AsyncExitStack() as stack:
        with pytest.raises(Throttled):
            await _answer(stack, act)


async def test_pieces_come_while_the_function_runs() -> None:
    go_on = asyncio.Event()

    async def act(sink: Sink) -> Outcome:
        sink.begin("text/plain")
        sink.write(b"one")
        await go_on.wait()
        sink.write(b"two")
        return an_outcome()

    async with AsyncExitStack() as stack:
        answer, _ = await _answer(stack, act)
        assert isinstance(answer, Streamed)
        assert (answer.content_type, answer.version) == ("text/plain", "7")
        pieces = [await anext(answer.pieces)]
        go_on.set()
        pieces += [piece async for piece in answer.pieces]
        assert pieces == [b"one", b"two"]
        assert answer.outcome is not None
        assert (await answer.outcome).status is Status.OK


async def test_an_answer_without_pieces_is_streamed_all_the_same() -> None:
    async def act(sink: Sink) -> Outcome:
        sink.begin("text/plain")
        return an_outcome()

    async with AsyncExitStack() as stack:
        answer, _ = await _answer(stack, act)
        assert isinstance(answer, Streamed)
        assert [piece async for piece in answer.pieces] == []


async def test_one_that_fails_later_is_broken_off() -> None:
    async def act(sink: Sink) -> Outcome:
        sink.begin("text/plain")
        sink.write(b"one")
        return an_outcome(b"{}", Status.ERROR)

    async with AsyncExitStack() as stack:
        answer, _ = await _answer(stack, act)
        assert isinstance(answer, Streamed)
        assert await anext(answer.pieces) == b"one"
        with pytest.raises(BrokenOff) as caught:
            await anext(answer.pieces)
        assert caught.value.outcome.status is Status.ERROR


async def test_a_slow_reader_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "MAX_WAITING", 3)
    monkeypatch.setattr(streamed, "OF_PIECE", 0)
    waits = 0

    async def act(sink: Sink) -> Outcome:
        nonlocal waits
        sink.begin("text/plain")
        for piece in (b"abc", b"d", b"ef", b"gh", b"i"):
            if sink.is_full:
                waits += 1
                room = asyncio.Event()
                sink.when_room(room.set)
                await room.wait()
            sink.write(piece)
        return an_outcome()

    async with AsyncExitStack() as stack:
        answer, _ = await _answer(stack, act)
        assert isinstance(answer, Streamed)
        assert b"".join([piece async for piece in answer.pieces]) == b"abcdefghi"
    assert waits == 2


async def test_who_goes_away_ends_it() -> None:
    async def act(sink: Sink) -> Outcome:
        sink.begin("text/plain")
        await asyncio.Event().wait()
        return an_outcome()

    async with AsyncExitStack() as stack:
        _, function = await _answer(stack, act)
    assert function.was_cancelled


async def test_one_that_outlives_its_reader_does_not_wait_for_him(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamed, "MAX_WAITING", 0)
    ended = asyncio.Event()
    detached: list[asyncio.Task[None]] = []

    async def work(sink: Sink) -> None:
        if sink.is_full:
            room = asyncio.Event()
            sink.when_room(room.set)
            await room.wait()
        sink.write(b"nobody reads this")
        assert not sink.is_full
        ended.set()

    async def act(sink: Sink) -> Outcome:
        sink.begin("text/plain")
        sink.write(b"one")
        detached.append(asyncio.create_task(work(sink)))
        await asyncio.Event().wait()
        return an_outcome()

    async with AsyncExitStack() as stack:
        await _answer(stack, act)
    async with asyncio.timeout(WAIT_S):
        await ended.wait()
        await detached[0]


def test_pieces_that_are_small_are_not_for_nothing() -> None:
    pieces = streamed.Pieces()

    for _ in range(streamed.MAX_WAITING // (streamed.OF_PIECE + 1) + 1):
        assert not pieces.is_full
        pieces.write(b"x")

    assert pieces.is_full
