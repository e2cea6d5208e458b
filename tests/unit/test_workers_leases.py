"""What a worker has borrowed, how it runs on that, and how it ends."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from msgspec.structs import replace

from sandlot_engine.clock import SystemClock
from sandlot_engine.errors import Unavailable
from sandlot_engine.model.invocation import Invocation, Record, Run
from sandlot_engine.workers import leases as module
from sandlot_engine.workers import messages
from sandlot_engine.workers.boards import Marks, new_page
from sandlot_engine.workers.leases import Leases
from sandlot_engine.workers.messages import Address
from sandlot_engine.workers.replica import NotHere
from tests.fakes.functions import make_function
from tests.fakes.runs import ID, INVOCATION, RAN
from tests.unit.test_workers import a_record

TENANT = "111111111111"
FUNCTION = make_function(TENANT, "f")
SLOT, EPOCH, PEAK_KB = 7, 2, 9


class Loaned:
    """A borrowed instance, which answers when it may."""

    leaves_tmp = False

    def __init__(self, on_death: Callable[[], None]) -> None:
        self.die = on_death
        self.is_usable = True
        self.has_ended = False
        """And nobody has noticed."""

        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.runs = 0
        self.waited_s = 0.0
        self.heard: list[object] = []

    @property
    def instance(self) -> "Loaned":
        return self

    async def run(self, *_: object, wait_s: float) -> Run:
        self.runs += 1
        self.waited_s = wait_s
        await self.may_answer.wait()
        if self.has_ended:
            self.is_usable = False
            raise Unavailable("it has ended")
        return RAN

    def give_back(self) -> tuple[bool, int, tuple[()]] | None:
        return (False, PEAK_KB, ()) if self.is_usable else None

    def note_exit(self, status: int) -> None:
        self.heard.append(status)

    def note_zygote_lost(self, *, with_launcher: bool) -> None:
        self.heard.append(with_launcher)


@dataclass
class Worker:
    """Its leases, and what the core hears of them."""

    told: list[object] = field(default_factory=list)
    written: list[tuple[int, Record]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)
    loans: list[Loaned] = field(default_factory=list)
    epoch: int = EPOCH
    is_deaf: bool = False

    def __post_init__(self) -> None:
        fd = new_page("marks", Marks.SIZE)
        self.marks = Marks(fd)
        os.close(fd)
        self.leases = Leases(
            cast(Any, self),
            marks=self.marks,
            ledger=cast(Any, self),
            tell=self.told.append,
            clock=SystemClock(),
            region="",
            fail=self.failed.append,
        )

    def is_current(self, tenant_id: str, epoch: int) -> bool:
        return (tenant_id, epoch) == (TENANT, self.epoch)

    def write(self, lease: int, record: Record, _: object) -> None:
        if self.is_deaf:
            raise BrokenPipeError("Broken pipe")
        self.written.append((lease, record))

    def borrow(self, **said: Any) -> Loaned:
        self.loans.append(Loaned(said["on_death"]))
        return self.loans[-1]

    def lend(self, number: int = 1, *, uses: int = 100) -> Loaned:
        assert FUNCTION.serving is not None
        self.leases.lend(
            messages.Lend(
                *(number, FUNCTION.serving.id, TENANT, SLOT, uses, EPOCH),
                *(128, False, 1.5, 7, ()),
            ),
            [],
        )
        return self.loans[-1]

    async def run(self, invocation: Invocation = INVOCATION) -> Run:
        ran = await self.leases.run(FUNCTION, invocation, note_cut=self.cuts.append)
        await asyncio.sleep(0)
        return ran


GAVE_BACK = messages.GaveBack(1, is_frozen=False, peak_memory_kb=PEAK_KB)


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    made = Worker()
    monkeypatch.setattr(module, "borrow", made.borrow)
    return made


async def test_what_was_lent_is_run_on_again_and_again(worker: Worker) -> None:
    loan = worker.lend()
    invocation = replace(INVOCATION, arrived=time.monotonic() - 60)

    assert [await worker.run(invocation) for _ in range(3)] == [RAN] * 3

    assert loan.runs == 3
    assert 60 <= loan.waited_s < 120
    assert worker.told == []


async def test_the_one_that_was_used_last_is_used_next(worker: Worker) -> None:
    first, second = worker.lend(1), worker.lend(2)

    for _ in range(3):
        await worker.run()

    assert (first.runs, second.runs) == (0, 3)


async def test_where_nothing_is_at_hand_nothing_is_started(worker: Worker) -> None:
    with pytest.raises(NotHere) as needs:
        await worker.run()

    assert needs.value.want == Address(TENANT, TENANT, "f", "")


async def test_one_goes_back_when_it_was_used_as_often_as_it_is_good_for(
    worker: Worker,
) -> None:
    worker.lend(uses=2)

    await worker.run()
    assert worker.told == []
    await worker.run()

    assert worker.told == [GAVE_BACK]
    await worker.leases.wait_empty()
    with pytest.raises(NotHere):
        await worker.run()


async def test_what_runs_is_on_the_board_until_its_record_is_told(
    worker: Worker,
) -> None:
    loan = worker.lend()
    loan.may_answer.clear()
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    mark = worker.marks.of(SLOT)

    record = replace(a_record(), request_id=ID)
    worker.leases.append(record, ())

    assert mark is not None
    assert mark.request_id == ID
    assert not worker.marks.is_running(SLOT)
    assert worker.written == [(1, record)]
    loan.may_answer.set()
    await running


async def test_what_ends_without_a_record_is_on_the_board_no_more(
    worker: Worker,
) -> None:
    worker.lend()

    await worker.run()

    assert not worker.marks.is_running(SLOT)


async def test_a_worker_that_cannot_bill_ends(worker: Worker) -> None:
    worker.is_deaf = True

    worker.leases.append(a_record(), ())

    assert worker.failed == ["a record could not be told: Broken pipe"]


async def test_one_that_is_recalled_goes_back_at_once(worker: Worker) -> None:
    worker.lend()

    worker.leases.hear(messages.Recall(1))

    assert worker.told == [GAVE_BACK]


async def test_one_that_is_recalled_and_has_ended_is_forgotten_when_it_is_dead(
    worker: Worker,
) -> None:
    loan = worker.lend()
    loan.is_usable = False

    worker.leases.hear(messages.Recall(1))
    assert worker.told == []
    loan.die()

    assert worker.told == [messages.Forgot(1)]


async def test_one_that_is_recalled_while_it_runs_goes_back_then(
    worker: Worker,
) -> None:
    loan = worker.lend()
    loan.may_answer.clear()
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)

    worker.leases.hear(messages.Recall(1))
    assert worker.told == []
    loan.may_answer.set()
    await running

    assert worker.told == [GAVE_BACK]


async def test_one_from_before_its_tenant_changed_is_not_run_on(
    worker: Worker,
) -> None:
    loan = worker.lend()
    worker.epoch += 1

    with pytest.raises(NotHere):
        await worker.run()

    assert loan.runs == 0
    assert worker.told == [GAVE_BACK]


async def test_one_that_ended_while_it_was_idle_has_started_nothing(
    worker: Worker,
) -> None:
    loan = worker.lend()
    loan.has_ended = True

    with pytest.raises(NotHere) as needs:
        await worker.run()
    await worker.leases.wait_empty()

    assert needs.value.want is None
    assert worker.told == [messages.Forgot(1)]


async def test_who_is_cancelled_is_told_how_long_it_ran(worker: Worker) -> None:
    loan = worker.lend()
    loan.may_answer.clear()
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)

    loan.is_usable = False
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await worker.leases.wait_empty()

    assert len(worker.cuts) == 1
    assert worker.told == [messages.Forgot(1)]


@pytest.mark.parametrize("is_running", [False, True])
async def test_one_that_dies_is_forgotten_when_nothing_runs_on_it(
    worker: Worker, *, is_running: bool
) -> None:
    loan = worker.lend()
    loan.may_answer.clear()
    running = asyncio.create_task(worker.run()) if is_running else None
    await asyncio.sleep(0)

    loan.is_usable = False
    loan.die()
    assert worker.told == ([] if is_running else [messages.Forgot(1)])
    loan.may_answer.set()
    if running is not None:
        await running

    assert worker.told == [messages.Forgot(1)]


async def test_one_that_dies_after_it_was_used_is_forgotten(worker: Worker) -> None:
    loan = worker.lend()
    await worker.run()

    loan.is_usable = False
    loan.die()

    assert worker.told == [messages.Forgot(1)]


async def test_a_loan_that_lacks_a_file_is_none(worker: Worker) -> None:
    ours, theirs = os.pipe()
    os.close(theirs)
    parts = ("channel", "log")

    worker.leases.lend(
        messages.Lend(1, "r", TENANT, SLOT, 9, EPOCH, 128, False, 1.5, 7, parts),
        [ours],
    )

    assert worker.told == [messages.Forgot(1)]
    assert worker.loans == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(ours)


@pytest.mark.parametrize("is_changed", [False, True])
async def test_what_nobody_uses_or_may_use_goes_back_by_itself(
    monkeypatch: pytest.MonkeyPatch, *, is_changed: bool
) -> None:
    monkeypatch.setattr(module, "_SWEEP_S", 0.0)
    monkeypatch.setattr(module, "KEEP_S", 3_600.0 if is_changed else -1.0)
    worker = Worker()
    monkeypatch.setattr(module, "borrow", worker.borrow)
    worker.lend()
    worker.epoch += is_changed

    async with asyncio.timeout(5):
        await worker.leases.wait_empty()

    assert worker.told == [GAVE_BACK]
    worker.leases.close()


async def test_what_is_used_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SWEEP_S", 0.0)
    worker = Worker()
    monkeypatch.setattr(module, "borrow", worker.borrow)
    worker.lend()

    for _ in range(20):
        await asyncio.sleep(0)

    assert worker.told == []
    worker.leases.close()
    assert worker.told == [GAVE_BACK]


async def test_an_instance_hears_how_it_ended(worker: Worker) -> None:
    loan = worker.lend()

    worker.leases.hear(messages.Exited(1, 9))
    worker.leases.hear(messages.Lost(1, with_launcher=True))
    worker.leases.hear(messages.Exited(2, 9))

    assert loan.heard == [9, True]


async def test_who_stopped_waiting_for_a_death_hears_of_it_when_it_comes(
    worker: Worker,
) -> None:
    leases = worker.leases
    waiting = asyncio.create_task(leases._kill(1, leaves_tmp=False))  # noqa: SLF001
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])

    again = asyncio.create_task(leases._kill(1, leaves_tmp=False))  # noqa: SLF001
    await asyncio.sleep(0)
    leases.hear(messages.Killed(1, "memory"))

    assert await again == "memory"
    assert worker.told == [messages.Kill(1, leaves_tmp=False)]
