"""How long a zygote is believed that nothing came of its forks, of all together.

What was not forked is not billed, so whoever says so may have worked meanwhile for
nothing. The kernel refuses at once; but a machine that is swamped lets the note wait.
"""

import time
from collections.abc import Callable

STILLBORN_S = 1.0
"""How long after a fork its zygote may say that there is no instance. Who says so later
has had the event, and time to work on it."""

MOST_S = 2.0
"""Of all its forks: who says so again and again could have each second for nothing."""

BACK = 0.01
"""What each second gives back of that, in seconds."""


class Credit:
    """One zygote's."""

    __slots__ = ("_left_s", "_now", "_since")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._left_s = MOST_S
        self._since = now()

    def covers(self, age_s: float) -> bool:
        """Whether it is believed of a fork that is so old, which is taken off then."""
        now = self._now()
        self._left_s = min(MOST_S, self._left_s + (now - self._since) * BACK)
        self._since = now
        if age_s > STILLBORN_S or age_s > self._left_s:
            return False
        self._left_s -= age_s
        return True
