"""The functions of all tenants: made, changed, made ready, found and deleted.

    create ──► PENDING ──made ready──► ACTIVE ──update──► ACTIVE, InProgress ─┐
                  └──could not be──► FAILED     ▲        old revision serves │
                                                └──Successful or Failed──────┘

Every change makes a new revision, which a task of ours makes ready: its code is
unpacked and its zygote started. Until then the old revision serves; then they
change places, and the old one is retired. A handler that cannot be imported is
the tenant's own affair and shows in its invocations; here it counts as ready.

All functions are in memory as well, so that the hot path asks no store. A change
goes to the store first and into memory after; changes of one tenant take turns.
"""

import asyncio
import logging
import uuid
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.locks import KeyedLocks
from sandlot_engine.catalog.validation import check_config, check_name
from sandlot_engine.clock import Clock
from sandlot_engine.errors import (
    AlreadyExists,
    Conflict,
    Internal,
    InvalidParameter,
    NotFound,
    QuotaExceeded,
    SandlotError,
    Unavailable,
)
from sandlot_engine.model.function import (
    LATEST,
    Code,
    Function,
    FunctionConfig,
    FunctionState,
    Revision,
    UpdateStatus,
    function_arn,
)
from sandlot_engine.store.ports import FunctionStore

DEFAULT_PAGE, MAX_PAGE = 50, 1_000
"""Functions in one page of a list."""

MAX_PREPARING = 8
"""Revisions that are made ready at once; the others wait."""

MAX_PREPARING_OF_TENANT = 2
"""Of those, one tenant's: an import may take as long as its tenant likes."""

PREPARE_TIMEOUT_S = 120.0
"""For unpacking and starting a zygote, once it is a revision's turn."""

_BEING_CREATED = "The function is being created."
_NOT_NOW = "The operation cannot be performed at this time. "

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was learnt when a revision's zygote was started."""

    fork_safe: bool
    reason: str
    """Why it is not, in words a user can act on; empty where it is."""


Prepare = Callable[[Function, Revision, Path], Awaitable[Prepared]]
"""Start the zygote of a revision, its code at a path. Raises `Refusal` or `Fault`
where that is impossible; a failing import is no reason to."""

Retire = Callable[[str, str, str], Awaitable[None]]
"""Stop all that runs of a revision: tenant id, function, revision id. Returns when
nothing runs of it any more, because its files go next. It need not have been
prepared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one tenant may have."""

    functions: int = 1_000
    """MAX_FUNCTIONS_PER_TENANT."""

    code_bytes: int = 20 * 2**30
    """Zipped and unpacked, each package once."""


