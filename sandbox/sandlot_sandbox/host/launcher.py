"""The engine's hold on the launcher: orders out, reports in."""

import asyncio
import itertools
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from sandlot_sandbox.errors import LauncherLost, StartFailed, ZygoteLost
from sandlot_sandbox.host.mail import Mail
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
    StartZygote,
    ZygoteDied,
    decode_report,
    encode,
)

_NAMESPACES_OF_A_CELL = 3
_KILL_CELL_S = 5.0
"""Then its whole jail is killed, which takes no warden."""

_MAKE_CELL_S = 15.0
"""A cell takes a millisecond or two; a machine that is swamped, longer."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that waits for its instance. Whoever takes it owns the descriptors."""

    number: int
    namespaces: tuple[int, ...]

    def close(self) -> None:
        for fd in self.namespaces:
            os.close(fd)


class Launcher:
    """One launcher process. When it is lost, so are all its zygotes, and it stays lost.

    `on_lost` is called once, after the zygotes were told.
    """

    def __init__(self, channel: socket.socket, *, on_lost: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._hello: asyncio.Future[Hello] = loop.create_future()
        self._numbers = itertools.count(1)
        self._deaths: dict[int, Callable[[str], None]] = {}
        self._cells: dict[tuple[int, int], asyncio.Future[Cell]] = {}
        self._cell_deaths: dict[tuple[int, int], asyncio.Future[None]] = {}
        self._on_lost = on_lost
        self._mail = Mail(
            channel,
            max_size=MAX_MESSAGE,
            max_descriptors=_NAMESPACES_OF_A_CELL,
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
        channel: int,
        log: int,
        on_death: Callable[[str], None],
    ) -> int:
        """Order a zygote; takes the descriptors. `on_death` is called once, with how.

        Raises `LauncherLost`.
        """
        if self.is_lost:
            for fd in (channel, log):
                os.close(fd)
            raise LauncherLost("the launcher is gone")
        number = next(self._numbers)
        self._deaths[number] = on_death
        order = StartZygote(number, runtime, code, limits.memory_mb, limits.tmp_mb)
        self._mail.send(encode(order), (channel, log))
        return number

    def kill_zygote(self, zygote: int) -> None:
        """Its `on_death` is called when it is dead."""
        if zygote in self._deaths:
            self._mail.send(encode(KillZygote(zygote)))

    async def make_cell(self, zygote: int) -> Cell:
        """Raises `StartFailed` or `ZygoteLost`. A cell that nobody awaits is killed."""
        if zygote not in self._deaths:
            raise ZygoteLost(f"zygote {zygote} is gone")
        key = (zygote, next(self._numbers))
        future: asyncio.Future[Cell] = asyncio.get_running_loop().create_future()
        self._cells[key] = future
        self._mail.send(encode(MakeCell(*key)))
        try:
            async with asyncio.timeout(_MAKE_CELL_S):
                return await future
        except TimeoutError:
            self._discard(key, future)
            # Its warden is stopped or starved, and only a tenant can have done that.
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

    async def kill_cell(self, zygote: int, cell: int) -> None:
        """Return when every process in it is dead; at once if it is dead already."""
        if zygote not in self._deaths:
            return
        key = (zygote, cell)
        death = self._cell_deaths.get(key)
        if death is None:
            death = asyncio.get_running_loop().create_future()
            self._cell_deaths[key] = death
            self._mail.send(encode(KillCell(*key)))
        try:
            async with asyncio.timeout(_KILL_CELL_S):
                await asyncio.shield(death)
        except TimeoutError:
            # Its warden does not reap. The jail's death is a cell's death, too, and
            # needs nobody inside.
            self.kill_zygote(zygote)
            await asyncio.shield(death)

    def close(self) -> None:
        """Hang up: the launcher kills every jail and exits."""
        if not self.is_lost:
            self._mail.close()
            self._forget_all()

    def _hear(self, datagram: bytes, descriptors: list[int]) -> None:
        match decode_report(datagram):
            case Hello() as hello:
                self._hello.set_result(hello)
            case CellMade(zygote=zygote, cell=cell):
                self._take_cell((zygote, cell), tuple(descriptors))
            case CellFailed(zygote=zygote, cell=cell, detail=detail):
                future = self._cells.pop((zygote, cell), None)
                if future is not None and not future.done():
                    future.set_exception(
                        StartFailed(f"no cell could be made: {detail}")
                    )
            case CellDied(zygote=zygote, cell=cell):
                if dying := self._cell_deaths.pop((zygote, cell), None):
                    dying.set_result(None)
            case ZygoteDied(zygote=zygote, detail=detail):
                self._bury(zygote, detail)

    def _take_cell(self, key: tuple[int, int], namespaces: tuple[int, ...]) -> None:
        cell = Cell(key[1], namespaces)
        future = self._cells.pop(key, None)
        if future is None or future.done():
            cell.close()
            self._mail.send(encode(KillCell(*key)))
        else:
            future.set_result(cell)

    def _bury(self, zygote: int, detail: str) -> None:
        for key in [key for key in self._cells if key[0] == zygote]:
            future = self._cells.pop(key)
            if not future.done():
                future.set_exception(ZygoteLost(detail))
        for key in [key for key in self._cell_deaths if key[0] == zygote]:
            self._cell_deaths.pop(key).set_result(None)
        if (on_death := self._deaths.pop(zygote, None)) is not None:
            on_death(detail)

    def _lose(self) -> None:
        self._forget_all()
        self._on_lost()

    def _forget_all(self) -> None:
        if not self._hello.done():
            self._hello.set_exception(LauncherLost("the launcher did not start"))
            # Somebody may have stopped waiting for it.
            self._hello.exception()
        for zygote in list(self._deaths):
            self._bury(zygote, "the launcher is gone")
