"""Catalog and records in memory, small enough to be seen to be right, and an engine
made of them that serves gRPC."""

import asyncio
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import grpc.aio

from sandlot.v1 import (
    events_pb2_grpc,
    functions_pb2_grpc,
    invocations_pb2_grpc,
    tenants_pb2_grpc,
    triggers_pb2_grpc,
)
from sandlot_engine.catalog.aliases import Aliases
from sandlot_engine.catalog.event_configs import EventConfigs, kept_event_configs
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.layers import Layers
from sandlot_engine.catalog.mappings import Mappings, kept_mappings
from sandlot_engine.catalog.policies import Policies, kept_policies
from sandlot_engine.catalog.provisioned import (
    ProvisionedConcurrency,
    kept_provisioned,
)
from sandlot_engine.catalog.runtimes import Runtimes, kept_runtime_management
from sandlot_engine.catalog.settings import Settings as FunctionsSettings
from sandlot_engine.catalog.signing import (
    SigningConfigs,
    kept_signing_configs,
    kept_signings,
)
from sandlot_engine.catalog.urls import Urls, kept_urls
from sandlot_engine.catalog.validation import check_network
from sandlot_engine.catalog.versions import Versions
from sandlot_engine.errors import AlreadyExists, NotFound, Unauthenticated
from sandlot_engine.events.dead_letters import DeadLetters
from sandlot_engine.events.verdicts import Settings
from sandlot_engine.gateway.aws.buckets import Buckets
from sandlot_engine.gateway.aws.call import Parts
from sandlot_engine.gateway.aws.downloads import Downloads
from sandlot_engine.gateway.ports import (
    Backend,
    Catalog,
    EngineStatus,
    IsolationLayer,
    Runtime,
)
from sandlot_engine.gateway.rpc.listeners import Tls
from sandlot_engine.gateway.rpc.server import MAX_CONNECTIONS, MAX_SENT, serve
from sandlot_engine.gateway.urls.addresses import Addresses
from sandlot_engine.invocation.invoker import Invoker
from sandlot_engine.locks import KeyedLocks
from sandlot_engine.model.function import (
    Alias,
    Code,
    Function,
    FunctionConfig,
    FunctionState,
    ImageSource,
    Revision,
)
from sandlot_engine.model.invocation import BillLine, LogLine, Record
from sandlot_engine.model.network import Network
from sandlot_engine.model.settings import FunctionSettings
from sandlot_engine.model.tenant import AccessKey, Tenant
from sandlot_engine.store.ports import AnswerStore
from sandlot_engine.triggers.parts import KeptTriggers, TriggerParts, made_of
from tests.fakes.events import MemoryEvents
from tests.fakes.runner import FakeClock, FakeRunner
from tests.fakes.stores import MemoryStore
from tests.fakes.triggers import SEALER, FakeEvents

T = TypeVar("T")

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)

ACME = "111111111111"
GLOBEX = "222222222222"
OPERATOR = "000000000001"


def make_function(tenant_id: str, name: str, **config: Any) -> Function:
    """An active function."""
    settings: dict[str, Any] = {"handler": "app.handler", "runtime": "python3.11"}
    revision = Revision(
        id=f"revision-of-{name}",
        code=Code(sha256="00" * 32, size=10, unpacked_size=20),
        config=FunctionConfig(**(settings | config)),
    )
    return Function(
        tenant_id=tenant_id,
        name=name,
        revision_id=f"change-of-{name}",
        serving=revision,
        pending=None,
        state=FunctionState.ACTIVE,
        last_modified=LONG_AGO,
    )