class Functions:
    """The catalog; an async context manager. Entering loads and resumes."""

    def __init__(
        self,
        store: FunctionStore,
        codes: CodeStore,
        *,
        clock: Clock,
        runtimes: Callable[[], Collection[str]],
        prepare: Prepare,
        retire: Retire,
        region: str = "us-east-1",
        quota: Quota | None = None,
    ) -> None:
        self._store = store
        self._codes = codes
        self._clock = clock
        self._runtimes = runtimes
        self._prepare = prepare
        self._retire = retire
        self._region = region
        self._quota = quota or Quota()
        self._by_tenant: dict[str, dict[str, Function]] = {}
        self._keeper = Keeper()
        self._turns = KeyedLocks()
        """By tenant: whose turn it is to change something."""
        self._room = asyncio.Semaphore(MAX_PREPARING)
        self._shares: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MAX_PREPARING_OF_TENANT)
        )
        self._preparing: dict[str, asyncio.Task[None]] = {}
        """By revision id."""
        self._arriving: Counter[str] = Counter()
        """Packages, by hash, of calls that have not stored their function yet."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._keeper.__aexit__(kind, error, traceback)

    async def start(self) -> None:
        """Load all functions, and go on where an engine that stopped left off.

        Functions that were being made ready are made ready again. Those that are
        ready are prepared by whoever uses them first: see `code_path`.
        """
        functions = await self._store.all_functions()
        await self._codes.keep_only(
            {sha256 for function in functions for sha256 in _codes_of(function)}
        )
        for function in functions:
            self._keep(function)
            if function.state is not FunctionState.FAILED:
                self._make_pending_ready(function)

    def resolve(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        """The function to invoke: it has a serving revision. Never waits.

        Raises `NotFound`, or `Conflict` while it is first being made ready or
        after that has failed.
        """
        function = self._by_tenant.get(tenant_id, {}).get(name)
        if function is None or qualifier not in ("", LATEST):
            raise self._not_found(tenant_id, name, f":{qualifier or LATEST}")
        if function.serving is None:
            raise _wrong_state(function)
        return function

    async def code_path(self, revision: Revision) -> Path:
        """The folder with a revision's files, unpacked if it was not."""
        return await self._codes.unpacked(revision.code)

    async def create(
        self,
        tenant_id: str,
        name: str,
        config: FunctionConfig,
        zip: bytes,  # noqa: A002 -- as callers say it
    ) -> Function:
        """Store a new function and begin to make it ready.

        Raises `InvalidParameter`, `TooLarge`, `AlreadyExists`, `QuotaExceeded`.
        """
        check_name(name)
        check_config(config, self._runtimes())
        self._check_name_is_free(tenant_id, name)
        return await self._keeper.whole(self._create(tenant_id, name, config, zip))

    async def update_code(
        self,
        tenant_id: str,
        name: str,
        zip: bytes,  # noqa: A002 -- as callers say it
        revision_id: str = "",
    ) -> Function:
        """Give a function new code; the old serves until the new is ready.

        Raises `InvalidParameter`, `TooLarge`, `NotFound`, `QuotaExceeded`, and
        `Conflict` where the function is not ready, is being changed, or is not at
        `revision_id` (if that is given) any more.
        """
        self._check_can_change(self._find(tenant_id, name), revision_id)
        return await self._keeper.whole(
            self._update_code(tenant_id, name, zip, revision_id)
        )

    async def update_configuration(
        self,
        tenant_id: str,
        name: str,
        changes: Mapping[str, object],
        revision_id: str = "",
    ) -> Function:
        """Change the settings named in `changes` (fields of `FunctionConfig`).

        Raises as `update_code` does.
        """
        self._check_can_change(self._find(tenant_id, name), revision_id)
        return await self._keeper.whole(
            self._update_configuration(tenant_id, name, changes, revision_id)
        )

    async def get(self, tenant_id: str, name: str) -> Function:
        """Raises `NotFound`."""
        return self._find(tenant_id, name)

    async def delete(self, tenant_id: str, name: str) -> None:
        """Delete a function whatever its state, and all that runs of it.

        Returns when all of that has stopped. Raises `NotFound`.
        """
        function = await self._keeper.whole(self._delete(tenant_id, name))
        # Beside us: it may take as long as an invocation, and is not undone when
        # the caller hangs up.
        await asyncio.shield(self._keeper.aside(self._retire_all(function)))

    async def read_code(self, tenant_id: str, name: str) -> bytes:
        """The newest package, as it was uploaded. Raises `NotFound`."""
        return await self._codes.read(self._find(tenant_id, name).current.code)

    def count(self, tenant_id: str) -> int:
        """How many functions a tenant has."""
        return len(self._by_tenant.get(tenant_id, {}))

    # Last, because from here on the class's `list` hides the builtin.
    async def list(
        self, tenant_id: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[Function], str]:
        """A page by name, and the token of the next: empty after the last.

        Raises `InvalidParameter` for a negative page size.
        """
        if page_size < 0:
            raise InvalidParameter(
                f"page_size is {page_size}; it must be 0 to {MAX_PAGE}.",
                field="page_size",
            )
        size = min(page_size or DEFAULT_PAGE, MAX_PAGE)
        functions = self._by_tenant.get(tenant_id, {})
        names = sorted(functions)
        # The token is the last name shown: it stays right when functions come
        # and go between two pages.
        first = bisect_right(names, page_token)
        page = names[first : first + size]
        token = page[-1] if first + size < len(names) else ""
        return [functions[name] for name in page], token

    # --- the steps of a change ------------------------------------------------

    async def _create(
        self, tenant_id: str, name: str, config: FunctionConfig, zip_bytes: bytes
    ) -> Function:
        async with self._arrived(zip_bytes) as code, self._turns.hold(tenant_id):
            self._check_name_is_free(tenant_id, name)
            self._check_quota(tenant_id, code, new_functions=1)
            function = Function(
                tenant_id=tenant_id,
                name=name,
                serving=None,
                pending=_revision(code, config),
                state=FunctionState.PENDING,
                state_reason=_BEING_CREATED,
                last_modified=self._clock.now(),
            )
            await self._store.create_function(function)
            self._keep(function)
            self._make_pending_ready(function)
            return function

    async def _update_code(
        self, tenant_id: str, name: str, zip_bytes: bytes, revision_id: str
    ) -> Function:
        async with self._arrived(zip_bytes) as code, self._turns.hold(tenant_id):
            function = self._find(tenant_id, name)
            self._check_can_change(function, revision_id)
            self._check_quota(tenant_id, code, new_functions=0)
            return await self._begin_update(
                function, _revision(code, function.current.config)
            )

    async def _update_configuration(
        self,
        tenant_id: str,
        name: str,
        changes: Mapping[str, object],
        revision_id: str,
    ) -> Function:
        async with self._turns.hold(tenant_id):
            function = self._find(tenant_id, name)
            self._check_can_change(function, revision_id)
            config = _changed(function.current.config, changes)
            check_config(config, self._runtimes())
            return await self._begin_update(
                function, _revision(function.current.code, config)
            )

    async def _begin_update(self, function: Function, revision: Revision) -> Function:
        changed = replace(
            function,
            pending=revision,
            update_status=UpdateStatus.IN_PROGRESS,
            update_reason=_BEING_CREATED,  # AWS says so of updates too
            last_modified=self._clock.now(),
        )
        await self._store.put_function(changed, expected=function.current.id)
        self._keep(changed)
        self._make_pending_ready(changed)
        return changed

    async def _delete(self, tenant_id: str, name: str) -> Function:
        async with self._turns.hold(tenant_id):
            function = self._find(tenant_id, name)
            await self._store.delete_function(tenant_id, name)
            del self._by_tenant[tenant_id][name]
            if not self._by_tenant[tenant_id]:
                del self._by_tenant[tenant_id]
        return function

    # --- making ready -----------------------------------------------------------

    def _make_pending_ready(self, function: Function) -> None:
        revision = function.pending
        if revision is None:
            return
        task = self._keeper.aside(self._make_ready(function, revision))
        self._preparing[revision.id] = task
        task.add_done_callback(lambda _: self._preparing.pop(revision.id, None))

    async def _make_ready(self, function: Function, revision: Revision) -> None:
        try:
            prepared: Prepared | SandlotError = await self._prepared(function, revision)
        except SandlotError as error:
            prepared = error
        try:
            await self._keeper.whole(self._settle(function, revision, prepared))
        except SandlotError as error:
            # The store knows it as unsettled: the next start makes it ready again.
            _log.error(
                "function stays unsettled: %s", error.message, extra=_ids(function)
            )

    async def _prepared(self, function: Function, revision: Revision) -> Prepared:
        # The tenant's own share first: who waits for that holds nothing of others.
        async with self._shares[function.tenant_id], self._room:
            try:
                async with asyncio.timeout(PREPARE_TIMEOUT_S):
                    path = await self._codes.unpacked(revision.code)
                    return await self._prepare(function, revision, path)
            except SandlotError:
                raise
            except TimeoutError as error:
                raise Unavailable(
                    f"It was not ready after {PREPARE_TIMEOUT_S:.0f} s. Update the "
                    "function to try again, or delete and create it."
                ) from error
            except Exception as error:  # a bug must not leave it pending for ever
                _log.exception("function not prepared", extra=_ids(function))
                raise Internal(
                    "The engine failed to start it; the operator's log says why."
                ) from error

    async def _settle(
        self, function: Function, revision: Revision, result: Prepared | SandlotError
    ) -> None:
        """Let the revision serve, or say why it cannot."""
        async with self._turns.hold(function.tenant_id):
            now = self._by_tenant.get(function.tenant_id, {}).get(function.name)
            if now is None or now.pending is None or now.pending.id != revision.id:
                return  # deleted in the meantime, and retired by that
            settled = _settled(now, revision, result)
            await self._store.put_function(settled, expected=revision.id)
            self._keep(settled)
        if isinstance(result, SandlotError):
            await self._discard_unused(revision.code)
        elif now.serving is not None:
            self._keeper.aside(self._retire_revision(now, now.serving))

    async def _retire_all(self, function: Function) -> None:
        for revision in filter(None, (function.pending, function.serving)):
            await self._stop_preparing(revision)
            await self._retire_revision(function, revision)

    async def _stop_preparing(self, revision: Revision) -> None:
        if task := self._preparing.get(revision.id):
            task.cancel()
            await asyncio.wait({task})

    async def _retire_revision(self, function: Function, revision: Revision) -> None:
        try:
            await self._retire(function.tenant_id, function.name, revision.id)
            await self._discard_unused(revision.code)
        except SandlotError as error:
            # The function is gone or changed all the same. Its files stay, since
            # something may still have them mounted; the next start removes them.
            _log.error("not retired: %s", error.message, extra=_ids(function))

    # --- packages ---------------------------------------------------------------

    @asynccontextmanager
    async def _arrived(self, zip_bytes: bytes) -> AsyncIterator[Code]:
        """Check and keep a package. If no function has it afterwards, it goes."""
        sha256 = await self._codes.hash(zip_bytes)
        # Said before it is on disk: another function with the same package may be
        # deleted at any moment, and must leave it to us.
        self._arriving[sha256] += 1
        code = None
        try:
            code = await self._codes.put(zip_bytes)
            yield code
        finally:
            self._arriving[sha256] -= 1
            if not self._arriving[sha256]:
                del self._arriving[sha256]
            if code is not None:
                await self._discard_unused(code)

    async def _discard_unused(self, code: Code) -> None:
        in_use = await self._store.code_in_use(code.sha256)
        # Asked last: it may have begun to arrive while the store looked.
        if not in_use and code.sha256 not in self._arriving:
            await self._codes.discard(code)

    # --- checks and memory --------------------------------------------------------

    def _keep(self, function: Function) -> None:
        self._by_tenant.setdefault(function.tenant_id, {})[function.name] = function

    def _find(self, tenant_id: str, name: str) -> Function:
        function = self._by_tenant.get(tenant_id, {}).get(name)
        if function is None:
            raise self._not_found(tenant_id, name, "")
        return function

    def _check_name_is_free(self, tenant_id: str, name: str) -> None:
        if name in self._by_tenant.get(tenant_id, {}):
            raise AlreadyExists(f"Function already exist: {name}")

    def _check_can_change(self, function: Function, revision_id: str) -> None:
        if function.serving is None:
            raise _wrong_state(function)
        if function.update_status is UpdateStatus.IN_PROGRESS:
            arn = self._arn(function.tenant_id, function.name)
            raise Conflict(
                f"{_NOT_NOW}An update is in progress for resource: {arn}",
                reason="ResourceConflict",
            )
        if revision_id and revision_id != function.current.id:
            raise Conflict(
                "The Revision Id provided does not match the latest Revision Id. Call "
                "the GetFunction/GetAlias API to retrieve the latest Revision Id",
                reason="PreconditionFailed",
            )

    def _check_quota(self, tenant_id: str, code: Code, *, new_functions: int) -> None:
        functions = self._by_tenant.get(tenant_id, {})
        count = len(functions) + new_functions
        if count > self._quota.functions:
            raise QuotaExceeded(
                f"Tenant {tenant_id} has {len(functions)} functions of "
                f"{self._quota.functions} allowed. Delete one first.",
                limit=self._quota.functions,
            )
        sizes = {code.sha256: code.size + code.unpacked_size}
        for function in functions.values():
            sizes |= _codes_of(function)
        if (total := sum(sizes.values())) > self._quota.code_bytes:
            raise QuotaExceeded(
                f"Code storage limit exceeded: the packages of tenant {tenant_id} "
                f"would take {total} bytes, zipped and unpacked, of "
                f"{self._quota.code_bytes} allowed. Delete functions, or make their "
                "packages smaller.",
                reason="CodeStorageExceeded",
                limit=self._quota.code_bytes,
            )

    def _not_found(self, tenant_id: str, name: str, suffix: str) -> NotFound:
        arn = self._arn(tenant_id, name)
        return NotFound(
            f"Function not found: {arn}{suffix}", kind="function", name=name
        )

    def _arn(self, tenant_id: str, name: str) -> str:
        return function_arn(self._region, tenant_id, name)


