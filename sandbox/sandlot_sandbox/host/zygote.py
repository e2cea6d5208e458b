"""The engine's hold on one zygote: settings in, forks out, notes back.

A zygote is the tenant's from its import on, so nothing here waits for it without a
deadline, and nothing it says is believed beyond "there is no instance, and why".
"""

import asyncio
import contextlib
import itertools
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from sandlot_sandbox import frames
from sandlot_sandbox.errors import LauncherLost, StartFailed, ZygoteLost
from sandlot_sandbox.host.berth import Berth, berth_of
from sandlot_sandbox.host.cells import AHEAD, Cells
from sandlot_sandbox.host.courier import WayIn
from sandlot_sandbox.host.crowd import Crowd
from sandlot_sandbox.host.extensions_api import Identity
from sandlot_sandbox.host.footprint import Footprint
from sandlot_sandbox.host.heirs import Heirs
from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.host.instance import Instance
from sandlot_sandbox.host.launcher import Launcher
from sandlot_sandbox.host.lending import LendableInstance
from sandlot_sandbox.host.log_pipe import Line, LogPipe
from sandlot_sandbox.host.mail import Mail
from sandlot_sandbox.host.notes import Notes
from sandlot_sandbox.host.pairs import pair_with_jail
from sandlot_sandbox.host.program_api import EXTERNAL_S
from sandlot_sandbox.host.recipe import Obstacle, Recipe
from sandlot_sandbox.host.reserve import MOST, Reserve
from sandlot_sandbox.host.stillborn import Credit
from sandlot_sandbox.host.window import Window
from sandlot_sandbox.limits import ZYGOTE_EXTRA_MB
from sandlot_sandbox.spec import EGRESS, ZygoteDied

START_S = 20.0
"""From the order to the import's beginning: the jail and the interpreter's start."""

FREEZE_AFTER_S = 1.0
"""How long a zygote runs on without anything to do: in a burst, none has to be thawed.
"""

HUNG_UP_S = 1.0
"""How long a jail may stay whose zygote does not hear us: it mostly is dead, and the
jail about to end by itself and to tell how."""

HAND_ON_EVERY_S = 0.02
"""Between two instances that are given what another has told."""

MAX_UNREPORTED = 4_096
"""Instances that are dead, and of which their zygote has not said how they ended: it
says so when it reaps them, before they are dead. Of more it will never."""

_FAREWELL_S = EXTERNAL_S + 1.0
"""Of all instances of a zygote that is to be killed, at most."""

_AHEAD_WITH_EGRESS = 1
"""Each takes two processes more, and of those there are few for all."""


