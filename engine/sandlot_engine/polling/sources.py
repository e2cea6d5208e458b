"""What a mapping reads, or why nobody reads it: pure."""

import re
from dataclasses import dataclass
from typing import Any

from sandlot_engine.model.mapping import Mapping, SourceKind

REPORTS_ITEMS = "ReportBatchItemFailures"

_QUEUE = re.compile(
    r"arn:aws[a-z0-9-]{0,20}:sqs:([a-z0-9-]{1,32}):(\d{12}):"
    r"([A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo)"
)


class Unread(Exception):
    """Nobody reads that source; the message says why, for who made the mapping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A queue of a tenant's. Which machine it is on is the operator's choice alone, and
    never in an ARN."""

    arn: str
    region: str
    account: str
    name: str

    @property
    def is_fifo(self) -> bool:
        return self.name.endswith(".fifo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a mapping wants its source to be read."""

    batch_size: int
    window_s: int
    """How long messages may wait for others, from the first on."""

    reports_items: bool
    """Whether the function says which messages it has failed with."""

    concurrency: int | None
    """Batches at once; None for as many as there may be."""

    patterns: tuple[str, ...]
    """Only messages that one of them matches; none of them is all messages."""


def source_of(mapping: Mapping, *, has_endpoint: bool) -> Source:
    """Raises `Unread`."""
    if mapping.kind is not SourceKind.SQS:
        raise Unread(
            f"This engine reads no event sources of {mapping.kind.value}, but of SQS: "
            "nothing will be invoked."
        )
    if not has_endpoint:
        raise Unread(
            "This engine knows no endpoint for sqs: its operator can start it with "
            "--destination sqs=URL. Nothing will be invoked."
        )
    return queue_of(mapping.source_arn, tenant_id=mapping.tenant_id)


def why_unread(mapping: Mapping, *, has_endpoint: bool) -> str:
    """Empty for what is read."""
    try:
        source_of(mapping, has_endpoint=has_endpoint)
    except Unread as error:
        return str(error)
    return ""


def queue_of(arn: str, *, tenant_id: str) -> Source:
    """Raises `Unread` for what is none of the tenant's."""
    found = _QUEUE.fullmatch(arn)
    if found is None:
        raise Unread(f"{arn[:200]} is no ARN of a queue.")
    if found[2] != tenant_id:
        raise Unread(
            f"{arn} belongs to another account than the mapping's, {tenant_id}."
        )
    return Source(arn=arn, region=found[1], account=found[2], name=found[3])


def settings_of(mapping: Mapping) -> Settings:
    """As they are now: an update counts from the next batch on."""
    details: dict[str, Any] = mapping.details
    scaling = details.get("ScalingConfig") or {}
    criteria = details.get("FilterCriteria") or {}
    return Settings(
        batch_size=mapping.batch_size,
        window_s=mapping.window_s,
        reports_items=REPORTS_ITEMS in (details.get("FunctionResponseTypes") or ()),
        concurrency=scaling.get("MaximumConcurrency"),
        patterns=tuple(
            each.get("Pattern", "") for each in criteria.get("Filters") or ()
        ),
    )
