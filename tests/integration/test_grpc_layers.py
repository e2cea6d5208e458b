"""`LayerService` over a real gRPC server and channel, and the catalog itself."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest

from sandlot.v1 import functions_pb2 as fn
from sandlot.v1 import functions_pb2_grpc, layers_pb2_grpc
from sandlot.v1 import layers_pb2 as wire
from sandlot_engine.gateway.rpc.server import serve
from tests.fakes.backend import FakeEngine, as_tenant
from tests.fakes.catalog import TENANT, Bench, Node, opened
from tests.fakes.stores import MemoryStore
from tests.fakes.zips import zip_of

KEY, OTHER = as_tenant("owner"), as_tenant("acme")
ARN = f"arn:aws:lambda:us-east-1:{TENANT}:layer:deps"
ZIP = zip_of({"python/deps.py": "ANSWER = 42"})


class Caller:
    """Of the service, with the key of whose layers they are."""

    def __init__(self, bench: Bench, channel: grpc.aio.Channel) -> None:
        self.bench = bench
        self._layers = cast("Any", layers_pb2_grpc).LayerServiceStub(channel)
        self._functions = cast("Any", functions_pb2_grpc).FunctionServiceStub(channel)

    async def ask(self, method: str, *, metadata: Any = KEY, **fields: Any) -> Any:
        request = getattr(wire, f"{method}Request")(**fields)
        return await getattr(self._layers, method)(
            request, metadata=metadata, timeout=20
        )

    async def publish(self, name: str = "deps", **fields: Any) -> wire.LayerVersion:
        answer = await self.ask("PublishLayer", name=name, **{"zip": ZIP, **fields})
        version: wire.LayerVersion = answer.version
        return version

    async def have(self, *layers: str) -> list[str]:
        """Give them to the function; what it has then."""
        return await self.change(layers=fn.Words(words=layers))

    async def change(self, **fields: Any) -> list[str]:
        """Its settings; what layers it has then."""
        request = fn.UpdateFunctionConfigurationRequest(name="resize", **fields)
        call = self._functions.UpdateFunctionConfiguration
        await call(request, metadata=KEY, timeout=20)
        await self.bench.settled()
        return await self.has()

    async def has(self) -> list[str]:
        request = fn.GetFunctionRequest(name="resize")
        answer = await self._functions.GetFunction(request, metadata=KEY, timeout=20)
        return list(answer.function.config.layers)

    async def create(self, name: str, *layers: str) -> list[str]:
        """A function with them; what it has."""
        config = fn.FunctionConfig(
            handler="app.handler", runtime="python3.11", layers=layers
        )
        request = fn.CreateFunctionRequest(name=name, config=config, zip=ZIP)
        made = await self._functions.CreateFunction(request, metadata=KEY, timeout=20)
        return list(made.function.config.layers)


async def refused(asking: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asking
    return caught.value.code(), caught.value.details() or ""


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    fakes = FakeEngine()
    fakes.tenants.add(TENANT, "owner")
    async with opened(tmp_path, MemoryStore(), Node(), None) as bench, fakes.invoker:
        await bench.create()
        await bench.settled()
        backend = replace(
            fakes.backend(), functions=bench.functions, layers=bench.functions.layers
        )
        async with (
            serve(backend, address="127.0.0.1:0", drain_s=5.0) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            yield Caller(bench, channel)


async def test_versions_are_numbered_and_listed(caller: Caller) -> None:
    first = await caller.publish(description="one", compatible_runtimes=["python3.11"])
    second = await caller.publish()
    await caller.publish("another")

    latest = (await caller.ask("ListLayers")).latest
    versions = (await caller.ask("ListLayerVersions", name="deps")).versions

    assert (first.arn, first.version, first.description) == (f"{ARN}:1", 1, "one")
    assert list(first.compatible_runtimes) == ["python3.11"]
    assert (first.code_size, first.HasField("created")) == (len(ZIP), True)
    assert [(one.name, one.version) for one in latest] == [("another", 1), ("deps", 2)]
    assert list(versions) == [second, first]


async def test_pages_of_versions_go_on_where_the_last_ended(caller: Caller) -> None:
    for _ in range(3):
        await caller.publish()

    page = await caller.ask("ListLayerVersions", name="deps", page_size=2)
    last = await caller.ask(
        "ListLayerVersions", name="deps", page_token=page.next_page_token
    )

    numbers = [one.version for one in (*page.versions, *last.versions)]
    assert (numbers, last.next_page_token) == ([3, 2, 1], "")


async def test_a_function_has_layers_in_their_order_until_it_is_told_otherwise(
    caller: Caller,
) -> None:
    await caller.publish()
    await caller.publish("more")
    more = ARN.replace("deps", "more")
    elsewhere = f"{more}:1".replace("us-east-1", "eu-central-1")

    assert await caller.have("deps:1", elsewhere) == [f"{ARN}:1", f"{more}:1"]
    assert await caller.have(f"{more}:1") == [f"{more}:1"]
    assert await caller.have() == []
    assert await caller.create("with", "more:1", "deps:1") == [f"{more}:1", f"{ARN}:1"]


async def test_what_says_nothing_of_layers_leaves_them(caller: Caller) -> None:
    await caller.publish()
    await caller.have("deps:1")

    assert await caller.change(memory_mb=256) == [f"{ARN}:1"]


async def test_what_is_deleted_is_kept_by_functions_and_given_to_no_other(
    caller: Caller,
) -> None:
    await caller.publish()
    await caller.have("deps:1")

    await caller.ask("DeleteLayerVersion", name="deps", version=1)

    assert await caller.has() == [f"{ARN}:1"]
    code, why = await refused(caller.create("another", "deps:1"))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert f"Layer version {ARN}:1 does not exist" in why
    assert (await caller.publish()).version == 2


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("ListLayerVersions", {"name": "nothing"}),
        ("DeleteLayerVersion", {"name": "deps", "version": 7}),
    ],
)
async def test_what_is_not_there_is_not_found(
    caller: Caller, method: str, fields: dict[str, Any]
) -> None:
    await caller.publish()

    code, why = await refused(caller.ask(method, **fields))

    assert (code, "not found: arn:aws" in why) == (grpc.StatusCode.NOT_FOUND, True)


async def test_layers_of_another_are_not_there(caller: Caller) -> None:
    await caller.publish()

    latest = (await caller.ask("ListLayers", metadata=OTHER)).latest
    code, _ = await refused(
        caller.ask("DeleteLayerVersion", metadata=OTHER, name="deps", version=1)
    )

    assert (list(latest), code) == ([], grpc.StatusCode.NOT_FOUND)
    assert len((await caller.ask("ListLayers")).latest) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": "n" * 141},
        {"zip": b"no zip"},
        {"description": "d" * 257},
        {"compatible_runtimes": ["python3.11"] * 16},
        {"compatible_runtimes": ["p" * 65]},
    ],
    ids=repr,
)
async def test_what_cannot_be_a_layer_is_refused(
    caller: Caller, fields: dict[str, Any]
) -> None:
    code, _ = await refused(caller.publish(**{"name": "deps", **fields}))

    assert code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("called", ["deps", "deps:", "deps:x", "a/b:1", "arn:aws:s3"])
async def test_what_names_no_layer_version_is_refused(
    caller: Caller, called: str
) -> None:
    await caller.publish()

    code, why = await refused(caller.have(called))

    assert (code, called in why) == (grpc.StatusCode.INVALID_ARGUMENT, True)
