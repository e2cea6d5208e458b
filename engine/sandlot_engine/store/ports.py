"""What the engine needs kept, and what it may rely on.

Both the embedded adapter (`sqlite.py`) and its fake pass `tests/contracts`. All
calls are coroutines and are safe to make from many tasks at once. A method that
changes something returns when the change would survive `kill -9`, except
`RecordStore.append`, which promises at most the last flush interval.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sandlot_engine.model.function import Function
from sandlot_engine.model.invocation import BillLine, LogLine, Record
from sandlot_engine.model.tenant import AccessKey, Tenant


class FunctionStore(Protocol):
    """Functions by tenant and name."""

    async def create_function(self, function: Function) -> None:
        """Raise `AlreadyExists` if the tenant has one of that name."""
        ...

    async def put_function(self, function: Function, *, expected: str) -> None:
        """Replace it. Raise `Conflict` unless its newest revision's id is still
        `expected`, `NotFound` if it is gone."""
        ...

    async def get_function(self, tenant_id: str, name: str) -> Function | None: ...

    async def list_functions(
        self, tenant_id: str, *, after: str, limit: int
    ) -> list[Function]:
        """Functions whose name is greater than `after`, by name."""
        ...

    async def all_functions(self) -> list[Function]:
        """Every tenant's, for the start of an engine."""
        ...

    async def delete_function(self, tenant_id: str, name: str) -> bool:
        """Whether there was one."""
        ...

    async def code_in_use(self, sha256: str) -> bool:
        """Whether a function of any tenant still refers to a package."""
        ...


class TenantStore(Protocol):
    """Tenants and their keys. Secrets arrive sealed (`catalog/seal.py`)."""

    async def create_tenant(self, tenant: Tenant) -> None:
        """Raise `AlreadyExists` if the id is taken."""
        ...

    async def put_tenant(self, tenant: Tenant) -> None:
        """Raise `NotFound` if there is none of that id."""
        ...

    async def get_tenant(self, tenant_id: str) -> Tenant | None: ...

    async def list_tenants(self, *, after: str, limit: int) -> list[Tenant]: ...

    async def delete_tenant(self, tenant_id: str) -> bool:
        """And its keys. Raise `Conflict` while it has functions."""
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


class RecordStore(Protocol):
    """What happened, written behind the replies: records, the ledger, logs."""

    def append(self, record: Record, log: Sequence[LogLine]) -> None:
        """Take a record and its log; they are on disk one flush interval later.

        Never waits. Over `MAX_BEHIND` records not yet written the *log* is
        dropped, and counted; a record never is.
        """
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
