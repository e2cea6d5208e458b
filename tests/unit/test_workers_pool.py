"""How workers are replaced; the processes are fakes."""

import asyncio
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from sandlot_engine.workers import pool as pools
from sandlot_engine.workers.pool import Pool
from tests.fakes.waiting import eventually


class FakeSeat:
    """Serves until `dies` is set. Those that are made while `problems` has any fail."""

    problems: ClassVar[list[OSError]] = []
    made: ClassVar[list["FakeSeat"]] = []

    def __init__(self, pool: Pool, *_: object) -> None:
        if FakeSeat.problems:
            raise FakeSeat.problems.pop()
        self.dies = asyncio.Event()
        self.serves, self.is_draining = True, False
        self.lessor = SimpleNamespace(lent=0, unused=0)
        FakeSeat.made.append(self)
        pool.note_news()

    async def wait(self) -> int:
        await self.dies.wait()
        return -9

    def drain(self) -> None:
        self.is_draining = True
        self.dies.set()

    def end(self) -> None:
        self.serves = False


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_Seat", FakeSeat)
    monkeypatch.setattr(pools, "RETRY_S", 0.0)
    FakeSeat.problems, FakeSeat.made = [], []


async def test_a_worker_that_cannot_be_replaced_now_is_replaced_later() -> None:
    nothing: Any = None
    async with Pool.running(nothing, nothing, 2) as pool:
        FakeSeat.problems = [OSError("no more processes"), OSError("no more files")]
        FakeSeat.made[0].dies.set()

        async def is_replaced() -> bool:
            return len(FakeSeat.made) == 3 and pool.workers == 2

        await eventually(is_replaced)
        assert FakeSeat.problems == []
        assert pool.restarts == 1


async def test_a_start_that_cannot_have_its_workers_fails() -> None:
    nothing: Any = None
    FakeSeat.problems = [OSError("no such file")]

    with pytest.raises(ExceptionGroup) as caught:
        async with Pool.running(nothing, nothing, 2):
            pass

    assert caught.group_contains(OSError, match="no such file")
