"""The core's side of leases: who has which instance, and how it comes back.

A lease is an idle instance and a place in its tenant's concurrency, lent together: so
that whatever workers run never goes over a limit, and nobody has to be asked before. It
ends when the worker gives it back, or says that the instance is of no use, or dies.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from sandlot_engine.clock import Clock
from sandlot_engine.errors import SandlotError
from sandlot_engine.invocation.report import cancelled_outcome_of, record_of
from sandlot_engine.model.function import Function
from sandlot_engine.model.invocation import Invocation, LogLine, Record
from sandlot_engine.scheduler.borrowing import Borrowed, Borrowing
from sandlot_engine.workers import messages
from sandlot_engine.workers.boards import MAX_LEASES, Epochs, Mark, Marks
from sandlot_engine.workers.messages import Address

RECALL_S = 0.05
"""How long somebody who needs an instance waits for one that is lent and idle. Longer
than a start takes, it would be of no use."""

PLACE_S = 1.0
"""How long somebody who would be throttled waits for a place that is lent and not used:
a worker that lives gives it back in less, on a busy machine, too."""

NOTED_S = 0.1
"""How often the scheduler is told what runs under a lease."""

LATE_S = 2.0
"""How long a worker may keep what it was asked for and does not use: then it hangs."""


class Catalog(Protocol):
    """What of the engine's catalog a lease depends on. All from memory."""

    def route(self, address: Address) -> Function | None:
        """The version that `address` leads to, for the tenant that asks; None where it
        leads to none, or to another one each time."""
        ...

    def take_place(self, function: Function) -> "Place":
        """In the concurrency of its tenant. Raises `Throttled`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Room for one invocation at a time."""

    uses: int
    """How many it is good for, one after another: then it has to be asked for anew."""

    give_back: Callable[[int], None]
    """To be called once, with how many of them were not needed."""

    note_use: Callable[[], None]
    """To be called for each."""


Tell = Callable[[messages.FromCore, dict[str, int]], None]
"""Sends to a worker, with copies of descriptors by their names; raises `OSError` where
no more can be open. Without descriptors it raises nothing."""

Bill = Callable[[Record, tuple[LogLine, ...]], None]


@dataclass(eq=False, slots=True)
class Lease:
    """One instance, lent."""

    number: int
    borrowed: Borrowed
    function: Function
    slot: int
    place: Place
    last_told: str = ""
    """The last request under it of which there is a record."""

    told: int = 0
    """Of how many there is one."""

    noted_at: float = 0.0
    """When the scheduler was told of the last of them that it was told of."""

    is_recalled: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def tenant_id(self) -> str:
        return self.function.tenant_id

    @property
    def revision(self) -> str:
        return self.function.current.id


