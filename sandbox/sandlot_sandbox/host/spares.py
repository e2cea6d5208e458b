"""What all zygotes together keep ready: so many cells, in so many open files."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from sandlot_sandbox.host.room import OF_BERTH

MAX_SPARES = 1_024
"""Cells that are kept ready although no crowd is expected."""

EXTRA_PART = 8
"""An eighth of the files that instances leave is never a crowd's."""


class Keeper(Protocol):
    """Who keeps cells of one zygote ready: `host.cells.Cells`."""

    @property
    def owner(self) -> int: ...

    @property
    def each(self) -> int: ...

    @property
    def kept(self) -> int: ...

    @property
    def extra(self) -> int: ...

    def give_up(self, count: int) -> int: ...


class Spares:
    """How many cells may be kept ready. Who may keep none has one made when it is
    forked. They share `files`, open ones, with all instances, and yield to them.

    Beside `most` there may be `most_extra` for crowds, which yield to all others; and
    among them, who owns the most to who owns fewer.
    """

    def __init__(
        self, most: int, *, files: int | None = None, most_extra: int = 0
    ) -> None:
        self.most = most
        self._files = files
        self._most_extra = most_extra
        self._of: set[Keeper] = set()
        self._crowds: set[Keeper] = set()
        """Those that had extra ones."""

        self.held = 0
        """Open files of instances."""

    @property
    def ready(self) -> int:
        """Cells that are kept, of all zygotes."""
        return sum(cells.kept for cells in self._of)

    @property
    def left(self) -> int:
        """How many more may be kept, beside those of crowds."""
        few = [(cells.kept - cells.extra, cells.each) for cells in self._of]
        left = self.most - sum(kept for kept, _ in few)
        if self._files is not None:
            files = sum(kept * each for kept, each in few)
            left = min(left, (self._files - self.held - files) // OF_BERTH)
        return max(0, left)

    @property
    def _kept_files(self) -> int:
        return sum(cells.kept * cells.each for cells in self._of)

    def add(self, cells: Keeper) -> None:
        self._of.add(cells)

    def remove(self, cells: Keeper) -> None:
        self._of.discard(cells)
        self._crowds.discard(cells)

    def allow(self, count: int) -> int:
        """How many of so many more may be kept, not for a crowd."""
        count = max(0, min(count, self.left))
        self._make_room(count * OF_BERTH)
        return count

    def hold(self, files: int) -> None:
        """An instance has so many open."""
        self.held += files
        self._make_room()

    def let_go(self, files: int) -> None:
        """It has not any more."""
        self.held -= files

    def has_room_for(self, cells: Keeper) -> bool:
        """Whether it may have one more for a crowd: there is room, or another owner has
        more than one more, and gives one up."""
        has_room = sum(each.extra for each in self._crowds) < self._most_extra
        if self._files is not None:
            files = (self._files - self.held) * (EXTRA_PART - 1) // EXTRA_PART
            has_room = has_room and self._kept_files + cells.each <= files
        if not has_room:
            of_owners = self._of_owners()
            most = max(of_owners.values(), default=0)
            has_room = most > of_owners[cells.owner] + 1
            has_room = has_room and self._take_from_crowds(files=1)
        if has_room:
            self._crowds.add(cells)
        return has_room

    def _make_room(self, files: int = 0) -> None:
        """Where so many more are too many, crowds have fewer cells."""
        if self._files is None or not self._crowds:
            return
        missing = self.held + self._kept_files + files - self._files
        if missing > 0:
            self._take_from_crowds(files=missing)

    def _of_owners(self) -> Counter[int]:
        found = Counter[int]()
        for cells in self._crowds:
            found[cells.owner] += cells.extra
        return found

    def _take_from_crowds(self, *, files: int) -> bool:
        """Who owns the most gives first, of that of which it has the most; whether
        there were as many."""
        while files > 0 and self._crowds:
            of_owners = self._of_owners()
            first = max(self._crowds, key=lambda one: (of_owners[one.owner], one.extra))
            # What is still being made cannot be given up.
            if not (first.extra and first.give_up(1)):
                self._crowds.discard(first)
                continue
            files -= first.each
        return files <= 0
