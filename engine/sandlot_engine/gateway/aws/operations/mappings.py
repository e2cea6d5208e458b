"""Event source mappings: what was asked for, and how it goes with them.

Those whose sources nobody reads here are kept, are `Disabled`, and say why.
"""

from collections.abc import Mapping as MappingOf
from datetime import UTC, datetime
from typing import Any

from sandlot_engine.errors import NotFound
from sandlot_engine.gateway.aws import names
from sandlot_engine.gateway.aws.names import FunctionId
from sandlot_engine.gateway.aws.operations import Call, operation
from sandlot_engine.model.mapping import Mapping
from sandlot_engine.polling.poller import USER

MAX_LISTED = 100
"""Mappings in one page, whatever `MaxItems` says."""

_AT = "StartingPositionTimestamp"
_OURS = frozenset(
    {
        *("EventSourceArn", "FunctionName", "Enabled", "BatchSize", "Tags", "UUID"),
        "MaximumBatchingWindowInSeconds",
    }
)
_OF_STREAMS: dict[str, Any] = {
    "LastProcessingResult": "No records processed",
    "BisectBatchOnFunctionError": False,
    "DestinationConfig": {"OnFailure": {}},
    "FunctionResponseTypes": [],
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "ParallelizationFactor": 1,
    "TumblingWindowInSeconds": 0,
}
"""What AWS shows of every stream's mapping."""


@operation("CreateEventSourceMapping")
async def create_event_source_mapping(call: Call) -> MappingOf[str, Any]:
    given = call.input
    function = call.own_function(given["FunctionName"])
    await _check(call, given.get("EventSourceArn", ""), function)
    mapping = await call.catalog.mappings.create(
        call.tenant_id,
        given.get("EventSourceArn", ""),
        function.name,
        function.qualifier or "",
        is_wanted=given.get("Enabled", True),
        batch_size=given.get("BatchSize"),
        window_s=given.get("MaximumBatchingWindowInSeconds", 0),
        details=_details(call),
        tags=given.get("Tags", {}),
    )
    return _shown(call, mapping, "Creating")


@operation("GetEventSourceMapping")
async def get_event_source_mapping(call: Call) -> MappingOf[str, Any]:
    return _shown(call, call.catalog.mappings.get(call.tenant_id, call.input["UUID"]))


@operation("UpdateEventSourceMapping")
async def update_event_source_mapping(call: Call) -> MappingOf[str, Any]:
    given = call.input
    old = call.catalog.mappings.get(call.tenant_id, given["UUID"])
    function = None
    if "FunctionName" in given:
        asked = call.own_function(given["FunctionName"])
        function = asked.name, asked.qualifier or ""
        await _check(call, old.source_arn, asked)
    mapping = await call.catalog.mappings.update(
        call.tenant_id,
        given["UUID"],
        function=function,
        is_wanted=given.get("Enabled"),
        batch_size=given.get("BatchSize"),
        window_s=given.get("MaximumBatchingWindowInSeconds"),
        details=_details(call),
    )
    return _shown(call, mapping, _changing(call, old, mapping))


@operation("DeleteEventSourceMapping")
async def delete_event_source_mapping(call: Call) -> MappingOf[str, Any]:
    mapping = await call.catalog.mappings.delete(call.tenant_id, call.input["UUID"])
    return _shown(call, mapping, "Deleting")


@operation("ListEventSourceMappings")
async def list_event_source_mappings(call: Call) -> MappingOf[str, Any]:
    given = call.input
    size, token = call.page(at_most=MAX_LISTED)
    name = qualifier = ""
    if "FunctionName" in given:
        asked = call.own_function(given["FunctionName"])
        name, qualifier = asked.name, asked.qualifier or ""
    page, token = call.catalog.mappings.list(
        call.tenant_id,
        source_arn=given.get("EventSourceArn", ""),
        function=name,
        qualifier=qualifier,
        page_size=size,
        page_token=token,
    )
    shown = [_shown(call, mapping) for mapping in page]
    return {"EventSourceMappings": shown, "NextMarker": token or None}


def _details(call: Call) -> dict[str, Any]:
    """What is kept as it was sent; a time as a number, since JSON has none."""
    return {
        name: value.timestamp() if name == _AT else value
        for name, value in call.input.items()
        if name not in _OURS
    }


async def _check(call: Call, source_arn: str, asked: FunctionId) -> None:
    """Hold a function against its queue, where there is one that would be read."""
    try:
        function = call.catalog.functions.find(
            call.tenant_id, asked.name, asked.qualifier or ""
        )
    except NotFound:
        return  # which the catalog says in AWS's words
    await call.parts.sources.check(
        call.tenant_id, source_arn, timeout_s=function.current.config.timeout_s
    )


def _changing(call: Call, old: Mapping, new: Mapping) -> str:
    """The state in an update's answer."""
    if old.is_wanted is new.is_wanted or not call.parts.sources.progress(new).is_read:
        return "Updating"
    return "Enabling" if new.is_wanted else "Disabling"


def _shown(call: Call, mapping: Mapping, state: str = "") -> dict[str, Any]:
    """`state` is that of the call that has just changed it."""
    progress = call.parts.sources.progress(mapping)
    # What is to be taken away is sent as nothing, and is not shown then.
    details = {k: each for k, each in mapping.details.items() if not _is_nothing(each)}
    if (at := details.get(_AT)) is not None:
        details[_AT] = datetime.fromtimestamp(at, UTC)
    reason = progress.reason
    if state:
        reason = "User action" if mapping.kind.is_stream else USER
    return {
        "UUID": mapping.uuid,
        "EventSourceMappingArn": names.event_source_mapping_arn(
            call.region, mapping.tenant_id, mapping.uuid
        ),
        "EventSourceArn": mapping.source_arn,
        "FunctionArn": names.function_arn(
            call.region, mapping.tenant_id, mapping.function, mapping.qualifier
        ),
        "BatchSize": mapping.batch_size,
        "MaximumBatchingWindowInSeconds": mapping.window_s,
        "LastModified": mapping.last_modified,
        "State": state or progress.state.value,
        "StateTransitionReason": reason,
        "FunctionResponseTypes": [],
        **({"LastProcessingResult": progress.result} if progress.is_read else {}),
        **(_OF_STREAMS if mapping.kind.is_stream else {}),
        **details,
    }


def _is_nothing(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_nothing, value.values()))
    return value in ("", [])
