"""The engine's hold on the launcher: orders out, reports in."""

import asyncio
import itertools
import os
import socket
from collections.abc import Callable, Sequence

from sandlot_sandbox.errors import LauncherLost, StartFailed, ZygoteLost
from sandlot_sandbox.host.berth import Cell
from sandlot_sandbox.host.closer import close_tmp
from sandlot_sandbox.host.heirs import Estate
from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.host.mail import Mail
from sandlot_sandbox.host.minder import Minder
from sandlot_sandbox.host.spares import MAX_SPARES, Spares
from sandlot_sandbox.limits import Limits
from sandlot_sandbox.spec import (
    MAX_MESSAGE,
    CellDied,
    CellFailed,
    CellMade,
    Hello,
    KillCell,
    KillZygote,
    MakeCell,
    StartBuilder,
    StartZygote,
    ZygoteDied,
    ZygoteMade,
    decode_report,
    encode,
)

_PARTS_OF_A_CELL = 16
_KILL_CELL_S = 5.0
"""Then its whole jail is killed, which takes no warden; unless there is news of others
in there, as where the machine is swamped and many end at once."""

_KILL_CELL_AT_MOST_S = 30.0
"""Then it is killed whatever news there is: a zygote that does not reap one of its
instances may do so with others."""

_MAKE_CELL_S = 15.0
"""A cell takes a millisecond or two; a machine that is swamped, longer. After this long
without any news its warden is taken for stuck, and goes with its jail."""


