"""`TenantService`: tenants for the operator, keys for everyone's own tenant."""

from sandlot.v1 import tenants_pb2 as wire
from sandlot_engine.gateway.auth import require_operator, tenant_meant
from sandlot_engine.gateway.paging import page_size
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.call import current_caller
from sandlot_engine.gateway.rpc.convert import key_out, network_of, tenant_out


class TenantService:
    """Wire to catalog and back, and who may do what."""

    def __init__(self, backend: Backend) -> None:
        self._tenants = backend.tenants
        self._functions = backend.functions
        self._events = backend.invoker.events

    async def CreateTenant(
        self, request: wire.CreateTenantRequest, _: Context
    ) -> wire.CreateTenantResponse:
        require_operator(current_caller())
        tenant, key, secret = await self._tenants.create(
            request.name,
            request.id,
            request.concurrency,
            network=network_of(request.network),
            network_allow=request.network_allow,
        )
        return wire.CreateTenantResponse(
            tenant=tenant_out(tenant), access_key_id=key.id, secret_access_key=secret
        )

    async def UpdateTenant(
        self, request: wire.UpdateTenantRequest, _: Context
    ) -> wire.UpdateTenantResponse:
        require_operator(current_caller())
        has = request.HasField
        tenant = await self._tenants.update(
            request.id,
            name=request.name if has("name") else None,
            concurrency=request.concurrency if has("concurrency") else None,
            network=network_of(request.network) if has("network") else None,
            network_allow=request.network_allow.cidrs if has("network_allow") else None,
            is_suspended=request.suspended if has("suspended") else None,
        )
        if has("network") or has("network_allow"):
            await self._functions.renew(tenant.id)
        if not tenant.is_suspended:
            self._functions.resume(tenant.id)
        return wire.UpdateTenantResponse(tenant=tenant_out(tenant))

    async def ListTenants(
        self, request: wire.ListTenantsRequest, _: Context
    ) -> wire.ListTenantsResponse:
        require_operator(current_caller())
        tenants, token = await self._tenants.list(
            page_size(request.page_size), request.page_token
        )
        return wire.ListTenantsResponse(
            tenants=[tenant_out(tenant) for tenant in tenants], next_page_token=token
        )

    async def DeleteTenant(
        self, request: wire.DeleteTenantRequest, _: Context
    ) -> wire.DeleteTenantResponse:
        require_operator(current_caller())
        await self._tenants.delete(request.id)
        await self._functions.forget(request.id)
        self._events.forget(request.id)
        return wire.DeleteTenantResponse()

    async def CreateKey(
        self, request: wire.CreateKeyRequest, _: Context
    ) -> wire.CreateKeyResponse:
        caller = current_caller()
        if request.operator:
            require_operator(caller)
        key, secret = await self._tenants.create_key(
            tenant_meant(caller, request.tenant_id), operator=request.operator
        )
        return wire.CreateKeyResponse(key=key_out(key), secret_access_key=secret)

    async def ImportKey(
        self, request: wire.ImportKeyRequest, _: Context
    ) -> wire.ImportKeyResponse:
        key = await self._tenants.import_key(
            tenant_meant(current_caller(), request.tenant_id),
            request.access_key_id,
            request.secret_access_key,
        )
        return wire.ImportKeyResponse(key=key_out(key))

    async def ListKeys(
        self, request: wire.ListKeysRequest, _: Context
    ) -> wire.ListKeysResponse:
        keys, token = await self._tenants.list_keys(
            tenant_meant(current_caller(), request.tenant_id),
            page_size(request.page_size),
            request.page_token,
        )
        return wire.ListKeysResponse(
            keys=[key_out(key) for key in keys], next_page_token=token
        )

    async def RevokeKey(
        self, request: wire.RevokeKeyRequest, _: Context
    ) -> wire.RevokeKeyResponse:
        caller = current_caller()
        await self._tenants.revoke_key(
            None if caller.is_operator else caller.tenant_id, request.access_key_id
        )
        return wire.RevokeKeyResponse()
