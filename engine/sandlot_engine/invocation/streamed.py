"""Answers that are passed on while they are made.

async with answering(invoker, invocation, deadline=None) as answer:
    match answer:
        case Outcome(): ...     # it has ended, and said nothing before
        case Streamed(): ...    # it goes on, and so may its function
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from msgspec.structs import replace

from sandlot_engine.model.invocation import Invocation, Outcome

MAX_WAITING = 1_048_576
"""Bytes of one answer that its reader has not taken yet: then its function waits."""

OF_PIECE = 64
"""Bytes that a piece takes beside its own, however small it is."""


class Invoker(Protocol):
    """What is needed of `invoker.Invoker`."""

    async def invoke(
        self, invocation: Invocation, deadline: float | None, /
    ) -> Outcome: ...


class BrokenOff(Exception):
    """What was read of an answer is not all, and there is no more."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.error_type)
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """An answer that has begun."""

    content_type: str
    """As the function says it, on one line."""

    version: str = ""
    """Of the function: what is run."""

    pieces: AsyncIterator[bytes] = field(repr=False)
    """Ends where the answer does. Raises `BrokenOff`, or what the invoker raises."""

    outcome: asyncio.Future[Outcome] | None = field(default=None, repr=False)
    """How it ended, once the pieces have; None where nobody asks."""


class Pieces:
    """Satisfies `model.invocation.Sink`."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.content_type = ""
        self.version = ""
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._is_over = self._is_abandoned = False
        self._on_room: Callable[[], None] | None = None

    @property
    def is_full(self) -> bool:
        return self._size > MAX_WAITING

    def begin(self, content_type: str) -> None:
        self.content_type = content_type
        self.begun.set()

    def write(self, piece: bytes) -> None:
        if not self._is_abandoned:
            self._waiting.append(piece)
            self._size += len(piece) + OF_PIECE
            self._news.set()

    def when_room(self, call: Callable[[], None]) -> None:
        self._on_room = call

    def end(self) -> None:
        """Nothing more comes."""
        self._is_over = True
        self.begun.set()
        self._news.set()

    def abandon(self) -> None:
        """Nobody reads any more: what comes is thrown away, and nobody waits."""
        self._is_abandoned = True
        self._waiting.clear()
        self._size = 0
        self._make_room()

    async def read(self) -> AsyncIterator[bytes]:
        """All pieces, in their order."""
        while True:
            while self._waiting:
                piece = self._waiting.popleft()
                self._size -= len(piece) + OF_PIECE
                if not self.is_full:
                    self._make_room()
                yield piece
            if self._is_over:
                return
            self._news.clear()
            await self._news.wait()

    def _make_room(self) -> None:
        call, self._on_room = self._on_room, None
        if call is not None:
            call()


@asynccontextmanager
async def answering(
    invoker: Invoker, invocation: Invocation, *, deadline: float | None
) -> AsyncIterator[Outcome | Streamed]:
    """Run it, and have its answer as soon as there is a part of it.

    Leaving the block early is what going away is to `Invoker.invoke`. An answer that is
    to be given again, because it has an idempotency key, comes whole. Raises what the
    invoker raises, if the answer has not begun.
    """
    if invocation.idempotency is not None:
        yield await invoker.invoke(invocation, deadline)
        return
    pieces = Pieces()
    running = asyncio.create_task(
        _run(invoker, replace(invocation, sink=pieces), deadline, pieces)
    )
    try:
        await pieces.begun.wait()
        if running.done() and not pieces.content_type:
            yield running.result()
        else:
            yield Streamed(
                content_type=pieces.content_type,
                version=pieces.version,
                pieces=_read(pieces, running),
                outcome=running,
            )
    finally:
        pieces.abandon()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await running


async def _run(
    invoker: Invoker, invocation: Invocation, deadline: float | None, pieces: Pieces
) -> Outcome:
    try:
        return await invoker.invoke(invocation, deadline)
    finally:
        # The task itself is done a moment later, and `_read` waits for that.
        asyncio.get_running_loop().call_soon(pieces.end)


async def _read(pieces: Pieces, running: asyncio.Task[Outcome]) -> AsyncIterator[bytes]:
    async for piece in pieces.read():
        yield piece
    outcome = await asyncio.shield(running)
    if outcome.function_error:
        raise BrokenOff(outcome)
