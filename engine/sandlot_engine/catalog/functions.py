"""The functions of all tenants: made, changed, made ready, found and deleted.

Every change makes a new revision, which a task of ours makes ready: its code is
unpacked and its zygote started. Until then the old revision serves; then they
change places, and the old one is retired (`life.py` draws it). A handler that cannot
be imported is the tenant's own affair and shows in its invocations; here it counts
as ready.

All functions are in memory as well, so that the hot path asks no store. A change
goes to the store first and into memory after; changes of one tenant take turns.
"""

import asyncio
import logging
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sandlot_engine.catalog import life
from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.life import Prepared
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
from sandlot_engine.model.network import Network
from sandlot_engine.store.ports import FunctionStore

__all__ = [
    "Functions",
    "GrantNetwork",
    "Prepare",
    "Prepared",
    "Quota",
    "Retire",
]

DEFAULT_PAGE, MAX_PAGE = 50, 1_000
"""Functions in one page of a list."""

MAX_PREPARING = 8
"""Revisions that are made ready at once; the others wait."""

MAX_PREPARING_OF_TENANT = 2
"""Of those, one tenant's: an import may take as long as its tenant likes."""

PREPARE_TIMEOUT_S = 120.0
"""For unpacking and starting a zygote, once it is a revision's turn."""

_NOT_NOW = "The operation cannot be performed at this time. "

_log = logging.getLogger(__name__)


Prepare = Callable[[Function, Revision, Path], Awaitable[Prepared]]
"""Start the zygote of a revision, its code at a path. Raises `Refusal` or `Fault`
where that is impossible; a failing import is no reason to."""

Retire = Callable[[str, str, str], Awaitable[None]]
"""Stop all that runs of a revision: tenant id, function, revision id. Returns when
nothing runs of it any more, because its files go next. It need not have been
prepared."""

