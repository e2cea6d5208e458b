"""Tenants and their access keys: made, checked, taken back.

Secrets exist in two places: sealed in the store, and in the bounded cache of keys
in use here. They are shown once, when they are made, and are in no message, log
or `repr`.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from sandlot_engine.catalog.pages import MAX_PAGE, size_of
from sandlot_engine.catalog.seal import Sealer
from sandlot_engine.catalog.validation import check_network, checked_cidrs
from sandlot_engine.clock import Clock
from sandlot_engine.errors import (
    SUSPENDED,
    Conflict,
    InvalidParameter,
    NotFound,
    QuotaExceeded,
    Unauthenticated,
)
from sandlot_engine.locks import KeyedLocks
from sandlot_engine.model.network import Network
from sandlot_engine.model.tenant import DEFAULT_TENANT_ID, AccessKey, Tenant
from sandlot_engine.store.ports import TenantStore

DEFAULT_CONCURRENCY, MAX_CONCURRENCY = 1_000, 100_000
MAX_TENANT_NAME = 64
MAX_KEYS_PER_TENANT = 100
MAX_CACHED_KEYS = 10_000
"""Keys whose secrets are kept at hand; the least recently used goes first."""

_TENANT_ID = re.compile(r"[0-9]{12}")
_KEY_ID = re.compile(r"[A-Za-z0-9]{16,128}")
_SECRET = re.compile(r"[!-~]{8,128}")
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_ALL = "all"
"""The lock of every change: there are few, and their checks span two tables."""


@dataclass(frozen=True, slots=True)
class _CachedKey:
    """Unknown ids are cached too, with no key behind them."""

    key: AccessKey | None
    secret: str = field(repr=False)
    digest: bytes = field(repr=False)


class Tenants:
    """Over the store; `ensure_operator` must be called before anything else."""

    def __init__(
        self,
        store: TenantStore,
        sealer: Sealer,
        *,
        clock: Clock,
        note_change: Callable[[str], object] = lambda _: None,
    ) -> None:
        """`note_change` is told whose settings have changed, or with an empty id that
        keys have, of anybody; in the moment in which they do."""
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._note_change = note_change
        self._tenants: dict[str, Tenant] = {}
        self._turns = KeyedLocks()
        self._cache: OrderedDict[str, _CachedKey] = OrderedDict()
        self._changes = 0
        """Grows when keys are taken back: what was read before may be stale."""
        # For ids that are unknown, so that they take the same work as known ones.
        self._no_secret = _new_secret()
        self._sealed_no_secret = sealer.seal(self._no_secret, key_id="")

    async def ensure_operator(
        self, tell: Callable[[AccessKey, str], object] = lambda _, __: None
    ) -> tuple[AccessKey, str] | None:
        """Load all tenants; make the operator's, and its key, where there is none. The
        key is told before it is kept: else an engine that dies in between, or finds no
        room, would leave one that nobody knows, and no next start would make another.

        Returns the new key and its secret, None where there was one. An operator
        who has lost every key gets a new one by revoking the rest and starting
        the engine again.
        """
        await self._load()
        if DEFAULT_TENANT_ID not in self._tenants:
            # Its functions may share the machine's network: whoever has the
            # operator's key owns the machine.
            await self._add_tenant(
                Tenant(
                    id=DEFAULT_TENANT_ID,
                    name="default",
                    concurrency=DEFAULT_CONCURRENCY,
                    network=Network.HOST,
                    created=self._clock.now(),
                )
            )
        keys = await self._store.list_keys(
            DEFAULT_TENANT_ID, after="", limit=MAX_KEYS_PER_TENANT
        )
        if any(key.is_operator for key in keys):
            return None
        key, secret = self._new_key(DEFAULT_TENANT_ID, is_operator=True), _new_secret()
        tell(key, secret)
        await self._store_key(key, secret)
        return key, secret

    async def create(
        self,
        name: str,
        tenant_id: str = "",
        concurrency: int = 0,
        network: Network = Network.NONE,
        network_allow: Iterable[str] = (),
    ) -> tuple[Tenant, AccessKey, str]:
        """Make a tenant, its first key, and that key's secret.

        Raises `InvalidParameter`, and `AlreadyExists` where the id is taken.
        """
        async with self._turns.hold(_ALL):
            tenant = Tenant(
                id=_checked_tenant_id(tenant_id or self._free_tenant_id()),
                name=_checked_name(name),
                concurrency=_checked_concurrency(concurrency or DEFAULT_CONCURRENCY),
                network=network,
                network_allow=_checked_allow(network_allow, network),
                created=self._clock.now(),
            )
            await self._add_tenant(tenant)
            key, secret = await self._add_key(tenant.id, is_operator=False)
        return tenant, key, secret

    async def update(
        self,
        tenant_id: str,
        name: str | None = None,
        concurrency: int | None = None,
        network: Network | None = None,
        network_allow: Iterable[str] | None = None,
        is_suspended: bool | None = None,
    ) -> Tenant:
        """Change what is given. Raises `NotFound`, `InvalidParameter`.

        From then on `grant_network` goes by it. After a change of the network or of
        what is allowed, `Functions.renew` ends what still runs as it was before.
        """
        async with self._turns.hold(_ALL):
            tenant = self._tenant(tenant_id)
            if name is not None:
                tenant = replace(tenant, name=_checked_name(name))
            if concurrency is not None:
                tenant = replace(tenant, concurrency=_checked_concurrency(concurrency))
            if network is not None:
                tenant = replace(tenant, network=network)
            if network_allow is not None:
                allow = _checked_allow(network_allow, tenant.network)
                tenant = replace(tenant, network_allow=allow)
            if is_suspended is not None:
                if is_suspended and tenant_id == DEFAULT_TENANT_ID:
                    raise InvalidParameter(
                        f"Tenant {tenant_id} is the operator's own and cannot be "
                        "suspended.",
                        field="suspended",
                    )
                tenant = replace(tenant, is_suspended=is_suspended)
            await self._store.put_tenant(tenant)
            self._tenants[tenant_id] = tenant
            self._note_change(tenant_id)
        return tenant

    async def get(self, tenant_id: str) -> Tenant:
        """Raises `NotFound`."""
        return self._tenant(tenant_id)

    async def known(self, tenant_id: str) -> str:
        """The id of a tenant that there is. Raises `NotFound`."""
        return self._tenant(tenant_id).id

    def concurrency(self, tenant_id: str) -> int:
        """How many invocations it may have running. Never waits; `NotFound`."""
        return self._tenant(tenant_id).concurrency

    def grant_network(self, tenant_id: str, network: Network) -> tuple[str, ...]:
        """What a function with `network` may reach although it is not public: CIDRs,
        none but for `EGRESS`. Never waits.

        Raises `PermissionDenied` where the tenant may not have `network` (any more),
        `Conflict` where it is suspended, for which events wait, and `NotFound`.
        """
        tenant = self._tenant(tenant_id)
        if tenant.is_suspended:
            raise Conflict(
                f"Tenant {tenant_id} is suspended by the operator. Nothing ran.",
                reason=SUSPENDED,
            )
        check_network(network, tenant)
        return tenant.network_allow if network is Network.EGRESS else ()

    async def delete(self, tenant_id: str) -> None:
        """Delete a tenant and its keys. Its records and bill stay.

        Raises `NotFound`, and `Conflict` while it has functions.
        """
        async with self._turns.hold(_ALL):
            self._tenant(tenant_id)
            if tenant_id == DEFAULT_TENANT_ID:
                raise InvalidParameter(
                    f"Tenant {tenant_id} is the operator's own and cannot be deleted.",
                    field="id",
                )
            try:
                await self._store.delete_tenant(tenant_id)
                del self._tenants[tenant_id]
            finally:
                # Even where nobody knows how far it came.
                self._forget_keys()

    async def create_key(
        self, tenant_id: str, operator: bool = False
    ) -> tuple[AccessKey, str]:
        """Make another key and its secret.

        Raises `NotFound`, `QuotaExceeded` over `MAX_KEYS_PER_TENANT`, and
        `InvalidParameter` for an operator's key of another tenant than their own.
        """
        if operator and tenant_id != DEFAULT_TENANT_ID:
            raise InvalidParameter(
                f"An operator's key belongs to tenant {DEFAULT_TENANT_ID}, and to no "
                f"other: not to {tenant_id[:64]}.",
                field="operator",
            )
        async with self._turns.hold(_ALL):
            self._tenant(tenant_id)
            return await self._add_key(tenant_id, is_operator=operator)

    async def import_key(
        self, tenant_id: str, access_key_id: str, secret: str
    ) -> AccessKey:
        """Take over a key pair that exists elsewhere.

        Raises `NotFound`, `InvalidParameter`, `QuotaExceeded`, and `AlreadyExists`
        where any tenant has a key of that id.
        """
        if not _KEY_ID.fullmatch(access_key_id):
            raise InvalidParameter(
                "An access key id must be 16 to 128 letters and digits; this one has "
                f"{len(access_key_id)} characters.",
                field="access_key_id",
            )
        if not _SECRET.fullmatch(secret):
            raise InvalidParameter(
                "A secret must be 8 to 128 printable ASCII characters without spaces; "
                f"this one has {len(secret)} characters.",
                field="secret_access_key",
            )
        async with self._turns.hold(_ALL):
            self._tenant(tenant_id)
            key = self._new_key(tenant_id, access_key_id, is_operator=False)
            await self._store_key(key, secret)
        return key

    async def list_keys(
        self, tenant_id: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[AccessKey], str]:
        """A page by id, and the token of the next. Raises `NotFound`."""
        self._tenant(tenant_id)
        size = size_of(page_size)
        page = await self._store.list_keys(tenant_id, after=page_token, limit=size + 1)
        return page[:size], page[size - 1].id if len(page) > size else ""

    async def revoke_key(self, tenant_id: str | None, access_key_id: str) -> None:
        """Take a key back: the next `authenticate` with it fails.

        Raises `NotFound`, also where it is not `tenant_id`'s; None may revoke any. And
        `Conflict` for the last one of an operator's: until the next start nobody could
        do as much as make another.
        """
        async with self._turns.hold(_ALL):
            found = await self._store.get_key(access_key_id)
            if found is None or tenant_id not in (None, found[0].tenant_id):
                raise NotFound(
                    f"There is no access key {access_key_id}.",
                    kind="key",
                    name=access_key_id,
                )
            if found[0].is_operator and await self._is_last_operators(access_key_id):
                raise Conflict(
                    f"{access_key_id} is the last key of an operator's. Make another "
                    "first, with `sandlot key create --operator`."
                )
            try:
                await self._store.delete_key(access_key_id)
            finally:
                self._forget_keys()

    async def _is_last_operators(self, access_key_id: str) -> bool:
        keys = await self._store.list_keys(
            DEFAULT_TENANT_ID, after="", limit=MAX_KEYS_PER_TENANT
        )
        return not any(key.is_operator and key.id != access_key_id for key in keys)

    async def authenticate(self, access_key_id: str, secret: str) -> AccessKey:
        """The key, if it exists and this is its secret; else `Unauthenticated`.

        An unknown id and a wrong secret look the same and take the same work.
        """
        cached = await self._cached(access_key_id)
        is_right = hmac.compare_digest(cached.digest, _digest(secret))
        if cached.key is None or not is_right:
            raise Unauthenticated(
                "The access key id or its secret is wrong. Check the credentials, or "
                "ask the operator for a new key."
            )
        return self._as_it_is(cached.key)

    async def signing_secret(self, access_key_id: str) -> tuple[AccessKey | None, str]:
        """A key and the secret to check a signature with.

        For an unknown id there is no key, but a secret all the same: check the
        signature with it before refusing, and both refusals take the same work.
        """
        cached = await self._cached(access_key_id)
        key = None if cached.key is None else self._as_it_is(cached.key)
        return key, cached.secret

    def _as_it_is(self, key: AccessKey) -> AccessKey:
        tenant = self._tenants.get(key.tenant_id)
        if tenant is None or not tenant.is_suspended:
            return key
        return replace(key, is_suspended=True)

    # Last, because from here on the class's `list` hides the builtin.
    async def list(
        self, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[Tenant], str]:
        """A page by id, and the token of the next: empty after the last."""
        size = size_of(page_size)
        page = await self._store.list_tenants(after=page_token, limit=size + 1)
        return page[:size], page[size - 1].id if len(page) > size else ""

    # --- tenants ------------------------------------------------------------------

    async def _load(self) -> None:
        after = ""
        while page := await self._store.list_tenants(after=after, limit=MAX_PAGE):
            self._tenants.update((tenant.id, tenant) for tenant in page)
            after = page[-1].id

    async def _add_tenant(self, tenant: Tenant) -> None:
        await self._store.create_tenant(tenant)
        self._tenants[tenant.id] = tenant

    def _free_tenant_id(self) -> str:
        while (tenant_id := f"{secrets.randbelow(10**12):012}") in self._tenants:
            pass
        return tenant_id

    def _tenant(self, tenant_id: str) -> Tenant:
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            raise NotFound(
                f"There is no tenant {tenant_id!r}.", kind="tenant", name=tenant_id
            )
        return tenant

    # --- keys ---------------------------------------------------------------------

    async def _add_key(
        self, tenant_id: str, *, is_operator: bool
    ) -> tuple[AccessKey, str]:
        key = self._new_key(tenant_id, is_operator=is_operator)
        secret = _new_secret()
        await self._store_key(key, secret)
        return key, secret

    def _new_key(
        self, tenant_id: str, key_id: str = "", *, is_operator: bool
    ) -> AccessKey:
        return AccessKey(
            id=key_id or _new_key_id(),
            tenant_id=tenant_id,
            is_operator=is_operator,
            created=self._clock.now(),
        )

    async def _store_key(self, key: AccessKey, secret: str) -> None:
        limit = MAX_KEYS_PER_TENANT
        keys = await self._store.list_keys(key.tenant_id, after="", limit=limit)
        if len(keys) >= limit:
            raise QuotaExceeded(
                f"Tenant {key.tenant_id} has {len(keys)} access keys of {limit} "
                "allowed. Revoke one first.",
                limit=limit,
            )
        sealed = self._sealer.seal(secret, key_id=key.id)
        try:
            await self._store.create_key(key, sealed)
        finally:
            # It may be cached as unknown.
            self._cache.pop(key.id, None)
            self._changes += 1

    async def _cached(self, access_key_id: str) -> _CachedKey:
        if cached := self._cache.get(access_key_id):
            self._cache.move_to_end(access_key_id)
            return cached
        changes = self._changes
        found = await self._look_up(access_key_id)
        # What is no key id may be long, and would fill the cache with our memory.
        if changes == self._changes and _KEY_ID.fullmatch(access_key_id):
            self._cache[access_key_id] = found
            if len(self._cache) > MAX_CACHED_KEYS:
                self._cache.popitem(last=False)
        return found

    async def _look_up(self, access_key_id: str) -> _CachedKey:
        found = await self._store.get_key(access_key_id)
        key, sealed = found or (None, self._sealed_no_secret)
        secret = self._sealer.unseal(sealed, key_id="" if key is None else key.id)
        return _CachedKey(key, secret, _digest(secret))

    def _forget_keys(self) -> None:
        self._cache.clear()
        self._changes += 1
        self._note_change("")


def _digest(secret: str) -> bytes:
    # Of one length for all, because comparing reveals lengths. `surrogatepass`
    # for what a client may send that is no text.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _new_key_id() -> str:
    # AWS's tools know a long-lived key by these four letters.
    return "AKIA" + "".join(secrets.choice(_BASE32) for _ in range(16))


def _new_secret() -> str:
    """Forty characters, 240 bits."""
    return base64.b64encode(secrets.token_bytes(30)).decode()


def _checked_tenant_id(tenant_id: str) -> str:
    if not _TENANT_ID.fullmatch(tenant_id):
        raise InvalidParameter(
            f"Tenant id {tenant_id[:64]!r} must be twelve digits.", field="id"
        )
    return tenant_id


def _checked_name(name: str) -> str:
    if not 1 <= len(name) <= MAX_TENANT_NAME or not name.isprintable():
        raise InvalidParameter(
            f"A tenant's name must be 1 to {MAX_TENANT_NAME} printable characters; "
            f"{name[:MAX_TENANT_NAME]!r} has {len(name)}.",
            field="name",
        )
    return name


def _checked_concurrency(concurrency: int) -> int:
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise InvalidParameter(
            f"Concurrency {concurrency} must be 1 to {MAX_CONCURRENCY}.",
            field="concurrency",
        )
    return concurrency


def _checked_allow(cidrs: Iterable[str], network: Network) -> tuple[str, ...]:
    allow = checked_cidrs(cidrs)
    if allow and network is Network.NONE:
        raise InvalidParameter(
            f"To allow {allow[0]} would do nothing: this tenant's functions have no "
            "network. Give network 'egress' with it.",
            field="network_allow",
        )
    return allow
