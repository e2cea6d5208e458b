"""The functions of all tenants: made, changed, published, found and deleted.

Every change makes a new revision, which `preparing` makes ready: its code is
unpacked and its zygote started. Until then the old revision serves; then they
change places, and the old one is retired (`life.py` draws it). A handler that cannot
be imported is the tenant's own affair and shows in its invocations; here it counts
as ready.

All functions are in memory as well (`versions.py`), so that the hot path asks no store.
Here is what callers ask for, and what can be refused at once; what a change then does,
when it is its tenant's turn, is in `changing.py` and `deleting.py`.
"""

import random
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
)
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sandlot_engine.catalog import life
from sandlot_engine.catalog.aliases import Aliases
from sandlot_engine.catalog.changing import Changing, NoteChange
from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.catalog.deleting import Deleting
from sandlot_engine.catalog.finding import Finding
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.layers import Layers
from sandlot_engine.catalog.life import Prepared
from sandlot_engine.catalog.on_disk import OnDisk
from sandlot_engine.catalog.ports import CheckCode, Node, Rights
from sandlot_engine.catalog.preparing import Preparing
from sandlot_engine.catalog.quotas import Quota, Quotas
from sandlot_engine.catalog.retiring import Retiring
from sandlot_engine.catalog.settings import Settings, checked_tags
from sandlot_engine.catalog.turns import Turns
from sandlot_engine.catalog.uploads import Uploads
from sandlot_engine.catalog.validation import check_kind, check_name
from sandlot_engine.catalog.versions import Versions, name_in, page_of_versions
from sandlot_engine.clock import Clock
from sandlot_engine.model.function import (
    LATEST,
    Alias,
    Function,
    FunctionConfig,
    FunctionState,
    ImageSource,
    Revision,
)
from sandlot_engine.model.network import Network
from sandlot_engine.model.settings import FunctionSettings, RecursiveLoop
from sandlot_engine.model.target import SERVICES
from sandlot_engine.store.ports import CatalogStore

T = TypeVar("T")


