"""Records, logs and bills, in memory."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from sandlot_engine.model.invocation import BillLine, LogLine, Record


class FakeRecords:
    """Records and logs in lists; a position is an index plus one."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.lines: list[tuple[str, str, LogLine]] = []
        self.reads = 0
        self.flushes = 0
        self._more = asyncio.Condition()

    def check_writing(self) -> None:
        """Nothing fails here."""

    def append(self, record: Record, log: Sequence[LogLine]) -> None:
        self.records.append(record)
        self.append_log(record.tenant_id, record.function, log)

    def append_log(self, tenant_id: str, function: str, log: Sequence[LogLine]) -> None:
        self.lines += [(tenant_id, function, line) for line in log]

    async def flush(self) -> None:
        self.flushes += 1
        async with self._more:
            self._more.notify_all()

    async def list_records(
        self, tenant_id: str, function: str, *, before: int, limit: int
    ) -> list[tuple[int, Record]]:
        rows = [
            (position, record)
            for position, record in enumerate(self.records, start=1)
            if record.tenant_id == tenant_id
            and function in ("", record.function)
            and (before == 0 or position < before)
        ]
        return rows[::-1][:limit]

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
        rows = [
            (position, line)
            for position, (owner, name, line) in enumerate(self.lines, start=1)
            if (owner, name) == (tenant_id, function)
            and position > after
            and (since is None or line.time >= since)
        ]
        return rows[:limit]

    async def wait_for_log(self, tenant_id: str, function: str, *, after: int) -> None:
        async with self._more:
            if len(self.lines) <= after:
                await self._more.wait()

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
