"""The files that the kernel gives a group, in v1 and v2: which are written, with what;
which one it is joined by, and which are opened for others."""

import os
from pathlib import Path

from sandlot_sandbox.launcher.cgroups.files import write_file
from sandlot_sandbox.launcher.cgroups.layout import Layout
from sandlot_sandbox.limits import Share
from sandlot_sandbox.memory_group import MEMORY_V1, MEMORY_V2

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
"""The kernel's own, as a new group has it. In v1 nobody writes it: for each write the
kernel goes through all groups there are."""

_SLOW_US = _PERIOD_US // 20
"""Of a processor in each period, for who has no business in a group any more."""

_V1_SHARES = 1024
_V2_WEIGHT = 100
_MAX_V2_WEIGHT = 10_000


class Interface:
    """The interface of all groups of a layout. These are folders, by the part of it
    they are in: a controller in v1, `v2` in v2."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.is_v2 = layout.v2 is not None
        self.join_file = "cgroup.procs" if self.is_v2 else "tasks"
        self.files = _v2_files(layout) if self.is_v2 else _v1_files(layout)
        """For `Group.open_files`: part, file and flags, by kind."""

        self._is_there: dict[str, bool] = {}
        """Of the files that are not everywhere, as seen in the first group."""

    @property
    def controllers(self) -> frozenset[str]:
        """What is to be switched on for the groups below one, in v2."""
        return self._layout.v2_controllers

    @property
    def memory_kind(self) -> str:
        """Of `files`, the one that tells of memory, where that is controlled."""
        return MEMORY_V2 if self.is_v2 else MEMORY_V1

    def limits_of(self, share: Share) -> list[tuple[str, str, bytes]]:
        """What is written where: part, file, value."""
        values = _v2_limits(share) if self.is_v2 else _v1_limits(share)
        controls = self._layout.controls
        return [
            ("v2" if self.is_v2 else controller, file, str(value).encode())
            for controller, file, value in values
            if controller in controls
        ]

    @property
    def slowest(self) -> list[tuple[str, str, bytes]]:
        """As `limits_of`: no more of a processor than it takes to end. Nothing where
        nobody limits that."""
        if "cpu" not in self._layout.controls:
            return []
        if self.is_v2:
            return [("v2", "cpu.max", b"%d %d" % (_SLOW_US, _PERIOD_US))]
        return [("cpu", "cpu.cfs_quota_us", b"%d" % _SLOW_US)]

    def limit(
        self, folders: dict[str, Path], limits: list[tuple[str, str, bytes]]
    ) -> None:
        """Write them. Raises `OSError`."""
        for part, file, value in limits:
            path = folders[part] / file
            if file in _NOT_EVERYWHERE:
                if file not in self._is_there:
                    self._is_there[file] = path.exists()
                if not self._is_there[file]:
                    continue
            write_file(path, value)


def widest_first(limits: list[tuple[str, str, bytes]]) -> list[tuple[str, str, bytes]]:
    """For limits that are raised: memory and swap together may not be less than memory
    alone."""
    return sorted(limits, key=lambda limit: limit[1] != _WITH_SWAP)


def _v1_limits(share: Share) -> list[tuple[str, str, int]]:
    return [
        ("memory", "memory.limit_in_bytes", share.memory_bytes),
        ("memory", _WITH_SWAP, share.memory_bytes),
        ("memory", _OF_TCP, share.memory_bytes // 2),
        ("cpu", "cpu.shares", max(2, int(_V1_SHARES * share.cpus))),
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
