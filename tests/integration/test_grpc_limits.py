"""What one caller may have the engine take in, before anybody has looked at it."""

import asyncio
import gc
import itertools
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sandlot.v1 import functions_pb2, invocations_pb2
from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.errors import InvalidParameter
from sandlot_engine.gateway import untaken
from sandlot_engine.gateway.rpc import interceptors, limits, methods, reading
from sandlot_engine.gateway.rpc.server import MAX_STREAMS
from sandlot_engine.model.function import ImageSource
from tests.fakes.backend import FakeEngine, as_tenant, fake_engine
from tests.fakes.functions import FakeFunctions
from tests.integration.failures import failure

WAIT_S = 5.0
BRIEFLY_S = 0.05
TWO_OF_TWO = (("a", "acme"), ("b", "globex"))


class SlowFunctions(FakeFunctions):
    """A catalog whose builders are busy, and which goes on without its caller."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.may_go_on = asyncio.Event()

    async def create(
        self,
        tenant_id: str,
        name: str,
        config: Any,
        zip: bytes | ImageSource,  # noqa: A002
    ) -> Any:
        self.arrived.put_nowait((tenant_id, name))
        await asyncio.shield(self._build())
        return await super().create(tenant_id, name, config, zip)

    def _build(self) -> "asyncio.Task[bool]":
        return asyncio.get_running_loop().create_task(self.may_go_on.wait())


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeEngine]:
    monkeypatch.setattr(reading, "UPLOADS_WAITING", 3)
    functions = SlowFunctions()
    async with fake_engine(functions=functions) as engine:
        yield engine
        functions.may_go_on.set()


def upload(engine: FakeEngine, name: str, tenant: str = "acme") -> Any:
    request = functions_pb2.CreateFunctionRequest(name=name, zip=b"x" * 100_000)
    return engine.function_service.CreateFunction(request, metadata=as_tenant(tenant))


def invoke(engine: FakeEngine, payload: bytes, function: str = "slow") -> Any:
    return engine.invocation_service.Invoke(
        invocations_pb2.InvokeRequest(function=function, payload=payload),
        metadata=as_tenant("acme"),
    )


async def arrived(engine: FakeEngine) -> str:
    """The next package that the catalog was given."""
    assert isinstance(engine.functions, SlowFunctions)
    async with asyncio.timeout(WAIT_S):
        _, name = await engine.functions.arrived.get()
    return name


async def nothing_arrives(engine: FakeEngine) -> None:
    assert isinstance(engine.functions, SlowFunctions)
    # A call of the same connection that comes after, and is done with.
    for _ in range(2):
        await engine.function_service.ListFunctions(
            functions_pb2.ListFunctionsRequest(), metadata=as_tenant("acme")
        )
    assert engine.functions.arrived.empty()


async def test_one_tenants_packages_are_taken_in_two_at_a_time(
    engine: FakeEngine,
) -> None:
    first = [upload(engine, name) for name in ("a", "b")]
    assert {await arrived(engine), await arrived(engine)} == {"a", "b"}
    third = upload(engine, "c")
    await nothing_arrives(engine)

    other = upload(engine, "theirs too", "globex")

    assert await arrived(engine) == "theirs too"
    engine.functions.may_go_on.set()  # type: ignore[attr-defined]
    assert await arrived(engine) == "c"
    await asyncio.gather(*first, third, other)


async def test_a_package_whose_caller_hung_up_has_its_turn_until_it_is_done_with(
    engine: FakeEngine,
) -> None:
    hung_up = [upload(engine, name) for name in ("a", "b")]
    for _ in hung_up:
        await arrived(engine)

    for call in hung_up:
        call.cancel()
    third = upload(engine, "c")
    await nothing_arrives(engine)

    engine.functions.may_go_on.set()  # type: ignore[attr-defined]
    assert await arrived(engine) == "c"
    await third


class RefusingFunctions(FakeFunctions):
    """A catalog that looks at packages in tasks of its own, as the real one does."""

    async def create(
        self,
        _t: str,
        _n: str,
        _c: Any,
        zip: bytes | ImageSource,  # noqa: A002
    ) -> Any:
        async def refuse(package: bytes | ImageSource) -> None:
            await asyncio.sleep(0)
            assert isinstance(package, bytes)
            raise InvalidParameter(f"{len(package)} bytes of nothing")

        return await Keeper().whole(refuse(zip))


async def test_a_package_that_was_refused_is_not_kept_in_memory() -> None:
    package = b"x" * 2_000_000
    request = functions_pb2.CreateFunctionRequest(name="a", zip=package)
    gc.disable()  # a machine may be full before it comes round
    tracemalloc.start()
    try:
        async with fake_engine(functions=RefusingFunctions()) as engine:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(5):
                with pytest.raises(grpc.aio.AioRpcError, match="bytes of nothing"):
                    await engine.function_service.CreateFunction(
                        request, metadata=as_tenant("acme")
                    )
            await nothing_is_left_to_do()
            after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()

    assert after - before < len(package)


async def nothing_is_left_to_do() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_only_so_many_packages_wait_for_their_turn(engine: FakeEngine) -> None:
    some = [upload(engine, str(number)) for number in range(5)]
    for _ in range(2):
        await arrived(engine)
    await nothing_arrives(engine)

    error, found = await failure(upload(engine, "one more"))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert found["ErrorInfo"].reason == "TooManyRequests"
    assert found["RetryInfo"].retry_delay.ToSeconds() >= 1
    for call in some:
        call.cancel()


async def test_a_package_that_waited_is_not_taken_with_a_key_that_was_taken_back(
    engine: FakeEngine,
) -> None:
    assert isinstance(engine.functions, SlowFunctions)
    first = [upload(engine, str(number)) for number in range(2)]
    for _ in range(2):
        await arrived(engine)
    late = upload(engine, "late")
    await nothing_arrives(engine)

    await engine.tenants.revoke_key(None, "key-of-acme")
    engine.functions.may_go_on.set()
    error, _ = await failure(late)
    await asyncio.gather(*first)

    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert engine.functions.arrived.empty()


@pytest.mark.parametrize("method", ["Invoke", "TailLogs"])
async def test_a_request_that_does_not_arrive_is_not_waited_for(
    engine: FakeEngine, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BODY_S", BRIEFLY_S)
    kind = (
        engine.channel.stream_stream
        if method == "TailLogs"
        else engine.channel.stream_unary
    )
    call: Any = kind(f"/sandlot.v1.InvocationService/{method}")(
        metadata=as_tenant("acme")
    )

    async with asyncio.timeout(WAIT_S):
        code = await call.code()

    assert code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_who_sends_nothing_gives_way_to_other_tenants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "READING_AT_ONCE", 1)
    monkeypatch.setattr(reading, "SLOW_S", 0.0)
    method = f"{methods.SERVICES}InvocationService/Invoke"
    async with fake_engine() as engine:
        silent: Any = engine.channel.stream_unary(method)(metadata=as_tenant("acme"))
        # It is there: this one comes after it, and is refused before it is read.
        nobody: Any = engine.channel.unary_unary(method)
        await failure(nobody(b""))

        answer = await engine.function_service.ListFunctions(
            functions_pb2.ListFunctionsRequest(),
            metadata=as_tenant("globex"),
            timeout=WAIT_S,
        )
        code = await silent.code()

    assert answer.functions
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_what_is_no_request_is_refused_as_that(engine: FakeEngine) -> None:
    call: Any = engine.channel.unary_unary("/sandlot.v1.FunctionService/GetFunction")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff\xff", metadata=as_tenant("acme"))

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", ["CreateFunction", "UpdateFunctionCode"])
async def test_what_comes_beside_a_package_is_measured_before_it_is_read(
    engine: FakeEngine, method: str
) -> None:
    """Fifty megabytes of variables, in place of a package, took a quarter of a minute
    to read; everybody waited."""
    request_type = getattr(functions_pb2, f"{method}Request")
    fields = request_type.DESCRIPTOR.fields_by_name
    path = f"{methods.SERVICES}FunctionService/{method}"
    request = request_type(name="a" * 70_000, zip=b"x" * 1_000_000)

    with pytest.raises(grpc.aio.AioRpcError, match="65536 bytes beside its package"):
        await getattr(engine.function_service, method)(
            request, metadata=as_tenant("acme")
        )

    assert fields["zip"].number == methods.UPLOADS[path]


async def test_events_that_are_being_answered_have_a_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interceptors, "MAX_HELD_OF_TENANT", 250_000)
    large = b'"' + b"x" * 200_000 + b'"'
    async with fake_engine() as engine:
        released = engine.runner.hold("slow")
        first = invoke(engine, large)
        await engine.runner.started.get()

        error, found = await failure(invoke(engine, large, "echo"))
        small = await invoke(engine, b"{}", "echo")
        released.set()
        await first
        again = await invoke(engine, large, "echo")

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert found["ErrorInfo"].reason == "TooManyRequests"
    assert small.request_id
    assert again.request_id


async def test_a_streams_events_have_the_same_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interceptors, "MAX_HELD_OF_TENANT", 1_000)
    async with fake_engine() as engine:
        stream = engine.invocation_service.InvokeMany(metadata=as_tenant("acme"))
        for payload in (b'"' + b"x" * 2_000 + b'"', b"{}"):
            request = invocations_pb2.InvokeRequest(function="echo", payload=payload)
            await stream.write(
                invocations_pb2.InvokeManyRequest(id=len(payload), request=request)
            )
        answers = {answer.id: answer for answer in [await stream.read() for _ in "ab"]}

    assert answers[2_002].refused.reason == "TooManyRequests"
    assert answers[2].response.request_id


async def test_a_tenant_has_only_so_many_streams_of_events(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_REQUEST_STREAMS", 1)
    first = engine.invocation_service.InvokeMany(metadata=as_tenant("acme"))
    await first.write(
        invocations_pb2.InvokeManyRequest(
            id=1, request=invocations_pb2.InvokeRequest(function="echo")
        )
    )
    await first.read()

    second = engine.invocation_service.InvokeMany(metadata=as_tenant("acme"))
    error, found = await failure(second.read())
    first.cancel()
    third = engine.invocation_service.InvokeMany(metadata=as_tenant("globex"))
    await third.done_writing()

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert found["ErrorInfo"].reason == "CallLimitExceeded"
    assert await third.code() is grpc.StatusCode.OK


async def test_strangers_have_little_of_everything(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub: Any = health_pb2_grpc.HealthStub(engine.channel)
    large = health_pb2.HealthCheckRequest(service="x" * limits.MAX_REQUEST)

    too_large, _ = await failure(stub.Check(large))
    monkeypatch.setattr(limits, "MAX_CALLS_OF_STRANGERS", 0)
    too_many, _ = await failure(stub.Check(health_pb2.HealthCheckRequest()))

    assert too_large.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert too_many.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await engine.function_service.ListFunctions(
        functions_pb2.ListFunctionsRequest(), metadata=as_tenant("acme")
    )


async def test_of_the_calls_that_come_at_once_none_is_ended_at_random() -> None:
    at_once = MAX_STREAMS
    async with fake_engine() as engine:
        await asyncio.gather(
            *(
                engine.function_service.ListFunctions(
                    functions_pb2.ListFunctionsRequest(), metadata=as_tenant("acme")
                )
                for _ in range(at_once)
            )
        )


async def test_who_lists_without_end_has_breaks_and_nobody_else_over_grpc(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(step=60)  # whatever is done takes a minute
    monkeypatch.setattr("time.thread_time", lambda: next(seconds))
    ask = functions_pb2.ListFunctionsRequest()
    lists = engine.function_service.ListFunctions
    await lists(ask, metadata=as_tenant("acme"))

    with pytest.raises(grpc.aio.AioRpcError) as waited:
        await lists(ask, metadata=as_tenant("acme"), timeout=BRIEFLY_S)

    assert waited.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await lists(ask, metadata=as_tenant("globex"), timeout=WAIT_S)
    shown = functions_pb2.GetFunctionRequest(name="echo")
    assert await engine.function_service.GetFunction(
        shown, metadata=as_tenant("acme"), timeout=WAIT_S
    )


async def test_of_all_tenants_calls_there_are_only_so_many_open(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_CALLS", 2)
    open_calls = [upload(engine, name, tenant) for name, tenant in TWO_OF_TWO]
    for _ in open_calls:
        await arrived(engine)

    refused, _ = await failure(upload(engine, "c", "acme"))

    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "2 calls are open of 2" in str(refused.details())
    assert isinstance(engine.functions, SlowFunctions)
    engine.functions.may_go_on.set()
    await asyncio.gather(*open_calls)
    await upload(engine, "c", "acme")


async def test_answers_that_nobody_takes_have_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(untaken, "MAX_UNTAKEN_OF_TENANT", 1_000_000)
    async with fake_engine() as engine:
        fits = b'"%s"' % (b"x" * 400_000)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await invoke(engine, b'"%s"' % (b"x" * 600_000), "echo")
        in_turn = [await invoke(engine, fits, "echo") for _ in range(3)]

    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "its answer was not sent" in str(caught.value.details())
    assert [answer.payload for answer in in_turn] == [fits] * 3


async def test_an_answer_of_a_stream_that_may_not_wait_ends_no_neighbour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(untaken, "MAX_UNTAKEN_OF_TENANT", 1_000_000)
    async with fake_engine() as engine:
        call = engine.invocation_service.InvokeMany(metadata=as_tenant("acme"))
        for number, size in enumerate((600_000, 10)):
            request = invocations_pb2.InvokeRequest(
                function="echo", payload=b'"%s"' % (b"x" * size)
            )
            await call.write(
                invocations_pb2.InvokeManyRequest(id=number, request=request)
            )
        await call.done_writing()
        answers = {answer.id: answer async for answer in call}

    assert "its answer was not sent" in answers[0].refused.message
    assert len(answers[1].response.payload) == 12
