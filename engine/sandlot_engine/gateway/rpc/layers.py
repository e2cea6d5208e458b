"""`LayerService`: the layers of the caller's tenant, and what functions call them."""

import re

from sandlot.v1 import layers_pb2 as wire
from sandlot_engine.catalog.packages import check_sent
from sandlot_engine.catalog.validation import MAX_DESCRIPTION
from sandlot_engine.errors import InvalidParameter, NotFound
from sandlot_engine.gateway.paging import page_size
from sandlot_engine.gateway.ports import Backend
from sandlot_engine.gateway.rpc import Context
from sandlot_engine.gateway.rpc.call import current_caller
from sandlot_engine.gateway.rpc.convert import timestamp
from sandlot_engine.model.layer import (
    LayerVersion,
    in_region,
    layer_arn,
    layer_version_arn,
)

MAX_NAME = 140
MAX_RUNTIMES, MAX_RUNTIME = 15, 64
"""AWS's bound, and how long a name may be that is kept of what nobody is held to."""

_NAME = re.compile(rf"[a-zA-Z0-9_-]{{1,{MAX_NAME}}}")
_OWN = re.compile(rf"({_NAME.pattern}):([0-9]{{1,18}})")


def arn_of(text: str, tenant_id: str, region: str) -> str:
    """The ARN, there, of a layer version that a tenant calls by one or by
    `NAME:VERSION`. Raises `InvalidParameter`."""
    if text.startswith("arn:"):
        return in_region(text, region)
    if not (own := _OWN.fullmatch(text)):
        raise InvalidParameter(
            f"{text[: 2 * MAX_NAME]!r} is no layer version: name one as NAME:VERSION, "
            "or by its ARN",
            field="layers",
        )
    return layer_version_arn(region, tenant_id, own[1], int(own[2]))


class LayerService:
    """Wire to catalog and back."""

    def __init__(self, backend: Backend) -> None:
        self._layers = backend.layers
        self._region = backend.region

    async def PublishLayer(
        self, request: wire.PublishLayerRequest, _: Context
    ) -> wire.PublishLayerResponse:
        _check(request)
        version = await self._layers.publish(
            current_caller().tenant_id,
            request.name,
            check_sent(request.zip),
            description=request.description,
            runtimes=request.compatible_runtimes,
        )
        return wire.PublishLayerResponse(version=self._out(version))

    async def ListLayers(
        self, request: wire.ListLayersRequest, _: Context
    ) -> wire.ListLayersResponse:
        page, token = self._layers.list_layers(
            current_caller().tenant_id,
            page_size=page_size(request.page_size),
            page_token=request.page_token,
        )
        return wire.ListLayersResponse(
            latest=map(self._out, page), next_page_token=token
        )

    async def ListLayerVersions(
        self, request: wire.ListLayerVersionsRequest, _: Context
    ) -> wire.ListLayerVersionsResponse:
        tenant_id, name = current_caller().tenant_id, _checked_name(request.name)
        page, token = self._layers.list_versions(
            tenant_id,
            name,
            page_size=page_size(request.page_size),
            page_token=request.page_token,
        )
        if not page and not request.page_token:
            # AWS has an empty list here; but who lists nothing has a name wrong.
            arn = layer_arn(self._region, tenant_id, name)
            raise NotFound(f"Layer not found: {arn}", kind="layer", name=name)
        return wire.ListLayerVersionsResponse(
            versions=map(self._out, page), next_page_token=token
        )

    async def DeleteLayerVersion(
        self, request: wire.DeleteLayerVersionRequest, _: Context
    ) -> wire.DeleteLayerVersionResponse:
        tenant_id, name = current_caller().tenant_id, _checked_name(request.name)
        if not await self._layers.delete(tenant_id, name, request.version):
            arn = layer_version_arn(self._region, tenant_id, name, request.version)
            raise NotFound(f"Layer version not found: {arn}", kind="layer", name=name)
        return wire.DeleteLayerVersionResponse()

    def _out(self, version: LayerVersion) -> wire.LayerVersion:
        return wire.LayerVersion(
            name=version.name,
            version=version.version,
            arn=version.arn(self._region),
            description=version.description,
            compatible_runtimes=version.runtimes,
            code_size=version.code.size,
            code_sha256=version.code.sha256_base64,
            created=timestamp(version.created),
        )


def _check(request: wire.PublishLayerRequest) -> None:
    """As AWS's shapes do it for its API."""
    _checked_name(request.name)
    if len(request.description) > MAX_DESCRIPTION:
        raise InvalidParameter(
            f"The description has {len(request.description)} characters of "
            f"{MAX_DESCRIPTION} allowed.",
            field="description",
        )
    runtimes = request.compatible_runtimes
    if len(runtimes) > MAX_RUNTIMES or any(len(x) > MAX_RUNTIME for x in runtimes):
        raise InvalidParameter(
            f"{len(runtimes)} compatible runtimes: at most {MAX_RUNTIMES}, of "
            f"{MAX_RUNTIME} characters each.",
            field="compatible_runtimes",
        )


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            f"Layer name {name[: 2 * MAX_NAME]!r} must have 1 to {MAX_NAME} letters, "
            "digits, hyphens and underscores.",
            field="name",
        )
    return name
