"""What freezes a cell where no control group does: its first process stops and
continues all others in there, as it is told by a pipe, the leash."""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
import time

_SIGSTOP, _SIGCONT = int(signal.SIGSTOP), int(signal.SIGCONT)
_ALL = -1
FREEZE = b"1"
"""Down a leash; anything else lets go."""

_MAX_ORDERS = 64
"""That are read at once."""

_SOON_S = 1.0
"""No fork takes longer than that, once there is a processor for it."""

_AGAIN_MS = (1, 10, 100, 1000)
"""How long after one another those are continued again who were stopped just before."""


class Turns:
    """How often a cell was frozen and let go again, as its first process counts; odd
    while it is frozen. In memory that the first process and the warden share, so that
    a look takes no word from anybody."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._count = memoryview(self._memory).cast("I")

    @property
    def count(self) -> int:
        return self._count[0]

    @property
    def is_frozen(self) -> bool:
        return self.count % 2 == 1

    def next(self) -> None:
        # It may go round: nobody freezes two thousand million times between two looks.
        self._count[0] = (self._count[0] + 1) & 0xFFFFFFFF

    def keep_from_children(self) -> None:
        """Those that are cloned later have no part in it."""
        self._memory.madvise(mmap.MADV_DONTFORK)

    def close(self) -> None:
        self._count.release()
        self._memory.close()


def obey(leash: int, turns: Turns) -> None:
    """Stop and continue all but us, as we are told, until nobody holds the leash.

    All at once: nobody forks away from a signal that is sent to all. Who forks while it
    is sent has the child stop as well; but if he is continued before there is a child,
    Linux forgets that of the child, as it does with what is ignored otherwise
    (`__send_signal_locked`). So it is said again, when the child will be there.
    """
    told = select.poll()
    told.register(leash, select.POLLIN)
    stopped_at = -_SOON_S
    again: tuple[int, ...] = ()
    while True:
        if again and not told.poll(again[0]):
            again = again[1:]
            _signal_all(_SIGCONT)
            continue
        # Of what was told while others had the processor, the last holds.
        order = os.read(leash, _MAX_ORDERS)[-1:]
        if not order:
            os._exit(0)  # the instance's owner is gone
        if order == FREEZE:
            again = ()
            stopped_at = time.monotonic()
            _signal_all(_SIGSTOP)
            if not turns.is_frozen:
                turns.next()
            continue
        # In this order: who runs by right is never said to be frozen.
        if turns.is_frozen:
            turns.next()
        _signal_all(_SIGCONT)
        again = _AGAIN_MS if time.monotonic() - stopped_at < _SOON_S else ()


def _signal_all(number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(_ALL, number)