class Lessor:
    """Lends to one worker."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        borrowing: Borrowing,
        epochs: Epochs,
        marks: Marks,
        tell: Tell,
        bill: Bill,
        clock: Clock,
        fail: Callable[[str], None],
    ) -> None:
        self._catalog = catalog
        self._borrowing = borrowing
        self._epochs = epochs
        self._marks = marks
        self._tell = tell
        self._bill = bill
        self._clock = clock
        self._fail = fail
        self._leases: dict[int, Lease] = {}
        self._free = list(reversed(range(MAX_LEASES)))
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Lessor {len(self._leases)} lent>"

    @property
    def lent(self) -> int:
        return len(self._leases)

    @property
    def unused(self) -> int:
        """Leases under which nothing runs now."""
        return sum(not self._marks.is_running(e.slot) for e in self._leases.values())

    def is_running(self, lease: Lease) -> bool:
        """Whether something runs under it now."""
        return self._marks.is_running(lease.slot)

    def idle(self) -> Iterator[Lease]:
        """Leases under which nothing runs now: also those that somebody has asked for
        already, who may need but one of several."""
        for lease in list(self._leases.values()):
            if not self._marks.is_running(lease.slot):
                yield lease

    def of_revision(self, revision: str) -> list[Lease]:
        return [each for each in self._leases.values() if each.revision == revision]

    def of_tenant(self, tenant_id: str) -> list[Lease]:
        """All there are for an empty id."""
        leases = self._leases.values()
        return [each for each in leases if tenant_id in ("", each.tenant_id)]

    # --- lent ---------------------------------------------------------------------

    def want(self, address: Address) -> None:
        """Tell the way, and lend an instance, as far as there is one to spare."""
        caller_epoch = self._epochs.of(address.caller)
        owner_epoch = self._epochs.of(address.owner)
        function = self._catalog.route(address)
        if function is None or self._is_closed:
            return
        # What is being made ready is not what serves.
        function = replace(function, pending=None)
        self._tell(
            messages.Route(
                address=address,
                function=without_secrets(function),
                caller_epoch=caller_epoch,
                owner_epoch=owner_epoch,
            ),
            {},
        )
        with contextlib.suppress(SandlotError):
            # Throttled: then nobody else's place is taken for it.
            self._lend(function, epoch=owner_epoch)

    def _lend(self, function: Function, *, epoch: int) -> None:
        if not self._free:
            return
        place = self._catalog.take_place(function)
        borrowed = self._borrowing.borrow(function.current.id)
        if borrowed is None:
            place.give_back(place.uses)
            return
        slot = self._free[-1]
        lease = Lease(borrowed.number, borrowed, function, slot=slot, place=place)
        lent = borrowed.instance.lend(_Borrower(lease, self._tell))
        if lent is None:
            place.give_back(place.uses)
            self._borrowing.give_back(borrowed)
            return
        self._free.pop()
        self._marks.end(lease.slot)
        self._leases[lease.number] = lease
        loan, fds = lent
        message = messages.Lend(
            lease=lease.number,
            revision=lease.revision,
            tenant=lease.tenant_id,
            slot=lease.slot,
            uses=place.uses,
            epoch=epoch,
            memory_mb=loan.memory_mb,
            is_frozen=loan.is_frozen,
            idle_since=loan.idle_since,
            peak_memory_kb=loan.peak_memory_kb,
            parts=tuple(sorted(fds)),
        )
        try:
            self._tell(message, fds)
        except OSError:
            # The worker has not heard of it, and forwards what it would have run there.
            self.gave_back(
                messages.GaveBack(
                    lease.number,
                    is_frozen=loan.is_frozen,
                    peak_memory_kb=loan.peak_memory_kb,
                )
            )

    # --- back ---------------------------------------------------------------------

    def recall(self, lease: Lease) -> None:
        """Ask for it back; it comes when it is idle."""
        if not lease.is_recalled and not self._is_closed:
            lease.is_recalled = True
            self._tell(messages.Recall(lease.number), {})
            loop = asyncio.get_running_loop()
            loop.call_later(LATE_S, self._check_came_back, lease)

    def _check_came_back(self, lease: Lease) -> None:
        if lease.ended.is_set() or self._is_closed:
            return
        if self._marks.is_running(lease.slot):
            # It has as long as its function has: look again.
            loop = asyncio.get_running_loop()
            loop.call_later(LATE_S, self._check_came_back, lease)
        else:
            self._fail(f"it kept an idle instance for {LATE_S:g} s")

    def gave_back(self, message: messages.GaveBack) -> None:
        """After all that was told of it was read."""
        lease = self._leases.get(message.lease)
        if lease is not None:
            lease.borrowed.instance.take_back(
                is_frozen=message.is_frozen,
                peak_memory_kb=message.peak_memory_kb,
                printed=message.printed,
            )
            self._end(lease)

    def forgot(self, message: messages.Forgot) -> None:
        lease = self._leases.get(message.lease)
        if lease is not None:
            lease.borrowed.instance.stop()
            self._end(lease)

    async def kill(self, message: messages.Kill) -> None:
        """End an instance, and say when all of it is dead, and what for."""
        lease = self._leases.get(message.lease)
        verdict = ""
        if lease is not None:
            instance = lease.borrowed.instance
            verdict = await instance.kill(leaves_tmp=message.leaves_tmp)
        self._tell(messages.Killed(message.lease, verdict), {})

    def note_record(
        self, number: int, record: Record, log: tuple[LogLine, ...]
    ) -> None:
        """A worker tells what it ran."""
        lease = self._leases.get(number)
        if lease is not None:
            lease.last_told = record.request_id
            lease.told += 1
            lease.place.note_use()
            self._note_history(lease, record)
        self._bill(record, log)

    def _note_history(self, lease: Lease, record: Record) -> None:
        now = time.monotonic()
        if now - lease.noted_at > NOTED_S:
            lease.noted_at = now
            self._borrowing.note_elsewhere(
                lease.function,
                run_s=record.report.duration_ms / 1_000,
                memory_mb=float(record.report.max_memory_used_mb),
            )

    def close(self) -> None:
        """The worker is dead, and all that it told was read: end what it had, and bill
        what it ran, up to what its function may take."""
        self._is_closed = True
        for lease in list(self._leases.values()):
            mark = self._marks.of(lease.slot)
            if mark is not None and mark.request_id != lease.last_told:
                self._bill_lost(lease, mark)
            lease.borrowed.instance.stop()
            self._end(lease)

    def _bill_lost(self, lease: Lease, mark: Mark) -> None:
        function, ended = lease.function, self._clock.now()
        ran_s = time.monotonic() - mark.since
        invocation = Invocation(
            request_id=mark.request_id,
            tenant_id=function.tenant_id,
            function=function.name,
            payload=b"",
            arrived=self._clock.monotonic() - ran_s,
        )
        outcome = cancelled_outcome_of(
            invocation,
            function.current,
            version=function.version,
            ran_s=ran_s,
            ended=ended,
        )
        self._bill(record_of(invocation, outcome, ended=ended), outcome.log)

    def _end(self, lease: Lease) -> None:
        del self._leases[lease.number]
        self._marks.end(lease.slot)
        self._free.append(lease.slot)
        lease.place.give_back(max(0, lease.place.uses - lease.told))
        self._borrowing.give_back(lease.borrowed)
        lease.ended.set()


class _Borrower:
    """Passes on what only the core hears of a lent instance."""

    def __init__(self, lease: Lease, tell: Tell) -> None:
        self._lease = lease
        self._tell = tell

    def note_exit(self, status: int) -> None:
        self._tell(messages.Exited(self._lease.number, status), {})

    def note_zygote_lost(self, *, with_launcher: bool) -> None:
        self._tell(messages.Lost(self._lease.number, with_launcher), {})


def without_secrets(function: Function) -> Function:
    """What a worker needs of it: its environment, only the zygote does."""
    revision = function.current
    config = replace(revision.config, environment={})
    return replace(function, serving=replace(revision, config=config), pending=None)
