"""A live jail: its cells, their control groups, and the link to its warden."""

import contextlib
import errno
import math
import os
import resource
import signal
import socket
import time
from dataclasses import dataclass, field

from sandlot_sandbox.guest import datagrams
from sandlot_sandbox.guest.watch import MEMORY
from sandlot_sandbox.launcher.cgroups import Family, Group, Tree
from sandlot_sandbox.launcher.networks import WayOut
from sandlot_sandbox.launcher.users import UserIds
from sandlot_sandbox.limits import CLONES_AT_ONCE, Limits

_LEAVES_S = 5.0
"""How long a process beside a cell may take to follow it."""

JAIL = 0
"""Among numbers of cells."""

RESERVED_FILES = 512
"""Open files of ours that nothing new may take: a cell that was ordered comes with a
dozen, and many may have been."""

MAX_KEPT = 8
"""Dead cells of one zygote of which something is kept. The engine keeps fewer."""


@dataclass(slots=True)
class Cell:
    """A cell, as the launcher knows it. It owns its control group, if there are any."""

    group: Group | None
    pidfd: int | None = None
    """Of its first process, once that is there."""

    way_out: WayOut | None = None
    killed: list[WayOut] = field(default_factory=list)
    """Its way out, and those of cells whose heir it is: nobody has waited for them, and
    they are in its group until they are dead."""

    tmp: int | None = None
    """A copy of its /tmp's mount, once that is there."""

    verdict: str = ""
    """What we killed it for."""

    is_kept: bool = False
    """Whether /tmp and group are to be an heir's when it is dead."""

    was_made: bool = False
    """Whether somebody could come into its group beside its first process."""


@dataclass(slots=True)
class Leaving:
    """A dead cell's group that somebody is still in, or may be."""

    cell: Cell
    group: Group
    counts: bool = True
    """Whether its function may still use what is the group's: as long as one of the
    cell's ways out is there, which uses some of it."""

    since: float = math.inf
    """From when on nobody has any business in there."""


