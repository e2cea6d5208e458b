"""One invocation from the gateway's request to the outcome.

resolve → check → admit → run → outcome, and the record behind the caller's back.
The warm path touches no store, makes no task and takes no other thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from msgspec import Struct

from sandlot_engine.clock import Clock
from sandlot_engine.errors import (
    Conflict,
    CutShort,
    DeadlineExceeded,
    Internal,
    Refusal,
    Stopping,
    Throttled,
)
from sandlot_engine.events.attempts import SettingsOf
from sandlot_engine.events.lineage import RECURSION, is_loop
from sandlot_engine.events.queue import EventQueue
from sandlot_engine.events.verdicts import RETRY_DELAYS_S, Settings
from sandlot_engine.invocation import restore
from sandlot_engine.invocation.admission import (
    REQUESTS_PER_SLOT,
    Admission,
    Claims,
    Slot,
)
from sandlot_engine.invocation.checks import check
from sandlot_engine.invocation.detached import Detached
from sandlot_engine.invocation.once import WINDOW_S, Once
from sandlot_engine.invocation.ports import Runner
from sandlot_engine.invocation.report import (
    cancelled_outcome_of,
    outcome_of,
    record_of,
)
from sandlot_engine.metrics import Metrics
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.invocation import (
    Invocation,
    InvocationType,
    LogLine,
    Outcome,
    Record,
    Run,
    Status,
)
from sandlot_engine.model.network import Network
from sandlot_engine.store.event_ports import EventStore
from sandlot_engine.store.ports import AnswerStore
from sandlot_engine.timeouts import Timeouts

GRACE_S = 60.0
"""Beyond its function's timeout an invocation without a deadline may take this much
for waiting, starting and stopping. The runner has bounds of its own and ends every
run sooner; this one only makes sure that nothing waits for ever."""

Keep = Callable[[Record, Sequence[LogLine]], None]
"""Takes what is to be kept of an invocation that ran."""


class Accepted(Struct, frozen=True):
    """An invocation that nothing speaks against, with what runs it."""

    invocation: Invocation
    function: Function
    revision: Revision
    keep: Keep


class Resolver(Protocol):
    """The part of the catalog's functions that an invocation needs."""

    def resolve(self, tenant_id: str, name: str, qualifier: str) -> Function:
        """The version to run, or `NotFound`. From memory."""
        ...

    def reserved(self, tenant_id: str) -> Mapping[str, int]:
        """Concurrency of those functions that have a share of their own. From
        memory."""
        ...

    def may_recurse(self, tenant_id: str, name: str) -> bool:
        """Whether loops of the function are left alone. From memory."""
        ...


class Quotas(Protocol):
    """The part of the catalog's tenants that an invocation needs."""

    def concurrency(self, tenant_id: str) -> int:
        """How many invocations the tenant may have running. From memory."""
        ...

    def grant_network(self, tenant_id: str, network: Network) -> object:
        """Raise `PermissionDenied` where its functions may not have it. From memory."""
        ...


class Ledger(Protocol):
    """The part of the store's records that an invocation needs."""

    def check_writing(self) -> None:
        """Raise `Unavailable` where nothing is to be run, as it could not be billed."""
        ...

    def append(self, record: Record, log: Sequence[LogLine]) -> None:
        """Never waits; see `store.ports.RecordStore`."""
        ...

    def append_log(self, tenant_id: str, function: str, log: Sequence[LogLine]) -> None:
        """As well; of an event, whose record is kept with it."""
        ...


Reclaim = Callable[[str], Awaitable[bool]]
"""Has places of a tenant's concurrency back that are taken and not used; whether there
may be some now."""


