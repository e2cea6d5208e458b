"""Deleting functions and versions, with all that is kept of them: the steps, each in
its tenant's turn. What runs of them is retired after that."""

from collections.abc import Callable
from typing import Any

from sandlot_engine.catalog.aliases import Aliases
from sandlot_engine.catalog.finding import Finding
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.settings import Settings
from sandlot_engine.catalog.turns import Turns
from sandlot_engine.catalog.versions import Versions
from sandlot_engine.errors import Conflict, InvalidParameter
from sandlot_engine.model.function import LATEST, Function
from sandlot_engine.store.ports import FunctionStore


class Deleting:
    """`kept` goes with its function; the `belongings` among it also with a version."""

    def __init__(
        self,
        store: FunctionStore,
        versions: Versions,
        *,
        finding: Finding,
        aliases: Aliases,
        settings: Settings,
        turns: Turns,
        kept: tuple[Kept[Any], ...],
        belongings: tuple[Kept[Any], ...],
        note_change: Callable[[str, str], object],
    ) -> None:
        self._store = store
        self._versions = versions
        self._finding = finding
        self._aliases = aliases
        self._settings = settings
        self._turns = turns
        self._kept = kept
        self._belongings = belongings
        self._note_change = note_change

    async def function(self, tenant_id: str, name: str) -> tuple[Function, ...]:
        """Returns the versions that it had. Raises `NotFound`."""
        async with self._turns.hold(tenant_id):
            self._finding.find(tenant_id, name)
            functions = tuple(self._versions.of(tenant_id, name))
            kinds = tuple(kept.kind for kept in self._kept)
            await self._store.delete_function(tenant_id, name, kinds=kinds)
            for function in functions:
                self._versions.forget(function)
            for kept in self._kept:
                kept.forget(tenant_id, name)
            self._settings.note(tenant_id, name)
            self._note_change(tenant_id, name)
        return functions

    async def version(self, tenant_id: str, name: str, version: str) -> Function:
        """Returns it. Raises as `Functions.delete_version` does."""
        async with self._turns.hold(tenant_id):
            function = self._version_to_delete(tenant_id, name, version)
            # First: what was allowed to it is not to outlive it.
            for kept in self._belongings:
                await kept.delete(tenant_id, name, version)
            await self._store.delete_version(tenant_id, name, version)
            self._versions.forget(function)
            self._note_change(tenant_id, name)
        return function

    def _version_to_delete(self, tenant_id: str, name: str, version: str) -> Function:
        if version in ("", LATEST):
            raise InvalidParameter(
                f"{LATEST} version cannot be deleted without deleting the function.",
                field="qualifier",
            )
        if self._aliases.find(tenant_id, name, version) is not None:
            raise InvalidParameter(
                "Deletion of aliases is not currently supported.", field="qualifier"
            )
        function = self._finding.find(tenant_id, name, version)
        if aliases := self._aliases.naming(tenant_id, name, version):
            raise Conflict(
                "Unable to delete version because the following aliases reference it: "
                f"[{', '.join(aliases)}]",
                reason="ResourceConflict",
            )
        return function
