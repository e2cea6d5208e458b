"""The launcher's loop: orders from the engine, news from the jails. One thread.

It never waits for anybody but all of them at once. When the engine's end of the
channel is closed, every jail is killed and the launcher exits.
"""

import contextlib
import errno
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable

from sandlot_sandbox.guest import datagrams
from sandlot_sandbox.launcher import jails
from sandlot_sandbox.launcher.cgroups import Janitor
from sandlot_sandbox.launcher.orders import program_of
from sandlot_sandbox.launcher.sockets import LOOK_S, SocketWatch
from sandlot_sandbox.launcher.ways import Ways
from sandlot_sandbox.launcher.zygotes import JAIL, Zygote
from sandlot_sandbox.spec import (
    BRAKES,
    MAX_MESSAGE,
    BadMessage,
    CellDied,
    CellFailed,
    CellMade,
    KillCell,
    KillZygote,
    MakeCell,
    Report,
    StartBuilder,
    StartZygote,
    ZygoteDied,
    ZygoteMade,
    decode_order,
    encode,
)
from sandlot_sandbox.stamps import stamp

_MAX_DESCRIPTORS = 12
LOOK_AGAIN_S = 1.0
"""Between two looks at what was killed by others while it was frozen, or was frozen in
the very moment in which we killed it."""

_GROUPS_AT_A_LOOK = 100

_SEND_S = 10.0
"""How long the engine may leave its mail unread before we take it for dead."""

_LATER = frozenset((errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM))
"""Why the kernel takes no mail just now: too many descriptors are on their way, of all
who have our user (see unix(7)), or there is too little memory."""

_PATIENCE_S = 0.05
"""How long mail with descriptors is tried again; then its start fails, alone."""

_RETRY_S = 0.002


