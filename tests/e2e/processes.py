"""What /proc tells of an engine's processes: who they are, and whether they are gone.

    supervisor ─┬─ engine ── worker
                └─ launcher ─┬─ janitor
                             └─ warden ─┬─ zygote ── instance ── what it started
                                        └─ cell ── what an instance left behind

A process is its pid and its start time: pids come again.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from tests.e2e.waiting import wait_until

_PROC = Path("/proc")
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_DEAD = "ZX"


class Role(StrEnum):
    """What a process is for."""

    SUPERVISOR = "supervisor"
    ENGINE = "engine"
    WORKER = "worker"
    LAUNCHER = "launcher"
    JANITOR = "janitor"
    WARDEN = "warden"
    ZYGOTE = "zygote"
    CELL = "cell"
    INSTANCE = "instance"
    TENANTS = "tenant's"


@dataclass(frozen=True, slots=True)
class Process:
    """A process at one moment."""

    pid: int
    started: int
    """Clock ticks after the machine's start."""

    parent: int
    state: str
    command: str

    def __repr__(self) -> str:
        return f"<{self.pid} {self.state} {self.command[:60]}>"

    @property
    def identity(self) -> tuple[int, int]:
        return self.pid, self.started


@dataclass(frozen=True)
class Family:
    """All processes below a supervisor, itself included, at one moment."""

    members: dict[int, Process]
    roles: dict[int, Role]

    def of_role(self, role: Role) -> list[Process]:
        return [self.members[pid] for pid, known in self.roles.items() if known is role]

    def only(self, role: Role) -> Process:
        (found,) = self.of_role(role)
        return found

    def parent_of(self, process: Process) -> Process:
        return self.members[process.parent]

    def below(self, *tops: Process) -> list[Process]:
        """`tops` and all their descendants."""
        found = {top.pid for top in tops}
        # Parents come first, because `members` is in the order of the walk.
        for pid, process in self.members.items():
            if process.parent in found:
                found.add(pid)
        return [self.members[pid] for pid in self.members if pid in found]

    def marked(self, mark: str) -> list[Process]:
        """Those that were started with `mark` among their arguments."""
        return [p for p in self.members.values() if mark in p.command.split("\0")]


def family_of(supervisor: int) -> Family:
    """The processes below `supervisor` now."""
    stats = {pid: stat for pid in _pids() if (stat := _stat_if_there(pid))}
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    members: dict[int, Process] = {}
    roles: dict[int, Role] = {}
    waiting = [supervisor] if supervisor in stats else []
    for pid in waiting:  # Grows while we walk it.
        members[pid] = process = _process(pid, stats[pid])
        above = roles.get(process.parent) if pid != supervisor else None
        roles[pid] = _role(process, above)
        waiting += sorted(children.get(pid, []))
    return Family(members, roles)


def _role(process: Process, above: Role | None) -> Role:
    match above:
        case None:
            return Role.SUPERVISOR
        case Role.SUPERVISOR:
            is_engine = "sandlot_engine.engine" in process.command
            return Role.ENGINE if is_engine else Role.LAUNCHER
        case Role.ENGINE:
            return Role.WORKER
        case Role.LAUNCHER:
            return Role.WARDEN if _has_own_pids(process) else Role.JANITOR
        case Role.WARDEN:
            return Role.ZYGOTE if "bootstrap.py" in process.command else Role.CELL
        case Role.ZYGOTE:
            return Role.INSTANCE
        case _:
            return Role.TENANTS


def _has_own_pids(process: Process) -> bool:
    mine = [_link(_PROC / str(pid) / "ns/pid") for pid in (process.pid, process.parent)]
    return mine[0] != mine[1]


def everybody() -> Iterator[Process]:
    """Every process that this one can see."""
    for pid in _pids():
        if (found := _read_if_there(pid)) is not None:
            yield found


def _read_if_there(pid: int) -> Process | None:
    stat = _stat_if_there(pid)
    return None if stat is None else _process(pid, stat)


class _Stat(NamedTuple):
    started: int
    parent: int
    state: str


