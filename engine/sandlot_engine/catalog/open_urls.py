"""A function URL together with what its policy needs for anybody to call it.

AWS's API keeps the two apart, and its console makes the statements, under these names;
so does our own API.
"""

from sandlot_engine.catalog.permits import INVOKE, INVOKE_URL
from sandlot_engine.catalog.policies import NO_AUTH, Policies
from sandlot_engine.catalog.urls import Urls
from sandlot_engine.errors import AlreadyExists, NotFound
from sandlot_engine.model.policy import EVERYONE
from sandlot_engine.model.url import Cors, FunctionUrl, InvokeMode, UrlAuthType

MAY_CALL = "FunctionURLAllowPublicAccess"
MAY_INVOKE = "FunctionURLInvokeAllowPublicAccess"


class OpenUrls:
    """Makes, changes and deletes both."""

    def __init__(self, urls: Urls, policies: Policies) -> None:
        self._urls = urls
        self._policies = policies

    async def put(
        self,
        tenant_id: str,
        function: str,
        alias: str = "",
        *,
        auth_type: UrlAuthType,
        cors: Cors | None,
        invoke_mode: InvokeMode,
    ) -> FunctionUrl:
        """Make it, or change it as a whole. Raises what `Urls` and `Policies` raise."""
        if self._urls.find(tenant_id, function, alias) is None:
            url = await self._urls.create(
                tenant_id,
                function,
                alias,
                auth_type=auth_type,
                cors=cors,
                invoke_mode=invoke_mode,
            )
        else:
            url = await self._urls.update(
                tenant_id,
                function,
                alias,
                auth_type=auth_type,
                cors=cors or Cors(),
                invoke_mode=invoke_mode,
            )
        if auth_type is UrlAuthType.NONE:
            await self._open(tenant_id, function, alias)
        else:
            await self._close(tenant_id, function, alias)
        return url

    async def delete(self, tenant_id: str, function: str, alias: str = "") -> None:
        """Raises `NotFound`."""
        await self._urls.delete(tenant_id, function, alias)
        await self._close(tenant_id, function, alias)

    async def _open(self, tenant_id: str, function: str, alias: str) -> None:
        for statement_id, action, auth_type, via_url in (
            (MAY_CALL, INVOKE_URL, NO_AUTH, None),
            (MAY_INVOKE, INVOKE, "", True),
        ):
            try:
                await self._policies.add(
                    tenant_id,
                    function,
                    alias,
                    statement_id=statement_id,
                    action=action,
                    principal=EVERYONE,
                    function_url_auth_type=auth_type,
                    via_function_url=via_url,
                )
            except AlreadyExists:
                continue  # it was open before

    async def _close(self, tenant_id: str, function: str, alias: str) -> None:
        for statement_id in (MAY_CALL, MAY_INVOKE):
            try:
                await self._policies.remove(
                    tenant_id, function, alias, statement_id=statement_id
                )
            except NotFound:
                continue  # it was not open; or its alias is gone, and its policy too
