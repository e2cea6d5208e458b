"""The engine's hold on its workers, if it has any: what its other parts tell them, and
ask back from them."""

from collections.abc import Callable

from sandlot_engine.model.function import Function
from sandlot_engine.model.invocation import Invocation, Run
from sandlot_engine.scheduler.scheduler import Scheduler
from sandlot_engine.workers.pool import Pool


class Link:
    """Does nothing until there is a `pool`."""

    def __init__(self) -> None:
        self.pool: Pool | None = None

    def note_change(self, tenant_id: str) -> None:
        """See `Pool.note_change`."""
        if self.pool is not None:
            self.pool.note_change(tenant_id)

    def recall_revision(self, revision: str) -> None:
        """See `Pool.recall_revision`."""
        if self.pool is not None:
            self.pool.recall_revision(revision)

    def read_ledgers(self) -> None:
        """See `Pool.read_ledgers`."""
        if self.pool is not None:
            self.pool.read_ledgers()

    def hurry(self) -> None:
        """See `Pool.hurry`."""
        if self.pool is not None:
            self.pool.hurry()

    async def reclaim_places(self, tenant_id: str) -> bool:
        """See `Pool.reclaim_places`."""
        return self.pool is not None and await self.pool.reclaim_places(tenant_id)

    @property
    def lent(self) -> int:
        """Instances that are lent to workers."""
        return self.pool.lent if self.pool is not None else 0

    @property
    def unused(self) -> int:
        """How many of those that are lent nothing runs on."""
        return self.pool.unused if self.pool is not None else 0

    @property
    def restarts(self) -> int:
        return self.pool.restarts if self.pool is not None else 0


class Reclaiming:
    """Satisfies `invocation.ports.Runner`: has an instance back that a worker does not
    use, before another is started."""

    def __init__(self, scheduler: Scheduler, link: Link) -> None:
        self._scheduler = scheduler
        self._link = link

    async def run(
        self,
        function: Function,
        invocation: Invocation,
        *,
        note_cut: Callable[[float], None],
    ) -> Run:
        """See `invocation.ports.Runner`."""
        pool, revision = self._link.pool, function.serving
        if (
            pool is not None
            and revision is not None
            and not self._scheduler.has_idle(revision.id)
        ):
            await pool.reclaim_instance(revision.id)
        return await self._scheduler.run(function, invocation, note_cut=note_cut)
