"""Retiring revisions: all that runs of them is stopped, and then their files go."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from sandlot_engine.catalog.on_disk import OnDisk, of_revision
from sandlot_engine.catalog.preparing import Preparing
from sandlot_engine.catalog.uploads import Uploads
from sandlot_engine.errors import SandlotError
from sandlot_engine.model.function import Function, Revision

Retire = Callable[[str, str, str], Awaitable[None]]
"""`Node.retire`."""

_log = logging.getLogger(__name__)


class Retiring:
    """What it does may take as long as invocations do; run it beside the caller."""

    def __init__(
        self,
        uploads: Uploads,
        preparing: Preparing,
        on_disk: OnDisk,
        *,
        retire: Retire,
    ) -> None:
        self._uploads = uploads
        self._preparing = preparing
        self._on_disk = on_disk
        self._retire = retire

    async def all_of(
        self, functions: Iterable[Function], *, but: Function | None = None
    ) -> None:
        """Retire all revisions of versions that were deleted, or became `but`."""
        kept = but.revisions if but is not None else ()
        left = [
            (function, revision)
            for function in functions
            for revision in function.revisions
            if revision not in kept
        ]
        with ExitStack() as counted:
            for function, revision in left:
                counted.enter_context(self._counted(function.tenant_id, revision))
            for function, revision in left:
                await self._preparing.stop(revision)
                await self.one(function, revision)

    async def one(self, function: Function, revision: Revision) -> None:
        """A revision that is not being made ready any more."""
        try:
            # Until it has gone its files are mounted, also if its function has gone.
            with (
                self._uploads.holding(revision.hashes),
                self._counted(function.tenant_id, revision),
            ):
                await self._retire(function.tenant_id, function.name, revision.id)
            await self._uploads.discard_unused(revision.hashes)
        except SandlotError as error:
            # The function is gone or changed all the same. Its files stay, since
            # something may still have them mounted; the next start removes them.
            ids = {"tenant_id": function.tenant_id, "function": function.name}
            _log.error("not retired: %s", error.message, extra=ids)

    @contextmanager
    def _counted(self, tenant_id: str, revision: Revision) -> Iterator[None]:
        """On disk until its last invocation ends, for a quarter of an hour."""
        self._on_disk.add(tenant_id, of_revision(revision))
        try:
            yield
        finally:
            self._on_disk.remove(tenant_id, of_revision(revision))
