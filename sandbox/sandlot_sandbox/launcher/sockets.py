"""How many sockets jails have, where control groups count their memory.

They do not count all of it. The other end of a connection on loopback is made by the
kernel, for nobody, until somebody accepts it: 4 KB, and what it is sent, up to 128 KB.
Nobody has to accept, and whoever connected may be gone.
"""

import contextlib
import os
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

MAX_SOCKETS = 2_048
"""In one network of a jail's: two for each open file that AWS Lambda allows an
environment, should both ends of all be in there."""

LOOK_S = 0.1
"""Between two looks: in so long a processor makes some 3,000 of them."""

AT_A_LOOK = 500
"""Networks; more are looked at in turns."""

SPENT_US = 10_000
"""A jail that had no more of a processor since all of its networks were looked at has
made no more than some 300 sockets: thousands that are idle cost nothing."""

FEW = 8
"""So many networks are looked at sooner than it is found what their jail spent."""

_READ = 1_024


class Crowded(Protocol):
    """What has networks: a `Zygote`."""

    is_dying: bool
    sockets: dict[int, int]

    def spent_us(self) -> int | None: ...

    def end_crowded(self, place: int) -> None: ...


@dataclass(slots=True)
class _Round:
    """Through all networks of one jail."""

    left: list[int] = field(default_factory=list)
    """Places that were there when it began, and are to be looked at."""

    began_us: int | None = None
    """What the jail had spent then, if that is known."""


class SocketWatch:
    """Watches the sockets of all jails of a launcher."""

    def __init__(self) -> None:
        self._looked_at = 0.0
        self._rounds: dict[Crowded, _Round] = {}

    def look(self, jails: Collection[Crowded]) -> None:
        """End what has too many, if it is time to look."""
        if time.monotonic() - self._looked_at < LOOK_S:
            return
        self._looked_at = time.monotonic()
        there = set(jails)
        self._rounds = {j: its for j, its in self._rounds.items() if j in there}
        for jail in jails:
            self._rounds.setdefault(jail, _Round())
        left = AT_A_LOOK
        for jail in list(self._rounds):
            if not left:
                break
            its = self._rounds[jail] = self._rounds.pop(jail)
            if its.left or _begins(its, jail):
                left -= _look_at(jail, its, left)


def _begins(its: _Round, jail: Crowded) -> bool:
    """Whether there is anything to look for."""
    spent_us = jail.spent_us() if len(jail.sockets) > FEW else None
    since_us = its.began_us
    if not (spent_us is None or since_us is None or spent_us - since_us >= SPENT_US):
        return False
    its.left, its.began_us = list(jail.sockets), spent_us
    return True


def _look_at(jail: Crowded, its: _Round, most: int) -> int:
    """The next so many of its networks; how many there were."""
    for count in range(most):
        if not its.left or jail.is_dying:
            return count
        place = its.left.pop()
        if (sockets := jail.sockets.get(place)) is not None:
            # Where the kernel has no memory to say it, it is asked again.
            with contextlib.suppress(OSError):
                if number_of(sockets) > MAX_SOCKETS:
                    jail.end_crowded(place)
    return most


def number_of(sockets: int) -> int:
    """Of any kind, in the network whose `sockstat` this is; those among them that are
    the kernel's still."""
    # "sockets: used 17", and then by protocol.
    return int(os.pread(sockets, _READ, 0).split(None, 3)[2])
