"""`AsyncClient`: the SDK for code under asyncio. Its twin is `client.Client`.

What can be asked of an engine, by subject. What each is asked with `calls`, `steps` and
`triggers` describe; the connection carries it out.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, Unpack

from sandlot import calls, config, packing, steps, triggers
from sandlot.aio.connection import AsyncConnection
from sandlot.aio.handles import AsyncFunctionHandle, AsyncTicket
from sandlot.calls import FunctionOptions
from sandlot.config import Where
from sandlot.results import (
    JSON,
    Bill,
    Cors,
    EngineStatus,
    Event,
    EventState,
    Function,
    Key,
    LogLine,
    MapResult,
    Network,
    NewKey,
    Reply,
    Run,
    Runtime,
    Tenant,
    Url,
    UrlAuth,
)
from sandlot.times import When, point_in_time
from sandlot.transport import (
    CALL_DEADLINE_S,
    DEPLOY_DEADLINE_S,
    INVOKE_DEADLINE_S,
    STREAM_DEADLINE_S,
)
from sandlot.triggers import NewTrigger, Source, Trigger
from sandlot.v1 import invocations_pb2 as pb
from sandlot.window import Window


class AsyncClient:
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
        self._connection = AsyncConnection(
            config.resolve(endpoint, **where), deadline_s=deadline
        )

    # --- functions -----------------------------------------------------------

    async def deploy(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        name: str | None = None,
        deadline: float | None = None,
        **options: Unpack[FunctionOptions],
    ) -> AsyncFunctionHandle:
        """Create or update a function from a folder, a file, `FILE.py:handler`, a zip,
        or a container image on the engine's machine, `oci:PATH:TAG`; wait until it
        serves. Raises `DeployFailed`, which says why not.
        """
        package = await asyncio.to_thread(packing.pack, source)
        errand = steps.deploy(package, name=name, options=options)
        function = await self._connection.drive(errand, deadline, DEPLOY_DEADLINE_S)
        return AsyncFunctionHandle(self, function.name, deployed=function)

    def function(self, name: str) -> AsyncFunctionHandle:
        """A handle; nothing is asked of the engine yet."""
        return AsyncFunctionHandle(self, name)

    def functions(self) -> AsyncIterator[Function]:
        """All functions by name."""
        return self._connection.pages(calls.list_functions)

    async def get_function(self, name: str) -> Function:
        return await self._connection.ask(calls.get_function(name))

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
        """Delete it and its code. Its records and bills stay."""
        await self._connection.ask(calls.delete_function(name))

    # --- function URLs -------------------------------------------------------

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

    def list_urls(self, name: str) -> AsyncIterator[Url]:
        """Its addresses, by alias."""
        return self._connection.pages(lambda token: calls.list_urls(name, token))

    async def delete_url(self, name: str, *, alias: str = "") -> None:
        """Take an address away, for good."""
        await self._connection.ask(calls.delete_url(name, alias=alias))

    # --- invocations ---------------------------------------------------------

    async def invoke(
        self,
        name: str,
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
        """Run a function with `value` as its event, or with `payload` as it is.

        A function that fails raises a `FunctionError`; with `check=False` its reply is
        returned like any other. What is sent again under the same `idempotency_key`
        gets the first reply, and runs no second time.
        """
        request = calls.invoke_request(
            name,
            value,
            payload=payload,
            tail_log=tail_log,
            qualifier=qualifier,
            client_context=client_context,
            idempotency_key=idempotency_key,
        )
        errand = steps.invoke(calls.invoke(request), check=check)
        return await self._connection.drive(errand, deadline, INVOKE_DEADLINE_S)

    def stream(
        self,
        name: str,
        value: JSON = None,
        *,
        payload: bytes | None = None,
        deadline: float | None = None,
        tail_log: bool = False,
        qualifier: str = "",
        client_context: JSON = None,
        ended: Callable[[Reply], object] = lambda _: None,
    ) -> AsyncIterator[bytes]:
        """Run a function and yield its answer in pieces, while it makes them.

        That is what functions do that are generators, or that write to a stream; of
        others the answer comes as JSON in one piece or more. One that fails raises a
        `FunctionError`, and what came before is not all. `ended` is called with the
        reply, without its payload, when the answer is whole. Closing the iterator
        early ends the invocation.
        """
        request = calls.invoke_request(
            name,
            value,
            payload=payload,
            tail_log=tail_log,
            qualifier=qualifier,
            client_context=client_context,
        )
        limit = self._connection.limit(deadline, INVOKE_DEADLINE_S)
        return self._connection.pieces(calls.invoke_stream(request), limit, ended)

    async def enqueue(
        self,
        name: str,
        value: JSON = None,
        *,
        payload: bytes | None = None,
        deadline: float | None = None,
        qualifier: str = "",
        idempotency_key: str = "",
    ) -> AsyncTicket:
        """Queue an event; it is on disk when this returns. The ticket tells what
        becomes of it."""
        request = calls.invoke_request(
            name,
            value,
            payload=payload,
            qualifier=qualifier,
            invocation_type=pb.INVOCATION_TYPE_EVENT,
            idempotency_key=idempotency_key,
        )
        reply = await self._connection.ask(calls.invoke(request), deadline)
        return AsyncTicket(self, reply.request_id)

    async def event(self, request_id: str) -> Event:
        """What has become of an event. Raises `NotFound`, also where it was over too
        long ago."""
        return await self._connection.ask(calls.get_event(request_id))

    async def event_payload(self, request_id: str) -> bytes:
        """Its payload; empty where it is kept no more."""
        return await self._connection.ask(calls.get_event_payload(request_id))

    async def wait_event(
        self, request_id: str, *, deadline: float | None = None
    ) -> Event:
        """The event when it is over. Raises `NotFound`, `DeadlineExceeded`."""
        errand = steps.wait_event(request_id)
        return await self._connection.drive(errand, deadline, STREAM_DEADLINE_S)

    def events(
        self, name: str = "", *, states: Sequence[EventState | str] = ()
    ) -> AsyncIterator[Event]:
        """Events, newest first; of all functions if no name is given."""
        return self._connection.pages(
            lambda token: calls.list_events(name, states, token)
        )

    async def redrive_events(self, name: str = "", *, request_id: str = "") -> int:
        """Run dead events again: one, a function's, or all; how many."""
        errand = steps.redrive_events(function=name, request_id=request_id)
        return await self._connection.drive(errand, None, DEPLOY_DEADLINE_S)

    async def purge_events(self, name: str = "", *, request_id: str = "") -> int:
        """Delete dead events: one, a function's, or all; how many."""
        errand = steps.purge_events(function=name, request_id=request_id)
        return await self._connection.drive(errand, None, DEPLOY_DEADLINE_S)

    async def dry_run(self, name: str, *, qualifier: str = "") -> None:
        """Return if the function could be invoked, raise what stands in the way."""
        request = calls.invoke_request(
            name, qualifier=qualifier, invocation_type=pb.INVOCATION_TYPE_DRY_RUN
        )
        await self._connection.ask(calls.invoke(request))

    def map(
        self,
        name: str,
        values: Iterable[JSON] | AsyncIterable[JSON],
        *,
        concurrency: int = 16,
        ordered: bool = False,
        qualifier: str = "",
        deadline: float | None = None,
    ) -> AsyncIterator[MapResult]:
        """Run a function on many values over one stream, `concurrency` at once.

        Results come when they are ready, or with `ordered` in the order of the values.
        One that failed is a result with an `error`. Values are taken as there is room,
        so they may be endless; a slow result holds up at most `concurrency` others.
        """
        window = Window(
            name,
            concurrency=concurrency,
            ordered=ordered,
            qualifier=qualifier,
            clock=time.monotonic,
        )
        limit = self._connection.limit(deadline, STREAM_DEADLINE_S)
        return self._connection.map(window, _each(values), limit)

    def runs(self, name: str = "") -> AsyncIterator[Run]:
        """Past invocations, newest first; of all functions if no name is given."""
        return self._connection.pages(lambda token: calls.list_invocations(name, token))

    def logs(
        self,
        name: str,
        *,
        since: When | None = "10m",
        follow: bool = False,
        deadline: float | None = None,
    ) -> AsyncIterator[LogLine]:
        """A function's log since then; with `follow`, go on until the deadline."""
        start = point_in_time(since, now=datetime.now(UTC))
        call = calls.tail_logs(name, since=start, follow=follow)
        usual_s = STREAM_DEADLINE_S if follow else CALL_DEADLINE_S
        return self._connection.lines(call, self._connection.limit(deadline, usual_s))

    # --- triggers --------------------------------------------------------------

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
        """By group and name; of one function or one kind, if these are given."""
        return self._connection.pages(
            lambda token: triggers.list_(function, kind, token)
        )

    async def get_trigger(self, name: str, *, group: str = "") -> Trigger:
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
        await self._connection.ask(triggers.delete(name, group))

    # --- tenants, bills, the engine ------------------------------------------

    async def create_tenant(
        self,
        name: str,
        *,
        id: str = "",  # noqa: A002  # the tenant's word for it
        concurrency: int = 0,
        network: Network | str = Network.NONE,
        network_allow: Sequence[str] = (),
    ) -> NewKey:
        """Make a tenant and its first key, whose secret is shown this once.

        `network` is the most that its functions may have, `network_allow` the CIDRs
        that those with egress may reach although they are not public.
        """
        return await self._connection.ask(
            calls.create_tenant(
                name,
                id=id,
                concurrency=concurrency,
                network=network,
                network_allow=network_allow,
            )
        )

    def list_tenants(self) -> AsyncIterator[Tenant]:
        return self._connection.pages(calls.list_tenants)

    async def update_tenant(
        self,
        tenant_id: str,
        *,
        name: str | None = None,
        concurrency: int | None = None,
        network: Network | str | None = None,
        network_allow: Sequence[str] | None = None,
    ) -> Tenant:
        """Change what is given, and only that; `network_allow` is replaced whole.

        Functions above a lower `network` are refused from then on.
        """
        return await self._connection.ask(
            calls.update_tenant(
                tenant_id,
                name=name,
                concurrency=concurrency,
                network=network,
                network_allow=network_allow,
            )
        )

    async def delete_tenant(self, tenant_id: str) -> None:
        """Delete a tenant that has no functions, and its keys. Its bill stays."""
        await self._connection.ask(calls.delete_tenant(tenant_id))

    async def create_key(self, tenant_id: str = "") -> NewKey:
        """Another key, for the caller's own tenant if none is given."""
        return await self._connection.ask(calls.create_key(tenant_id))

    async def import_key(
        self, access_key_id: str, secret_access_key: str, *, tenant_id: str = ""
    ) -> Key:
        """Take over an existing key pair, for scripts with fixed credentials."""
        return await self._connection.ask(
            calls.import_key(access_key_id, secret_access_key, tenant_id=tenant_id)
        )

    def list_keys(self, tenant_id: str = "") -> AsyncIterator[Key]:
        return self._connection.pages(lambda token: calls.list_keys(tenant_id, token))

    async def revoke_key(self, access_key_id: str) -> None:
        """Take a key back, at once."""
        await self._connection.ask(calls.revoke_key(access_key_id))

    async def bill(
        self,
        since: When | None = None,
        until: When | None = None,
        *,
        tenant_id: str = "",
    ) -> Bill:
        """What is owed from `since` (this month's beginning) until `until` (now)."""
        now = datetime.now(UTC)
        return await self._connection.ask(
            calls.get_bill(
                tenant_id,
                since=point_in_time(since, now=now),
                until=point_in_time(until, now=now),
            )
        )

    async def status(self) -> EngineStatus:
        """Version, isolation layers, runtimes, running processes."""
        return await self._connection.ask(calls.get_status())

    async def list_runtimes(self) -> tuple[Runtime, ...]:
        """What functions can be written for, by name; for operators also what is
        registered and cannot be used."""
        return await self._connection.ask(calls.list_runtimes())

    # --- life ----------------------------------------------------------------

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


async def _each(values: Iterable[JSON] | AsyncIterable[JSON]) -> AsyncIterator[JSON]:
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value
