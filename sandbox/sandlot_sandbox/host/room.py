"""What the engine's open files are good for: the kernel gives it only so many.

Functions must not leave callers without connections, nor one kind of thing the others
without any; so each has a part. Where there are plenty, other limits come first.
"""

from dataclasses import dataclass

OF_ZYGOTE = 8
"""Its channel and log, and its control group to freeze and look at."""

OF_BERTH = 20
"""Both ends of an instance's channels, and all that a fork takes with it, at most."""

OF_INSTANCE = 5
"""What stays of a berth when its instance has moved in: event socket, log, what freezes
it, its /tmp, the folder where its memory is counted."""

OF_PROGRAM = 11
"""The same for one that speaks the Runtime API, over connections of its own, with the
courier's channel."""

RESERVED = 896
"""For the store, builders, starts that are on their way, and whatever we forgot."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many of each there may be."""

    connections: int
    zygotes: int
    cell_files: int
    """Open files of all instances, and of berths that are kept ready while nobody asks
    for one: those go first."""

    @property
    def instances(self) -> int:
        return self.cell_files // OF_INSTANCE


def room_in(open_files: int) -> Room:
    """What fits into so many: a tenth is for connections."""
    connections = open_files // 10
    usable = max(0, open_files - connections - RESERVED)
    zygotes = usable // 16 // OF_ZYGOTE
    return Room(connections, zygotes, usable - zygotes * OF_ZYGOTE)
