"""The launcher's loop: orders from the engine, news from the jails. One thread.

It never waits for anybody but all of them at once. When the engine's end of the
channel is closed, every jail is killed and the launcher exits.
"""

import logging
import os
import selectors
import socket
from collections.abc import Callable

from sandlot_sandbox.guest import warden
from sandlot_sandbox.launcher import zygotes
from sandlot_sandbox.limits import Limits
from sandlot_sandbox.spec import (
    MAX_MESSAGE,
    BadMessage,
    CellDied,
    CellFailed,
    CellMade,
    KillCell,
    KillZygote,
    MakeCell,
    Report,
    StartZygote,
    ZygoteDied,
    decode_order,
    encode,
)

_MAX_DESCRIPTORS = 8
_SEND_S = 10.0
"""How long the engine may leave its mail unread before we take it for dead."""

log = logging.getLogger("sandlot.launcher")


class Server:
    """Owns the jails. `serve` returns when the engine is gone."""

    def __init__(self, engine: socket.socket, setting: zygotes.Setting) -> None:
        self._engine = engine
        self._engine.settimeout(_SEND_S)
        self._setting = setting
        self._zygotes: dict[int, zygotes.Zygote] = {}
        self._selector = selectors.DefaultSelector()
        self._engine_is_there = True

    def serve(self) -> None:
        self._watch(self._engine, self._hear_engine)
        try:
            while self._engine_is_there:
                for key, _ in self._selector.select():
                    key.data()
        finally:
            self._kill_all()

    def _hear_engine(self) -> None:
        try:
            datagram, descriptors, _, _ = socket.recv_fds(
                self._engine, MAX_MESSAGE, _MAX_DESCRIPTORS
            )
        except ConnectionError:
            datagram, descriptors = b"", []
        try:
            if not datagram:
                self._engine_is_there = False
            else:
                self._obey(datagram, descriptors)
        finally:
            for fd in descriptors:
                os.close(fd)

    def _obey(self, datagram: bytes, descriptors: list[int]) -> None:
        try:
            order = decode_order(datagram)
        except BadMessage as error:
            log.error("an order was not understood: %s", error)  # noqa: TRY400 - ours
            return
        match order:
            case StartZygote():
                self._start(order, descriptors)
            case MakeCell():
                self._make_cell(order)
            case KillCell(zygote=number, cell=cell):
                zygote = self._zygotes.get(number)
                if zygote is None or cell not in zygote.cells:
                    self._tell(CellDied(number, cell))
                else:
                    zygote.kill_cell(cell)
            case KillZygote(zygote=number):
                zygote = self._zygotes.get(number)
                if zygote is None:
                    self._tell(ZygoteDied(number, "there is no such zygote"))
                else:
                    zygote.kill()

    def _start(self, order: StartZygote, descriptors: list[int]) -> None:
        if order.zygote in self._zygotes:
            log.error("zygote %d was ordered twice", order.zygote)
            return
        try:
            channel, log_pipe = descriptors
            zygote = zygotes.start(
                self._setting,
                order.zygote,
                self._setting.runtimes[order.runtime],
                Limits(memory_mb=order.memory_mb, tmp_mb=order.tmp_mb),
                code=order.code,
                channel=channel,
                log=log_pipe,
            )
        except KeyError:
            detail = f"there is no runtime {order.runtime!r} here"
            self._tell(ZygoteDied(order.zygote, detail))
        except (OSError, ValueError, IndexError) as error:
            detail = f"the jail could not be made: {type(error).__name__} {error}"
            self._tell(ZygoteDied(order.zygote, detail))
        else:
            self._zygotes[order.zygote] = zygote
            self._watch(zygote.link, lambda: self._hear_warden(zygote))
            self._watch(zygote.pidfd, lambda: self._bury(zygote))

    def _make_cell(self, order: MakeCell) -> None:
        zygote = self._zygotes.get(order.zygote)
        try:
            if zygote is None or order.cell in zygote.cells:
                raise OSError("its zygote is gone")
            zygote.make_cell(order.cell)
        except OSError as error:
            self._tell(CellFailed(order.zygote, order.cell, str(error)))

    def _hear_warden(self, zygote: zygotes.Zygote) -> None:
        if zygote.number not in self._zygotes:
            return  # buried by news that came at the same time
        try:
            message, descriptors, _, _ = socket.recv_fds(
                zygote.link, MAX_MESSAGE, _MAX_DESCRIPTORS
            )
        except ConnectionError:
            message, descriptors = b"", []
        if not message:
            # The warden is dying; its pidfd says when it is dead.
            self._selector.unregister(zygote.link)
        elif not zygote.is_ready:
            self._first_word(zygote, message)
        else:
            self._news_of_cell(zygote, message, descriptors)

    def _first_word(self, zygote: zygotes.Zygote, message: bytes) -> None:
        zygote.is_ready = warden.is_ready(message)
        if not zygote.is_ready:
            log.error(
                "jail of zygote %d: %s",
                zygote.number,
                message.decode("utf-8", "replace"),
            )
            zygote.kill()

    def _news_of_cell(
        self, zygote: zygotes.Zygote, message: bytes, descriptors: list[int]
    ) -> None:
        kind, number, text = warden.decode_cell(message)
        if kind == warden.MADE:
            self._pass_on(zygote, number, descriptors)
        elif kind == warden.FAILED:
            self._tell(CellFailed(zygote.number, number, text))
        elif kind == warden.DIED:
            zygote.forget_cell(number)
            self._tell(CellDied(zygote.number, number))
        else:
            log.error("the warden of zygote %d ends: %r", zygote.number, message)

    def _pass_on(
        self, zygote: zygotes.Zygote, number: int, descriptors: list[int]
    ) -> None:
        if len(descriptors) != warden.CELL_DESCRIPTORS:
            # What there was no room for was closed. A cell that we cannot kill alone
            # goes with its jail.
            for fd in descriptors:
                os.close(fd)
            log.error("out of descriptors: killing zygote %d", zygote.number)
            zygote.kill()
            return
        pidfd, *namespaces = descriptors
        zygote.cells[number] = pidfd
        self._tell(CellMade(zygote.number, number), namespaces)
        for fd in namespaces:
            os.close(fd)

    def _bury(self, zygote: zygotes.Zygote) -> None:
        del self._zygotes[zygote.number]
        self._selector.unregister(zygote.pidfd)
        if zygote.link in self._selector.get_map():
            self._selector.unregister(zygote.link)
        detail = zygote.bury(self._setting.users)
        self._tell(ZygoteDied(zygote.number, detail))

    def _tell(self, report: Report, descriptors: list[int] | None = None) -> None:
        try:
            socket.send_fds(self._engine, [encode(report)], descriptors or [])
        except OSError as error:
            if self._engine_is_there:
                log.info("the engine is gone: %s", error)
            self._engine_is_there = False

    def _watch(self, source: socket.socket | int, act: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, act)

    def _kill_all(self) -> None:
        for zygote in self._zygotes.values():
            zygote.kill()
        for zygote in self._zygotes.values():
            zygote.bury(self._setting.users)
        self._zygotes.clear()
