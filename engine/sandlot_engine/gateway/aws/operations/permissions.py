"""Resource policies: who else may invoke a function."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.gateway.aws.operations import Call, operation


@operation("AddPermission")
async def add_permission(call: Call) -> Mapping[str, Any]:
    given = call.input
    asked = call.own_function(given["FunctionName"], given.get("Qualifier"))
    statement = await call.catalog.policies.add(
        call.tenant_id,
        asked.name,
        asked.qualifier or "",
        statement_id=given["StatementId"],
        action=given["Action"],
        principal=given["Principal"],
        source_arn=given.get("SourceArn", ""),
        source_account=given.get("SourceAccount", ""),
        function_url_auth_type=given.get("FunctionUrlAuthType", ""),
        via_function_url=given.get("InvokedViaFunctionUrl"),
        revision_id=given.get("RevisionId", ""),
    )
    return {"Statement": call.in_region(statement)}


@operation("RemovePermission")
async def remove_permission(call: Call) -> Mapping[str, Any]:
    given = call.input
    asked = call.own_function(given["FunctionName"], given.get("Qualifier"))
    await call.catalog.policies.remove(
        call.tenant_id,
        asked.name,
        asked.qualifier or "",
        statement_id=given["StatementId"],
        revision_id=given.get("RevisionId", ""),
    )
    return {}


@operation("GetPolicy")
async def get_policy(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input.get("Qualifier"))
    policy, revision_id = call.catalog.policies.get(
        call.tenant_id, asked.name, asked.qualifier or ""
    )
    return {"Policy": call.in_region(policy), "RevisionId": revision_id}


# --- as a whole -------------------------------------------------------------------


@operation("GetResourcePolicy")
async def get_resource_policy(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["ResourceArn"])
    policy, revision_id = call.catalog.policies.get(
        call.tenant_id, asked.name, asked.qualifier or ""
    )
    return {"Policy": call.in_region(policy), "RevisionId": revision_id}


@operation("PutResourcePolicy")
async def put_resource_policy(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["ResourceArn"])
    policy, revision_id = await call.catalog.policies.put(
        call.tenant_id,
        asked.name,
        asked.qualifier or "",
        document=call.from_region(call.input["Policy"]),
        revision_id=call.input.get("RevisionId", ""),
    )
    return {"Policy": call.in_region(policy), "RevisionId": revision_id}


@operation("DeleteResourcePolicy")
async def delete_resource_policy(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["ResourceArn"])
    await call.catalog.policies.delete(
        call.tenant_id,
        asked.name,
        asked.qualifier or "",
        revision_id=call.input.get("RevisionId", ""),
    )
    return {}
