"""Functions: looked at, changed and deleted. `AsyncClient.deploy` makes them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Unpack

from sandlot import calls, steps
from sandlot.aio.connection import AsyncService
from sandlot.calls import FunctionOptions
from sandlot.results import Function
from sandlot.transport import DEPLOY_DEADLINE_S


class AsyncFunctions(AsyncService):
    """See `AsyncClient`."""

    def functions(self) -> AsyncIterator[Function]:
        """All functions by name."""
        return self._connection.pages(calls.list_functions)

    async def get_function(self, name: str, *, qualifier: str = "") -> Function:
        """The function as it is now; or a version of it, by its number or by an
        alias."""
        return await self._connection.ask(calls.get_function(name, qualifier=qualifier))

    async def update_function(
        self,
        name: str,
        *,
        deadline: float | None = None,
        **options: Unpack[FunctionOptions],
    ) -> Function:
        """Change the given settings, and only those; wait until they serve."""
        errand = steps.configure(name, options)
        return await self._connection.drive(errand, deadline, DEPLOY_DEADLINE_S)

    async def delete_function(self, name: str) -> None:
        """Delete it, with its versions, aliases, URLs and triggers. Its records and
        bills stay."""
        await self._connection.ask(calls.delete_function(name))

    async def tag_function(self, name: str, tags: Mapping[str, str]) -> dict[str, str]:
        """Add tags, or give them other values; all that it has then. Raises `Conflict`
        while it is changed."""
        return await self._connection.ask(calls.tag_function(name, tags))

    async def untag_function(self, name: str, keys: Sequence[str]) -> dict[str, str]:
        """Take tags away, whether they are there or not; all that it has then."""
        return await self._connection.ask(calls.untag_function(name, keys))
