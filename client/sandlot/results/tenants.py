"""Tenants, keys and bills; and the engine itself."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from sandlot import prices
from sandlot.results.functions import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """A sum of the ledger: integers, priced only when asked."""

    function: str
    """Empty in the total."""

    invocations: int
    billed_ms: int
    billed_mb_ms: int

    @property
    def gb_seconds(self) -> Decimal:
        return prices.gb_seconds(self.billed_mb_ms)

    @property
    def requests_cost(self) -> Decimal:
        return prices.requests(self.invocations)

    @property
    def compute_cost(self) -> Decimal:
        return prices.compute(self.billed_mb_ms)

    @property
    def cost(self) -> Decimal:
        """Dollars, exact."""
        return self.requests_cost + self.compute_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a tenant owes for a span of time."""

    tenant_id: str
    lines: tuple[BillLine, ...]
    """By function."""

    total: BillLine
    """The exact sum of the lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """An owner of functions."""

    id: str
    """Twelve digits."""

    name: str
    concurrency: int
    network: Network
    """The most that its functions may have."""

    network_allow: tuple[str, ...]
    """What its functions with `EGRESS` may reach although it is not public: CIDRs."""

    suspended: bool
    """Whether its keys are refused, and nothing of it runs."""

    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key, without its secret."""

    tenant_id: str
    access_key_id: str
    is_operator: bool
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key with its secret, which is shown this once."""

    tenant_id: str
    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationLayer:
    """One thing that the jail relies on."""

    name: str
    stops: str
    holds: bool
    detail: str
    given_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """An interpreter that functions can use."""

    name: str
    version: str
    """Empty for those that bring their own, and those that cannot be used."""

    kind: Literal["zygote", "program"] | None = None
    """What an instance is: a clone, or a program that speaks the Runtime API. None
    where that was not asked for."""

    path: str = ""
    """The interpreter on the engine's machine, for operators."""

    is_registered: bool = False
    problem: str = ""
    """Why it cannot be used; empty where it can."""

    functions: int = 0
    """How many functions use it in any version, for operators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """What the engine is and can do."""

    version: str
    mode: str
    """`root` or `rootless`."""

    layers: tuple[IsolationLayer, ...]
    runtimes: tuple[Runtime, ...]
    zygotes: int
    instances: int
    on_host_network: dict[str, int]
    """How many functions share the machine's network, by tenant; for operators."""
