"""How many sockets jails have, where control groups count their memory.

They do not count all of it. The other end of a connection on loopback is made by the
kernel, for nobody, until somebody accepts it: 4 KB, and what it is sent, up to 128 KB.
Nobody has to accept, and whoever connected may be gone.
"""

import contextlib
import os
import time
from collections.abc import Collection
from typing import Protocol

MAX_SOCKETS = 2_048
"""In one network of a jail's: two for each open file that AWS Lambda allows an
environment, should both ends of all be in there."""

LOOK_S = 0.1
"""Between two looks: in so long a processor makes some 3,000 of them."""

AT_A_LOOK = 500
"""Networks; more are looked at in turns."""

_READ = 1_024


class Crowded(Protocol):
    """What has networks: a `Zygote`."""

    is_dying: bool
    sockets: dict[int, int]

    def end_crowded(self, place: int) -> None: ...


class SocketWatch:
    """Watches the sockets of all jails of a launcher."""

    def __init__(self) -> None:
        self._looked_at = 0.0
        self._turn = 0

    def look(self, jails: Collection[Crowded]) -> None:
        """End what has too many, if it is time to look."""
        if time.monotonic() - self._looked_at < LOOK_S:
            return
        self._looked_at = time.monotonic()
        places = [(jail, place) for jail in jails for place in jail.sockets]
        for _ in range(min(len(places), AT_A_LOOK)):
            self._turn += 1
            jail, place = places[self._turn % len(places)]
            # Where the kernel has no memory to say it, it is asked again.
            with contextlib.suppress(OSError):
                if not jail.is_dying and number_of(jail.sockets[place]) > MAX_SOCKETS:
                    jail.end_crowded(place)


def number_of(sockets: int) -> int:
    """Of any kind, in the network whose `sockstat` this is; those among them that are
    the kernel's still."""
    # "sockets: used 17", and then by protocol.
    return int(os.pread(sockets, _READ, 0).split(None, 3)[2])
