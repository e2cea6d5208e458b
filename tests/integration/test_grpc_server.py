"""The gRPC server itself: what it serves beside our methods, where, and its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from sandlot.v1 import (
    functions_pb2,
    functions_pb2_grpc,
    invocations_pb2,
    tenants_pb2,
    tenants_pb2_grpc,
)
from sandlot_engine.errors import InvalidParameter, Unavailable
from sandlot_engine.gateway.rpc.listeners import Tls
from sandlot_engine.gateway.rpc.server import (
    SERVICE_NAMES,
    is_loopback,
    serve,
)
from tests.fakes.backend import FakeEngine, as_tenant, fake_engine
from tests.integration.failures import failure

KEY = as_tenant("acme")


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with fake_engine() as engine:
        yield engine


def health_of(engine: FakeEngine, service: str) -> Any:
    stub: Any = health_pb2_grpc.HealthStub(engine.channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=service))


@pytest.mark.parametrize("service", ["", *SERVICE_NAMES])
async def test_each_service_is_healthy(engine: FakeEngine, service: str) -> None:
    answer = await health_of(engine, service)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_all_services(engine: FakeEngine) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(engine.channel)
    stream = stub.ServerReflectionInfo()
    await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))

    answer = await stream.read()
    await stream.done_writing()

    listed = {service.name for service in answer.list_services_response.service}
    assert listed >= {*SERVICE_NAMES, "grpc.health.v1.Health"}


async def test_a_function_is_shown_whole(engine: FakeEngine) -> None:
    config = functions_pb2.FunctionConfig(
        handler="app.handler",
        runtime="python3.11",
        timeout_s=9,
        environment={"A": "1"},
        init_mode=functions_pb2.INIT_MODE_PER_INSTANCE,
    )
    request = functions_pb2.CreateFunctionRequest(name="f", config=config, zip=b"12345")

    response = await engine.function_service.CreateFunction(request, metadata=KEY)

    function = response.function
    assert function.arn == "arn:aws:lambda:us-east-1:111111111111:function:f"
    assert (function.version, function.code_size) == ("$LATEST", 5)
    assert function.code_sha256 == "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="
    # What was left out has AWS's defaults.
    assert (function.config.memory_mb, function.config.timeout_s) == (128, 9)
    assert dict(function.config.environment) == {"A": "1"}
    assert function.config.init_mode == functions_pb2.INIT_MODE_PER_INSTANCE


async def test_only_settings_that_are_present_are_changed(engine: FakeEngine) -> None:
    request = functions_pb2.UpdateFunctionConfigurationRequest(
        name="echo", memory_mb=0, environment=functions_pb2.Environment()
    )

    await engine.function_service.UpdateFunctionConfiguration(request, metadata=KEY)

    assert engine.functions.changes == {"memory_mb": 0, "environment": {}}


async def test_a_tenant_that_was_deleted_is_forgotten(engine: FakeEngine) -> None:
    stub = tenants_pb2_grpc.TenantServiceStub(engine.channel)
    made = await stub.CreateTenant(
        tenants_pb2.CreateTenantRequest(name="new"), metadata=as_tenant("operator")
    )

    await stub.DeleteTenant(
        tenants_pb2.DeleteTenantRequest(id=made.tenant.id),
        metadata=as_tenant("operator"),
    )

    assert engine.functions.forgotten == [made.tenant.id]


async def test_draining_lets_calls_finish_and_ends_streams(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = FakeEngine()
    held = engine.runner.hold("slow")
    async with engine.invoker:
        serving = serve(engine.backend(), address="127.0.0.1:0", drain_s=20)
        port = await serving.__aenter__()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as engine.channel:
            call = engine.invocation_service.Invoke(
                invocations_pb2.InvokeRequest(function="slow"), metadata=KEY
            )
            tail = engine.invocation_service.TailLogs(
                invocations_pb2.TailLogsRequest(function="echo", follow=True),
                metadata=KEY,
            )
            many = engine.invocation_service.InvokeMany(metadata=KEY)
            await many.write(
                invocations_pb2.InvokeManyRequest(
                    id=1, request=invocations_pb2.InvokeRequest(function="slow")
                )
            )
            for _ in range(2):
                await engine.runner.started.get()

            leaving = asyncio.create_task(serving.__aexit__(None, None, None))
            tail_ended = await tail.code()
            held.set()
            answer = await many.read()

            assert (await call).payload == b"{}"
            assert answer.response.payload == b"{}"
            assert await many.code() is grpc.StatusCode.UNAVAILABLE
            assert tail_ended is grpc.StatusCode.UNAVAILABLE
            await leaving
    # Nothing broke.
    assert [record.message for record in caplog.records] == []


async def test_who_watches_our_health_does_not_hold_up_a_stop() -> None:
    engine = FakeEngine()
    async with engine.invoker:
        async with serve(engine.backend(), address="127.0.0.1:0", drain_s=600) as port:
            engine.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
            stub: Any = health_pb2_grpc.HealthStub(engine.channel)
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            reflection: Any = reflection_pb2_grpc.ServerReflectionStub(engine.channel)
            asking = reflection.ServerReflectionInfo()
            await asking.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            await asking.read()

    told = await watch.read()
    assert told.status == health_pb2.HealthCheckResponse.NOT_SERVING
    for each in (watch, asking):
        error, details = await failure(each.read())
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert details["ErrorInfo"].reason == "Unavailable"
    await engine.channel.close()


async def test_who_comes_while_a_server_stops_is_told_that_nothing_was_done() -> None:
    engine = FakeEngine()
    ended: list[grpc.StatusCode] = []
    answered, at_work = 0, asyncio.Event()

    async def call_until_refused(port: int) -> None:
        own = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", own) as channel:
            service = functions_pb2_grpc.FunctionServiceStub(channel)

            async def call() -> None:
                nonlocal answered
                request = functions_pb2.ListFunctionsRequest()
                try:
                    while await service.ListFunctions(request, metadata=KEY):
                        answered += 1
                        if answered == 300:
                            at_work.set()
                except grpc.aio.AioRpcError as error:
                    ended.append(error.code())

            await asyncio.gather(*(call() for _ in range(20)))

    async with asyncio.TaskGroup() as callers:
        async with serve(engine.backend(), address="127.0.0.1:0") as port:
            for _ in range(5):
                callers.create_task(call_until_refused(port))
            await at_work.wait()

    assert ended == [grpc.StatusCode.UNAVAILABLE] * 100


@asynccontextmanager
async def stopping_soon() -> AsyncIterator[FakeEngine]:
    """An engine that stops at the block's end, and waits for next to nobody; its
    clients are there until then."""
    engine = FakeEngine()
    async with engine.invoker:
        async with serve(engine.backend(), address="127.0.0.1:0", drain_s=0.1) as port:
            engine.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
            yield engine


async def test_what_outlasts_the_drain_is_told_that_it_may_have_been_done() -> None:
    async with stopping_soon() as engine:
        engine.runner.hold("slow")
        call = engine.invocation_service.Invoke(
            invocations_pb2.InvokeRequest(function="slow"), metadata=KEY
        )
        many = engine.invocation_service.InvokeMany(metadata=KEY)
        await many.write(
            invocations_pb2.InvokeManyRequest(
                id=1, request=invocations_pb2.InvokeRequest(function="slow")
            )
        )
        for _ in range(2):
            await engine.runner.started.get()

    for ended in (call, many.read()):
        error, details = await failure(ended)
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "may have been done" in (error.details() or "")
        assert details["ErrorInfo"].reason == "CutShort"
    assert len(engine.runner.cancelled) == 2
    await engine.channel.close()


async def test_of_a_request_that_was_not_here_whole_nothing_was_done() -> None:
    async with stopping_soon() as engine:
        invoke: Any = engine.channel.stream_unary(
            "/sandlot.v1.InvocationService/Invoke"
        )
        silent = invoke(metadata=KEY)
        await silent.wait_for_connection()
        # What is answered came after it.
        await failure(
            engine.invocation_service.Invoke(
                invocations_pb2.InvokeRequest(function="none"), metadata=KEY
            )
        )

    error, details = await failure(silent)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "nothing was done" in (error.details() or "")
    assert details["ErrorInfo"].reason == "Unavailable"
    await engine.channel.close()


async def test_how_many_calls_were_cut_short_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with stopping_soon() as engine:
        engine.runner.hold("slow")
        call = engine.invocation_service.Invoke(
            invocations_pb2.InvokeRequest(function="slow"), metadata=KEY
        )
        await engine.runner.started.get()

    assert await call.code() is grpc.StatusCode.INTERNAL
    assert [record.message for record in caplog.records] == [
        "1 calls by gRPC were cut short: the time that a stop gives them was over"
    ]
    await engine.channel.close()


async def test_an_upload_that_outlasts_the_drain_is_told_so_though_it_goes_on() -> None:
    async with stopping_soon() as engine:
        began, may_end = asyncio.Event(), asyncio.Event()

        async def create(*_: object, **__: object) -> None:
            began.set()
            await may_end.wait()

        engine.functions.create = create  # type: ignore[assignment]
        call = engine.function_service.CreateFunction(
            functions_pb2.CreateFunctionRequest(name="f", zip=b"12345"), metadata=KEY
        )
        await began.wait()

    error, details = await failure(call)
    may_end.set()
    assert error.code() is grpc.StatusCode.INTERNAL
    assert details["ErrorInfo"].reason == "CutShort"
    await engine.channel.close()


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.1:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/run/sandlot.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example.com:1", False),
        (":1", False),
    ],
)
def test_loopback_is_told_from_the_network(address: str, is_local: bool) -> None:
    assert is_loopback(address) is is_local


async def test_keys_do_not_travel_in_the_clear() -> None:
    with pytest.raises(InvalidParameter, match="in the clear"):
        async with serve(FakeEngine().backend(), address="0.0.0.0:0"):
            pass


async def test_plaintext_can_be_allowed() -> None:
    backend = FakeEngine().backend()

    async with serve(backend, address="0.0.0.0:0", allow_plaintext=True) as port:
        assert port > 0


async def test_two_servers_do_not_share_a_port(engine: FakeEngine) -> None:
    with pytest.raises(Unavailable, match=f"127.0.0.1:{engine.port}"):
        async with serve(engine.backend(), address=f"127.0.0.1:{engine.port}"):
            pass


async def test_a_certificate_is_served() -> None:
    certificate, key = self_signed()
    engine = FakeEngine()
    tls = Tls(certificate=certificate, key=key)

    async with serve(engine.backend(), address="127.0.0.1:0", tls=tls) as port:
        credentials = grpc.ssl_channel_credentials(certificate)
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            engine.channel = channel
            answer = await health_of(engine, "")

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def self_signed() -> tuple[bytes, bytes]:
    """A certificate for `localhost` and its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
