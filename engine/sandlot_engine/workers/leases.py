"""The worker's side of leases: what it has been lent, and how it runs on that."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sandlot_engine.clock import Clock
from sandlot_engine.errors import Unavailable
from sandlot_engine.model.function import Function
from sandlot_engine.model.invocation import Invocation, LogLine, Record, Run
from sandlot_engine.node.borrowed import Borrowed, borrow
from sandlot_engine.workers import messages
from sandlot_engine.workers.boards import Marks
from sandlot_engine.workers.ledger import LedgerWriter
from sandlot_engine.workers.messages import Address
from sandlot_engine.workers.replica import NotHere, Replica
from sandlot_sandbox.host.minder import Minder

KEEP_S = 1.0
"""How long a lent instance is kept that nobody uses: others may need it, or its
place."""

_SWEEP_S = 0.25

Tell = Callable[[messages.FromWorker], None]


@dataclass(eq=False, slots=True)
class _Lease:
    number: int
    slot: int
    revision: str
    tenant: str
    epoch: int
    borrowed: Borrowed
    used_at: float
    uses_left: int
    is_recalled: bool = False


class Leases:
    """Satisfies `invocation.ports.Runner`, and takes the records of what it ran."""

    def __init__(
        self,
        replica: Replica,
        *,
        marks: Marks,
        ledger: LedgerWriter,
        tell: Tell,
        clock: Clock,
        region: str,
        fail: Callable[[str], None],
    ) -> None:
        self._replica = replica
        self._marks = marks
        self._ledger = ledger
        self._tell = tell
        self._clock = clock
        self._region = region
        self._fail = fail
        self._minder = Minder()
        self._leases: dict[int, _Lease] = {}
        self._idle: dict[str, list[_Lease]] = {}
        """By revision, newest last."""

        self._open: dict[str, _Lease] = {}
        """By request: what runs, or has run and was not told yet."""

        self._killing: dict[int, asyncio.Future[str]] = {}
        self._gone = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def __repr__(self) -> str:
        return f"<Leases {len(self._leases)}, {len(self._open)} at work>"

    async def wait_empty(self) -> None:
        """Until all that was lent is back with the core, or dead."""
        while self._leases:
            self._gone.clear()
            await self._gone.wait()

    # --- run ------------------------------------------------------------------------

    async def run(
        self,
        function: Function,
        invocation: Invocation,
        *,
        note_cut: Callable[[float], None],
    ) -> Run:
        """See `invocation.ports.Runner`. Raises `NotHere` where nothing is at hand:
        surely nothing has started then."""
        assert function.serving is not None  # noqa: S101
        lease = self._take(function.serving.id)
        if lease is None:
            owner = invocation.tenant_id
            name, qualifier = invocation.function, invocation.qualifier
            raise NotHere(Address(owner, owner, name, qualifier))
        began = self._clock.monotonic()
        self._open[invocation.request_id] = lease
        self._marks.begin(lease.slot, invocation.request_id, began)
        try:
            return await lease.borrowed.instance.run(
                function, invocation, wait_s=began - invocation.arrived
            )
        except asyncio.CancelledError:
            note_cut(self._clock.monotonic() - began)
            raise
        except Unavailable:
            # It ended while it was idle. The work did not start.
            raise NotHere from None
        finally:
            # After the record, which is told in this same step.
            self._loop.call_soon(self._put_back, invocation.request_id, lease)

    def check_writing(self) -> None:
        """What a worker may run, the core can write."""

    def append(self, record: Record, log: Sequence[LogLine]) -> None:
        """What was run, on its way to the core when this returns."""
        lease = self._open.get(record.request_id)
        try:
            self._ledger.write(lease.number if lease else 0, record, log)
        except OSError as error:
            # Nobody is answered what nobody can bill.
            self._fail(f"a record could not be told: {error}")
        if lease is not None:
            self._marks.end(lease.slot)

    def append_log(self, tenant_id: str, function: str, log: Sequence[LogLine]) -> None:
        """Never called: only of events, which are the core's."""
        raise AssertionError("a worker runs no events")

    def _take(self, revision: str) -> _Lease | None:
        idle = self._idle.get(revision)
        while idle:
            lease = idle.pop()
            if not self._replica.is_current(lease.tenant, lease.epoch):
                self._give_back(lease)
            elif lease.borrowed.instance.is_usable:
                lease.uses_left -= 1
                return lease
        return None

    def _put_back(self, request_id: str, lease: _Lease) -> None:
        self._open.pop(request_id, None)
        self._marks.end(lease.slot)
        if not lease.borrowed.instance.is_usable:
            self._forget(lease)
        elif lease.is_recalled or lease.uses_left <= 0:
            self._give_back(lease)
        else:
            lease.used_at = time.monotonic()
            self._idle.setdefault(lease.revision, []).append(lease)

    def _give_back(self, lease: _Lease) -> None:
        """Of one that nothing runs on."""
        self._drop_idle(lease)
        gone = lease.borrowed.give_back()
        if gone is None:
            return  # it has ended, and is forgotten when it is dead
        del self._leases[lease.number]
        self._gone.set()
        self._tell(messages.GaveBack(lease.number, *gone))

    def _forget(self, lease: _Lease) -> None:
        self._drop_idle(lease)
        if self._leases.pop(lease.number, None) is not None:
            self._gone.set()
            self._tell(messages.Forgot(lease.number))

    def _drop_idle(self, lease: _Lease) -> None:
        idle = self._idle.get(lease.revision)
        if idle is not None:
            if lease in idle:
                idle.remove(lease)
            if not idle:
                del self._idle[lease.revision]

    # --- heard ----------------------------------------------------------------------

    def lend(self, message: messages.Lend, descriptors: list[int]) -> None:
        """The core lends an instance."""
        number = message.lease
        if len(descriptors) != len(message.parts):
            # Too many files are open here: the kernel has dropped some.
            for fd in descriptors:
                os.close(fd)
            self._tell(messages.Forgot(number))
            return
        borrowed = borrow(
            descriptors=dict(zip(message.parts, descriptors, strict=True)),
            memory_mb=message.memory_mb,
            is_frozen=message.is_frozen,
            idle_since=message.idle_since,
            peak_memory_kb=message.peak_memory_kb,
            minder=self._minder,
            region=self._region,
            kill=lambda: self._kill(number, leaves_tmp=borrowed.leaves_tmp),
            on_death=partial(self._note_death, number),
        )
        lease = _Lease(
            number=number,
            slot=message.slot,
            revision=message.revision,
            tenant=message.tenant,
            epoch=message.epoch,
            borrowed=borrowed,
            used_at=time.monotonic(),
            uses_left=message.uses,
        )
        self._leases[number] = lease
        self._idle.setdefault(lease.revision, []).append(lease)

    def hear(
        self,
        message: messages.Recall | messages.Exited | messages.Lost | messages.Killed,
    ) -> None:
        if isinstance(message, messages.Killed):
            killing = self._killing.pop(message.lease, None)
            if killing is not None and not killing.done():
                killing.set_result(message.verdict)
            return
        lease = self._leases.get(message.lease)
        if lease is None:
            return
        if isinstance(message, messages.Exited):
            lease.borrowed.note_exit(message.status)
        elif isinstance(message, messages.Lost):
            lease.borrowed.note_zygote_lost(with_launcher=message.with_launcher)
        else:
            lease.is_recalled = True
            if lease in self._idle.get(lease.revision, ()):
                self._give_back(lease)

    async def _kill(self, number: int, *, leaves_tmp: bool) -> str:
        killing = self._killing.get(number)
        if killing is None:
            killing = self._killing[number] = self._loop.create_future()
            self._tell(messages.Kill(number, leaves_tmp=leaves_tmp))
        # Who stops waiting may ask again.
        return await asyncio.shield(killing)

    def _note_death(self, number: int) -> None:
        lease = self._leases.get(number)
        if lease is not None and lease not in self._open.values():
            self._forget(lease)

    # --- wanted ---------------------------------------------------------------------

    def want(self, address: Address) -> None:
        """Something was run elsewhere that could have been run here."""
        self._tell(messages.Want(address))

    def _sweep(self) -> None:
        """Give back what nobody has used for a while."""
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)
        since = time.monotonic() - KEEP_S
        for idle in list(self._idle.values()):
            for lease in list(idle):
                is_current = self._replica.is_current(lease.tenant, lease.epoch)
                if lease.used_at < since or not is_current:
                    self._give_back(lease)

    def close(self) -> None:
        """Give back all that is idle, and sweep no more."""
        self._sweeper.cancel()
        for idle in list(self._idle.values()):
            for lease in list(idle):
                self._give_back(lease)
