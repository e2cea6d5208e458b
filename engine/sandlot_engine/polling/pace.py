"""How many batches at once, and when again: pure."""

import math

FIRST_WIDTH = 5
"""Batches of a mapping at once, to begin with (AWS: 5)."""

STEP = 5
STEP_S = 1.0
"""So many more after each second in which all were in use (AWS: 300 a minute)."""

MAX_WIDTH = 1_000
"""And never more (AWS: 1,250; `MaximumConcurrency` has 1,000 at most)."""

THROTTLED_S = 10.0
"""No more than were let in, for that long after one was throttled."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""After an endpoint failed, or a function could not be invoked; doubled each time."""

LONG_POLL_S, SHORT_POLL_S = 5, 1
"""What a queue is given to answer: long where nobody waits for a turn to ask. AWS asks
for 20 s; here a stop waits for what it has asked."""

EMPTY_S = 1.0
"""What an answer of nothing takes at least, also where an endpoint does not wait."""


class Width:
    """How many batches of a mapping may run at once."""

    def __init__(self) -> None:
        self._width = FIRST_WIDTH
        self.grows_at = math.inf
        """When it is worth while to ask again, by the clock's `monotonic`."""

    def __repr__(self) -> str:
        return f"<Width {self._width}>"

    def has_room(self, running: int, *, at_most: int, now: float) -> bool:
        """Whether there may be one more than those. Where there may not, there will be
        more at `grows_at`, if it is asked again."""
        if self.grows_at == math.inf:
            self.grows_at = now + STEP_S
        if running >= self._width and now >= self.grows_at:
            self._width = min(self._width + STEP, MAX_WIDTH)
            self.grows_at = now + STEP_S
        if running < min(self._width, at_most):
            return True
        if now >= self.grows_at:
            self.grows_at = now + STEP_S
        return False

    def note_idle(self) -> None:
        """Nothing runs, and there was nothing to run."""
        self._width = FIRST_WIDTH
        self.grows_at = math.inf

    def note_throttled(self, let_in: int, *, now: float) -> None:
        """One was not let in; so many others were."""
        self._width = max(1, min(self._width, let_in))
        self.grows_at = now + THROTTLED_S


def pause_after(failures: int) -> float:
    """The pause after so many failures, at least one, in a row."""
    return min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE_S)


def poll_s(mappings: int, turns: int) -> int:
    """How long a queue may take to answer, where so many are read by turns."""
    return LONG_POLL_S if mappings <= turns else SHORT_POLL_S
