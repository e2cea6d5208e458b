"""A tenant's network policy, from the operator's call to the door of the node: gateway,
catalog and invoker are real, and where instances would start somebody takes notes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from sandlot.v1 import functions_pb2 as fn
from sandlot.v1 import functions_pb2_grpc, invocations_pb2_grpc, tenants_pb2_grpc
from sandlot.v1 import invocations_pb2 as inv
from sandlot.v1 import tenants_pb2 as ten
from sandlot_engine.catalog.code import CodeStore
from sandlot_engine.catalog.event_configs import EventConfigs, kept_event_configs
from sandlot_engine.catalog.functions import Functions
from sandlot_engine.catalog.life import Prepared
from sandlot_engine.catalog.policies import Policies, kept_policies
from sandlot_engine.catalog.provisioned import (
    ProvisionedConcurrency,
    kept_provisioned,
)
from sandlot_engine.catalog.seal import MASTER_KEY_BYTES, Sealer
from sandlot_engine.catalog.tenants import Tenants
from sandlot_engine.catalog.urls import Urls, kept_urls
from sandlot_engine.clock import SystemClock
from sandlot_engine.events.dead_letters import DeadLetters
from sandlot_engine.events.verdicts import Settings
from sandlot_engine.gateway.ports import Backend, EngineStatus
from sandlot_engine.gateway.rpc.convert import SHARES_NETWORK
from sandlot_engine.gateway.rpc.server import serve
from sandlot_engine.gateway.urls.addresses import Addresses
from sandlot_engine.invocation.invoker import Invoker
from sandlot_engine.model.function import Function, Revision
from sandlot_engine.model.invocation import Ended, Invocation, Run
from sandlot_engine.triggers.parts import KeptTriggers, made_of
from tests.fakes.backend import provides_none
from tests.fakes.building import build_here
from tests.fakes.stores import MemoryStore
from tests.fakes.triggers import SEALER, FakeEvents
from tests.fakes.waiting import DEADLINE_S, eventually
from tests.fakes.zips import zip_of

ZIP = zip_of({"app.py": "def handler(event, context): return 1"})
Metadata = tuple[tuple[str, str], ...]


@dataclass
class Door:
    """Where zygotes start and instances run; starts nothing."""

    prepared: list[str] = field(default_factory=list)
    """Revision ids, and so below."""

    ran: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)

    async def prepare(self, _: Function, revision: Revision, __: Path) -> Prepared:
        self.prepared.append(revision.id)
        return Prepared(fork_safe=True, reason="")

    async def retire(self, _: str, __: str, revision_id: str) -> None:
        self.retired.append(revision_id)

    async def run(self, function: Function, invocation: Invocation, **_: Any) -> Run:
        assert function.serving is not None
        self.ran.append(function.serving.id)
        return Run(
            ended=Ended.ANSWERED,
            payload=b"1",
            duration_s=0.001,
            wait_s=0.0,
            max_memory_mb=1,
        )


@dataclass
class Engine:
    """The parts, behind a gRPC server, with the keys of an operator and of Acme."""

    door: Door
    tenants: Tenants
    channel: grpc.aio.Channel
    operator: Metadata
    acme_id: str
    acme: Metadata

    async def set_policy(self, **fields: Any) -> ten.Tenant:
        answer = await _stub(tenants_pb2_grpc.TenantServiceStub, self).UpdateTenant(
            ten.UpdateTenantRequest(id=self.acme_id, **fields), metadata=self.operator
        )
        tenant: ten.Tenant = answer.tenant
        return tenant

    async def create(
        self, network: fn.Network, *, as_whom: Metadata | None = None
    ) -> None:
        config = fn.FunctionConfig(
            handler="app.handler", runtime="python3.11", network=network
        )
        await _stub(functions_pb2_grpc.FunctionServiceStub, self).CreateFunction(
            fn.CreateFunctionRequest(name="web", config=config, zip=ZIP),
            metadata=as_whom or self.acme,
        )

        async def is_ready() -> bool:
            function = await self.function(as_whom=as_whom)
            return function.state != fn.FUNCTION_STATE_PENDING

        await eventually(is_ready)

    async def function(self, *, as_whom: Metadata | None = None) -> fn.Function:
        answer = await _stub(functions_pb2_grpc.FunctionServiceStub, self).GetFunction(
            fn.GetFunctionRequest(name="web"), metadata=as_whom or self.acme
        )
        function: fn.Function = answer.function
        return function

    async def invoke(self) -> None:
        await _stub(invocations_pb2_grpc.InvocationServiceStub, self).Invoke(
            inv.InvokeRequest(function="web"), metadata=self.acme
        )

    async def status(self, as_whom: Metadata) -> ten.GetStatusResponse:
        stub = _stub(tenants_pb2_grpc.EngineServiceStub, self)
        answer: ten.GetStatusResponse = await stub.GetStatus(
            ten.GetStatusRequest(), metadata=as_whom
        )
        return answer


def _stub(kind: Any, engine: Engine) -> Any:
    return kind(engine.channel)


def _bearer(key_id: str, secret: str) -> Metadata:
    return (("authorization", f"Bearer {key_id}:{secret}"),)


async def _no_status() -> EngineStatus:
    return EngineStatus(version="1.0", mode="root")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Engine]:
    store, clock, door = MemoryStore(), SystemClock(), Door()
    tenants = Tenants(store, Sealer(bytes(MASTER_KEY_BYTES)), clock=clock)
    first = await tenants.ensure_operator()
    assert first is not None
    acme, key, secret = await tenants.create("acme")
    async with CodeStore(folder / "code", build=build_here) as codes:
        functions = Functions(
            store,
            codes,
            clock=clock,
            runtimes=lambda: ["python3.11"],
            node=door,
            tenants=tenants,
        )
        async with (
            functions,
            Invoker(
                functions=functions,
                quotas=tenants,
                runner=door,
                records=store,
                answers=store,
                event_store=store,
                clock=clock,
            ) as invoker,
        ):
            backend = Backend(
                functions=functions,
                tenants=tenants,
                invoker=invoker,
                records=store,
                triggers=made_of(
                    KeptTriggers.over(store),
                    functions,
                    FakeEvents(),
                    SEALER,
                    clock=clock,
                    region="us-east-1",
                ),
                event_store=store,
                dead_letters=DeadLetters(store, invoker.events, lambda _: Settings()),
                event_configs=EventConfigs(
                    kept_event_configs(store), functions, clock=clock
                ),
                status=_no_status,
                clock=clock,
                region="us-east-1",
                aliases=functions.aliases,
                layers=functions.layers,
                settings=functions.settings,
                provisioned=ProvisionedConcurrency(
                    kept_provisioned(store),
                    functions,
                    clock=clock,
                    concurrency=tenants.concurrency,
                    provision=provides_none,
                    available=lambda _: 0,
                ),
                urls=Urls(kept_urls(store), functions, clock=clock),
                policies=Policies(kept_policies(store), functions),
                addresses=Addresses("", region="us-east-1"),
            )
            async with (
                serve(backend, address="127.0.0.1:0", drain_s=1.0) as port,
                grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
            ):
                yield Engine(
                    door=door,
                    tenants=tenants,
                    channel=channel,
                    operator=_bearer(first[0].id, first[1]),
                    acme_id=acme.id,
                    acme=_bearer(key.id, secret),
                )


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with asyncio.timeout(DEADLINE_S), opened(tmp_path) as engine:
        yield engine


async def test_a_new_tenant_cannot_deploy_a_function_with_a_network(
    engine: Engine,
) -> None:
    for network in (fn.NETWORK_EGRESS, fn.NETWORK_HOST):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await engine.create(network)

        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert f"sandlot tenant update {engine.acme_id}" in str(caught.value.details())
    assert engine.door.prepared == []


async def test_a_tenant_cannot_change_its_own_policy(engine: Engine) -> None:
    request = ten.UpdateTenantRequest(id=engine.acme_id, network=fn.NETWORK_HOST)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _stub(tenants_pb2_grpc.TenantServiceStub, engine).UpdateTenant(
            request, metadata=engine.acme
        )

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    tenant = await engine.tenants.get(engine.acme_id)
    assert tenant.network == "none"


async def test_what_the_operator_allows_can_be_deployed_and_runs(
    engine: Engine,
) -> None:
    tenant = await engine.set_policy(
        network=fn.NETWORK_EGRESS, network_allow=ten.Cidrs(cidrs=["10.1.0.0/16"])
    )

    await engine.create(fn.NETWORK_EGRESS)
    await engine.invoke()

    assert (tenant.network, list(tenant.network_allow)) == (
        fn.NETWORK_EGRESS,
        ["10.1.0.0/16"],
    )
    assert (await engine.function()).config.network == fn.NETWORK_EGRESS
    assert engine.door.ran == engine.door.prepared


async def test_a_function_above_a_lowered_policy_runs_no_more_and_is_retired(
    engine: Engine,
) -> None:
    await engine.set_policy(network=fn.NETWORK_HOST)
    await engine.create(fn.NETWORK_HOST)
    await engine.invoke()

    await engine.set_policy(network=fn.NETWORK_EGRESS)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await engine.invoke()

    async def is_retired() -> bool:
        return engine.door.retired == engine.door.ran

    await eventually(is_retired)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "may have 'egress' at most" in str(caught.value.details())
    assert len(engine.door.ran) == 1


async def test_a_policy_that_is_given_back_lets_the_function_run_again(
    engine: Engine,
) -> None:
    await engine.set_policy(network=fn.NETWORK_EGRESS)
    await engine.create(fn.NETWORK_EGRESS)
    await engine.set_policy(network=fn.NETWORK_NONE)

    await engine.set_policy(network=fn.NETWORK_EGRESS)
    await engine.invoke()

    assert len(engine.door.ran) == 1


async def test_what_is_allowed_from_now_on_is_not_what_runs_already(
    engine: Engine,
) -> None:
    await engine.set_policy(network=fn.NETWORK_EGRESS)
    await engine.create(fn.NETWORK_EGRESS)
    await engine.invoke()

    await engine.set_policy(network_allow=ten.Cidrs(cidrs=["10.1.0.0/16"]))
    await engine.invoke()

    before, after = engine.door.ran
    assert before != after


async def test_a_change_of_something_else_leaves_functions_alone(
    engine: Engine,
) -> None:
    await engine.set_policy(network=fn.NETWORK_EGRESS)
    await engine.create(fn.NETWORK_EGRESS)
    before = await engine.function()

    await engine.set_policy(concurrency=3, name="other")

    assert await engine.function() == before
    assert engine.door.retired == []


async def test_who_shares_the_machines_network_is_shown(engine: Engine) -> None:
    await engine.create(fn.NETWORK_HOST, as_whom=engine.operator)
    await engine.create(fn.NETWORK_NONE)

    for_operator = await engine.status(engine.operator)
    for_tenant = await engine.status(engine.acme)

    assert [(one.tenant_id, one.functions) for one in for_operator.on_host_network] == [
        ("000000000001", 1)
    ]
    assert not for_tenant.on_host_network
    shared = await engine.function(as_whom=engine.operator)
    assert shared.state_reason == SHARES_NETWORK
    assert (await engine.function()).state_reason == ""
