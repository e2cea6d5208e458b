"""What was appended and is not written yet: bounded where it may lose something."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sandlot_engine.model.invocation import LogLine, Record

MAX_BEHIND = 10_000
"""Records not yet written over which logs are dropped. Records never are."""

MAX_LOG_BYTES_BEHIND = 64 * 2**20
"""Log text not yet written over which more of it is dropped."""

MAX_LINES_BEHIND = 200_000
"""The same for lines: an empty one has no bytes but takes memory all the same."""

Owner = tuple[str, str]
"""Tenant id and function: whose log it is."""


@dataclass(slots=True)
class Batch:
    """Rows in the order in which they were appended."""

    records: list[Record] = field(default_factory=list)
    lines: list[tuple[Owner, LogLine]] = field(default_factory=list)
    log_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.records or self.lines)

    def __repr__(self) -> str:
        return f"<Batch {len(self.records)} records, {len(self.lines)} lines>"


class RecordBuffer:
    """Collects until `take`; `put_back` returns what could not be written."""

    def __init__(self) -> None:
        self._batch = Batch()
        self.lines_dropped = 0
        """Since the start, because writing fell behind."""

    def __bool__(self) -> bool:
        return bool(self._batch)

    @property
    def behind(self) -> int:
        """Records not yet written."""
        return len(self._batch.records)

    def append(self, record: Record, log: Sequence[LogLine]) -> None:
        self._batch.records.append(record)
        self.append_log((record.tenant_id, record.function), log)

    def append_log(self, owner: Owner, log: Sequence[LogLine]) -> None:
        size = sum(len(line.text) for line in log)
        if self._is_full_for(size=size, lines=len(log)):
            # A bill must be exact; a log may have a gap, if somebody counts it.
            self.lines_dropped += len(log)
            return
        self._batch.log_bytes += size
        self._batch.lines.extend((owner, line) for line in log)

    def take(self) -> Batch:
        batch, self._batch = self._batch, Batch()
        return batch

    def put_back(self, batch: Batch) -> None:
        batch.records += self._batch.records
        batch.lines += self._batch.lines
        batch.log_bytes += self._batch.log_bytes
        self._batch = batch

    def _is_full_for(self, *, size: int, lines: int) -> bool:
        return (
            self.behind > MAX_BEHIND
            or self._batch.log_bytes + size > MAX_LOG_BYTES_BEHIND
            or len(self._batch.lines) + lines > MAX_LINES_BEHIND
        )