@dataclass(slots=True, eq=False)
class Zygote:
    """A live jail, as the launcher knows it."""

    number: int
    pid: int
    pidfd: int
    uid: int | None
    """What it has of the launcher's user ids."""

    link: socket.socket
    limits: Limits
    tree: Tree | None
    family: Family | None
    group: Group | None
    """Its own. The family's others are its cells'."""

    files: dict[str, int]
    """Descriptors of what freezes it and counts for it, or of the `leash` by which its
    warden does, where no group can; until the engine has them."""

    allow: tuple[str, ...] | None
    """Private networks that its cells may reach; None where they have no way out."""

    owner: int = 0
    """Whose it is, by a number."""

    cells: dict[int, Cell] = field(default_factory=dict)
    kept: dict[int, Cell] = field(default_factory=dict)
    """Dead cells that wait for an heir: their /tmp and their groups."""

    sockets: dict[int, int] = field(default_factory=dict)
    """Where the kernel tells how many there are: by cell, of its network, or of the
    `JAIL`'s own. Descriptors; none where no group counts memory."""

    leavings: list[Leaving] = field(default_factory=list)

    is_ready: bool = False
    is_dying: bool = False
    last_words: str = ""
    """What its warden said that it ends of, if it did."""

    @property
    def groups(self) -> list[Group]:
        """Its own, and its cells'."""
        cells = (c.group for c in (*self.cells.values(), *self.kept.values()))
        left = (leaving.group for leaving in self.leavings)
        return [group for group in (self.group, *cells, *left) if group is not None]

    def spent_us(self) -> int | None:
        """Of processors, it and all its cells together; None where nobody tells."""
        return None if self.family is None else self.family.spent_us()

    def make_cell(self, number: int, *, heir_of: int = 0) -> None:
        """Raises `OSError` if the warden is gone or does not take orders, and where
        nothing is kept of whose heir it is to be."""
        expect_room_for_files()
        dead = self.kept.pop(heir_of, None)
        if heir_of and (dead is None or dead.tmp is None):
            raise OSError(f"nothing is kept of cell {heir_of}")
        tmp = [dead.tmp] if dead is not None and dead.tmp is not None else []
        group = dead.group if dead is not None else None
        joins: list[int] = []
        try:
            # With the group what its /tmp holds is counted where it was.
            if group is None and self.family is not None:
                if self.group is not None and len(self.cells) % CLONES_AT_ONCE == 0:
                    share = self.limits.zygote_share(len(self.cells) + CLONES_AT_ONCE)
                    self.family.widen(self.group, share)
                group = self.family.add(self.limits.instance_share)
            killed = dead.killed if dead is not None else []
            self.cells[number] = Cell(
                group,
                was_made=dead is not None,
                killed=[way_out for way_out in killed if way_out.is_there],
            )
            joins = group.open_joins() if group is not None else []
            order = datagrams.encode_make_cell(number, has_tmp=bool(tmp))
            socket.send_fds(self.link, [order], tmp + joins)
        except OSError:
            self.forget_cell(number)
            raise
        finally:
            close_all(tmp + joins)

    def kill_cell(self, number: int, *, keeps: bool = False) -> None:
        """What is in it dies; the warden reports when its first process is reaped."""
        cell = self.cells[number]
        cell.is_kept = keeps
        if cell.pidfd is not None:
            _kill(cell.pidfd)
        if cell.group is not None:
            cell.group.thaw()

    def end_crowded(self, place: int) -> None:
        """It has more sockets than anybody counts: a cell, or the `JAIL`."""
        if (cell := self.cells.get(place)) is None:
            self.kill()
        else:
            cell.verdict = MEMORY
            self.kill_cell(place)

    def verdict_on(self, number: int) -> str:
        """What we have killed a cell for, if we have."""
        cell = self.cells.get(number)
        return cell.verdict if cell is not None else ""

    def open_joins(self, group: Group) -> list[int]:
        """For an instance, and good for nobody but this jail's processes."""
        if self.uid:
            return group.open_joins_of(self.uid)
        return group.open_joins()

    def close_files(self) -> None:
        """The engine has them, or nobody will."""
        close_all(list(self.files.values()))
        self.files = {}

    def forget_cell(self, number: int) -> None:
        """It is dead, or did not come to be; something of it may be kept."""
        cell = self.cells.pop(number, None)
        if (sockets := self.sockets.pop(number, None)) is not None:
            os.close(sockets)
        if cell is None:
            return
        if cell.way_out is not None:
            cell.way_out.kill()
            cell.killed.append(cell.way_out)
        if cell.pidfd is not None:
            os.close(cell.pidfd)
        if cell.is_kept and cell.tmp is not None and len(self.kept) < MAX_KEPT:
            self.kept[number] = Cell(
                cell.group, tmp=cell.tmp, was_made=True, killed=cell.killed
            )
        else:
            self._let_go(cell)

    def keep_no_more(self, number: int) -> list[int]:
        """It waited for an heir; harmless where it did not. Its /tmp, which is the
        caller's now, and not to be closed by us: nobody else may have it, and then it
        takes as long as all that lies in there takes to be freed."""
        if (cell := self.kept.pop(number, None)) is None:
            return []
        tmp, cell.tmp = cell.tmp, None
        self._let_go(cell)
        return [tmp] if tmp is not None else []

    def _let_go(self, cell: Cell) -> None:
        if cell.tmp is not None:
            # The engine has it as well, and is told only after this.
            os.close(cell.tmp)
        if cell.group is None or self.family is None:
            return
        leaving = Leaving(cell, cell.group)
        if not self._has_left(leaving, self.family):
            self.leavings.append(leaving)

    def _has_left(self, leaving: Leaving, family: Family) -> bool:
        """Whether the group is gone."""
        if not leaving.counts:
            return leaving.group.remove()
        if any(way_out.is_there for way_out in leaving.cell.killed):
            return False
        leaving.counts = False
        # Where a cell has not come up it is its first process alone, which on a machine
        # that is swamped may take its time.
        if leaving.cell.was_made:
            leaving.since = time.monotonic()
        is_gone = family.take_away(leaving.group)
        if not is_gone and leaving.cell.was_made:
            # Whoever it is has some seconds, and nobody pays for them.
            leaving.group.slow_down()
        return is_gone

    def tidy(self) -> None:
        """Remove what is left of groups. Who is still in the group of a cell that is
        dead, or has more than all live ones may have, hides something: the zygote, who
        alone can have done that, goes with all."""
        now = time.monotonic()
        self.remove_left()
        hides = any(now - leaving.since > _LEAVES_S for leaving in self.leavings)
        if hides or (self.family is not None and self.family.uses_too_much()):
            self.kill()

    def remove_left(self) -> None:
        """Of groups of dead cells, those that everybody has left."""
        if (family := self.family) is not None:
            self.leavings = [
                each for each in self.leavings if not self._has_left(each, family)
            ]

    def kill(self) -> None:
        """The warden is pid 1 of the jail: the kernel takes everything in it along."""
        self.is_dying = True
        _kill(self.pidfd)
        # What is frozen does not die. A hostile zygote can have moved the warden, too.
        for group in self.groups:
            group.thaw()

    def bury(self, users: UserIds) -> tuple[str, bool, list[int]]:
        """Reap it, and give back what it held. How it ended, and whether by SIGKILL;
        and what was kept of its cells, as `keep_no_more` has it."""
        _, status = os.waitpid(self.pid, 0)
        for number in list(self.cells):
            self.forget_cell(number)
        kept = [tmp for number in list(self.kept) for tmp in self.keep_no_more(number)]
        if self.tree is not None and self.family is not None:
            # With all groups below it, whoever is still on the way out of them.
            self.tree.give_up(self.family)
            self.leavings = []
        os.close(self.pidfd)
        self.close_files()
        close_all(list(self.sockets.values()))
        self.link.close()
        if self.uid is not None:
            users.give_back(self.uid)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            how = f"the jail was killed by signal {-code}"
            return how, -code == signal.SIGKILL, kept
        if code > 128:
            number = code - 128
            how = f"the zygote was killed by signal {number}"
            return how, number == signal.SIGKILL, kept
        return f"the zygote exited with status {code}", False, kept


def expect_room_for_files() -> None:
    """Raise `OSError` where we have nearly as many open as we may: what is sent to us
    then would be lost on its way, and there would be cells that we could not kill."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    os.close(fd := os.eventfd(0))
    if fd + RESERVED_FILES > limit:
        raise OSError(errno.EMFILE, "the launcher has too many open files")


def _kill(pidfd: int) -> None:
    # Dead already is what was asked for.
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def close_all(descriptors: list[int]) -> None:
    for fd in descriptors:
        os.close(fd)
