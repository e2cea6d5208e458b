"""What the scheduler needs from a node; `node.instances` has the real ones."""

from collections.abc import Callable
from typing import Protocol

from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.invocation import Invocation, Run


class Instance(Protocol):
    """One invocation at a time."""

    @property
    def is_usable(self) -> bool:
        """Whether it can serve an invocation now: alive, and not serving one."""
        ...

    @property
    def is_settling(self) -> bool:
        """Whether it has answered, and its extensions are at work: it may serve again
        when they have done."""
        ...

    async def wait_settled(self) -> bool:
        """Whether it is usable again, once that is known, within its function's
        timeout. Only where it `is_settling`."""
        ...

    @property
    def idle_since(self) -> float:
        """`time.monotonic` of its last answer."""
        ...

    @property
    def memory_mb(self) -> float:
        """What it used when it was idle last; 0 where nobody knows."""
        ...

    async def run(
        self,
        function: Function,
        invocation: Invocation,
        *,
        wait_s: float,
        init_counts: bool = False,
        is_standby: bool = False,
    ) -> Run:
        """Raises `Unavailable` where the work surely did not start, `Internal` where
        the instance was lost through our own fault.

        A new instance whose init takes longer than the init phase may ends as
        `INIT_TIMED_OUT`, unless `init_counts`: then the init is part of the
        function's timeout. One that stood by tells its init with its first run, as if
        it had been made for that: `is_standby`.
        """
        ...

    async def wait_ready(self, limit_s: float) -> bool:
        """Whether it is initialised, for one that has not run anything: False where it
        ended before, or took longer than `limit_s`."""
        ...

    def stop(self) -> None:
        """Destroy it in the background; harmless if it is dead."""
        ...


class Borrower(Protocol):
    """Who runs invocations on an instance that was lent to it, elsewhere."""

    def note_exit(self, status: int) -> None:
        """It has ended with this wait status, says its zygote."""
        ...

    def note_zygote_lost(self, *, with_launcher: bool) -> None:
        """It is dead, with its whole jail."""
        ...


class Loan(Protocol):
    """What a borrower is told of an instance."""

    @property
    def memory_mb(self) -> int: ...

    @property
    def is_frozen(self) -> bool: ...

    @property
    def idle_since(self) -> float: ...

    @property
    def peak_memory_kb(self) -> int: ...


class Lendable(Instance, Protocol):
    """An instance that another process can run for a while."""

    def lend(self, borrower: Borrower) -> tuple[Loan, dict[str, int]] | None:
        """What the borrower is told, and descriptors for it, which stay the instance's.
        None where it cannot be lent now."""
        ...

    def take_back(
        self,
        *,
        is_frozen: bool,
        peak_memory_kb: int,
        printed: tuple[tuple[float, bytes], ...],
    ) -> None:
        """It is idle, and the borrower has let go of it."""
        ...

    async def kill(self, *, leaves_tmp: bool) -> str:
        """Return when all of it is dead; what for, where somebody knows. The borrower
        says whether its /tmp may be the next one's."""
        ...


class Machine(Protocol):
    """Starts instances."""

    def is_ready(self, function: Function, revision: Revision) -> bool:
        """Whether an instance could be started at once."""
        ...

    def short_mb(self) -> float:
        """How much memory has to be given back now, in MB; 0 where none has to."""
        ...

    def drop_kept(self) -> bool:
        """Give back what is kept of instances that ended and for those to come, before
        any that live; whether it is to be looked again first at what is missing."""
        ...

    def has_reset(self, function: Function, revision: Revision) -> bool:
        """Whether the next start is of an environment that was reset: it has the /tmp
        of an instance that ended at work."""
        ...

    def shed(self, short_mb: float) -> None:
        """Give some of it back by what instances come from, of those that have none."""
        ...

    def note_away(self, revisions: frozenset[str]) -> None:
        """These are not expected before a while, and are made ready ahead of that: when
        others need room, what their instances come from goes first."""
        ...

    async def make_ready(
        self, function: Function, revision: Revision, *, is_awaited: bool = False
    ) -> None:
        """Start what instances come from; takes as long as the tenant's import. Where
        room is short, those whose callers wait come first: `is_awaited`.

        Raises `Unavailable`, and `Refusal` where it should have a snapshot and has
        none.
        """
        ...

    async def start(
        self,
        function: Function,
        revision: Revision,
        *,
        on_death: Callable[[], None],
        is_ahead: bool = False,
        is_kept: bool = False,
    ) -> Instance | None:
        """One that nobody waits for (`is_ahead`) does what it can before its first
        invocation; one that `is_kept` is of what its tenant has provisioned. None where
        it was not ready, or ceased to be. Raises `Unavailable`.

        `on_death` is called once, when the instance is useless.
        """
        ...
