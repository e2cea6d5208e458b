"""What all zygotes together keep ready: so many cells, in so many open files."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from sandlot_sandbox.host.room import OF_BERTH

MAX_SPARES = 1_024
"""Cells that are kept ready although no crowd is expected."""

EXTRA_PART = 8
"""An eighth of the files that instances leave is never a crowd's."""

FILL_EVERY_S = 0.02
"""Between two that are made for crowds, of all zygotes: a tenth of a processor, and a
thousand within half a minute."""

TROUBLE_S = 60.0
"""How long none is made for a crowd where memory was short."""

AT_A_FAILURE = 16
"""So many of crowds' are given up where one cannot be made for who waits for it: it may
be for what they take."""


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
        self._most_kept_files = (most + most_extra) * OF_BERTH
        self._of: set[Keeper] = set()
        self._next_at = 0.0
        """When the next may be made for a crowd."""

        self.trouble_until = 0.0
        """None is, until then."""

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

    def add(self, cells: Keeper) -> None:
        self._of.add(cells)

    def remove(self, cells: Keeper) -> None:
        self._of.discard(cells)

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

    # For crowds.

    def turn_at(self, now: float) -> float:
        """When to have one made for a crowd, for one that asks now: each has a turn of
        its own."""
        turn_at = max(now, self._next_at, self.trouble_until)
        self._next_at = turn_at + FILL_EVERY_S
        return turn_at

    def note_trouble(self, now: float) -> None:
        """Memory is short."""
        self.trouble_until = now + TROUBLE_S

    def note_failure(self) -> None:
        """One could not be made for who waits for it."""
        self._take_from_crowds(count=AT_A_FAILURE)

    def has_room_for(self, cells: Keeper) -> bool:
        """Whether it may have one more: there is room, or another owner has more than
        one more, and gives one up."""
        has_room = sum(each.extra for each in self._of) < self._most_extra
        if self._files is not None:
            files = (self._files - self.held) * (EXTRA_PART - 1) // EXTRA_PART
            has_room = has_room and self._kept_files + cells.each <= files
        if not has_room:
            of_owners = self._of_owners()
            most = max(of_owners.values(), default=0)
            has_room = most > of_owners[cells.owner] + 1
            has_room = has_room and self._take_from_crowds(count=1)
        return has_room

    @property
    def _kept_files(self) -> int:
        return sum(cells.kept * cells.each for cells in self._of)

    def _make_room(self, files: int = 0) -> None:
        """Where so many more are too many, crowds have fewer cells."""
        if self._files is None:
            return
        if self.held + files + self._most_kept_files <= self._files:
            return  # nobody has to be asked what he has
        missing = self.held + files + self._kept_files - self._files
        if missing > 0:
            self._take_from_crowds(files=missing)

    def _of_owners(self) -> Counter[int]:
        found = Counter[int]()
        for cells in self._of:
            found[cells.owner] += cells.extra
        return found

    def _take_from_crowds(self, *, count: int = 0, files: int = 0) -> bool:
        """So many, or as many as have so many files. Who owns the most gives first, of
        that of which it has the most; whether there were as many."""
        givers = {cells for cells in self._of if cells.extra}
        while (count > 0 or files > 0) and givers:
            of_owners = self._of_owners()
            first = max(givers, key=lambda one: (of_owners[one.owner], one.extra))
            # What is still being made cannot be given up.
            if not (first.extra and first.give_up(1)):
                givers.discard(first)
                continue
            count -= 1
            files -= first.each
        return count <= 0 and files <= 0
