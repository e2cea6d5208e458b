"""Permissions: who else may invoke a function; added, listed and taken back."""

from sandlot import calls
from sandlot.aio.connection import AsyncService
from sandlot.results import Permission, UrlAuth


class AsyncPermissions(AsyncService):
    """See `AsyncClient`."""

    async def add_permission(
        self,
        name: str,
        id: str,  # noqa: A002 - what it is called everywhere
        principal: str,
        *,
        qualifier: str = "",
        action: str = "",
        source_arn: str = "",
        source_account: str = "",
        url_auth: UrlAuth | str | None = None,
        via_url: bool | None = None,
    ) -> Permission:
        """Let `principal`, a tenant's id or `*`, invoke a function; or a version or an
        alias of it, which is another matter. What is given besides has to be so.
        """
        return await self._connection.ask(
            calls.add_permission(
                name,
                id,
                principal,
                qualifier=qualifier,
                action=action,
                source_arn=source_arn,
                source_account=source_account,
                url_auth=url_auth,
                via_url=via_url,
            )
        )

    async def list_permissions(
        self, name: str, *, qualifier: str = ""
    ) -> tuple[Permission, ...]:
        """All, in the order in which they were added."""
        return await self._connection.ask(
            calls.list_permissions(name, qualifier=qualifier)
        )

    async def remove_permission(
        self,
        name: str,
        id: str,  # noqa: A002 - what it is called everywhere
        *,
        qualifier: str = "",
    ) -> None:
        """Take one back, at once."""
        await self._connection.ask(
            calls.remove_permission(name, id, qualifier=qualifier)
        )
