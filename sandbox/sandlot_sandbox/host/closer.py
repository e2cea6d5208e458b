"""Closes what takes its time, where nobody waits for that.

Whoever closes the last hold on a /tmp waits until the kernel has freed all that lies in
there: 0.1 s for 512 MB in many files, or for a GB in few; ten times as long for the
largest. The loop would stand still, and with it all functions, as often as a tenant
likes.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore

MAX_WAITING = 64
"""Of those that are not closed yet. Beyond it the loop waits after all: what is to be
freed is memory that is nobody's any more, and must not grow."""

_THREADS = 4
_FEW_BYTES, _FEW_FILES = 1 << 20, 64
"""So much is freed at once."""


class Closer:
    """Its threads start when they are needed, and end with the process."""

    def __init__(self, *, most: int = MAX_WAITING) -> None:
        self._room = Semaphore(most)
        self._threads = ThreadPoolExecutor(_THREADS, "closer")

    def close(self, tmp: int) -> None:
        """A descriptor of a /tmp, which is ours from now on."""
        if not _is_full(tmp) or not self._room.acquire(blocking=False):
            os.close(tmp)
        else:
            self._threads.submit(self._close, tmp)

    def _close(self, tmp: int) -> None:
        try:
            os.close(tmp)
        finally:
            self._room.release()


def _is_full(tmp: int) -> bool:
    found = os.fstatvfs(tmp)
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    return used > _FEW_BYTES or found.f_files - found.f_ffree > _FEW_FILES


close_tmp = Closer().close
"""One for all of a process: there are few threads, whoever had the /tmp."""
