"""Control groups: what holds a whole instance to its memory, CPU and processes.

The launcher makes one tree, and in it a group for each zygote and one for each cell.
It knows three layouts, and takes each controller from where it is:

    v2       one group, joined through `cgroup.procs`
    v1       one group in each controller's hierarchy, joined through `tasks`
    hybrid   v1, where the v2 tree is there but has no controllers

A process joins by writing `0` to descriptors that were opened here. That moves
a single thread without the machine-wide lock that moving another's pid takes, ten
milliseconds of it; only v2 has no such way (`docs/decisions/0011-control-groups.md`).

Groups outlive their makers. So a janitor, a process of ours that waits for nothing
but the launcher's end, removes what it has left.
"""

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sandlot_sandbox import linux
from sandlot_sandbox.launcher.users import acting_as
from sandlot_sandbox.limits import Share
from sandlot_sandbox.memory_group import FILES, MEMORY_V1, MEMORY_V2, of_files

CONTROLLERS = ("memory", "cpu", "pids", "freezer")
"""What we use, in v1's words; v2 freezes without a controller."""

_PREFIX = "sandlot-"
_OURS = "sandlot.engine"
"""Where we go ourselves, in a group that systemd has given us."""

_ROOT = Path("/sys/fs/cgroup")
_HYBRID = "unified"
_SWEEP_S = 2.0
_REMOVE_S = 10.0
"""How long a dying process may keep its group from being removed."""

_LOOK_AGAIN_S = 0.01
_NAME_BYTES = 8

_DEALT_OUT = frozenset(("cpu", "v2"))
"""Parts in which processors are."""

_PROCESSES_AT_A_LOOK = 8
_KILL_BIT = 1 << (signal.SIGKILL - 1)
_WITH_SWAP = "memory.memsw.limit_in_bytes"
_OF_TCP = "memory.kmem.tcp.limit_in_bytes"
"""v1 counts what is in TCP's buffers apart; above this, connections wait."""

_NOT_EVERYWHERE = (
    *(_WITH_SWAP, _OF_TCP),
    *("memory.swap.max", "memory.oom.group", "memory.peak"),
)
"""Where the kernel does not count swap or TCP, or is older than a file that is a
nicety."""

_FOLDER = os.O_PATH | os.O_DIRECTORY
_PERIOD_US = 100_000
_V1_SHARES = 1024
_V2_WEIGHT = 100
_MAX_V2_WEIGHT = 10_000


_ROOTS = (_ROOT, _ROOT / _HYBRID)


class CgroupsUnavailable(Exception):
    """No group can be made here; the message says why."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where groups are made: folders that we may write to, by what they control."""

    v1: dict[str, Path] = field(default_factory=dict)
    """By controller, where it has a hierarchy of its own."""

    v2: Path | None = None
    v2_controllers: frozenset[str] = frozenset()

    @property
    def controls(self) -> frozenset[str]:
        """Of `CONTROLLERS`, what can be controlled here."""
        freezer = {"freezer"} if self.v2 is not None else set()
        return frozenset(self.v1) | self.v2_controllers | freezer

    @property
    def name(self) -> str:
        return "cgroup v1" if self.v2 is None else "cgroup v2"


def find(
    root: Path = _ROOT, of: Path = Path("/proc/self/cgroup"), *, only: str = ""
) -> Layout:
    """The groups that we are in, as far as others can be made in there.

    v1 before v2 where a machine has both: what v2 has no controllers for is v1's, and
    two hierarchies would be joined where one is enough. `only` takes one of them, or
    `none`.
    """
    if only == "none" or not of.exists():
        return Layout()
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for line in of.read_text().splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            if name in CONTROLLERS:
                folder = root / names / path.lstrip("/")
                if not folder.is_dir():
                    folder = root / name / path.lstrip("/")
                if os.access(folder, os.W_OK):
                    v1[name] = folder
        if not names:
            v2 = _v2_folder(root, path)
            if v2 is None and only == "v2":
                v2 = _v2_folder(root / _HYBRID, path)
    if only == "v1" or (v1 and only != "v2") or v2 is None:
        return Layout(v1)
    return Layout({}, v2, _v2_controllers(v2))


