"""Code signing configs, and which functions have which."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.gateway.aws import names
from sandlot_engine.gateway.aws.operations import Call, operation
from sandlot_engine.gateway.aws.operations.functions import unqualified
from sandlot_engine.gateway.aws.shapes import last_modified
from sandlot_engine.model.signing import SigningConfig, Untrusted


@operation("CreateCodeSigningConfig")
async def create_code_signing_config(call: Call) -> Mapping[str, Any]:
    given = call.input
    config = await call.catalog.signing.create(
        call.tenant_id,
        publishers=_publishers(given) or (),
        untrusted=_untrusted(given) or Untrusted.WARN,
        description=given.get("Description", ""),
        tags=given.get("Tags", {}),
    )
    return {"CodeSigningConfig": _shown(call, config)}


@operation("GetCodeSigningConfig")
async def get_code_signing_config(call: Call) -> Mapping[str, Any]:
    config = call.catalog.signing.get(call.tenant_id, _asked(call))
    return {"CodeSigningConfig": _shown(call, config)}


@operation("UpdateCodeSigningConfig")
async def update_code_signing_config(call: Call) -> Mapping[str, Any]:
    config = await call.catalog.signing.update(
        call.tenant_id,
        _asked(call),
        publishers=_publishers(call.input),
        untrusted=_untrusted(call.input),
        description=call.input.get("Description"),
    )
    return {"CodeSigningConfig": _shown(call, config)}


@operation("DeleteCodeSigningConfig")
async def delete_code_signing_config(call: Call) -> Mapping[str, Any]:
    await call.catalog.signing.delete(call.tenant_id, _asked(call))
    return {}


@operation("ListCodeSigningConfigs")
async def list_code_signing_configs(call: Call) -> Mapping[str, Any]:
    page, token = call.catalog.signing.list(call.tenant_id, *call.page())
    shown = [_shown(call, config) for config in page]
    return {"CodeSigningConfigs": shown, "NextMarker": token or None}


@operation("ListFunctionsByCodeSigningConfig")
async def list_functions_by_code_signing_config(call: Call) -> Mapping[str, Any]:
    page, token = call.catalog.signing.list_functions(
        call.tenant_id, _asked(call), *call.page()
    )
    arns = [names.function_arn(call.region, call.tenant_id, name) for name in page]
    return {"FunctionArns": arns, "NextMarker": token or None}


# --- of functions -------------------------------------------------------------------


@operation("PutFunctionCodeSigningConfig")
async def put_function_code_signing_config(call: Call) -> Mapping[str, Any]:
    name = unqualified(call, call.input["FunctionName"])
    config = call.own_signing_config(
        call.input["CodeSigningConfigArn"], for_function=True
    )
    await call.catalog.signing.attach(call.tenant_id, name, config)
    return _of_function(call, name)


@operation("GetFunctionCodeSigningConfig")
async def get_function_code_signing_config(call: Call) -> Mapping[str, Any]:
    return _of_function(call, unqualified(call, call.input["FunctionName"]))


@operation("DeleteFunctionCodeSigningConfig")
async def delete_function_code_signing_config(call: Call) -> Mapping[str, Any]:
    name = unqualified(call, call.input["FunctionName"])
    await call.catalog.signing.detach(call.tenant_id, name)
    return {}


def _asked(call: Call) -> str:
    return call.own_signing_config(call.input["CodeSigningConfigArn"])


def _of_function(call: Call, name: str) -> Mapping[str, Any]:
    config = call.catalog.signing.of(call.tenant_id, name)
    if not config:
        return {}  # as on AWS, whatever its model says must be there
    return {"CodeSigningConfigArn": _arn(call, config), "FunctionName": name}


def _publishers(given: Mapping[str, Any]) -> list[str] | None:
    if "AllowedPublishers" not in given:
        return None
    publishers: list[str] = given["AllowedPublishers"]["SigningProfileVersionArns"]
    return publishers


def _untrusted(given: Mapping[str, Any]) -> Untrusted | None:
    policies = given.get("CodeSigningPolicies", {})
    said = policies.get("UntrustedArtifactOnDeployment")
    return Untrusted(said) if said else None


def _arn(call: Call, config: str) -> str:
    return names.code_signing_config_arn(call.region, call.tenant_id, config)


def _shown(call: Call, config: SigningConfig) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "CodeSigningConfigId": config.id,
        "CodeSigningConfigArn": _arn(call, config.id),
        "AllowedPublishers": {"SigningProfileVersionArns": list(config.publishers)},
        "CodeSigningPolicies": {
            "UntrustedArtifactOnDeployment": config.untrusted.value
        },
        "LastModified": last_modified(config.last_modified),
    }
    if config.description:
        shown["Description"] = config.description
    return shown
