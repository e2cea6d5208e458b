"""How many invocations a function, and an account, may have at once."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.gateway.aws.operations import Call, operation
from sandlot_engine.gateway.aws.operations.functions import unqualified


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
