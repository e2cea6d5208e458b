"""`ConcurrencyService`: what is reserved and provisioned for the caller's functions."""

from collections.abc import Mapping

from sandlot.v1 import concurrency_pb2 as wire
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.paging import page_size
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.call import current_caller
from sandlot_engine.gateway.rpc.convert import timestamp
from sandlot_engine.model.provisioned import Provisioned, ProvisionStatus

_STATUSES_OUT = {
    ProvisionStatus.IN_PROGRESS: wire.PROVISION_STATUS_IN_PROGRESS,
    ProvisionStatus.READY: wire.PROVISION_STATUS_READY,
    ProvisionStatus.FAILED: wire.PROVISION_STATUS_FAILED,
}


class ConcurrencyService:
    """Wire to catalog and back."""

    def __init__(self, backend: Backend) -> None:
        self._functions = backend.functions
        self._tenants = backend.tenants
        self._settings = backend.settings
        self._provisioned = backend.provisioned

    # --- reserved -------------------------------------------------------------------

    async def GetConcurrency(
        self, request: wire.GetConcurrencyRequest, _: Context
    ) -> wire.GetConcurrencyResponse:
        if request.function:
            await self._functions.get(current_caller().tenant_id, request.function)
        return wire.GetConcurrencyResponse(concurrency=await self._of(request.function))

    async def PutReservedConcurrency(
        self, request: wire.PutReservedConcurrencyRequest, _: Context
    ) -> wire.PutReservedConcurrencyResponse:
        tenant_id, function = current_caller().tenant_id, request.function
        await self._functions.get(tenant_id, function)
        if not request.HasField("concurrency"):
            # What was forgotten is 0 on the wire, and that would switch it off.
            raise InvalidParameter(
                "Say how much concurrency to reserve; 0 lets nothing run.",
                field="concurrency",
            )
        await self._settings.put_concurrency(tenant_id, function, request.concurrency)
        return wire.PutReservedConcurrencyResponse(concurrency=await self._of(function))

    async def DeleteReservedConcurrency(
        self, request: wire.DeleteReservedConcurrencyRequest, _: Context
    ) -> wire.DeleteReservedConcurrencyResponse:
        tenant_id, function = current_caller().tenant_id, request.function
        await self._settings.delete_concurrency(tenant_id, function)
        return wire.DeleteReservedConcurrencyResponse(
            concurrency=await self._of(function)
        )

    async def _of(self, function: str) -> wire.Concurrency:
        """A tenant has so few functions that all of them fit into one answer."""
        tenant_id = current_caller().tenant_id
        tenant = await self._tenants.get(tenant_id)
        return wire.Concurrency(
            limit=tenant.concurrency,
            unreserved=self._settings.unreserved(tenant_id),
            reserved=_only(function, self._settings.reserved(tenant_id)),
            provisioned=_only(function, self._provisioned.totals(tenant_id)),
        )

    # --- provisioned ----------------------------------------------------------------

    async def PutProvisionedConcurrency(
        self, request: wire.PutProvisionedConcurrencyRequest, _: Context
    ) -> wire.PutProvisionedConcurrencyResponse:
        provisioned = await self._provisioned.put(
            current_caller().tenant_id,
            request.function,
            request.qualifier,
            request.requested,
        )
        return wire.PutProvisionedConcurrencyResponse(provisioned=_out(provisioned))

    async def GetProvisionedConcurrency(
        self, request: wire.GetProvisionedConcurrencyRequest, _: Context
    ) -> wire.GetProvisionedConcurrencyResponse:
        provisioned = self._provisioned.get(
            current_caller().tenant_id, request.function, request.qualifier
        )
        return wire.GetProvisionedConcurrencyResponse(provisioned=_out(provisioned))

    async def ListProvisionedConcurrency(
        self, request: wire.ListProvisionedConcurrencyRequest, _: Context
    ) -> wire.ListProvisionedConcurrencyResponse:
        page, token = self._provisioned.list(
            current_caller().tenant_id,
            request.function,
            page_size(request.page_size),
            request.page_token,
        )
        return wire.ListProvisionedConcurrencyResponse(
            provisioned=[_out(each) for each in page], next_page_token=token
        )

    async def DeleteProvisionedConcurrency(
        self, request: wire.DeleteProvisionedConcurrencyRequest, _: Context
    ) -> wire.DeleteProvisionedConcurrencyResponse:
        which = current_caller().tenant_id, request.function, request.qualifier
        self._provisioned.get(*which)  # where AWS's API is silent, `NotFound`
        await self._provisioned.delete(*which)
        return wire.DeleteProvisionedConcurrencyResponse()


def _only(function: str, counts: Mapping[str, int]) -> dict[str, int]:
    """Those of one function, or of all."""
    return {name: count for name, count in counts.items() if function in ("", name)}


def _out(provisioned: Provisioned) -> wire.ProvisionedConcurrency:
    config = provisioned.config
    return wire.ProvisionedConcurrency(
        function=config.function,
        qualifier=config.qualifier,
        requested=config.requested,
        allocated=provisioned.allocated,
        available=provisioned.available,
        status=_STATUSES_OUT[provisioned.status],
        reason=provisioned.reason,
        last_modified=timestamp(config.last_modified),
    )
