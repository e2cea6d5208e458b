"""Records, logs and bills, in memory."""

from collections.abc import Sequence
from datetime import datetime

from sandlot_engine.model.invocation import BillLine, LogLine, Record
from sandlot_engine.store.followers import Followers


class MemoryRecords:
    """`RecordStore`, nothing on disk: passes the contract suite of `SqliteStore`."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._logs: dict[int, tuple[str, str, LogLine]] = {}
        """By position: whose, of which function, and the line."""

        self._last_line = 0
        self.reads = 0
        """How often a log was read."""

        self.flushes = 0
        self._followers = Followers()

    @property
    def lines(self) -> list[tuple[str, str, LogLine]]:
        """All there are: whose, of which function, and the line."""
        return list(self._logs.values())

    def check_writing(self) -> None:
        """Nothing fails here."""

    def append(self, record: Record, log: Sequence[LogLine]) -> None:
        self.records.append(record)
        self.append_log(record.tenant_id, record.function, log)

    def append_log(self, tenant_id: str, function: str, log: Sequence[LogLine]) -> None:
        for line in log:
            self._last_line += 1
            self._logs[self._last_line] = tenant_id, function, line
        if log:
            self._followers.wake([(tenant_id, function)])

    async def flush(self) -> None:
        """Nothing waits here."""
        self.flushes += 1

    async def list_records(
        self, tenant_id: str, function: str, *, before: int, limit: int
    ) -> list[tuple[int, Record]]:
        found = [
            (position, record)
            for position, record in enumerate(self.records, start=1)
            if record.tenant_id == tenant_id
            and function in ("", record.function)
            and (not before or position < before)
        ]
        return found[::-1][:limit]

    async def list_log(
        self,
        tenant_id: str,
        function: str,
        *,
        since: datetime | None,
        after: int,
        limit: int,
    ) -> list[tuple[int, LogLine]]:
        self.reads += 1
        return [
            (position, line)
            for position, line in self._log(tenant_id, function)
            if position > after and (since is None or line.time >= since)
        ][:limit]

    async def wait_for_log(self, tenant_id: str, function: str, *, after: int) -> None:
        with self._followers.following((tenant_id, function)) as written:
            if all(place <= after for place, _ in self._log(tenant_id, function)):
                await written.wait()

    def _log(self, tenant_id: str, function: str) -> list[tuple[int, LogLine]]:
        return [
            (position, line)
            for position, (owner, name, line) in self._logs.items()
            if (owner, name) == (tenant_id, function)
        ]

    def forget_logs(self, tenant_id: str) -> None:
        self._logs = {
            position: entry
            for position, entry in self._logs.items()
            if entry[0] != tenant_id
        }

    async def bill(
        self, tenant_id: str, *, since: datetime, until: datetime
    ) -> list[BillLine]:
        mine = [
            record
            for record in self.records
            if record.tenant_id == tenant_id and since <= record.time < until
        ]
        return [
            BillLine(
                function=name,
                invocations=len(records),
                billed_ms=sum(record.report.billed_ms for record in records),
                billed_mb_ms=sum(record.report.billed_mb_ms for record in records),
            )
            for name in sorted({record.function for record in mine})
            if (records := [record for record in mine if record.function == name])
        ]
