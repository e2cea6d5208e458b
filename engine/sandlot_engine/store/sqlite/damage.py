"""Rows that cannot be read: told, counted, and left for whoever can mend them.

A bit that has tipped in one row must not end the start of an engine, nor keep all other
rows from whoever asks for them.
"""

import logging
import sqlite3
from collections.abc import Sequence

import msgspec

UNREADABLE = (
    msgspec.MsgspecError,
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
)
"""What the making of a thing of a row raises where the row is not as it was written."""

SET_ASIDE = 6
"""The state of an event's row that cannot be read: beyond all that are looked for.
Whoever has mended it sets it to 0, and it waits again from the next start on."""

_log = logging.getLogger(__name__)


class SqliteDamage:
    """Counts them."""

    damaged = 0
    """Since the start."""

    def note_damaged(self, what: str, why: Exception) -> None:
        """To be called in the event loop's thread."""
        self.damaged += 1
        _log.error("%s cannot be read, and is left as it is: %s", what, why)


def set_aside(connection: sqlite3.Connection, positions: Sequence[int]) -> None:
    """Events, within somebody's transaction. Nobody is told of them: what would be told
    is what cannot be read."""
    for position in positions:
        connection.execute(
            "UPDATE events SET state = ? WHERE position = ?", (SET_ASIDE, position)
        )
        connection.execute("DELETE FROM deliveries WHERE position = ?", (position,))
