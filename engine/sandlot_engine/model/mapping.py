"""Event source mappings: what is to be read, and which function for."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class SourceKind(StrEnum):
    """By the service in a source's ARN."""

    SQS = "sqs"
    KINESIS = "kinesis"
    DYNAMODB = "dynamodb"

    @property
    def is_stream(self) -> bool:
        return self is not SourceKind.SQS


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """It stays when its function goes."""

    tenant_id: str
    uuid: str
    source_arn: str
    kind: SourceKind
    function: str
    qualifier: str = ""
    """A version or an alias; empty is the function itself."""

    is_wanted: bool = True
    """`Enabled`, as it was asked for."""

    batch_size: int
    window_s: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    """What else was set, under AWS's names and as AWS's API has it: kept and shown."""

    tags: dict[str, str] = field(default_factory=dict)
    last_modified: datetime
    """UTC."""