class Functions:
    """The catalog; an async context manager. Entering loads and resumes.

    `belongings` are what others keep of functions, by the function's name and a
    qualifier: they are loaded with them, and go with them. So is what they keep of
    tenants, `of_tenants`, which goes with its tenant.
    `note_tenant` is told whose things of any kind have changed, functions aside.
    `provisioned` is how many instances a function has asked to be started ahead.
    `endpoints` are the services that can be told of events, functions aside.
    """

    def __init__(
        self,
        store: CatalogStore,
        codes: CodeStore,
        *,
        clock: Clock,
        runtimes: Callable[[], Collection[str]],
        node: Node,
        tenants: Rights,
        note_change: NoteChange = lambda *_: None,
        note_tenant: Callable[[str], object] = lambda _: None,
        check_code: CheckCode = lambda *_: None,
        provisioned: Callable[[str, str], int] = lambda *_: 0,
        region: str = "us-east-1",
        endpoints: Collection[str] = SERVICES,
        quota: Quota | None = None,
        belongings: Iterable[Kept[Any]] = (),
        of_tenants: Iterable[Kept[Any]] = (),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._codes = codes
        self._check_code = check_code
        self.endpoints = endpoints
        self.quota = quota or Quota()
        self._keeper = Keeper()
        self._turns = Turns(self._keeper)
        """By tenant: whose turn it is to change something."""

        on_disk = OnDisk()
        self._versions = Versions(region, on_disk)
        self._uploads = Uploads(
            store,
            codes,
            keeper=self._keeper,
            kept_elsewhere=lambda: self.layers.hashes,
        )
        self._quotas = Quotas(self.quota, self._versions, on_disk)
        self._preparing = Preparing(
            self._keeper,
            code_path=lambda function, revision: self._uploads.in_turn(
                function.tenant_id, lambda: self.code_path(revision)
            ),
            prepare=node.prepare,
            grant_network=tenants.grant_network,
            settle=lambda *settled: self._changing.settle(*settled),
        )
        self._retiring = Retiring(
            self._uploads, self._preparing, on_disk, retire=node.retire
        )
        belongings = tuple(belongings)
        self._of_tenants = tuple(of_tenants)
        aliases = Kept(store, "alias", Alias)
        settings = Kept(store, "settings", FunctionSettings)
        self._kept: tuple[Kept[Any], ...] = (aliases, settings, *belongings)
        for kept in (*self._kept, *self._of_tenants):
            kept.note_change = note_tenant
        self.aliases = Aliases(
            aliases,
            self._versions,
            turns=self._turns,
            belongings=belongings,
            note_change=note_change,
        )
        self.settings = Settings(
            settings,
            self._versions,
            turns=self._turns,
            concurrency=tenants.concurrency,
            provisioned=provisioned,
        )
        self.layers = Layers(
            store,
            self._uploads,
            turns=self._turns,
            keeper=self._keeper,
            clock=clock,
            runtimes=runtimes,
            check_room=self._quotas.check_room,
            on_disk=on_disk,
        )
        self._finding = Finding(self._versions, self.aliases, chance=chance)
        self._changing = Changing(
            store,
            self._versions,
            finding=self._finding,
            settings=self.settings,
            uploads=self._uploads,
            quotas=self._quotas,
            preparing=self._preparing,
            retiring=self._retiring,
            turns=self._turns,
            keeper=self._keeper,
            clock=clock,
            runtimes=runtimes,
            grant_network=tenants.grant_network,
            endpoints=endpoints,
            note_change=note_change,
        )
        self._deleting = Deleting(
            store,
            self._versions,
            finding=self._finding,
            aliases=self.aliases,
            settings=self.settings,
            turns=self._turns,
            kept=self._kept,
            belongings=belongings,
            note_change=note_change,
        )

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

        Versions that were being made ready are made ready again. Those that are
        ready are prepared by whoever uses them first: see `code_path`.
        """
        for kept in (*self._kept, *self._of_tenants):
            await kept.load()
        await self.layers.load()
        functions = await self._store.all_functions()
        # What cannot be read has packages as well, and nobody knows which.
        if not self._store.damaged:
            await self._uploads.keep_only(
                sha256 for function in functions for sha256 in function.hashes
            )
        for function in functions:
            self._versions.keep(function)
            if function.state is not FunctionState.FAILED:
                self._preparing.begin(function)
        self.settings.load(self._versions.tenants())

    # --- found --------------------------------------------------------------------

    def resolve(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        """The version to invoke: it has a serving revision. Never waits.

        An alias between two versions leads to either, anew with each call. Raises
        `NotFound`, or `Conflict` while it is first being made ready or after that
        has failed.
        """
        return self._finding.resolve(tenant_id, name, qualifier)

    def reserved(self, tenant_id: str) -> Mapping[str, int]:
        """What is reserved for which of a tenant's functions. Never waits."""
        return self.settings.reserved(tenant_id)

    def may_recurse(self, tenant_id: str, name: str) -> bool:
        """See `invocation.invoker.Resolver`."""
        settings = self.settings.of(tenant_id, name)
        return settings.recursive_loop is RecursiveLoop.ALLOW

    async def code_path(self, revision: Revision) -> Path:
        """The folder with a revision's files, unpacked if it was not, as its layers
        are."""
        await self._codes.opt(revision.config)
        return await self._codes.unpacked(revision.code, revision.config.runtime)

    async def get(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        """A version by its number, or the one of an alias. Raises `NotFound`."""
        return self._finding.find(tenant_id, name, qualifier)

    def resume(self, tenant_id: str) -> None:
        """Make ready what had to wait while its tenant was suspended."""
        self._preparing.resume(tenant_id)

    async def forget(self, tenant_id: str) -> None:
        """Let go of what a tenant that was deleted had beside functions. Others'
        functions that have its layers keep them."""
        await self.layers.delete_all(tenant_id)
        for kept in self._of_tenants:
            for owner in list(kept.owners(tenant_id)):
                await kept.delete_all(tenant_id, owner)

    async def package(self, sha256: str) -> tuple[int, AsyncGenerator[bytes, None]]:
        """A function's or a layer's, by its hash: its size, and all of it in pieces.
        Raises `NotFound`."""
        return await self._codes.size_of(sha256), self._codes.pieces_of(sha256)

    def count(self, tenant_id: str) -> int:
        """How many functions a tenant has."""
        return self._versions.count(tenant_id)

    def count_all(self) -> int:
        """How many functions all tenants have."""
        return self._versions.count_all()

    def count_by_network(self, network: Network) -> Mapping[str, int]:
        """How many functions with that network, in any version, each tenant has that
        has any."""
        return self._versions.count_by_network(network)

    def count_by_runtime(self) -> Mapping[str, int]:
        """How many functions of all tenants use each runtime, in any version."""
        return self._versions.count_by_runtime()

    def code_bytes(self, tenant_id: str) -> int:
        """How many bytes a tenant's packages and layers take, zipped and unpacked."""
        return self._quotas.code_bytes(tenant_id)

    async def list_versions(
        self, tenant_id: str, name: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[Function], str]:
        """A page of a function's versions, `$LATEST` first, and the token of the next.

        Raises `NotFound`, and `InvalidParameter` for a negative page size.
        """
        self._finding.find(tenant_id, name)
        return page_of_versions(
            self._versions.of(tenant_id, name), page_size, page_token
        )

    # --- changed ------------------------------------------------------------------

    async def create(
        self,
        tenant_id: str,
        name: str,
        config: FunctionConfig,
        zip: bytes | ImageSource,  # noqa: A002 -- as callers say it
        *,
        publish: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> Function:
        """Store a new function and begin to make it ready. With `publish`, do the same
        with its first version, and return that.

        Raises `InvalidParameter`, `TooLarge`, `AlreadyExists`, `QuotaExceeded`, and
        `PermissionDenied` for a network that the tenant may not have.
        """
        check_name(name)
        check_kind(config, zip, is_new=True)
        self._changing.check_config(tenant_id, config)
        self._changing.check_dead_letter(tenant_id, config.dead_letter_arn)
        settings = FunctionSettings(tags=checked_tags(tags or {}))
        self._changing.check_name_is_free(tenant_id, name)
        # At once: a layer that was found a moment ago may be deleted in the next.
        async with self._uploads.kept(config.layer_hashes):
            return await self._keeper.whole(
                self._changing.create(
                    tenant_id, name, config, zip, settings, publish=publish
                )
            )

    async def update_code(
        self,
        tenant_id: str,
        name: str,
        zip: bytes | ImageSource,  # noqa: A002 -- as callers say it
        revision_id: str = "",
        *,
        publish: bool = False,
        dry_run: bool = False,
    ) -> Function:
        """Give a function new code; the old serves until the new is ready.

        With `publish`, a version of it is made ready at the same time, and returned.
        With `dry_run` nothing is changed, and what is returned only shows the code.

        Raises `InvalidParameter`, `TooLarge`, `NotFound`, `QuotaExceeded`, and
        `Conflict` where the function is not ready, is being changed, or is not at
        `revision_id` (if that is given) any more.
        """
        function = self._finding.find(tenant_id, name)
        self._changing.check_can_change(function, revision_id)
        check_kind(function.current.config, zip, is_new=False)
        self._check_code(tenant_id, name)
        return await self._keeper.whole(
            self._changing.update_code(
                tenant_id, name, zip, revision_id, publish=publish, dry_run=dry_run
            )
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
        function = self._finding.find(tenant_id, name)
        self._changing.check_can_change(function, revision_id)
        config = life.changed_config(function.current.config, changes)
        async with self._uploads.kept(config.layer_hashes):
            return await self._keeper.whole(
                self._changing.update_configuration(
                    tenant_id, name, changes, revision_id
                )
            )

    async def publish(
        self,
        tenant_id: str,
        name: str,
        *,
        code_sha256: str = "",
        description: str | None = None,
        revision_id: str = "",
    ) -> Function:
        """Make a version out of what `$LATEST` is now, and begin to make it ready.
        Where nothing has changed since the last one, return that.

        Raises `NotFound`, `QuotaExceeded`, `InvalidParameter` where the code's hash is
        not `code_sha256` (in base64, if it is given), and `Conflict` as `update_code`
        does.
        """
        return await self._keeper.whole(
            self._changing.publish(
                tenant_id, name, code_sha256, description, revision_id
            )
        )

    async def when_ready(self, function: Function, *, within_s: float) -> Function:
        """The same version as it is once it is ready, or has failed; after `within_s`
        as it is then. Raises `NotFound` where it was deleted meanwhile."""
        if function.pending is not None:
            await self._preparing.ended(function.pending, within_s=within_s)
        return self._finding.find(function.tenant_id, function.name, function.version)

    def note_learnt(
        self, function: Function, revision: Revision, found: Prepared
    ) -> None:
        """What the import of a revision that serves comes to is another than was found
        when it was made ready. Never waits; what cannot be written is logged."""
        self._keeper.aside(self._changing.note_learnt(function, revision, found))

    async def renew(self, tenant_id: str) -> None:
        """Let nothing go on under a network policy of the tenant that has changed.

        Its functions that have a network get new revisions, whose instances start
        under the policy as it is now, or not at all. The old ones get no more
        invocations; those that run may finish, within their timeouts.
        """
        await self._keeper.whole(self._changing.renew(tenant_id))

    async def delete(self, tenant_id: str, name: str) -> None:
        """Delete a function whatever its state: its versions, its aliases, all that
        belongs to it, and all that runs of it.

        Returns when all of that has stopped. Raises `NotFound`.
        """
        functions = await self._keeper.whole(self._deleting.function(tenant_id, name))
        await self._keeper.finish(self._retiring.all_of(functions))

    async def delete_version(self, tenant_id: str, name: str, version: str) -> None:
        """Delete one published version, and all that runs of it.

        Returns when all of that has stopped. Raises `NotFound`, `InvalidParameter` for
        what is no such version, and `Conflict` while an alias leads to it.
        """
        function = await self._keeper.whole(
            self._deleting.version(tenant_id, name, version)
        )
        await self._keeper.finish(self._retiring.all_of([function]))

    async def in_turn(
        self, tenant_id: str, change: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """Run `change`, of what belongs to a tenant's functions, when it is its turn;
        to its end, even if the caller is cancelled half-way.

        For whoever keeps `belongings`: of what is here, `change` may call what does not
        wait, and `touch`.
        """
        return await self._turns.whole(tenant_id, change)

    def find(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        """What `get` returns. Never waits."""
        return self._finding.find(tenant_id, name, qualifier)

    def arn(self, tenant_id: str, name: str, qualifier: str = "") -> str:
        return self._versions.arn(tenant_id, name, qualifier)

    def revision_id(self, tenant_id: str, name: str, qualifier: str = "") -> str:
        """The revision id of a version, or of an alias itself. Raises `NotFound`."""
        return self._finding.revision_id(tenant_id, name, qualifier)

    async def touch(self, tenant_id: str, name: str, qualifier: str = "") -> str:
        """Give a version, or an alias, a new revision id, within `in_turn`: something
        that counts as part of it is another now. Returns the id."""
        if alias := self.aliases.find(tenant_id, name, qualifier):
            return (await self.aliases.touch(alias)).revision_id
        function = self._finding.find(tenant_id, name, qualifier)
        return (await self._changing.touch(function)).revision_id

    # Last of those for others, because from here on `list` hides the builtin.
    async def list(
        self,
        tenant_id: str,
        page_size: int = 0,
        page_token: str = "",
        *,
        all_versions: bool = False,
    ) -> tuple[list[Function], str]:
        """A page by name, and the token of the next: empty after the last. With
        `all_versions`, published ones follow their function.

        Raises `InvalidParameter` for a negative page size.
        """
        found = self._versions.all(tenant_id, since=name_in(page_token))
        return page_of_versions(
            (each for each in found if all_versions or each.version == LATEST),
            page_size,
            page_token,
        )
