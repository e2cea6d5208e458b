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
_FILELESS = (b"/dev/zero", b"/memfd:", b"/SYSV", b"[anon_shmem")


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
            # A quick look first: it is the more that is worth the time of a long one.
            elif _reserved(pids) > self._limit and _held(pids) > self._limit:
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


def _reserved(pids: list[int]) -> int:
    """At least what they hold, and all that they share counted for each."""
    return sum(_sum_of(pid, "status", (b"VmSize:", b"RssShmem:")) for pid in pids)


def _held(pids: list[int]) -> int:
    """Private pages once, shared ones in parts; and memory that is shared without a
    file whole, because its pages stay when a process says that it needs them no more.
    Pages of files do not count: the kernel can drop them."""
    private = sum(_sum_of(pid, "smaps_rollup", (b"Pss_Anon:",)) for pid in pids)
    shared: dict[bytes, int] = {}
    for pid in pids:
        for file, size in _shared_without_a_file(pid).items():
            shared[file] = max(size, shared.get(file, 0))
    return private + sum(shared.values())


def _shared_without_a_file(pid: int) -> dict[bytes, int]:
    """Bytes of each mapping that others can have, too, by what identifies it."""
    found: dict[bytes, int] = {}
    for path in _threads_of(pid):
        # As bytes, like all that is read here: names in there are the tenant's.
        with contextlib.suppress(OSError), open(f"{path}/maps", "rb") as file:
            for line in file:
                span, rights, _, device, inode, *name = line.split(None, 5)
                if rights.endswith(b"s") and name and name[0].startswith(_FILELESS):
                    start, end = (int(bound, 16) for bound in span.split(b"-"))
                    key = device + b" " + inode
                    found[key] = found.get(key, 0) + end - start
        if found:
            break
    return found


def _threads_of(pid: int) -> Iterator[str]:
    yield f"/proc/{pid}"
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            yield f"/proc/{pid}/task/{thread}"


def _sum_of(pid: int, file: str, names: tuple[bytes, ...]) -> int:
    """The sum of these lines, in bytes: of the process, or where its first thread has
    ended and tells nothing any more, of the first that does."""
    for path in _threads_of(pid):
        if found := _fields(f"{path}/{file}", names):
            return _KB * sum(found)
    return 0


def _fields(path: str, names: tuple[bytes, ...]) -> list[int]:
    try:
        with open(path, "rb") as lines:
            return [int(line.split()[1]) for line in lines if line.startswith(names)]
    except OSError:
        return []  # it has just ended
