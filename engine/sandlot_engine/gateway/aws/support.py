"""What of AWS's API works here, by operation and input field, and what is refused.

One table. Requests are held against it before an operation sees them, a test holds it
against AWS's model, and the tables of `docs/aws-compatibility.md` are made from it. A
field of a newer model that is not in it is refused by name until somebody has decided.

    python -m sandlot_engine.gateway.aws.support docs/aws-compatibility.md

writes the tables there anew.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Support(StrEnum):
    """What becomes of a field that a client sends."""

    WORKS = "works"
    STORED = "stored"
    """Kept and shown, as AWS's tools expect; nothing here uses it."""

    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """An operation that works, and its input fields, names with spaces between."""

    works: str = ""
    stored: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Field to the reason; `Code.ImageUri` is a field of a field that works. Refused is
    a value that asks for something: an empty structure, list or text, and False, is
    what many clients send for "no"."""

    def __iter__(self) -> Iterator[tuple[str, Support]]:
        yield from ((name, Support.WORKS) for name in self.works.split())
        yield from ((name, Support.STORED) for name in self.stored.split())
        yield from ((name, Support.REFUSED) for name in self.refused)


def refusal(
    operation: str, given: Mapping[str, Any], table: "Table | None" = None
) -> str:
    """Why a request is refused before its operation sees it; empty where it is not. The
    table is Lambda's, if no other is given."""
    entry = (TABLE if table is None else table).get(operation)
    if entry is None:
        return f"Sandlot does not know the operation {operation}."
    if isinstance(entry, str):
        return f"{operation} is not supported: {entry}"
    known = dict(entry)
    for name, value in _fields_of(entry, given):
        if known.get(name) in (Support.WORKS, Support.STORED) or not _asks(name, value):
            continue
        reason = entry.refused.get(name, "it is newer than this Sandlot.")
        return f"{name} is not supported: {reason}"
    return ""


