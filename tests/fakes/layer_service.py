# ruff: noqa: N802  # methods bear the names that the .proto files give them
"""The fake engine's layers."""

import hashlib
from collections import defaultdict
from typing import Any

import grpc

from sandlot.v1 import layers_pb2 as wire
from sandlot.v1 import layers_pb2_grpc
from tests.fakes.engine import NOW, Engine, Refusal, page


class Layers(layers_pb2_grpc.LayerServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._versions: dict[tuple[str, str], list[wire.LayerVersion]]
        self._versions = defaultdict(list)

    def PublishLayer(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        versions = self._versions[tenant_id, request.name]
        number = len(versions) + 1
        made = wire.LayerVersion(
            name=request.name,
            version=number,
            arn=f"arn:aws:lambda:us-east-1:{tenant_id}:layer:{request.name}:{number}",
            description=request.description,
            compatible_runtimes=request.compatible_runtimes,
            code_size=len(request.zip),
            code_sha256=hashlib.sha256(request.zip).hexdigest(),
            created=NOW,
        )
        versions.insert(0, made)
        return wire.PublishLayerResponse(version=made)

    def ListLayers(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        latest = [
            versions[0]
            for (owner, _), versions in sorted(self._versions.items())
            if owner == tenant_id and versions
        ]
        items, token = page(latest, request)
        return wire.ListLayersResponse(latest=items, next_page_token=token)

    def ListLayerVersions(self, request: Any, context: Any) -> Any:
        tenant_id = self.engine.enter(request, context)
        if not (versions := self._versions[tenant_id, request.name]):
            raise _missing(f"Layer not found: arn:aws:lambda:r:1:layer:{request.name}")
        items, token = page(versions, request)
        return wire.ListLayerVersionsResponse(versions=items, next_page_token=token)

    def DeleteLayerVersion(self, request: Any, context: Any) -> Any:
        versions = self._versions[self.engine.enter(request, context), request.name]
        for one in versions:
            if one.version == request.version:
                versions.remove(one)
                return wire.DeleteLayerVersionResponse()
        raise _missing(
            f"Layer version not found: arn:aws:lambda:r:1:layer:{request.name}:"
            f"{request.version}"
        )


def _missing(what: str) -> Refusal:
    return Refusal(grpc.StatusCode.NOT_FOUND, "NotFound", what)
