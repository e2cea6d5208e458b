"""Event source mappings. Nobody reads their sources yet, and they say so."""

from collections.abc import Mapping as MappingOf
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sandlot_engine.catalog.mappings import NOBODY_READS
from sandlot_engine.gateway.aws import names
from sandlot_engine.gateway.aws.operations import Call, operation
from sandlot_engine.model.mapping import Mapping


class State(StrEnum):
    """What an answer shows. The first three are those of the call that did it."""

    CREATING = "Creating"
    UPDATING = "Updating"
    DELETING = "Deleting"
    DISABLED = "Disabled"


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
    return _shown(call, mapping, State.CREATING)


@operation("GetEventSourceMapping")
async def get_event_source_mapping(call: Call) -> MappingOf[str, Any]:
    return _shown(call, call.catalog.mappings.get(call.tenant_id, call.input["UUID"]))


@operation("UpdateEventSourceMapping")
async def update_event_source_mapping(call: Call) -> MappingOf[str, Any]:
    given = call.input
    function = None
    if "FunctionName" in given:
        asked = call.own_function(given["FunctionName"])
        function = asked.name, asked.qualifier or ""
    mapping = await call.catalog.mappings.update(
        call.tenant_id,
        given["UUID"],
        function=function,
        is_wanted=given.get("Enabled"),
        batch_size=given.get("BatchSize"),
        window_s=given.get("MaximumBatchingWindowInSeconds"),
        details=_details(call),
    )
    return _shown(call, mapping, State.UPDATING)


@operation("DeleteEventSourceMapping")
async def delete_event_source_mapping(call: Call) -> MappingOf[str, Any]:
    mapping = await call.catalog.mappings.delete(call.tenant_id, call.input["UUID"])
    return _shown(call, mapping, State.DELETING)


@operation("ListEventSourceMappings")
async def list_event_source_mappings(call: Call) -> MappingOf[str, Any]:
    given = call.input
    size, token = call.page()
    name = ""
    if "FunctionName" in given:
        name = call.own_function(given["FunctionName"]).name
    page, token = call.catalog.mappings.list(
        call.tenant_id,
        source_arn=given.get("EventSourceArn", ""),
        function=name,
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


def _shown(
    call: Call, mapping: Mapping, state: State = State.DISABLED
) -> dict[str, Any]:
    reason, details = NOBODY_READS, dict(mapping.details)
    if (at := details.get(_AT)) is not None:
        details[_AT] = datetime.fromtimestamp(at, UTC)
    if state is not State.DISABLED:
        reason = "User action" if mapping.kind.is_stream else "USER_INITIATED"
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
        "State": state.value,
        "StateTransitionReason": reason,
        "FunctionResponseTypes": [],
        **(_OF_STREAMS if mapping.kind.is_stream else {}),
        **details,
    }