def _fields_of(entry: Fields, given: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield from given.items()
    for path in entry.refused:
        outer, _, inner = path.partition(".")
        if inner:
            yield path, given.get(outer, {}).get(inner)


def _asks(name: str, value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_asks(inner, each) for inner, each in value.items())
    return bool(value) and value != _SAYS_NO.get(name.rpartition(".")[2])


_SAYS_NO = {"S3ObjectStorageMode": "COPY"}
"""Values that ask for what is done anyway."""


_VPC = (
    "there are no VPCs. What a function reaches is its network: none, egress or host."
)
_FILES = "no file systems can be mounted. A function has /tmp, and its package."
_DURABLE = "there are no durable executions."
_CAPACITY = "there are no capacity providers: functions run on this machine."
_RUNTIME = "runtimes are the interpreters of this machine. Name one as Runtime."
_ACCELERATOR = "functions get no accelerators."
_PUBLISH_TO = "$LATEST.PUBLISHED belongs to capacity providers. Leave PublishTo out."
_REFERENCE = "packages are kept here. Leave S3ObjectStorageMode out, or say COPY."
_KMS_SOURCE = "there is no KMS, so an encrypted package cannot be read."
_ORGANIZATION = "there are no organizations. Name accounts, one by one."
_NO_POLLER = "there is nothing here that polls such a source."
_PAGE = "Marker MaxItems"

_CONFIGURATION = (
    "Runtime Handler Description Timeout MemorySize Environment Layers"
    " EphemeralStorage LoggingConfig DeadLetterConfig SnapStart ImageConfig"
)
_CONFIGURATION_STORED = "Role KMSKeyArn TracingConfig"
_CONFIGURATION_REFUSED = {
    "VpcConfig": _VPC,
    "FileSystemConfigs": _FILES,
    "CapacityProviderConfig": _CAPACITY,
    "DurableConfig": _DURABLE,
    "RuntimeConfig": _RUNTIME,
    "AcceleratorConfig": _ACCELERATOR,
}
_INVOKE_CONFIG = Fields(
    works="FunctionName Qualifier MaximumRetryAttempts MaximumEventAgeInSeconds"
    " DestinationConfig",
)
_MAPPING_WORKS = (
    "FunctionName Enabled BatchSize FilterCriteria ScalingConfig"
    " MaximumBatchingWindowInSeconds FunctionResponseTypes"
)
_MAPPING_STORED = (
    "MetricsConfig LoggingConfig ParallelizationFactor DestinationConfig"
    " MaximumRecordAgeInSeconds BisectBatchOnFunctionError MaximumRetryAttempts"
    " TumblingWindowInSeconds KMSKeyArn SourceAccessConfigurations"
)
_MAPPING_REFUSED = {
    "AmazonManagedKafkaEventSourceConfig": _NO_POLLER,
    "SelfManagedKafkaEventSourceConfig": _NO_POLLER,
    "DocumentDBEventSourceConfig": _NO_POLLER,
    "ProvisionedPollerConfig": _NO_POLLER,
}

Table = Mapping[str, Fields | str]

TABLE: Table = {
    # --- functions ------------------------------------------------------------
    "CreateFunction": Fields(
        works=f"FunctionName Code Publish PackageType Tags Architectures TenancyConfig"
        f" CodeSigningConfigArn {_CONFIGURATION}",
        stored=_CONFIGURATION_STORED,
        refused={
            **_CONFIGURATION_REFUSED,
            "PublishTo": _PUBLISH_TO,
            "Code.S3ObjectStorageMode": _REFERENCE,
            "Code.SourceKMSKeyArn": _KMS_SOURCE,
        },
    ),
    "GetFunction": Fields(works="FunctionName Qualifier"),
    "GetFunctionConfiguration": Fields(works="FunctionName Qualifier"),
    "UpdateFunctionCode": Fields(
        works="FunctionName ZipFile ImageUri S3Bucket S3Key S3ObjectVersion"
        " Architectures"
        " Publish DryRun RevisionId",
        refused={
            "S3ObjectStorageMode": _REFERENCE,
            "PublishTo": _PUBLISH_TO,
            "SourceKMSKeyArn": _KMS_SOURCE,
        },
    ),
    "UpdateFunctionConfiguration": Fields(
        works=f"FunctionName RevisionId {_CONFIGURATION}",
        stored=_CONFIGURATION_STORED,
        refused=_CONFIGURATION_REFUSED,
    ),
    "DeleteFunction": Fields(works="FunctionName Qualifier"),
    "ListFunctions": Fields(
        works=f"FunctionVersion {_PAGE}",
        refused={"MasterRegion": "functions are in every region; there are no edges."},
    ),
    # --- invoking -------------------------------------------------------------
    "Invoke": Fields(
        works="FunctionName InvocationType LogType ClientContext Payload Qualifier"
        " TenantId",
        refused={"DurableExecutionName": _DURABLE},
    ),
    "InvokeAsync": Fields(works="FunctionName InvokeArgs"),
    "InvokeWithResponseStream": Fields(
        works="FunctionName LogType ClientContext Payload Qualifier TenantId"
        " InvocationType",
    ),
    # --- versions and aliases ---------------------------------------------------
    "PublishVersion": Fields(
        works="FunctionName CodeSha256 Description RevisionId",
        refused={"PublishTo": _PUBLISH_TO},
    ),
    "ListVersionsByFunction": Fields(works=f"FunctionName {_PAGE}"),
    "CreateAlias": Fields(
        works="FunctionName Name FunctionVersion Description RoutingConfig"
    ),
    "GetAlias": Fields(works="FunctionName Name"),
    "UpdateAlias": Fields(
        works="FunctionName Name FunctionVersion Description RoutingConfig RevisionId"
    ),
    "DeleteAlias": Fields(works="FunctionName Name"),
    "ListAliases": Fields(works=f"FunctionName FunctionVersion {_PAGE}"),
    # --- concurrency ------------------------------------------------------------
    "PutFunctionConcurrency": Fields(works="FunctionName ReservedConcurrentExecutions"),
    "GetFunctionConcurrency": Fields(works="FunctionName"),
    "DeleteFunctionConcurrency": Fields(works="FunctionName"),
    "PutProvisionedConcurrencyConfig": Fields(
        works="FunctionName Qualifier ProvisionedConcurrentExecutions"
    ),
    "GetProvisionedConcurrencyConfig": Fields(works="FunctionName Qualifier"),
    "DeleteProvisionedConcurrencyConfig": Fields(works="FunctionName Qualifier"),
    "ListProvisionedConcurrencyConfigs": Fields(works=f"FunctionName {_PAGE}"),
    "GetAccountSettings": Fields(),
    # --- layers -----------------------------------------------------------------
    "PublishLayerVersion": Fields(
        works="LayerName Description Content CompatibleArchitectures"
        " CompatibleRuntimes LicenseInfo",
        refused={"Content.S3ObjectStorageMode": _REFERENCE},
    ),
    "GetLayerVersion": Fields(works="LayerName VersionNumber"),
    "GetLayerVersionByArn": Fields(works="Arn"),
    "DeleteLayerVersion": Fields(works="LayerName VersionNumber"),
    "ListLayers": Fields(works=f"CompatibleArchitecture CompatibleRuntime {_PAGE}"),
    "ListLayerVersions": Fields(
        works=f"CompatibleArchitecture CompatibleRuntime LayerName {_PAGE}"
    ),
    "AddLayerVersionPermission": Fields(
        works="LayerName VersionNumber StatementId Action Principal RevisionId",
        refused={"OrganizationId": _ORGANIZATION},
    ),
    "RemoveLayerVersionPermission": Fields(
        works="LayerName VersionNumber StatementId RevisionId"
    ),
    "GetLayerVersionPolicy": Fields(works="LayerName VersionNumber"),
    # --- permissions ------------------------------------------------------------
    "AddPermission": Fields(
        works="FunctionName StatementId Action Principal Qualifier RevisionId"
        " FunctionUrlAuthType InvokedViaFunctionUrl SourceArn SourceAccount",
        refused={
            "EventSourceToken": "there are no Alexa skills here.",
            "PrincipalOrgID": _ORGANIZATION,
        },
    ),
    "RemovePermission": Fields(works="FunctionName StatementId Qualifier RevisionId"),
    "GetPolicy": Fields(works="FunctionName Qualifier"),
    "GetResourcePolicy": Fields(works="ResourceArn"),
    "PutResourcePolicy": Fields(works="ResourceArn Policy RevisionId"),
    "DeleteResourcePolicy": Fields(works="ResourceArn RevisionId"),
    # --- tags and other settings of a function ------------------------------------
    "TagResource": Fields(works="Resource Tags"),
    "UntagResource": Fields(works="Resource TagKeys"),
    "ListTags": Fields(works="Resource"),
    "PutFunctionRecursionConfig": Fields(works="FunctionName RecursiveLoop"),
    "GetFunctionRecursionConfig": Fields(works="FunctionName"),
    "PutRuntimeManagementConfig": Fields(
        works="FunctionName Qualifier",
        stored="UpdateRuntimeOn",
        refused={"RuntimeVersionArn": _RUNTIME},
    ),
    "GetRuntimeManagementConfig": Fields(works="FunctionName Qualifier"),
    # --- events -----------------------------------------------------------------
    "PutFunctionEventInvokeConfig": _INVOKE_CONFIG,
    "UpdateFunctionEventInvokeConfig": _INVOKE_CONFIG,
    "GetFunctionEventInvokeConfig": Fields(works="FunctionName Qualifier"),
    "DeleteFunctionEventInvokeConfig": Fields(works="FunctionName Qualifier"),
    "ListFunctionEventInvokeConfigs": Fields(works=f"FunctionName {_PAGE}"),
    "CreateEventSourceMapping": Fields(
        works=f"EventSourceArn Tags {_MAPPING_WORKS}",
        stored=f"StartingPosition StartingPositionTimestamp {_MAPPING_STORED}",
        refused={
            **_MAPPING_REFUSED,
            "Topics": _NO_POLLER,
            "Queues": _NO_POLLER,
            "SelfManagedEventSource": _NO_POLLER,
        },
    ),
    "GetEventSourceMapping": Fields(works="UUID"),
    "UpdateEventSourceMapping": Fields(
        works=f"UUID {_MAPPING_WORKS}",
        stored=_MAPPING_STORED,
        refused=_MAPPING_REFUSED,
    ),
    "DeleteEventSourceMapping": Fields(works="UUID"),
    "ListEventSourceMappings": Fields(works=f"EventSourceArn FunctionName {_PAGE}"),
    # --- function URLs ------------------------------------------------------------
    "CreateFunctionUrlConfig": Fields(
        works="FunctionName Qualifier AuthType Cors InvokeMode"
    ),
    "GetFunctionUrlConfig": Fields(works="FunctionName Qualifier"),
    "UpdateFunctionUrlConfig": Fields(
        works="FunctionName Qualifier AuthType Cors InvokeMode"
    ),
    "DeleteFunctionUrlConfig": Fields(works="FunctionName Qualifier"),
    "ListFunctionUrlConfigs": Fields(works=f"FunctionName {_PAGE}"),
    # --- code signing -------------------------------------------------------------
    "CreateCodeSigningConfig": Fields(
        works="Tags", stored="Description AllowedPublishers CodeSigningPolicies"
    ),
    "GetCodeSigningConfig": Fields(works="CodeSigningConfigArn"),
    "UpdateCodeSigningConfig": Fields(
        works="CodeSigningConfigArn",
        stored="Description AllowedPublishers CodeSigningPolicies",
    ),
    "DeleteCodeSigningConfig": Fields(works="CodeSigningConfigArn"),
    "ListCodeSigningConfigs": Fields(works=_PAGE),
    "ListFunctionsByCodeSigningConfig": Fields(works=f"CodeSigningConfigArn {_PAGE}"),
    "PutFunctionCodeSigningConfig": Fields(works="CodeSigningConfigArn FunctionName"),
    "GetFunctionCodeSigningConfig": Fields(works="FunctionName"),
    "DeleteFunctionCodeSigningConfig": Fields(works="FunctionName"),
    # --- not here -----------------------------------------------------------------
    **dict.fromkeys(
        (
            *("CheckpointDurableExecution", "DeleteDurableExecution"),
            *("GetDurableExecution", "GetDurableExecutionHistory"),
            *("GetDurableExecutionState", "ListDurableExecutionsByFunction"),
            *("PauseDurableExecution", "ResumeDurableExecution"),
            *("SendDurableExecutionCallbackFailure", "StopDurableExecution"),
            "SendDurableExecutionCallbackHeartbeat",
            "SendDurableExecutionCallbackSuccess",
        ),
        _DURABLE,
    ),
    **dict.fromkeys(
        (
            *("CreateCapacityProvider", "DeleteCapacityProvider"),
            *("GetCapacityProvider", "ListCapacityProviders"),
            *("UpdateCapacityProvider", "ListFunctionVersionsByCapacityProvider"),
            *("GetFunctionScalingConfig", "PutFunctionScalingConfig"),
        ),
        _CAPACITY,
    ),
}
"""Every operation of AWS's model: its fields, or why it is not here."""


# --- the document -------------------------------------------------------------

BEGIN, END = "<!-- support: begin -->", "<!-- support: end -->"
"""What the tables stand between."""


def in_document(text: str) -> str:
    """The document with the tables as they are now. Raises `ValueError` where it has no
    place for them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} and {END} behind it")
    return f"{before}{BEGIN}\n\n{as_markdown()}\n{END}{after}"


def as_markdown() -> str:
    """The whole table, in words."""
    here = {name: entry for name, entry in TABLE.items() if isinstance(entry, Fields)}
    parts = {
        name: entry for name, entry in here.items() if entry.stored or entry.refused
    }
    lines = [
        "All fields work of:",
        f"{_code(name for name in here if name not in parts)}.",
        "",
        *_rows("Operation", "Works", "Kept and shown", "Refused by name"),
        *(
            _row(
                f"`{name}`",
                _code(entry.works.split()),
                _code(entry.stored.split()),
                _code(entry.refused),
            )
            for name, entry in parts.items()
        ),
        "",
        *_rows("Refused", "Because"),
        *(_row(_code(names), reason) for reason, names in _by_reason(parts).items()),
        "",
        *_rows("Not here", "Because"),
        *(_row(_code(names), reason) for reason, names in _not_here().items()),
    ]
    return "\n".join(lines) + "\n"


def _by_reason(entries: Mapping[str, Fields]) -> Mapping[str, Iterable[str]]:
    found: dict[str, dict[str, None]] = {}
    for entry in entries.values():
        for name, reason in entry.refused.items():
            found.setdefault(reason, {})[name] = None
    return found


def _not_here() -> Mapping[str, Iterable[str]]:
    found: dict[str, list[str]] = {}
    for name, entry in TABLE.items():
        if isinstance(entry, str):
            found.setdefault(entry, []).append(name)
    return found


def _rows(*titles: str) -> tuple[str, str]:
    return _row(*titles), "|" + "---|" * len(titles)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "\N{EN DASH}"


if __name__ == "__main__":
    _document = Path(sys.argv[1])
    _document.write_text(in_document(_document.read_text()))
