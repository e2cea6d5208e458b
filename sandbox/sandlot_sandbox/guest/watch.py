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

from sandlot_sandbox.guest.leash import Turns
from sandlot_sandbox.guest.network_memory import NetworkMemory
from sandlot_sandbox.guest.proc import (
    all_pids,
    hold_more,
    in_descriptors,
    namespace_of,
    reserved,
    ticks_of,
)
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
        self._home = namespace_of(os.getpid())
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
        """Stop it, and all that its import has started; False where somebody forks
        away."""
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
        return [pid for pid in all_pids() if namespace_of(pid) == self._home]

    def _signal_at_home(self, pid: int, number: int) -> None:
        with contextlib.suppress(OSError):  # it has just ended
            pidfd = os.pidfd_open(pid)
            try:
                # Once more: another may have its number by now, a cell's first process.
                if namespace_of(pid) == self._home:
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
        left = self._limit - in_descriptors(pids)
        if (network := self._networks.get(cell)) is not None:
            left -= network.held(pids)
        # A quick look first: it is the more that is worth the time of a long one.
        return reserved(pids) > left and hold_more(pids, left)

    def _restless(
        self, inside: dict[int, list[int]], turns: dict[int, int]
    ) -> Iterator[tuple[int, str]]:
        """Who used a processor while frozen, or came to be."""
        for cell, turn in turns.items():
            is_frozen = turn % 2 == 1
            ticks = {pid: ticks_of(pid) for pid in inside.get(cell, []) if is_frozen}
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
        for pid in all_pids():
            cell = self._cells.get(namespace_of(pid))
            if cell is not None:
                found.setdefault(cell, []).append(pid)
        return found
