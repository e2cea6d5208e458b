"""What the core lends to a worker comes back, however that ends, and is billed."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from sandlot_engine.errors import Throttled
from sandlot_engine.invocation.admission import Admission
from sandlot_engine.invocation.verdict import CANCELLED
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.invocation import Ended, Invocation, LogLine, Record, Run
from sandlot_engine.scheduler.ports import Borrower, Loan
from sandlot_engine.scheduler.scheduler import Scheduler
from sandlot_engine.workers import lessor as module
from sandlot_engine.workers import messages
from sandlot_engine.workers.boards import Epochs, Marks, new_page
from sandlot_engine.workers.lessor import Lessor, Place
from sandlot_engine.workers.messages import Address
from tests.fakes.runner import FakeClock
from tests.fakes.things import function
from tests.fakes.waiting import eventually

WAIT_S = 5.0


class FakeInstance:
    """Answers when all that run do; can be lent."""

    def __init__(self, together: asyncio.Barrier) -> None:
        self._together = together
        self.is_usable = True
        self.is_settling = False
        self.idle_since = 0.0
        self.memory_mb = 1.0
        self.is_stopped = False
        self.leaves_tmp = False
        self.borrower: Borrower | None = None
        self.can_be_lent = True

    async def run(self, *_: object, **__: object) -> Run:
        self.is_usable = False
        await self._together.wait()
        self.is_usable = True
        return Run(ended=Ended.ANSWERED, duration_s=0.001, wait_s=0, max_memory_mb=1)

    async def wait_ready(self, _: float) -> bool:
        return True

    async def wait_settled(self) -> bool:
        return self.is_usable

    def stop(self) -> None:
        self.is_stopped, self.is_usable = True, False

    def lend(self, borrower: Borrower) -> tuple[Loan, dict[str, int]] | None:
        if not self.can_be_lent:
            return None
        self.borrower, self.is_usable = borrower, False
        facts = SimpleNamespace(
            memory_mb=128, is_frozen=False, idle_since=0.0, peak_memory_kb=1
        )
        return facts, {"channel": 0}

    def take_back(self, **_: object) -> None:
        self.is_usable = not self.is_stopped

    async def kill(self, *, leaves_tmp: bool) -> str:
        self.leaves_tmp = leaves_tmp
        self.stop()
        return "memory"


class FakeMachine:
    def __init__(self) -> None:
        self.instances: list[FakeInstance] = []
        self.together = asyncio.Barrier(1)

    def is_ready(self, *_: object) -> bool:
        return True

    def short_mb(self) -> float:
        return 0.0

    def drop_kept(self) -> bool:
        return False

    def has_reset(self, *_: object) -> bool:
        return False

    def shed(self, _: float) -> None: ...

    def note_away(self, _: frozenset[str]) -> None: ...

    async def make_ready(self, *_: object, is_awaited: bool = False) -> None: ...

    async def start(
        self,
        _: Function,
        __: Revision,
        *,
        on_death: Callable[[], None],
        is_ahead: bool = False,
        is_kept: bool = False,
    ) -> FakeInstance:
        self.instances.append(FakeInstance(self.together))
        return self.instances[-1]


@dataclass
class Lending:
    """A lessor, and all that it deals with."""

    scheduler: Scheduler
    machine: FakeMachine
    clock: FakeClock
    admission: Admission = field(default_factory=Admission)
    limit: int = 10
    told: list[messages.FromCore] = field(default_factory=list)
    billed: list[Record] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unused: list[int] = field(default_factory=list)
    uses: int = 0
    has_files: bool = True
    """Whether a descriptor more can be open."""

    def __post_init__(self) -> None:
        self.function: Function | None = function()
        pages = new_page("epochs", Epochs.SIZE), new_page("marks", Marks.SIZE)
        self.epochs, self.marks = Epochs(pages[0], is_writer=True), Marks(pages[1])
        for page in pages:
            os.close(page)
        self.lessor = Lessor(
            self,
            borrowing=self.scheduler.borrowing,
            epochs=self.epochs,
            marks=self.marks,
            tell=self._tell,
            bill=self._bill,
            clock=self.clock,
            fail=self.failed.append,
        )

    def route(self, _: Address) -> Function | None:
        return self.function

    def take_place(self, function: Function) -> Place:
        owner, name = function.tenant_id, function.name
        slot = self.admission.admit(owner, name, limit=self.limit)

        def give_back(unused: int) -> None:
            self.unused.append(unused)
            self.admission.release(slot)

        def note_use() -> None:
            self.uses += 1

        return Place(uses=9, give_back=give_back, note_use=note_use)

    def _tell(self, message: messages.FromCore, descriptors: dict[str, int]) -> None:
        if descriptors and not self.has_files:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self.told.append(message)

    def _bill(self, record: Record, _: tuple[LogLine, ...]) -> None:
        self.billed.append(record)

    async def warm(self, count: int = 1) -> None:
        """So many instances, idle."""
        self.machine.together = asyncio.Barrier(count)
        runs = [self._run(number) for number in range(count)]
        await asyncio.gather(*runs)

    async def _run(self, number: int) -> Run:
        assert self.function is not None
        invocation = Invocation(
            request_id=f"r-{number}",
            tenant_id=self.function.tenant_id,
            function=self.function.name,
            payload=b"{}",
            arrived=0.0,
        )
        return await self.scheduler.run(
            self.function, invocation, note_cut=lambda _: None
        )

    def want(self) -> messages.Lend | None:
        """What is lent for one wish."""
        assert self.function is not None
        owner = self.function.tenant_id
        self.lessor.want(Address(owner, owner, self.function.name, ""))
        last = self.told[-1] if self.told else None
        return last if isinstance(last, messages.Lend) else None

    @property
    def taken(self) -> int:
        return self.admission.total


@pytest.fixture
async def lending() -> AsyncIterator[Lending]:
    clock, machine = FakeClock(), FakeMachine()
    async with Scheduler.running(machine, clock=clock) as scheduler:
        lending = Lending(scheduler, machine, clock)
        yield lending
        lending.lessor.close()
        lending.epochs.close()
        lending.marks.close()


async def test_an_idle_instance_is_lent_with_a_place_and_comes_back_with_it(
    lending: Lending,
) -> None:
    await lending.warm()
    lend = lending.want()
    assert lend is not None
    assert (lending.taken, lending.lessor.lent, lend.uses) == (1, 1, 9)
    assert not lending.scheduler.has_idle(lend.revision)

    lending.lessor.gave_back(
        messages.GaveBack(lend.lease, is_frozen=False, peak_memory_kb=1)
    )

    assert (lending.taken, lending.lessor.lent) == (0, 0)
    assert lending.scheduler.has_idle(lend.revision)


async def test_what_a_place_was_not_used_for_comes_back_with_it(
    lending: Lending,
) -> None:
    await lending.warm()
    lend = lending.want()
    assert lend is not None
    for number in range(4):
        lending.lessor.note_record(lend.lease, _record(f"r-{number}"), ())

    lending.lessor.gave_back(
        messages.GaveBack(lend.lease, is_frozen=False, peak_memory_kb=1)
    )

    assert lending.uses == 4
    assert lending.unused == [lend.uses - 4]


async def test_nothing_is_lent_where_nothing_is_idle(lending: Lending) -> None:
    assert lending.want() is None

    assert lending.taken == 0
    assert isinstance(lending.told[-1], messages.Route)


async def test_what_cannot_be_handed_over_for_want_of_files_costs_no_worker_its_life(
    lending: Lending,
) -> None:
    await lending.warm()
    lending.has_files = False

    assert lending.want() is None

    assert lending.failed == []
    assert (lending.taken, lending.lessor.lent) == (0, 0)
    lending.has_files = True
    assert lending.want() is not None


async def test_nothing_is_lent_over_a_limit(lending: Lending) -> None:
    await lending.warm(3)
    lending.limit = 2

    assert [lending.want() is not None for _ in range(3)] == [True, True, False]

    assert lending.taken == 2
    with pytest.raises(Throttled):
        lending.take_place(function())


async def test_what_cannot_be_lent_now_stays_and_its_place_comes_back(
    lending: Lending,
) -> None:
    await lending.warm()
    lending.machine.instances[0].can_be_lent = False

    assert lending.want() is None

    assert lending.unused == [9]
    assert (lending.taken, lending.lessor.lent) == (0, 0)
    lending.machine.instances[0].can_be_lent = True
    assert lending.want() is not None


async def test_only_so_many_are_lent_to_one_worker_at_once(
    lending: Lending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LEASES", 1)
    small = Lending(lending.scheduler, lending.machine, lending.clock)
    await small.warm(2)
    first = small.want()
    assert first is not None

    assert small.want() is None
    assert (small.taken, small.lessor.lent) == (1, 1)

    small.lessor.gave_back(
        messages.GaveBack(first.lease, is_frozen=False, peak_memory_kb=1)
    )
    again = small.want()
    assert again is not None
    assert again.slot == first.slot
    small.lessor.close()


async def test_what_its_board_says_of_an_earlier_lease_is_not_said_of_a_later_one(
    lending: Lending,
) -> None:
    await lending.warm()
    lend = lending.want()
    assert lend is not None
    lending.marks.begin(lend.slot, "earlier", 0.0)
    gave_back = messages.GaveBack(lend.lease, is_frozen=False, peak_memory_kb=1)

    lending.lessor.gave_back(gave_back)
    assert not lending.marks.is_running(lend.slot)
    lending.marks.begin(lend.slot, "earlier", 0.0)
    again = lending.want()

    assert again is not None
    assert again.slot == lend.slot
    assert lending.lessor.unused == 1
    lending.lessor.close()
    assert lending.billed == []


async def test_whose_leases_are_whose_and_which_of_them_run_is_known(
    lending: Lending,
) -> None:
    await lending.warm(2)
    running, idle = lending.want(), lending.want()
    assert running is not None
    assert idle is not None
    lending.marks.begin(running.slot, "r", 0.0)
    lessor, owner = lending.lessor, running.tenant

    numbers = [running.lease, idle.lease]
    assert [each.number for each in lessor.of_revision(running.revision)] == numbers
    assert [each.number for each in lessor.of_tenant(owner)] == numbers
    assert [each.number for each in lessor.of_tenant("")] == numbers
    assert lessor.of_revision("another") == lessor.of_tenant("another") == []
    assert [each.number for each in lessor.idle()] == [idle.lease]
    assert [lessor.is_running(each) for each in lessor.of_tenant("")] == [True, False]
    assert lessor.unused == 1


async def test_a_worker_hears_what_only_the_core_does_of_an_instance(
    lending: Lending,
) -> None:
    await lending.warm()
    lend = lending.want()
    assert lend is not None
    borrower = lending.machine.instances[0].borrower
    assert borrower is not None

    borrower.note_exit(9)
    borrower.note_zygote_lost(with_launcher=True)

    assert lending.told[-2:] == [
        messages.Exited(lend.lease, 9),
        messages.Lost(lend.lease, with_launcher=True),
    ]


async def test_what_is_to_be_refused_is_not_routed(lending: Lending) -> None:
    await lending.warm()
    lending.function, known = None, lending.function
    assert known is not None

    lending.lessor.want(Address(known.tenant_id, known.tenant_id, known.name, ""))

    assert lending.told == []


async def test_what_ended_is_stopped_and_gives_its_place_back(lending: Lending) -> None:
    await lending.warm()
    lend = lending.want()
    assert lend is not None

    lending.lessor.forgot(messages.Forgot(lend.lease))

    assert lending.machine.instances[0].is_stopped
    assert (lending.taken, lending.lessor.lent) == (0, 0)
    assert not lending.scheduler.has_idle(lend.revision)


async def test_a_worker_is_told_what_an_instance_was_killed_for(
    lending: Lending,
) -> None:
    await lending.warm()
    lend = lending.want()
    assert lend is not None

    await lending.lessor.kill(messages.Kill(lend.lease, leaves_tmp=True))
    await lending.lessor.kill(messages.Kill(999, leaves_tmp=True))

    assert lending.told[-2:] == [
        messages.Killed(lend.lease, "memory"),
        messages.Killed(999, ""),
    ]
    assert lending.machine.instances[0].leaves_tmp


async def test_what_a_dead_worker_ran_is_billed_once(lending: Lending) -> None:
    await lending.warm(3)
    leases = [lend for _ in range(3) if (lend := lending.want()) is not None]
    running, told, idle = leases
    lending.marks.begin(running.slot, "request-running", 0.0)
    lending.marks.begin(told.slot, "request-told", 0.0)
    lending.lessor.note_record(told.lease, _record("request-told"), ())

    lending.lessor.close()

    assert [record.request_id for record in lending.billed] == [
        "request-told",
        "request-running",
    ]
    assert lending.billed[1].error_type == CANCELLED
    timeout_s = function().current.config.timeout_s
    assert lending.billed[1].report.billed_ms == timeout_s * 1_000
    assert all(each.is_stopped for each in lending.machine.instances)
    assert (lending.taken, lending.lessor.lent) == (0, 0)
    assert idle.lease


async def test_what_a_dead_worker_ran_is_billed_until_it_was_found_dead(
    lending: Lending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 100.0))
    await lending.warm()
    lend = lending.want()
    assert lend is not None
    lending.marks.begin(lend.slot, "r", 98.75)

    lending.lessor.close()

    assert [record.report.billed_ms for record in lending.billed] == [1_250]


async def test_to_a_worker_that_is_dead_nothing_is_told_or_lent(
    lending: Lending,
) -> None:
    await lending.warm(2)
    lending.want()
    (lease,) = lending.lessor.idle()
    lending.lessor.close()
    told = list(lending.told)

    lending.lessor.recall(lease)
    lending.want()

    assert lending.told == told
    assert lending.lessor.lent == 0


async def test_the_scheduler_is_told_now_and_then_what_runs_under_a_lease(
    lending: Lending, monkeypatch: pytest.MonkeyPatch
) -> None:
    often_s, runs = module.NOTED_S, list[float]()
    moments = iter((100.0, 100.0 + often_s / 2, 100.0 + 2 * often_s))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=moments.__next__))
    monkeypatch.setattr(
        lending.scheduler.borrowing,
        "note_elsewhere",
        lambda _, *, run_s, memory_mb: runs.append(run_s),
    )
    await lending.warm()
    lend = lending.want()
    assert lend is not None

    for _ in range(3):
        lending.lessor.note_record(lend.lease, _record("r"), ())

    assert runs == [0.001, 0.001]


async def test_one_that_came_back_or_runs_costs_no_worker_its_life(
    lending: Lending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LATE_S", 0.0)
    await lending.warm(2)
    lends = [lend for _ in range(2) if (lend := lending.want()) is not None]
    back, running = lending.lessor.of_tenant("")
    lending.marks.begin(lends[1].slot, "r", 0.0)
    for lease in (back, running):
        lending.lessor.recall(lease)
    lending.lessor.gave_back(
        messages.GaveBack(back.number, is_frozen=False, peak_memory_kb=1)
    )

    for _ in range(20):
        await asyncio.sleep(0)
    assert lending.failed == []
    lending.marks.end(lends[1].slot)

    async def is_found_late() -> bool:
        return bool(lending.failed)

    await eventually(is_found_late)


async def test_an_idle_one_that_does_not_come_back_costs_the_worker_its_life(
    lending: Lending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LATE_S", 0.01)
    await lending.warm()
    lending.want()
    (lease,) = lending.lessor.idle()

    lending.lessor.recall(lease)
    lending.lessor.recall(lease)
    recalls = [each for each in lending.told if isinstance(each, messages.Recall)]
    assert len(recalls) == 1, "it is asked for once"
    async with asyncio.timeout(WAIT_S):
        while not lending.failed:  # noqa: ASYNC110 - a timer of the lessor's own
            await asyncio.sleep(0.01)

    assert "kept an idle instance" in lending.failed[0]


async def test_what_is_drained_waits_for_what_is_lent(lending: Lending) -> None:
    await lending.warm()
    lend = lending.want()
    assert lend is not None
    draining = asyncio.ensure_future(lending.scheduler.drain(lend.revision))
    await asyncio.sleep(0)
    assert not draining.done()

    lending.lessor.gave_back(
        messages.GaveBack(lend.lease, is_frozen=False, peak_memory_kb=1)
    )
    async with asyncio.timeout(WAIT_S):
        await draining

    assert lending.machine.instances[0].is_stopped


def _record(request_id: str) -> Record:
    report = SimpleNamespace(duration_ms=1.0, max_memory_used_mb=1)
    return SimpleNamespace(request_id=request_id, error_type="", report=report)  # type: ignore[return-value]
