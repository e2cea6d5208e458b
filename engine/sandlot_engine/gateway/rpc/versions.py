"""`VersionService`: published versions of the caller's functions, and their aliases."""

from sandlot.v1 import versions_pb2 as wire
from sandlot_engine.errors import NotFound
from sandlot_engine.gateway.paging import page_size
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.call import current_caller
from sandlot_engine.gateway.rpc.showing import Showing
from sandlot_engine.model.function import Alias, function_arn


class VersionService:
    """Wire to catalog and back."""

    def __init__(self, backend: Backend) -> None:
        self._functions = backend.functions
        self._aliases = backend.aliases
        self._region = backend.region
        self._showing = Showing(backend)

    async def PublishVersion(
        self, request: wire.PublishVersionRequest, _: Context
    ) -> wire.PublishVersionResponse:
        version = await self._functions.publish(
            current_caller().tenant_id,
            request.function,
            code_sha256=request.code_sha256,
            description=request.description
            if request.HasField("description")
            else None,
            revision_id=request.revision_id,
        )
        return wire.PublishVersionResponse(version=await self._showing.one(version))

    async def ListVersions(
        self, request: wire.ListVersionsRequest, _: Context
    ) -> wire.ListVersionsResponse:
        versions, token = await self._functions.list_versions(
            current_caller().tenant_id,
            request.function,
            page_size(request.page_size),
            request.page_token,
        )
        return wire.ListVersionsResponse(
            versions=await self._showing.all(versions), next_page_token=token
        )

    async def DeleteVersion(
        self, request: wire.DeleteVersionRequest, _: Context
    ) -> wire.DeleteVersionResponse:
        await self._functions.delete_version(
            current_caller().tenant_id, request.function, request.version
        )
        return wire.DeleteVersionResponse()

    async def PutAlias(
        self, request: wire.PutAliasRequest, _: Context
    ) -> wire.PutAliasResponse:
        alias = await self._aliases.put(
            current_caller().tenant_id,
            request.function,
            request.name,
            request.version,
            description=request.description
            if request.HasField("description")
            else None,
            weights=request.weights,
            revision_id=request.revision_id,
        )
        return wire.PutAliasResponse(alias=self._out(alias))

    async def ListAliases(
        self, request: wire.ListAliasesRequest, _: Context
    ) -> wire.ListAliasesResponse:
        page, token = self._aliases.list(
            current_caller().tenant_id,
            request.function,
            version=request.version,
            page_size=page_size(request.page_size),
            page_token=request.page_token,
        )
        return wire.ListAliasesResponse(
            aliases=[self._out(alias) for alias in page], next_page_token=token
        )

    async def DeleteAlias(
        self, request: wire.DeleteAliasRequest, _: Context
    ) -> wire.DeleteAliasResponse:
        tenant_id, function = current_caller().tenant_id, request.function
        if not await self._aliases.delete(tenant_id, function, request.name):
            arn = function_arn(self._region, tenant_id, function, request.name)
            raise NotFound(f"Alias not found: {arn}", kind="alias", name=request.name)
        return wire.DeleteAliasResponse()

    def _out(self, alias: Alias) -> wire.Alias:
        return wire.Alias(
            function=alias.function,
            name=alias.name,
            arn=function_arn(self._region, alias.tenant_id, alias.function, alias.name),
            version=alias.version,
            weights=alias.weights,
            description=alias.description,
            revision_id=alias.revision_id,
        )
