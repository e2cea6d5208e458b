"""A store in memory: `MemoryStore` passes the contract suites of `SqliteStore`."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sandlot_engine.errors import AlreadyExists, Conflict, NotFound
from sandlot_engine.model.function import LATEST, Function
from sandlot_engine.model.tenant import AccessKey, Tenant
from sandlot_engine.store.event_ports import EventStore
from sandlot_engine.store.ports import (
    AnswerBounds,
    AnswerStore,
    Document,
    DocumentStore,
    FunctionStore,
    KeptAnswer,
    RecordStore,
    TenantStore,
)
from sandlot_engine.store.sqlite import SqliteStore
from tests.fakes.events import MemoryEvents
from tests.fakes.records import MemoryRecords


def bytes_in(folder: Path) -> bytes:
    """Of all its files, one after another."""
    return b"".join(file.read_bytes() for file in folder.iterdir())


class MemoryStore(MemoryEvents, MemoryRecords):
    """All ports, nothing on disk."""

    def __init__(self) -> None:
        MemoryEvents.__init__(self)
        MemoryRecords.__init__(self)
        self.keep_records(lambda record: self.append(record, ()))
        self._functions: dict[tuple[str, str, str], Function] = {}
        self._published: dict[tuple[str, str], int] = {}
        self._documents: dict[tuple[str, str, str, str], Document] = {}
        self._tenants: dict[str, Tenant] = {}
        self._keys: dict[str, tuple[AccessKey, bytes]] = {}
        self._answers: list[KeptAnswer] = []
        """The oldest first."""

    async def create_function(self, function: Function) -> None:
        key = function.tenant_id, function.name, function.version
        if key in self._functions:
            raise AlreadyExists(f"Function already exist: {function.name}")
        self._functions[key] = function
        if function.version != LATEST:
            last = await self.last_version(function.tenant_id, function.name)
            self._published[function.tenant_id, function.name] = max(
                last, int(function.version)
            )

    async def put_function(self, function: Function, *, expected: str) -> None:
        key = function.tenant_id, function.name, function.version
        now = self._functions.get(key)
        if now is None:
            raise NotFound(f"Function not found: {function.name}")
        if now.revision_id != expected:
            raise Conflict(f"Function {function.name} has changed")
        self._functions[key] = function

    async def get_function(
        self, tenant_id: str, name: str, version: str = LATEST
    ) -> Function | None:
        return self._functions.get((tenant_id, name, version))

    async def all_functions(self) -> list[Function]:
        return [function for _, function in sorted(self._functions.items())]

    async def delete_function(
        self, tenant_id: str, name: str, *, kinds: tuple[str, ...] = ()
    ) -> bool:
        found = [key for key in self._functions if key[:2] == (tenant_id, name)]
        for key in found:
            del self._functions[key]
        for kind in kinds:
            await self.delete_documents(tenant_id, kind, name)
        self._answers = [
            each
            for each in self._answers
            if (each.tenant_id, each.function) != (tenant_id, name)
        ]
        return bool(found)

    async def delete_version(self, tenant_id: str, name: str, version: str) -> bool:
        return self._functions.pop((tenant_id, name, version), None) is not None

    async def last_version(self, tenant_id: str, name: str) -> int:
        return self._published.get((tenant_id, name), 0)

    async def code_in_use(self, sha256: str) -> bool:
        return any(sha256 in function.hashes for function in self._functions.values())

    async def put_document(self, document: Document) -> None:
        self._documents[
            document.tenant_id, document.kind, document.owner, document.key
        ] = document

    async def delete_document(
        self, tenant_id: str, kind: str, owner: str, key: str
    ) -> bool:
        return self._documents.pop((tenant_id, kind, owner, key), None) is not None

    async def delete_documents(self, tenant_id: str, kind: str, owner: str) -> int:
        prefix = tenant_id, kind, owner
        found = [key for key in self._documents if key[:3] == prefix]
        for key in found:
            del self._documents[key]
        return len(found)

    async def all_documents(self, kind: str) -> list[Document]:
        found = sorted(self._documents.items())
        return [document for _, document in found if document.kind == kind]

    async def create_tenant(self, tenant: Tenant) -> None:
        if tenant.id in self._tenants:
            raise AlreadyExists(f"There is a tenant {tenant.id} already.")
        self._tenants[tenant.id] = tenant

    async def put_tenant(self, tenant: Tenant) -> None:
        if tenant.id not in self._tenants:
            raise NotFound(f"There is no tenant {tenant.id}.")
        self._tenants[tenant.id] = tenant

    async def list_tenants(self, *, after: str, limit: int) -> list[Tenant]:
        return [self._tenants[id_] for id_ in sorted(self._tenants) if id_ > after][
            :limit
        ]

    async def delete_tenant(self, tenant_id: str) -> bool:
        if any(owner == tenant_id for owner, _, _ in self._functions):
            raise Conflict(f"Tenant {tenant_id} still has functions.")
        for key, _ in list(self._keys.values()):
            if key.tenant_id == tenant_id:
                del self._keys[key.id]
        for document in [key for key in self._documents if key[0] == tenant_id]:
            del self._documents[document]
        self._answers = [e for e in self._answers if e.tenant_id != tenant_id]
        self.forget_logs(tenant_id)
        self.forget_events(tenant_id)
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

    async def sealed_secrets(self, *, limit: int) -> list[tuple[str, bytes]]:
        found = [(id_, sealed) for id_, (_, sealed) in sorted(self._keys.items())]
        return found[:limit]

    async def find_answer(
        self, tenant_id: str, function: str, key: bytes
    ) -> KeptAnswer | None:
        wanted = tenant_id, function, key
        return next((each for each in self._answers if _name(each) == wanted), None)

    async def keep_answer(
        self, answer: KeptAnswer, *, since: datetime, bounds: AnswerBounds
    ) -> int:
        kept = [
            each
            for each in self._answers
            if each.time >= since and _name(each) != _name(answer)
        ]
        self._answers = [*kept, answer]
        before = len(self._answers)
        while _is_over(self._of(answer.tenant_id), bounds):
            self._drop_of(answer.tenant_id, bounds)
        while _bytes(self._answers) > bounds.all_bytes:
            tenants = {each.tenant_id for each in self._answers}
            largest = max(tenants, key=lambda tenant: _bytes(self._of(tenant)))
            self._drop_of(largest, bounds)
        return before - len(self._answers)

    def _drop_of(self, tenant_id: str, bounds: AnswerBounds) -> None:
        """The oldest of the function that has the most."""
        functions: dict[str, list[KeptAnswer]] = {}
        for each in self._of(tenant_id):
            functions.setdefault(each.function, []).append(each)
        of_one = max(
            functions.values(),
            key=lambda all_: len(all_) * bounds.bytes + _bytes(all_) * bounds.answers,
        )
        self._answers = [each for each in self._answers if each is not of_one[0]]

    def _of(self, tenant_id: str) -> list[KeptAnswer]:
        return [each for each in self._answers if each.tenant_id == tenant_id]


def _name(answer: KeptAnswer) -> tuple[str, str, bytes]:
    return answer.tenant_id, answer.function, answer.key


def _bytes(answers: Sequence[KeptAnswer]) -> int:
    return sum(len(each.body) for each in answers)


def _is_over(answers: Sequence[KeptAnswer], bounds: AnswerBounds) -> bool:
    return len(answers) > bounds.answers or _bytes(answers) > bounds.bytes


class Store(
    FunctionStore,
    DocumentStore,
    TenantStore,
    RecordStore,
    AnswerStore,
    EventStore,
    Protocol,
):
    """All ports."""


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
