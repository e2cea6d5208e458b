"""What is set of a function beside its versions: tags, reserved concurrency, loops.

Texts are AWS's where they are known. A change holds at once, for all versions.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.turns import Turns
from sandlot_engine.catalog.versions import Versions
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.model.function import LATEST
from sandlot_engine.model.settings import FunctionSettings, RecursiveLoop

MAX_TAGS = 50
MAX_TAG_KEY, MAX_TAG_VALUE = 128, 256
RESERVED_TAGS = "aws:"

MIN_UNRESERVED = 100
"""Of a tenant's concurrency, what functions without a share of their own have left."""

_NOTHING = FunctionSettings()


class Settings:
    """Of all functions. `concurrency` says how many invocations a tenant may have, and
    `provisioned` how many instances a function has asked to be started ahead."""

    def __init__(
        self,
        kept: Kept[FunctionSettings],
        versions: Versions,
        *,
        turns: Turns,
        concurrency: Callable[[str], int],
        provisioned: Callable[[str, str], int] = lambda *_: 0,
    ) -> None:
        self._kept = kept
        self._versions = versions
        self._turns = turns
        self._concurrency = concurrency
        self._provisioned = provisioned
        self._reserved: dict[str, dict[str, int]] = {}
        """By tenant and function: for the hot path, which sums and looks up."""

    def load(self, tenants: Collection[str]) -> None:
        """For the start, once what is kept was loaded."""
        self._reserved.clear()
        for tenant_id in tenants:
            for function in self._kept.owners(tenant_id):
                self.note(tenant_id, function)

    def of(self, tenant_id: str, function: str) -> FunctionSettings:
        """From memory; the defaults where nothing is set."""
        return self._kept.get(tenant_id, function) or _NOTHING

    def concurrency_of(self, tenant_id: str, function: str) -> int | None:
        """What is reserved for it; None where it shares in the rest."""
        return self.of(tenant_id, function).reserved_concurrency

    def reserved(self, tenant_id: str) -> Mapping[str, int]:
        """What is reserved for which of a tenant's functions."""
        return MappingProxyType(self._reserved.get(tenant_id, {}))

    def unreserved(self, tenant_id: str) -> int:
        """What functions without a share of their own have together."""
        reserved = sum(self.reserved(tenant_id).values())
        return max(0, self._concurrency(tenant_id) - reserved)

    async def put_concurrency(
        self, tenant_id: str, function: str, concurrency: int
    ) -> FunctionSettings:
        """Reserve; 0 lets nothing run. Raises `NotFound`, and `InvalidParameter` where
        it would leave others too little."""
        return await self._change(
            tenant_id,
            function,
            lambda old: replace(
                old,
                reserved_concurrency=self._checked_concurrency(
                    tenant_id, function, concurrency
                ),
            ),
            said=LATEST,
        )

    async def delete_concurrency(
        self, tenant_id: str, function: str
    ) -> FunctionSettings:
        """Reserve nothing any more; no failure where nothing was. Raises `NotFound`."""
        return await self._change(
            tenant_id, function, lambda old: replace(old, reserved_concurrency=None)
        )

    async def tag(
        self, tenant_id: str, function: str, tags: Mapping[str, str]
    ) -> FunctionSettings:
        """Add tags, or change their values. Raises `NotFound`, `InvalidParameter`, and
        `Conflict` while the function is being changed."""

        def tagged(old: FunctionSettings) -> FunctionSettings:
            self._versions.check_not_updating(
                self._versions.require(tenant_id, function)
            )
            return replace(old, tags=checked_tags({**old.tags, **tags}))

        return await self._change(tenant_id, function, tagged)

    async def untag(
        self, tenant_id: str, function: str, keys: Collection[str]
    ) -> FunctionSettings:
        """Remove tags, whether they are there or not. Raises as `tag` does."""

        def untagged(old: FunctionSettings) -> FunctionSettings:
            self._versions.check_not_updating(
                self._versions.require(tenant_id, function)
            )
            left = {key: old.tags[key] for key in old.tags if key not in keys}
            return replace(old, tags=left)

        return await self._change(tenant_id, function, untagged)

    async def put_recursive_loop(
        self, tenant_id: str, function: str, loop: RecursiveLoop
    ) -> FunctionSettings:
        """Raises `NotFound`."""
        return await self._change(
            tenant_id, function, lambda old: replace(old, recursive_loop=loop)
        )

    async def begin(
        self, tenant_id: str, function: str, settings: FunctionSettings
    ) -> None:
        """What a new function begins with; for whoever holds the turn."""
        if settings != _NOTHING:
            await self._kept.put(tenant_id, function, "", settings)
        self.note(tenant_id, function)

    def note(self, tenant_id: str, function: str) -> None:
        """To be told after each change, deletions included."""
        reserved = self._reserved.setdefault(tenant_id, {})
        concurrency = self.concurrency_of(tenant_id, function)
        if concurrency is None:
            reserved.pop(function, None)
        else:
            reserved[function] = concurrency
        if not reserved:
            del self._reserved[tenant_id]

    async def _change(
        self,
        tenant_id: str,
        function: str,
        change: Callable[[FunctionSettings], FunctionSettings],
        *,
        said: str = "",
    ) -> FunctionSettings:
        async def changed() -> FunctionSettings:
            self._versions.require(tenant_id, function, said=said)
            old = self.of(tenant_id, function)
            new = change(old)
            if new != old:
                await self._kept.put(tenant_id, function, "", new)
                self.note(tenant_id, function)
            return new

        return await self._turns.whole(tenant_id, changed)

    def _checked_concurrency(
        self, tenant_id: str, function: str, concurrency: int
    ) -> int:
        if concurrency < 0:
            raise InvalidParameter(
                f"ReservedConcurrentExecutions is {concurrency}; it must be 0 or more.",
                field="reserved_concurrency",
            )
        provisioned = self._provisioned(tenant_id, function)
        if concurrency < provisioned:
            raise InvalidParameter(
                # AWS's spaces, too.
                f" ReservedConcurrentExecutions  {concurrency} should not be lower "
                f"than function's total provisioned concurrency [{provisioned}].",
                field="reserved_concurrency",
            )
        # A tenant with less than that altogether can switch functions off, not more.
        limit = self._concurrency(tenant_id)
        minimum = min(MIN_UNRESERVED, limit)
        others = {**self.reserved(tenant_id), function: 0}
        # What is provisioned without a reserve is out of what all have, too.
        ahead = sum(
            self._provisioned(tenant_id, name)
            for name in self._versions.names(tenant_id)
            if name not in others
        )
        left = limit - sum(others.values()) - ahead
        if concurrency and left - concurrency < minimum:
            raise InvalidParameter(
                "Specified ReservedConcurrentExecutions for function decreases "
                "account's UnreservedConcurrentExecution below its minimum value of "
                f"[{minimum}].",
                field="reserved_concurrency",
            )
        return concurrency


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """All tags of a thing. Raises `InvalidParameter`."""
    if len(tags) > MAX_TAGS:
        raise InvalidParameter(
            "Number of tags exceeds resource tag limit.", field="tags"
        )
    for key, value in tags.items():
        if not 1 <= len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
            raise InvalidParameter(
                f"Tag {key[:MAX_TAG_KEY]!r} has {len(key)} characters and its value "
                f"{len(value)}: keys must have 1 to {MAX_TAG_KEY}, values "
                f"{MAX_TAG_VALUE} at most.",
                field="tags",
            )
        if key.lower().startswith(RESERVED_TAGS):
            raise InvalidParameter(
                f"Tag {key!r} begins with {RESERVED_TAGS}, which is AWS's own.",
                field="tags",
            )
    return dict(tags)
