"""How functions' runtimes are updated: with the machine, whatever is said."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.aws import names
from sandlot_engine.gateway.aws.operations import Call, operation
from sandlot_engine.model.signing import RuntimeManagement, UpdateRuntimeOn


@operation("PutRuntimeManagementConfig")
async def put_runtime_management_config(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input.get("Qualifier"))
    update_on = call.input["UpdateRuntimeOn"]
    if update_on not in set(UpdateRuntimeOn):
        raise InvalidParameter(
            f"UpdateRuntimeOn {update_on} is not supported: runtimes are the "
            "interpreters of this machine, of which there is one version each.",
            field="UpdateRuntimeOn",
        )
    management = await call.catalog.runtimes.put(
        call.tenant_id,
        asked.name,
        asked.qualifier or "",
        update_on=UpdateRuntimeOn(update_on),
    )
    return _shown(call, asked, management)


@operation("GetRuntimeManagementConfig")
async def get_runtime_management_config(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input.get("Qualifier"))
    management = call.catalog.runtimes.get(
        call.tenant_id, asked.name, asked.qualifier or ""
    )
    return _shown(call, asked, management)


def _shown(
    call: Call, asked: names.FunctionId, management: RuntimeManagement
) -> dict[str, Any]:
    return {
        "UpdateRuntimeOn": management.update_on.value,
        "FunctionArn": asked.arn(call.region),
    }
