"""`AsyncClient`: the SDK for code under asyncio. Its twin is `client.Client`.

What can be asked of an engine is in files by subject, as the engine has services for.
What each asks with `calls`, `steps`, `deploying` and `triggers` describe; the
connection carries it out.
"""

import asyncio
import os
from types import TracebackType
from typing import Self, Unpack

from sandlot import config, deploying, packing
from sandlot.aio.concurrency import AsyncShares
from sandlot.aio.connection import AsyncConnection
from sandlot.aio.events import AsyncEvents
from sandlot.aio.functions import AsyncFunctions
from sandlot.aio.handles import AsyncFunctionHandle
from sandlot.aio.invocations import AsyncInvocations
from sandlot.aio.layers import AsyncLayers
from sandlot.aio.permissions import AsyncPermissions
from sandlot.aio.tenants import AsyncTenants
from sandlot.aio.triggers import AsyncTriggers
from sandlot.aio.urls import AsyncUrls
from sandlot.aio.versions import AsyncVersions
from sandlot.calls import FunctionOptions
from sandlot.config import Where
from sandlot.transport import DEPLOY_DEADLINE_S


class AsyncClient(
    AsyncFunctions,
    AsyncVersions,
    AsyncLayers,
    AsyncShares,
    AsyncUrls,
    AsyncPermissions,
    AsyncInvocations,
    AsyncEvents,
    AsyncTriggers,
    AsyncTenants,
):
    """A connection to an engine, as one tenant or as its operator.

    What is not given is looked up: see `sandlot.config`. `deadline` is in seconds and
    for every call that does not bring its own. Raises only `sandlot.errors`.

    It belongs to one event loop, and opens one connection, at the first call.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        deadline: float | None = None,
        **where: Unpack[Where],
    ) -> None:
        settings = config.resolve(endpoint, **where)
        super().__init__(AsyncConnection(settings, deadline_s=deadline))

    async def deploy(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        name: str | None = None,
        force: bool = False,
        deadline: float | None = None,
        **options: Unpack[FunctionOptions],
    ) -> AsyncFunctionHandle:
        """Create or update a function from a folder, a file, `FILE.py:handler`, a zip,
        or a container image on the engine's machine, `oci:PATH:TAG`; wait until it
        serves. Raises `DeployFailed`, which says why not.

        With `force` also code is sent that is there already, and a function that it
        does not fit gives way: one of another language changes its runtime, one of
        another kind, image or not, is deleted, with its versions, and made anew.
        """
        package = await asyncio.to_thread(packing.pack, source)
        errand = deploying.deploy(package, name=name, options=options, force=force)
        done = await self._connection.drive(errand, deadline, DEPLOY_DEADLINE_S)
        handle = AsyncFunctionHandle(self, done.function.name, deployed=done.function)
        handle.replaced_handler = done.replaced_handler
        handle.is_made_anew = done.is_made_anew
        handle.lacks_handler = done.lacks_handler
        handle.only_folder = done.only_folder
        handle.compiled_for = done.compiled_for
        return handle

    def function(self, name: str) -> AsyncFunctionHandle:
        """A handle; nothing is asked of the engine yet."""
        return AsyncFunctionHandle(self, name)

    async def close(self) -> None:
        """Close the connection. Calls under way are cancelled."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connection.endpoint}>"
