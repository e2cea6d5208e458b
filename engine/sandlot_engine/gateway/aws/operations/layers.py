"""Layers: packages that functions have at /opt."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.gateway.aws import shapes
from sandlot_engine.gateway.aws.operations import Call, operation
from sandlot_engine.model.layer import LayerVersion


@operation("PublishLayerVersion")
async def publish_layer_version(call: Call) -> Mapping[str, Any]:
    given = call.input
    package = await call.package(given["Content"])
    version = await call.whole(
        call.catalog.functions.layers.publish(
            call.tenant_id,
            given["LayerName"],
            package,
            description=given.get("Description", ""),
            license_info=given.get("LicenseInfo", ""),
            runtimes=given.get("CompatibleRuntimes", ()),
            architectures=given.get("CompatibleArchitectures", ()),
        )
    )
    return _with_content(call, version)


@operation("GetLayerVersion")
async def get_layer_version(call: Call) -> Mapping[str, Any]:
    version = call.catalog.functions.layers.get(
        call.tenant_id,
        call.input["LayerName"],
        call.input["VersionNumber"],
        region=call.region,
    )
    return _with_content(call, version)


@operation("GetLayerVersionByArn")
async def get_layer_version_by_arn(call: Call) -> Mapping[str, Any]:
    layers = call.catalog.functions.layers
    return _with_content(call, layers.get_by_arn(call.tenant_id, call.input["Arn"]))


@operation("DeleteLayerVersion")
async def delete_layer_version(call: Call) -> Mapping[str, Any]:
    await call.catalog.functions.layers.delete(
        call.tenant_id, call.input["LayerName"], call.input["VersionNumber"]
    )
    return {}


@operation("ListLayers")
async def list_layers(call: Call) -> Mapping[str, Any]:
    size, token = call.page()
    page, token = call.catalog.functions.layers.list_layers(
        call.tenant_id,
        runtime=call.input.get("CompatibleRuntime", ""),
        architecture=call.input.get("CompatibleArchitecture", ""),
        page_size=size,
        page_token=token,
    )
    layers = [
        {
            "LayerName": version.name,
            "LayerArn": version.layer_arn(call.region),
            "LatestMatchingVersion": _listed(call, version),
        }
        for version in page
    ]
    return {"Layers": layers, "NextMarker": token or None}


@operation("ListLayerVersions")
async def list_layer_versions(call: Call) -> Mapping[str, Any]:
    size, token = call.page()
    page, token = call.catalog.functions.layers.list_versions(
        call.tenant_id,
        call.input["LayerName"],
        runtime=call.input.get("CompatibleRuntime", ""),
        architecture=call.input.get("CompatibleArchitecture", ""),
        page_size=size,
        page_token=token,
    )
    versions = [_listed(call, version) for version in page]
    return {"LayerVersions": versions, "NextMarker": token or None}


# --- who else may use them ----------------------------------------------------------


@operation("AddLayerVersionPermission")
async def add_layer_version_permission(call: Call) -> Mapping[str, Any]:
    given = call.input
    version, statement = await call.catalog.functions.layers.add_permission(
        call.tenant_id,
        given["LayerName"],
        given["VersionNumber"],
        statement_id=given["StatementId"],
        action=given["Action"],
        principal=given["Principal"],
        revision_id=given.get("RevisionId", ""),
        region=call.region,
    )
    return {"Statement": statement, "RevisionId": version.policy_revision_id}


@operation("RemoveLayerVersionPermission")
async def remove_layer_version_permission(call: Call) -> Mapping[str, Any]:
    given = call.input
    await call.catalog.functions.layers.remove_permission(
        call.tenant_id,
        given["LayerName"],
        given["VersionNumber"],
        statement_id=given["StatementId"],
        revision_id=given.get("RevisionId", ""),
        region=call.region,
    )
    return {}


@operation("GetLayerVersionPolicy")
async def get_layer_version_policy(call: Call) -> Mapping[str, Any]:
    policy, revision_id = call.catalog.functions.layers.policy(
        call.tenant_id,
        call.input["LayerName"],
        call.input["VersionNumber"],
        region=call.region,
    )
    return {"Policy": policy, "RevisionId": revision_id}


# --- shown ------------------------------------------------------------------------


def _with_content(call: Call, version: LayerVersion) -> dict[str, Any]:
    return {
        **_listed(call, version),
        "LayerArn": version.layer_arn(call.region),
        "Content": {
            "Location": call.code_url(version.code),
            "CodeSha256": shapes.code_sha256(version.code),
            "CodeSize": version.code.size,
        },
    }


def _listed(call: Call, version: LayerVersion) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "LayerVersionArn": version.arn(call.region),
        "Version": version.version,
        "Description": version.description,
        "CreatedDate": shapes.last_modified(version.created),
    }
    if version.runtimes:
        shown["CompatibleRuntimes"] = list(version.runtimes)
    if version.architectures:
        shown["CompatibleArchitectures"] = list(version.architectures)
    if version.license_info:
        shown["LicenseInfo"] = version.license_info
    return shown
