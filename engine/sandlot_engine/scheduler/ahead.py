"""Instances that are started before anybody asks for them: kept ones, and standbys.

Whether one is due `ClusterState` decides; standbys one at a time, a moment after they
were needed, so that starting them does not compete with the invocation that took one.
"""

import asyncio
import logging
from collections.abc import Callable

from sandlot_engine.errors import SandlotError
from sandlot_engine.scheduler.bounds import REFILL_S
from sandlot_engine.scheduler.decisions import Decision
from sandlot_engine.scheduler.live import LiveInstances
from sandlot_engine.scheduler.provisions import Provisions
from sandlot_engine.scheduler.standbys import Standbys, ids_of
from sandlot_engine.scheduler.state import ClusterState

_log = logging.getLogger(__name__)


class Ahead:
    """What one scheduler starts ahead. No standby is refilled while memory
    `is_short`."""

    def __init__(
        self,
        state: ClusterState,
        live: LiveInstances,
        *,
        provisions: Provisions,
        standbys: Standbys,
        is_short: Callable[[], bool],
        now: Callable[[], float],
        act: Callable[[list[Decision]], None],
    ) -> None:
        self._state = state
        self._live = live
        self._provisions = provisions
        self._standbys = standbys
        self._is_short = is_short
        self._now = now
        self._act = act
        self._refill: asyncio.TimerHandle | None = None
        self._is_over = False

    async def start(self, revision: str) -> None:
        """One of a revision, as the state decided, and initialise it."""
        wanted = self._provisions.find(revision) or self._standbys.find(revision)
        if wanted is None:
            # It was given up between the decision and now.
            self._act(self._state.start_ended(revision, None, ahead=True))
            return
        number, began = None, self._now()
        try:
            number = await self._live.start(
                wanted.function, wanted.revision, revision, ahead=True
            )
        except SandlotError as error:
            ids = ids_of(wanted.function)
            _log.warning("not started ahead: %s", error.message, extra=ids)
        limit_s = wanted.revision.config.init_ahead_s
        if number is None or not await self._initialise(number, limit_s):
            self.note_failed(revision, took_s=self._now() - began)
        self._provisions.note_progress(revision)

    async def _initialise(self, number: int, limit_s: float) -> bool:
        """Until it is initialised nobody is given it; its place to start in is free."""
        instance = self._live.find(number)
        if instance is None:
            return False
        began = self._now()
        if await instance.wait_ready(limit_s):
            self._live.note_ready(number, init_s=self._now() - began)
            self._act(self._state.instance_freed(number))
            return True
        self._live.note_death(number)
        instance.stop()
        return False

    def note_failed(self, revision: str, *, took_s: float) -> None:
        """One could not be started, or died before anybody used it; its init took so
        long."""
        self._standbys.note_failed(revision, self._now(), took_s=took_s)
        self._provisions.note_failed(revision, took_s=took_s)

    def refill_later(self) -> None:
        """To be told whenever something was decided: a standby may be due."""
        if not self._state.due or self._refill is not None:
            return
        if not (self._is_over or self._is_short()):
            self._refill = asyncio.get_running_loop().call_later(
                REFILL_S, self._refill_now
            )

    def _refill_now(self) -> None:
        self._refill = None
        if not self._is_short():
            self._act(self._state.refill())

    def refill_no_more(self) -> None:
        """The scheduler is about to go."""
        self._is_over = True
        if self._refill is not None:
            self._refill.cancel()
