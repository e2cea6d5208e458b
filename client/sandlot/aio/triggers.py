"""Triggers: what has functions run without anybody who asks."""

from collections.abc import AsyncIterator

from sandlot import triggers
from sandlot.aio.connection import AsyncService
from sandlot.triggers import NewTrigger, Source, Trigger


class AsyncTriggers(AsyncService):
    """See `AsyncClient`."""

    async def create_trigger(
        self,
        name: str,
        function: str,
        source: Source,
        *,
        qualifier: str = "",
        description: str = "",
        group: str = "",
        paused: bool = False,
        secret: str = "",
    ) -> NewTrigger:
        """Have a function run whenever `source` says so.

        A webhook's secret is made unless `secret` is the sender's own. Groups are for
        schedules.
        """
        return await self._connection.ask(
            triggers.create(
                name,
                function,
                source,
                qualifier=qualifier,
                description=description,
                group=group,
                paused=paused,
                secret=secret,
            )
        )

    def list_triggers(
        self, function: str = "", *, kind: str = ""
    ) -> AsyncIterator[Trigger]:
        """Triggers by group and name; of one function or one kind, if these are
        given."""
        return self._connection.pages(
            lambda token: triggers.list_(function, kind, token)
        )

    async def get_trigger(self, name: str, *, group: str = "") -> Trigger:
        """As it is now. Raises `NotFound`."""
        return await self._connection.ask(triggers.get(name, group))

    async def update_trigger(
        self,
        name: str,
        *,
        group: str = "",
        enabled: bool | None = None,
        description: str | None = None,
        function: str | None = None,
        qualifier: str | None = None,
        source: Source | None = None,
    ) -> Trigger:
        """Change what is given, and only that; `source` as a whole, but for a
        directory's path. `enabled` pauses and resumes."""
        return await self._connection.ask(
            triggers.update(
                name,
                group,
                enabled=enabled,
                description=description,
                function=function,
                qualifier=qualifier,
                source=source,
            )
        )

    async def rotate_trigger_secret(self, name: str, secret: str = "") -> str:
        """Another secret of a webhook, or token of a bucket, from now on."""
        return await self._connection.ask(triggers.rotate_secret(name, secret))

    async def test_trigger(self, name: str, *, group: str = "") -> str:
        """Send an event as the trigger would, now; its request id."""
        return await self._connection.ask(triggers.test(name, group))

    async def delete_trigger(self, name: str, *, group: str = "") -> None:
        """Delete it: nothing comes of it any more. Raises `NotFound`."""
        await self._connection.ask(triggers.delete(name, group))
