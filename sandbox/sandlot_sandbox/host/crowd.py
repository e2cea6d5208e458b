"""How many instances of one function there were at once, lately.

Pure: time is an argument, seconds of one clock.
"""

HALF_LIFE_S = 3_600.0
"""After so long without as many, half of them are expected."""

FEWEST = 16
"""Fewer are no crowd: what any zygote keeps ready is enough for them."""


class Crowd:
    """Of one function. What its zygotes come and go with does not end it."""

    __slots__ = ("_most", "_since")

    def __init__(self) -> None:
        self._most = 0
        self._since = 0.0

    def __repr__(self) -> str:
        return f"<Crowd of {self._most}>"

    def note(self, instances: int, now: float) -> None:
        """There are so many now."""
        if instances >= self.expected(now):
            self._most, self._since = instances, now

    def expected(self, now: float) -> int:
        """How many there may be again; 0 where it was never a crowd, or long ago."""
        most = self._most >> int(max(0.0, now - self._since) // HALF_LIFE_S)
        return most if most >= FEWEST else 0

    def doubt(self, now: float) -> None:
        """Expect half as many: what it takes to be ready for them is short."""
        self._most, self._since = self.expected(now) // 2, now

    def follow(self, other: "Crowd", now: float) -> None:
        """Expect as many as of another, which this takes the place of."""
        self.note(other.expected(now), now)
