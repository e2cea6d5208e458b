"""Where groups can be made on this machine: its layout, and room in it."""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from sandlot_sandbox.launcher.cgroups.files import write_file

CONTROLLERS = ("memory", "cpu", "pids", "freezer")
"""What we use, in v1's words; v2 freezes without a controller."""

DEALT_OUT = frozenset(("cpu", "v2"))
"""Parts in which processors are."""

_OURS = "sandlot.engine"
"""Where we go ourselves, in a group that systemd has given us."""

_OUR_WEIGHT = b"900"
"""Of processors, in v2, beside 100 of the tree that functions are in: who keeps them
busy must not keep the engine from answering others. See `sandlot_engine.priority`."""

_ROOT = Path("/sys/fs/cgroup")
_HYBRID = "unified"
_ROOTS = (_ROOT, _ROOT / _HYBRID)


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


def is_beside_us(folder: Path) -> bool:
    """Whether a group there would have its turns beside the engine's own, which weighs
    more."""
    return (folder / _OURS / "cpu.weight").exists()


def make_room_in_v2(folder: Path, controllers: frozenset[str]) -> None:
    """A group that is to have controlled groups in it may have no processes."""
    inside = (folder / "cgroup.procs").read_text().split()
    ours = folder / _OURS
    if inside and folder not in _ROOTS:
        # Nobody but us, says `_is_ours_alone`.
        ours.mkdir(exist_ok=True)
        for pid in inside:
            with contextlib.suppress(ProcessLookupError):
                write_file(ours / "cgroup.procs", pid.encode())
    enable(folder, controllers)
    if "cpu" in controllers and ours.exists():
        write_file(ours / "cpu.weight", _OUR_WEIGHT)


def enable(folder: Path, controllers: frozenset[str]) -> None:
    enabled = (folder / "cgroup.subtree_control").read_text().split()
    for name in sorted(controllers - frozenset(enabled)):
        write_file(folder / "cgroup.subtree_control", f"+{name}".encode())
