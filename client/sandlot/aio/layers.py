"""Layers: published, listed and deleted. Functions have them as a setting, `layers`."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence

from sandlot import calls, packing, steps
from sandlot.aio.connection import AsyncService
from sandlot.results import LayerVersion
from sandlot.transport import DEPLOY_DEADLINE_S


class AsyncLayers(AsyncService):
    """See `AsyncClient`."""

    async def publish_layer(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        name: str | None = None,
        description: str = "",
        runtimes: Sequence[str] = (),
        deadline: float | None = None,
    ) -> LayerVersion:
        """Make the next version of a layer, of a folder or a zip; by default it has the
        folder's name. `runtimes` say what it is for, and nobody is held to it.

        Functions have what is in it at /opt: Python imports from its folder `python`,
        Node from `nodejs/node_modules`.
        """
        package = await asyncio.to_thread(packing.pack_layer, source)
        call = calls.publish_layer(
            packing.name_of(package, name),
            package.zip,
            description=description,
            runtimes=runtimes,
        )
        return await self._connection.drive(
            steps.ask(call), deadline, DEPLOY_DEADLINE_S
        )

    def list_layers(self) -> AsyncIterator[LayerVersion]:
        """The latest version of each, by name."""
        return self._connection.pages(calls.list_layers)

    def list_layer_versions(self, name: str) -> AsyncIterator[LayerVersion]:
        """The versions of a layer, the newest first."""
        return self._connection.pages(
            lambda token: calls.list_layer_versions(name, token)
        )

    async def delete_layer_version(self, name: str, version: int) -> None:
        """Functions that have it keep it. Its number is not used again."""
        await self._connection.ask(calls.delete_layer_version(name, version))
