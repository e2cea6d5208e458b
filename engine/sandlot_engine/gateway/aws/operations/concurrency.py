"""How many invocations a function, and an account, may have at once."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.gateway.aws import names
from sandlot_engine.gateway.aws.operations import Call, operation
from sandlot_engine.gateway.aws.operations.functions import unqualified
from sandlot_engine.model.provisioned import Provisioned


@operation("PutFunctionConcurrency")
async def put_function_concurrency(call: Call) -> Mapping[str, Any]:
    settings = await call.catalog.functions.settings.put_concurrency(
        call.tenant_id,
        unqualified(call, call.input["FunctionName"]),
        call.input["ReservedConcurrentExecutions"],
    )
    return {"ReservedConcurrentExecutions": settings.reserved_concurrency}


@operation("GetFunctionConcurrency")
async def get_function_concurrency(call: Call) -> Mapping[str, Any]:
    name = unqualified(call, call.input["FunctionName"])
    await call.catalog.functions.get(call.tenant_id, name)
    reserved = call.catalog.functions.settings.concurrency_of(call.tenant_id, name)
    return {"ReservedConcurrentExecutions": reserved}


@operation("DeleteFunctionConcurrency")
async def delete_function_concurrency(call: Call) -> Mapping[str, Any]:
    await call.catalog.functions.settings.delete_concurrency(
        call.tenant_id, unqualified(call, call.input["FunctionName"])
    )
    return {}


# --- provisioned --------------------------------------------------------------------


@operation("PutProvisionedConcurrencyConfig")
async def put_provisioned_concurrency_config(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input["Qualifier"])
    provisioned = await call.catalog.provisioned.put(
        call.tenant_id,
        asked.name,
        asked.qualifier or "",
        call.input["ProvisionedConcurrentExecutions"],
    )
    return _shown(provisioned)


@operation("GetProvisionedConcurrencyConfig")
async def get_provisioned_concurrency_config(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input["Qualifier"])
    provisioned = call.catalog.provisioned.get(
        call.tenant_id, asked.name, asked.qualifier or ""
    )
    return _shown(provisioned)


@operation("DeleteProvisionedConcurrencyConfig")
async def delete_provisioned_concurrency_config(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input["Qualifier"])
    await call.catalog.provisioned.delete(
        call.tenant_id, asked.name, asked.qualifier or ""
    )
    return {}


@operation("ListProvisionedConcurrencyConfigs")
async def list_provisioned_concurrency_configs(call: Call) -> Mapping[str, Any]:
    page, token = call.catalog.provisioned.list(
        call.tenant_id, unqualified(call, call.input["FunctionName"]), *call.page()
    )
    shown = [
        {
            "FunctionArn": names.function_arn(
                call.region,
                provisioned.config.tenant_id,
                provisioned.config.function,
                provisioned.config.qualifier,
            ),
            **_shown(provisioned),
        }
        for provisioned in page
    ]
    return {"ProvisionedConcurrencyConfigs": shown, "NextMarker": token or None}


def _shown(provisioned: Provisioned) -> dict[str, Any]:
    return {
        "RequestedProvisionedConcurrentExecutions": provisioned.config.requested,
        "AllocatedProvisionedConcurrentExecutions": provisioned.allocated,
        "AvailableProvisionedConcurrentExecutions": provisioned.available,
        "Status": provisioned.status.value,
        "StatusReason": provisioned.reason or None,
        # In whole seconds, as AWS has it here and nowhere else.
        "LastModified": f"{provisioned.config.last_modified:%Y-%m-%dT%H:%M:%S}+0000",
    }
