"""`FunctionService`: the functions of the caller's tenant."""

from collections.abc import Iterable
from dataclasses import replace

from sandlot.v1 import functions_pb2 as wire
from sandlot_engine.gateway.paging import page_size
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.call import current_caller
from sandlot_engine.gateway.rpc.convert import (
    changes_of,
    config_of,
    package_of,
)
from sandlot_engine.gateway.rpc.layers import arn_of
from sandlot_engine.gateway.rpc.showing import Showing
from sandlot_engine.model.function import LayerUse


class FunctionService:
    """Wire to catalog and back."""

    def __init__(self, backend: Backend) -> None:
        self._functions = backend.functions
        self._settings = backend.settings
        self._layers = backend.layers
        self._region = backend.region
        self._showing = Showing(backend)

    async def CreateFunction(
        self, request: wire.CreateFunctionRequest, _: Context
    ) -> wire.CreateFunctionResponse:
        config = config_of(request.config, is_image=bool(request.image_uri))
        function = await self._functions.create(
            current_caller().tenant_id,
            request.name,
            replace(config, layers=self._found(request.config.layers)),
            package_of(request.zip, request.image_uri),
        )
        return wire.CreateFunctionResponse(function=await self._showing.one(function))

    async def UpdateFunctionCode(
        self, request: wire.UpdateFunctionCodeRequest, _: Context
    ) -> wire.UpdateFunctionCodeResponse:
        function = await self._functions.update_code(
            current_caller().tenant_id,
            request.name,
            package_of(request.zip, request.image_uri),
            request.revision_id,
        )
        return wire.UpdateFunctionCodeResponse(
            function=await self._showing.one(function)
        )

    async def UpdateFunctionConfiguration(
        self, request: wire.UpdateFunctionConfigurationRequest, _: Context
    ) -> wire.UpdateFunctionConfigurationResponse:
        changes = changes_of(request)
        if request.HasField("layers"):
            changes = {**changes, "layers": self._found(request.layers.words)}
        function = await self._functions.update_configuration(
            current_caller().tenant_id, request.name, changes, request.revision_id
        )
        return wire.UpdateFunctionConfigurationResponse(
            function=await self._showing.one(function)
        )

    async def GetFunction(
        self, request: wire.GetFunctionRequest, _: Context
    ) -> wire.GetFunctionResponse:
        function = await self._functions.get(
            current_caller().tenant_id, request.name, request.qualifier
        )
        return wire.GetFunctionResponse(function=await self._showing.one(function))

    async def ListFunctions(
        self, request: wire.ListFunctionsRequest, _: Context
    ) -> wire.ListFunctionsResponse:
        functions, token = await self._functions.list(
            current_caller().tenant_id, page_size(request.page_size), request.page_token
        )
        return wire.ListFunctionsResponse(
            functions=await self._showing.all(functions), next_page_token=token
        )

    async def DeleteFunction(
        self, request: wire.DeleteFunctionRequest, _: Context
    ) -> wire.DeleteFunctionResponse:
        await self._functions.delete(current_caller().tenant_id, request.name)
        return wire.DeleteFunctionResponse()

    async def TagFunction(
        self, request: wire.TagFunctionRequest, _: Context
    ) -> wire.TagFunctionResponse:
        settings = await self._settings.tag(
            current_caller().tenant_id, request.name, request.tags
        )
        return wire.TagFunctionResponse(tags=settings.tags)

    async def UntagFunction(
        self, request: wire.UntagFunctionRequest, _: Context
    ) -> wire.UntagFunctionResponse:
        settings = await self._settings.untag(
            current_caller().tenant_id, request.name, request.keys
        )
        return wire.UntagFunctionResponse(tags=settings.tags)

    def _found(self, layers: Iterable[str]) -> tuple[LayerUse, ...]:
        """Layer versions as the packages that they are now."""
        tenant_id, region = current_caller().tenant_id, self._region
        arns = [arn_of(text, tenant_id, region) for text in layers]
        return self._layers.resolve(tenant_id, arns, region=region)
