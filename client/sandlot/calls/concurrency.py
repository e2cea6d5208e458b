"""Calls about what is reserved and provisioned, and what their answers say."""

from typing import Any

from sandlot import parsing
from sandlot.calls.call import PAGE_SIZE, Call
from sandlot.parsing import Page
from sandlot.results import Concurrency, ProvisionedConcurrency, ProvisionStatus
from sandlot.v1 import concurrency_pb2 as wire

STATUSES = {
    wire.PROVISION_STATUS_READY: ProvisionStatus.READY,
    wire.PROVISION_STATUS_FAILED: ProvisionStatus.FAILED,
}


def get_concurrency(function: str) -> Call[Concurrency]:
    return Call(
        method="/sandlot.v1.ConcurrencyService/GetConcurrency",
        request=wire.GetConcurrencyRequest(function=function),
        response=wire.GetConcurrencyResponse,
        parse=_concurrency,
    )


def put_reserved_concurrency(function: str, concurrency: int) -> Call[Concurrency]:
    return Call(
        method="/sandlot.v1.ConcurrencyService/PutReservedConcurrency",
        request=wire.PutReservedConcurrencyRequest(
            function=function, concurrency=concurrency
        ),
        response=wire.PutReservedConcurrencyResponse,
        parse=_concurrency,
    )


def delete_reserved_concurrency(function: str) -> Call[Concurrency]:
    return Call(
        method="/sandlot.v1.ConcurrencyService/DeleteReservedConcurrency",
        request=wire.DeleteReservedConcurrencyRequest(function=function),
        response=wire.DeleteReservedConcurrencyResponse,
        parse=_concurrency,
    )


def put_provisioned_concurrency(
    function: str, qualifier: str | int, count: int
) -> Call[ProvisionedConcurrency]:
    return Call(
        method="/sandlot.v1.ConcurrencyService/PutProvisionedConcurrency",
        request=wire.PutProvisionedConcurrencyRequest(
            function=function, qualifier=str(qualifier), requested=count
        ),
        response=wire.PutProvisionedConcurrencyResponse,
        parse=lambda message: _provisioned(message.provisioned),
    )


def get_provisioned_concurrency(
    function: str, qualifier: str | int
) -> Call[ProvisionedConcurrency]:
    return Call(
        method="/sandlot.v1.ConcurrencyService/GetProvisionedConcurrency",
        request=wire.GetProvisionedConcurrencyRequest(
            function=function, qualifier=str(qualifier)
        ),
        response=wire.GetProvisionedConcurrencyResponse,
        parse=lambda message: _provisioned(message.provisioned),
    )


def list_provisioned_concurrency(
    function: str, token: str
) -> Call[Page[ProvisionedConcurrency]]:
    return Call(
        method="/sandlot.v1.ConcurrencyService/ListProvisionedConcurrency",
        request=wire.ListProvisionedConcurrencyRequest(
            function=function, page_size=PAGE_SIZE, page_token=token
        ),
        response=wire.ListProvisionedConcurrencyResponse,
        parse=lambda m: parsing.page(m.provisioned, _provisioned, m.next_page_token),
    )


def delete_provisioned_concurrency(function: str, qualifier: str | int) -> Call[None]:
    return Call(
        method="/sandlot.v1.ConcurrencyService/DeleteProvisionedConcurrency",
        request=wire.DeleteProvisionedConcurrencyRequest(
            function=function, qualifier=str(qualifier)
        ),
        response=wire.DeleteProvisionedConcurrencyResponse,
        parse=parsing.nothing,
    )


def _concurrency(message: Any) -> Concurrency:
    found = message.concurrency
    return Concurrency(
        limit=found.limit,
        unreserved=found.unreserved,
        reserved=dict(found.reserved),
        provisioned=dict(found.provisioned),
    )


def _provisioned(message: wire.ProvisionedConcurrency) -> ProvisionedConcurrency:
    return ProvisionedConcurrency(
        function=message.function,
        qualifier=message.qualifier,
        requested=message.requested,
        allocated=message.allocated,
        available=message.available,
        # A status that this client does not know is not a reason to rely on it.
        status=STATUSES.get(message.status, ProvisionStatus.IN_PROGRESS),
        reason=message.reason,
        last_modified=parsing.time_of(message.last_modified),
    )
