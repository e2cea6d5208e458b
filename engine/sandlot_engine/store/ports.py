"""What the engine needs kept, and what it may rely on.

Both the embedded adapter (`sqlite/`) and its fake pass `tests/contracts`. All
calls are coroutines and are safe to make from many tasks at once. A method that
changes something returns when the change would survive `kill -9`, except
`RecordStore.append`, which promises at most the last flush interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sandlot_engine.model.function import LATEST, Function
from sandlot_engine.model.invocation import BillLine, LogLine, Record
from sandlot_engine.model.tenant import AccessKey, Tenant


class Damage(Protocol):
    """What was kept and cannot be read: it is as if it were not there, but that its
    place is taken, and all else goes on."""

    damaged: int
    """How often something was not to be read, since the start."""

    def note_damaged(self, what: str, why: Exception) -> None:
        """Count it, and tell the operator."""
        ...


class FunctionStore(Damage, Protocol):
    """Versions of functions by tenant, name and version."""

    async def create_function(self, function: Function) -> None:
        """Raise `AlreadyExists` if there is that version. A number becomes the last
        one that was published, if it is higher."""
        ...

    async def put_function(self, function: Function, *, expected: str) -> None:
        """Replace a version. Raise `Conflict` unless its revision id is still
        `expected`, `NotFound` if it is gone."""
        ...

    async def get_function(
        self, tenant_id: str, name: str, version: str = LATEST
    ) -> Function | None: ...

    async def all_functions(self) -> list[Function]:
        """Every version of every tenant's, for the start of an engine."""
        ...

    async def delete_function(
        self, tenant_id: str, name: str, *, kinds: tuple[str, ...] = ()
    ) -> bool:
        """All its versions, and the documents of those kinds that it owns, at once;
        whether there was one."""
        ...

    async def delete_version(self, tenant_id: str, name: str, version: str) -> bool:
        """Whether there was one."""
        ...

    async def last_version(self, tenant_id: str, name: str) -> int:
        """The last number that was published, also if its function is gone; or 0."""
        ...

    async def code_in_use(self, sha256: str) -> bool:
        """Whether a version of any tenant's needs that on disk: as its code, a layer,
        or layers merged (`Function.hashes`)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A small thing that a tenant has, and what it belongs to."""

    tenant_id: str
    kind: str
    owner: str
    """A function's name, or what else it goes with; empty where it stands alone."""

    key: str
    """Names it among those of its owner; empty where there is one at most."""

    body: bytes


class DocumentStore(Damage, Protocol):
    """Small things, which nobody searches: those who keep them have all in memory."""

    async def put_document(self, document: Document) -> None:
        """Add it, or replace what has the same kind, owner and key."""
        ...

    async def delete_document(
        self, tenant_id: str, kind: str, owner: str, key: str
    ) -> bool:
        """Whether there was one."""
        ...

    async def delete_documents(self, tenant_id: str, kind: str, owner: str) -> int:
        """All of an owner; how many there were."""
        ...

    async def all_documents(self, kind: str) -> list[Document]:
        """Every tenant's, for the start of an engine."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """What a repeat of an invocation is answered with."""

    tenant_id: str
    function: str
    key: bytes
    """32 bytes: a hash of the idempotency key, whose it is, and the qualifier."""

    request: bytes
    """32 bytes: a hash of what a repeat has to be the same in."""

    time: datetime
    """UTC, when it was given."""

    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerBounds:
    """How many answers are kept, and how large they may be together."""

    answers: int
    """Of one tenant."""

    bytes: int
    """Of one tenant."""

    all_bytes: int
    """Of all tenants."""


class AnswerStore(Protocol):
    """First answers to invocations with an idempotency key. They go with their
    function, and with their tenant."""

    async def find_answer(
        self, tenant_id: str, function: str, key: bytes
    ) -> KeptAnswer | None:
        """However old it is."""
        ...

    async def keep_answer(
        self, answer: KeptAnswer, *, since: datetime, bounds: AnswerBounds
    ) -> int:
        """Add it, or replace what has the same key.

        All that are older than `since` are deleted. Then the tenant's oldest are until
        it is within its bounds, and after that the oldest of those who have the most;
        how many went in these two ways.
        """
        ...


class CatalogStore(FunctionStore, DocumentStore, Protocol):
    """What functions need: themselves, and what belongs to them."""


class TenantStore(Protocol):
    """Tenants and their keys. Secrets arrive sealed (`catalog/seal.py`)."""

    async def create_tenant(self, tenant: Tenant) -> None:
        """Raise `AlreadyExists` if the id is taken."""
        ...

    async def put_tenant(self, tenant: Tenant) -> None:
        """Raise `NotFound` if there is none of that id."""
        ...

    async def list_tenants(self, *, after: str, limit: int) -> list[Tenant]: ...

    async def delete_tenant(self, tenant_id: str) -> bool:
        """Delete it, with its keys, documents and logs. Raise `Conflict` while it has
        functions."""
        ...

    async def create_key(self, key: AccessKey, sealed_secret: bytes) -> None:
        """Raise `AlreadyExists` if the id is taken, by whomever."""
        ...

    async def get_key(self, access_key_id: str) -> tuple[AccessKey, bytes] | None:
        """The key and its sealed secret."""
        ...

    async def list_keys(
        self, tenant_id: str, *, after: str, limit: int
    ) -> list[AccessKey]: ...

    async def delete_key(self, access_key_id: str) -> bool: ...

    async def sealed_secrets(self, *, limit: int) -> list[tuple[str, bytes]]:
        """Ids of some keys, of anybody, and their sealed secrets."""
        ...


class RecordStore(Protocol):
    """What happened, written behind the replies: records, the ledger, logs."""

    def append(self, record: Record, log: Sequence[LogLine]) -> None:
        """Take a record and its log; they are on disk one flush interval later.

        Never waits. Over `MAX_BEHIND` records not yet written the *log* is
        dropped, and counted; a record never is.
        """
        ...

    def check_writing(self) -> None:
        """Raise `Unavailable` while what was appended cannot be written: there would be
        more and more of it, and none left if the engine ended."""
        ...

    def append_log(self, tenant_id: str, function: str, log: Sequence[LogLine]) -> None:
        """Log lines that belong to no invocation: what an import printed."""
        ...

    async def flush(self) -> None:
        """Return when all that was appended before is on disk."""
        ...

    async def list_records(
        self, tenant_id: str, function: str, *, before: int, limit: int
    ) -> list[tuple[int, Record]]:
        """Newest first, as (position, record), below position `before` (0: all)."""
        ...

    async def list_log(
        self,
        tenant_id: str,
        function: str,
        *,
        since: datetime | None,
        after: int,
        limit: int,
    ) -> list[tuple[int, LogLine]]:
        """Oldest first, as (position, line), above position `after`."""
        ...

    async def wait_for_log(self, tenant_id: str, function: str, *, after: int) -> None:
        """Return when there may be lines above position `after`."""
        ...

    async def bill(
        self, tenant_id: str, *, since: datetime, until: datetime
    ) -> list[BillLine]:
        """Sums by function over `[since, until)`: exact, unflushed records too."""
        ...
