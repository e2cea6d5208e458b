"""What `AsyncClient` gives out: a function's methods without its name, and tickets."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Unpack

from sandlot.calls import FunctionOptions
from sandlot.results import (
    JSON,
    Alias,
    Cors,
    Event,
    Function,
    LogLine,
    MapResult,
    Reply,
    Run,
    Url,
    UrlAuth,
)
from sandlot.times import When

if TYPE_CHECKING:
    from sandlot.aio.client import AsyncClient
    from sandlot.aio.events import AsyncEvents


class AsyncTicket:
    """An event that was queued, and a way to ask for it."""

    def __init__(self, client: "AsyncEvents", request_id: str) -> None:
        self.request_id = request_id
        self._client = client

    async def status(self) -> Event:
        """See `AsyncClient.event`."""
        return await self._client.event(self.request_id)

    async def wait(self, *, deadline: float | None = None) -> Event:
        """See `AsyncClient.wait_event`."""
        return await self._client.wait_event(self.request_id, deadline=deadline)

    def __repr__(self) -> str:
        return f"<AsyncTicket {self.request_id}>"


class AsyncFunctionHandle:
    """A function of a client: its methods without the name."""

    def __init__(
        self, client: "AsyncClient", name: str, *, deployed: Function | None = None
    ) -> None:
        self.name = name
        self.deployed = deployed
        """What `deploy` saw at its end; None for a handle made otherwise."""

        self.replaced_handler = ""
        """The handler that the function had before, where `deploy` took another because
        that one was not in the package; else empty."""

        self.is_made_anew = False
        """Whether `deploy` deleted a function of another kind for it."""

        self.lacks_handler = False
        """Whether what was deployed has no file for its handler, as far as that can be
        told."""

        self.only_folder = ""
        """The folder that all files of what was deployed are in, which is mostly one
        too many; empty where there is none."""

        self.compiled_for: frozenset[str] = frozenset()
        """The runtimes that what was deployed has extension modules for: `python3.12`,
        or `python3.12 on macOS`."""

        self._client = client

    async def invoke(
        self,
        value: JSON = None,
        *,
        payload: bytes | None = None,
        deadline: float | None = None,
        tail_log: bool = False,
        qualifier: str = "",
        client_context: JSON = None,
        idempotency_key: str = "",
        check: bool = True,
    ) -> Reply:
        """See `AsyncClient.invoke`."""
        return await self._client.invoke(
            self.name,
            value,
            payload=payload,
            deadline=deadline,
            tail_log=tail_log,
            qualifier=qualifier,
            client_context=client_context,
            idempotency_key=idempotency_key,
            check=check,
        )

    def stream(
        self,
        value: JSON = None,
        *,
        payload: bytes | None = None,
        deadline: float | None = None,
        tail_log: bool = False,
        qualifier: str = "",
        client_context: JSON = None,
        ended: Callable[[Reply], object] = lambda _: None,
    ) -> AsyncIterator[bytes]:
        """See `AsyncClient.stream`."""
        return self._client.stream(
            self.name,
            value,
            payload=payload,
            deadline=deadline,
            tail_log=tail_log,
            qualifier=qualifier,
            client_context=client_context,
            ended=ended,
        )

    async def enqueue(
        self,
        value: JSON = None,
        *,
        payload: bytes | None = None,
        deadline: float | None = None,
        qualifier: str = "",
        idempotency_key: str = "",
    ) -> AsyncTicket:
        """See `AsyncClient.enqueue`."""
        return await self._client.enqueue(
            self.name,
            value,
            payload=payload,
            deadline=deadline,
            qualifier=qualifier,
            idempotency_key=idempotency_key,
        )

    async def publish(
        self,
        *,
        description: str | None = None,
        code_sha256: str = "",
        revision_id: str = "",
        deadline: float | None = None,
    ) -> Function:
        """See `AsyncClient.publish_version`."""
        return await self._client.publish_version(
            self.name,
            description=description,
            code_sha256=code_sha256,
            revision_id=revision_id,
            deadline=deadline,
        )

    async def put_alias(
        self,
        alias: str,
        version: str | int,
        *,
        weights: Mapping[str, float] | None = None,
        description: str | None = None,
        revision_id: str = "",
    ) -> Alias:
        """See `AsyncClient.put_alias`."""
        return await self._client.put_alias(
            self.name,
            alias,
            version,
            weights=weights,
            description=description,
            revision_id=revision_id,
        )

    async def put_url(
        self,
        *,
        auth: UrlAuth | str = UrlAuth.IAM,
        alias: str = "",
        cors: Cors | None = None,
        stream: bool = False,
    ) -> Url:
        """See `AsyncClient.put_url`."""
        return await self._client.put_url(
            self.name, auth=auth, alias=alias, cors=cors, stream=stream
        )

    def map(
        self,
        values: Iterable[JSON] | AsyncIterable[JSON],
        *,
        concurrency: int = 16,
        ordered: bool = False,
        qualifier: str = "",
        deadline: float | None = None,
    ) -> AsyncIterator[MapResult]:
        """See `AsyncClient.map`."""
        return self._client.map(
            self.name,
            values,
            concurrency=concurrency,
            ordered=ordered,
            qualifier=qualifier,
            deadline=deadline,
        )

    def logs(
        self,
        *,
        since: When | None = "10m",
        follow: bool = False,
        deadline: float | None = None,
    ) -> AsyncIterator[LogLine]:
        """See `AsyncClient.logs`."""
        return self._client.logs(
            self.name, since=since, follow=follow, deadline=deadline
        )

    def runs(self) -> AsyncIterator[Run]:
        """See `AsyncClient.runs`."""
        return self._client.runs(self.name)

    async def config(self, *, qualifier: str = "") -> Function:
        """The function as it is now; or a version of it."""
        return await self._client.get_function(self.name, qualifier=qualifier)

    async def update(
        self, *, deadline: float | None = None, **options: Unpack[FunctionOptions]
    ) -> Function:
        """See `AsyncClient.update_function`."""
        return await self._client.update_function(
            self.name, deadline=deadline, **options
        )

    async def delete(self) -> None:
        """See `AsyncClient.delete_function`."""
        await self._client.delete_function(self.name)

    def __repr__(self) -> str:
        return f"<AsyncFunctionHandle {self.name}>"
