"""Provisioned concurrency: which versions and aliases have it, and that they get it.

Texts are AWS's. What is asked for follows from memory alone: after every change of a
function or of its aliases it is worked out anew, by revision, and only the differences
are handed on. An alias takes its instances along when it moves.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.pages import page_of
from sandlot_engine.catalog.settings import MIN_UNRESERVED
from sandlot_engine.clock import Clock
from sandlot_engine.errors import Conflict, InvalidParameter, NotFound
from sandlot_engine.model.function import LATEST, Alias, Function, FunctionState
from sandlot_engine.model.provisioned import (
    Provisioned,
    ProvisionedConfig,
    ProvisionStatus,
)
from sandlot_engine.store.ports import DocumentStore

Provision = Callable[[Function, int], Awaitable[int]]
"""Keep so many instances of a function's serving revision started ahead, from now on;
0 gives them back. Returns how many there are, once that is enough or it is clear that
it will not be. A later call for the same revision takes the place of an earlier one."""

Available = Callable[[Function], int]
"""How many of those there are in this moment. Does not wait."""

AGAIN_S = 30.0
"""After it has failed."""

_log = logging.getLogger(__name__)


def kept_provisioned(store: DocumentStore) -> Kept[ProvisionedConfig]:
    """Kept by function and qualifier: one of the `belongings` of `Functions`."""
    return Kept(store, "provisioned", ProvisionedConfig)


@dataclass(slots=True)
class _Asked:
    """What was handed on for one revision."""

    function: Function
    count: int
    task: asyncio.Task[None] | None = None
    there: int | None = None
    """How many there are; None until that is known."""


class ProvisionedConcurrency:
    """Of all functions; an async context manager. Entering, once `Functions` has been
    started, hands on what is kept.

    `note_change` has to be told of each change: it is the one of `Functions`.
    """

    def __init__(
        self,
        kept: Kept[ProvisionedConfig],
        functions: Functions,
        *,
        clock: Clock,
        concurrency: Callable[[str], int],
        provision: Provision,
        available: Available,
        again_s: float = AGAIN_S,
    ) -> None:
        self._kept = kept
        self._functions = functions
        self._clock = clock
        self._concurrency = concurrency
        self._provision = provision
        self._available = available
        self._again_s = again_s
        self._keeper = Keeper()
        self._is_open = False
        self._asked: dict[tuple[str, str], dict[str, _Asked]] = {}
        """By tenant and function, and then by revision id."""

        self._claims: dict[str, dict[str, dict[str, int]]] = {}
        """The counts of it, by tenant, function and revision id: for the hot path."""

    async def __aenter__(self) -> Self:
        self._is_open = True
        for tenant_id in self._kept.tenants():
            for function in self._kept.owners(tenant_id):
                self.note_change(tenant_id, function)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        await self._keeper.__aexit__(kind, error, traceback)

    # --- asked for ----------------------------------------------------------------

    def total(self, tenant_id: str, function: str) -> int:
        """What a function has asked for, in all. Never waits."""
        configs = self._kept.of(tenant_id, function).values()
        return sum(config.requested for config in configs)

    def totals(self, tenant_id: str) -> Mapping[str, int]:
        """The same of all functions that have asked for some."""
        return {
            function: self.total(tenant_id, function)
            for function in self._kept.owners(tenant_id)
        }

    def claims(self, tenant_id: str) -> Mapping[str, Mapping[str, int]]:
        """What a tenant has asked for, by function and by the id of the revision that
        serves it. Never waits."""
        return self._claims.get(tenant_id, {})

    def get(self, tenant_id: str, function: str, qualifier: str) -> Provisioned:
        """Raises `NotFound`, where there is none with a reason of its own, and
        `InvalidParameter`."""
        self._require(
            tenant_id,
            function,
            qualifier,
            "The function resource provided must be an alias or a published version.",
        )
        config = self._kept.get(tenant_id, function, qualifier)
        if config is None:
            raise NotFound(
                "No Provisioned Concurrency Config found for this function",
                kind="provisioned concurrency",
                name=qualifier,
                reason="ProvisionedConcurrencyConfigNotFoundException",
            )
        return self._shown(config)

    async def put(
        self, tenant_id: str, function: str, qualifier: str, requested: int
    ) -> Provisioned:
        """Ask for so many, and begin to start them.

        Raises `NotFound`, `InvalidParameter`, and `Conflict` where the version of an
        alias, or an alias of the version, has some already.
        """

        async def put() -> Provisioned:
            self._require(
                tenant_id,
                function,
                qualifier,
                "Provisioned Concurrency Configs cannot be applied to unpublished "
                "function versions.",
            )
            config = ProvisionedConfig(
                tenant_id=tenant_id,
                function=function,
                qualifier=qualifier,
                requested=requested,
                last_modified=self._clock.now(),
            )
            self._check_possible(config)
            self._check_clash(config)
            self._check_room(config)
            await self._kept.put(tenant_id, function, qualifier, config)
            self.note_change(tenant_id, function)
            return self._shown(config)

        return await self._functions.in_turn(tenant_id, put)

    async def delete(self, tenant_id: str, function: str, qualifier: str) -> bool:
        """Whether there was one: to delete none is no failure, on AWS either. Raises
        `NotFound`, `InvalidParameter`."""

        async def delete() -> bool:
            self._require(
                tenant_id,
                function,
                qualifier,
                "The function resource provided must be an alias or a published "
                "version.",
            )
            found = await self._kept.delete(tenant_id, function, qualifier)
            self.note_change(tenant_id, function)
            return found

        return await self._functions.in_turn(tenant_id, delete)

    # Last of the public ones that name lists: from here on `list` hides the builtin.
    def list(
        self, tenant_id: str, function: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[Provisioned], str]:
        """A page by qualifier, and the token of the next. Raises `NotFound`,
        `InvalidParameter`."""
        self._functions.find(tenant_id, function)
        configs = self._kept.of(tenant_id, function)
        page, token = page_of(sorted(configs), page_size, page_token)
        return [self._shown(configs[qualifier]) for qualifier in page], token

    # --- handed on ----------------------------------------------------------------

    def note_change(self, tenant_id: str, function: str) -> None:
        """Hand on what is different now that something of a function has changed; for
        those without any it costs a look. Never waits; before entering and after
        leaving it does nothing."""
        key = tenant_id, function
        if not self._is_open:
            return
        if key not in self._asked and not self._kept.of(tenant_id, function):
            return
        old = self._asked.pop(key, {})
        new: dict[str, _Asked] = {}
        for revision, (version, count) in self._wanted(tenant_id, function).items():
            asked = old.pop(revision, None)
            if asked is None or asked.count != count:
                asked = self._ask(asked, version, count)
            new[revision] = asked
        for asked in old.values():
            self._ask(asked, asked.function, 0)
        if new:
            self._asked[key] = new
        self._note_claims(tenant_id, function, new)

    def _note_claims(
        self, tenant_id: str, function: str, asked: Mapping[str, _Asked]
    ) -> None:
        claims = self._claims.setdefault(tenant_id, {})
        claims.pop(function, None)
        if asked:
            claims[function] = {id_: each.count for id_, each in asked.items()}
        if not claims:
            del self._claims[tenant_id]

    def _ask(self, old: _Asked | None, function: Function, count: int) -> _Asked:
        if old is not None and old.task is not None:
            old.task.cancel()
        asked = _Asked(function, count)
        asked.task = self._keeper.aside(self._have(asked))
        return asked

    async def _have(self, asked: _Asked) -> None:
        """Until as many as were asked for are there; another asking cancels it."""
        while True:
            before = asked.there
            asked.there = await self._provision(asked.function, asked.count)
            if asked.there >= asked.count:
                return
            if asked.there != before:
                self._tell_lacking(asked)
            await asyncio.sleep(self._again_s)

    @staticmethod
    def _tell_lacking(asked: _Asked) -> None:
        _log.warning(
            "%d of %d instances are provisioned",
            asked.there,
            asked.count,
            extra={
                "tenant_id": asked.function.tenant_id,
                "function": asked.function.name,
            },
        )

    def _wanted(self, tenant_id: str, function: str) -> dict[str, tuple[Function, int]]:
        """By the id of the revision that serves."""
        wanted: dict[str, tuple[Function, int]] = {}
        for config in self._kept.of(tenant_id, function).values():
            for version, count in self._shares(config):
                if version.serving is not None and count:
                    _, others = wanted.get(version.serving.id, (version, 0))
                    wanted[version.serving.id] = version, others + count
        return wanted

    def _shares(self, config: ProvisionedConfig) -> tuple[tuple[Function, int], ...]:
        """How much of it which version has: an alias between two shares it out as it
        does its invocations. Versions that are gone have none."""
        alias = self._alias(config)
        counts = {config.qualifier: config.requested}
        if alias is not None:
            extra = {
                version: round(config.requested * weight)
                for version, weight in alias.weights.items()
            }
            rest = config.requested - sum(extra.values())
            counts = {alias.version: rest, **extra}
        return tuple(
            (found, count)
            for version, count in counts.items()
            if (found := self._version(config, version)) is not None
        )

    def _version(self, config: ProvisionedConfig, version: str) -> Function | None:
        try:
            return self._functions.find(config.tenant_id, config.function, version)
        except NotFound:
            return None

    def _alias(self, config: ProvisionedConfig) -> Alias | None:
        return self._functions.aliases.find(
            config.tenant_id, config.function, config.qualifier
        )

    def _shown(self, config: ProvisionedConfig) -> Provisioned:
        asked = self._asked.get((config.tenant_id, config.function), {})
        allocated, available, is_known = 0, 0, True
        for version, count in self._shares(config):
            now = min(count, self._available(version))
            revision = version.serving
            one = asked.get(revision.id) if revision is not None else None
            if one is not None and one.there is not None:
                allocated += min(count, one.there)
            else:
                allocated += now
                if count and version.state is not FunctionState.FAILED:
                    is_known = False
            available += now
        found = Provisioned(config=config, allocated=allocated, available=available)
        if not is_known:
            return found
        if allocated >= config.requested:
            return replace(found, status=ProvisionStatus.READY)
        return replace(
            found,
            status=ProvisionStatus.FAILED,
            reason=f"{allocated} of {config.requested} instances could be started: the "
            "function's code does not start, or the machine has no room for more. It "
            "is tried again.",
        )

    # --- checks -------------------------------------------------------------------

    def _require(
        self, tenant_id: str, function: str, qualifier: str, unpublished: str
    ) -> None:
        if qualifier in ("", LATEST):
            self._functions.find(tenant_id, function)
            raise InvalidParameter(unpublished, field="qualifier")
        if not qualifier.isdecimal():
            self._functions.aliases.get(tenant_id, function, qualifier)
        self._functions.find(tenant_id, function, qualifier)

    def _check_possible(self, config: ProvisionedConfig) -> None:
        if config.requested < 1:
            raise InvalidParameter(
                f"ProvisionedConcurrentExecutions is {config.requested}; it must be 1 "
                "or more.",
                field="requested",
            )
        versions = [version for version, _ in self._shares(config)]
        if any(version.version == LATEST for version in versions):
            raise InvalidParameter(
                f"Alias with name {config.qualifier} points to the {LATEST} version, "
                "which cannot have provisioned concurrency.",
                field="qualifier",
            )
        if any(version.has_snapshot for version in versions):
            raise InvalidParameter(
                "Provisioned Concurrency is not supported for SnapStart enabled "
                "function versions.",
                field="qualifier",
            )
        if any(version.current.config.per_tenant for version in versions):
            raise InvalidParameter(
                "A function with tenant isolation cannot have provisioned concurrency: "
                "nobody knows whose instances to start.",
                field="qualifier",
            )

    def _check_clash(self, config: ProvisionedConfig) -> None:
        others = self._kept.of(config.tenant_id, config.function)
        alias = self._alias(config)
        if alias is not None:
            if not others.keys().isdisjoint({alias.version, *alias.weights}):
                raise Conflict(
                    "Alias can't be used for Provisioned Concurrency configuration on "
                    "an already Provisioned version",
                    reason="ResourceConflict",
                )
            return
        naming = self._functions.aliases.naming(
            config.tenant_id, config.function, config.qualifier
        )
        if not others.keys().isdisjoint(naming):
            raise Conflict(
                "Version is pointed by a Provisioned Concurrency alias",
                reason="ResourceConflict",
            )

    def _check_room(self, config: ProvisionedConfig) -> None:
        tenant_id, function = config.tenant_id, config.function
        settings = self._functions.settings
        old = self._kept.get(tenant_id, function, config.qualifier)
        total = self.total(tenant_id, function) - (old.requested if old else 0)
        reserved = settings.concurrency_of(tenant_id, function)
        if reserved is not None:
            if total + config.requested > reserved:
                raise _too_many(
                    "Requested Provisioned Concurrency should not be greater than the "
                    "reservedConcurrentExecution for function"
                )
            return
        others = sum(
            self.total(tenant_id, name)
            for name in self._kept.owners(tenant_id)
            if name != function and settings.concurrency_of(tenant_id, name) is None
        )
        left = settings.unreserved(tenant_id) - others - total
        if config.requested > left:
            raise _too_many(
                "Specified ConcurrentExecutions for function is greater than account's "
                f"unreserved concurrency [{left}]."
            )
        minimum = min(MIN_UNRESERVED, self._concurrency(tenant_id))
        if left - config.requested < minimum:
            raise _too_many(
                "Specified ConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{minimum}]."
            )


def _too_many(message: str) -> InvalidParameter:
    return InvalidParameter(message, field="requested")
