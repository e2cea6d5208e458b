"""What is done from time to time: who was idle too long goes, so do others where memory
is short, and what is expected comes back."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from sandlot_engine.clock import Clock
from sandlot_engine.errors import SandlotError
from sandlot_engine.scheduler.decisions import Decision
from sandlot_engine.scheduler.ports import Instance, Machine
from sandlot_engine.scheduler.standbys import Known, Standbys, ids_of
from sandlot_engine.scheduler.state import ClusterState
from sandlot_engine.troubles import LastingTrouble

MEMORY_S = 1.0
"""Between two looks at how much memory is left."""

LEAST_MB = 1.0
"""What an idle instance is taken to give back, where nobody knows better."""

_SWEEP_S = 5.0

_log = logging.getLogger(__name__)


class Upkeep:
    """The upkeep of one scheduler, which runs `sweep` and `watch_memory` beside it."""

    def __init__(
        self,
        state: ClusterState,
        machine: Machine,
        standbys: Standbys,
        *,
        clock: Clock,
        idle_s: float,
        find: Callable[[int], Instance | None],
        act: Callable[[list[Decision]], None],
        retire: Callable[[list[int]], None],
        aside: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
    ) -> None:
        self._state = state
        self._machine = machine
        self._standbys = standbys
        self._clock = clock
        self._idle_s = idle_s
        self._find = find
        self._act = act
        self._retire = retire
        self._aside = aside
        self.is_short = False
        """Whether memory is short: then nothing stands by that does not yet."""

        self._coming_back: asyncio.Task[None] | None = None

    async def sweep(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(min(_SWEEP_S, self._idle_s))
            now = self._clock.monotonic()
            self._standbys.sweep(now)
            self._tell_away(now)
            self.bring_back(now)
            self.retire_idle(since=now - self._idle_s)

    async def watch_memory(self) -> None:
        """For ever."""
        trouble = LastingTrouble(_log.warning)
        while True:
            await asyncio.sleep(MEMORY_S)
            try:
                self.relieve()
            except OSError as error:
                # No file can be opened just now: that ends no engine.
                trouble.tell("memory could not be looked at: %s", error)
            else:
                trouble.ended()

    def retire_idle(self, *, since: float) -> int:
        """Retire every instance that has been idle since before `since` and is not
        asked for, and sooner where a version's history says so; how many."""
        now = self._clock.monotonic()
        count = 0
        for version in tuple(self._state.versions):
            known = self._standbys.find(version)
            keep_s = now - since
            if known is not None:
                keep_s = known.history.keep_s(keep_s)
            for numbers in self._state.queues_of(version):
                count += self._retire_stale(numbers, since=now - keep_s)
        return count

    def _retire_stale(self, numbers: list[int], *, since: float) -> int:
        """Of these, of which the first has been idle longest."""
        count = 0
        for number in numbers:
            instance = self._find(number)
            if instance is not None and instance.idle_since > since:
                break
            # Asked one by one: each that goes leaves one less to spare.
            if self._state.is_unwanted(number):
                self._retire([number])
                count += 1
        return count

    def relieve(self) -> int:
        """Where memory is short, retire idle instances, the first to go first, until as
        much is given back as is missing; how many."""
        short_mb = self._machine.short_mb()
        self.is_short = short_mb > 0
        if self.is_short and self._machine.drop_kept():
            return 0
        count = 0
        for number in list(self._state.victims()) if self.is_short else ():
            instance = self._find(number)
            if short_mb <= 0:
                break
            if instance is not None and self._state.can_spare(number):
                short_mb -= max(LEAST_MB, instance.memory_mb)
                self._act(self._state.evict(number))
                count += 1
        if short_mb > 0:
            self._tell_away(self._clock.monotonic())
            self._machine.shed(short_mb)
        return count

    def _tell_away(self, now: float) -> None:
        self._machine.note_away(self._standbys.away(now))

    def bring_back(self, now: float) -> None:
        """What is expected soon and has gone meanwhile: one at a time."""
        if self._coming_back is not None and not self._coming_back.done():
            return
        for known in () if self.is_short else self._standbys:
            if known.history.is_coming_back(now) and not self._machine.is_ready(
                known.function, known.revision
            ):
                self._coming_back = self._aside(self._come_back(known))
                return

    async def _come_back(self, known: Known) -> None:
        try:
            await self._machine.make_ready(known.function, known.revision)
        except SandlotError as error:
            ids = ids_of(known.function)
            _log.warning("not back ahead: %s", error.message, extra=ids)
            known.history.note_lost()
        else:
            self._standbys.note_back(known.revision.id, self._clock.monotonic())
