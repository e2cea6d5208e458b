"""Records that are too old go: by how time has passed, and not by a clock that somebody
may set years ahead. What was deleted does not come back when it is set right.
"""

import logging
import sqlite3

from sandlot_engine.clock import Clock

_SPARE = 100
_log = logging.getLogger(__name__)


class Aging:
    """Of one engine, from its start on."""

    def __init__(self, keep_s: float, clock: Clock) -> None:
        """0 keeps all."""
        self._keep_us = round(keep_s * 1_000_000)
        self._clock = clock
        self._began: tuple[int, float] | None = None
        """When the first record came, by the calendar and by what never jumps."""

        self._is_believed = True

    def delete(self, connection: sqlite3.Connection, newest: int, count: int) -> None:
        """Some of those that are older than is kept, after `count` records were
        inserted, the newest of them of that time."""
        if not self._keep_us:
            return
        now = self._now(connection, newest, count)
        if self._is_believed:
            # More than came, so that it is caught up with; but not all at once.
            connection.execute(
                "DELETE FROM records WHERE time < ? AND position IN"
                " (SELECT position FROM records ORDER BY position LIMIT ?)",
                (now - self._keep_us, 2 * count + _SPARE),
            )

    def _now(self, connection: sqlite3.Connection, newest: int, count: int) -> int:
        if self._began is None:
            self._began = newest, self._clock.monotonic()
            self._is_believed = self._is_likely(connection, newest, count)
        began, began_at = self._began
        passed_us = round((self._clock.monotonic() - began_at) * 1_000_000)
        return min(newest, began + passed_us)

    def _is_likely(
        self, connection: sqlite3.Connection, newest: int, count: int
    ) -> bool:
        """Whether it would not be all that were there before."""
        last = connection.execute(
            "SELECT time FROM records ORDER BY position DESC LIMIT 1 OFFSET ?", (count,)
        ).fetchone()
        if last is None or newest - last[0] <= self._keep_us:
            return True
        _log.warning(
            "by the machine's clock all records are too old, the last by %d days: none"
            " is deleted until the next start. Look whether the clock is right.",
            (newest - last[0] - self._keep_us) // 86_400_000_000,
        )
        return False
