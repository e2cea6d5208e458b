"""How many instances of one function there were at once, lately.

Pure: time is an argument, seconds of one clock.
"""

HALF_LIFE_S = 3_600.0
"""After so long without as many, half of them are expected."""

FEWEST = 16
"""Fewer are no crowd: what any zygote keeps ready is enough for them."""

DOUBT_S = 60.0
"""So long a doubt is the same one."""


class Crowd:
    """Of one function, whatever zygotes it has; one of them keeps cells for it."""

    __slots__ = ("__weakref__", "_doubted", "_keeper", "_most", "_since", "live")

    def __init__(self) -> None:
        self.live = 0
        """Instances that there are now."""

        self._most = 0
        self._since = 0.0
        self._doubted = -DOUBT_S
        self._keeper: object | None = None

    def __repr__(self) -> str:
        return f"<Crowd of {self.live}, {self._most} at once>"

    def come(self, keeper: object, now: float) -> None:
        """There is one more. Where the most come from, the next are expected."""
        self.live += 1
        if self.live >= self.expected(now):
            self._most, self._since = self.live, now
            self._keeper = keeper

    def go(self) -> None:
        """There is one less."""
        self.live -= 1

    def expected(self, now: float) -> int:
        """How many there may be again; 0 where it was never a crowd, or long ago."""
        most = self._most >> int(max(0.0, now - self._since) // HALF_LIFE_S)
        return most if most >= FEWEST else 0

    def missing(self, keeper: object, now: float) -> int:
        """For how many of them there is no instance; for any but the one that keeps
        their cells, who else may be, that is none."""
        if not (expected := self.expected(now)):
            return 0
        if self._keeper is None:
            self._keeper = keeper
        return max(0, expected - self.live) if self._keeper is keeper else 0

    def leave(self, keeper: object) -> None:
        """It keeps nothing any more."""
        if self._keeper is keeper:
            self._keeper = None

    def doubt(self, now: float) -> None:
        """Expect half as many: what it takes to be ready for them is short."""
        if now - self._doubted >= DOUBT_S:
            self._most, self._since = self.expected(now) // 2, now
            self._doubted = now
