"""`VersionService` over a real gRPC server and channel, and the catalog itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest

from sandlot.v1 import functions_pb2 as fn
from sandlot.v1 import functions_pb2_grpc, versions_pb2_grpc
from sandlot.v1 import versions_pb2 as wire
from sandlot_engine.gateway.rpc.server import serve
from tests.fakes.backend import FakeEngine, as_tenant
from tests.fakes.catalog import OTHER_ZIP, TENANT, Bench, Node, opened
from tests.fakes.stores import MemoryStore

KEY = as_tenant("owner")
ARN = f"arn:aws:lambda:us-east-1:{TENANT}:function:resize"


class Caller:
    """Of the service, with the key of whose function it is."""

    def __init__(self, bench: Bench, channel: grpc.aio.Channel) -> None:
        self.bench = bench
        self.channel = channel
        self._versions = cast("Any", versions_pb2_grpc).VersionServiceStub(channel)
        self._functions = cast("Any", functions_pb2_grpc).FunctionServiceStub(channel)

    async def ask(self, method: str, *, metadata: Any = KEY, **fields: Any) -> Any:
        request = getattr(wire, f"{method}Request")(**{"function": "resize", **fields})
        call = getattr(self._versions, method)
        return await call(request, metadata=metadata, timeout=20)

    async def refused(self, method: str, **fields: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.ask(method, **fields)
        return caught.value.code(), caught.value.details() or ""

    async def publish(self, **fields: Any) -> fn.Function:
        """A version, once it is ready."""
        version = (await self.ask("PublishVersion", **fields)).version
        await self.bench.settled(qualifier=version.version)
        return await self.function(version.version)

    async def function(self, qualifier: str = "") -> fn.Function:
        request = fn.GetFunctionRequest(name="resize", qualifier=qualifier)
        call = self._functions.GetFunction
        answer = await call(request, metadata=KEY, timeout=20)
        shown: fn.Function = answer.function
        return shown

    async def change(self) -> None:
        """Give the function other code."""
        await self.bench.functions.update_code(TENANT, "resize", OTHER_ZIP)
        await self.bench.settled()

    async def two_versions(self) -> None:
        await self.publish()
        await self.change()
        await self.publish()


@asynccontextmanager
async def calling(folder: Path) -> AsyncIterator[Caller]:
    fakes = FakeEngine()
    fakes.tenants.add(TENANT, "owner")
    async with opened(folder, MemoryStore(), Node(), None) as bench, fakes.invoker:
        await bench.create()
        await bench.settled()
        backend = replace(
            fakes.backend(),
            functions=bench.functions,
            aliases=bench.functions.aliases,
            settings=bench.functions.settings,
        )
        async with (
            serve(backend, address="127.0.0.1:0", drain_s=5.0) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            yield Caller(bench, channel)


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    async with calling(tmp_path) as caller:
        yield caller


async def test_a_version_is_in_the_making_and_then_stays_as_it_is(
    caller: Caller,
) -> None:
    caller.bench.node.go.clear()
    begun = (await caller.ask("PublishVersion", description="the first")).version
    ready = await caller.publish()
    await caller.change()

    assert begun.state == fn.FUNCTION_STATE_PENDING
    assert (ready.version, ready.arn) == ("1", f"{ARN}:1")
    assert (ready.state, ready.config.description) == (
        fn.FUNCTION_STATE_ACTIVE,
        "the first",
    )
    assert (await caller.function("1")).code_sha256 == ready.code_sha256
    assert (await caller.function()).code_sha256 != ready.code_sha256


async def test_without_a_change_the_last_version_is_returned(caller: Caller) -> None:
    first = await caller.publish()

    assert (await caller.publish()).version == first.version
    await caller.change()
    assert (await caller.publish()).version == "2"


async def test_only_what_is_expected_is_published(caller: Caller) -> None:
    other = await caller.refused("PublishVersion", code_sha256="c29tZXRoaW5n")
    stale = await caller.refused("PublishVersion", revision_id="another")
    now = await caller.function()
    await caller.publish(code_sha256=now.code_sha256, revision_id=now.revision_id)

    assert other[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert stale[0] is grpc.StatusCode.ABORTED


async def test_versions_are_listed_page_by_page_latest_first(caller: Caller) -> None:
    await caller.two_versions()

    first = await caller.ask("ListVersions", page_size=2)
    last = await caller.ask("ListVersions", page_token=first.next_page_token)

    assert [each.version for each in first.versions] == ["$LATEST", "1"]
    assert [each.version for each in last.versions] == ["2"]
    assert last.next_page_token == ""


async def test_a_version_is_deleted_unless_an_alias_leads_to_it(
    caller: Caller,
) -> None:
    await caller.two_versions()
    await caller.ask("PutAlias", name="live", version="1")

    code, said = await caller.refused("DeleteVersion", version="1")
    await caller.ask("DeleteVersion", version="2")

    assert (code, "[live]" in said) == (grpc.StatusCode.ABORTED, True)
    assert await caller.refused("DeleteVersion", version="2") == (
        grpc.StatusCode.NOT_FOUND,
        f"Function not found: {ARN.replace('us-east-1', 'eu-north-1')}:2",
    )


@pytest.mark.parametrize("version", ["", "$LATEST", "live"])
async def test_only_a_version_is_deleted(caller: Caller, version: str) -> None:
    await caller.publish()
    await caller.ask("PutAlias", name="live", version="1")

    code, _ = await caller.refused("DeleteVersion", version=version)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert (await caller.function()).state == fn.FUNCTION_STATE_ACTIVE


async def test_an_alias_is_made_and_then_changed_as_a_whole(caller: Caller) -> None:
    await caller.two_versions()

    made = await caller.ask(
        "PutAlias", name="live", version="1", weights={"2": 0.25}, description="ours"
    )
    moved = await caller.ask("PutAlias", name="live", version="2")

    assert made.alias == wire.Alias(
        function="resize",
        name="live",
        arn=f"{ARN}:live",
        version="1",
        weights={"2": 0.25},
        description="ours",
        revision_id=made.alias.revision_id,
    )
    # But what it is described as, if nothing is said of that.
    assert (moved.alias.version, dict(moved.alias.weights)) == ("2", {})
    assert moved.alias.description == "ours"
    assert moved.alias.revision_id != made.alias.revision_id
    assert (await caller.function("live")).version == "2"


async def test_of_many_at_once_one_makes_it_and_the_others_change_it(
    caller: Caller,
) -> None:
    await caller.two_versions()

    put = [
        caller.ask("PutAlias", name="live", version=version)
        for version in ("1", "2") * 5
    ]
    done = await asyncio.gather(*put)

    (alias,) = (await caller.ask("ListAliases")).aliases
    assert alias in [each.alias for each in done]


async def test_an_alias_is_changed_only_where_it_is_as_expected(
    caller: Caller,
) -> None:
    await caller.publish()
    fields = {"name": "live", "version": "1"}

    none = await caller.refused("PutAlias", **fields, revision_id="another")
    made = (await caller.ask("PutAlias", **fields)).alias
    stale = await caller.refused("PutAlias", **fields, revision_id="another")
    await caller.ask("PutAlias", **fields, revision_id=made.revision_id)

    assert (none[0], stale[0]) == (
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ABORTED,
    )


async def test_aliases_are_listed_by_version_and_page_by_page(
    caller: Caller,
) -> None:
    await caller.two_versions()
    for name, version in (("c", "1"), ("a", "1"), ("b", "2")):
        await caller.ask("PutAlias", name=name, version=version)

    first = await caller.ask("ListAliases", page_size=2)
    last = await caller.ask("ListAliases", page_token=first.next_page_token)
    of_one = await caller.ask("ListAliases", version="1")

    assert [each.name for each in first.aliases] == ["a", "b"]
    assert [each.name for each in last.aliases] == ["c"]
    assert [each.name for each in of_one.aliases] == ["a", "c"]


async def test_an_alias_is_deleted_once(caller: Caller) -> None:
    await caller.publish()
    await caller.ask("PutAlias", name="live", version="1")

    await caller.ask("DeleteAlias", name="live")

    assert list((await caller.ask("ListAliases")).aliases) == []
    assert await caller.refused("DeleteAlias", name="live") == (
        grpc.StatusCode.NOT_FOUND,
        f"Alias not found: {ARN}:live",
    )


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"function": "none"}, grpc.StatusCode.NOT_FOUND),
        ({"version": "7"}, grpc.StatusCode.NOT_FOUND),
        ({"version": ""}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"name": "12"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"name": "a b"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"description": "x" * 257}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"weights": {"1": 0.5}}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"weights": {"2": 1.5}}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"weights": {"2": float("nan")}}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"weights": {"2": 0.1, "3": 0.1}}, grpc.StatusCode.INVALID_ARGUMENT),
        (
            {"version": "$LATEST", "weights": {"2": 0.1}},
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        ({"metadata": as_tenant("acme")}, grpc.StatusCode.NOT_FOUND),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_an_alias_that_cannot_be_is_refused(
    caller: Caller, fields: dict[str, Any], code: grpc.StatusCode
) -> None:
    await caller.two_versions()

    refused = await caller.refused(
        "PutAlias", **{"name": "a", "version": "1", **fields}
    )

    assert refused[0] is code
    assert list((await caller.ask("ListAliases")).aliases) == []


async def test_tags_are_of_all_versions_and_no_part_of_any(caller: Caller) -> None:
    await caller.publish()
    functions = cast("Any", functions_pb2_grpc).FunctionServiceStub(caller.channel)
    before = (await caller.function()).revision_id

    async def ask(method: str, **fields: Any) -> dict[str, str]:
        request = getattr(fn, f"{method}Request")(name="resize", **fields)
        answer = await getattr(functions, method)(request, metadata=KEY, timeout=20)
        return dict(answer.tags)

    first = await ask("TagFunction", tags={"team": "blue", "stage": "a"})
    second = await ask("TagFunction", tags={"stage": "b"})
    third = await ask("UntagFunction", keys=["team", "never-there"])

    assert first == {"team": "blue", "stage": "a"}
    assert second == {"team": "blue", "stage": "b"}
    assert third == {"stage": "b"}
    for qualifier in ("", "1"):
        assert dict((await caller.function(qualifier)).tags) == third
    assert (await caller.function()).revision_id == before


@pytest.mark.parametrize(
    "tags", [{"aws:x": "1"}, {"k": "v" * 257}, {str(n): "" for n in range(51)}], ids=len
)
async def test_tags_that_cannot_be_are_refused(
    caller: Caller, tags: dict[str, str]
) -> None:
    functions = cast("Any", functions_pb2_grpc).FunctionServiceStub(caller.channel)
    request = fn.TagFunctionRequest(name="resize", tags=tags)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await functions.TagFunction(request, metadata=KEY, timeout=20)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not (await caller.function()).tags