class Zygote:
    """A running zygote; `on_lost` is called when it is gone. `crowd` is what its
    function's zygotes had of instances before. Making one raises `StartFailed` and
    `LauncherLost`."""

    def __init__(
        self,
        launcher: Launcher,
        recipe: Recipe,
        *,
        on_lost: Callable[["Zygote"], None],
        crowd: Crowd | None = None,
    ) -> None:
        self.reason = ""
        """Why the import was left to the instances; empty where it was not."""

        self.obstacle = Obstacle.NONE
        """The same, as one of a few."""

        self._launcher = launcher
        self._recipe = recipe
        self._on_lost = on_lost
        self._lost_because: str | None = None
        self._is_leaving = False
        self._notes = Notes()
        self._sheds = False
        """Whether its instances can give back memory. Its word: who lies has them run
        for some milliseconds more."""

        self._credit = Credit()
        self._footprint = Footprint(self._hand_on)
        self._instances: dict[int, Instance] = {}
        self._hold = Hold({})
        self._is_frozen = False
        self._look: asyncio.TimerHandle | None = None
        self._numbers = itertools.count(1)
        has_egress = recipe.network == EGRESS
        self._cells = Cells(
            self._make_berth,
            drop=self._kill_cell,
            spares=launcher.spares,
            ahead=_AHEAD_WITH_EGRESS if has_egress else AHEAD,
            owner=recipe.owner,
        )
        self._reserve = Reserve(
            self._cells,
            crowd or Crowd(),
            spares=launcher.spares,
            most=0 if has_egress else MOST,
        )
        self._heirs = Heirs(
            self._make_heir,
            drop=lambda cell: launcher.keep_cell_no_more(self._number, cell),
            kill=self._kill_cell,
            estate=launcher.estate,
        )
        self._killing: asyncio.TimerHandle | None = None
        self._open()

    def _open(self) -> None:
        """Raises `StartFailed` and `LauncherLost`."""
        with contextlib.ExitStack() as undo:
            try:
                channel, theirs = pair_with_jail(socket.SOCK_SEQPACKET)
                undo.callback(channel.close)
                undo.callback(theirs.close)
                read, write = os.pipe2(os.O_CLOEXEC)
            except OSError as error:
                raise StartFailed(f"no channel could be opened: {error}") from error
            undo.pop_all()
        self._log = LogPipe(read)
        self._mail = Mail(
            channel,
            max_size=frames.MAX_NOTE,
            max_descriptors=0,
            on_message=self._hear,
            on_close=self._kill_soon,
        )
        self._window = Window(self._mail, on_stuck=self.kill)
        try:
            self._number = self._launcher.start_zygote(
                self._recipe.runtime,
                self._recipe.limits,
                code=self._recipe.code,
                opt=self._recipe.opt,
                network=self._recipe.network,
                allow=self._recipe.allow,
                as_program=self._recipe.as_program,
                owner=self._recipe.owner,
                channel=theirs.detach(),
                log=write,
                on_made=self._take_hold,
                on_death=self._lose,
            )
        except LauncherLost:
            self._mail.close()
            self._log.close()
            raise
        self._mail.send(frames.encode_configure(dict(self._recipe.settings)))

    @property
    def is_lost(self) -> bool:
        return self._lost_because is not None

    @property
    def lost_with_launcher(self) -> bool:
        """Whether it died of no doing of its own."""
        return self.is_lost and self._launcher.is_lost

    @property
    def instances(self) -> int:
        return len(self._instances)

    @property
    def used_kb(self) -> int:
        """The memory that it uses with all of its instances, as far as anybody
        counts."""
        own = 0 if self.is_lost else self._hold.used_kb()
        of_all = sum(instance.idle.used_kb for instance in self._instances.values())
        return own + of_all + self._heirs.used_kb

    @property
    def has_heirs(self) -> bool:
        """Whether the next instance has the /tmp of one that ended at work."""
        return self._heirs.are_there

    def drop_kept(self) -> int:
        """Give back what is kept of instances that ended, and for those to come; how
        many cells these were."""
        self._heirs.drop_all()
        return self._reserve.drop()

    async def wait_ready(self) -> bool:
        """Whether it may be forked: False where the import must be left to instances.

        Raises `ZygoteLost`, or `StartFailed` where its interpreter did not start in
        time. `reason` says why not.
        """
        try:
            async with asyncio.timeout(START_S):
                await asyncio.shield(self._notes.started)
        except TimeoutError:
            self.kill()
            raise StartFailed(
                f"no interpreter had started in a jail after {START_S:g} s"
            ) from None
        try:
            async with asyncio.timeout(self._recipe.import_s):
                note = await asyncio.shield(self._notes.ready)
        except TimeoutError:
            self.kill()
            self.obstacle = Obstacle.LATE
            self.reason = f"the import took longer than {self._recipe.import_s:g} s"
            return False
        if note.kind == frames.ZYGOTE_READY:
            self._sheds = note.status == frames.SHEDS
            return True
        has_failed = note.status == frames.FAILED
        self.obstacle = Obstacle.FAILED if has_failed else Obstacle.UNSAFE
        self.reason = note.text
        return False

    def take_printed(self) -> tuple[tuple[Line, ...], int]:
        """What the import printed, and how many bytes of it were dropped."""
        return self._log.take()

    async def fork(
        self,
        *,
        on_death: Callable[[Instance], None],
        is_ahead: bool = False,
        is_kept: bool = False,
    ) -> LendableInstance:
        """A new instance; it takes its first event while it still initialises. One that
        `is_kept` finds in its environment that it is provisioned.

        One that nobody waits for (`is_ahead`) goes the way of an event once before it
        says that it is ready, so that its first event finds its pages written to.

        Raises `ZygoteLost` or `StartFailed`.
        """
        self._reserve.note_use()
        await self._window.enter()
        try:
            is_standby = is_ahead and not is_kept
            heir = await self._heirs.take() if self._may_inherit(is_standby) else None
            berth = heir or await self._cells.take()
        except BaseException:
            self._window.leave()
            raise
        self._window.note_sent()
        if self.is_lost:
            berth.close()
            raise ZygoteLost(self._lost_because or "")
        if self._is_leaving:
            self._cells.put_back(berth)
            raise ZygoteLost("its zygote is to be replaced")
        number = next(self._numbers)
        way_in = self._way_in(number, berth)
        # First of all, so that it wakes while we build our end.
        fork = frames.encode_fork(
            number, is_ahead=is_ahead, is_kept=is_kept, port=berth.port
        )
        self._mail.send(fork, berth.theirs)
        self._thaw()
        self._launcher.spares.hold(berth.files)
        wire = berth.wire(self._identity(is_kept=is_kept), way_in=way_in)
        if is_ahead:
            wire.take_footprint(self._footprint.pages)
        instance: LendableInstance = LendableInstance(
            wire,
            berth.log,
            extension_log=berth.extension_log,
            hold=berth.hold,
            minder=self._launcher.minder,
            memory_mb=self._recipe.limits.memory_mb,
            follows_reset=heir is not None,
            sheds=self._sheds and not is_kept,
            footprint=self._footprint if self._imports else None,
            kill=lambda: self._end_cell(berth.cell, instance),
            terminate=lambda: self._terminate(number),
            on_thaw=self._thaw,
            on_death=lambda dead: self._forget(number, dead, on_death, berth.files),
        )
        self._instances[number] = instance
        self._notes.expect(number)
        self._reserve.note_fork()
        return instance

    def _hand_on(self) -> None:
        """The footprint, to those that stood by before it was known."""
        self._hand_on_to(deque(self._instances.values()))

    def _hand_on_to(self, waiting: deque[Instance]) -> None:
        """One after another: nobody waits for that, and others may for a processor."""
        while waiting:
            if waiting.popleft().idle.take_footprint(self._footprint):
                loop = asyncio.get_running_loop()
                loop.call_later(HAND_ON_EVERY_S, self._hand_on_to, waiting)
                return

    def _may_inherit(self, is_standby: bool) -> bool:
        """Whether it may have an heir's cell. A standby that is a clone may not: heirs
        are for invocations, and it must not take what one waits for."""
        return not (is_standby and self._imports)

    @property
    def _imports(self) -> bool:
        """Whether its clones find the import done."""
        return bool(self._recipe.settings.get("import_in_zygote"))

    def _identity(self, *, is_kept: bool) -> Identity:
        if not is_kept:
            return self._recipe.identity
        return replace(self._recipe.identity, initialization="provisioned-concurrency")

    def _way_in(self, number: int, berth: Berth) -> WayIn | None:
        """For a courier, which only a program can be in want of."""
        if berth.api is None:
            return None
        spares = self._launcher.spares

        def order(descriptors: Sequence[int]) -> None:
            self._mail.send(frames.encode_courier(number), descriptors)
            self._thaw()

        way_in = WayIn(berth.theirs, order=order, on_close=spares.let_go)
        spares.hold(way_in.files)
        return way_in

    def kill(self) -> None:
        """Kill it, and every instance of it."""
        self._launcher.kill_zygote(self._number)

    def _kill_soon(self) -> None:
        """One that does not hear us is of no use."""
        loop = asyncio.get_running_loop()
        self._killing = loop.call_later(HUNG_UP_S, self.kill)

    def kill_gently(self) -> None:
        """Kill it when its instances are stopped; those with extensions have AWS's time
        for it."""
        instances = list(self._instances.values())
        for instance in instances:
            # At once useless to whoever is just being given it.
            instance.stop()
        if any(instance.has_farewell for instance in instances):
            asyncio.get_running_loop().call_later(_FAREWELL_S, self.kill)
            self.kill_when_empty()
        else:
            self.kill()

    def kill_when_empty(self) -> None:
        """Let the instances that it has end first. It must not be forked again."""
        self._is_leaving = True
        # What its instances need they have; cells are for those to come.
        self._reserve.close()
        self._cells.keep_none()
        if not self._instances:
            self.kill()

    def prepare_cells(self) -> None:
        """Have cells made ahead of time, so that forks need not wait for them."""
        self._reserve.prepare()

    def _terminate(self, number: int) -> None:
        self._mail.send(frames.encode_terminate(number))
        self._thaw()

    def _end_cell(self, cell: int, instance: Instance) -> Awaitable[str]:
        keeps = self._recipe.keeps_tmp and not self._is_leaving and not self.is_lost
        if not (keeps and instance.leaves_tmp and self._heirs.has_room):
            return self._kill_cell(cell)
        self._thaw()
        return self._heirs.end(
            cell, lambda: self._launcher.kill_cell(self._number, cell, keeps=True)
        )

    def _kill_cell(self, cell: int) -> Awaitable[str]:
        # It has to reap what dies in there.
        self._thaw()
        return self._launcher.kill_cell(self._number, cell)

    @property
    def _most_bytes(self) -> int:
        """What it may use with its clones. No /tmp is added: what an import leaves
        there, no instance would find."""
        limits = self._recipe.limits
        own = (limits.memory_mb + ZYGOTE_EXTRA_MB) << 20
        return own + limits.of_clones(len(self._instances))

    # Freezing: from its import on it is the tenant's, and may run when it has work.

    def _take_hold(self, hold: Hold) -> None:
        self._hold = hold

    def _thaw(self) -> None:
        if self._is_frozen:
            self._is_frozen = False
            self._hold.thaw()
        self._look_later()

    def _look_later(self) -> None:
        if self._look is None and not self.is_lost:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(FREEZE_AFTER_S, self._freeze_if_idle)

    def _freeze_if_idle(self) -> None:
        self._look = None
        is_ready = self._notes.ready.done()
        if is_ready and self._hold.uses_more_than(self._most_bytes):
            # Somebody who should have a cell is in the zygote's own group.
            self.kill()
        elif is_ready and all(map(_is_at_rest, self._instances.values())):
            self._is_frozen = self._hold.freeze()
            if self._hold.can_freeze and not self._is_frozen:
                self.kill()
        else:
            self._look_later()

    async def _make_heir(self, dead: int) -> Berth:
        return await self._make_berth(heir_of=dead)

    async def _make_berth(self, *, heir_of: int = 0) -> Berth:
        cell = await self._launcher.make_cell(self._number, heir_of=heir_of)
        try:
            return berth_of(cell)
        except StartFailed:
            await self._launcher.kill_cell(self._number, cell.number)
            raise

    def _hear(self, datagram: bytes, _: list[int]) -> None:
        try:
            note = self._notes.hear(datagram)
        except frames.Violation:
            # Until it is dead it may say what it likes; nobody listens.
            self._mail.close()
            self.kill()
            return
        instance = self._instances.get(note.instance)
        match note.kind:
            case frames.ZYGOTE_READY | frames.ZYGOTE_UNSAFE:
                self._look_later()
            case frames.INSTANCE_EXITED if instance is not None:
                instance.note_exit(note.status)
            case frames.FORK_FAILED if instance is not None:
                instance.note_start_failed(note.text, self._credit)

    def _forget(
        self,
        number: int,
        instance: Instance,
        on_death: Callable[[Instance], None],
        files: int,
    ) -> None:
        self._instances.pop(number, None)
        self._launcher.spares.let_go(files)
        self._reserve.note_end()
        if not instance.was_heard and self._window.is_stuck:
            # It leaves fork notes unread, and with each of them open files of ours.
            self.kill()
        if self._notes.unreported - len(self._instances) > MAX_UNREPORTED:
            # We would have to remember all of them.
            self.kill()
        if self._is_leaving and not self._instances:
            self.kill()
        on_death(instance)

    def _lose(self, died: ZygoteDied) -> None:
        # It may have said that it began, and ended before anybody read that.
        self._mail.read_rest()
        detail = self._lost_because = died.detail
        self._notes.end(died)
        for timer in (self._look, self._killing):
            if timer is not None:
                timer.cancel()
        self._hold.close()
        self._mail.close()
        self._log.close()
        self._cells.close(detail)
        self._reserve.close()
        self._heirs.close()
        self._window.close()
        for instance in list(self._instances.values()):
            instance.note_zygote_lost(with_launcher=self._launcher.is_lost)
        self._on_lost(self)


def _is_at_rest(instance: Instance) -> bool:
    """It needs no zygote. One that is being killed does, frozen as it may be: what dies
    in its cell is the zygote's to reap, and until then the cell is not dead."""
    return instance.idle.is_frozen and instance.is_usable
