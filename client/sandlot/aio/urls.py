"""Function URLs: given, listed and taken away."""

from collections.abc import AsyncIterator

from sandlot import calls
from sandlot.aio.connection import AsyncService
from sandlot.results import Cors, Url, UrlAuth


class AsyncUrls(AsyncService):
    """See `AsyncClient`."""

    async def put_url(
        self,
        name: str,
        *,
        auth: UrlAuth | str = UrlAuth.IAM,
        alias: str = "",
        cors: Cors | None = None,
        stream: bool = False,
    ) -> Url:
        """Give a function, or an alias of it, an address for HTTP; or change it."""
        return await self._connection.ask(
            calls.put_url(name, auth=auth, alias=alias, cors=cors, stream=stream)
        )

    def list_urls(self, name: str = "") -> AsyncIterator[Url]:
        """Its addresses by alias; those of all functions where none is named."""
        return self._connection.pages(lambda token: calls.list_urls(name, token))

    async def delete_url(self, name: str, *, alias: str = "") -> None:
        """Take an address away, for good."""
        await self._connection.ask(calls.delete_url(name, alias=alias))
