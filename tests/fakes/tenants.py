"""Tenants and their keys, in memory."""

from collections.abc import Iterable
from dataclasses import replace

from sandlot_engine.catalog.validation import check_network
from sandlot_engine.errors import NotFound, Unauthenticated
from sandlot_engine.model.network import Network
from sandlot_engine.model.tenant import AccessKey, Tenant
from tests.fakes.functions import LONG_AGO


class FakeTenants:
    """Tenants in a dict. A key's secret is its id with `-secret`."""

    def __init__(self) -> None:
        self.all: dict[str, Tenant] = {}
        self.keys: dict[str, AccessKey] = {}

    def add(self, tenant_id: str, name: str, *, is_operator: bool = False) -> None:
        self.all[tenant_id] = Tenant(
            id=tenant_id, name=name, concurrency=2, created=LONG_AGO
        )
        self._add_key(f"key-of-{name}", tenant_id, is_operator=is_operator)

    def _add_key(
        self, key_id: str, tenant_id: str, *, is_operator: bool = False
    ) -> AccessKey:
        self.keys[key_id] = AccessKey(
            id=key_id, tenant_id=tenant_id, is_operator=is_operator, created=LONG_AGO
        )
        return self.keys[key_id]

    def concurrency(self, tenant_id: str) -> int:
        return self.all[tenant_id].concurrency

    async def known(self, tenant_id: str) -> str:
        return self._get(tenant_id).id

    def grant_network(self, tenant_id: str, network: Network) -> tuple[str, ...]:
        check_network(network, self._get(tenant_id))
        return self.all[tenant_id].network_allow

    def _get(self, tenant_id: str) -> Tenant:
        if tenant_id not in self.all:
            raise NotFound(
                f"Tenant not found: {tenant_id}", kind="tenant", name=tenant_id
            )
        return self.all[tenant_id]

    async def create(
        self,
        name: str,
        tenant_id: str = "",
        concurrency: int = 0,
        network: Network = Network.NONE,
        network_allow: Iterable[str] = (),
    ) -> tuple[Tenant, AccessKey, str]:
        tenant_id = tenant_id or "333333333333"
        self.add(tenant_id, name)
        await self.update(tenant_id, network=network, network_allow=network_allow)
        key = self.keys[f"key-of-{name}"]
        return self.all[tenant_id], key, f"{key.id}-secret"

    async def update(
        self,
        tenant_id: str,
        name: str | None = None,
        concurrency: int | None = None,
        network: Network | None = None,
        network_allow: Iterable[str] | None = None,
        is_suspended: bool | None = None,
    ) -> Tenant:
        tenant = self._get(tenant_id)
        if is_suspended is not None:
            tenant = replace(tenant, is_suspended=is_suspended)
        self.all[tenant_id] = replace(
            tenant,
            name=tenant.name if name is None else name,
            concurrency=tenant.concurrency if concurrency is None else concurrency,
            network=tenant.network if network is None else network,
            network_allow=tenant.network_allow
            if network_allow is None
            else tuple(network_allow),
        )
        return self.all[tenant_id]

    async def get(self, tenant_id: str) -> Tenant:
        return self._get(tenant_id)

    async def delete(self, tenant_id: str) -> None:
        del self.all[self._get(tenant_id).id]

    async def create_key(
        self, tenant_id: str, operator: bool = False
    ) -> tuple[AccessKey, str]:
        key = self._add_key(
            f"key{len(self.keys)}", self._get(tenant_id).id, is_operator=operator
        )
        return key, f"{key.id}-secret"

    async def import_key(
        self, tenant_id: str, access_key_id: str, secret: str
    ) -> AccessKey:
        return self._add_key(access_key_id, self._get(tenant_id).id)

    async def list_keys(
        self, tenant_id: str, page_size: int, page_token: str
    ) -> tuple[list[AccessKey], str]:
        self._get(tenant_id)
        return [key for key in self.keys.values() if key.tenant_id == tenant_id], ""

    async def revoke_key(self, tenant_id: str | None, access_key_id: str) -> None:
        key = self.keys.get(access_key_id)
        if key is None or tenant_id not in (None, key.tenant_id):
            raise NotFound(
                f"Key not found: {access_key_id}", kind="key", name=access_key_id
            )
        del self.keys[access_key_id]

    async def authenticate(self, access_key_id: str, secret: str) -> AccessKey:
        if access_key_id not in self.keys or secret != f"{access_key_id}-secret":
            raise Unauthenticated("unknown key or wrong secret")
        return self.keys[access_key_id]

    async def signing_secret(self, access_key_id: str) -> tuple[AccessKey | None, str]:
        return self.keys.get(access_key_id), f"{access_key_id}-secret"

    async def list(self, page_size: int, page_token: str) -> tuple[list[Tenant], str]:
        return list(self.all.values()), ""
