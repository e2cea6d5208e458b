"""What is reserved for functions, and what is started ahead of their callers."""

from collections.abc import AsyncIterator

from sandlot import calls, steps
from sandlot.aio.connection import AsyncService
from sandlot.results import Concurrency, ProvisionedConcurrency
from sandlot.transport import DEPLOY_DEADLINE_S


class AsyncShares(AsyncService):
    """See `AsyncClient`."""

    async def get_concurrency(self, name: str = "") -> Concurrency:
        """What the tenant has, and what of it is reserved: for a function, or all."""
        return await self._connection.ask(calls.get_concurrency(name))

    async def put_reserved_concurrency(
        self, name: str, concurrency: int
    ) -> Concurrency:
        """Let a function have so much, whatever others do, and never more. 0 lets
        nothing run. Raises `InvalidParameter` where it would leave others too little.
        """
        return await self._connection.ask(
            calls.put_reserved_concurrency(name, concurrency)
        )

    async def delete_reserved_concurrency(self, name: str) -> Concurrency:
        """Let it share in what all others have; no failure where it does."""
        return await self._connection.ask(calls.delete_reserved_concurrency(name))

    async def put_provisioned_concurrency(
        self,
        name: str,
        qualifier: str | int,
        count: int,
        *,
        deadline: float | None = None,
    ) -> ProvisionedConcurrency:
        """Have so many instances of a version, or of what an alias leads to, started
        ahead. Waits until they are there, or until `status` and `reason` say why not:
        then it is tried again, from time to time.
        """
        errand = steps.provision(name, qualifier, count)
        return await self._connection.drive(errand, deadline, DEPLOY_DEADLINE_S)

    async def get_provisioned_concurrency(
        self, name: str, qualifier: str | int
    ) -> ProvisionedConcurrency:
        """Raises `NotFound` where nothing was asked for."""
        return await self._connection.ask(
            calls.get_provisioned_concurrency(name, qualifier)
        )

    def list_provisioned_concurrency(
        self, name: str
    ) -> AsyncIterator[ProvisionedConcurrency]:
        """All of a function, by version and alias."""
        return self._connection.pages(
            lambda token: calls.list_provisioned_concurrency(name, token)
        )

    async def delete_provisioned_concurrency(
        self, name: str, qualifier: str | int
    ) -> None:
        """Ask for none any more. Raises `NotFound` where nothing was asked for."""
        await self._connection.ask(
            calls.delete_provisioned_concurrency(name, qualifier)
        )
