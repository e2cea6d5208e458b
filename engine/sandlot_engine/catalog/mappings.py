"""Event source mappings: made, changed, found, deleted. Texts are AWS's.

Nothing here reads a source: that is `polling`'s, which hears of each change.
"""

import uuid
from collections.abc import Callable, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from typing import Any

from sandlot_engine.catalog.event_patterns import is_pattern
from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.pages import page_of
from sandlot_engine.catalog.settings import checked_tags
from sandlot_engine.catalog.targets import check_is_not_isolated
from sandlot_engine.clock import Clock
from sandlot_engine.errors import Conflict, InvalidParameter, NotFound, QuotaExceeded
from sandlot_engine.model.mapping import Mapping, SourceKind
from sandlot_engine.store.ports import DocumentStore

MAX_MAPPINGS = 1_000
"""Of one tenant."""

MAX_FIFO_BATCH = 10
SMALL_BATCH = 10
"""Records that SQS gives at once: for more there has to be a window."""

MAX_FILTERS = 5

FOR_EVER = -1
MIN_RECORD_AGE_S = 60
"""Of a stream's records, where they have an age at all."""

_OWNER = ""
_NO_FUNCTION = "Function does not exist"
_FOR_STREAMS = (
    *("ParallelizationFactor", "TumblingWindowInSeconds", "MaximumRetryAttempts"),
    *("MaximumRecordAgeInSeconds", "BisectBatchOnFunctionError"),
)
_AT_TIMESTAMP = "AT_TIMESTAMP"
_START = frozenset({"StartingPosition", "StartingPositionTimestamp"})


def kept_mappings(store: DocumentStore) -> Kept[Mapping]:
    """Kept by UUID; they belong to no function, since they outlive it."""
    return Kept(store, "mapping", Mapping, keys_are_unique=True)


