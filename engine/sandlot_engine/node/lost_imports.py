"""Imports whose zygotes have ended by themselves, and so have to be done again.

An import in a zygote is nobody's bill: it is done once, for all. Whoever has its zygote
end after it would have it done for each invocation, and compute in it for nothing. So
there are only so many; then instances import for themselves, which is billed.
"""

import time
from collections.abc import Callable

MOST_S = 30.0
"""Of a version, in seconds that they took: three of the longest."""

LEAST_S = 1.0
"""What each counts for at least: a zygote runs on for as long before it rests."""

BACK = 0.01
"""What each second gives back of that, in seconds."""

REASON = "its zygote ended by itself after the import, again and again"


class LostImports:
    """Of one version."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lost_s = 0.0
        self._since = now()

    def note(self, import_s: float) -> bool:
        """One more, which took so long; whether it was one too many."""
        now = self._now()
        self._lost_s = max(0.0, self._lost_s - (now - self._since) * BACK)
        self._lost_s += max(LEAST_S, import_s)
        self._since = now
        return self._lost_s > MOST_S
