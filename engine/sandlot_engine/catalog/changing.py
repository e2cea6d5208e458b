"""The steps of every change of a function, each in its tenant's turn.

A version goes to the store first and into memory after, and what is new in it is begun
to be made ready; how that went is the last step. Whoever calls these sees to it that
they run to their end.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from sandlot_engine.catalog import life
from sandlot_engine.catalog.finding import Finding
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.layers import check_unpacked_size
from sandlot_engine.catalog.life import Prepared
from sandlot_engine.catalog.preparing import GrantNetwork, Preparing
from sandlot_engine.catalog.quotas import Quotas
from sandlot_engine.catalog.retiring import Retiring
from sandlot_engine.catalog.settings import Settings
from sandlot_engine.catalog.targets import check_dead_letter
from sandlot_engine.catalog.turns import Turns
from sandlot_engine.catalog.uploads import Uploads
from sandlot_engine.catalog.validation import check_config
from sandlot_engine.catalog.versions import Versions, check_revision_id
from sandlot_engine.clock import Clock
from sandlot_engine.errors import AlreadyExists, InvalidParameter, SandlotError
from sandlot_engine.model.function import (
    LATEST,
    Code,
    Function,
    FunctionConfig,
    FunctionState,
    ImageSource,
    Revision,
)
from sandlot_engine.model.settings import FunctionSettings
from sandlot_engine.store.ports import FunctionStore

NoteChange = Callable[[str, str], object]
"""Told, by tenant id and name, that a function has changed or gone, or one of its
versions or aliases; does not wait."""


class Changing:
    """Changes of all functions. Raises as `Functions` does, which says what each step
    is for."""

    def __init__(
        self,
        store: FunctionStore,
        versions: Versions,
        *,
        finding: Finding,
        settings: Settings,
        uploads: Uploads,
        quotas: Quotas,
        preparing: Preparing,
        retiring: Retiring,
        turns: Turns,
        keeper: Keeper,
        clock: Clock,
        runtimes: Callable[[], Collection[str]],
        grant_network: GrantNetwork,
        endpoints: Collection[str],
        note_change: NoteChange,
    ) -> None:
        self._store = store
        self._versions = versions
        self._finding = finding
        self._settings = settings
        self._uploads = uploads
        self._quotas = quotas
        self._preparing = preparing
        self._retiring = retiring
        self._turns = turns
        self._keeper = keeper
        self._clock = clock
        self._runtimes = runtimes
        self._grant_network = grant_network
        self._endpoints = endpoints
        self._note_change = note_change

    async def create(
        self,
        tenant_id: str,
        name: str,
        config: FunctionConfig,
        package: bytes | ImageSource,
        settings: FunctionSettings,
        *,
        publish: bool,
    ) -> Function:
        """Store a new function, and with `publish` its first version: returns that."""
        arrived = self._arrived(tenant_id, package, config)
        async with arrived as code, self._turns.hold(tenant_id):
            self.check_name_is_free(tenant_id, name)
            self._quotas.check_can_create(tenant_id)
            check_unpacked_size(code, config.layers)
            revision = life.new_revision(code, config)
            self._quotas.check_room_for(tenant_id, revision)
            function = life.created(tenant_id, name, revision, now=self._clock.now())
            await self._add(function)
            await self._settings.begin(tenant_id, name, settings)
            return await self._published(function, revision) if publish else function

    async def update_code(
        self,
        tenant_id: str,
        name: str,
        package: bytes | ImageSource,
        revision_id: str,
        *,
        publish: bool,
        dry_run: bool,
    ) -> Function:
        """Let a function have a package, once that is here."""
        config = self._finding.find(tenant_id, name).current.config
        arrived = self._arrived(tenant_id, package, config)
        async with arrived as code, self._turns.hold(tenant_id):
            function = self._finding.find(tenant_id, name)
            self.check_can_change(function, revision_id)
            check_unpacked_size(code, function.current.config.layers)
            self._grant_network(tenant_id, function.current.config.network)
            revision = life.new_revision(code, function.current.config)
            self._quotas.check_room_for(tenant_id, revision)
            if dry_run:
                return replace(function, serving=revision)
            updating = await self._begin_update(function, revision)
            return await self._published(updating, revision) if publish else updating

    async def update_configuration(
        self,
        tenant_id: str,
        name: str,
        changes: Mapping[str, object],
        revision_id: str,
    ) -> Function:
        """Let a function have other settings."""
        async with self._turns.hold(tenant_id):
            function = self._finding.find(tenant_id, name)
            self.check_can_change(function, revision_id)
            config = life.changed_config(function.current.config, changes)
            self.check_config(tenant_id, config)
            self.check_dead_letter(tenant_id, changes.get("dead_letter_arn"))
            check_unpacked_size(function.current.code, config.layers)
            revision = life.new_revision(function.current.code, config)
            self._quotas.check_room_for(tenant_id, revision)
            return await self._begin_update(function, revision)

    async def publish(
        self,
        tenant_id: str,
        name: str,
        code_sha256: str,
        description: str | None,
        revision_id: str,
    ) -> Function:
        """Make a version of `$LATEST`, or return the last one if that is the same."""
        async with self._turns.hold(tenant_id):
            function = self._finding.find(tenant_id, name)
            self.check_can_change(function, revision_id)
            current = function.current.code.sha256_base64
            if code_sha256 not in ("", current):
                raise InvalidParameter(
                    f"CodeSHA256 ({code_sha256}) is different from current CodeSHA256 "
                    f"in {LATEST} ({current}). Please try again with the CodeSHA256 in "
                    f"{LATEST}.",
                    field="code_sha256",
                )
            last = self._versions.last_published(tenant_id, name)
            version = await self._published(function, function.current, description)
            if version != last:
                # To AWS that is a change of `$LATEST`, too.
                await self.touch(function)
            return version

    async def renew(self, tenant_id: str) -> None:
        """Give a tenant's functions that have a network new revisions."""
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
                    self._keeper.aside(self._retiring.all_of([function], but=renewed))

    async def touch(self, function: Function) -> Function:
        """Give a version a new revision id; for whoever holds the turn."""
        return await self._replace(function, life.touched(function))

    async def settle(
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
            self._keeper.aside(self._retiring.one(now, given_up))

    async def note_learnt(
        self, function: Function, revision: Revision, found: Prepared
    ) -> None:
        """Let it be shown, and known to the next start of the engine."""
        async with self._turns.hold(function.tenant_id):
            now = self._versions.find(
                function.tenant_id, function.name, function.version
            )
            if now is None:
                return
            changed = life.learnt(now, revision.id, found)
            if changed is not now:
                await self._replace(now, changed)

    # --- checks, before the turn and within it --------------------------------------

    def check_config(self, tenant_id: str, config: FunctionConfig) -> None:
        """Against what is possible here, and what the tenant may."""
        check_config(config, self._runtimes())
        self._grant_network(tenant_id, config.network)

    def check_dead_letter(self, tenant_id: str, arn: object) -> None:
        """Only where it is set: its endpoint may not be there any more."""
        check_dead_letter(arn, tenant_id=tenant_id, endpoints=self._endpoints)

    def check_name_is_free(self, tenant_id: str, name: str) -> None:
        """Raise `AlreadyExists`."""
        if self._versions.find(tenant_id, name) is not None:
            raise AlreadyExists(f"Function already exist: {name}")

    def check_can_change(self, function: Function, revision_id: str) -> None:
        """Raise `Conflict` unless it is ready, and at `revision_id` (if given)."""
        self._versions.check_settled(function)
        check_revision_id(revision_id, function.revision_id)

    # --- what changes have in common ------------------------------------------------

    def _arrived(
        self, tenant_id: str, package: bytes | ImageSource, config: FunctionConfig
    ) -> AbstractAsyncContextManager[Code]:
        if isinstance(package, ImageSource):
            return self._uploads.image_arrived(tenant_id, package)
        return self._uploads.arrived(tenant_id, package, config.runtime)

    async def _begin_update(self, function: Function, revision: Revision) -> Function:
        changed = life.updating(function, revision, now=self._clock.now())
        await self._replace(function, changed)
        self._preparing.begin(changed)
        return changed

    async def _published(
        self, function: Function, revision: Revision, description: str | None = None
    ) -> Function:
        """The version that a revision of `$LATEST` is published as; for whoever has the
        turn."""
        tenant_id, name = function.tenant_id, function.name
        last = self._versions.last_published(tenant_id, name)
        if last is not None and life.is_published_as(last, revision):
            return last
        self._quotas.check_can_publish(tenant_id)
        number = await self._store.last_version(tenant_id, name) + 1
        version = life.published(
            function, revision, version=str(number), description=description
        )
        check_config(version.current.config, self._runtimes())
        await self._add(version)
        return version

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
