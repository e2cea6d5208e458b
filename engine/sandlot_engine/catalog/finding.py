"""Which version of a function a qualifier leads to: a number, an alias, or nothing."""

import random
from collections.abc import Callable

from sandlot_engine.catalog.aliases import Aliases, routed
from sandlot_engine.catalog.versions import Versions, wrong_state
from sandlot_engine.model.function import LATEST, Function


class Finding:
    """Over versions and aliases, in memory. Never waits."""

    def __init__(
        self,
        versions: Versions,
        aliases: Aliases,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._versions = versions
        self._aliases = aliases
        self._chance = chance

    def find(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        """A version by its number, or the one of an alias. Raises `NotFound`."""
        alias = self._aliases.find(tenant_id, name, qualifier)
        version = alias.version if alias is not None else qualifier or LATEST
        return self._versions.require(tenant_id, name, version, said=qualifier)

    def resolve(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        """The version to invoke: see `Functions.resolve`."""
        function = self._versions.find(tenant_id, name, qualifier or LATEST)
        if function is None and (
            alias := self._aliases.find(tenant_id, name, qualifier)
        ):
            function = self._versions.find(tenant_id, name, routed(alias, self._chance))
        if function is None:
            raise self._versions.not_found(tenant_id, name, qualifier or LATEST)
        if function.serving is None:
            raise wrong_state(function)
        return function

    def revision_id(self, tenant_id: str, name: str, qualifier: str = "") -> str:
        """The revision id of a version, or of an alias itself. Raises `NotFound`."""
        alias = self._aliases.find(tenant_id, name, qualifier)
        return (alias or self.find(tenant_id, name, qualifier)).revision_id
