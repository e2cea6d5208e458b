"""Revisions of which some instances are kept: started ahead, and again when that has
failed, until nobody wants them any more."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from sandlot_engine.errors import SandlotError
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.scheduler.decisions import Decision
from sandlot_engine.scheduler.ports import Machine
from sandlot_engine.scheduler.standbys import ids_of
from sandlot_engine.scheduler.state import ClusterState

PROVISION_EXTRA_S = 20.0
"""How much longer than an init may take `provision` waits for what it asked for; it is
tried for longer."""

PROVISION_AGAIN_S = 10.0
"""How long nothing is started ahead of a revision after that has failed."""

PROVISION_REST = 10
"""Or for so many times as long as it took until it failed: nobody pays for inits of
what is provisioned, and whoever has them fail at their end could compute for nothing.
"""

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Kept:
    """A revision of which some instances are kept."""

    function: Function
    revision: Revision
    count: int
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """All of them are initialised, or one could not be."""

    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    took_s: float = 0.0
    """The longest that one took until it failed, since they were last started."""

    keeper: asyncio.Task[None] | None = None


class Provisions:
    """Of one scheduler, which starts what the state decides on. What has failed is
    tried again after `again_s`."""

    def __init__(
        self,
        state: ClusterState,
        machine: Machine,
        *,
        again_s: float,
        now: Callable[[], float],
        act: Callable[[list[Decision]], None],
        aside: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
    ) -> None:
        self._state = state
        self._machine = machine
        self._again_s = again_s
        self._now = now
        self._act = act
        self._aside = aside
        self._kept: dict[str, Kept] = {}
        self._not_before: dict[str, float] = {}
        """When those that have failed may be tried again, whoever asks for it."""

    def find(self, revision: str) -> Kept | None:
        return self._kept.get(revision)

    def __contains__(self, revision: str) -> bool:
        return revision in self._kept

    async def provision(
        self, function: Function, revision: Revision, count: int
    ) -> int:
        """See `Scheduler.provision`."""
        if not count:
            self.keep_no_more(revision.id)
            return 0
        kept = self._kept.get(revision.id)
        if kept is None:
            kept = self._kept[revision.id] = Kept(function, revision, count)
            kept.keeper = self._aside(self._keep(kept))
        kept.count = count
        if self._state.kept_of(revision.id)[0] and not self._rest_s(revision.id):
            self._act(self._state.keep(revision.id, count, tenant=function.tenant_id))
        self.note_progress(revision.id)
        with contextlib.suppress(TimeoutError):
            limit_s = revision.config.init_ahead_s + PROVISION_EXTRA_S
            async with asyncio.timeout(limit_s):
                await kept.settled.wait()
        return min(count, self.provisioned(revision.id))

    def provisioned(self, revision: str) -> int:
        """How many of those that are kept of a revision are there now, and initialised.
        Never waits."""
        return min(self._state.kept_of(revision))

    def keep_no_more(self, revision: str) -> None:
        """Those there are become instances like any other."""
        kept = self._kept.pop(revision, None)
        if kept is not None:
            tenant = kept.function.tenant_id
            self._act(self._state.keep(revision, 0, tenant=tenant))
            kept.settled.set()
            if kept.keeper is not None:
                kept.keeper.cancel()

    def keep_nothing(self) -> None:
        """Of no revision."""
        for revision in tuple(self._kept):
            self.keep_no_more(revision)

    def note_progress(self, revision: str) -> None:
        """To be told whenever one was started, or could not be, or died unused."""
        kept = self._kept.get(revision)
        if kept is None:
            return
        wanted, ready = self._state.kept_of(revision)
        if self._state.is_stalled(revision):
            kept.stalled.set()
            kept.settled.set()
        elif wanted and ready >= wanted:
            kept.settled.set()
        else:
            kept.settled.clear()

    def note_failed(self, revision: str, *, took_s: float) -> None:
        """One could not be started, or died unused; its init took so long."""
        if (kept := self._kept.get(revision)) is not None:
            kept.took_s = max(kept.took_s, took_s)

    async def _keep(self, kept: Kept) -> None:
        """Have them started, and again after that has failed. Deaths of those that
        served are made good by the state."""
        revision, tenant, told = kept.revision.id, kept.function.tenant_id, ""
        while True:
            if rest_s := self._rest_s(revision):
                kept.settled.set()
                await asyncio.sleep(rest_s)
            kept.stalled.clear()
            kept.took_s, began = 0.0, self._now()
            try:
                if not self._machine.is_ready(kept.function, kept.revision):
                    # First, as for invocations: see `Scheduler._take`.
                    await self._machine.make_ready(kept.function, kept.revision)
            except SandlotError as error:
                if error.message != told:
                    # Once: it may be so for days, as of a tenant that is suspended.
                    told = error.message
                    _log.warning(
                        "nothing is started ahead: %s",
                        error.message,
                        extra=ids_of(kept.function),
                    )
                kept.settled.set()
                import_s = self._now() - began
            else:
                told = ""
                import_s = self._now() - began
                self._act(self._state.keep(revision, kept.count, tenant=tenant))
                self.note_progress(revision)
                await kept.stalled.wait()
            took_s = import_s + kept.took_s
            pause_s = max(self._again_s, took_s * PROVISION_REST)
            self._not_before[revision] = self._now() + pause_s
            await asyncio.sleep(pause_s)

    def _rest_s(self, revision: str) -> float:
        """How long it may not be tried yet."""
        now = self._now()
        over = [each for each, then in self._not_before.items() if then <= now]
        for each in over:
            del self._not_before[each]
        return max(0.0, self._not_before.get(revision, now) - now)
