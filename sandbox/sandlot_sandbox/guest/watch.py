"""What control groups would hold, where there are none: memory and processes of whole
cells, and that nothing runs in those that are frozen.

The warden looks at what runs in its jail, 25 times a second, or less often where
looking itself takes long, and has a cell killed that holds more than its function
may. So a cell can have more for a moment; rlimits bound each of its processes even
then. And a process that was stopped can have a timer continue it: so those of a frozen
cell are looked at as well, and for who was continued, there is no other end either.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass

from sandlot_sandbox.guest.cell import Turns
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

_ROUNDS = 20
"""Of stopping who was started while others were stopped; then somebody forks away."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_DESCRIPTOR_BYTES = 4096
"""What one may be worth: half of a pipe, which has two pages for those who have many;
or a structure of the kernel's."""

_FREE_DESCRIPTORS = 1024
"""Of all processes of a cell; each has room for 64."""

_FREE_SOCKETS = 64
"""That are not TCP's: such of event loops, of children, for names."""

_TCP_BYTES = 8192
"""What a connection takes beside what is in its buffers."""

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

    def __init__(
        self, limits: Limits, zygote: int, *, counts_memory: bool, has_network: bool
    ) -> None:
        """`has_network`: cells have a network, and so sockets, of their own."""
        self._limit = limits.memory_mb << 20
        self._has_network = has_network
        self._socket_bytes = _largest_socket()
        self._counts_memory = counts_memory
        self._zygote = zygote
        self._home = _namespace(os.getpid())
        self._cells: dict[str, int] = {self._home: zygote}
        """By what a link to its pid namespace says. The first processes themselves do
        not let us look: they have the launcher's memory."""

        self._turns: dict[int, Turns] = {}
        self._rests: dict[int, _Rest] = {}
        self.pause_s = _PAUSE_S
        """How long to wait until the next look."""

    def add(self, cell: int, pid_namespace: int, turns: Turns | None) -> None:
        """A new cell; `pid_namespace` is a descriptor of its own."""
        self._cells[f"pid:[{os.fstat(pid_namespace).st_ino}]"] = cell
        if turns is not None:
            self._turns[cell] = turns

    def remove(self, cell: int) -> None:
        """It is dead."""
        self._cells = {name: pid for name, pid in self._cells.items() if pid != cell}
        self._rests.pop(cell, None)
        if (turns := self._turns.pop(cell, None)) is not None:
            turns.close()

    def mind_zygote(self, turns: Turns) -> None:
        """It is frozen and let go by `stop_zygote` and `continue_zygote`."""
        self._turns[self._zygote] = turns

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
        least_s = _LONGEST_PAUSE_S if rests and len(inside) <= 1 else _PAUSE_S
        self.pause_s = min(max(least_s, _DUTY * took_s), _LONGEST_PAUSE_S)
        return guilty

    def _guilty(self, inside: dict[int, list[int]]) -> Iterator[tuple[int, str]]:
        for cell, pids in inside.items():
            if len(pids) > PROCESSES:
                yield cell, PROCESS_COUNT
            elif self._counts_memory and self._holds_too_much(pids):
                yield cell, MEMORY

    def _holds_too_much(self, pids: list[int]) -> bool:
        left = self._limit - _in_descriptors(pids)
        if self._has_network:
            left -= _in_sockets(pids, each=self._socket_bytes)
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


def _in_sockets(pids: list[int], *, each: int) -> int:
    """What is in the buffers of the network that they share, as the kernel counts its
    sockets: those that were sent to somebody are among them, and those that are closed
    with something left in them. Of TCP, what is waiting; of others, at most `each`."""
    sockets = tcp = waiting = 0
    for family in (b"", b"6"):
        for line in _net(pids, b"sockstat" + family):
            name, *numbers = line.split()
            if name == b"sockets:":
                sockets = int(numbers[1])
            elif name == b"TCP%s:" % family and int(numbers[1]):
                tcp += int(numbers[1])
                waiting += sum(_queues(_net(pids, b"tcp" + family)))
    others = max(0, sockets - tcp - _FREE_SOCKETS)
    return others * each + tcp * _TCP_BYTES + waiting


def _queues(lines: list[bytes]) -> Iterator[int]:
    for line in lines[1:]:
        sent, received = line.split(None, 5)[4].split(b":")
        yield int(sent, 16) + int(received, 16)


def _net(pids: list[int], name: bytes) -> list[bytes]:
    """A table of their network, from the first that still has one."""
    for pid in pids:
        for path in _threads_of(pid):
            with contextlib.suppress(OSError):
                with open(path.encode() + b"/net/" + name, "rb") as file:
                    if lines := file.readlines():
                        return lines
    return []


def _largest_socket() -> int:
    """What the buffers of one that is as all are can hold: a write goes through as long
    as one byte is free, and may be as long as all."""
    with socket.socket(socket.AF_UNIX) as one:
        options = (socket.SO_SNDBUF, socket.SO_RCVBUF)
        return 2 * max(one.getsockopt(socket.SOL_SOCKET, o) for o in options)


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
