"""What control groups would hold, where there are none: memory and processes of whole
cells, and that nothing runs in those that are frozen.

The warden looks at what runs in its jail, 25 times a second, or less often where
looking itself takes long and nobody can take much meanwhile, and has a cell killed
that holds more than its function may. So a cell can have more for a moment; rlimits
bound each of its processes even then. And a process that was stopped can have a timer
continue it: so those of a frozen cell are looked at as well, and for who was
continued, there is no other end either.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass

from sandlot_sandbox.guest.cell import Turns
from sandlot_sandbox.guest.network_memory import NetworkMemory, threads_of
from sandlot_sandbox.limits import PROCESSES, Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = "memory"
PROCESS_COUNT = "processes"
RAN_WHILE_FROZEN = "idle"

IDLE_CPU_S = 0.05
"""Processor time that a frozen cell may use until it is let go: it takes none but to
come to stand."""

_PAUSE_S = 0.04
_LONGEST_PAUSE_S = 0.5
_DUTY = 20
"""Of the time, one part in this many is spent on looking, up to the longest pause."""

_FASTEST_BYTES_PER_S = 4 << 30
"""That somebody fills memory with two processors: no pause lets him have more than his
function's memory once more."""

_ROUNDS = 20
"""Of stopping who was started while others were stopped; then somebody forks away."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_DESCRIPTOR_BYTES = 4096
"""What one may be worth: half of a pipe, which has two pages for those who have many;
or a structure of the kernel's."""

_FREE_DESCRIPTORS = 1024
"""Of all processes of a cell; each has room for 64."""

_KB = 1024
_FILELESS = (b"/dev/zero", b"/memfd:", b"/SYSV", b"[anon_shmem")


@dataclass
class _Rest:
    """A frozen cell, as it was first seen in its present turn."""

    turn: int
    ticks: dict[int, int]
    """Of processor time, by process, when it was first seen."""

    latest: dict[int, int]
    """And the most that was seen since, so that nobody takes his along when he ends."""


class Watch:
    """Judges cells; knows them by the pids of their first processes. And the zygote,
    with all that its import has started, as if it were one."""

    def __init__(self, limits: Limits, zygote: int, *, counts_memory: bool) -> None:
        self._limit = limits.memory_mb << 20
        self._counts_memory = counts_memory
        self._zygote = zygote
        self._home = _namespace(os.getpid())
        self._cells: dict[str, int] = {self._home: zygote}
        """By what a link to its pid namespace says. The first processes themselves do
        not let us look: they have the launcher's memory."""

        self._networks: dict[int, NetworkMemory] = {}
        self._turns: dict[int, Turns] = {}
        self._rests: dict[int, _Rest] = {}
        self.pause_s = _PAUSE_S
        """How long to wait until the next look."""

    def add(
        self,
        cell: int,
        pid_namespace: int,
        turns: Turns | None,
        network: NetworkMemory | None,
    ) -> None:
        """A new cell; `pid_namespace` is a descriptor of its own."""
        self._cells[f"pid:[{os.fstat(pid_namespace).st_ino}]"] = cell
        if turns is not None:
            self._turns[cell] = turns
        if network is not None:
            self._networks[cell] = network

    def remove(self, cell: int) -> None:
        """It is dead."""
        self._cells = {name: pid for name, pid in self._cells.items() if pid != cell}
        self._rests.pop(cell, None)
        if (turns := self._turns.pop(cell, None)) is not None:
            turns.close()
        if (network := self._networks.pop(cell, None)) is not None:
            network.close()

    def mind_zygote(self, turns: Turns, network: NetworkMemory | None) -> None:
        """It is frozen and let go by `stop_zygote` and `continue_zygote`."""
        self._turns[self._zygote] = turns
        if network is not None:
            self._networks[self._zygote] = network

    def stop_zygote(self) -> bool:
        """And all that its import has started; False where somebody forks away."""
        stopped: set[int] = set()
        for _ in range(_ROUNDS):
            new = set(self._at_home()) - stopped
            if not new:
                return True
            for pid in new:
                self._signal_at_home(pid, signal.SIGSTOP)
            stopped |= new
        return False

    def continue_zygote(self) -> None:
        for pid in self._at_home():
            self._signal_at_home(pid, signal.SIGCONT)

    def _at_home(self) -> list[int]:
        """Who is in the jail's own pid namespace, but for us."""
        return [pid for pid in _all_pids() if _namespace(pid) == self._home]

    def _signal_at_home(self, pid: int, number: int) -> None:
        with contextlib.suppress(OSError):  # it has just ended
            pidfd = os.pidfd_open(pid)
            try:
                # Once more: another may have its number by now, a cell's first process.
                if _namespace(pid) == self._home:
                    signal.pidfd_send_signal(pidfd, number)
            finally:
                os.close(pidfd)

    def judge(self) -> list[tuple[int, str]]:
        """Which cells hold too much, and of what; or run while they are frozen."""
        started = time.monotonic()
        # First of all: who is started in between, was so by right.
        turns = {cell: turns.count for cell, turns in self._turns.items()}
        inside = self._processes()
        guilty = list(self._guilty(inside))
        guilty += self._restless(inside, turns)
        took_s = time.monotonic() - started
        # While the zygote is frozen nobody comes, and that it is let go wakes us.
        rests = self._zygote in turns and turns[self._zygote] % 2 == 1
        self.pause_s = _LONGEST_PAUSE_S
        if not rests or len(inside) > 1:
            most_s = self._limit / _FASTEST_BYTES_PER_S
            self.pause_s = max(_PAUSE_S, min(most_s, _DUTY * took_s, _LONGEST_PAUSE_S))
        return guilty

    def _guilty(self, inside: dict[int, list[int]]) -> Iterator[tuple[int, str]]:
        for cell, pids in inside.items():
            if len(pids) > PROCESSES:
                yield cell, PROCESS_COUNT
            elif self._counts_memory and self._holds_too_much(cell, pids):
                yield cell, MEMORY

    def _holds_too_much(self, cell: int, pids: list[int]) -> bool:
        left = self._limit - _in_descriptors(pids)
        if (network := self._networks.get(cell)) is not None:
            left -= network.held(pids)
        # A quick look first: it is the more that is worth the time of a long one.
        return _reserved(pids) > left and _held(pids) > left

    def _restless(
        self, inside: dict[int, list[int]], turns: dict[int, int]
    ) -> Iterator[tuple[int, str]]:
        """Who used a processor while frozen, or came to be."""
        for cell, turn in turns.items():
            is_frozen = turn % 2 == 1
            ticks = {pid: _ticks_of(pid) for pid in inside.get(cell, []) if is_frozen}
            rest = self._rests.get(cell)
            if not is_frozen or rest is None or rest.turn != turn:
                self._rests[cell] = _Rest(turn, ticks, dict(ticks))
                continue
            rest.latest.update(ticks)
            used = sum(rest.latest.values()) - sum(rest.ticks.values())
            ran = ticks.keys() - rest.ticks.keys() or used > IDLE_CPU_S * _TICKS_PER_S
            # What was let go meanwhile has run by right.
            if ran and self._turns[cell].count == turn:
                yield cell, RAN_WHILE_FROZEN

    def _processes(self) -> dict[int, list[int]]:
        """The pids in each cell beside its first, as we number them."""
        found: dict[int, list[int]] = {}
        for pid in _all_pids():
            cell = self._cells.get(_namespace(pid))
            if cell is not None:
                found.setdefault(cell, []).append(pid)
        return found


