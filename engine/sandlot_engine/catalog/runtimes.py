"""How the runtimes of functions are updated: kept and shown.

Runtimes are the interpreters of this machine, and are updated with it.
"""

from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.model.signing import RuntimeManagement, UpdateRuntimeOn
from sandlot_engine.store.ports import DocumentStore

_DEFAULT = RuntimeManagement()


def kept_runtime_management(store: DocumentStore) -> Kept[RuntimeManagement]:
    """Kept by function and qualifier: one of the `belongings` of `Functions`."""
    return Kept(store, "runtime-management", RuntimeManagement)


class Runtimes:
    """How all functions want their runtimes updated."""

    def __init__(self, kept: Kept[RuntimeManagement], functions: Functions) -> None:
        self._kept = kept
        self._functions = functions

    def get(
        self, tenant_id: str, function: str, qualifier: str = ""
    ) -> RuntimeManagement:
        """Raises `NotFound`."""
        self._functions.find(tenant_id, function, qualifier)
        return self._kept.get(tenant_id, function, qualifier) or _DEFAULT

    async def put(
        self,
        tenant_id: str,
        function: str,
        qualifier: str = "",
        *,
        update_on: UpdateRuntimeOn,
    ) -> RuntimeManagement:
        """Raises `NotFound`."""

        async def put() -> RuntimeManagement:
            self._functions.find(tenant_id, function, qualifier)
            management = RuntimeManagement(update_on=update_on)
            return await self._kept.put(tenant_id, function, qualifier, management)

        return await self._functions.in_turn(tenant_id, put)
