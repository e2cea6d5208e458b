"""Imports in zygotes, and how much of them there may be.

One is nobody's bill: it is done once, for all. Whoever has it done again and again, by
zygotes that end, by deploying without end, or by more functions than there is room for,
could compute in it for nothing. So there is only so much; then instances import for
themselves, which is billed.
"""

import time
from collections.abc import Callable

LOST_S, LOST_BACK = 30.0, 0.01
"""Of one version, whose zygotes have ended by themselves: three of the longest, and
what each second gives back, in seconds."""

LOST_LEAST_S = 1.0
"""What each of those counts for at least: a zygote runs on for as long before it
rests."""

LOST = "its zygote ended by itself after the import, again and again"

OF_TENANT_S, OF_TENANT_BACK = 600.0, 0.1
"""Of all versions of a tenant: sixty of the longest, then a tenth of a processor."""

TOO_MANY = "the imports of its tenant's functions take too long together to be free"


class Allowance:
    """Seconds that nobody pays for."""

    def __init__(
        self, most_s: float, back: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_s = most_s
        self._back = back
        self._now = now
        self._taken_s = 0.0
        self._since = now()

    @property
    def is_used_up(self) -> bool:
        """Whether more was taken than there may be, less what has been given back."""
        return self.take(0.0)

    def take(self, seconds: float) -> bool:
        """So much more; whether it is too much."""
        now = self._now()
        given_back_s = (now - self._since) * self._back
        self._since = now
        self._taken_s = max(0.0, self._taken_s - given_back_s) + seconds
        return self._taken_s > self._most_s
