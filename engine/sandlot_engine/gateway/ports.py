"""What the gateways need from below, and what they are given of it.

`catalog.Functions` and `catalog.Tenants` satisfy the first two.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sandlot_engine.catalog.aliases import Aliases
from sandlot_engine.catalog.event_configs import EventConfigs
from sandlot_engine.catalog.functions import Functions as CatalogFunctions
from sandlot_engine.catalog.layers import Layers
from sandlot_engine.catalog.mappings import Mappings
from sandlot_engine.catalog.policies import Policies
from sandlot_engine.catalog.provisioned import ProvisionedConcurrency
from sandlot_engine.catalog.runtimes import Runtimes
from sandlot_engine.catalog.settings import Settings
from sandlot_engine.catalog.signing import SigningConfigs
from sandlot_engine.catalog.urls import Urls
from sandlot_engine.clock import Clock
from sandlot_engine.events.dead_letters import DeadLetters
from sandlot_engine.gateway.urls.addresses import Addresses
from sandlot_engine.invocation.invoker import Invoker
from sandlot_engine.model.function import Function, FunctionConfig, ImageSource
from sandlot_engine.model.network import Network
from sandlot_engine.model.tenant import AccessKey, Tenant
from sandlot_engine.store.event_ports import EventStore
from sandlot_engine.store.ports import RecordStore
from sandlot_engine.triggers.parts import TriggerParts


class Functions(Protocol):
    """The functions of all tenants; each call is about one tenant's."""

    async def create(
        self,
        tenant_id: str,
        name: str,
        config: FunctionConfig,
        zip: bytes | ImageSource,  # noqa: A002 - as callers say it
    ) -> Function: ...

    async def update_code(
        self,
        tenant_id: str,
        name: str,
        zip: bytes | ImageSource,  # noqa: A002 - as callers say it
        revision_id: str,
    ) -> Function: ...

    async def update_configuration(
        self, tenant_id: str, name: str, changes: Mapping[str, object], revision_id: str
    ) -> Function:
        """`changes` has fields of `FunctionConfig` by name."""
        ...

    async def get(self, tenant_id: str, name: str, qualifier: str = "") -> Function: ...

    async def delete(self, tenant_id: str, name: str) -> None: ...

    async def publish(
        self,
        tenant_id: str,
        name: str,
        *,
        code_sha256: str = "",
        description: str | None = None,
        revision_id: str = "",
    ) -> Function:
        """Make a version of what `$LATEST` is now, or return the last one if that is
        the same."""
        ...

    async def list_versions(
        self, tenant_id: str, name: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[Function], str]:
        """A page, `$LATEST` first, and the token of the next one."""
        ...

    async def delete_version(self, tenant_id: str, name: str, version: str) -> None: ...

    async def renew(self, tenant_id: str) -> None:
        """To be called after each change of a tenant's network policy."""
        ...

    def resume(self, tenant_id: str) -> None:
        """To be called after a tenant that was suspended is so no more."""
        ...

    async def forget(self, tenant_id: str) -> None:
        """To be called after a tenant was deleted."""
        ...

    def count_by_network(self, network: Network) -> Mapping[str, int]:
        """How many functions with that network each tenant has that has any."""
        ...

    def count_by_runtime(self) -> Mapping[str, int]:
        """How many functions use each runtime, in any version."""
        ...

    # Last, because from here on the class's `list` hides the builtin.
    async def list(
        self, tenant_id: str, page_size: int, page_token: str
    ) -> tuple[list[Function], str]:
        """A page by name, and the token of the next one."""
        ...


class SigningKeys(Protocol):
    """Keys, for whoever checks signatures."""

    async def signing_secret(self, access_key_id: str) -> tuple[AccessKey | None, str]:
        """A key and the secret to check its signatures with; for an unknown id no key,
        but a secret all the same, so that both refusals take the same work."""
        ...