def _pids() -> list[int]:
    with os.scandir(_PROC) as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def _stat_if_there(pid: int) -> _Stat | None:
    try:
        stat = _content(pid, "stat").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything, spaces and parentheses too.
    state, parent, *rest = stat.rpartition(")")[2].split()
    return _Stat(int(rest[17]), int(parent), state)


def _process(pid: int, stat: _Stat) -> Process:
    try:
        command = _content(pid, "cmdline").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        command = ""  # as a zombie's, which it was or is
    return Process(pid, stat.started, stat.parent, stat.state, command)


def _content(pid: int, name: str) -> bytes:
    # Who waits looks at hundreds, again and again: pathlib takes twice as long.
    with open(f"{_PROC}/{pid}/{name}", "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()


def alive(processes: Collection[Process]) -> list[Process]:
    """Those that still run. A zombie does not: it holds nothing but its number."""
    # Not by a look at everybody, which takes long, as many wait with this.
    now = [_read_if_there(p.pid) for p in processes]
    running = {p.identity: p for p in now if p is not None and p.state not in _DEAD}
    return [running[p.identity] for p in processes if p.identity in running]


def wait_gone(processes: Iterable[Process]) -> None:
    """Wait until none of them runs any more."""
    doomed = list(processes)
    wait_until(
        lambda: not alive(doomed),
        "nothing of it is left;",
        shown=lambda: f"still there: {alive(doomed)}",
    )


def strays(*marks: str) -> list[Process]:
    """Processes anywhere on the machine with one of `marks` in their command line."""
    return [
        process
        for process in everybody()
        if process.pid != os.getpid()
        and process.state not in _DEAD
        and any(mark in process.command for mark in marks)
    ]


# What processes hold ------------------------------------------------------------


def namespaces_of(processes: Iterable[Process]) -> set[str]:
    """Of those processes that we may look at, less those that we are in ourselves."""
    found = {name for process in processes for name in _namespaces(process.pid)}
    return found - set(_namespaces(os.getpid()))


def within(namespaces: set[str]) -> list[Process]:
    """Who is in one of them now. Whoever is there later need not be theirs: the numbers
    of namespaces come again at once."""
    return [
        process
        for process in everybody()
        if not namespaces.isdisjoint(_namespaces(process.pid))
    ]


def descriptors_of(process: Process) -> Counter[str]:
    """Its pipes, unix sockets, namespaces and handles on processes, counted.

    Empty where the kernel does not let us look: an engine hides itself, and only
    root sees it all the same.
    """
    unix = _unix_sockets(process.pid)
    kinds = Counter[str]()
    for target in _open(process.pid):
        kind, _, inode = target.partition(":")
        if kind != "socket" or inode.strip("[]") in unix:
            kinds["pidfd" if target == "anon_inode:[pidfd]" else kind] += 1
    counted = ("pipe", "socket", "pidfd", *_NAMESPACES)
    return Counter({kind: kinds[kind] for kind in counted if kinds[kind]})


def mounts_of(pid: int | str) -> int:
    """How many mounts it sees; 0 where we may not look."""
    try:
        return len((_PROC / str(pid) / "mountinfo").read_text().splitlines())
    except OSError:
        return 0


def _namespaces(pid: int) -> list[str]:
    return [
        target
        for name in _NAMESPACES
        if (target := _link(_PROC / str(pid) / "ns" / name))
    ]


def _open(pid: int) -> list[str]:
    try:
        descriptors = list((_PROC / str(pid) / "fd").iterdir())
    except OSError:
        return []
    return [target for fd in descriptors if (target := _link(fd))]


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _unix_sockets(pid: int) -> set[str]:
    try:
        rows = (_PROC / str(pid) / "net" / "unix").read_text().splitlines()[1:]
    except OSError:
        return set()
    return {row.split()[6] for row in rows}


def nice_of(process: Process) -> tuple[int, int]:
    """Its own, and its session's where the kernel shares out among those first."""
    own = os.getpriority(os.PRIO_PROCESS, process.pid)
    file = _PROC / str(process.pid) / "autogroup"
    if not file.exists():
        return own, own
    text = file.read_text()  # "/autogroup-17 nice -10", or nothing
    return own, int(text.split()[-1]) if text else own
