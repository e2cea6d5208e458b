"""Instances that somebody else runs invocations on for a while: a worker process."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sandlot_engine.clock import Clock
from sandlot_engine.model.function import Function
from sandlot_engine.scheduler.decisions import Decision
from sandlot_engine.scheduler.live import LiveInstances
from sandlot_engine.scheduler.ports import Lendable
from sandlot_engine.scheduler.standbys import Standbys
from sandlot_engine.scheduler.state import ClusterState
from sandlot_engine.scheduler.using import Using


@dataclass(frozen=True, slots=True)
class Borrowed:
    """An instance that somebody else runs invocations on; see `Borrowing.borrow`."""

    number: int
    instance: Lendable
    revision: str


class Borrowing:
    """Of one scheduler."""

    def __init__(
        self,
        state: ClusterState,
        live: LiveInstances,
        *,
        standbys: Standbys,
        using: Using,
        clock: Clock,
        act: Callable[[list[Decision]], None],
    ) -> None:
        self._state = state
        self._live = live
        self._standbys = standbys
        self._using = using
        self._clock = clock
        self._act = act

    def borrow(self, revision: str) -> Borrowed | None:
        """An idle instance of a revision, for whoever gives it `give_back`; None where
        there is none. Until then it counts as busy, and `drain` waits for it."""
        number = self._state.instance_borrowed(revision)
        if number is None:
            return None
        instance = self._live.find(number)
        self._live.note_used(number)
        if instance is None or not instance.is_usable:
            self._live.let_go(number, instance)
            return None
        self._using.begin(revision)
        # All that a machine starts can be lent; only tests have others.
        return Borrowed(number, cast("Lendable", instance), revision)

    def note_elsewhere(
        self, function: Function, *, run_s: float, memory_mb: float
    ) -> None:
        """An invocation ran on what was borrowed. Told of some of them is enough: of
        many within a moment, nothing is learned that one does not say."""
        revision = function.serving
        if revision is not None:
            now = self._clock.monotonic()
            history = self._standbys.note_arrival(function, revision, now)
            history.note_run(run_s=run_s, init_s=None, memory_mb=memory_mb)
            history.note_end(now)

    def give_back(self, borrowed: Borrowed) -> None:
        """What was borrowed; if it is not usable any more, it is destroyed."""
        if borrowed.instance.is_usable:
            self._act(self._state.instance_freed(borrowed.number))
        else:
            self._live.let_go(borrowed.number, borrowed.instance)
        self._using.end(borrowed.revision)
