"""Writing log lines, and deleting the oldest over what one may keep.

Runs in the writer's thread, inside its transaction. `log_kept` holds one row per
log, so that neither the next position nor the size has to be counted.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sandlot_engine.model.invocation import LogLine
from sandlot_engine.store.buffer import Owner
from sandlot_engine.store.sqlite.rows import insert
from sandlot_engine.store.sqlite.times import to_us

_TRIMMED_AT_ONCE = 100

KEEP_NUMERATOR, KEEP_DENOMINATOR = 7, 8
"""A log over its bound shrinks to 7/8 of it, so that not every write has to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBounds:
    """What is kept of logs; over it the oldest lines go."""

    lines: int = 20_000
    """Of one function."""

    bytes: int = 8 * 2**20
    """Of one function, text only."""

    tenant_bytes: int = 256 * 2**20
    """Of one tenant, deleted functions included; the longest log gives way."""

    tenant_lines: int = 2_000_000
    """Likewise: a line of no bytes takes a hundred and more on disk."""


@dataclass(slots=True)
class _Kept:
    """A row of `log_kept`."""

    owner: Owner
    lines: int = 0
    bytes: int = 0
    last_position: int = 0


class LogWriter:
    """Only ever used by the writer's thread; `lines_deleted` may be read by any."""

    def __init__(self, bounds: LogBounds) -> None:
        self.lines_deleted = 0
        """Since the start."""
        self._bounds = bounds

    def write(
        self, connection: sqlite3.Connection, lines: Sequence[tuple[Owner, LogLine]]
    ) -> None:
        """Add `lines` and bring every log that grew back within its bounds."""
        grown: dict[Owner, _Kept] = {}
        rows = []
        for owner, line in lines:
            if (kept := grown.get(owner)) is None:
                kept = grown[owner] = _load(connection, owner)
            kept.lines += 1
            kept.bytes += len(line.text)
            kept.last_position += 1
            rows.append(_to_row(owner, kept.last_position, line))
        insert(connection, "log", rows)
        for kept in grown.values():
            self._trim(connection, kept, self._bounds.lines, self._bounds.bytes)
            _save(connection, kept)
        for tenant_id in {tenant_id for tenant_id, _ in grown}:
            self._trim_tenant(connection, tenant_id)

    def _trim_tenant(self, connection: sqlite3.Connection, tenant_id: str) -> None:
        bounds = self._bounds
        while True:
            lines, size = _sums(connection, tenant_id)
            # Half of the longest: a tenant's other functions keep their logs.
            if size > bounds.tenant_bytes:
                kept = _longest(connection, tenant_id, "bytes")
                self._trim(connection, kept, bounds.lines, kept.bytes // 2)
            elif lines > bounds.tenant_lines:
                kept = _longest(connection, tenant_id, "lines")
                self._trim(connection, kept, kept.lines // 2, bounds.bytes)
            else:
                return
            _save(connection, kept)

    def _trim(
        self, connection: sqlite3.Connection, kept: _Kept, lines: int, size: int
    ) -> None:
        if kept.lines <= lines and kept.bytes <= size:
            return
        lines = lines * KEEP_NUMERATOR // KEEP_DENOMINATOR
        size = size * KEEP_NUMERATOR // KEEP_DENOMINATOR
        last = 0
        while kept.lines and (kept.lines > lines or kept.bytes > size):
            # By hundreds as long as all of them have to go, then one by one.
            some = _oldest(connection, kept.owner, last, _TRIMMED_AT_ONCE)
            if kept.lines - some.lines < lines and kept.bytes - some.bytes <= size:
                some = _oldest(connection, kept.owner, last, 1)
            last = some.last_position
            kept.lines -= some.lines
            kept.bytes -= some.bytes
        deleted = connection.execute(
            "DELETE FROM log WHERE tenant_id = ? AND function = ? AND position <= ?",
            (*kept.owner, last),
        )
        self.lines_deleted += deleted.rowcount


def _oldest(
    connection: sqlite3.Connection, owner: Owner, after: int, most: int
) -> _Kept:
    """What the oldest lines of a log after a position come to."""
    return _Kept(
        owner,
        *connection.execute(
            "SELECT count(*), sum(length(text)), max(position) FROM ("
            " SELECT position, text FROM log"
            " WHERE tenant_id = ? AND function = ? AND position > ?"
            " ORDER BY position LIMIT ?)",
            (*owner, after, most),
        ).fetchone(),
    )


def _load(connection: sqlite3.Connection, owner: Owner) -> _Kept:
    row = connection.execute(
        "SELECT lines, bytes, last_position FROM log_kept"
        " WHERE tenant_id = ? AND function = ?",
        owner,
    ).fetchone()
    return _Kept(owner, *row) if row else _Kept(owner)


def _save(connection: sqlite3.Connection, kept: _Kept) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO log_kept VALUES (?, ?, ?, ?, ?)",
        (*kept.owner, kept.lines, kept.bytes, kept.last_position),
    )


def _sums(connection: sqlite3.Connection, tenant_id: str) -> tuple[int, int]:
    lines, size = connection.execute(
        "SELECT coalesce(sum(lines), 0), coalesce(sum(bytes), 0) FROM log_kept"
        " WHERE tenant_id = ?",
        (tenant_id,),
    ).fetchone()
    return lines, size


def _longest(
    connection: sqlite3.Connection, tenant_id: str, by: Literal["lines", "bytes"]
) -> _Kept:
    function, *rest = connection.execute(
        "SELECT function, lines, bytes, last_position FROM log_kept"  # noqa: S608 - one of two
        f" WHERE tenant_id = ? ORDER BY {by} DESC LIMIT 1",
        (tenant_id,),
    ).fetchone()
    return _Kept((tenant_id, function), *rest)


def _to_row(owner: Owner, position: int, line: LogLine) -> tuple[object, ...]:
    return (
        *owner,
        position,
        to_us(line.time),
        line.request_id,
        line.source.value,
        line.text,
    )
