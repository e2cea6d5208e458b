"""Idle instances, in the order in which they go when others need their place.

Greedy-dual: each is worth as much as its version was when it became idle, beside what
the last one was worth that had to go. So what is worth twice as much is spared twice as
long, nothing is spared for ever, and among equals the stalest goes first. Worths are
counted in powers of two: a list for each, in which the order is that of time.
"""

import heapq
import math
from collections.abc import Iterator

_LEAST, _MOST = -16, 16
"""Powers of two. What is worth less or more is worth as much as these."""


class Idle:
    """Numbers of instances. Adding and removing one takes the same time however many
    there are."""

    def __init__(self) -> None:
        self._classes: dict[int, dict[int, float]] = {}
        self._class_of: dict[int, int] = {}
        self._level = 0.0

    def __len__(self) -> int:
        return len(self._class_of)

    def __contains__(self, instance: object) -> bool:
        return instance in self._class_of

    def __iter__(self) -> Iterator[int]:
        """Who goes first comes first. Not to be changed meanwhile."""
        if len(self._classes) == 1:
            for members in self._classes.values():
                yield from members
            return
        lists = (
            [(height, instance) for instance, height in members.items()]
            for members in self._classes.values()
        )
        for _, instance in heapq.merge(*lists, key=lambda pair: pair[0]):
            yield instance

    def add(self, instance: int, *, worth: float) -> None:
        """It has become idle just now. `worth` is above 0."""
        power = max(_LEAST, min(_MOST, round(math.log2(worth))))
        self._class_of[instance] = power
        members = self._classes.setdefault(power, {})
        members[instance] = self._level + 2.0**power

    def discard(self, instance: int, *, had_to_go: bool = False) -> None:
        """It is idle no more; `had_to_go` where others needed its place."""
        power = self._class_of.pop(instance, None)
        if power is None:
            return
        members = self._classes[power]
        height = members.pop(instance)
        if not members:
            del self._classes[power]
        if had_to_go:
            self._level = max(self._level, height)
