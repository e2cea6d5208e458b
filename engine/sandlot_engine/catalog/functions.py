"""The functions of all tenants: made, changed, published, found and deleted.

Every change makes a new revision, which `preparing` makes ready: its code is
unpacked and its zygote started. Until then the old revision serves; then they
change places, and the old one is retired (`life.py` draws it). A handler that cannot
be imported is the tenant's own affair and shows in its invocations; here it counts
as ready.

All functions are in memory as well, so that the hot path asks no store. A change
goes to the store first and into memory after; changes of one tenant take turns.
"""

import logging
import random
from collections import Counter
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
)
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sandlot_engine.catalog import life
from sandlot_engine.catalog.aliases import Aliases, routed
from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.layers import Layers, check_unpacked_size
from sandlot_engine.catalog.life import Prepared
from sandlot_engine.catalog.locks import KeyedLocks
from sandlot_engine.catalog.pages import page_of
from sandlot_engine.catalog.preparing import GrantNetwork, Prepare, Preparing
from sandlot_engine.catalog.settings import Settings, checked_tags
from sandlot_engine.catalog.uploads import Uploads
from sandlot_engine.catalog.validation import check_config, check_kind, check_name
from sandlot_engine.catalog.versions import (
    Versions,
    check_revision_id,
    number_of,
    wrong_state,
)
from sandlot_engine.clock import Clock
from sandlot_engine.errors import (
    AlreadyExists,
    Conflict,
    InvalidParameter,
    QuotaExceeded,
    SandlotError,
)
from sandlot_engine.model.function import (
    LATEST,
    Alias,
    Code,
    Function,
    FunctionConfig,
    FunctionState,
    ImageSource,
    Revision,
)
from sandlot_engine.model.network import Network
from sandlot_engine.model.settings import FunctionSettings
from sandlot_engine.store.ports import CatalogStore

__all__ = [
    "CheckCode",
    "Functions",
    "GrantNetwork",
    "NoteChange",
    "Prepare",
    "Prepared",
    "Quota",
    "Retire",
]

T = TypeVar("T")

_log = logging.getLogger(__name__)

CheckCode = Callable[[str, str], object]
"""Raises a `Refusal` where a function, by its tenant's id and its name, takes no new
code."""

NoteChange = Callable[[str, str], object]
"""Told, by tenant id and name, that a function has changed or gone, or one of its
versions or aliases; does not wait."""

Retire = Callable[[str, str, str], Awaitable[None]]
"""Stop all that runs of a revision: tenant id, function, revision id. Returns when
nothing runs of it any more, because its files go next. It need not have been
prepared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one tenant may have."""

    functions: int = 1_000
    """MAX_FUNCTIONS_PER_TENANT."""

    versions: int = 10_000
    """Published ones, of all its functions."""

    code_bytes: int = 20 * 2**30
    """Zipped and unpacked, each package once."""


