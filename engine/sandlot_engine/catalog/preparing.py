"""Making revisions ready: a few at once, each in a task of its own, none for ever."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.life import Prepared
from sandlot_engine.errors import (
    SUSPENDED,
    Conflict,
    Internal,
    SandlotError,
    Unavailable,
)
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.network import Network

MAX_PREPARING = 8
"""Revisions that are made ready at once; the others wait."""

MAX_PREPARING_OF_TENANT = 2
"""Of those, one tenant's: an import may take as long as its tenant likes."""

MAX_SNAPSHOTS = 4
"""Versions with SnapStart at once, one of each tenant: their imports may take minutes,
and others do not wait for them."""

PREPARE_TIMEOUT_S = 120.0
"""For starting a zygote, once it is a revision's turn. A version with SnapStart has its
import's time besides."""

Prepare = Callable[[Function, Revision, Path], Awaitable[Prepared]]
"""`Node.prepare`."""

GrantNetwork = Callable[[str, Network], object]
"""`Rights.grant_network`."""

Settle = Callable[
    [Function, Revision, Prepared | SandlotError], Coroutine[Any, Any, None]
]
"""Told how it went; what it raises is logged."""

_log = logging.getLogger(__name__)


class Preparing:
    """The tasks, owned by a keeper; `settle` is called once for each that is not
    stopped before."""

    def __init__(
        self,
        keeper: Keeper,
        *,
        code_path: Callable[[Function, Revision], Awaitable[Path]],
        prepare: Prepare,
        grant_network: GrantNetwork,
        settle: Settle,
    ) -> None:
        self._keeper = keeper
        self._code_path = code_path
        self._prepare = prepare
        self._grant_network = grant_network
        self._settle = settle
        self._room = asyncio.Semaphore(MAX_PREPARING)
        self._shares: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MAX_PREPARING_OF_TENANT)
        )
        self._snapshot_room = asyncio.Semaphore(MAX_SNAPSHOTS)
        self._snapshot_shares: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(1)
        )
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """By revision id."""

        self._resumed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        """By tenant: what is set when that is suspended no more."""

    def begin(self, function: Function) -> None:
        """Make its pending revision ready, if there is one."""
        revision = function.pending
        if revision is None:
            return
        task = self._keeper.aside(self._make_ready(function, revision))
        self._tasks[revision.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(revision.id, None))

    def resume(self, tenant_id: str) -> None:
        """Go on with what had to wait, as its tenant was suspended."""
        self._resumed.pop(tenant_id, asyncio.Event()).set()

    async def ended(self, revision: Revision, *, within_s: float) -> None:
        """Return when it is ready or has been given up, and after `within_s`."""
        if task := self._tasks.get(revision.id):
            await asyncio.wait({task}, timeout=within_s)

    async def stop(self, revision: Revision) -> None:
        """Return when nobody makes it ready any more."""
        if task := self._tasks.get(revision.id):
            task.cancel()
            await asyncio.wait({task})

    async def _make_ready(self, function: Function, revision: Revision) -> None:
        prepared = await self._prepared_once_it_may(function, revision)
        try:
            await self._keeper.whole(self._settle(function, revision, prepared))
        except SandlotError as error:
            # The store knows it as unsettled: the next start makes it ready again.
            _log.error(
                "function stays unsettled: %s", error.message, extra=_ids(function)
            )

    async def _prepared_once_it_may(
        self, function: Function, revision: Revision
    ) -> Prepared | SandlotError:
        while True:
            # Before the attempt: its tenant may be resumed in the midst of one.
            resumed = self._resumed[function.tenant_id]
            try:
                return await self._prepared(function, revision)
            except Conflict as refusal:
                if refusal.reason != SUSPENDED:
                    return refusal
            except SandlotError as error:
                return error
            await resumed.wait()

    async def _prepared(self, function: Function, revision: Revision) -> Prepared:
        shares, room, limit_s = self._shares, self._room, PREPARE_TIMEOUT_S
        if function.has_snapshot:
            shares, room = self._snapshot_shares, self._snapshot_room
            limit_s += revision.config.init_ahead_s
        # The tenant's own share first: who waits for that holds nothing of others.
        async with shares[function.tenant_id]:
            try:
                # In a line of its own, whose every turn ends by itself.
                path = await self._code_path(function, revision)
                async with room, asyncio.timeout(limit_s):
                    # Again: it may have waited, also for an engine that stopped.
                    self._grant_network(function.tenant_id, revision.config.network)
                    return await self._prepare(function, revision, path)
            except SandlotError:
                raise
            except TimeoutError as error:
                raise Unavailable(
                    f"It was not ready after {limit_s:.0f} s. Update the "
                    "function to try again, or delete and create it."
                ) from error
            except Exception as error:  # a bug must not leave it pending for ever
                _log.exception("function not prepared", extra=_ids(function))
                raise Internal(
                    "The engine failed to start it; the operator's log says why."
                ) from error


def _ids(function: Function) -> dict[str, str]:
    return {"tenant_id": function.tenant_id, "function": function.name}
