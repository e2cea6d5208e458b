"""A store in memory: `MemoryStore` passes the contract suites of `SqliteStore`."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sandlot_engine.errors import AlreadyExists, Conflict, NotFound
from sandlot_engine.model.function import Function
from sandlot_engine.model.invocation import BillLine, LogLine, Record
from sandlot_engine.model.tenant import AccessKey, Tenant
from sandlot_engine.store.followers import Followers
from sandlot_engine.store.ports import FunctionStore, RecordStore, TenantStore
from sandlot_engine.store.sqlite import SqliteStore


class MemoryStore:
    """All three ports, nothing on disk."""

    def __init__(self) -> None:
        self._functions: dict[tuple[str, str], Function] = {}
        self._tenants: dict[str, Tenant] = {}
        self._keys: dict[str, tuple[AccessKey, bytes]] = {}
        self._records: list[Record] = []
        self._logs: dict[tuple[str, str], list[LogLine]] = {}
        self._followers = Followers()

    async def create_function(self, function: Function) -> None:
        if (function.tenant_id, function.name) in self._functions:
            raise AlreadyExists(f"Function already exist: {function.name}")
        self._functions[function.tenant_id, function.name] = function

    async def put_function(self, function: Function, *, expected: str) -> None:
        now = self._functions.get((function.tenant_id, function.name))
        if now is None:
            raise NotFound(f"Function not found: {function.name}")
        if now.current.id != expected:
            raise Conflict(f"Function {function.name} has changed")
        self._functions[function.tenant_id, function.name] = function

    async def get_function(self, tenant_id: str, name: str) -> Function | None:
        return self._functions.get((tenant_id, name))

    async def list_functions(
        self, tenant_id: str, *, after: str, limit: int
    ) -> list[Function]:
        functions = await self.all_functions()
        mine = [each for each in functions if each.tenant_id == tenant_id]
        return [each for each in mine if each.name > after][:limit]

    async def all_functions(self) -> list[Function]:
        return [function for _, function in sorted(self._functions.items())]

    async def delete_function(self, tenant_id: str, name: str) -> bool:
        return self._functions.pop((tenant_id, name), None) is not None

    async def code_in_use(self, sha256: str) -> bool:
        return any(
            revision.code.sha256 == sha256
            for function in self._functions.values()
            for revision in (function.serving, function.pending)
            if revision is not None
        )

    async def create_tenant(self, tenant: Tenant) -> None:
        if tenant.id in self._tenants:
            raise AlreadyExists(f"There is a tenant {tenant.id} already.")
        self._tenants[tenant.id] = tenant

    async def put_tenant(self, tenant: Tenant) -> None:
        if tenant.id not in self._tenants:
            raise NotFound(f"There is no tenant {tenant.id}.")
        self._tenants[tenant.id] = tenant

    async def get_tenant(self, tenant_id: str) -> Tenant | None:
        return self._tenants.get(tenant_id)

    async def list_tenants(self, *, after: str, limit: int) -> list[Tenant]:
        return [self._tenants[id_] for id_ in sorted(self._tenants) if id_ > after][
            :limit
        ]

    async def delete_tenant(self, tenant_id: str) -> bool:
        if any(owner == tenant_id for owner, _ in self._functions):
            raise Conflict(f"Tenant {tenant_id} still has functions.")
        for key, _ in list(self._keys.values()):
            if key.tenant_id == tenant_id:
                del self._keys[key.id]
        return self._tenants.pop(tenant_id, None) is not None

    async def create_key(self, key: AccessKey, sealed_secret: bytes) -> None:
        if key.id in self._keys:
            raise AlreadyExists(f"There is an access key {key.id} already.")
        self._keys[key.id] = key, sealed_secret

    async def get_key(self, access_key_id: str) -> tuple[AccessKey, bytes] | None:
        return self._keys.get(access_key_id)

    async def list_keys(
        self, tenant_id: str, *, after: str, limit: int
    ) -> list[AccessKey]:
        keys = [key for _, (key, _) in sorted(self._keys.items())]
        mine = [key for key in keys if key.tenant_id == tenant_id]
        return [key for key in mine if key.id > after][:limit]

    async def delete_key(self, access_key_id: str) -> bool:
        return self._keys.pop(access_key_id, None) is not None

    def append(self, record: Record, log: Sequence[LogLine]) -> None:
        self._records.append(record)
        self.append_log(record.tenant_id, record.function, log)

    def append_log(self, tenant_id: str, function: str, log: Sequence[LogLine]) -> None:
        self._logs.setdefault((tenant_id, function), []).extend(log)
        if log:
            self._followers.wake([(tenant_id, function)])

    async def flush(self) -> None:
        """Nothing waits here."""

    async def list_records(
        self, tenant_id: str, function: str, *, before: int, limit: int
    ) -> list[tuple[int, Record]]:
        found = [
            (position, record)
            for position, record in enumerate(self._records, start=1)
            if record.tenant_id == tenant_id
            and function in ("", record.function)
            and (not before or position < before)
        ]
        return found[::-1][:limit]

    async def list_log(
        self,
        tenant_id: str,
        function: str,
        *,
        since: datetime | None,
        after: int,
        limit: int,
    ) -> list[tuple[int, LogLine]]:
        lines = enumerate(self._logs.get((tenant_id, function), ()), start=1)
        return [
            (position, line)
            for position, line in lines
            if position > after and (since is None or line.time >= since)
        ][:limit]

    async def wait_for_log(self, tenant_id: str, function: str, *, after: int) -> None:
        with self._followers.following((tenant_id, function)) as written:
            if len(self._logs.get((tenant_id, function), ())) <= after:
                await written.wait()

    async def bill(
        self, tenant_id: str, *, since: datetime, until: datetime
    ) -> list[BillLine]:
        records = [
            record
            for record in self._records
            if record.tenant_id == tenant_id and since <= record.time < until
        ]
        return [
            BillLine(
                function=function,
                invocations=sum(each.function == function for each in records),
                billed_ms=sum(
                    each.report.billed_ms
                    for each in records
                    if each.function == function
                ),
                billed_mb_ms=sum(
                    each.report.billed_mb_ms
                    for each in records
                    if each.function == function
                ),
            )
            for function in sorted({record.function for record in records})
        ]


class Store(FunctionStore, TenantStore, RecordStore, Protocol):
    """All three ports."""


OpenStore = Callable[[Path], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def open_sqlite(folder: Path) -> AsyncIterator[Store]:
    async with SqliteStore.open(folder / "engine.db") as store:
        yield store


@asynccontextmanager
async def open_memory(_: Path) -> AsyncIterator[Store]:
    yield MemoryStore()


ADAPTERS: tuple[OpenStore, ...] = (open_sqlite, open_memory)
"""What the contract suites run over."""