class Launcher:
    """One launcher process. When it is lost, so are all its zygotes, and it stays lost.

    `on_lost` is called once, after the zygotes were told.
    """

    def __init__(
        self,
        channel: socket.socket,
        *,
        on_lost: Callable[[], None],
        spares: Spares | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._hello: asyncio.Future[Hello] = loop.create_future()
        self._numbers = itertools.count(1)
        self.minder = Minder()
        self.spares = spares or Spares(MAX_SPARES)
        self.estate = Estate(spares=self.spares.most)
        self._on_made: dict[int, Callable[[Hold], None]] = {}
        self._deaths: dict[int, Callable[[ZygoteDied], None]] = {}
        self._cells: dict[tuple[int, int], asyncio.Future[Cell]] = {}
        self._cell_deaths: dict[tuple[int, int], asyncio.Future[str]] = {}
        self._heard_at: dict[int, float] = {}
        """When there was news of a jail, by its zygote."""
        self._live_cells: set[tuple[int, int]] = set()
        self._dead_cells: dict[tuple[int, int], str] = {}
        """Cells that died before we had them killed, and what for."""
        self._on_lost = on_lost
        self._mail = Mail(
            channel,
            max_size=MAX_MESSAGE,
            max_descriptors=_PARTS_OF_A_CELL,
            on_message=self._hear,
            on_close=self._lose,
        )

    async def wait_hello(self) -> Hello:
        """What the launcher found this machine to enforce. Raises `LauncherLost`."""
        return await asyncio.shield(self._hello)

    @property
    def is_lost(self) -> bool:
        return not self._mail.is_open

    def start_zygote(
        self,
        runtime: str,
        limits: Limits,
        *,
        code: str,
        opt: str,
        network: str,
        allow: Sequence[str],
        as_program: bool = False,
        owner: int = 0,
        channel: int,
        log: int,
        on_made: Callable[[Hold], None],
        on_death: Callable[[ZygoteDied], None],
    ) -> int:
        """Order a zygote; takes the descriptors. `on_made` is called when its jail is
        complete, with what freezes the zygote; `on_death` once, with how it ended.

        Raises `LauncherLost`.
        """
        number = next(self._numbers)
        order = StartZygote(
            number,
            runtime,
            code,
            opt,
            limits.memory_mb,
            limits.tmp_mb,
            network,
            ",".join(allow),
            int(as_program),
            owner,
        )
        self._order_jail(order, (channel, log), on_death)
        self._on_made[number] = on_made
        return number

    def start_builder(
        self,
        runtime: str,
        *,
        place: str,
        channel: int,
        log: int,
        folder: int,
        packages: Sequence[int],
        on_death: Callable[[str], None],
    ) -> int:
        """Order a jail that unpacks packages; takes the descriptors. It is killed, and
        dies, as a zygote does.

        Raises `LauncherLost`.
        """
        number = next(self._numbers)
        self._order_jail(
            StartBuilder(number, runtime, place),
            (channel, log, folder, *packages),
            lambda died: on_death(died.detail),
        )
        return number

    def _order_jail(
        self,
        order: StartZygote | StartBuilder,
        descriptors: tuple[int, ...],
        on_death: Callable[[ZygoteDied], None],
    ) -> None:
        if self.is_lost:
            for fd in descriptors:
                os.close(fd)
            raise LauncherLost("the launcher is gone")
        self._deaths[order.zygote] = on_death
        self._note_heard(order.zygote)
        self._mail.send(encode(order), descriptors)

    def kill_zygote(self, zygote: int) -> None:
        """Its `on_death` is called when it is dead."""
        if zygote in self._deaths:
            self._mail.send(encode(KillZygote(zygote)))

    async def make_cell(self, zygote: int, *, heir_of: int = 0) -> Cell:
        """The heir of a cell that was killed to be kept has its /tmp.

        Raises `StartFailed` or `ZygoteLost`. A cell that nobody awaits is killed."""
        if zygote not in self._deaths:
            raise ZygoteLost(f"zygote {zygote} is gone")
        key = (zygote, next(self._numbers))
        future: asyncio.Future[Cell] = asyncio.get_running_loop().create_future()
        self._cells[key] = future
        self._mail.send(encode(MakeCell(*key, heir_of)))
        try:
            async with asyncio.timeout(_MAKE_CELL_S):
                return await future
        except TimeoutError:
            self._discard(key, future)
            if self._is_silent(zygote, _MAKE_CELL_S):
                # Its warden is stopped or starved: only a tenant can have done that.
                self.kill_zygote(zygote)
            raise StartFailed(f"no cell came within {_MAKE_CELL_S:g} s") from None
        except asyncio.CancelledError:
            self._discard(key, future)
            raise
        finally:
            # A cell that comes later finds nobody, and is killed.
            self._cells.pop(key, None)

    def _discard(self, key: tuple[int, int], future: asyncio.Future[Cell]) -> None:
        """A cell that came in the very moment in which nobody wanted it any more."""
        if future.done() and not future.cancelled() and future.exception() is None:
            future.result().close()
            self._mail.send(encode(KillCell(*key)))

    def keep_cell_no_more(self, zygote: int, cell: int) -> None:
        """Let go of what is kept of a cell that is dead."""
        if zygote in self._deaths:
            self._mail.send(encode(KillCell(zygote, cell)))

    async def kill_cell(self, zygote: int, cell: int, *, keeps: bool = False) -> str:
        """Return when every process in it is dead; at once if it is dead already. With
        `keeps` its /tmp stays until somebody is its heir, or `keep_cell_no_more`.

        What its jail had killed it for, if it had.
        """
        key = (zygote, cell)
        if zygote not in self._deaths or key not in self._live_cells:
            return self._dead_cells.pop(key, "")
        death = self._cell_deaths.get(key)
        if death is None:
            death = asyncio.get_running_loop().create_future()
            self._cell_deaths[key] = death
            self._mail.send(encode(KillCell(*key, int(keeps))))
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not death.done():
            # In turns, as the launcher or we may stand still: that takes nobody's jail.
            await asyncio.wait([death], timeout=_KILL_CELL_S)
            takes_too_long = loop.time() - began > _KILL_CELL_AT_MOST_S
            if death.done() or self._mail.is_late:
                continue
            if takes_too_long or self._is_silent(zygote, _KILL_CELL_S):
                # Its warden does not reap. The jail's death is a cell's death, too, and
                # needs nobody inside.
                self.kill_zygote(zygote)
                return await asyncio.shield(death)
        return death.result()

    def _note_heard(self, zygote: int) -> None:
        if zygote in self._deaths:
            self._heard_at[zygote] = asyncio.get_running_loop().time()

    def _is_silent(self, zygote: int, since_s: float) -> bool:
        """Whether there was no news of its jail for so long, while launcher and engine
        have read all that there is."""
        now = asyncio.get_running_loop().time()
        is_silent = now - self._heard_at.get(zygote, now) >= since_s
        return is_silent and not self._mail.is_late

    def close(self) -> None:
        """Hang up: the launcher kills every jail and exits."""
        if not self.is_lost:
            self._mail.close()
            self._forget_all()

    def _hear(self, datagram: bytes, descriptors: list[int]) -> None:
        report = decode_report(datagram)
        if isinstance(report, CellDied | ZygoteDied):
            for tmp in descriptors:
                close_tmp(tmp)
        if not isinstance(report, Hello):
            self._note_heard(report.zygote)
        match report:
            case Hello() as hello:
                self._hello.set_result(hello)
            case ZygoteMade(zygote=zygote, parts=parts):
                self._take_zygote(zygote, parts, descriptors)
            case CellMade(zygote=zygote, cell=cell, parts=parts):
                self._take_cell((zygote, cell), parts, descriptors)
            case CellFailed(zygote=zygote, cell=cell, detail=detail):
                future = self._cells.pop((zygote, cell), None)
                if future is not None and not future.done():
                    future.set_exception(
                        StartFailed(f"no cell could be made: {detail}")
                    )
            case CellDied(zygote=zygote, cell=cell, verdict=verdict):
                self._bury_cell((zygote, cell), verdict)
            case ZygoteDied() as died:
                self._bury(died)

    def _take_zygote(
        self, zygote: int, parts: list[str], descriptors: list[int]
    ) -> None:
        hold = Hold(dict(zip(parts, descriptors, strict=False)))
        on_made = self._on_made.pop(zygote, None)
        if on_made is not None and len(parts) == len(descriptors):
            on_made(hold)
            return
        hold.close()
        if on_made is not None:
            # What there was no room for was closed on its way: perhaps what freezes it.
            self.kill_zygote(zygote)

    def _take_cell(
        self, key: tuple[int, int], parts: list[str], descriptors: list[int]
    ) -> None:
        cell = Cell(key[1], tuple(zip(parts, descriptors, strict=False)))
        future = self._cells.pop(key, None)
        self._live_cells.add(key)
        is_wanted = future is not None and not future.done()
        if future is not None and is_wanted and len(parts) == len(descriptors):
            future.set_result(cell)
            return
        cell.close()
        self._mail.send(encode(KillCell(*key)))
        if future is not None and is_wanted:
            # What there was no room for was closed on its way.
            future.set_exception(StartFailed("we have too many open files"))

    def _bury_cell(self, key: tuple[int, int], verdict: str) -> None:
        was_live = key in self._live_cells
        self._live_cells.discard(key)
        if dying := self._cell_deaths.pop(key, None):
            dying.set_result(verdict)
        elif was_live and verdict:
            self._dead_cells[key] = verdict

    def _bury(self, died: ZygoteDied) -> None:
        zygote = died.zygote
        for key in [key for key in self._cells if key[0] == zygote]:
            future = self._cells.pop(key)
            if not future.done():
                future.set_exception(ZygoteLost(died.detail, started=died.started))
        for key in [key for key in self._cell_deaths if key[0] == zygote]:
            self._cell_deaths.pop(key).set_result("")
        for key in [key for key in self._live_cells if key[0] == zygote]:
            self._live_cells.remove(key)
        for key in [key for key in self._dead_cells if key[0] == zygote]:
            del self._dead_cells[key]
        self._on_made.pop(zygote, None)
        self._heard_at.pop(zygote, None)
        if (on_death := self._deaths.pop(zygote, None)) is not None:
            on_death(died)

    def _lose(self) -> None:
        self._forget_all()
        self._on_lost()

    def _forget_all(self) -> None:
        if not self._hello.done():
            self._hello.set_exception(LauncherLost("the launcher did not start"))
            # Somebody may have stopped waiting for it.
            self._hello.exception()
        for zygote in list(self._deaths):
            self._bury(ZygoteDied(zygote, "the launcher is gone", started=True))
