"""Calls about layers. Which of them a function has is one of its settings."""

from collections.abc import Sequence

from sandlot import parsing
from sandlot.calls.call import PAGE_SIZE, Call
from sandlot.errors import UsageError
from sandlot.parsing import Page
from sandlot.results import LayerVersion
from sandlot.v1 import layers_pb2 as wire


def publish_layer(
    name: str, package: bytes, *, description: str, runtimes: Sequence[str]
) -> Call[LayerVersion]:
    if isinstance(runtimes, str):
        # Its characters would be taken for the runtimes.
        raise UsageError(f"runtimes is a list: [{runtimes!r}]")
    return Call(
        method="/sandlot.v1.LayerService/PublishLayer",
        request=wire.PublishLayerRequest(
            name=name,
            zip=package,
            description=description,
            compatible_runtimes=runtimes,
        ),
        response=wire.PublishLayerResponse,
        parse=lambda message: parsing.layer_version(message.version),
    )


def list_layers(token: str) -> Call[Page[LayerVersion]]:
    return Call(
        method="/sandlot.v1.LayerService/ListLayers",
        request=wire.ListLayersRequest(page_size=PAGE_SIZE, page_token=token),
        response=wire.ListLayersResponse,
        parse=lambda m: parsing.page(
            m.latest, parsing.layer_version, m.next_page_token
        ),
    )


def list_layer_versions(name: str, token: str) -> Call[Page[LayerVersion]]:
    return Call(
        method="/sandlot.v1.LayerService/ListLayerVersions",
        request=wire.ListLayerVersionsRequest(
            name=name, page_size=PAGE_SIZE, page_token=token
        ),
        response=wire.ListLayerVersionsResponse,
        parse=lambda m: parsing.page(
            m.versions, parsing.layer_version, m.next_page_token
        ),
    )


def delete_layer_version(name: str, version: int) -> Call[None]:
    return Call(
        method="/sandlot.v1.LayerService/DeleteLayerVersion",
        request=wire.DeleteLayerVersionRequest(name=name, version=version),
        response=wire.DeleteLayerVersionResponse,
        parse=parsing.nothing,
    )
