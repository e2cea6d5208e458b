"""Aliases: names for versions, and how calls are divided between two."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.gateway.aws.operations import Call, operation
from sandlot_engine.gateway.aws.shapes import alias_configuration


@operation("CreateAlias")
async def create_alias(call: Call) -> Mapping[str, Any]:
    given = call.input
    alias = await call.catalog.functions.aliases.create(
        call.tenant_id,
        call.own_function(given["FunctionName"]).name,
        given["Name"],
        given["FunctionVersion"],
        description=given.get("Description", ""),
        weights=_weights(given),
    )
    return alias_configuration(alias, region=call.region)


@operation("GetAlias")
async def get_alias(call: Call) -> Mapping[str, Any]:
    name = call.own_function(call.input["FunctionName"]).name
    alias = call.catalog.functions.aliases.get(call.tenant_id, name, call.input["Name"])
    return alias_configuration(alias, region=call.region)


@operation("UpdateAlias")
async def update_alias(call: Call) -> Mapping[str, Any]:
    given = call.input
    alias = await call.catalog.functions.aliases.update(
        call.tenant_id,
        call.own_function(given["FunctionName"]).name,
        given["Name"],
        version=given.get("FunctionVersion"),
        description=given.get("Description"),
        weights=_weights(given),
        revision_id=given.get("RevisionId", ""),
    )
    return alias_configuration(alias, region=call.region)


@operation("DeleteAlias")
async def delete_alias(call: Call) -> Mapping[str, Any]:
    name = call.own_function(call.input["FunctionName"]).name
    await call.catalog.functions.aliases.delete(
        call.tenant_id, name, call.input["Name"]
    )
    return {}


@operation("ListAliases")
async def list_aliases(call: Call) -> Mapping[str, Any]:
    size, token = call.page()
    page, token = call.catalog.functions.aliases.list(
        call.tenant_id,
        call.own_function(call.input["FunctionName"]).name,
        version=call.input.get("FunctionVersion", ""),
        page_size=size,
        page_token=token,
    )
    shown = [alias_configuration(alias, region=call.region) for alias in page]
    return {"Aliases": shown, "NextMarker": token or None}


def _weights(given: Mapping[str, Any]) -> Mapping[str, float] | None:
    """None where nothing is said of them; an empty routing takes them away."""
    if "RoutingConfig" not in given:
        return None
    weights: Mapping[str, float] = given["RoutingConfig"].get(
        "AdditionalVersionWeights", {}
    )
    return weights