class Functions:
    """The catalog; an async context manager. Entering loads and resumes.

    `belongings` are what others keep of functions, by the function's name and a
    qualifier: they are loaded with them, and go with them. So is what they keep of
    tenants, `of_tenants`, which goes with its tenant.
    `note_tenant` is told whose things of any kind have changed, functions aside.
    `provisioned` is how many instances a function has asked to be started ahead.
    """

    def __init__(
        self,
        store: CatalogStore,
        codes: CodeStore,
        *,
        clock: Clock,
        runtimes: Callable[[], Collection[str]],
        prepare: Prepare,
        retire: Retire,
        grant_network: GrantNetwork,
        concurrency: Callable[[str], int],
        note_change: NoteChange = lambda *_: None,
        note_tenant: Callable[[str], object] = lambda _: None,
        check_code: CheckCode = lambda *_: None,
        provisioned: Callable[[str, str], int] = lambda *_: 0,
        region: str = "us-east-1",
        quota: Quota | None = None,
        belongings: Iterable[Kept[Any]] = (),
        of_tenants: Iterable[Kept[Any]] = (),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._codes = codes
        self._clock = clock
        self._runtimes = runtimes
        self._retire = retire
        self._grant_network = grant_network
        self._note_change = note_change
        self._check_code = check_code
        self.quota = quota or Quota()
        self._chance = chance
        self._keeper = Keeper()
        self._turns = KeyedLocks()
        """By tenant: whose turn it is to change something."""
        self._versions = Versions(region)
        self._uploads = Uploads(store, codes, kept_elsewhere=lambda: self.layers.hashes)
        self._preparing = Preparing(
            self._keeper,
            code_path=self.code_path,
            prepare=prepare,
            grant_network=grant_network,
            settle=self._settle,
        )
        self._belongings = tuple(belongings)
        self._of_tenants = tuple(of_tenants)
        aliases = Kept(store, "alias", Alias)
        settings = Kept(store, "settings", FunctionSettings)
        self._kept: tuple[Kept[Any], ...] = (aliases, settings, *self._belongings)
        for kept in (*self._kept, *self._of_tenants):
            kept.note_change = note_tenant
        self.aliases = Aliases(
            aliases,
            self._versions,
            turns=self._turns,
            keeper=self._keeper,
            belongings=self._belongings,
            note_change=note_change,
        )
        self.settings = Settings(
            settings,
            self._versions,
            turns=self._turns,
            keeper=self._keeper,
            concurrency=concurrency,
            provisioned=provisioned,
        )
        self.layers = Layers(
            store,
            self._uploads,
            turns=self._turns,
            keeper=self._keeper,
            clock=clock,
            runtimes=runtimes,
            check_room=self._check_room,
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
        function = self._versions.find(tenant_id, name, qualifier or LATEST)
        if function is None and (
            alias := self.aliases.find(tenant_id, name, qualifier)
        ):
            function = self._versions.find(tenant_id, name, routed(alias, self._chance))
        if function is None:
            raise self._versions.not_found(tenant_id, name, qualifier or LATEST)
        if function.serving is None:
            raise wrong_state(function)
        return function

    def reserved(self, tenant_id: str) -> Mapping[str, int]:
        """What is reserved for which of a tenant's functions. Never waits."""
        return self.settings.reserved(tenant_id)

    async def code_path(self, revision: Revision) -> Path:
        """The folder with a revision's files, unpacked if it was not, as its layers
        are."""
        await self._codes.opt(revision.config)
        return await self._codes.unpacked(revision.code, revision.config.runtime)

    async def get(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        """A version by its number, or the one of an alias. Raises `NotFound`."""
        return self._find(tenant_id, name, qualifier)

    async def forget(self, tenant_id: str) -> None:
        """Let go of what a tenant that was deleted had beside functions. Others'
        functions that have its layers keep them."""
        await self.layers.delete_all(tenant_id)
        for kept in self._of_tenants:
            for owner in list(kept.owners(tenant_id)):
                await kept.delete_all(tenant_id, owner)

    async def read_code(self, tenant_id: str, name: str, qualifier: str = "") -> bytes:
        """The newest package, as it was uploaded. Raises `NotFound`."""
        function = self._find(tenant_id, name, qualifier)
        return await self._codes.read(function.current.code)

    async def read_package(self, sha256: str) -> bytes:
        """A function's or a layer's, by its hash. Raises `NotFound`."""
        return await self._codes.read_hash(sha256)

    def count(self, tenant_id: str) -> int:
        """How many functions a tenant has."""
        return self._versions.count(tenant_id)

    def count_by_network(self, network: Network) -> Mapping[str, int]:
        """How many functions with that network, in any version, each tenant has that
        has any."""
        counts = {
            tenant_id: len(
                {
                    function.name
                    for function in self._versions.all(tenant_id)
                    if function.current.config.network is network
                }
            )
            for tenant_id in self._versions.tenants()
        }
        return {tenant_id: count for tenant_id, count in counts.items() if count}

    def count_by_runtime(self) -> Mapping[str, int]:
        """How many functions of all tenants use each runtime, in any version."""
        return Counter(
            runtime
            for tenant_id in self._versions.tenants()
            for _, runtime in {
                (function.name, function.current.config.runtime)
                for function in self._versions.all(tenant_id)
            }
        )

    async def list_versions(
        self, tenant_id: str, name: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[Function], str]:
        """A page of a function's versions, `$LATEST` first, and the token of the next.

        Raises `NotFound`, and `InvalidParameter` for a negative page size.
        """
        self._find(tenant_id, name)
        return _page(self._versions.of(tenant_id, name), page_size, page_token)

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
        self._check_config(tenant_id, config)
        settings = FunctionSettings(tags=checked_tags(tags or {}))
        self._check_name_is_free(tenant_id, name)
        # At once: a layer that was found a moment ago may be deleted in the next.
        async with self._uploads.kept(config.layer_hashes):
            return await self._keeper.whole(
                self._create(tenant_id, name, config, zip, settings, publish=publish)
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
        function = self._find(tenant_id, name)
        self._check_can_change(function, revision_id)
        check_kind(function.current.config, zip, is_new=False)
        self._check_code(tenant_id, name)
        return await self._keeper.whole(
            self._update_code(
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
        function = self._find(tenant_id, name)
        self._check_can_change(function, revision_id)
        config = life.changed_config(function.current.config, changes)
        async with self._uploads.kept(config.layer_hashes):
            return await self._keeper.whole(
                self._update_configuration(tenant_id, name, changes, revision_id)
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
            self._publish(tenant_id, name, code_sha256, description, revision_id)
        )

    async def renew(self, tenant_id: str) -> None:
        """Let nothing go on under a network policy of the tenant that has changed.

        Its functions that have a network get new revisions, whose instances start
        under the policy as it is now, or not at all. The old ones get no more
        invocations; those that run may finish, within their timeouts.
        """
        await self._keeper.whole(self._renew(tenant_id))

    async def delete(self, tenant_id: str, name: str) -> None:
        """Delete a function whatever its state: its versions, its aliases, all that
        belongs to it, and all that runs of it.

        Returns when all of that has stopped. Raises `NotFound`.
        """
        functions = await self._keeper.whole(self._delete(tenant_id, name))
        await self._keeper.finish(self._retire_all(functions))

    async def delete_version(self, tenant_id: str, name: str, version: str) -> None:
        """Delete one published version, and all that runs of it.

        Returns when all of that has stopped. Raises `NotFound`, `InvalidParameter` for
        what is no such version, and `Conflict` while an alias leads to it.
        """
        function = await self._keeper.whole(
            self._delete_version(tenant_id, name, version)
        )
        await self._keeper.finish(self._retire_all([function]))

    async def in_turn(
        self, tenant_id: str, change: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """Run `change`, of what belongs to a tenant's functions, when it is its turn;
        to its end, even if the caller is cancelled half-way.

        For whoever keeps `belongings`: of what is here, `change` may call what does not
        wait, and `touch`.
        """

        async def changed() -> T:
            async with self._turns.hold(tenant_id):
                return await change()

        return await self._keeper.whole(changed())

    def find(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        """What `get` returns. Never waits."""
        return self._find(tenant_id, name, qualifier)

    def arn(self, tenant_id: str, name: str, qualifier: str = "") -> str:
        return self._versions.arn(tenant_id, name, qualifier)

    def revision_id(self, tenant_id: str, name: str, qualifier: str = "") -> str:
        """Of a version, or of an alias itself. Raises `NotFound`."""
        alias = self.aliases.find(tenant_id, name, qualifier)
        return (alias or self._find(tenant_id, name, qualifier)).revision_id

    async def touch(self, tenant_id: str, name: str, qualifier: str = "") -> str:
        """Give a version, or an alias, a new revision id, within `in_turn`: something
        that counts as part of it is another now. Returns the id."""
        if alias := self.aliases.find(tenant_id, name, qualifier):
            return (await self.aliases.touch(alias)).revision_id
        function = self._find(tenant_id, name, qualifier)
        return (await self._replace(function, life.touched(function))).revision_id

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
        found = self._versions.all(tenant_id)
        return _page(
            [each for each in found if all_versions or each.version == LATEST],
            page_size,
            page_token,
        )

    # --- the steps of a change ------------------------------------------------

    async def _create(
        self,
        tenant_id: str,
        name: str,
        config: FunctionConfig,
        package: bytes | ImageSource,
        settings: FunctionSettings,
        *,
        publish: bool,
    ) -> Function:
        arrived = self._arrived(tenant_id, package, config)
        async with arrived as code, self._turns.hold(tenant_id):
            self._check_name_is_free(tenant_id, name)
            self._check_count(tenant_id)
            self._check_room(tenant_id, code)
            check_unpacked_size(code, config.layers)
            revision = life.new_revision(code, config)
            function = life.created(tenant_id, name, revision, now=self._clock.now())
            await self._add(function)
            await self.settings.begin(tenant_id, name, settings)
            return await self._published(function, revision) if publish else function

    def _arrived(
        self, tenant_id: str, package: bytes | ImageSource, config: FunctionConfig
    ) -> AbstractAsyncContextManager[Code]:
        if isinstance(package, ImageSource):
            return self._uploads.image_arrived(tenant_id, package)
        return self._uploads.arrived(tenant_id, package, config.runtime)

    async def _update_code(
        self,
        tenant_id: str,
        name: str,
        package: bytes | ImageSource,
        revision_id: str,
        *,
        publish: bool,
        dry_run: bool,
    ) -> Function:
        config = self._find(tenant_id, name).current.config
        arrived = self._arrived(tenant_id, package, config)
        async with arrived as code, self._turns.hold(tenant_id):
            function = self._find(tenant_id, name)
            self._check_can_change(function, revision_id)
            self._check_room(tenant_id, code)
            check_unpacked_size(code, function.current.config.layers)
            self._grant_network(tenant_id, function.current.config.network)
            revision = life.new_revision(code, function.current.config)
            if dry_run:
                return replace(function, serving=revision)
            updating = await self._begin_update(function, revision)
            return await self._published(updating, revision) if publish else updating

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
            check_unpacked_size(function.current.code, config.layers)
            return await self._begin_update(
                function, life.new_revision(function.current.code, config)
            )

    async def _begin_update(self, function: Function, revision: Revision) -> Function:
        changed = life.updating(function, revision, now=self._clock.now())
        await self._replace(function, changed)
        self._preparing.begin(changed)
        return changed

    async def _publish(
        self,
        tenant_id: str,
        name: str,
        code_sha256: str,
        description: str | None,
        revision_id: str,
    ) -> Function:
        async with self._turns.hold(tenant_id):
            function = self._find(tenant_id, name)
            self._check_can_change(function, revision_id)
            current = function.current.code.sha256_base64
            if code_sha256 not in ("", current):
                raise InvalidParameter(
                    f"CodeSHA256 ({code_sha256}) is different from current CodeSHA256 "
                    f"in {LATEST} ({current}). Please try again with the CodeSHA256 in "
                    f"{LATEST}.",
                    field="code_sha256",
                )
            return await self._published(function, function.current, description)

    async def _published(
        self, function: Function, revision: Revision, description: str | None = None
    ) -> Function:
        """The version that a revision of `$LATEST` is published as; for whoever has the
        turn."""
        tenant_id, name = function.tenant_id, function.name
        last = self._versions.last_published(tenant_id, name)
        if last is not None and life.is_published_as(last, revision):
            return last
        self._check_can_publish(tenant_id)
        number = await self._store.last_version(tenant_id, name) + 1
        version = life.published(
            function, revision, version=str(number), description=description
        )
        check_config(version.current.config, self._runtimes())
        await self._add(version)
        return version

    async def _renew(self, tenant_id: str) -> None:
        async with self._turns.hold(tenant_id):
            for function in tuple(self._versions.all(tenant_id)):
                renewed = life.renewed(function)
                if renewed != function:
                    await self._replace(function, renewed)
                    if (
                        renewed.pending is not function.pending
                        and renewed.state is not FunctionState.FAILED
                    ):
                        self._preparing.begin(renewed)
                    self._keeper.aside(self._retire_all([function], but=renewed))

    async def _delete(self, tenant_id: str, name: str) -> tuple[Function, ...]:
        async with self._turns.hold(tenant_id):
            self._find(tenant_id, name)
            functions = tuple(self._versions.of(tenant_id, name))
            kinds = tuple(kept.kind for kept in self._kept)
            await self._store.delete_function(tenant_id, name, kinds=kinds)
            for function in functions:
                self._versions.forget(function)
            for kept in self._kept:
                kept.forget(tenant_id, name)
            self.settings.note(tenant_id, name)
            self._note_change(tenant_id, name)
        return functions

    async def _delete_version(
        self, tenant_id: str, name: str, version: str
    ) -> Function:
        async with self._turns.hold(tenant_id):
            function = self._version_to_delete(tenant_id, name, version)
            # First: what was allowed to it is not to outlive it.
            for kept in self._belongings:
                await kept.delete(tenant_id, name, version)
            await self._store.delete_version(tenant_id, name, version)
            self._versions.forget(function)
            self._note_change(tenant_id, name)
        return function

    async def _add(self, function: Function) -> None:
        """Store a new version, and begin to make it ready."""
        await self._store.create_function(function)
        self._versions.keep(function)
        self._preparing.begin(function)

    async def _replace(self, old: Function, new: Function) -> Function:
        await self._store.put_function(new, expected=old.revision_id)
        self._versions.keep(new)
        self._note_change(new.tenant_id, new.name)
        return new

    # --- made ready, and retired --------------------------------------------------

    async def _settle(
        self, function: Function, revision: Revision, result: Prepared | SandlotError
    ) -> None:
        """Let the revision serve, or say why it cannot."""
        async with self._turns.hold(function.tenant_id):
            now = self._versions.find(
                function.tenant_id, function.name, function.version
            )
            if now is None or now.pending is None or now.pending.id != revision.id:
                return  # deleted or replaced in the meantime, and retired by that
            await self._replace(now, life.settled(now, revision, result))
        # What could not be made ready may have got as far as a zygote.
        given_up = revision if isinstance(result, SandlotError) else now.serving
        if given_up is not None:
            self._keeper.aside(self._retire_revision(now, given_up))

    async def _retire_all(
        self, functions: Iterable[Function], *, but: Function | None = None
    ) -> None:
        """Retire all revisions of versions that were deleted, or became `but`."""
        kept = but.revisions if but is not None else ()
        for function in functions:
            for revision in function.revisions:
                if revision not in kept:
                    await self._preparing.stop(revision)
                    await self._retire_revision(function, revision)

    async def _retire_revision(self, function: Function, revision: Revision) -> None:
        try:
            # Until it has gone its files are mounted, also if its function has gone.
            with self._uploads.holding(revision.hashes):
                await self._retire(function.tenant_id, function.name, revision.id)
            await self._uploads.discard_unused(revision.hashes)
        except SandlotError as error:
            # The function is gone or changed all the same. Its files stay, since
            # something may still have them mounted; the next start removes them.
            ids = {"tenant_id": function.tenant_id, "function": function.name}
            _log.error("not retired: %s", error.message, extra=ids)

    # --- checks -------------------------------------------------------------------

    def _find(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        alias = self.aliases.find(tenant_id, name, qualifier)
        version = alias.version if alias is not None else qualifier or LATEST
        return self._versions.require(tenant_id, name, version, said=qualifier)

    def _version_to_delete(self, tenant_id: str, name: str, version: str) -> Function:
        if version == LATEST:
            raise InvalidParameter(
                f"{LATEST} version cannot be deleted without deleting the function.",
                field="qualifier",
            )
        if self.aliases.find(tenant_id, name, version) is not None:
            raise InvalidParameter(
                "Deletion of aliases is not currently supported.", field="qualifier"
            )
        function = self._find(tenant_id, name, version)
        if aliases := self.aliases.naming(tenant_id, name, version):
            raise Conflict(
                "Unable to delete version because the following aliases reference it: "
                f"[{', '.join(aliases)}]",
                reason="ResourceConflict",
            )
        return function

    def _check_config(self, tenant_id: str, config: FunctionConfig) -> None:
        check_config(config, self._runtimes())
        self._grant_network(tenant_id, config.network)

    def _check_name_is_free(self, tenant_id: str, name: str) -> None:
        if self._versions.find(tenant_id, name) is not None:
            raise AlreadyExists(f"Function already exist: {name}")

    def _check_can_change(self, function: Function, revision_id: str) -> None:
        self._versions.check_settled(function)
        check_revision_id(revision_id, function.revision_id)

    def _check_can_publish(self, tenant_id: str) -> None:
        count = sum(each.version != LATEST for each in self._versions.all(tenant_id))
        if count >= self.quota.versions:
            raise QuotaExceeded(
                f"Tenant {tenant_id} has {count} published versions of "
                f"{self.quota.versions} allowed. Delete some first.",
                limit=self.quota.versions,
            )

    def _check_count(self, tenant_id: str) -> None:
        count = self._versions.count(tenant_id)
        if count >= self.quota.functions:
            raise QuotaExceeded(
                f"Tenant {tenant_id} has {count} functions of "
                f"{self.quota.functions} allowed. Delete one first.",
                limit=self.quota.functions,
            )

    def code_bytes(self, tenant_id: str, *more: Code) -> int:
        """Of a tenant's packages and layers, each once, zipped and unpacked; with some
        more, if they are given."""
        codes = {code.sha256: code for code in more} | self.layers.codes(tenant_id)
        for function in self._versions.all(tenant_id):
            # Not their layers, which count where they were published.
            codes |= {each.code.sha256: each.code for each in function.revisions}
        return sum(code.size + code.unpacked_size for code in codes.values())

    def _check_room(self, tenant_id: str, code: Code) -> None:
        total = self.code_bytes(tenant_id, code)
        if total > self.quota.code_bytes:
            raise QuotaExceeded(
                f"Code storage limit exceeded: the packages of tenant {tenant_id} "
                f"would take {total} bytes, zipped and unpacked, of "
                f"{self.quota.code_bytes} allowed. Delete functions or layers, or "
                "make their packages smaller.",
                reason="CodeStorageExceeded",
                limit=self.quota.code_bytes,
            )


def _page(
    functions: list[Function], page_size: int, page_token: str
) -> tuple[list[Function], str]:
    """Of versions in order. The token says the last one shown, by name and number, so
    that tokens are in the same order."""
    by_token = {_token(function): function for function in functions}
    page, token = page_of(list(by_token), page_size, page_token)
    return [by_token[each] for each in page], token


def _token(function: Function) -> str:
    # A name has no character that is less than a hyphen, as a space is.
    return f"{function.name} {number_of(function):012}"
