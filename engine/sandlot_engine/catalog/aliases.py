"""Aliases: names for versions, which move from one to the next, or lie between two.

Texts are AWS's. An alias and the versions it names are changed in the same turn, so
that none ever points to nothing.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.life import new_id
from sandlot_engine.catalog.pages import page_of
from sandlot_engine.catalog.turns import Turns
from sandlot_engine.catalog.versions import Versions, check_revision_id
from sandlot_engine.errors import (
    AlreadyExists,
    InvalidParameter,
    NotFound,
    QuotaExceeded,
)
from sandlot_engine.model.function import LATEST, Alias

MAX_ALIASES = 1_000
"""Of one function."""

MAX_DESCRIPTION = 256
MAX_EXTRA_VERSIONS = 1

_NAME = re.compile(r"(?!^[0-9]+$)[a-zA-Z0-9_-]{1,128}")


class Aliases:
    """The aliases of all functions. `belongings` have things by function and qualifier,
    which go with the alias they are about."""

    def __init__(
        self,
        kept: Kept[Alias],
        versions: Versions,
        *,
        turns: Turns,
        belongings: tuple[Kept[Any], ...] = (),
        note_change: Callable[[str, str], object] = lambda *_: None,
    ) -> None:
        self._kept = kept
        self._versions = versions
        self._turns = turns
        self._belongings = belongings
        self._note_change = note_change

    def find(self, tenant_id: str, function: str, name: str) -> Alias | None:
        """From memory; never waits."""
        return self._kept.get(tenant_id, function, name)

    def get(self, tenant_id: str, function: str, name: str) -> Alias:
        """Raises `NotFound`."""
        alias = self.find(tenant_id, function, name)
        if alias is None:
            can_be = _NAME.fullmatch(name)
            what = "Cannot find alias arn" if can_be else "Function not found"
            raise self._missing(what, tenant_id, function, name)
        return alias

    async def create(
        self,
        tenant_id: str,
        function: str,
        name: str,
        version: str,
        *,
        description: str = "",
        weights: Mapping[str, float] | None = None,
    ) -> Alias:
        """Raises `InvalidParameter`, `AlreadyExists`, `QuotaExceeded`, and `NotFound`
        where there is no such function or version."""
        alias = Alias(
            tenant_id=tenant_id,
            function=function,
            name=_checked_name(name),
            version=version,
            description=_checked_description(description),
            weights=dict(weights or {}),
            revision_id=new_id(),
        )
        return await self._turns.whole(tenant_id, lambda: self._create(alias))

    async def update(
        self,
        tenant_id: str,
        function: str,
        name: str,
        *,
        version: str | None = None,
        description: str | None = None,
        weights: Mapping[str, float] | None = None,
        revision_id: str = "",
    ) -> Alias:
        """Change what is given; empty weights are none.

        Raises as `create` does, and `Conflict` where the alias is not at `revision_id`
        (if that is given) any more.
        """
        changes: dict[str, Any] = {}
        if version is not None:
            changes["version"] = version
        if description is not None:
            changes["description"] = _checked_description(description)
        if weights is not None:
            changes["weights"] = dict(weights)
        return await self._turns.whole(
            tenant_id,
            lambda: self._update(tenant_id, function, name, changes, revision_id),
        )

    async def put(
        self,
        tenant_id: str,
        function: str,
        name: str,
        version: str,
        *,
        description: str | None = None,
        weights: Mapping[str, float] | None = None,
        revision_id: str = "",
    ) -> Alias:
        """Make it, or change it as a whole; its description only if one is given.

        Raises as `create` does, but for `AlreadyExists`, and as `update`.
        """
        alias = Alias(
            tenant_id=tenant_id,
            function=function,
            name=name,
            version=version,
            description=_checked_description(description or ""),
            weights=dict(weights or {}),
            revision_id=new_id(),
        )
        changes: dict[str, Any] = {"version": version, "weights": alias.weights}
        if description is not None:
            changes["description"] = description

        async def put() -> Alias:
            # Asked within the turn: of two who come at once, one makes it.
            is_new = self.find(tenant_id, function, name) is None
            if is_new and not revision_id:
                return await self._create(alias)
            return await self._update(tenant_id, function, name, changes, revision_id)

        return await self._turns.whole(tenant_id, put)

    async def delete(self, tenant_id: str, function: str, name: str) -> bool:
        """Whether there was one: to delete none is no failure, on AWS either.

        Raises `NotFound` where there is no such function.
        """
        return await self._turns.whole(
            tenant_id, lambda: self._delete(tenant_id, function, name)
        )

    async def touch(self, alias: Alias) -> Alias:
        """Give it a new revision id; for whoever holds the turn."""
        return await self._put(replace(alias, revision_id=new_id()))

    def naming(self, tenant_id: str, function: str, version: str) -> list[str]:
        """The names of those that lead to a version, in order."""
        return sorted(
            name
            for name, alias in self._kept.of(tenant_id, function).items()
            if version == alias.version or version in alias.weights
        )

    # Last, because from here on the class's `list` hides the builtin.
    def list(
        self,
        tenant_id: str,
        function: str,
        *,
        version: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> tuple[list[Alias], str]:
        """A page by name, and the token of the next; of those that lead to `version`,
        if that is given. Raises `NotFound`, `InvalidParameter`."""
        self._versions.require(tenant_id, function)
        aliases = self._kept.of(tenant_id, function)
        names = self.naming(tenant_id, function, version) if version else aliases
        page, token = page_of(sorted(names), page_size, page_token)
        return [aliases[name] for name in page], token

    # --- in turn ------------------------------------------------------------------

    async def _create(self, alias: Alias) -> Alias:
        tenant_id, function, name = alias.tenant_id, alias.function, alias.name
        self._versions.require(tenant_id, function, said=alias.version)
        aliases = self._kept.of(tenant_id, function)
        if name in aliases:
            arn = self._versions.arn(tenant_id, function, name)
            raise AlreadyExists(f"Alias already exists: {arn}")
        self._check(alias)
        if len(aliases) >= MAX_ALIASES:
            raise QuotaExceeded(
                f"Function {function} has {len(aliases)} aliases of {MAX_ALIASES} "
                "allowed. Delete one first.",
                limit=MAX_ALIASES,
            )
        return await self._put(alias)

    async def _update(
        self,
        tenant_id: str,
        function: str,
        name: str,
        changes: dict[str, Any],
        revision_id: str,
    ) -> Alias:
        self._versions.require(tenant_id, function)
        alias = self.find(tenant_id, function, name)
        if alias is None:
            raise self._missing("Alias not found", tenant_id, function, name)
        check_revision_id(revision_id, alias.revision_id)
        changed = replace(alias, **changes, revision_id=new_id())
        self._check(changed)
        return await self._put(changed)

    async def _delete(self, tenant_id: str, function: str, name: str) -> bool:
        self._versions.require(tenant_id, function)
        if self.find(tenant_id, function, name) is None:
            return False
        # First: what was allowed to the old alias is not to await the next of its name.
        for kept in self._belongings:
            await kept.delete(tenant_id, function, name)
        found = await self._kept.delete(tenant_id, function, name)
        self._note_change(tenant_id, function)
        return found

    async def _put(self, alias: Alias) -> Alias:
        await self._kept.put(alias.tenant_id, alias.function, alias.name, alias)
        self._note_change(alias.tenant_id, alias.function)
        return alias

    # --- checks -------------------------------------------------------------------

    def _check(self, alias: Alias) -> None:
        """Raise unless it leads to versions that there are, and that go together."""
        _checked_name(alias.name)
        if not alias.version:
            raise InvalidParameter(
                f"Alias {alias.name} has to lead to a version: say which.",
                field="version",
            )
        _check_weights(alias)
        for version in (alias.version, *alias.weights):
            self._versions.require(
                alias.tenant_id, alias.function, version, said=version
            )
        for version in alias.weights:
            self._check_alike(alias, version)

    def _check_alike(self, alias: Alias, extra: str) -> None:
        one, other = (
            self._versions.require(alias.tenant_id, alias.function, version)
            for version in (alias.version, extra)
        )
        ours, theirs = one.current.config, other.current.config
        if (ours.role, ours.dead_letter_arn) != (theirs.role, theirs.dead_letter_arn):
            raise InvalidParameter(
                f"Versions {alias.version} and {extra} cannot share an alias: their "
                "roles or their dead-letter targets are different.",
                field="routing_config",
            )

    def _missing(self, what: str, tenant_id: str, function: str, name: str) -> NotFound:
        arn = self._versions.arn(tenant_id, function, name)
        return NotFound(f"{what}: {arn}", kind="alias", name=name)


def routed(alias: Alias, chance: Callable[[], float]) -> str:
    """The version for one invocation; `chance` gives 0 to 1, without 1."""
    for version, weight in alias.weights.items():
        if chance() < weight:
            return version
    return alias.version


def _check_weights(alias: Alias) -> None:
    if len(alias.weights) > MAX_EXTRA_VERSIONS:
        raise _bad_routing(
            "Number of items in AdditionalVersionWeights cannot be greater than "
            f"{MAX_EXTRA_VERSIONS}"
        )
    for version, weight in alias.weights.items():
        if not 0.0 <= weight <= 1.0:
            raise _bad_routing(
                f"The weight of version {version} is {weight}; it must be 0.0 to 1.0."
            )
        if version == alias.version:
            raise _bad_routing(
                f"Invalid function version {version}. Function version {version} is "
                "already included in routing configuration."
            )
        if LATEST in (version, alias.version):
            raise _bad_routing(
                f"{LATEST} is not supported for an alias pointing to more than 1 "
                "version"
            )


def _bad_routing(message: str) -> InvalidParameter:
    return InvalidParameter(message, field="routing_config")


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            f"Alias name {name[:200]!r} must have 1 to 128 letters, digits, hyphens "
            "and underscores, and not digits alone.",
            field="name",
        )
    return name


def _checked_description(description: str) -> str:
    if len(description) > MAX_DESCRIPTION:
        raise InvalidParameter(
            f"The description has {len(description)} characters of {MAX_DESCRIPTION} "
            "allowed. Shorten it.",
            field="description",
        )
    return description
