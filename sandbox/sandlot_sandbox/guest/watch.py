"""Memory and processes of whole cells, where no control group limits them.

The warden looks at what runs in its jail, ten times a second, or less often where
looking itself takes long, and has a cell killed that holds more than its function
may. So a cell can have more for a moment; rlimits bound each of its processes even
then.
"""

from __future__ import annotations

import contextlib
import os
import time

from sandlot_sandbox.limits import PROCESSES, Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = "memory"
PROCESS_COUNT = "processes"

_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 0.5
_DUTY = 20
"""Of the time, one part in this many is spent on looking, up to the longest pause."""

_KB = 1024


class Watch:
    """Judges cells; knows them by the pids of their first processes. And the zygote,
    with all that its import has started, as if it were one."""

    def __init__(self, limits: Limits, zygote: int) -> None:
        self._limit = limits.memory_mb << 20
        self._cells: dict[str, int] = {_namespace(os.getpid()): zygote}
        """By what a link to its pid namespace says. The first processes themselves do
        not let us look: they have the launcher's memory."""

        self.pause_s = _PAUSE_S
        """How long to wait until the next look."""

    def add(self, cell: int, pid_namespace: int) -> None:
        """A new cell; `pid_namespace` is a descriptor of its own."""
        self._cells[f"pid:[{os.fstat(pid_namespace).st_ino}]"] = cell

    def remove(self, cell: int) -> None:
        """It is dead."""
        self._cells = {name: pid for name, pid in self._cells.items() if pid != cell}

    def judge(self) -> list[tuple[int, str]]:
        """Which cells hold too much, and of what."""
        started = time.monotonic()
        inside = self._processes()
        guilty = list(self._guilty(inside))
        took_s = time.monotonic() - started
        # With nobody there but the zygote, somebody may come, but not use much at once.
        least_s = _PAUSE_S if len(inside) > 1 else _LONGEST_PAUSE_S
        self.pause_s = min(max(least_s, _DUTY * took_s), _LONGEST_PAUSE_S)
        return guilty

    def _guilty(self, inside: dict[int, list[int]]) -> Iterator[tuple[int, str]]:
        for cell, pids in inside.items():
            if len(pids) > PROCESSES:
                yield cell, PROCESS_COUNT
            # What is resident counts shared pages in each; only if that is too
            # much, it is worth the time to count them once.
            elif _resident(pids) > self._limit and _proportional(pids) > self._limit:
                yield cell, MEMORY

    def _processes(self) -> dict[int, list[int]]:
        """The pids in each cell beside its first, as we number them."""
        found: dict[int, list[int]] = {}
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid():
                cell = self._cells.get(_namespace(int(name)))
                if cell is not None:
                    found.setdefault(cell, []).append(int(name))
        return found


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""  # it has just ended


def _resident(pids: list[int]) -> int:
    return sum(_sum_of(pid, "status", ("RssAnon:", "RssShmem:")) for pid in pids)


def _proportional(pids: list[int]) -> int:
    """Private pages once, shared ones in parts. Pages of files do not count: others
    have them, too, and the kernel can drop them."""
    names = ("Pss_Anon:", "Pss_Shmem:")
    return sum(_sum_of(pid, "smaps_rollup", names) for pid in pids)


def _sum_of(pid: int, file: str, names: tuple[str, ...]) -> int:
    """The sum of these lines, in bytes: of the process, or where its first thread has
    ended and tells nothing any more, of the first that does."""
    found = _fields(f"/proc/{pid}/{file}", names)
    if not found:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                if found := _fields(f"/proc/{pid}/task/{thread}/{file}", names):
                    break
    return _KB * sum(found)


def _fields(path: str, names: tuple[str, ...]) -> list[int]:
    try:
        with open(path, encoding="ascii") as lines:
            return [int(line.split()[1]) for line in lines if line.startswith(names)]
    except OSError:
        return []  # it has just ended
