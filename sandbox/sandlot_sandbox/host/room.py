"""What the engine's open files are good for: the kernel gives it only so many.

Functions must not leave callers without connections, nor one kind of thing the others
without any; so each has a part. Where there are plenty, other limits come first.
"""

from dataclasses import dataclass

OF_ZYGOTE = 8
"""Its channel and log, and its control group to freeze and look at."""

OF_BERTH = 20
"""Both ends of an instance's channels, and all that a fork takes with it."""

OF_INSTANCE = 8
"""What stays of a berth when its instance has moved in."""

RESERVED = 1_024
"""For the store, builders, starts that are on their way, and whatever we forgot."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many of each there may be."""

    connections: int
    zygotes: int
    spares: int
    """Berths that are kept ready while nobody asks for one."""

    instances: int


def room_in(open_files: int) -> Room:
    """What fits into so many: a quarter is for connections."""
    connections = open_files // 4
    usable = max(0, open_files - connections - RESERVED)
    zygotes = usable // 10 // OF_ZYGOTE
    spares = usable // 3 // OF_BERTH
    left = usable - zygotes * OF_ZYGOTE - spares * OF_BERTH
    return Room(connections, zygotes, spares, left // OF_INSTANCE)