class BearerKeys(Protocol):
    """Keys, for whoever is sent their secrets."""

    async def authenticate(self, access_key_id: str, secret: str) -> AccessKey:
        """Raise `Unauthenticated`, alike for an unknown key and a wrong secret."""
        ...

    async def known(self, tenant_id: str) -> str:
        """The id of a tenant that there is. Raises `NotFound`."""
        ...


class Keys(SigningKeys, BearerKeys, Protocol):
    """Keys, for whoever does both."""


class Tenants(Keys, Protocol):
    """Tenants and their keys."""

    async def create(
        self,
        name: str,
        tenant_id: str = "",
        concurrency: int = 0,
        network: Network = Network.NONE,
        network_allow: Iterable[str] = (),
    ) -> tuple[Tenant, AccessKey, str]:
        """The tenant, its first key, and that key's secret."""
        ...

    async def update(
        self,
        tenant_id: str,
        name: str | None = None,
        concurrency: int | None = None,
        network: Network | None = None,
        network_allow: Iterable[str] | None = None,
        is_suspended: bool | None = None,
    ) -> Tenant: ...

    async def get(self, tenant_id: str) -> Tenant: ...

    async def delete(self, tenant_id: str) -> None: ...

    async def create_key(
        self, tenant_id: str, operator: bool = False
    ) -> tuple[AccessKey, str]: ...

    async def import_key(
        self, tenant_id: str, access_key_id: str, secret: str
    ) -> AccessKey: ...

    async def list_keys(
        self, tenant_id: str, page_size: int, page_token: str
    ) -> tuple[list[AccessKey], str]: ...

    async def revoke_key(self, tenant_id: str | None, access_key_id: str) -> None:
        """None is the operator, who may revoke anybody's."""
        ...

    # Last, because from here on the class's `list` hides the builtin.
    async def list(
        self, page_size: int, page_token: str
    ) -> tuple[list[Tenant], str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationLayer:
    """One thing that the jail relies on."""

    name: str
    """As in `--insecure-NAME`."""

    stops: str
    holds: bool
    detail: str = ""
    """What was found, and how to mend it."""

    given_up: bool = False
    """By `--insecure-NAME`."""

    @property
    def is_weaker(self) -> bool:
        """Whether something weaker is done in its place, as nothing is served where a
        layer lacks that is required."""
        return not self.holds and not self.given_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """An interpreter that functions can use."""

    name: str
    """`python3.11`"""

    version: str
    """`3.11.9`"""

    is_program: bool = False
    """Whether instances are programs, and no clones of a zygote."""

    path: str = ""
    """Of the interpreter on this machine; empty where packages bring their own."""

    is_registered: bool = False
    problem: str = ""
    """Why it cannot be used; of registered ones alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """What the engine is and can do."""

    version: str
    mode: str
    """`root` or `rootless`."""

    layers: tuple[IsolationLayer, ...] = ()
    runtimes: tuple[Runtime, ...] = ()
    zygotes: int = 0
    instances: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """All that AWS's API is about: the catalog's own parts, for it needs most of what
    they can do."""

    functions: CatalogFunctions
    """With its aliases, settings and layers."""

    policies: Policies
    event_configs: EventConfigs
    urls: Urls
    mappings: Mappings
    signing: SigningConfigs
    runtimes: Runtimes
    provisioned: ProvisionedConcurrency


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """All that a gateway speaks to."""

    functions: Functions
    tenants: Tenants
    invoker: Invoker
    records: RecordStore
    triggers: TriggerParts
    event_store: EventStore
    dead_letters: DeadLetters
    event_configs: EventConfigs
    status: Callable[[], Awaitable[EngineStatus]]
    clock: Clock
    region: str
    """For ARNs only."""

    aliases: Aliases
    layers: Layers
    settings: Settings
    provisioned: ProvisionedConcurrency
    urls: Urls
    policies: Policies
    addresses: Addresses
    """Where function URLs are."""
    instances_of: Callable[[Function], tuple[int, int]] = lambda _: (0, 0)
    """How many instances live of a version's serving revision, and how many of those
    stand by. Never waits."""