def _all_pids() -> Iterator[int]:
    """In the jail, but for us."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            yield int(name)


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""  # it has just ended


def _reserved(pids: list[int]) -> int:
    """At least what they hold, and all that they share counted for each."""
    sizes = (b"VmSize:", b"RssShmem:", b"VmPTE:")
    return sum(_sum_of(pid, "status", sizes) for pid in pids)


def _held(pids: list[int]) -> int:
    """Private pages once, shared ones in parts; the tables of pages, which a process
    can make large by reading where nothing is; and memory that is shared without a
    file whole, because its pages stay when a process says that it needs them no more.
    Pages of files do not count: the kernel can drop them."""
    private = sum(
        _sum_of(pid, "smaps_rollup", (b"Pss_Anon:",))
        + _sum_of(pid, "status", (b"VmPTE:",))
        for pid in pids
    )
    shared: dict[bytes, int] = {}
    for pid in pids:
        for file, size in _shared_without_a_file(pid).items():
            shared[file] = max(size, shared.get(file, 0))
    return private + sum(shared.values())


def _in_descriptors(pids: list[int]) -> int:
    """What may be behind those that all of them could have open, but for the first."""
    room = sum(_sum_of(pid, "status", (b"FDSize:",)) // _KB for pid in pids)
    return max(0, room - _FREE_DESCRIPTORS) * _DESCRIPTOR_BYTES


def _shared_without_a_file(pid: int) -> dict[bytes, int]:
    """Bytes of each mapping that others can have, too, by what identifies it."""
    found: dict[bytes, int] = {}
    for path in threads_of(pid):
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


def _sum_of(pid: int, file: str, names: tuple[bytes, ...]) -> int:
    """The sum of these lines, in bytes: of the process, or where its first thread has
    ended and tells nothing any more, of the first that does."""
    for path in threads_of(pid):
        if found := _fields(f"{path}/{file}", names):
            return _KB * sum(found)
    return 0


def _fields(path: str, names: tuple[bytes, ...]) -> list[int]:
    try:
        with open(path, "rb") as lines:
            return [int(line.split()[1]) for line in lines if line.startswith(names)]
    except OSError:
        return []  # it has just ended


def _ticks_of(pid: int) -> int:
    """Of processor time that it used, with all its threads and whom it has reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # Its name may have brackets and blanks in it.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0  # it has just ended
    return sum(int(field) for field in fields[_UTIME : _UTIME + 4])


_UTIME = 11
"""Of proc(5)'s fields, counted behind the name; then come stime, cutime and cstime."""
