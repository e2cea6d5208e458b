"""Imports that are tried again, where what they came to need not be their doing.

One that came late, or was killed, as on a machine that is swamped, is left to the
instances, which makes each of their starts slow; and what an engine before this one has
found out, this one may find to be otherwise. So the import is tried once more in the
background, beside the zygote that serves, while nobody else wants its place: after a
minute, and then ever less often.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sandlot_engine.node.snapshots import code_of
from sandlot_sandbox.host.recipe import Obstacle
from sandlot_sandbox.host.zygote import Zygote

AGAIN_S = 60.0
"""From a zygote's start to the first look, or from a look for which there was no
place to the next try; doubled with each look that has settled nothing."""

LONGEST_S = 3_600.0

AT_ONCE = 2
"""Looks of all versions together: each may keep a processor busy for as long as an
import may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What an import in a zygote came to."""

    zygote: Zygote | None
    """Which may be cloned; None where instances have to import for themselves."""

    reason: str = ""
    """Why they have to."""

    code: str = ""
    """AWS's code of a state, where it failed."""

    is_doubtful: bool = False
    """Whether it may come to something else another time."""


def cloned(zygote: Zygote) -> Import:
    """It may be."""
    return Import(zygote=zygote)


def left(zygote: Zygote) -> Import:
    """It may not be, for what the zygote says."""
    return Import(
        zygote=None,
        reason=zygote.reason,
        code=code_of(zygote.obstacle),
        is_doubtful=zygote.obstacle is Obstacle.LATE,
    )


class SecondLook:
    """Of one version. `look` tries the import once more, and tells whether it is known
    now what it comes to; `may_look` whether that is of use, and harms nobody."""

    def __init__(
        self,
        look: Callable[[], Awaitable[bool]],
        *,
        may_look: Callable[[], bool],
        is_doubtful: bool,
    ) -> None:
        self._look = look
        self._may_look = may_look
        self._is_doubtful = is_doubtful
        self._again_s = AGAIN_S
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._is_over = False

    @property
    def is_looking(self) -> bool:
        return self._looking is not None

    def note(self, found: Import) -> None:
        """What it has come to by now."""
        self._is_doubtful = found.is_doubtful

    def expect(self) -> None:
        """Instances import for themselves: look again later, if that is doubtful."""
        if self._is_doubtful and not (self._timer or self._looking or self._is_over):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._again_s, self._begin)

    def end(self) -> None:
        """There is no version any more."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()

    def _begin(self) -> None:
        self._timer = None
        if self._may_look():
            self._looking = asyncio.get_running_loop().create_task(self._run())
            self._looking.add_done_callback(self._ended)
        else:
            self.expect()

    async def _run(self) -> None:
        self._is_doubtful = not await self._look()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled():
            task.result()  # a bug, which is the loop's to tell of
            self._again_s = min(2 * self._again_s, LONGEST_S)
            self.expect()
