"""What an account may have, and has."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.catalog.layers import MAX_UNZIPPED
from sandlot_engine.catalog.packages import MAX_SENT
from sandlot_engine.gateway.aws.operations import Call, operation


@operation("GetAccountSettings")
async def get_account_settings(call: Call) -> Mapping[str, Any]:
    functions = call.catalog.functions
    settings = functions.settings
    reserved = sum(settings.reserved(call.tenant_id).values())
    unreserved = settings.unreserved(call.tenant_id)
    return {
        "AccountLimit": {
            "TotalCodeSize": functions.quota.code_bytes,
            "CodeSizeUnzipped": MAX_UNZIPPED,
            "CodeSizeZipped": MAX_SENT,
            "ConcurrentExecutions": reserved + unreserved,
            "UnreservedConcurrentExecutions": unreserved,
        },
        "AccountUsage": {
            "TotalCodeSize": functions.code_bytes(call.tenant_id),
            "FunctionCount": functions.count(call.tenant_id),
        },
    }
