"""Tags: on functions, event source mappings and code signing configs."""

from collections.abc import Mapping
from typing import Any

from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway.aws import names
from sandlot_engine.gateway.aws.operations import Call, operation


@operation("TagResource")
async def tag_resource(call: Call) -> Mapping[str, Any]:
    tags = call.input["Tags"]
    if not tags:
        raise InvalidParameter(
            "An error occurred and the request cannot be processed.", field="Tags"
        )
    if _kind(call) == _FUNCTION:
        settings = call.catalog.functions.settings
        await settings.tag(call.tenant_id, _function(call), tags)
        await _touch(call)
    else:
        await _put(call, {**_tags(call), **tags})
    return {}


@operation("UntagResource")
async def untag_resource(call: Call) -> Mapping[str, Any]:
    keys = call.input["TagKeys"]
    if _kind(call) == _FUNCTION:
        settings = call.catalog.functions.settings
        await settings.untag(call.tenant_id, _function(call), keys)
        await _touch(call)
    else:
        left = {key: value for key, value in _tags(call).items() if key not in keys}
        await _put(call, left)
    return {}


@operation("ListTags")
async def list_tags(call: Call) -> Mapping[str, Any]:
    return {"Tags": dict(_tags(call))}


_FUNCTION = "function"


def _kind(call: Call) -> str:
    """Raises `InvalidParameter` for what can have no tags."""
    kind = names.kind_of(call.input["Resource"])
    if kind not in (_FUNCTION, names.EVENT_SOURCE_MAPPING, names.CODE_SIGNING_CONFIG):
        raise InvalidParameter(
            f"Tags on {kind or 'this'} are not supported. Specify a function ARN.",
            field="Resource",
        )
    return kind


def _tags(call: Call) -> Mapping[str, str]:
    match _kind(call):
        case names.EVENT_SOURCE_MAPPING:
            return call.catalog.mappings.get(call.tenant_id, _name(call)).tags
        case names.CODE_SIGNING_CONFIG:
            return call.catalog.signing.get(call.tenant_id, _name(call)).tags
        case _:
            name = _function(call)
            call.catalog.functions.find(call.tenant_id, name)
            return call.catalog.functions.settings.of(call.tenant_id, name).tags


async def _put(call: Call, tags: Mapping[str, str]) -> None:
    if _kind(call) == names.EVENT_SOURCE_MAPPING:
        await call.catalog.mappings.tag(call.tenant_id, _name(call), tags)
    else:
        await call.catalog.signing.tag(call.tenant_id, _name(call), tags)


async def _touch(call: Call) -> None:
    """To AWS tags are a change of `$LATEST`."""
    functions, name = call.catalog.functions, _function(call)
    await functions.in_turn(
        call.tenant_id, lambda: functions.touch(call.tenant_id, name)
    )


def _name(call: Call) -> str:
    """Of a mapping or a config of the caller's; another account's has none here."""
    arn = call.input["Resource"]
    asked = names.parse_thing(
        _kind(call), arn, region=call.region, account=call.tenant_id
    )
    return asked.name if asked.account == call.tenant_id else arn


def _function(call: Call) -> str:
    asked = call.own_function(call.input["Resource"])
    if asked.qualifier is not None:
        raise InvalidParameter(
            "Tags on function aliases and versions are not supported. Please specify a "
            "function ARN.",
            field="Resource",
        )
    return asked.name
