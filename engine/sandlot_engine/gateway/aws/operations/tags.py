"""Tags: on functions, event source mappings and code signing configs."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.aws import names
from sandlot_engine.gateway.aws.operations import Call, operation


@operation("TagResource")
async def tag_resource(call: Call) -> Mapping[str, Any]:
    await call.catalog.functions.settings.tag(
        call.tenant_id, _tagged_function(call), call.input["Tags"]
    )
    return {}


@operation("UntagResource")
async def untag_resource(call: Call) -> Mapping[str, Any]:
    await call.catalog.functions.settings.untag(
        call.tenant_id, _tagged_function(call), call.input["TagKeys"]
    )
    return {}


@operation("ListTags")
async def list_tags(call: Call) -> Mapping[str, Any]:
    name = _tagged_function(call)
    await call.catalog.functions.get(call.tenant_id, name)
    tags = call.catalog.functions.settings.of(call.tenant_id, name).tags
    return {"Tags": dict(tags)}


def _tagged_function(call: Call) -> str:
    """Raises `InvalidParameter` for what can have no tags."""
    arn = call.input["Resource"]
    if (kind := names.kind_of(arn)) != "function":
        raise InvalidParameter(
            f"Tags on {kind or 'this'} are not supported. Specify a function ARN.",
            field="Resource",
        )
    asked = call.own_function(arn)
    if asked.qualifier is not None:
        raise InvalidParameter(
            "Tags on function aliases and versions are not supported. Please specify a "
            "function ARN.",
            field="Resource",
        )
    return asked.name
