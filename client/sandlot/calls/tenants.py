"""Calls about tenants, their keys and bills, and about the engine."""

from collections.abc import Sequence
from datetime import datetime

from sandlot import parsing
from sandlot.calls.call import NETWORKS, PAGE_SIZE, Call, member, timestamp
from sandlot.parsing import Page
from sandlot.results import Bill, EngineStatus, Key, Network, NewKey, Runtime, Tenant
from sandlot.v1 import tenants_pb2 as ten


def create_tenant(
    name: str,
    *,
    id: str,  # noqa: A002  # the message's word
    concurrency: int,
    network: Network | str,
    network_allow: Sequence[str],
) -> Call[NewKey]:
    return Call(
        method="/sandlot.v1.TenantService/CreateTenant",
        request=ten.CreateTenantRequest(
            name=name,
            id=id,
            concurrency=concurrency,
            network=NETWORKS[member(Network, network)],
            network_allow=network_allow,
        ),
        response=ten.CreateTenantResponse,
        parse=parsing.new_tenant,
    )


def update_tenant(
    id: str,  # noqa: A002  # the message's word
    *,
    name: str | None,
    concurrency: int | None,
    network: Network | str | None,
    network_allow: Sequence[str] | None,
    suspended: bool | None,
) -> Call[Tenant]:
    request = ten.UpdateTenantRequest(
        id=id,
        name=name,
        concurrency=concurrency,
        network=None if network is None else NETWORKS[member(Network, network)],
        network_allow=None if network_allow is None else ten.Cidrs(cidrs=network_allow),
    )
    if suspended is not None:
        request.suspended = suspended
    return Call(
        method="/sandlot.v1.TenantService/UpdateTenant",
        request=request,
        response=ten.UpdateTenantResponse,
        parse=lambda message: parsing.tenant(message.tenant),
    )


def list_tenants(token: str) -> Call[Page[Tenant]]:
    return Call(
        method="/sandlot.v1.TenantService/ListTenants",
        request=ten.ListTenantsRequest(page_size=PAGE_SIZE, page_token=token),
        response=ten.ListTenantsResponse,
        parse=lambda m: parsing.page(m.tenants, parsing.tenant, m.next_page_token),
    )


def delete_tenant(id: str) -> Call[None]:  # noqa: A002  # the message's word
    return Call(
        method="/sandlot.v1.TenantService/DeleteTenant",
        request=ten.DeleteTenantRequest(id=id),
        response=ten.DeleteTenantResponse,
        parse=parsing.nothing,
    )


def create_key(tenant_id: str, *, operator: bool) -> Call[NewKey]:
    return Call(
        method="/sandlot.v1.TenantService/CreateKey",
        request=ten.CreateKeyRequest(tenant_id=tenant_id, operator=operator),
        response=ten.CreateKeyResponse,
        parse=parsing.new_key,
    )


def import_key(access_key_id: str, secret: str, *, tenant_id: str) -> Call[Key]:
    return Call(
        method="/sandlot.v1.TenantService/ImportKey",
        request=ten.ImportKeyRequest(
            tenant_id=tenant_id, access_key_id=access_key_id, secret_access_key=secret
        ),
        response=ten.ImportKeyResponse,
        parse=lambda message: parsing.key(message.key),
    )


def list_keys(tenant_id: str, token: str) -> Call[Page[Key]]:
    return Call(
        method="/sandlot.v1.TenantService/ListKeys",
        request=ten.ListKeysRequest(
            tenant_id=tenant_id, page_size=PAGE_SIZE, page_token=token
        ),
        response=ten.ListKeysResponse,
        parse=lambda m: parsing.page(m.keys, parsing.key, m.next_page_token),
    )


def revoke_key(access_key_id: str) -> Call[None]:
    return Call(
        method="/sandlot.v1.TenantService/RevokeKey",
        request=ten.RevokeKeyRequest(access_key_id=access_key_id),
        response=ten.RevokeKeyResponse,
        parse=parsing.nothing,
    )


def get_bill(
    tenant_id: str, *, since: datetime | None, until: datetime | None
) -> Call[Bill]:
    return Call(
        method="/sandlot.v1.BillingService/GetBill",
        request=ten.GetBillRequest(
            tenant_id=tenant_id, since=timestamp(since), until=timestamp(until)
        ),
        response=ten.GetBillResponse,
        parse=parsing.bill,
    )


def get_status() -> Call[EngineStatus]:
    return Call(
        method="/sandlot.v1.EngineService/GetStatus",
        request=ten.GetStatusRequest(),
        response=ten.GetStatusResponse,
        parse=parsing.status,
    )


def list_runtimes() -> Call[tuple[Runtime, ...]]:
    return Call(
        method="/sandlot.v1.EngineService/ListRuntimes",
        request=ten.ListRuntimesRequest(),
        response=ten.ListRuntimesResponse,
        parse=parsing.runtimes,
    )
