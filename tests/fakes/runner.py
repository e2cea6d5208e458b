"""A `Runner` that runs nothing, and a clock that a test moves."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sandlot_engine.model.function import Function
from sandlot_engine.model.invocation import Ended, Invocation, Run

ANSWERED = Run(
    ended=Ended.ANSWERED,
    payload=b'"ok"',
    duration_s=0.003,
    wait_s=0.0,
    max_memory_mb=30,
)


class FakeRunner:
    """Answers every invocation as it was told to for the function; echoes otherwise.

    `held` functions answer when their event is set. `started` gets each invocation
    when it begins, `cancelled` has those whose caller went away. While `is_full`, they
    wait for an instance in vain.
    """

    def __init__(self, clock: "FakeClock") -> None:
        self.clock = clock
        self.answers: dict[str, Run | Exception] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.started: asyncio.Queue[Invocation] = asyncio.Queue()
        self.cancelled: list[Invocation] = []
        self.is_full = False

    def hold(self, function: str) -> asyncio.Event:
        self.held[function] = asyncio.Event()
        return self.held[function]

    async def run(
        self,
        function: Function,
        invocation: Invocation,
        *,
        note_cut: Callable[[float], None],
    ) -> Run:
        self.started.put_nowait(invocation)
        began = self.clock.monotonic()
        try:
            if function.name in self.held:
                await self.held[function.name].wait()
        except asyncio.CancelledError:
            self.cancelled.append(invocation)
            if not self.is_full:
                note_cut(self.clock.monotonic() - began)
            raise
        answer = self.answers.get(function.name)
        if isinstance(answer, Exception):
            raise answer
        return answer or Run(
            ended=Ended.ANSWERED,
            payload=invocation.payload,
            duration_s=0.003,
            wait_s=0.001,
            max_memory_mb=30,
        )


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.start = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds

    def set_calendar(self, seconds: float) -> None:
        """Somebody sets the machine's clock."""
        self.start += timedelta(seconds=seconds)

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds - 1_000.0)