class Invoker:
    """Runs invocations: the one way to a `Runner`, for every gateway.

    An async context manager: inside it events run, its own and those of engines before.
    Leaving it drains them, what runs without its caller, and extensions. `claims` tells
    from memory what of a tenant's is provisioned.
    """

    def __init__(
        self,
        *,
        functions: Resolver,
        quotas: Quotas,
        runner: Runner,
        records: Ledger,
        event_store: EventStore,
        clock: Clock,
        answers: AnswerStore,
        idempotency_s: float = WINDOW_S,
        metrics: Metrics | None = None,
        event_settings: SettingsOf = lambda _: Settings(),
        event_delays_s: Sequence[float] = RETRY_DELAYS_S,
        event_drain_s: float = 10.0,
        reclaim: Reclaim | None = None,
        claims: Callable[[str], Claims] = lambda _: {},
        requests_per_slot: int = REQUESTS_PER_SLOT,
    ) -> None:
        """`reclaim`, if there is one, is asked before a tenant is throttled."""
        self._functions = functions
        self._quotas = quotas
        self._runner = runner
        self._records = records
        self._clock = clock
        self._reclaim = reclaim
        self.metrics = metrics or Metrics(statuses=Status)
        self.admission = Admission(requests_per_slot=requests_per_slot)
        self._claims = claims
        self.events = EventQueue(
            event_store,
            self._attempt,
            event_settings,
            clock,
            delays_s=event_delays_s,
            drain_s=event_drain_s,
        )
        self._detached = Detached(clock, drain_s=event_drain_s)
        self.once = Once(answers, clock, self._detached, window_s=idempotency_s)
        self._finishing: set[asyncio.Task[None]] = set()
        """What goes on after answers."""

        self._drain_s = event_drain_s
        self._timeouts = Timeouts()
        self._is_hurried = False

    def __repr__(self) -> str:
        return f"<Invoker {self.admission!r} {self.events!r}>"

    async def __aenter__(self) -> Self:
        await self.events.__aenter__()
        await self._detached.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # At once, for whoever stops the engine has patience for one of them.
        await asyncio.gather(
            self._detached.__aexit__(kind, error, trace),
            self.events.__aexit__(kind, error, trace),
            self._drain_finishing(),
        )

    def hurry(self) -> None:
        """Whoever stops the engine does not wait: what runs is cut short, and nothing
        more is begun. Its time is billed as of a caller who went away."""
        self._is_hurried = True
        self._timeouts.expire_all()

    async def _drain_finishing(self) -> None:
        if self._finishing:
            await asyncio.wait(self._finishing, timeout=self._drain_s)
        finishing = list(self._finishing)
        for task in finishing:
            task.cancel()
        await asyncio.gather(*finishing, return_exceptions=True)

    def check_room(self, tenant_id: str) -> None:
        """Raise the `Throttled` that `invoke` would, where that is certain before it is
        looked at what is asked for: who asks without end is not to take others' time.
        """
        if self._reclaim is None and not self._functions.reserved(tenant_id):
            try:
                self.admission.check_total(
                    tenant_id, limit=self._quotas.concurrency(tenant_id)
                )
            except Throttled as refusal:
                self.metrics.note_throttled(refusal.reason)
                raise

    async def invoke(self, invocation: Invocation, deadline: float | None) -> Outcome:
        """Run the function and return how it ended; its failures are values.

        Raises a `Refusal` where it was not started, `DeadlineExceeded` when
        `deadline` (of the clock's `monotonic`) passes first, and a `Fault` where
        our side broke. A caller that goes away, by deadline or cancellation, has
        its slot given back, its instance destroyed and its time on it billed; but for
        what has an idempotency key or outlives its caller, which goes on.
        """
        if invocation.idempotency is not None:
            return await self.once.outcome(
                invocation, lambda: self._to_its_end(invocation), deadline
            )
        if invocation.outlives_caller:
            task = self._detached.start(self._to_its_end(invocation))
            return await self._detached.wait(task, deadline)
        return await self._invoke(invocation, deadline, self._records.append)

    async def _to_its_end(self, invocation: Invocation) -> Outcome:
        return await self._invoke(invocation, None, self._records.append)

    async def _invoke(
        self, invocation: Invocation, deadline: float | None, keep: Keep
    ) -> Outcome:
        accepted = self._accepted(invocation, keep)
        self._records.check_writing()
        if invocation.sink is not None:
            invocation.sink.version = accepted.function.version
        if deadline is not None and deadline <= self._clock.monotonic():
            raise DeadlineExceeded("the caller's deadline passed before the start")
        try:
            return await self._admitted(accepted, deadline)
        except Throttled as refusal:
            self.metrics.note_throttled(refusal.reason)
            raise

    def _accepted(self, invocation: Invocation, keep: Keep) -> Accepted:
        function = self._functions.resolve(
            invocation.tenant_id, invocation.function, invocation.qualifier
        )
        revision = function.serving
        if revision is None:
            raise Conflict(
                "The operation cannot be performed at this time. The function is "
                f"currently in the following state: {function.state.value}"
            )
        # Not at deploy alone: the operator may have taken it back since.
        self._quotas.grant_network(function.tenant_id, revision.config.network)
        check(invocation, revision.config)
        if invocation.lineage and invocation.type is not InvocationType.EVENT:
            self._check_loop(invocation)
        return Accepted(invocation, function, revision, keep)

    def _check_loop(self, invocation: Invocation) -> None:
        """Of an event it is seen when it is to run, and told to its destination."""
        tenant_id, name = invocation.tenant_id, invocation.function
        if not is_loop(invocation.lineage, tenant_id, name):
            return
        if not self._functions.may_recurse(tenant_id, name):
            raise Refusal(
                "Lambda has detected your function being invoked in a recursive loop "
                "with other Amazon Web Services resources and stopped your function's "
                f"invocation. Function {name!r} was part of what led to this too "
                "often; PutFunctionRecursionConfig with Allow lets it.",
                reason=RECURSION,
            )

    async def _admitted(self, accepted: Accepted, deadline: float | None) -> Outcome:
        try:
            slot = self._admit(accepted)
        except Throttled:
            tenant_id = accepted.invocation.tenant_id
            if self._reclaim is None or not await self._reclaim(tenant_id):
                raise
            slot = self._admit(accepted)
        try:
            return await self._run_until(accepted, deadline)
        finally:
            self.admission.release(slot)

    def _admit(self, accepted: Accepted) -> Slot:
        invocation = accepted.invocation
        tenant_id = invocation.tenant_id
        is_event = invocation.type is InvocationType.EVENT
        return self.admission.admit(
            tenant_id,
            invocation.function,
            limit=self._quotas.concurrency(tenant_id),
            reserved=self._functions.reserved(tenant_id),
            claims=self._claims(tenant_id),
            revision=accepted.revision.id,
            now=None if is_event else self._clock.monotonic(),
        )

    async def enqueue(self, invocation: Invocation) -> str:
        """Take an event to be run soon; it is on disk when this returns. One with the
        request id of another of its tenant's is that one, and does not run again.

        Returns its request id, which is an earlier one's where that had the same
        idempotency key.

        Raises as `invoke` does for what can be said at once, and `Throttled` where the
        tenant's queue is full."""
        if invocation.idempotency is not None:
            return await self.once.event(invocation, self._enqueue)
        await self._enqueue(invocation)
        return invocation.request_id

    async def _enqueue(self, invocation: Invocation) -> None:
        await self.dry_run(invocation)
        await self.events.enqueue(invocation)

    async def dry_run(self, invocation: Invocation) -> None:
        """Raise what `invoke` would, as far as that can be said without a run."""
        self._accepted(invocation, self._records.append)

    async def _attempt(
        self, event: Invocation, keep: Callable[[Record], None]
    ) -> Outcome:
        """Run an event once. Its record goes to `keep`, to be kept with what becomes of
        the event; only its log is written behind."""

        def split(record: Record, log: Sequence[LogLine]) -> None:
            keep(record)
            self._records.append_log(record.tenant_id, record.function, log)

        return await self._invoke(event, None, split)

    async def _run_until(self, accepted: Accepted, deadline: float | None) -> Outcome:
        if self._is_hurried:
            raise Stopping("the engine is stopping; send it again later")
        timeout_s = accepted.revision.config.timeout_s
        limit_s = (
            timeout_s + GRACE_S
            if deadline is None
            else deadline - self._clock.monotonic()
        )
        timer = self._timeouts.within(limit_s)
        try:
            with timer:
                return await self._run(accepted)
        except TimeoutError as error:
            if not timer.expired():
                raise
            name = accepted.invocation.function
            if self._is_hurried:
                raise CutShort(
                    f"the engine was stopped before function {name!r} answered; if it "
                    "ran, it was stopped"
                ) from error
            if deadline is None:
                raise Internal(
                    f"invocation {accepted.invocation.request_id} did not end within "
                    f"{limit_s:.0f} s"
                ) from error
            raise DeadlineExceeded(
                f"the caller's deadline passed before function {name!r} answered "
                f"(timeout {timeout_s} s); if it ran, it was stopped"
            ) from error

    async def _run(self, accepted: Accepted) -> Outcome:
        invocation = accepted.invocation
        run = await self._runner.run(
            accepted.function,
            invocation,
            note_cut=lambda ran_s: self._record_cut(accepted, ran_s),
        )
        if run.rest is not None:
            is_event = invocation.type is InvocationType.EVENT
            if not (invocation.tail_log or is_event):
                return self._answered(accepted, run)
            # Who asks for the end of the log waits for it; and an event's record is
            # kept with what becomes of the event.
            try:
                run = await run.rest()
            except BaseException:
                # It has answered; whoever does not wait for the rest pays for that.
                self._ended(accepted, run)
                raise
        outcome = self._ended(accepted, run)
        refusal = restore.refusal_of(accepted.function.name, outcome, run)
        if refusal is not None:
            raise refusal
        return outcome

    def _answered(self, accepted: Accepted, run: Run) -> Outcome:
        """The outcome so far, for the caller; record, log and bill follow when the
        function's extensions have done, and its slot is taken until then."""
        invocation = accepted.invocation
        slot = self.admission.keep(invocation.tenant_id, invocation.function)
        task = asyncio.create_task(self._finish(accepted, run, slot))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return _outcome_of(accepted, run, self._clock.now())

    async def _finish(self, accepted: Accepted, run: Run, slot: Slot) -> None:
        assert run.rest is not None  # noqa: S101
        try:
            run = await run.rest()
        finally:
            self.admission.release(slot)
            self._ended(accepted, run)

    def _ended(self, accepted: Accepted, run: Run) -> Outcome:
        ended = self._clock.now()
        outcome = _outcome_of(accepted, run, ended)
        self._record(accepted, outcome, ended)
        return outcome

    def _record_cut(self, accepted: Accepted, ran_s: float) -> None:
        ended = self._clock.now()
        outcome = cancelled_outcome_of(
            accepted.invocation,
            accepted.revision,
            version=accepted.function.version,
            ran_s=ran_s,
            ended=ended,
        )
        self._record(accepted, outcome, ended)

    def _record(self, accepted: Accepted, outcome: Outcome, ended: datetime) -> None:
        record = record_of(accepted.invocation, outcome, ended=ended)
        accepted.keep(record, outcome.log)
        self._count(record)

    def take_record(self, record: Record, log: tuple[LogLine, ...]) -> None:
        """Keep and count what a worker has run."""
        self._records.append(record, log)
        self._count(record)

    def _count(self, record: Record) -> None:
        report = record.report
        self.metrics.note_invocation(
            record.status.value,
            duration_s=report.duration_ms / 1_000,
            init_s=None if report.init_ms is None else report.init_ms / 1_000,
            wait_s=report.wait_ms / 1_000,
            billed_mb_ms=report.billed_mb_ms,
        )


def _outcome_of(accepted: Accepted, run: Run, ended: datetime) -> Outcome:
    return outcome_of(
        accepted.invocation,
        accepted.revision,
        run,
        version=accepted.function.version,
        ended=ended,
    )