def _revision(code: Code, config: FunctionConfig) -> Revision:
    return Revision(id=str(uuid.uuid4()), code=code, config=config)


def _changed(config: FunctionConfig, changes: Mapping[str, object]) -> FunctionConfig:
    if unknown := changes.keys() - {field.name for field in fields(FunctionConfig)}:
        raise InvalidParameter(
            f"A function has no setting {', '.join(sorted(unknown))}.",
            field=min(unknown),
        )
    values: dict[str, Any] = dict(changes)
    return replace(config, **values)


def _settled(
    function: Function, revision: Revision, result: Prepared | SandlotError
) -> Function:
    """The function with its pending revision in place, or given up."""
    if isinstance(result, Prepared):
        return replace(
            function,
            serving=revision,
            pending=None,
            state=FunctionState.ACTIVE,
            state_reason="",
            update_status=UpdateStatus.SUCCESSFUL,
            update_reason="",
            fork_safe=result.fork_safe,
            fork_safety_reason=result.reason,
        )
    if function.serving is None:
        return replace(
            function, state=FunctionState.FAILED, state_reason=result.message
        )
    return replace(
        function,
        pending=None,
        update_status=UpdateStatus.FAILED,
        update_reason=result.message,
    )


def _codes_of(function: Function) -> dict[str, int]:
    """Bytes by hash, zipped and unpacked."""
    return {
        revision.code.sha256: revision.code.size + revision.code.unpacked_size
        for revision in (function.serving, function.pending)
        if revision is not None
    }


def _wrong_state(function: Function) -> Conflict:
    message = (
        f"{_NOT_NOW}The function is currently in the following state: {function.state}"
    )
    if function.state is FunctionState.FAILED:
        message += f". {function.state_reason} Delete the function and create it again."
    return Conflict(message, reason="ResourceConflict")


def _ids(function: Function) -> dict[str, str]:
    return {"tenant_id": function.tenant_id, "function": function.name}
