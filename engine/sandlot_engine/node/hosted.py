"""One revision of a function on this machine: its zygote, and instances out of it.

Finds out once whether the revision may be forked after its import. Where it may not,
the zygote stops before the import, and every instance imports for itself.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from sandlot_engine.errors import Unavailable
from sandlot_engine.model.function import Function, InitMode, Revision
from sandlot_engine.node.environment import settings_of
from sandlot_engine.node.launchers import Launchers
from sandlot_sandbox.errors import SandboxError, ZygoteLost
from sandlot_sandbox.host.instance import Instance
from sandlot_sandbox.host.log_pipe import Line
from sandlot_sandbox.host.zygote import Recipe, Zygote
from sandlot_sandbox.limits import Limits

_ASKED_FOR = "per-instance init was asked for"
_TRIES = 2
"""How often a start is tried: what was lost under us deserves a second one."""

log = logging.getLogger(__name__)

Printed = Callable[[Function, tuple[Line, ...]], None]
"""Takes what an import printed."""


def _known_reason(function: Function, revision: Revision) -> str:
    """Why instances import for themselves, as far as it is known beforehand."""
    if revision.config.init_mode is InitMode.PER_INSTANCE:
        return _ASKED_FOR
    if function.serving is not None and function.serving.id == revision.id:
        # Found out when it was prepared, perhaps by an engine before this one.
        return function.fork_safety_reason
    return ""


class Hosted:
    """Shared by all invocations of the revision. `retire` ends it for good."""

    def __init__(
        self,
        function: Function,
        revision: Revision,
        *,
        launchers: Launchers,
        unpack: Callable[[Revision], Awaitable[object]],
        region: str,
        printed: Printed,
    ) -> None:
        self.function = function
        self.revision = revision
        self.last_used = time.monotonic()
        self.reason = _known_reason(function, revision)
        """Why instances import for themselves; empty where the zygote did."""

        self._launchers = launchers
        self._unpack = unpack
        self._region = region
        self._printed = printed
        self._zygote: Zygote | None = None
        self._starting: asyncio.Task[Zygote] | None = None
        self._is_retired = False

    def __repr__(self) -> str:
        state = "live" if self.is_live else "no zygote"
        return f"<Hosted {self.function.name} {self.revision.id[:8]} · {state}>"

    @property
    def is_live(self) -> bool:
        return self._zygote is not None and not self._zygote.is_lost

    @property
    def instances(self) -> int:
        return self._zygote.instances if self._zygote is not None else 0

    async def prepare(self) -> str:
        """Have a zygote running; returns `reason`. Raises `Unavailable`."""
        for attempt in range(1, _TRIES + 1):
            try:
                zygote = await self._live_zygote()
            except SandboxError as error:
                if attempt == _TRIES:
                    raise Unavailable(
                        f"no instance could be started: {error}"
                    ) from error
            else:
                zygote.prepare_cells()
                return self.reason
        raise AssertionError

    async def fork(self, on_death: Callable[[Instance], None]) -> Instance | None:
        """A new instance; None where there is no zygote, or it ended meanwhile.

        Raises `Unavailable`: surely nothing was started.
        """
        if self._zygote is None or self._zygote.is_lost:
            return None
        try:
            instance = await self._zygote.fork(on_death=on_death)
        except ZygoteLost:
            return None
        except SandboxError as error:
            raise Unavailable(f"no instance could be started: {error}") from error
        self.last_used = time.monotonic()
        return instance

    def retire(self) -> None:
        """Kill the zygote and everything in it; there will be no other."""
        self._is_retired = True
        self.rest()

    def replace_zygote(self) -> None:
        """Fork no more from this one: an instance of it did not come up in time, and
        nobody outside can tell whether a clone or the zygote itself is stuck."""
        if self._zygote is not None:
            self._zygote.kill_when_empty()
            self._zygote = None

    def rest(self) -> None:
        """Kill the zygote; the next invocation starts another."""
        if self._zygote is not None:
            self._zygote.kill()
            self._zygote = None

    async def _live_zygote(self) -> Zygote:
        if self._zygote is not None and not self._zygote.is_lost:
            return self._zygote
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    def _started(self, task: asyncio.Task[Zygote]) -> None:
        self._starting = None
        # Whoever waited has it; if all of them gave up, nobody else will look.
        if not task.cancelled():
            task.exception()

    async def _start(self) -> Zygote:
        await self._unpack(self.revision)
        if not self.reason:
            zygote, self.reason = await self._start_importing()
            if zygote is not None:
                return self._keep(zygote)
        zygote = await self._make(import_in_zygote=False)
        await self._wait_or_kill(zygote)
        return self._keep(zygote)

    async def _start_importing(self) -> tuple[Zygote | None, str]:
        """The zygote, or None and why the import has to be left to the instances."""
        zygote = await self._make(import_in_zygote=True)
        try:
            is_safe = await self._wait_or_kill(zygote)
        except SandboxError as error:
            if zygote.lost_with_launcher:
                raise
            self._report(zygote)
            return None, f"the import ended the process: {error}"
        self._report(zygote)
        if is_safe:
            return zygote, ""
        zygote.kill()
        return None, zygote.reason

    async def _make(self, *, import_in_zygote: bool) -> Zygote:
        config = self.revision.config
        settings = settings_of(
            self.function,
            self.revision,
            self._region,
            import_in_zygote=import_in_zygote,
        )
        recipe = Recipe(
            runtime=config.runtime,
            limits=Limits(
                memory_mb=config.memory_mb, tmp_mb=config.ephemeral_storage_mb
            ),
            code=self.revision.code.sha256,
            settings=settings,
        )
        return Zygote(await self._launchers.current(), recipe, on_lost=self._note_loss)

    async def _wait_or_kill(self, zygote: Zygote) -> bool:
        try:
            return await zygote.wait_ready()
        except asyncio.CancelledError:
            zygote.kill()
            raise

    def _keep(self, zygote: Zygote) -> Zygote:
        if self._is_retired:
            zygote.kill()
            raise Unavailable("the function was changed or deleted meanwhile")
        self._zygote = zygote
        return zygote

    def _report(self, zygote: Zygote) -> None:
        lines, _ = zygote.take_printed()
        if lines:
            self._printed(self.function, lines)

    def _note_loss(self, zygote: Zygote) -> None:
        if zygote is self._zygote:
            log.info("%r lost its zygote", self)
            self._zygote = None
