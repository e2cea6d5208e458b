"""All groups of one launcher: planted, pruned and removed."""

import os
from collections.abc import Sequence
from pathlib import Path

from sandlot_sandbox.launcher.cgroups.districts import (
    District,
    most_of,
    parts_of,
    weight_of,
)
from sandlot_sandbox.launcher.cgroups.families import Estate, Family
from sandlot_sandbox.launcher.cgroups.files import make_folder, remove_all, write_file
from sandlot_sandbox.launcher.cgroups.interface import Interface
from sandlot_sandbox.launcher.cgroups.layout import Layout, enable, make_room_in_v2
from sandlot_sandbox.launcher.cgroups.sweeping import PREFIX, claim, sweep

_COLD = "cold"
"""A group of v1's that is frozen and empty. The kernel rewrites its own code for the
first one on a machine that is frozen, and again when none is any more, and all
processors wait for that: 80 µs each time, of an instance's thaw as well. So there is
always one."""


class CgroupsUnavailable(Exception):
    """No group can be made here; the message says why."""


class Tree:
    """All groups of one launcher."""

    def __init__(self, layout: Layout, name: str) -> None:
        self.name = name
        self._layout = layout
        self._doomed: list[Family] = []
        self._made: list[Path] = []
        self._claims: list[int] = []
        self._estates: dict[int, Estate] = {}
        self.interface = Interface(layout)
        if layout.v2 is not None:
            self.parts = {"v2": layout.v2 / name}
        else:
            self.parts = {part: folder / name for part, folder in layout.v1.items()}
        self._districts = [District(self.parts)]
        self._most_districts = 1

    @property
    def controls(self) -> frozenset[str]:
        return self._layout.controls

    @property
    def folders(self) -> list[Path]:
        """All that may be there of it, its districts first."""
        beside = (
            folder
            for number in range(1, self._most_districts)
            for folder in District(parts_of(self.parts, number)).folders
        )
        return [*beside, *self.parts.values()]

    @property
    def is_v2(self) -> bool:
        return self.interface.is_v2

    @property
    def description(self) -> str:
        """For the operator: `cgroup v1: cpu, freezer, memory, pids`."""
        return f"{self._layout.name}: {', '.join(sorted(self.controls))}"

    @classmethod
    def plant(cls, layout: Layout) -> "Tree":
        """Make the tree, and remove those whose launchers are gone.

        Raises `CgroupsUnavailable`.
        """
        tree = cls(layout, f"{PREFIX}{os.getpid()}")
        if not tree.parts:
            raise CgroupsUnavailable("no cgroup that we may write to")
        try:
            if layout.v2 is not None:
                make_room_in_v2(layout.v2, layout.v2_controllers)
            tree._most_districts = most_of(layout, _all_processes())
            for folder in tree.parts.values():
                tree._make(folder)
                tree._claims.append(claim(folder))
            for folder in tree.folders:
                if folder not in tree._made:
                    # Of one that had our pid, and could not be removed in time.
                    remove_all(folder)
            if "pids" in tree.parts:
                tree._limit_processes(tree.parts["pids"])
            if "freezer" in tree.parts:
                make_folder(cold := tree.parts["freezer"] / _COLD)
                write_file(cold / "freezer.state", b"FROZEN")
        except OSError as error:
            tree.remove()
            raise CgroupsUnavailable(f"{error}") from error
        sweep([folder.parent for folder in tree.parts.values()])
        return tree

    def make(self, owner: int = 0) -> Family:
        """Groups for a zygote of that owner's; raises `OSError`."""
        estate = self._estates.get(owner)
        if estate is None:
            estate = Estate(self.interface, self._emptiest())
            estate.make()
            self._estates[owner] = estate
        estate.families += 1
        family = Family(self.interface, estate.folders, owner)
        try:
            family.make()
        except BaseException:
            self._leave(owner)
            raise
        return family

    def _emptiest(self) -> District:
        """Where another owner goes. Raises `OSError`."""
        emptiest = min(self._districts, key=lambda district: district.estates)
        if not emptiest.estates or len(self._districts) == self._most_districts:
            return emptiest
        made = District(parts_of(self.parts, len(self._districts)))
        # Before it is one of them, or the next owner would be in there although not all
        # weigh less. Some may do so already then, for as long as there is no other.
        try:
            for folder in made.folders:
                self._make(folder)
            self._weigh([*self._districts, made])
        except BaseException:
            for folder in made.folders:
                remove_all(folder)
                if folder in self._made:
                    self._made.remove(folder)
            raise
        self._districts.append(made)
        return made

    def _weigh(self, districts: Sequence[District]) -> None:
        file, weight = weight_of(len(districts), is_v2=self.is_v2)
        for district in districts:
            for folder in district.folders:
                write_file(folder / file, b"%d" % weight)

    def _make(self, folder: Path) -> None:
        """One in which there are to be others, of processes in v2 with its part of all.
        Raises `OSError`, leaving nothing behind."""
        make_folder(folder)
        try:
            if self.is_v2:
                enable(folder, self.interface.controllers)
                if "pids" in self.controls:
                    self._limit_processes(folder)
        except BaseException:
            folder.rmdir()
            raise
        self._made.append(folder)

    def _limit_processes(self, folder: Path) -> None:
        """Whatever jails do, the machine can still start some."""
        most = _all_processes()
        if self.is_v2:
            most //= self._most_districts
        write_file(folder / "pids.max", b"%d" % most)

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
        """Everything that we made, once the processes in there are dead."""
        while self._made:
            remove_all(self._made.pop())
        while self._claims:
            os.close(self._claims.pop())


def _all_processes() -> int:
    return int(Path("/proc/sys/kernel/pid_max").read_text()) * 3 // 4