def _v2_folder(root: Path, path: str) -> Path | None:
    """Ours in the v2 tree. As root outside of any that was given to us, next to the
    root: what has processes in it can have no groups that are controlled."""
    folder = root / path.lstrip("/")
    if folder.name == _OURS:
        # A launcher before us has moved us all.
        folder = folder.parent
    if not (folder / "cgroup.procs").exists():
        return None
    if _is_ours_alone(folder):
        return folder
    return root if os.access(root / "cgroup.procs", os.W_OK) else None


def _is_ours_alone(folder: Path) -> bool:
    """Whether nobody but us and those who started us is in there: it was made for us,
    as systemd does with Delegate=yes."""
    if not os.access(folder / "cgroup.procs", os.W_OK) or folder in _ROOTS:
        return False
    inside = {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}
    family = {os.getpid(), os.getppid(), *_children_of(os.getppid())}
    return inside <= family


def _children_of(pid: int) -> set[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return set()
    return {int(child) for child in text.split()}


def _v2_controllers(folder: Path) -> frozenset[str]:
    names = (folder / "cgroup.controllers").read_text().split()
    return frozenset(CONTROLLERS) & frozenset(names)


class Group:
    """One zygote's or one cell's. Made by a `Family`."""

    def __init__(self, tree: "Tree", folders: dict[str, Path]) -> None:
        self._tree = tree
        self._folders = folders

    def make(self, share: Share) -> None:
        """Raises `OSError`, leaving nothing behind."""
        try:
            for folder in self._folders.values():
                _make_folder(folder)
            self._tree.limit(self._folders, self._tree.limits_of(share))
        except BaseException:
            self.remove()
            raise

    def widen(self, share: Share) -> None:
        """Raises `OSError`."""
        self._tree.limit(self._folders, _widest_first(self._tree.limits_of(share)))

    def open_joins(self) -> list[int]:
        """Descriptors; who writes `0` to each is in the group."""
        with _closed_on_error() as opened:
            for file in self._join_files():
                opened.append(_open(file, os.O_WRONLY))
            return opened

    def open_joins_of(self, uid: int) -> list[int]:
        """The same, but good for processes of that user alone, whoever gets hold of
        them: the kernel looks at who has opened them. We are root."""
        for file in self._join_files():
            os.chown(file, uid, -1)
        with acting_as(uid):
            return self.open_joins()

    def open_files(self) -> dict[str, int]:
        """For whoever minds an instance: `freeze`, or v1's `freezer`, to write to; and
        where memory is controlled the folder in which that is told, `memory_v1` or
        `memory_v2`. Raises `OSError`: what is promised must be there."""
        with _closed_on_error() as opened:
            found = {}
            for kind, (part, file, flags) in self._tree.files.items():
                found[kind] = _open(self._folders[part] / file, flags)
                opened.append(found[kind])
            kind = MEMORY_V2 if self._tree.is_v2 else MEMORY_V1
            if kind in found:
                # Whoever minds it opens these later, and takes none for nothing.
                os.stat(FILES[kind].usage, dir_fd=found[kind])
                os.stat(FILES[kind].stat, dir_fd=found[kind])
            return found

    def thaw(self) -> None:
        """What is frozen in v1 does not even die; in v2 it does."""
        if "freezer" in self._tree.files:
            part, file, _ = self._tree.files["freezer"]
            with contextlib.suppress(OSError):
                _write(self._folders[part] / file, b"THAWED")

    def thaw_if_killed(self) -> None:
        """Let go of what is frozen, and was killed by somebody else meanwhile."""
        if "freezer" in self._tree.files:
            part, _, _ = self._tree.files["freezer"]
            with contextlib.suppress(OSError):
                pids = (self._folders[part] / "cgroup.procs").read_text().split()
                # A tenant can have as many as it likes, and we little time.
                if any(_is_killed(pid) for pid in pids[:_PROCESSES_AT_A_LOOK]):
                    self.thaw()

    def remove(self) -> bool:
        """Whether it is gone; a process that is still dying keeps it for a moment."""
        return _remove_each(self._folders.values())

    def _join_files(self) -> list[Path]:
        return [folder / self._tree.join_file for folder in self._folders.values()]


class Estate:
    """Where an owner's groups are: whoever has a thousand that work gets no more of a
    busy machine's processors than whoever has one. Among one owner's they are dealt out
    by memory."""

    def __init__(self, tree: "Tree") -> None:
        self._tree = tree
        self.families = 0
        name = os.urandom(_NAME_BYTES).hex()
        # In v1 only where it makes a difference: each level has to be counted through.
        self.folders = {
            part: folder / name if part in _DEALT_OUT else folder
            for part, folder in tree.parts.items()
        }
        self._own = [self.folders[part] for part in _DEALT_OUT & self.folders.keys()]

    def make(self) -> None:
        """Raises `OSError`, leaving nothing behind."""
        try:
            for folder in self._own:
                _make_folder(folder)
            if self._tree.is_v2:
                _enable(self.folders["v2"], self._tree.controllers)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """There is nothing below it any more."""
        for folder in self._own:
            _remove_all(folder)


class Family:
    """A zygote's group and those of its cells, under one roof.

    What is charged to a group stays charged to those above it when it is gone; and a
    hostile zygote can move its own processes from one of its groups to another. So it
    is the roof that holds all of a function together, at what its live groups may use.
    """

    def __init__(self, tree: "Tree", below: dict[str, Path], owner: int) -> None:
        """Below an owner's folders."""
        self._tree = tree
        self.owner = owner
        # Seen from inside, and says nothing of how many others there are.
        name = os.urandom(_NAME_BYTES).hex()
        self._roof = {part: folder / name for part, folder in below.items()}
        self._shares: dict[Group, Share] = {}
        self._memory_limit = 0

    def make(self) -> None:
        """Raises `OSError`, leaving nothing behind."""
        try:
            for folder in self._roof.values():
                _make_folder(folder)
            if self._tree.is_v2:
                _enable(self._roof["v2"], self._tree.controllers)
        except BaseException:
            self.remove()
            raise

    def add(self, share: Share) -> Group:
        """Another group under the roof. Raises `OSError`."""
        name = os.urandom(_NAME_BYTES).hex()
        group = Group(self._tree, {p: f / name for p, f in self._roof.items()})
        self._shares[group] = share
        try:
            self._raise_roof()
            group.make(share)
        except BaseException:
            del self._shares[group]
            raise
        return group

    def widen(self, group: Group, share: Share) -> None:
        """It may have more memory than before, if that is more. Raises `OSError`."""
        if share.memory_bytes > self._shares[group].memory_bytes:
            self._shares[group] = share
            self._raise_roof()
            group.widen(share)

    def take_away(self, group: Group) -> bool:
        """Its share counts no more. Whether it is gone: see `Group.remove`."""
        self._shares.pop(group, None)
        return group.remove()

    def let_in(self, uid: int) -> None:
        """In v2 who moves has to be allowed to write to the roof as well."""
        if self._tree.is_v2:
            os.chown(self._roof["v2"] / self._tree.join_file, uid, -1)

    def uses_too_much(self) -> bool:
        """Whether there is more memory under the roof than its live groups may have;
        what the kernel remembers of files does not count, as it can forget it."""
        kind = MEMORY_V2 if self._tree.is_v2 else MEMORY_V1
        if kind not in self._tree.files:
            return False
        part, _, _ = self._tree.files[kind]
        folder, files = self._roof[part], FILES[kind]
        with contextlib.suppress(OSError):
            used = int((folder / files.usage).read_bytes())
            if used > self._memory:
                stat = (folder / files.stat).read_bytes()
                return used - of_files(stat) > self._memory
        return False

    def remove(self) -> bool:
        """Whether all is gone."""
        for folder in self._roof.values():
            _remove_all(folder)
        return not any(folder.exists() for folder in self._roof.values())

    @property
    def _memory(self) -> int:
        return sum(share.memory_bytes for share in self._shares.values())

    def _raise_roof(self) -> None:
        """Before there is another group below. Never lowered: that would have us wait
        until the kernel has found something to throw away. By an eighth more than is
        needed, or each of a thousand cells would have it raised."""
        if self._memory <= self._memory_limit:
            return
        shares = self._shares.values()
        whole = Share(
            memory_bytes=_and_an_eighth(self._memory),
            # No more than there is: a function with a thousand idle instances and one
            # that works would weigh as much as a thousand that work.
            cpus=min(_processors(), sum(share.cpus for share in shares)),
            max_cpus=sum(share.max_cpus for share in shares) * 9 / 8,
            processes=_and_an_eighth(sum(share.processes for share in shares)),
        )
        limits = self._tree.limits_of(whole)
        if self._memory_limit:
            limits = _widest_first(limits)
        self._tree.limit(self._roof, limits)
        self._memory_limit = whole.memory_bytes


def _and_an_eighth(number: int) -> int:
    return number * 9 // 8


class Tree:
    """All groups of one launcher."""

    def __init__(self, layout: Layout, name: str) -> None:
        self.name = name
        self._layout = layout
        self._doomed: list[Family] = []
        self._estates: dict[int, Estate] = {}
        self.is_v2 = layout.v2 is not None
        if layout.v2 is not None:
            self.parts = {"v2": layout.v2 / name}
        else:
            self.parts = {part: folder / name for part, folder in layout.v1.items()}
        self.join_file = "cgroup.procs" if self.is_v2 else "tasks"
        self.files = _v2_files(layout) if self.is_v2 else _v1_files(layout)

    @property
    def controls(self) -> frozenset[str]:
        return self._layout.controls

    @property
    def controllers(self) -> frozenset[str]:
        """What is to be switched on for the groups below one, in v2."""
        return self._layout.v2_controllers

    @property
    def description(self) -> str:
        """For the operator: `cgroup v1: cpu, freezer, memory, pids`."""
        return f"{self._layout.name}: {', '.join(sorted(self.controls))}"

    @classmethod
    def plant(cls, layout: Layout) -> "Tree":
        """Make the tree, and remove those whose launchers are gone.

        Raises `CgroupsUnavailable`.
        """
        tree = cls(layout, f"{_PREFIX}{os.getpid()}")
        if not tree.parts:
            raise CgroupsUnavailable("no cgroup that we may write to")
        _sweep([folder.parent for folder in tree.parts.values()])
        try:
            if layout.v2 is not None:
                _make_room_in_v2(layout.v2, layout.v2_controllers)
            for folder in tree.parts.values():
                _make_folder(folder)
            if layout.v2 is not None:
                _enable(tree.parts["v2"], layout.v2_controllers)
            if "pids" in layout.controls:
                # Whatever jails do, the machine can still start processes.
                part = "v2" if tree.is_v2 else "pids"
                _write(tree.parts[part] / "pids.max", b"%d" % _all_processes())
        except OSError as error:
            tree.remove()
            raise CgroupsUnavailable(f"{error}") from error
        return tree

    def make(self, owner: int = 0) -> Family:
        """Groups for a zygote of that owner's; raises `OSError`."""
        estate = self._estates.get(owner)
        if estate is None:
            estate = Estate(self)
            estate.make()
            self._estates[owner] = estate
        estate.families += 1
        family = Family(self, estate.folders, owner)
        try:
            family.make()
        except BaseException:
            self._leave(owner)
            raise
        return family

    def give_up(self, family: Family) -> None:
        """Remove it as soon as it can be."""
        self._doomed.append(family)
        self.prune()

    def prune(self) -> None:
        """Try again what could not be removed yet."""
        doomed, self._doomed = self._doomed, []
        for family in doomed:
            if family.remove():
                self._leave(family.owner)
            else:
                self._doomed.append(family)

    def _leave(self, owner: int) -> None:
        estate = self._estates[owner]
        estate.families -= 1
        if not estate.families:
            del self._estates[owner]
            estate.remove()

    def remove(self) -> None:
        """Everything, once the processes in there are dead."""
        for folder in self.parts.values():
            _remove_all(folder)

    def limits_of(self, share: Share) -> list[tuple[str, str, bytes]]:
        """What is written where: part, file, value."""
        values = _v2_limits(share) if self.is_v2 else _v1_limits(share)
        controls = self._layout.controls
        return [
            ("v2" if self.is_v2 else controller, file, str(value).encode())
            for controller, file, value in values
            if controller in controls
        ]

    def limit(
        self, folders: dict[str, Path], limits: list[tuple[str, str, bytes]]
    ) -> None:
        """Write them. Raises `OSError`."""
        for part, file, value in limits:
            path = folders[part] / file
            if file not in _NOT_EVERYWHERE or path.exists():
                _write(path, value)


def _widest_first(limits: list[tuple[str, str, bytes]]) -> list[tuple[str, str, bytes]]:
    """For limits that are raised: memory and swap together may not be less than memory
    alone."""
    return sorted(limits, key=lambda limit: limit[1] != _WITH_SWAP)


def _v1_limits(share: Share) -> list[tuple[str, str, int]]:
    return [
        ("memory", "memory.limit_in_bytes", share.memory_bytes),
        ("memory", _WITH_SWAP, share.memory_bytes),
        ("memory", _OF_TCP, share.memory_bytes // 2),
        ("cpu", "cpu.shares", max(2, int(_V1_SHARES * share.cpus))),
        ("cpu", "cpu.cfs_period_us", _PERIOD_US),
        ("cpu", "cpu.cfs_quota_us", int(_PERIOD_US * share.max_cpus)),
        ("pids", "pids.max", share.processes),
    ]


def _v2_limits(share: Share) -> list[tuple[str, str, int | str]]:
    weight = min(_MAX_V2_WEIGHT, max(1, int(_V2_WEIGHT * share.cpus)))
    return [
        ("memory", "memory.max", share.memory_bytes),
        ("memory", "memory.swap.max", 0),
        ("memory", "memory.oom.group", 1),
        ("cpu", "cpu.weight", weight),
        ("cpu", "cpu.max", f"{int(_PERIOD_US * share.max_cpus)} {_PERIOD_US}"),
        ("pids", "pids.max", share.processes),
    ]


def _v1_files(layout: Layout) -> dict[str, tuple[str, str, int]]:
    known = {
        "freezer": ("freezer", "freezer.state", os.O_WRONLY),
        MEMORY_V1: ("memory", "", _FOLDER),
    }
    return {kind: entry for kind, entry in known.items() if entry[0] in layout.v1}


def _v2_files(layout: Layout) -> dict[str, tuple[str, str, int]]:
    freeze = {"freeze": ("v2", "cgroup.freeze", os.O_WRONLY)}
    if "memory" not in layout.v2_controllers:
        return freeze
    return {**freeze, MEMORY_V2: ("v2", "", _FOLDER)}


def _make_room_in_v2(folder: Path, controllers: frozenset[str]) -> None:
    """A group that is to have controlled groups in it may have no processes."""
    inside = (folder / "cgroup.procs").read_text().split()
    if inside and folder not in _ROOTS:
        # Nobody but us, says `_is_ours_alone`.
        ours = folder / _OURS
        ours.mkdir(exist_ok=True)
        for pid in inside:
            with contextlib.suppress(ProcessLookupError):
                _write(ours / "cgroup.procs", pid.encode())
    _enable(folder, controllers)


def _enable(folder: Path, controllers: frozenset[str]) -> None:
    enabled = (folder / "cgroup.subtree_control").read_text().split()
    for name in sorted(controllers - frozenset(enabled)):
        _write(folder / "cgroup.subtree_control", f"+{name}".encode())


def _is_killed(pid: str) -> bool:
    """Whether a SIGKILL waits for it."""
    # As bytes: its name, in there as well, is what its tenant likes.
    for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
        name, _, mask = line.partition(b":")
        if name in (b"SigPnd", b"ShdPnd") and int(mask, 16) & _KILL_BIT:
            return True
    return False


class Janitor:
    """A process that removes a tree when we are gone, however we go."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._start()

    def _start(self) -> None:
        read, self._leash = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            _wait_and_clean(self._tree, read, self._leash)
        os.close(read)
        self.pidfd = os.pidfd_open(self._pid)

    def replace(self) -> None:
        """It was killed; `pidfd` is another's then."""
        os.waitpid(self._pid, 0)
        os.close(self.pidfd)
        os.close(self._leash)
        self._start()

    def dismiss(self) -> None:
        """Have it do its work now, and return when it is done."""
        os.close(self._leash)
        os.waitpid(self._pid, 0)
        os.close(self.pidfd)


def _wait_and_clean(tree: Tree, end: int, leash: int) -> None:
    try:
        os.close(leash)
        os.setsid()
        linux.close_range(0, end - 1)
        linux.close_from(end + 1)
        # Whoever ends us all by name, ends the launcher first.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        select.select([end], [], [])
        _remove_when_empty(list(tree.parts.values()), _REMOVE_S)
    finally:
        os._exit(0)


def _remove_when_empty(folders: list[Path], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        for folder in folders:
            with contextlib.suppress(OSError):
                _thaw_all(folder)
            _remove_all(folder)
        if not any(folder.exists() for folder in folders):
            return
        time.sleep(_LOOK_AGAIN_S)


def _thaw_all(folder: Path) -> None:
    for state in folder.rglob("freezer.state"):
        # A tree's own, and a roof's, are never frozen.
        with contextlib.suppress(OSError):
            _write(state, b"THAWED")


def _sweep(parents: list[Path]) -> None:
    """Remove what launchers have left that were killed together with their janitors."""
    left = [
        folder
        for parent in parents
        for folder in parent.glob(f"{_PREFIX}*")
        if _is_of_nobody(folder.name.removeprefix(_PREFIX))
    ]
    # Together: what is frozen by one hierarchy is in the others as well.
    _remove_when_empty(left, _SWEEP_S)


def _is_of_nobody(pid: str) -> bool:
    return pid.isdigit() and not Path(f"/proc/{pid}").exists()


def _make_folder(folder: Path) -> None:
    """That others may go through: jails' users open what they join."""
    before = os.umask(0o066)
    try:
        folder.mkdir()
    finally:
        os.umask(before)


def _remove_all(folder: Path) -> None:
    """With all groups below it, from the lowest up, as far as they are empty."""
    with contextlib.suppress(OSError):
        for inner in folder.iterdir():
            if inner.is_dir():
                _remove_all(inner)
        folder.rmdir()


def _remove_each(folders: Iterable[Path]) -> bool:
    gone = True
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            gone = False
    return gone


def _processors() -> float:
    return float(os.cpu_count() or 1)


def _all_processes() -> int:
    return int(Path("/proc/sys/kernel/pid_max").read_text()) * 3 // 4


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)


def _write(path: Path, value: bytes) -> None:
    fd = _open(path, os.O_WRONLY)
    try:
        os.write(fd, value)
    except OSError as error:
        raise OSError(error.errno, f"{path.name}: {error.strerror}") from error
    finally:
        os.close(fd)


@contextlib.contextmanager
def _closed_on_error() -> Iterator[list[int]]:
    opened: list[int] = []
    try:
        yield opened
    except BaseException:
        for fd in opened:
            os.close(fd)
        raise
