"""`BillingService`: sums of a tenant's ledger."""

from collections.abc import Sequence
from datetime import datetime

from sandlot.v1 import tenants_pb2 as wire
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.auth import tenant_meant
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.call import current_caller
from sandlot_engine.gateway.rpc.convert import bill_line_out, time_of
from sandlot_engine.model.invocation import BillLine


class BillingService:
    """Wire to ledger and back."""

    def __init__(self, backend: Backend) -> None:
        self._records = backend.records
        self._clock = backend.clock

    async def GetBill(
        self, request: wire.GetBillRequest, _: Context
    ) -> wire.GetBillResponse:
        tenant_id = tenant_meant(current_caller(), request.tenant_id)
        now = self._clock.now()
        since = time_of(request, "since") or _beginning_of_month(now)
        until = time_of(request, "until") or now
        if until < since:
            raise InvalidParameter(
                f"until ({until:%Y-%m-%dT%H:%M:%SZ}) is before since "
                f"({since:%Y-%m-%dT%H:%M:%SZ})",
                field="until",
            )
        lines = await self._records.bill(tenant_id, since=since, until=until)
        return wire.GetBillResponse(
            tenant_id=tenant_id,
            lines=[bill_line_out(line) for line in lines],
            total=bill_line_out(_total(lines)),
        )


def _beginning_of_month(now: datetime) -> datetime:
    return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _total(lines: Sequence[BillLine]) -> BillLine:
    return BillLine(
        function="",
        invocations=sum(line.invocations for line in lines),
        billed_ms=sum(line.billed_ms for line in lines),
        billed_mb_ms=sum(line.billed_mb_ms for line in lines),
    )