class Mappings:
    """The event source mappings of all tenants."""

    def __init__(
        self, kept: Kept[Mapping], functions: Functions, *, clock: Clock
    ) -> None:
        self._kept = kept
        self._functions = functions
        self._clock = clock
        self.heard: list[Callable[[str, str], object]] = []
        """Are told of each that is made, changed or deleted: whose, and its UUID."""

    def find(self, tenant_id: str, mapping: str) -> Mapping | None:
        """By its UUID. Never waits."""
        return self._kept.get(tenant_id, _OWNER, mapping)

    def all(self) -> Iterator[Mapping]:
        """Of all tenants, as they are now."""
        for tenant_id in self._kept.tenants():
            yield from list(self._kept.of(tenant_id, _OWNER).values())

    def get(self, tenant_id: str, mapping: str) -> Mapping:
        """By its UUID. Raises `NotFound`."""
        found = self.find(tenant_id, mapping)
        if found is None:
            raise NotFound(
                "The resource you requested does not exist.",
                kind="event-source-mapping",
                name=mapping,
            )
        return found

    async def create(
        self,
        tenant_id: str,
        source_arn: str,
        function: str,
        qualifier: str = "",
        *,
        is_wanted: bool = True,
        batch_size: int | None = None,
        window_s: int = 0,
        details: MappingOf[str, Any],
        tags: MappingOf[str, str],
    ) -> Mapping:
        """Raises `InvalidParameter`, `QuotaExceeded`, and `Conflict` where the function
        has that source already."""
        kind = _kind_of(source_arn)
        mapping = Mapping(
            tenant_id=tenant_id,
            uuid=str(uuid.uuid4()),
            source_arn=source_arn,
            kind=kind,
            function=function,
            qualifier=qualifier,
            is_wanted=is_wanted,
            batch_size=batch_size or (100 if kind.is_stream else SMALL_BATCH),
            window_s=window_s,
            details=dict(details),
            tags=checked_tags(tags),
            last_modified=self._clock.now(),
        )
        if kind.is_stream:
            _check_start(mapping)
        _check(mapping)

        async def create() -> Mapping:
            self._require(mapping)
            self._check_count(tenant_id)
            self._check_is_only(mapping)
            return await self._put(mapping)

        return await self._functions.in_turn(tenant_id, create)

    async def update(
        self,
        tenant_id: str,
        mapping: str,
        *,
        function: tuple[str, str] | None = None,
        is_wanted: bool | None = None,
        batch_size: int | None = None,
        window_s: int | None = None,
        details: MappingOf[str, Any],
    ) -> Mapping:
        """Change what is given; `function` is a name and a qualifier. Raises
        `NotFound`, and as `create` does."""

        async def update() -> Mapping:
            old = self.get(tenant_id, mapping)
            name, qualifier = function or (old.function, old.qualifier)
            new = replace(
                old,
                function=name,
                qualifier=qualifier,
                is_wanted=old.is_wanted if is_wanted is None else is_wanted,
                batch_size=batch_size or old.batch_size,
                window_s=old.window_s if window_s is None else window_s,
                details={**old.details, **details},
                last_modified=self._clock.now(),
            )
            _check(new)
            if function is not None:
                self._require(new)
                self._check_is_only(new)
            return await self._put(new)

        return await self._functions.in_turn(tenant_id, update)

    async def tag(
        self, tenant_id: str, mapping: str, tags: MappingOf[str, str]
    ) -> Mapping:
        """All its tags anew. Raises `NotFound`, `InvalidParameter`."""
        checked = checked_tags(tags)

        async def tag() -> Mapping:
            return await self._put(replace(self.get(tenant_id, mapping), tags=checked))

        return await self._functions.in_turn(tenant_id, tag)

    async def delete(self, tenant_id: str, mapping: str) -> Mapping:
        """What it was. Raises `NotFound`."""

        async def delete() -> Mapping:
            found = self.get(tenant_id, mapping)
            await self._kept.delete(tenant_id, _OWNER, mapping)
            self._tell(tenant_id, mapping)
            return found

        return await self._functions.in_turn(tenant_id, delete)

    # Last of the public ones: from here on `list` hides the builtin.
    def list(
        self,
        tenant_id: str,
        *,
        source_arn: str = "",
        function: str = "",
        qualifier: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> tuple[list[Mapping], str]:
        """A page by UUID, and the token of the next; of a source, of a function and of
        one of its qualifiers, if these are given."""
        found = {
            key: mapping
            for key, mapping in self._kept.of(tenant_id, _OWNER).items()
            if source_arn in ("", mapping.source_arn)
            and function in ("", mapping.function)
            and qualifier in ("", mapping.qualifier)
        }
        page, token = page_of(sorted(found), page_size, page_token)
        return [found[key] for key in page], token

    # --- in turn ------------------------------------------------------------------

    async def _put(self, mapping: Mapping) -> Mapping:
        await self._kept.put(mapping.tenant_id, _OWNER, mapping.uuid, mapping)
        self._tell(mapping.tenant_id, mapping.uuid)
        return mapping

    def _tell(self, tenant_id: str, mapping: str) -> None:
        for hear in self.heard:
            hear(tenant_id, mapping)

    def _require(self, mapping: Mapping) -> None:
        try:
            found = self._functions.find(
                mapping.tenant_id, mapping.function, mapping.qualifier
            )
        except NotFound as error:
            raise InvalidParameter(_NO_FUNCTION, field="FunctionName") from error
        check_is_not_isolated(found, "An event source mapping")

    def _check_count(self, tenant_id: str) -> None:
        count = len(self._kept.of(tenant_id, _OWNER))
        if count >= MAX_MAPPINGS:
            raise QuotaExceeded(
                f"Tenant {tenant_id} has {count} event source mappings of "
                f"{MAX_MAPPINGS} allowed. Delete one first.",
                limit=MAX_MAPPINGS,
            )

    def _check_is_only(self, mapping: Mapping) -> None:
        others = [
            other
            for other in self._kept.of(mapping.tenant_id, _OWNER).values()
            if other.uuid != mapping.uuid
        ]
        wanted = (mapping.source_arn, mapping.function, mapping.qualifier)
        for other in others:
            if (other.source_arn, other.function, other.qualifier) == wanted:
                kind = "SQS" if mapping.kind is SourceKind.SQS else mapping.kind.value
                raise Conflict(
                    f'An event source mapping with {kind} arn (" '
                    f'{mapping.source_arn} ") and function (" {mapping.function} ") '
                    "already exists. Please update or delete the existing mapping "
                    f"with UUID {other.uuid}",
                    reason="ResourceConflict",
                )


def _kind_of(source_arn: str) -> SourceKind:
    parts = source_arn.split(":")
    try:
        return SourceKind(parts[2])
    except (IndexError, ValueError) as error:
        raise InvalidParameter(
            "Unrecognized event source.", field="EventSourceArn"
        ) from error


def _check_start(mapping: Mapping) -> None:
    start = mapping.details.get("StartingPosition")
    if start is None:
        raise InvalidParameter(
            "1 validation error detected: Value null at 'startingPosition' failed "
            "to satisfy constraint: Member must not be null.",
            field="StartingPosition",
        )
    if start != _AT_TIMESTAMP and "StartingPositionTimestamp" in mapping.details:
        raise InvalidParameter(
            f"Timestamp only valid with StartingPosition {_AT_TIMESTAMP}",
            field="StartingPositionTimestamp",
        )
    if start == _AT_TIMESTAMP and mapping.kind is SourceKind.DYNAMODB:
        raise InvalidParameter(
            f"Unsupported starting position for arn type: {mapping.source_arn}",
            field="StartingPosition",
        )


def _check(mapping: Mapping) -> None:
    if mapping.kind is SourceKind.SQS:
        _check_queue(mapping)
    else:
        _check_age(mapping)
    for filter_ in _filters(mapping.details):
        _check_filter(filter_)


def _check_age(mapping: Mapping) -> None:
    age_s = mapping.details.get("MaximumRecordAgeInSeconds", FOR_EVER)
    if age_s != FOR_EVER and age_s < MIN_RECORD_AGE_S:
        raise InvalidParameter(
            f"MaximumRecordAgeInSeconds is {FOR_EVER}, for records of any age, or at "
            f"least {MIN_RECORD_AGE_S}; it is {age_s}.",
            field="MaximumRecordAgeInSeconds",
        )


def _check_queue(mapping: Mapping) -> None:
    if mapping.source_arn.endswith(".fifo") and mapping.batch_size > MAX_FIFO_BATCH:
        raise InvalidParameter(
            f"Batch size must be {MAX_FIFO_BATCH} or less for a FIFO queue; it is "
            f"{mapping.batch_size}.",
            field="BatchSize",
        )
    if mapping.source_arn.endswith(".fifo") and mapping.window_s:
        raise InvalidParameter(
            "Batching window is not supported for FIFO queues.",
            field="MaximumBatchingWindowInSeconds",
        )
    if mapping.batch_size > SMALL_BATCH and not mapping.window_s:
        raise InvalidParameter(
            "Maximum batch window in seconds must be greater than 0 if maximum batch "
            "size is greater than 10",
            field="MaximumBatchingWindowInSeconds",
        )
    if mapping.details.get("DestinationConfig"):
        raise InvalidParameter(
            "Unsupported DestinationConfig parameter for given event source mapping "
            "type.",
            field="DestinationConfig",
        )
    if mapping.details.keys() & _START:
        raise InvalidParameter(
            "StartingPosition is not valid for SQS event sources.",
            field="StartingPosition",
        )
    if wrong := [name for name in _FOR_STREAMS if name in mapping.details]:
        raise InvalidParameter(
            f"{wrong[0]} is for streams, and {mapping.source_arn} is a queue.",
            field=wrong[0],
        )


def _filters(details: MappingOf[str, Any]) -> list[Any]:
    criteria = details.get("FilterCriteria") or {}
    filters = list(criteria.get("Filters", ()))
    if len(filters) > MAX_FILTERS:
        raise InvalidParameter(
            f"Filters has {len(filters)} patterns of {MAX_FILTERS} allowed.",
            field="FilterCriteria",
        )
    return filters


def _check_filter(filter_: MappingOf[str, Any]) -> None:
    if not is_pattern(filter_.get("Pattern", "")):
        raise InvalidParameter(
            "Invalid filter pattern definition.", field="FilterCriteria"
        )