class FakeFunctions:
    """Functions in a dict."""

    def __init__(self) -> None:
        self.all: dict[tuple[str, str], Function] = {}
        self.changes: Mapping[str, object] = {}
        self.shares: dict[str, int] = {}
        """Reserved concurrency by function, for every tenant."""

        self.renewed: list[str] = []
        """Tenants whose network policy was said to have changed."""

        self.forgotten: list[str] = []
        """Tenants that were said to be deleted."""

        self.versions = Versions("us-east-1")
        """The same functions, for what the catalog keeps of them."""

    def add(self, function: Function) -> Function:
        self.all[function.tenant_id, function.name] = function
        self.versions.keep(function)
        return function

    def resolve(self, tenant_id: str, name: str, qualifier: str) -> Function:
        function = self.all.get((tenant_id, name))
        if function is None or qualifier not in ("", function.version):
            raise NotFound(f"Function not found: {name}", kind="function", name=name)
        return function

    def reserved(self, tenant_id: str) -> Mapping[str, int]:
        return self.shares

    # --- what `Urls` and `Policies` need of the catalog's own ------------------------

    def find(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        return self.resolve(tenant_id, name, qualifier)

    def arn(self, tenant_id: str, name: str, qualifier: str = "") -> str:
        end = f":{qualifier}" if qualifier else ""
        return f"arn:aws:lambda:us-east-1:{tenant_id}:function:{name}{end}"

    def revision_id(self, tenant_id: str, name: str, qualifier: str = "") -> str:
        return self.resolve(tenant_id, name, qualifier).revision_id

    async def in_turn(self, tenant_id: str, work: Callable[[], Awaitable[T]]) -> T:
        return await work()

    async def touch(self, tenant_id: str, name: str, qualifier: str = "") -> None:
        """Nothing has a revision id that changes here."""

    async def create(
        self,
        tenant_id: str,
        name: str,
        config: FunctionConfig,
        zip: bytes | ImageSource,  # noqa: A002
    ) -> Function:
        if (tenant_id, name) in self.all:
            raise AlreadyExists(f"Function already exist: {name}")
        function = make_function(tenant_id, name)
        size = len(zip) if isinstance(zip, bytes) else 0
        code = Code(sha256="ab" * 32, size=size, unpacked_size=0)
        revision = Revision(id="r1", code=code, config=config)
        return self.add(replace(function, serving=revision))

    async def update_code(
        self,
        tenant_id: str,
        name: str,
        zip: bytes | ImageSource,  # noqa: A002
        revision_id: str,
    ) -> Function:
        return self.resolve(tenant_id, name, "")

    async def update_configuration(
        self, tenant_id: str, name: str, changes: Mapping[str, object], revision_id: str
    ) -> Function:
        self.changes = changes
        return self.resolve(tenant_id, name, "")

    async def get(self, tenant_id: str, name: str, qualifier: str = "") -> Function:
        return self.resolve(tenant_id, name, qualifier)

    async def delete(self, tenant_id: str, name: str) -> None:
        self.versions.forget(self.resolve(tenant_id, name, ""))
        del self.all[tenant_id, name]

    # Nothing is published here: `tests.fakes.catalog` has the catalog itself.

    async def publish(self, tenant_id: str, name: str, **_: str | None) -> Function:
        return self.resolve(tenant_id, name, "")

    async def list_versions(
        self, tenant_id: str, name: str, page_size: int = 0, page_token: str = ""
    ) -> tuple[list[Function], str]:
        return [self.resolve(tenant_id, name, "")], ""

    async def delete_version(self, tenant_id: str, name: str, version: str) -> None:
        self.resolve(tenant_id, name, version)

    async def renew(self, tenant_id: str) -> None:
        self.renewed.append(tenant_id)

    def resume(self, tenant_id: str) -> None:
        """Nothing waits here."""

    async def forget(self, tenant_id: str) -> None:
        self.forgotten.append(tenant_id)

    def count_by_network(self, network: Network) -> Mapping[str, int]:
        return Counter(
            tenant_id
            for (tenant_id, _), function in self.all.items()
            if function.current.config.network is network
        )

    def count_by_runtime(self) -> Mapping[str, int]:
        return Counter(one.current.config.runtime for one in self.all.values())

    async def list(
        self, tenant_id: str, page_size: int, page_token: str
    ) -> tuple[list[Function], str]:
        return [f for (owner, _), f in self.all.items() if owner == tenant_id], ""


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


class FakeRecords:
    """Records and logs in lists; a position is an index plus one."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.lines: list[tuple[str, str, LogLine]] = []
        self.reads = 0
        self.flushes = 0
        self._more = asyncio.Condition()

    def check_writing(self) -> None:
        """Nothing fails here."""

    def append(self, record: Record, log: Sequence[LogLine]) -> None:
        self.records.append(record)
        self.append_log(record.tenant_id, record.function, log)

    def append_log(self, tenant_id: str, function: str, log: Sequence[LogLine]) -> None:
        self.lines += [(tenant_id, function, line) for line in log]

    async def flush(self) -> None:
        self.flushes += 1
        async with self._more:
            self._more.notify_all()

    async def list_records(
        self, tenant_id: str, function: str, *, before: int, limit: int
    ) -> list[tuple[int, Record]]:
        rows = [
            (position, record)
            for position, record in enumerate(self.records, start=1)
            if record.tenant_id == tenant_id
            and function in ("", record.function)
            and (before == 0 or position < before)
        ]
        return rows[::-1][:limit]

    async def list_log(
        self,
        tenant_id: str,
        function: str,
        *,
        since: datetime | None,
        after: int,
        limit: int,
    ) -> list[tuple[int, LogLine]]:
        self.reads += 1
        rows = [
            (position, line)
            for position, (owner, name, line) in enumerate(self.lines, start=1)
            if (owner, name) == (tenant_id, function)
            and position > after
            and (since is None or line.time >= since)
        ]
        return rows[:limit]

    async def wait_for_log(self, tenant_id: str, function: str, *, after: int) -> None:
        async with self._more:
            if len(self.lines) <= after:
                await self._more.wait()

    async def bill(
        self, tenant_id: str, *, since: datetime, until: datetime
    ) -> list[BillLine]:
        mine = [
            record
            for record in self.records
            if record.tenant_id == tenant_id and since <= record.time < until
        ]
        return [
            BillLine(
                function=name,
                invocations=len(records),
                billed_ms=sum(record.report.billed_ms for record in records),
                billed_mb_ms=sum(record.report.billed_mb_ms for record in records),
            )
            for name in sorted({record.function for record in mine})
            if (records := [record for record in mine if record.function == name])
        ]


async def provides_none(_: Function, __: int) -> int:
    """A machine without room for what is to be started ahead."""
    return 0


@dataclass(slots=True)
class FakeEngine:
    """A real gRPC server and a real channel over fakes.

    Tenant Acme has functions `echo` and `slow`, tenant Globex has `theirs`.
    """

    functions: FakeFunctions = field(default_factory=FakeFunctions)
    tenants: FakeTenants = field(default_factory=FakeTenants)
    records: FakeRecords = field(default_factory=FakeRecords)
    clock: FakeClock = field(default_factory=FakeClock)
    aliases: Aliases = field(init=False)
    layers: Layers = field(init=False)
    settings: FunctionsSettings = field(init=False)
    provisioned: ProvisionedConcurrency = field(init=False)
    event_configs: EventConfigs = field(init=False)
    urls: Urls = field(init=False)
    policies: Policies = field(init=False)
    events: MemoryEvents = field(default_factory=MemoryEvents)
    runner: FakeRunner = field(init=False)
    invoker: Invoker = field(init=False)
    fired: FakeEvents = field(default_factory=FakeEvents)
    """Where events of triggers go."""

    triggers: TriggerParts = field(init=False)
    channel: grpc.aio.Channel = field(init=False)
    port: int = 0
    store: MemoryStore = field(default_factory=MemoryStore)
    answers: AnswerStore | None = None
    """Where first answers are kept; in `store`, if nowhere else."""

    addresses: Addresses = field(
        default_factory=lambda: Addresses("", region="us-east-1")
    )

    def __post_init__(self) -> None:
        self.runner = FakeRunner(self.clock)
        self.tenants.add(OPERATOR, "operator", is_operator=True)
        self.tenants.add(ACME, "acme")
        self.tenants.add(GLOBEX, "globex")
        for tenant_id, name in ((ACME, "echo"), (ACME, "slow"), (GLOBEX, "theirs")):
            self.functions.add(make_function(tenant_id, name))
        self.events.keep_records(lambda record: self.records.append(record, ()))
        self.invoker = Invoker(
            functions=self.functions,
            quotas=self.tenants,
            runner=self.runner,
            records=self.records,
            event_store=self.events,
            clock=self.clock,
            answers=self.answers or self.store,
            event_drain_s=1.0,
        )
        functions = cast("Any", self.functions)
        turns, keeper = KeyedLocks(), Keeper()
        self.aliases = Aliases(
            Kept(self.store, "alias", Alias),
            self.functions.versions,
            turns=turns,
            keeper=keeper,
        )
        self.layers = Layers(
            self.store,
            cast("Any", None),  # who publishes one brings a catalog along
            turns=turns,
            keeper=keeper,
            clock=self.clock,
            runtimes=lambda: ("python3.11",),
            check_room=lambda *_: None,
        )
        self.settings = FunctionsSettings(
            Kept(self.store, "settings", FunctionSettings),
            self.functions.versions,
            turns=turns,
            keeper=keeper,
            concurrency=self.tenants.concurrency,
        )
        self.provisioned = ProvisionedConcurrency(
            kept_provisioned(self.store),
            functions,
            clock=self.clock,
            concurrency=lambda _: 0,
            provision=provides_none,
            available=lambda _: 0,
        )
        self.event_configs = EventConfigs(
            kept_event_configs(self.store), functions, clock=self.clock
        )
        self.urls = Urls(kept_urls(self.store), functions, clock=self.clock)
        self.policies = Policies(kept_policies(self.store), functions)
        self.triggers = made_of(
            KeptTriggers.over(MemoryStore()),
            cast("Any", self.functions),
            self.fired,
            SEALER,
            clock=self.clock,
            region="us-east-1",
        )

    def backend(self) -> Backend:
        return Backend(
            functions=self.functions,
            tenants=self.tenants,
            invoker=self.invoker,
            records=self.records,
            triggers=self.triggers,
            event_store=self.events,
            dead_letters=DeadLetters(
                self.events, self.invoker.events, lambda _: Settings()
            ),
            event_configs=self.event_configs,
            status=self._status,
            clock=self.clock,
            region="us-east-1",
            aliases=self.aliases,
            layers=self.layers,
            settings=self.settings,
            provisioned=self.provisioned,
            urls=self.urls,
            policies=self.policies,
            addresses=self.addresses,
        )

    def parts(self) -> Parts:
        """What AWS's operations work on, for tests of all but them."""
        store, functions = self.store, cast("Any", self.functions)
        return Parts(
            catalog=Catalog(
                functions=functions,
                policies=self.policies,
                event_configs=self.event_configs,
                urls=self.urls,
                mappings=Mappings(kept_mappings(store), functions, clock=self.clock),
                signing=SigningConfigs(
                    kept_signing_configs(store),
                    kept_signings(store),
                    functions,
                    clock=self.clock,
                ),
                runtimes=Runtimes(kept_runtime_management(store), functions),
                provisioned=self.provisioned,
            ),
            region="us-east-1",
            buckets=Buckets(None),
            downloads=Downloads(self.clock),
            addresses=self.addresses,
        )

    async def _status(self) -> EngineStatus:
        return EngineStatus(
            version="1.0",
            mode="rootless",
            layers=(IsolationLayer(name="seccomp", stops="system calls", holds=True),),
            runtimes=(
                Runtime(
                    name="python3.11", version="3.11.9", path="/usr/bin/python3.11"
                ),
                Runtime(
                    name="python3.12-own",
                    version="",
                    path="/opt/own/bin/python3.12",
                    is_registered=True,
                    problem="it is not there",
                ),
            ),
            zygotes=3,
            instances=7,
        )

    @property
    def function_service(self) -> Any:
        return cast("Any", functions_pb2_grpc).FunctionServiceStub(self.channel)

    @property
    def invocation_service(self) -> Any:
        return cast("Any", invocations_pb2_grpc).InvocationServiceStub(self.channel)

    @property
    def event_service(self) -> Any:
        return cast("Any", events_pb2_grpc).EventServiceStub(self.channel)

    @property
    def tenant_service(self) -> Any:
        return cast("Any", tenants_pb2_grpc).TenantServiceStub(self.channel)

    @property
    def billing_service(self) -> Any:
        return cast("Any", tenants_pb2_grpc).BillingServiceStub(self.channel)

    @property
    def trigger_service(self) -> Any:
        return cast("Any", triggers_pb2_grpc).TriggerServiceStub(self.channel)

    @property
    def engine_service(self) -> Any:
        return cast("Any", tenants_pb2_grpc).EngineServiceStub(self.channel)


def as_tenant(name: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with the key of `acme`, `globex` or the `operator`."""
    return (("authorization", f"Bearer key-of-{name}:key-of-{name}-secret"),)


@asynccontextmanager
async def fake_engine(
    *,
    drain_s: float = 5.0,
    tls: Tls | None = None,
    functions: FakeFunctions | None = None,
    max_connections: int = MAX_CONNECTIONS,
) -> AsyncIterator[FakeEngine]:
    """Serve a `FakeEngine` on a free port, with a channel to it."""
    engine = FakeEngine(functions=functions or FakeFunctions())
    async with engine.invoker:
        async with serve(
            engine.backend(),
            address="127.0.0.1:0",
            tls=tls,
            max_connections=max_connections,
            drain_s=drain_s,
        ) as port:
            options = (
                ("grpc.max_receive_message_length", MAX_SENT),
                ("grpc.max_send_message_length", -1),
            )
            engine.port = port
            async with grpc.aio.insecure_channel(
                f"127.0.0.1:{port}", options=options
            ) as engine.channel:
                yield engine
