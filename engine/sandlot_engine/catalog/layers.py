"""The layers of all tenants: published, read, shared with others, used by functions.

A layer version is a package under a number that is never given again. Functions keep
the package itself (`LayerUse`): a version that was deleted is one that nobody can refer
to any more, and its package goes when the last function that has it does.

All are in memory as well; a change goes to the store first. Changes of one tenant's
layers take turns. Texts are AWS's.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from sandlot_engine.catalog import layer_policy
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.life import new_id
from sandlot_engine.catalog.on_disk import OnDisk, of_layer
from sandlot_engine.catalog.pages import page_of
from sandlot_engine.catalog.ports import CheckRoom, Packages
from sandlot_engine.catalog.turns import Turns
from sandlot_engine.clock import Clock
from sandlot_engine.errors import (
    InvalidParameter,
    NotFound,
    NotSupported,
    PermissionDenied,
    QuotaExceeded,
    Unavailable,
)
from sandlot_engine.model.function import Code, LayerUse
from sandlot_engine.model.layer import (
    Layer,
    LayerPermission,
    LayerRef,
    LayerVersion,
    layer_version_arn,
    parse_layer_name,
)
from sandlot_engine.store.ports import DocumentStore

MAX_LAYERS = 5
"""Of one function."""

MAX_UNZIPPED = 262_144_000
"""Bytes of a function's files and its layers' together (AWS: 250 MB)."""

MAX_VERSIONS = 10_000
"""Of all layers of one tenant. AWS counts their bytes alone."""


class Layers:
    """`load` comes first, and before packages that nobody has are removed.

    Layers are named, or called by their ARN: then they may be another tenant's.
    `region` is where the caller is, as ARNs in texts name it: a layer is in all.
    """

    def __init__(
        self,
        store: DocumentStore,
        packages: Packages,
        *,
        turns: Turns,
        keeper: Keeper,
        clock: Clock,
        runtimes: Callable[[], Collection[str]],
        check_room: CheckRoom,
        on_disk: OnDisk | None = None,
        max_versions: int = MAX_VERSIONS,
    ) -> None:
        self._packages = packages
        self._clock = clock
        self._runtimes = runtimes
        self._check_room = check_room
        self._on_disk = on_disk or OnDisk()
        self._max_versions = max_versions
        self._layers = Kept(store, "layer", Layer)
        """By name: also of those that have no version any more."""
        self._versions = Kept(store, "layer-version", LayerVersion)
        """By name and number."""
        self._turns = turns
        self._keeper = keeper
        self._codes: Counter[str] = Counter()
        """How many versions have a package, by its hash."""

    async def load(self) -> None:
        """Read all there are."""
        await self._layers.load()
        await self._versions.load()
        for tenant_id in self._versions.tenants():
            for version in self._of(tenant_id):
                self._note(version)

    @property
    def hashes(self) -> Collection[str]:
        """The hashes of all layer versions' packages. Never waits."""
        return self._codes.keys()

    # --- used ---------------------------------------------------------------------

    def resolve(
        self, tenant_id: str, arns: Sequence[str], *, region: str
    ) -> tuple[LayerUse, ...]:
        """What a function of the tenant has at /opt, in this order. Never waits: hold
        the packages before anybody else has a turn.

        Raises `InvalidParameter`, and `PermissionDenied` for another tenant's layer
        that is not there for this one.
        """
        if len(arns) > MAX_LAYERS:
            raise _bad_layers(f"Cannot reference more than {MAX_LAYERS} layers.")
        versions = [self._usable(tenant_id, arn, region=region) for arn in arns]
        seen: dict[tuple[str, str], str] = {}
        for arn, version in zip(arns, versions, strict=True):
            layer = version.tenant_id, version.name
            if layer in seen:
                raise _bad_layers(
                    "Two different versions of the same layer are not allowed to be "
                    f"referenced in the same function. {seen[layer]} and {arn} are "
                    "versions of the same layer."
                )
            seen[layer] = arn
        return tuple(
            LayerUse(arn=arn, code=version.code)
            for arn, version in zip(arns, versions, strict=True)
        )

    def _usable(self, tenant_id: str, arn: str, *, region: str) -> LayerVersion:
        ref = LayerRef.parse(arn)
        if ref is None:
            raise _bad_layers(f"Layer version {arn} does not exist.")
        if ref.region != region:
            raise _bad_layers(
                "Layers are not in the same region as the function. Layers are "
                f"expected to be in region {region}."
            )
        _check_number(ref.version)
        version = self._find(ref)
        if version is None and ref.tenant_id == tenant_id:
            raise _bad_layers(f"Layer version {arn} does not exist.")
        if version is None or not version.allows(tenant_id):
            raise _denied(tenant_id, layer_policy.ACTION, arn)
        return version

    # --- read ---------------------------------------------------------------------

    def get(
        self, tenant_id: str, name: str, number: int, *, region: str
    ) -> LayerVersion:
        """Raises `InvalidParameter`, `NotFound`, and `PermissionDenied` for another
        tenant's that is not there for this one.
        """
        owner, name = parse_layer_name(name, tenant_id)
        return self._readable(tenant_id, LayerRef(region, owner, name, number))

    def get_by_arn(self, tenant_id: str, arn: str) -> LayerVersion:
        """Raises as `get` does."""
        ref = LayerRef.parse(arn)
        if ref is None:
            raise _not_found()
        return self._readable(tenant_id, ref)

    def _readable(self, tenant_id: str, ref: LayerRef) -> LayerVersion:
        _check_number(ref.version)
        version = self._find(ref)
        if version is None and ref.tenant_id == tenant_id:
            raise _not_found()
        if version is None or not version.allows(tenant_id):
            raise _denied(tenant_id, layer_policy.ACTION, _arn(ref))
        return version

    def list_layers(
        self,
        tenant_id: str,
        *,
        runtime: str = "",
        architecture: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> tuple[list[LayerVersion], str]:
        """A page by name of the latest version of each of a tenant's layers, and the
        token of the next; of those that are for a runtime and an architecture, if
        these are given."""
        latest: dict[str, LayerVersion] = {}
        for version in self._of(tenant_id):
            if version.is_for(runtime=runtime, architecture=architecture):
                known = latest.setdefault(version.name, version)
                if version.version > known.version:
                    latest[version.name] = version
        page, token = page_of(sorted(latest), page_size, page_token)
        return [latest[name] for name in page], token

    def list_versions(
        self,
        tenant_id: str,
        name: str,
        *,
        runtime: str = "",
        architecture: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> tuple[list[LayerVersion], str]:
        """A page of a layer's versions, the newest first, likewise.

        Raises `PermissionDenied` for another tenant's layer.
        """
        name = _own(tenant_id, name, "lambda:ListLayerVersions")
        found = {
            # Names that have the order of the numbers, the highest first.
            f"{_HIGHEST - version.version:0{_DIGITS}}": version
            for version in self._versions.of(tenant_id, name).values()
            if version.is_for(runtime=runtime, architecture=architecture)
        }
        page, token = page_of(sorted(found), page_size, page_token)
        return [found[key] for key in page], token

    # --- changed ------------------------------------------------------------------

    async def publish(
        self,
        tenant_id: str,
        name: str,
        zip: bytes,  # noqa: A002 -- as callers say it
        *,
        description: str = "",
        license_info: str = "",
        runtimes: Sequence[str] = (),
        architectures: Sequence[str] = (),
    ) -> LayerVersion:
        """The next version of a layer, which need not have been there before.

        Raises `InvalidParameter`, `TooLarge`, `QuotaExceeded`, and `PermissionDenied`
        for another tenant's layer.
        """
        name = _own(tenant_id, name, "lambda:PublishLayerVersion")
        self._check_count(tenant_id)
        template = LayerVersion(
            tenant_id=tenant_id,
            name=name,
            version=0,
            code=Code(sha256="", size=0, unpacked_size=0),
            description=description,
            license_info=license_info,
            runtimes=tuple(runtimes),
            architectures=tuple(architectures),
            created=self._clock.now(),
        )
        return await self._keeper.whole(self._publish(template, zip))

    async def delete(self, tenant_id: str, name: str, number: int) -> bool:
        """Whether there was one: to delete none is no failure, on AWS either.

        Functions that have it keep it. Raises `InvalidParameter`, and
        `PermissionDenied` for another tenant's layer.
        """
        name = _own(tenant_id, name, "lambda:DeleteLayerVersion")
        _check_number(number)
        return await self._turns.whole(
            tenant_id, lambda: self._delete(tenant_id, name, number)
        )

    async def delete_all(self, tenant_id: str) -> None:
        """All of a tenant's, which is deleted: of its layers nothing is remembered."""
        await self._turns.whole(tenant_id, lambda: self._delete_all(tenant_id))

    # --- shared -------------------------------------------------------------------

    async def add_permission(
        self,
        tenant_id: str,
        name: str,
        number: int,
        *,
        statement_id: str,
        action: str,
        principal: str,
        organization_id: str = "",
        revision_id: str = "",
        region: str,
    ) -> tuple[LayerVersion, str]:
        """Let another tenant, or all, use and read a version; it, and the statement.

        Raises `InvalidParameter`, `NotSupported` for an organization, `NotFound`,
        `AlreadyExists`, `QuotaExceeded`, `PermissionDenied` for another tenant's
        layer, and `Conflict` where the policy is not at `revision_id` (if that is
        given) any more.
        """
        name = _own(tenant_id, name, "lambda:AddLayerVersionPermission")
        layer_policy.check_action(action)
        if organization_id:
            raise NotSupported(
                f"OrganizationId {organization_id} is not supported: there are no "
                "organizations here. Name an account, or '*' without it."
            )
        permission = LayerPermission(
            id=statement_id, principal=layer_policy.checked_principal(principal)
        )
        ref = LayerRef(region, tenant_id, name, number)
        changed = await self._turns.whole(
            tenant_id, lambda: self._add_permission(ref, permission, revision_id)
        )
        return changed, layer_policy.statement_text(permission, _arn(ref))

    async def remove_permission(
        self,
        tenant_id: str,
        name: str,
        number: int,
        *,
        statement_id: str,
        revision_id: str = "",
        region: str,
    ) -> LayerVersion:
        """Functions that have the version keep it. Raises as `add_permission` does."""
        name = _own(tenant_id, name, "lambda:RemoveLayerVersionPermission")
        ref = LayerRef(region, tenant_id, name, number)
        return await self._turns.whole(
            tenant_id, lambda: self._remove_permission(ref, statement_id, revision_id)
        )

    def policy(
        self, tenant_id: str, name: str, number: int, *, region: str
    ) -> tuple[str, str]:
        """The policy of a version, as AWS writes it, and its revision id.

        Raises `NotFound`, also where there is none, and `PermissionDenied` for another
        tenant's layer.
        """
        name = _own(tenant_id, name, "lambda:GetLayerVersionPolicy")
        version = self._shared(LayerRef(region, tenant_id, name, number))
        if not version.permissions:
            raise NotFound("No policy is associated with the given resource.")
        return layer_policy.text_of(version, region), version.policy_revision_id

    # --- in turn ------------------------------------------------------------------

    async def _publish(self, template: LayerVersion, zip_bytes: bytes) -> LayerVersion:
        tenant_id, name = template.tenant_id, template.name
        runtime = self._runtime_for(template.runtimes)
        arrived = self._packages.arrived(tenant_id, zip_bytes, runtime, is_layer=True)
        async with arrived as code, self._turns.hold(tenant_id):
            self._check_count(tenant_id)
            self._check_room(tenant_id, code)
            layer = self._layers.get(tenant_id, name)
            number = 1 if layer is None else layer.last_version + 1
            # First: a number may be given to nothing, but never twice.
            await self._layers.put(
                *(tenant_id, name, ""),
                Layer(tenant_id=tenant_id, name=name, last_version=number),
            )
            version = replace(template, version=number, code=code)
            await self._versions.put(tenant_id, name, str(number), version)
            self._note(version)
            return version

    async def _delete(self, tenant_id: str, name: str, number: int) -> bool:
        version = self._versions.get(tenant_id, name, str(number))
        if version is None:
            return False
        await self._versions.delete(tenant_id, name, str(number))
        await self._let_go(version)
        return True

    async def _delete_all(self, tenant_id: str) -> None:
        for version in self._of(tenant_id):
            await self._delete(tenant_id, version.name, version.version)
        for name in tuple(self._layers.owners(tenant_id)):
            await self._layers.delete(tenant_id, name)

    def _note(self, version: LayerVersion) -> None:
        self._codes[version.code.sha256] += 1
        self._on_disk.add(version.tenant_id, of_layer(version.code))

    async def _let_go(self, version: LayerVersion) -> None:
        sha256 = version.code.sha256
        self._on_disk.remove(version.tenant_id, of_layer(version.code))
        self._codes[sha256] -= 1
        if not self._codes[sha256]:
            del self._codes[sha256]
            await self._packages.discard_unused([sha256])

    async def _add_permission(
        self, ref: LayerRef, permission: LayerPermission, revision_id: str
    ) -> LayerVersion:
        version = self._shared(ref)
        layer_policy.check_revision(version, revision_id)
        changed = layer_policy.with_permission(version, permission, ref.region)
        return await self._put_policy(changed)

    async def _remove_permission(
        self, ref: LayerRef, statement_id: str, revision_id: str
    ) -> LayerVersion:
        version = self._shared(ref)
        layer_policy.check_revision(version, revision_id)
        changed = layer_policy.without_permission(version, statement_id)
        return await self._put_policy(changed)

    async def _put_policy(self, version: LayerVersion) -> LayerVersion:
        changed = replace(version, policy_revision_id=new_id())
        key = changed.tenant_id, changed.name, str(changed.version)
        return await self._versions.put(*key, changed)

    # --- checks and memory --------------------------------------------------------

    def _find(self, ref: LayerRef) -> LayerVersion | None:
        return self._versions.get(ref.tenant_id, ref.name, str(ref.version))

    def _shared(self, ref: LayerRef) -> LayerVersion:
        """An own version, whose policy this is about."""
        _check_number(ref.version)
        version = self._find(ref)
        if version is None:
            raise NotFound(f"Layer version {_arn(ref)} does not exist.")
        return version

    def _of(self, tenant_id: str) -> list[LayerVersion]:
        layers = self._versions.owners(tenant_id).values()
        return [version for versions in layers for version in versions.values()]

    def _runtime_for(self, compatible: Sequence[str]) -> str:
        """One to check a package with: one that it is for, or any."""
        known = sorted(self._runtimes())
        if not known:
            raise Unavailable("This machine has no interpreter to check a layer with.")
        return next((name for name in compatible if name in known), known[-1])

    def _check_count(self, tenant_id: str) -> None:
        count = len(self._of(tenant_id))
        if count >= self._max_versions:
            raise QuotaExceeded(
                f"Tenant {tenant_id} has {count} layer versions of "
                f"{self._max_versions} allowed. Delete some first.",
                reason="CodeStorageExceeded",
                limit=self._max_versions,
            )


_DIGITS = 18
_HIGHEST = 10**_DIGITS - 1


def check_unpacked_size(code: Code, layers: Iterable[LayerUse]) -> None:
    """Raise `InvalidParameter` where a function and its layers have too many bytes."""
    if code.image is not None:
        return  # it has no layers of ours, and bounds of its own
    total = code.unpacked_size + sum(layer.code.unpacked_size for layer in layers)
    if total > MAX_UNZIPPED:
        raise _bad_layers(
            "Function code combined with layers exceeds the maximum allowed size of "
            f"{MAX_UNZIPPED} bytes. The actual size is {total} bytes."
        )


def _own(tenant_id: str, name: str, action: str) -> str:
    """The name of a layer that only its owner may do this with."""
    owner, own_name = parse_layer_name(name, tenant_id)
    if owner != tenant_id:
        raise _denied(tenant_id, action, name)
    return own_name


def _check_number(number: int) -> None:
    if number < 1:
        raise InvalidParameter(
            "Layer Version Cannot be less than 1", field="version_number"
        )


def _arn(ref: LayerRef) -> str:
    return layer_version_arn(ref.region, ref.tenant_id, ref.name, ref.version)


def _bad_layers(message: str) -> InvalidParameter:
    return InvalidParameter(message, field="layers")


def _not_found() -> NotFound:
    return NotFound("The resource you requested does not exist.", kind="layer version")


def _denied(tenant_id: str, action: str, arn: str) -> PermissionDenied:
    """The same whether it is there or not: others' layers are theirs to tell of."""
    return PermissionDenied(
        f"User: arn:aws:iam::{tenant_id}:root is not authorized to perform: {action} "
        f"on resource: {arn} because no resource-based policy allows the {action} "
        "action"
    )
