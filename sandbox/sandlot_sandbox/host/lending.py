"""An instance that another process of the engine runs for a while.

The launcher, the zygote and the instance's death stay with whoever started it. What is
lent are duplicates of the descriptors: event socket, log pipe, and what freezes and
counts. So the instance notices nothing, and is at once at hand again when the other
process is gone; but what that was doing nobody knows then, so that it is destroyed.

    lender                                    borrower
    LendableInstance  ── lend ──────────────► BorrowedInstance
                      ── exit, zygote lost ─►
                      ◄─ kill, give back ────
"""

import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.host.instance import Instance, State
from sandlot_sandbox.host.log_pipe import Line
from sandlot_sandbox.host.minder import Minder
from sandlot_sandbox.host.wire import FrameWire, Wire

CHANNEL, LOG = "channel", "log"
"""Names of the two descriptors that every loan has; the others are a hold's."""


MAX_RETURNED = 64 * 1024
"""Bytes of what an instance printed while nobody had asked it anything."""

_LINE = 16
"""Bytes that a line takes beside its text."""


class Borrower(Protocol):
    """Is told what only the lender hears of a lent instance."""

    def note_exit(self, status: int) -> None: ...

    def note_zygote_lost(self, *, with_launcher: bool) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Loan:
    """What goes along with the descriptors."""

    memory_mb: int
    is_frozen: bool
    idle_since: float
    """`time.monotonic`, which is the same for all processes."""

    peak_memory_kb: int


class LendableInstance(Instance):
    """The lender's end."""

    __slots__ = ("_borrower",)

    def __init__(self, wire: Wire, log: int, **rest: Any) -> None:
        super().__init__(wire, log, **rest)
        self._borrower: Borrower | None = None

    def lend(self, borrower: Borrower) -> tuple[Loan, dict[str, int]] | None:
        """What the borrower needs: facts, and descriptors that stay ours, to be sent
        now. None where it is not idle, or has printed what belongs to nobody yet; and
        always for one that runs a program, which is spoken to by more than a socket.
        """
        wire = self._wire
        if not isinstance(wire, FrameWire):
            return None
        if self.state is State.IDLE:
            wire.read()  # what nobody asked for ends it
        if self.state is not State.IDLE or self._account.log.has_something:
            return None
        if self._account.is_unused or self.idle.is_shedding or self.idle.is_to_tell:
            return None  # its first event is told what its init took; and it says so
        channel = wire.lend()
        if channel is None:
            return None
        loan = Loan(
            memory_mb=self._account.memory_mb,
            is_frozen=self.idle.is_frozen,
            idle_since=self.idle.idle_since,
            peak_memory_kb=self._account.peak_kb,
        )
        self._borrower = borrower
        self.state = State.BUSY
        self.idle.lend()
        self._account.log.pause()
        fds = {CHANNEL: channel, LOG: self._account.log.fileno()}
        return loan, fds | self._hold.parts

    def take_back(
        self, *, is_frozen: bool, peak_memory_kb: int, printed: tuple[Line, ...] = ()
    ) -> None:
        """It is idle, says the borrower, which has closed its descriptors; `printed` is
        what it has read since the last answer."""
        if self._borrower is None or self.state is not State.BUSY:
            return
        self._borrower = None
        self._account.note_peak(peak_memory_kb)
        self._account.log.put_back(printed)
        self._account.log.resume()
        assert isinstance(self._wire, FrameWire)  # noqa: S101 - no other is lent
        self._wire.take_back()
        self.state = State.IDLE
        self.idle.take_back(is_frozen=is_frozen)

    def leave_nothing(self) -> None:
        """The borrower says that its /tmp may not be the next one's: it ended idle, or
        nobody knows what it was at. It has to be destroyed then."""
        if self._borrower is not None and self.state is State.BUSY:
            self.state = State.STOPPING

    def note_exit(self, status: int) -> None:
        if self._borrower is None:
            super().note_exit(status)
        else:
            # It may have answered before: who listens to it decides.
            self._exit_status = status
            self._borrower.note_exit(status)

    def note_zygote_lost(self, *, with_launcher: bool) -> None:
        borrower, self._borrower = self._borrower, None
        if borrower is not None:
            borrower.note_zygote_lost(with_launcher=with_launcher)
            # Its last words are the borrower's: its wire, which is lent, reads none.
        super().note_zygote_lost(with_launcher=with_launcher)


class BorrowedInstance(Instance):
    """The borrower's end; owns duplicates. It was initialised, and is idle."""

    __slots__ = ()

    def __init__(
        self,
        loan: Loan,
        fds: dict[str, int],
        *,
        minder: Minder,
        kill: Callable[[], Awaitable[str]],
        on_death: Callable[[Instance], None],
    ) -> None:
        parts = dict(fds)
        channel = socket.socket(fileno=parts.pop(CHANNEL))
        super().__init__(
            FrameWire(channel),
            parts.pop(LOG),
            hold=Hold(parts),
            minder=minder,
            memory_mb=loan.memory_mb,
            kill=kill,
            on_thaw=lambda: None,  # its zygote runs as long as it is lent
            on_death=on_death,
        )
        self.state = State.IDLE
        self._account.was_ready_before(peak_kb=loan.peak_memory_kb)
        self._end_init()
        self.idle.borrow(is_frozen=loan.is_frozen, idle_since=loan.idle_since)

    @property
    def peak_memory_kb(self) -> int:
        return self._account.peak_kb

    def give_back(self) -> tuple[Line, ...] | None:
        """Let go of it unharmed: what it has printed since its last answer, up to
        `MAX_RETURNED` bytes. None where it is not idle, and so cannot be given back."""
        if self.state is State.IDLE:
            self._wire.read()
        if self.state is not State.IDLE:
            return None
        printed = _beginning(self._account.log.take()[0])
        self.state = State.DEAD
        self._deadline.close()
        self.idle.close()
        self._hold.close()
        self._wire.close()
        self._account.close()
        return printed


def _beginning(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    kept: list[Line] = []
    size = 0
    for moment, text in lines:
        size += len(text) + _LINE
        if size > MAX_RETURNED:
            break
        kept.append((moment, text))
    return tuple(kept)


def duplicates(fds: dict[str, int]) -> dict[str, int]:
    """Of descriptors that stay another's; raises `OSError`."""
    made: dict[str, int] = {}
    try:
        for name, fd in fds.items():
            made[name] = os.dup(fd)
    except OSError:
        for fd in made.values():
            os.close(fd)
        raise
    return made