GrantNetwork = Callable[[str, Network], object]
"""Raises `PermissionDenied` where functions of a tenant, by its id, may not have a
network: `Tenants.grant_network`."""


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
        grant_network: GrantNetwork,
        region: str = "us-east-1",
        quota: Quota | None = None,
    ) -> None:
        self._store = store
        self._codes = codes
        self._clock = clock
        self._runtimes = runtimes
        self._prepare = prepare
        self._retire = retire
        self._grant_network = grant_network
        self._region = region
        self._quota = quota or Quota()
        self._by_tenant: dict[str, dict[str, Function]] = {}
        self._keeper = Keeper()
        self._turns = KeyedLocks()
        """By tenant: whose turn it is to change something."""
        self._uploads = KeyedLocks()
        """By tenant: whose turn it is to have a package built."""
        self._room = asyncio.Semaphore(MAX_PREPARING)
        self._shares: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MAX_PREPARING_OF_TENANT)
        )
        self._preparing: dict[str, asyncio.Task[None]] = {}
        """By revision id."""
        self._held: Counter[str] = Counter()
        """Packages, by hash, of calls that have not stored their function yet, and of
        revisions that are being retired."""

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
            {sha256 for function in functions for sha256 in life.code_sizes(function)}
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
        return await self._codes.unpacked(revision.code, revision.config.runtime)

    async def create(
        self,
        tenant_id: str,
        name: str,
        config: FunctionConfig,
        zip: bytes,  # noqa: A002 -- as callers say it
    ) -> Function:
        """Store a new function and begin to make it ready.

        Raises `InvalidParameter`, `TooLarge`, `AlreadyExists`, `QuotaExceeded`, and
        `PermissionDenied` for a network that the tenant may not have.
        """
        check_name(name)
        self._check_config(tenant_id, config)
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

    async def renew(self, tenant_id: str) -> None:
        """Let nothing go on under a network policy of the tenant that has changed.

        Its functions that have a network get new revisions, whose instances start
        under the policy as it is now, or not at all. The old ones get no more
        invocations; those that run may finish, within their timeouts.
        """
        await self._keeper.whole(self._renew(tenant_id))

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

    def count_by_network(self, network: Network) -> Mapping[str, int]:
        """How many functions with that network each tenant has that has any."""
        counts = {
            tenant_id: sum(
                function.current.config.network is network
                for function in functions.values()
            )
            for tenant_id, functions in self._by_tenant.items()
        }
        return {tenant_id: count for tenant_id, count in counts.items() if count}

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
        arrived = self._arrived(tenant_id, zip_bytes, config.runtime)
        async with arrived as code, self._turns.hold(tenant_id):
            self._check_name_is_free(tenant_id, name)
            self._check_quota(tenant_id, code, new_functions=1)
            revision = life.new_revision(code, config)
            function = life.created(tenant_id, name, revision, now=self._clock.now())
            await self._store.create_function(function)
            self._keep(function)
            self._make_pending_ready(function)
            return function

    async def _update_code(
        self, tenant_id: str, name: str, zip_bytes: bytes, revision_id: str
    ) -> Function:
        runtime = self._find(tenant_id, name).current.config.runtime
        arrived = self._arrived(tenant_id, zip_bytes, runtime)
        async with arrived as code, self._turns.hold(tenant_id):
            function = self._find(tenant_id, name)
            self._check_can_change(function, revision_id)
            self._check_quota(tenant_id, code, new_functions=0)
            self._grant_network(tenant_id, function.current.config.network)
            return await self._begin_update(
                function, life.new_revision(code, function.current.config)
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
            config = life.changed_config(function.current.config, changes)
            self._check_config(tenant_id, config)
            return await self._begin_update(
                function, life.new_revision(function.current.code, config)
            )

    async def _begin_update(self, function: Function, revision: Revision) -> Function:
        changed = life.updating(function, revision, now=self._clock.now())
        await self._store.put_function(changed, expected=function.current.id)
        self._keep(changed)
        self._make_pending_ready(changed)
        return changed

    async def _renew(self, tenant_id: str) -> None:
        async with self._turns.hold(tenant_id):
            for function in list(self._by_tenant.get(tenant_id, {}).values()):
                renewed = life.renewed(function)
                if renewed != function:
                    await self._store.put_function(
                        renewed, expected=function.current.id
                    )
                    self._keep(renewed)
                    if (
                        renewed.pending is not function.pending
                        and renewed.state is not FunctionState.FAILED
                    ):
                        self._make_pending_ready(renewed)
                    self._keeper.aside(self._retire_all(function, but=renewed))

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
                    # Again: it may have waited, also for an engine that stopped.
                    self._grant_network(function.tenant_id, revision.config.network)
                    path = await self.code_path(revision)
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
                return  # deleted or replaced in the meantime, and retired by that
            settled = life.settled(now, revision, result)
            await self._store.put_function(settled, expected=revision.id)
            self._keep(settled)
        # What could not be made ready may have got as far as a zygote.
        given_up = revision if isinstance(result, SandlotError) else now.serving
        if given_up is not None:
            self._keeper.aside(self._retire_revision(now, given_up))

    async def _retire_all(
        self, function: Function, *, but: Function | None = None
    ) -> None:
        """Retire all revisions of a function that was deleted, or became `but`."""
        kept = life.revisions(but) if but is not None else ()
        for revision in life.revisions(function):
            if revision not in kept:
                await self._stop_preparing(revision)
                await self._retire_revision(function, revision)

    async def _stop_preparing(self, revision: Revision) -> None:
        if task := self._preparing.get(revision.id):
            task.cancel()
            await asyncio.wait({task})

    async def _retire_revision(self, function: Function, revision: Revision) -> None:
        try:
            # Until it has gone its files are mounted, also if its function has gone.
            with self._holding(revision.code.sha256):
                await self._retire(function.tenant_id, function.name, revision.id)
            await self._discard_unused(revision.code)
        except SandlotError as error:
            # The function is gone or changed all the same. Its files stay, since
            # something may still have them mounted; the next start removes them.
            _log.error("not retired: %s", error.message, extra=_ids(function))

    # --- packages ---------------------------------------------------------------

    @asynccontextmanager
    async def _arrived(
        self, tenant_id: str, zip_bytes: bytes, runtime: str
    ) -> AsyncIterator[Code]:
        """Check and keep a package. If no function has it afterwards, it goes."""
        sha256 = await self._codes.hash(zip_bytes)
        # Said before it is on disk: another function with the same package may be
        # deleted at any moment, and must leave it to us.
        code = None
        try:
            with self._holding(sha256):
                # Few are built at once: each tenant has no more than one among them.
                async with self._uploads.hold(tenant_id):
                    code = await self._codes.put(zip_bytes, runtime)
                yield code
        finally:
            if code is not None:
                await self._discard_unused(code)

    @contextmanager
    def _holding(self, sha256: str) -> Iterator[None]:
        """Keep a package, whether a function has it or not."""
        self._held[sha256] += 1
        try:
            yield
        finally:
            self._held[sha256] -= 1
            if not self._held[sha256]:
                del self._held[sha256]

    async def _discard_unused(self, code: Code) -> None:
        in_use = await self._store.code_in_use(code.sha256)
        # Asked last: it may have begun to arrive while the store looked.
        if not in_use and code.sha256 not in self._held:
            await self._codes.discard(code)

    # --- checks and memory --------------------------------------------------------

    def _keep(self, function: Function) -> None:
        self._by_tenant.setdefault(function.tenant_id, {})[function.name] = function

    def _find(self, tenant_id: str, name: str) -> Function:
        function = self._by_tenant.get(tenant_id, {}).get(name)
        if function is None:
            raise self._not_found(tenant_id, name, "")
        return function

    def _check_config(self, tenant_id: str, config: FunctionConfig) -> None:
        check_config(config, self._runtimes())
        self._grant_network(tenant_id, config.network)

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
            sizes |= life.code_sizes(function)
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


def _wrong_state(function: Function) -> Conflict:
    message = (
        f"{_NOT_NOW}The function is currently in the following state: {function.state}"
    )
    if function.state is FunctionState.FAILED:
        message += f". {function.state_reason} Delete the function and create it again."
    return Conflict(message, reason="ResourceConflict")


def _ids(function: Function) -> dict[str, str]:
    return {"tenant_id": function.tenant_id, "function": function.name}