class Server:
    """Owns the jails. `serve` returns when the engine is gone."""

    def __init__(self, engine: socket.socket, setting: jails.Setting) -> None:
        self._engine = engine
        self._engine.settimeout(_SEND_S)
        self._setting = setting
        self._zygotes: dict[int, Zygote] = {}
        self._selector = selectors.DefaultSelector()
        self._engine_is_there = True
        self._looked_at = 0.0
        self._sockets = SocketWatch()
        self._turn = 0
        egress = setting.egress
        self._ways = Ways(None if isinstance(egress, str) else egress, self._selector)

    def serve(self) -> None:
        self._watch(self._engine, self._hear_engine)
        if (janitor := self._setting.janitor) is not None:
            self._watch(janitor.pidfd, lambda: self._replace(janitor))
        try:
            while self._engine_is_there:
                for key, _ in self._selector.select(self._pause_s()):
                    key.data()
                self._sockets.look(self._zygotes.values())
                if time.monotonic() - self._looked_at > LOOK_AGAIN_S:
                    self._looked_at = time.monotonic()
                    self._look_after_groups()
        finally:
            self._kill_all()

    def _pause_s(self) -> float | None:
        """Until we look after what does not die as long as it is frozen, which is in v1
        only; after what is left of groups; and at how many sockets there are."""
        if any(zygote.sockets for zygote in self._zygotes.values()):
            return LOOK_S
        has_freezer = "freezer" in self._setting.controls and self._zygotes
        has_leavings = any(zygote.leavings for zygote in self._zygotes.values())
        return LOOK_AGAIN_S if has_freezer or has_leavings else None

    def _look_after_groups(self) -> None:
        if (tree := self._setting.tree) is not None:
            tree.prune()
        for zygote in self._zygotes.values():
            if zygote.is_dying:
                zygote.kill()
            else:
                zygote.tidy()
        groups = [group for z in self._zygotes.values() for group in z.groups]
        # In turns, so that thousands do not take a processor.
        for _ in range(min(len(groups), _GROUPS_AT_A_LOOK)):
            self._turn += 1
            groups[self._turn % len(groups)].thaw_if_killed()

    def _replace(self, janitor: Janitor) -> None:
        self._selector.unregister(janitor.pidfd)
        janitor.replace()
        self._watch(janitor.pidfd, lambda: self._replace(janitor))

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
            say(f"an order was not understood: {error}")
            return
        match order:
            case StartZygote() | StartBuilder():
                self._start(order, descriptors)
            case MakeCell():
                self._make_cell(order)
            case KillCell(zygote=number, cell=cell, keeps=keeps):
                zygote = self._zygotes.get(number)
                if zygote is None or cell not in zygote.cells:
                    left = [] if zygote is None else zygote.keep_no_more(cell)
                    self._tell_and_hand_on(CellDied(number, cell), left)
                else:
                    zygote.kill_cell(cell, keeps=bool(keeps))
            case KillZygote(zygote=number):
                zygote = self._zygotes.get(number)
                if zygote is None:
                    self._say_not_started(number, "there is no such zygote")
                else:
                    zygote.kill()

    def _start(self, order: StartZygote | StartBuilder, descriptors: list[int]) -> None:
        if order.zygote in self._zygotes:
            say(f"zygote {order.zygote} was ordered twice")
            return
        try:
            with program_of(self._setting, order, descriptors) as program:
                zygote = jails.start(self._setting, order.zygote, program)
        except KeyError:
            self._say_not_started(
                order.zygote, f"there is no runtime {order.runtime!r} here"
            )
        except (OSError, ValueError, IndexError) as error:
            detail = f"the jail could not be made: {type(error).__name__} {error}"
            self._say_not_started(order.zygote, detail)
        else:
            self._zygotes[order.zygote] = zygote
            self._watch(zygote.link, lambda: self._hear_warden(zygote))
            self._watch(zygote.pidfd, lambda: self._bury(zygote))

    def _say_made(self, zygote: Zygote) -> None:
        files = zygote.files
        made = ZygoteMade(zygote.number, list(files))
        if not self._tell(made, list(files.values())):
            zygote.last_words = _TOO_MANY
            zygote.kill()
        zygote.close_files()

    def _say_not_started(self, number: int, detail: str) -> None:
        self._tell(ZygoteDied(number, detail, started=False))

    def _make_cell(self, order: MakeCell) -> None:
        zygote = self._zygotes.get(order.zygote)
        try:
            if zygote is None or order.cell in zygote.cells:
                raise OSError("its zygote is gone")
            zygote.make_cell(order.cell, heir_of=order.heir_of)
        except OSError as error:
            self._tell(CellFailed(order.zygote, order.cell, str(error)))

    def _hear_warden(self, zygote: Zygote) -> None:
        if zygote.number not in self._zygotes:
            return  # buried by news that came at the same time
        try:
            message, descriptors, _, _ = socket.recv_fds(
                zygote.link, MAX_MESSAGE, _MAX_DESCRIPTORS
            )
        except ConnectionError:
            message, descriptors = b"", []
        if not message:
            # The warden is dying; its pidfd says when it is dead. It waits for what
            # is frozen in there, which is let go of by killing it once more.
            self._selector.unregister(zygote.link)
            zygote.kill()
        elif not zygote.is_ready:
            self._first_word(zygote, message, descriptors)
        else:
            self._news_of_cell(zygote, message, descriptors)

    def _first_word(
        self, zygote: Zygote, message: bytes, descriptors: list[int]
    ) -> None:
        zygote.sockets |= zip((JAIL,), descriptors, strict=False)
        zygote.is_ready = datagrams.is_ready(message)
        if zygote.is_ready:
            self._say_made(zygote)
        else:
            _, _, zygote.last_words = datagrams.decode_cell(message)
            zygote.kill()

    def _news_of_cell(
        self, zygote: Zygote, message: bytes, descriptors: list[int]
    ) -> None:
        kind, number, text = datagrams.decode_cell(message)
        if kind == datagrams.MADE:
            self._made(zygote, number, text.split(), descriptors)
        elif kind == datagrams.FAILED:
            zygote.forget_cell(number)
            self._tell(CellFailed(zygote.number, number, text))
        elif kind == datagrams.DIED:
            verdict = text or zygote.verdict_on(number)
            zygote.forget_cell(number)
            self._tell(CellDied(zygote.number, number, verdict))
        elif kind == datagrams.LAST_WORDS:
            zygote.last_words = text
        else:
            say(f"the warden of zygote {zygote.number} said {message!r}")
            zygote.kill()

    def _made(
        self, zygote: Zygote, number: int, names: list[str], descriptors: list[int]
    ) -> None:
        """A cell is there. Complete it, and hand it on to the engine."""
        if (cell := zygote.cells.get(number)) is not None:
            cell.was_made = True
        parts = list(zip(names, descriptors, strict=False))
        try:
            if cell is None or len(names) != len(descriptors):
                # What there was no room for was closed. A cell that we cannot kill
                # alone goes with its jail.
                raise OSError("we have too many open files")
            found = dict(parts)
            cell.pidfd = os.dup(found["pidfd"])
            cell.tmp = os.dup(found["tmp"])
            if "sockets" in found:
                zygote.sockets[number] = found["sockets"]
                parts.remove(("sockets", found["sockets"]))
            if cell.group is not None:
                parts += [("join", fd) for fd in zygote.open_joins(cell.group)]
                parts += list(cell.group.open_files().items())
            if not any(name in BRAKES for name, _ in parts):
                raise OSError("nothing is there that would freeze it")
        except OSError as error:
            say(f"cell {number} of zygote {zygote.number}: {error}")
            zygote.kill()
            _close(parts)
            return
        if zygote.allow is None:
            self._hand_on(zygote, number, parts, "")
        else:
            self._open_way_out(zygote, number, zygote.allow, parts)

    def _open_way_out(
        self,
        zygote: Zygote,
        number: int,
        allow: tuple[str, ...],
        parts: list[tuple[str, int]],
    ) -> None:
        found = dict(parts)
        cell = zygote.cells[number]
        joins: list[int] = []
        try:
            # Of our own, as what goes out is not a process of the jail's user.
            joins = cell.group.open_joins() if cell.group is not None else []
            cell.way_out = self._ways.open(
                found["net"],
                allow=allow,
                cell=found["pidfd"],
                joins=joins,
                owner=zygote.owner,
                on_ready=lambda why: self._hand_on(zygote, number, parts, why),
                on_end=lambda: self._note_way_out_gone(zygote, number),
            )
        except OSError as error:
            self._hand_on(zygote, number, parts, str(error))
        finally:
            for fd in joins:
                os.close(fd)

    def _hand_on(
        self, zygote: Zygote, number: int, parts: list[tuple[str, int]], trouble: str
    ) -> None:
        """To the engine, with what goes with it; or tell it why not."""
        try:
            if trouble:
                self._tell(CellFailed(zygote.number, number, trouble))
                self._kill_cell(zygote, number)
            else:
                told = [(name, fd) for name, fd in parts if name != "pidfd"]
                made = CellMade(zygote.number, number, [name for name, _ in told])
                if not self._tell(made, [fd for _, fd in told]):
                    self._tell(CellFailed(zygote.number, number, _TOO_MANY))
                    self._kill_cell(zygote, number)
        finally:
            _close(parts)

    def _note_way_out_gone(self, zygote: Zygote, number: int) -> None:
        self._kill_cell(zygote, number)
        # If the cell went first, its group was waiting for this.
        zygote.remove_left()

    def _kill_cell(self, zygote: Zygote, number: int) -> None:
        if number in zygote.cells:
            zygote.kill_cell(number)

    def _bury(self, zygote: Zygote) -> None:
        del self._zygotes[zygote.number]
        self._selector.unregister(zygote.pidfd)
        if zygote.link in self._selector.get_map():
            self._selector.unregister(zygote.link)
        words = zygote.last_words or _last_words(zygote.link)
        detail, was_killed, left = zygote.bury(self._setting.users)
        if words:
            # Then its zygote was killed with it, whatever that was at.
            say(f"jail of zygote {zygote.number}: {words}")
            detail, was_killed = words, True
        self._tell_and_hand_on(
            ZygoteDied(
                zygote.number, detail, started=zygote.is_ready, killed=was_killed
            ),
            left,
        )

    def _tell_and_hand_on(self, report: Report, descriptors: list[int]) -> None:
        try:
            if not self._tell(report, descriptors):
                # Without them: then it is we who free what they are of.
                self._tell(report)
        finally:
            for fd in descriptors:
                os.close(fd)

    def _tell(self, report: Report, descriptors: list[int] | None = None) -> bool:
        """Whether it was sent; False where its descriptors could not be, for now."""
        began = time.monotonic()
        while self._engine_is_there:
            try:
                socket.send_fds(self._engine, [encode(report)], descriptors or [])
            except OSError as error:
                waited_s = time.monotonic() - began
                if error.errno in _LATER and descriptors and waited_s > _PATIENCE_S:
                    return False
                if error.errno in _LATER and waited_s < _SEND_S:
                    time.sleep(_RETRY_S)
                    continue
                say(f"the engine is gone: {error}")
                self._engine_is_there = False
            return True
        return True

    def _watch(self, source: socket.socket | int, act: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, act)

    def _kill_all(self) -> None:
        for zygote in self._zygotes.values():
            zygote.kill()
        for zygote in self._zygotes.values():
            zygote.bury(self._setting.users)
        self._zygotes.clear()


_TOO_MANY = "too many open files are on their way to the engine"


def _last_words(link: socket.socket) -> str:
    """What a warden said before it died, and nobody has read; empty where the rest is
    news, which nobody needs any more."""
    with contextlib.suppress(OSError):
        while message := link.recv(MAX_MESSAGE, socket.MSG_DONTWAIT):
            kind, _, text = datagrams.decode_cell(message)
            if kind == datagrams.LAST_WORDS:
                return text
    return ""


def _close(parts: list[tuple[str, int]]) -> None:
    for _, fd in parts:
        os.close(fd)


def say(text: str) -> None:
    """To the operator, if it is taken: a full disk is no reason to end all jails.
    Not by `logging`, which would have every fork call it."""
    with contextlib.suppress(OSError):
        print(f"{stamp()}sandlot launcher: {text}", file=sys.stderr)  # noqa: T201
