"""An engine of fakes that serves gRPC."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

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
from sandlot_engine.catalog.provisioned import ProvisionedConcurrency, kept_provisioned
from sandlot_engine.catalog.runtimes import Runtimes, kept_runtime_management
from sandlot_engine.catalog.settings import Settings as FunctionsSettings
from sandlot_engine.catalog.signing import (
    SigningConfigs,
    kept_signing_configs,
    kept_signings,
)
from sandlot_engine.catalog.turns import Turns
from sandlot_engine.catalog.urls import Urls, kept_urls
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
from sandlot_engine.model.function import Alias, Function
from sandlot_engine.model.settings import FunctionSettings
from sandlot_engine.store.ports import AnswerStore
from sandlot_engine.triggers.parts import KeptTriggers, TriggerParts, made_of
from tests.fakes.events import MemoryEvents
from tests.fakes.functions import FakeFunctions, make_function
from tests.fakes.records import MemoryRecords
from tests.fakes.runner import FakeClock, FakeRunner
from tests.fakes.stores import MemoryStore
from tests.fakes.tenants import FakeTenants
from tests.fakes.triggers import SEALER, FakeEvents

ACME = "111111111111"
GLOBEX = "222222222222"
OPERATOR = "000000000001"


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
    records: MemoryRecords = field(default_factory=MemoryRecords)
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
        keeper = Keeper()
        turns = Turns(keeper)
        self.aliases = Aliases(
            Kept(self.store, "alias", Alias),
            self.functions.versions,
            turns=turns,
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
