"""What becomes of functions that call themselves in circles."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.gateway.aws.operations import Call, operation
from sandlot_engine.gateway.aws.operations.functions import unqualified
from sandlot_engine.model.settings import RecursiveLoop


@operation("PutFunctionRecursionConfig")
async def put_function_recursion_config(call: Call) -> Mapping[str, Any]:
    settings = await call.catalog.functions.settings.put_recursive_loop(
        call.tenant_id,
        unqualified(call, call.input["FunctionName"]),
        RecursiveLoop(call.input["RecursiveLoop"]),
    )
    return {"RecursiveLoop": settings.recursive_loop.value}


@operation("GetFunctionRecursionConfig")
async def get_function_recursion_config(call: Call) -> Mapping[str, Any]:
    name = unqualified(call, call.input["FunctionName"])
    await call.catalog.functions.get(call.tenant_id, name)
    settings = call.catalog.functions.settings.of(call.tenant_id, name)
    return {"RecursiveLoop": settings.recursive_loop.value}
