"""How the asynchronous invocations of a function are treated."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.gateway.aws import names
from sandlot_engine.gateway.aws.operations import Call, operation
from sandlot_engine.gateway.aws.operations.functions import unqualified
from sandlot_engine.model.event_config import Destinations, EventConfig


@operation("PutFunctionEventInvokeConfig")
async def put_function_event_invoke_config(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input.get("Qualifier"))
    config = await call.catalog.event_configs.put(
        call.tenant_id, asked.name, asked.qualifier or "", **_given(call)
    )
    return _shown(call, config)


@operation("UpdateFunctionEventInvokeConfig")
async def update_function_event_invoke_config(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input.get("Qualifier"))
    config = await call.catalog.event_configs.update(
        call.tenant_id, asked.name, asked.qualifier or "", **_given(call)
    )
    return _shown(call, config)


@operation("GetFunctionEventInvokeConfig")
async def get_function_event_invoke_config(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input.get("Qualifier"))
    config = call.catalog.event_configs.get(
        call.tenant_id, asked.name, asked.qualifier or ""
    )
    return _shown(call, config)


@operation("DeleteFunctionEventInvokeConfig")
async def delete_function_event_invoke_config(call: Call) -> Mapping[str, Any]:
    asked = call.own_function(call.input["FunctionName"], call.input.get("Qualifier"))
    await call.catalog.event_configs.delete(
        call.tenant_id, asked.name, asked.qualifier or ""
    )
    return {}


@operation("ListFunctionEventInvokeConfigs")
async def list_function_event_invoke_configs(call: Call) -> Mapping[str, Any]:
    name = unqualified(call, call.input["FunctionName"])
    page, token = call.catalog.event_configs.list(call.tenant_id, name, *call.page())
    shown = [_shown(call, config) for config in page]
    return {"FunctionEventInvokeConfigs": shown, "NextMarker": token or None}


def _given(call: Call) -> dict[str, Any]:
    destinations = None
    if "DestinationConfig" in call.input:
        given = call.input["DestinationConfig"]
        destinations = Destinations(
            on_success=given.get("OnSuccess", {}).get("Destination", ""),
            on_failure=given.get("OnFailure", {}).get("Destination", ""),
        )
    return {
        "max_retries": call.input.get("MaximumRetryAttempts"),
        "max_age_s": call.input.get("MaximumEventAgeInSeconds"),
        "destinations": destinations,
    }


def _shown(call: Call, config: EventConfig) -> dict[str, Any]:
    to = config.destinations
    return {
        "FunctionArn": names.function_arn(
            call.region, config.tenant_id, config.function, config.qualifier
        ),
        "LastModified": config.last_modified,
        "MaximumRetryAttempts": config.max_retries,
        "MaximumEventAgeInSeconds": config.max_age_s,
        "DestinationConfig": {
            "OnSuccess": {"Destination": to.on_success} if to.on_success else {},
            "OnFailure": {"Destination": to.on_failure} if to.on_failure else {},
        },
    }
