"""One revision of a function on this machine: its zygote, and instances out of it.

Finds out once whether the revision may be forked after its import. Where it may not,
the zygote stops before the import, and every instance imports for itself.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from sandlot_engine.errors import SandlotError, Unavailable
from sandlot_engine.model.function import Function, InitMode, Revision
from sandlot_engine.model.network import Network
from sandlot_engine.node.launchers import Launchers
from sandlot_engine.node.recipes import has_wrapper, recipe_of
from sandlot_engine.node.second_looks import Import, SecondLook, cloned, left
from sandlot_engine.node.snapshots import INIT_FAILED, Snapshot
from sandlot_engine.node.unpaid_imports import (
    LOST,
    LOST_BACK,
    LOST_LEAST_S,
    LOST_S,
    TOO_MANY,
    Allowance,
)
from sandlot_sandbox.errors import SandboxError, StartFailed, ZygoteLost
from sandlot_sandbox.host.crowd import Crowd
from sandlot_sandbox.host.instance import Instance
from sandlot_sandbox.host.lending import LendableInstance
from sandlot_sandbox.host.log_pipe import Line
from sandlot_sandbox.host.zygote import Zygote

_ASKED_FOR = "per-instance init was asked for"
_A_PROGRAM = "every instance is a program of its own"
_EXTENSIONS = "its layers have extensions: every instance starts for itself"
_A_WRAPPER = "it has a wrapper script: every instance starts for itself"
_TRIES = 2
"""How often a start is tried: what was lost under us deserves a second one. So does an
import that was killed, which it may not have been for its memory."""

PROMISED_S = 10.0
"""How long a zygote that has not been forked is left to whom it was started for."""

log = logging.getLogger(__name__)

Printed = Callable[[Function, tuple[Line, ...]], None]
"""Takes what an import printed."""

Unpack = Callable[[Revision], Awaitable[bool]]
"""Has its files on disk; whether there are extensions in its layers."""

GrantNetwork = Callable[[str, Network], tuple[str, ...]]
"""What a function of that tenant may reach with that network although it is not public:
`Tenants.grant_network`. Raises `PermissionDenied`."""


class Places(Protocol):
    """Room for zygotes on this machine."""

    async def take_place(self, hosted: "Hosted", /) -> None:
        """Raises `Throttled` where there is none for it."""
        ...

    def give_back_place(self, hosted: "Hosted", /) -> None: ...

    def has_place(self, hosted: "Hosted", /) -> bool:
        """Whether one is free that nobody waits for, for a look that can wait."""
        ...

    def note_started(self, hosted: "Hosted", /) -> None:
        """What it took a place for is there, or is not to be had."""
        ...

    def note_learnt(self, hosted: "Hosted", /) -> None:
        """Its `reason` is another than when it was prepared."""
        ...


def _known_reason(function: Function, revision: Revision) -> str:
    """Why instances import for themselves, as far as it is known beforehand."""
    if revision.config.is_program:
        return _A_PROGRAM
    if has_wrapper(revision.config):
        return _A_WRAPPER
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
        places: Places,
        unpack: Unpack,
        grant_network: GrantNetwork,
        region: str,
        printed: Printed,
        crowd: Crowd,
        unpaid: Allowance,
    ) -> None:
        self.function = function
        self.revision = revision
        self.last_used = time.monotonic()
        self.reason = _known_reason(function, revision)
        """Why instances import for themselves; empty where the zygote did."""

        self._second_look = SecondLook(
            self._look_again,
            may_look=lambda: (
                self.is_live and places.has_place(self) and not unpaid.is_used_up
            ),
            # What no start has found out, an engine before this one has.
            is_doubtful=bool(self.reason),
        )
        self._unpaid = unpaid
        """What its tenant's imports may take, of all versions together."""

        self._lost = Allowance(LOST_S, LOST_BACK)
        """What imports may take whose zygotes have ended by themselves."""

        self.crowd = crowd
        """Its function's, of whatever revision."""

        self._snapshot: Snapshot | None = None
        if function.has_snapshot:
            serving = function.serving
            was_taken = serving is not None and serving.id == revision.id
            self._snapshot = Snapshot(was_taken=was_taken)
        self._has_extensions = False
        self._launchers = launchers
        self._places = places
        self._unpack = unpack
        self._grant_network = grant_network
        self._region = region
        self._printed = printed
        self._current: Zygote | None = None
        """The one that is forked."""

        self._zygotes: set[Zygote] = set()
        """All that are not dead yet: each has a place of its own."""

        self._importing: set[Zygote] = set()
        """Those of them that have imported, or are to: what they fork are clones."""

        self._import_s = 0.0
        """What the import took, the last time."""

        self._instances: set[Instance] = set()
        self._starting: asyncio.Task[Zygote] | None = None
        self._is_retired = False
        self._emptied = asyncio.Event()
        """Set whenever its last instance has died."""

        self.start_s = 0.0
        """What it took to have its zygote ready, the last time."""

        self.is_awaited = False
        """While it starts: whether somebody's caller waits for it."""

        self._promised = -math.inf
        """When somebody was told that it is ready, who has not forked it since."""

        self._forking = 0

    def __repr__(self) -> str:
        state = "live" if self.is_live else "no zygote"
        return f"<Hosted {self.function.name} {self.revision.id[:8]} · {state}>"

    @property
    def is_live(self) -> bool:
        """Whether an instance could be forked at once."""
        return self._current is not None and not self._current.is_lost

    @property
    def is_looking_again(self) -> bool:
        """Whether its import is tried once more, for nobody who waits."""
        return self._second_look.is_looking

    @property
    def is_busy(self) -> bool:
        """Whether anything of it is more than idle."""
        return self._forking > 0 or not all(
            instance.is_usable for instance in self._instances
        )

    @property
    def may_rest(self) -> bool:
        """Whether its zygote is there, and nobody has it or is about to."""
        is_promised = time.monotonic() - self._promised < PROMISED_S
        return self.is_live and not self.is_busy and not is_promised

    @property
    def zygotes(self) -> int:
        return len(self._zygotes)

    @property
    def instances(self) -> int:
        return len(self._instances)

    @property
    def used_mb(self) -> float:
        """How much memory it uses, as far as anybody counts that."""
        return sum(zygote.used_kb for zygote in self._zygotes) / 1024

    @property
    def has_reset(self) -> bool:
        """Whether the next instance has the /tmp of one that ended at work, and is
        there soon."""
        zygote = self._current
        return zygote is not None and zygote.has_heirs and not self.reason

    def drop_kept(self) -> int:
        """Give back what is kept of instances that ended, and for those to come; how
        many cells these were."""
        return sum(zygote.drop_kept() for zygote in self._zygotes)

    @property
    def has_instances(self) -> bool:
        return bool(self._instances)

    async def prepare(self, *, is_awaited: bool = True) -> str:
        """Have a zygote running; returns `reason`. `is_awaited` is whether a caller
        waits for it, or only an event.

        Raises `Unavailable`, `Throttled` where there is no room for it,
        `PermissionDenied` where its tenant may not have its network any more, and
        `Refusal` where its snapshot could not be taken.
        """
        self.is_awaited = self.is_awaited or is_awaited
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

    async def make_ready(self, *, is_awaited: bool) -> None:
        """`prepare` for somebody who forks it next: until then it does not rest."""
        await self.prepare(is_awaited=is_awaited)
        self._promised = time.monotonic()

    async def fork(
        self,
        on_death: Callable[[], None],
        *,
        is_ahead: bool = False,
        is_kept: bool = False,
    ) -> tuple[LendableInstance, Zygote] | None:
        """A new instance, and what it was forked from; None where there is no zygote,
        or it ended meanwhile. See `Zygote.fork` for `is_ahead` and `is_kept`.

        Raises `Unavailable`: surely nothing was started.
        """
        zygote = self._current
        if zygote is None or zygote.is_lost:
            return None
        self.last_used = time.monotonic()
        self._promised = -math.inf

        def bury(instance: Instance) -> None:
            self._instances.discard(instance)
            if instance.last_words:
                self.note_printed(instance.last_words)
            if not self._instances:
                self._emptied.set()
            on_death()

        self._forking += 1
        try:
            instance = await zygote.fork(
                on_death=bury, is_ahead=is_ahead, is_kept=is_kept
            )
        except ZygoteLost:
            return None
        except SandboxError as error:
            raise Unavailable(f"no instance could be started: {error}") from error
        finally:
            self._forking -= 1
        self._instances.add(instance)
        return instance, zygote

    def retire(self) -> None:
        """Kill all zygotes and everything in them; there will be no other. Extensions
        are told first."""
        self._is_retired = True
        self._current = None
        self._second_look.end()
        if self._starting is not None:
            self._starting.cancel()
        for zygote in list(self._zygotes):
            zygote.kill_gently()

    async def say_farewell(self) -> None:
        """Where instances have extensions: end for good, and return when they were
        told and are gone, as long as they have for it."""
        if any(instance.has_farewell for instance in self._instances):
            self._emptied.clear()
            self.retire()
            await self._emptied.wait()

    def rest(self) -> None:
        """Kill the zygote and its idle instances; who needs them starts another."""
        if self._current is not None:
            self._current.kill_gently()
            self._current = None

    def note_late_init(self, zygote: Zygote) -> None:
        """An instance forked from this did not come up in time, and nobody outside can
        tell whether the clone is stuck or the zygote: it is forked no more."""
        if not self.is_cloned(zygote):
            return  # the import is the instances' own, and it is what takes so long
        zygote.kill_when_empty()
        if zygote is self._current:
            self._current = None

    def is_cloned(self, zygote: Zygote) -> bool:
        """Whether instances that are forked from this are clones."""
        return zygote in self._importing

    def note_printed(self, lines: tuple[Line, ...]) -> None:
        """For the function's log, and nobody else's."""
        self._printed(self.function, lines)

    async def _live_zygote(self) -> Zygote:
        if self._is_retired:
            raise _retired()
        if self._current is not None and not self._current.is_lost:
            return self._current
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())
            self._starting.add_done_callback(self._started)
        starting = self._starting
        # Not awaited itself: a caller that gives up must not end it for the others.
        await asyncio.wait([starting])
        if starting.cancelled():
            raise _retired()
        return starting.result()

    def _started(self, task: asyncio.Task[Zygote]) -> None:
        self._starting = None
        self.is_awaited = False
        self._places.note_started(self)
        # Whoever waited has it; if all of them gave up, nobody else will look.
        if not task.cancelled():
            task.exception()

    async def _start(self) -> Zygote:
        began = time.monotonic()
        try:
            return await self._start_one()
        finally:
            self.start_s = time.monotonic() - began

    async def _start_one(self) -> Zygote:
        if self._snapshot is not None:
            self._snapshot.check()
        if await self._unpack(self.revision):
            self._has_extensions = True
            self.reason = self.reason or _EXTENSIONS
        if not self.reason and self._unpaid.is_used_up:
            self._leave_to_instances(TOO_MANY)
        if not self.reason:
            found = await self._start_importing()
            self._check_taken(found.reason, found.code)
            self._second_look.note(found)
            self.reason = found.reason
            if found.zygote is not None:
                return self._keep(found.zygote)
        zygote = await self._make(import_in_zygote=False)
        if not await self._wait_or_kill(zygote):
            # Nothing of the tenant's ran in there that could make it unsafe.
            zygote.kill()
            raise StartFailed(zygote.reason)
        if not self.reason and self._current is not None:
            zygote.kill()  # a second look was quicker
            return self._current
        if not self._has_extensions:
            self._second_look.expect()
        return self._keep(zygote)

    async def _start_importing(self) -> Import:
        for attempt in range(1, _TRIES + 1):
            zygote = await self._make(import_in_zygote=True)
            try:
                is_safe = await self._import_in(zygote)
            except ZygoteLost as error:
                if zygote.lost_with_launcher or not error.started:
                    raise
                self._report(zygote)
                if error.killed and attempt < _TRIES:
                    continue
                return Import(
                    zygote=None,
                    reason=f"the import ended the process: {error}",
                    code=INIT_FAILED,
                    is_doubtful=error.killed,
                )
            self._report(zygote)
            if is_safe:
                return cloned(zygote)
            zygote.kill()
            return left(zygote)
        raise AssertionError

    async def _import_in(self, zygote: Zygote) -> bool:
        began = time.monotonic()
        try:
            return await self._wait_or_kill(zygote)
        finally:
            self._import_s = time.monotonic() - began
            self._unpaid.take(self._import_s)

    async def _look_again(self) -> bool:
        """Try the import once more, beside the zygote that serves; whether that tells
        whether it may be cloned. One that may takes that zygote's place."""
        try:
            found = await self._start_importing()
        except (SandboxError, SandlotError):
            return False
        finally:
            self._places.note_started(self)
        if found.is_doubtful or (found.zygote is not None and found.zygote.is_lost):
            return False
        before, self.reason = self.reason, found.reason
        if found.zygote is not None:
            self._check_taken("", "")
            if self._current is None:
                found.zygote.kill()  # nobody has been in need of it meanwhile
            else:
                self._current.kill_when_empty()
                self._keep(found.zygote).prepare_cells()
        if before != self.reason:
            self._places.note_learnt(self)
        return True

    def _check_taken(self, why: str, code: str) -> None:
        """Raise where a snapshot was asked for, and its import failed."""
        if self._snapshot is None:
            return
        if code:
            raise self._snapshot.failure(why, code)
        self._snapshot.taken()

    async def _make(self, *, import_in_zygote: bool) -> Zygote:
        network = self.revision.config.network
        recipe = recipe_of(
            self.function,
            self.revision,
            region=self._region,
            import_in_zygote=import_in_zygote,
            has_extensions=self._has_extensions,
            has_snapshot=self._snapshot is not None,
            allow=self._grant_network(self.function.tenant_id, network),
        )
        await self._places.take_place(self)
        try:
            launcher = await self._launchers.current()
            zygote = Zygote(launcher, recipe, on_lost=self._note_loss, crowd=self.crowd)
        except BaseException:
            self._places.give_back_place(self)
            raise
        self._zygotes.add(zygote)
        if import_in_zygote:
            self._importing.add(zygote)
        return zygote

    async def _wait_or_kill(self, zygote: Zygote) -> bool:
        try:
            return await zygote.wait_ready()
        except BaseException:
            zygote.kill()
            raise

    def _keep(self, zygote: Zygote) -> Zygote:
        self._current = zygote
        self.last_used = time.monotonic()
        if zygote.is_lost:
            self._note_ended(zygote)  # in the moment before it was kept
        return zygote

    def _report(self, zygote: Zygote) -> None:
        lines, _ = zygote.take_printed()
        if lines:
            self.note_printed(lines)

    def _note_loss(self, zygote: Zygote) -> None:
        self._zygotes.discard(zygote)
        self._importing.discard(zygote)
        self._places.give_back_place(self)
        if zygote is self._current:
            self._current = None
            if not self._launchers.is_stopping:
                log.info("%r lost its zygote", self)
            self._note_ended(zygote)

    def _note_ended(self, zygote: Zygote) -> None:
        """By itself, unless it was with its launcher."""
        if zygote.lost_with_launcher or self.reason:
            return
        if self._lost.take(max(LOST_LEAST_S, self._import_s)):
            self._leave_to_instances(LOST)

    def _leave_to_instances(self, why: str) -> None:
        """From now on they import for themselves, until a second look."""
        self.reason = why
        self._second_look.note(Import(zygote=None, reason=why, is_doubtful=True))
        self._places.note_learnt(self)


def _retired() -> Unavailable:
    return Unavailable("the function was changed or deleted meanwhile")
