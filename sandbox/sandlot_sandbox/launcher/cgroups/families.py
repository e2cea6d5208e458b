"""Groups that go together: a function's under one roof, an owner's on one estate."""

import contextlib
import mmap
import os
from pathlib import Path

from sandlot_sandbox.launcher.cgroups.districts import District
from sandlot_sandbox.launcher.cgroups.files import make_folder, remove_all
from sandlot_sandbox.launcher.cgroups.group import Group
from sandlot_sandbox.launcher.cgroups.interface import Interface, widest_first
from sandlot_sandbox.launcher.cgroups.layout import DEALT_OUT, enable
from sandlot_sandbox.limits import Share
from sandlot_sandbox.memory_group import FILES, of_files

_NAME_BYTES = 8

_OF_A_GROUP = 16 << 10
"""Bytes that the kernel needs for one, and charges to the roof above it."""

_AHEAD = 64 * mmap.PAGESIZE
"""What the processor on which one is made charges with that, for what is to come
(`MEMCG_CHARGE_BATCH`)."""


class Family:
    """A zygote's group and those of its cells, under one roof.

    What is charged to a group stays charged to those above it when it is gone; and a
    hostile zygote can move its own processes from one of its groups to another. So it
    is the roof that holds all of a function together, at what its live groups may use.
    """

    def __init__(
        self, interface: Interface, below: dict[str, Path], owner: int
    ) -> None:
        """Below an owner's folders."""
        self._interface = interface
        self.owner = owner
        # Seen from inside, and says nothing of how many others there are.
        name = os.urandom(_NAME_BYTES).hex()
        self._roof = {part: folder / name for part, folder in below.items()}
        self._shares: dict[Group, Share] = {}
        self._memory = 0
        """Of all shares: with thousands of them nobody adds them up for each."""

        self._memory_limit = 0

    def make(self) -> None:
        """Raises `OSError`, leaving nothing behind."""
        try:
            for folder in self._roof.values():
                make_folder(folder)
            if self._interface.is_v2:
                enable(self._roof["v2"], self._interface.controllers)
        except BaseException:
            self.remove()
            raise

    def add(self, share: Share) -> Group:
        """Another group under the roof. Raises `OSError`."""
        name = os.urandom(_NAME_BYTES).hex()
        group = Group(self._interface, {p: f / name for p, f in self._roof.items()})
        self._note(group, share)
        try:
            self._raise_roof()
            group.make(share)
        except BaseException:
            self._note(group, None)
            raise
        return group

    def widen(self, group: Group, share: Share) -> None:
        """It may have more memory than before, if that is more. Raises `OSError`."""
        if share.memory_bytes > self._shares[group].memory_bytes:
            self._note(group, share)
            self._raise_roof()
            group.widen(share)

    def take_away(self, group: Group) -> bool:
        """Its share counts no more. Whether it is gone: see `Group.remove`."""
        self._note(group, None)
        return group.remove()

    def let_in(self, uid: int) -> None:
        """In v2 who moves has to be allowed to write to the roof as well."""
        if self._interface.is_v2:
            os.chown(self._roof["v2"] / self._interface.join_file, uid, -1)

    def spent_us(self) -> int | None:
        """Microseconds of processors, all under the roof together, and those of what is
        gone from there; None where the kernel does not tell it of these groups, as v1
        does not where it counts that elsewhere."""
        with contextlib.suppress(OSError):
            if self._interface.is_v2:
                stat = (self._roof["v2"] / "cpu.stat").read_bytes()
                return int(stat.split(None, 2)[1])
            if (folder := self._roof.get("cpu")) is not None:
                return int((folder / "cpuacct.usage").read_bytes()) // 1_000
        return None

    def uses_too_much(self) -> bool:
        """Whether there is more memory under the roof than its live groups may have;
        what the kernel remembers of files does not count, as it can forget it, nor what
        the groups themselves take: one that is full hides nothing."""
        kind = self._interface.memory_kind
        if kind not in self._interface.files:
            return False
        part, _, _ = self._interface.files[kind]
        folder, files = self._roof[part], FILES[kind]
        with contextlib.suppress(OSError):
            used = int((folder / files.usage).read_bytes())
            most = self._memory + self._of_the_groups
            if used > most:
                stat = (folder / files.stat).read_bytes()
                return used - of_files(stat) > most
        return False

    @property
    def _of_the_groups(self) -> int:
        """Bytes of the kernel's own under the roof, at most."""
        groups = len(self._shares)
        return groups * _OF_A_GROUP + min(groups, int(_processors())) * _AHEAD

    def remove(self) -> bool:
        """Whether all is gone."""
        for folder in self._roof.values():
            remove_all(folder)
        return not any(folder.exists() for folder in self._roof.values())

    def _note(self, group: Group, share: Share | None) -> None:
        """What it may use from now on; None for one that counts no more."""
        if (before := self._shares.pop(group, None)) is not None:
            self._memory -= before.memory_bytes
        if share is not None:
            self._shares[group] = share
            self._memory += share.memory_bytes

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
        limits = self._interface.limits_of(whole)
        if self._memory_limit:
            limits = widest_first(limits)
        self._interface.limit(self._roof, limits)
        self._memory_limit = whole.memory_bytes


class Estate:
    """Where an owner's groups are: whoever has a thousand that work gets no more of a
    busy machine's processors than whoever has one. Among one owner's they are dealt out
    by memory."""

    def __init__(self, interface: Interface, district: District) -> None:
        self._interface = interface
        self._district = district
        self.families = 0
        name = os.urandom(_NAME_BYTES).hex()
        # In v1 only where it makes a difference: each level has to be counted through.
        self.folders = {
            part: folder / name if part in DEALT_OUT else folder
            for part, folder in district.parts.items()
        }
        self._own = [self.folders[part] for part in DEALT_OUT & self.folders.keys()]

    def make(self) -> None:
        """Raises `OSError`, leaving nothing behind."""
        self._district.estates += 1
        try:
            for folder in self._own:
                make_folder(folder)
            if self._interface.is_v2:
                enable(self.folders["v2"], self._interface.controllers)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """There is nothing below it any more."""
        self._district.estates -= 1
        for folder in self._own:
            remove_all(folder)


def _and_an_eighth(number: int) -> int:
    return number * 9 // 8


def _processors() -> float:
    return float(os.cpu_count() or 1)
