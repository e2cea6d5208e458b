"""Tenants, their keys and bills, and the engine itself."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from sandlot import calls
from sandlot.client.connection import Service
from sandlot.results import Bill, EngineStatus, Key, Network, NewKey, Runtime, Tenant
from sandlot.times import When, point_in_time


class Tenants(Service):
    """See `Client`."""

    def create_tenant(
        self,
        name: str,
        *,
        id: str = "",  # noqa: A002  # the tenant's word for it
        concurrency: int = 0,
        network: Network | str = Network.NONE,
        network_allow: Sequence[str] = (),
    ) -> NewKey:
        """Make a tenant and its first key, whose secret is shown this once.

        `network` is the most that its functions may have, `network_allow` the CIDRs
        that those with egress may reach although they are not public.
        """
        return self._connection.ask(
            calls.create_tenant(
                name,
                id=id,
                concurrency=concurrency,
                network=network,
                network_allow=network_allow,
            )
        )

    def list_tenants(self) -> Iterator[Tenant]:
        """All tenants by id; for operators."""
        return self._connection.pages(calls.list_tenants)

    def update_tenant(
        self,
        tenant_id: str,
        *,
        name: str | None = None,
        concurrency: int | None = None,
        network: Network | str | None = None,
        network_allow: Sequence[str] | None = None,
        suspended: bool | None = None,
    ) -> Tenant:
        """Change what is given, and only that; `network_allow` is replaced whole.

        Functions above a lower `network` are refused from then on. Of a tenant that is
        `suspended` keys are refused and nothing runs; its events wait.
        """
        return self._connection.ask(
            calls.update_tenant(
                tenant_id,
                name=name,
                concurrency=concurrency,
                network=network,
                network_allow=network_allow,
                suspended=suspended,
            )
        )

    def delete_tenant(self, tenant_id: str) -> None:
        """Delete a tenant that has no functions, and its keys. Its bill stays."""
        self._connection.ask(calls.delete_tenant(tenant_id))

    def create_key(self, tenant_id: str = "", *, operator: bool = False) -> NewKey:
        """Another key, for the caller's own tenant if none is given; an operator's, if
        that is said, which only operators may.
        """
        return self._connection.ask(calls.create_key(tenant_id, operator=operator))

    def import_key(
        self, access_key_id: str, secret_access_key: str, *, tenant_id: str = ""
    ) -> Key:
        """Take over an existing key pair, for scripts with fixed credentials."""
        return self._connection.ask(
            calls.import_key(access_key_id, secret_access_key, tenant_id=tenant_id)
        )

    def list_keys(self, tenant_id: str = "") -> Iterator[Key]:
        """The keys of a tenant, one's own unless named; no secrets."""
        return self._connection.pages(lambda token: calls.list_keys(tenant_id, token))

    def revoke_key(self, access_key_id: str) -> None:
        """Take a key back, at once."""
        self._connection.ask(calls.revoke_key(access_key_id))

    def bill(
        self,
        since: When | None = None,
        until: When | None = None,
        *,
        tenant_id: str = "",
    ) -> Bill:
        """What is owed from `since` (this month's beginning) until `until` (now)."""
        now = datetime.now(UTC)
        return self._connection.ask(
            calls.get_bill(
                tenant_id,
                since=point_in_time(since, now=now),
                until=point_in_time(until, now=now),
            )
        )

    def status(self) -> EngineStatus:
        """Version, isolation layers, runtimes, running processes."""
        return self._connection.ask(calls.get_status())

    def list_runtimes(self) -> tuple[Runtime, ...]:
        """What functions can be written for, by name; for operators also what is
        registered and cannot be used."""
        return self._connection.ask(calls.list_runtimes())
