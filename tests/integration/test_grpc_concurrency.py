"""`ConcurrencyService` over a real gRPC server and channel, and the catalog itself."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest

from sandlot.v1 import concurrency_pb2 as wire
from sandlot.v1 import concurrency_pb2_grpc
from sandlot_engine.gateway.rpc.server import serve
from tests.fakes.backend import FakeEngine, as_tenant
from tests.fakes.catalog import TENANT
from tests.fakes.provisioning import Machine, World, world_of
from tests.fakes.stores import MemoryStore
from tests.fakes.waiting import eventually

KEY = as_tenant("owner")
LIMIT = 1_000
"""Of the tenant."""


class Caller:
    """Of the service, with the key of whose function it is."""

    def __init__(self, world: World, channel: grpc.aio.Channel) -> None:
        self.machine = world.machine
        self.bench = world.bench
        self._stub = cast("Any", concurrency_pb2_grpc).ConcurrencyServiceStub(channel)

    async def ask(self, method: str, *, metadata: Any = KEY, **fields: Any) -> Any:
        request = getattr(wire, f"{method}Request")(**{"function": "resize", **fields})
        return await getattr(self._stub, method)(request, metadata=metadata, timeout=20)

    async def refused(self, method: str, **fields: Any) -> grpc.StatusCode:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.ask(method, **fields)
        return caught.value.code()

    async def concurrency(self, function: str = "resize") -> tuple[int, int, Any]:
        found = (await self.ask("GetConcurrency", function=function)).concurrency
        return found.limit, found.unreserved, dict(found.reserved)

    async def settled(self, qualifier: str) -> Any:
        """What was provisioned, once it is no longer in progress."""

        async def look() -> Any:
            answer = await self.ask("GetProvisionedConcurrency", qualifier=qualifier)
            return answer.provisioned

        async def is_settled() -> bool:
            status: int = (await look()).status
            return status != wire.PROVISION_STATUS_IN_PROGRESS

        await eventually(is_settled)
        return await look()


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    """Of `resize`, which has version 1 and the alias `live` of it, and of `other`."""
    fakes = FakeEngine()
    fakes.tenants.add(TENANT, "owner")
    await fakes.tenants.update(TENANT, concurrency=LIMIT)
    machine = Machine()
    machine.may_start.set()
    async with world_of(tmp_path, MemoryStore(), machine) as world, fakes.invoker:
        for name in ("resize", "other"):
            await world.bench.create(name)
            await world.bench.settled(name)
        await world.bench.publish()
        await world.bench.functions.aliases.create(TENANT, "resize", "live", "1")
        backend = replace(
            fakes.backend(),
            functions=world.bench.functions,
            aliases=world.bench.functions.aliases,
            settings=world.bench.functions.settings,
            provisioned=world.provisioned,
        )
        async with (
            serve(backend, address="127.0.0.1:0", drain_s=5.0) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            yield Caller(world, channel)


# --- reserved -----------------------------------------------------------------------


async def test_what_is_reserved_is_taken_from_what_all_have(caller: Caller) -> None:
    before = await caller.concurrency()
    put = await caller.ask("PutReservedConcurrency", concurrency=30)
    await caller.ask("PutReservedConcurrency", function="other", concurrency=0)

    assert before == (LIMIT, LIMIT, {})
    assert put.concurrency == wire.Concurrency(
        limit=LIMIT, unreserved=LIMIT - 30, reserved={"resize": 30}
    )
    # Nothing at all is not the same as nothing reserved.
    assert await caller.concurrency("other") == (LIMIT, LIMIT - 30, {"other": 0})
    everything = await caller.concurrency("")
    assert everything == (LIMIT, LIMIT - 30, {"resize": 30, "other": 0})


async def test_what_was_reserved_is_given_back_however_often(caller: Caller) -> None:
    await caller.ask("PutReservedConcurrency", concurrency=30)

    for _ in range(2):
        answer = await caller.ask("DeleteReservedConcurrency")
        assert answer.concurrency == wire.Concurrency(limit=LIMIT, unreserved=LIMIT)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"concurrency": -1}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"concurrency": LIMIT - 99}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"concurrency": 1, "function": "none"}, grpc.StatusCode.NOT_FOUND),
        ({"concurrency": 1, "function": ""}, grpc.StatusCode.NOT_FOUND),
        (
            {"concurrency": 1, "metadata": as_tenant("acme")},
            grpc.StatusCode.NOT_FOUND,
        ),
    ],
    ids=["not said", "below 0", "too much", "unknown", "nobody's", "another's"],
)
async def test_what_cannot_be_reserved_is_refused(
    caller: Caller, fields: dict[str, Any], code: grpc.StatusCode
) -> None:
    assert await caller.refused("PutReservedConcurrency", **fields) is code
    assert await caller.concurrency("") == (LIMIT, LIMIT, {})


# --- provisioned --------------------------------------------------------------------


@pytest.mark.parametrize("qualifier", ["1", "live"])
async def test_what_is_provisioned_is_in_progress_and_then_ready(
    caller: Caller, qualifier: str
) -> None:
    caller.machine.may_start.clear()
    asked = await caller.ask(
        "PutProvisionedConcurrency", qualifier=qualifier, requested=4
    )
    caller.machine.may_start.set()
    ready = await caller.settled(qualifier)

    begun = asked.provisioned
    assert (begun.status, begun.allocated) == (wire.PROVISION_STATUS_IN_PROGRESS, 0)
    assert ready == wire.ProvisionedConcurrency(
        function="resize",
        qualifier=qualifier,
        requested=4,
        allocated=4,
        available=4,
        status=wire.PROVISION_STATUS_READY,
        last_modified=begun.last_modified,
    )
    assert caller.machine.kept == {"1": 4}


async def test_what_finds_no_room_has_failed_and_says_why(caller: Caller) -> None:
    caller.machine.room = 3

    await caller.ask("PutProvisionedConcurrency", qualifier="1", requested=4)
    failed = await caller.settled("1")

    assert (failed.status, failed.allocated) == (wire.PROVISION_STATUS_FAILED, 3)
    assert failed.reason.startswith("3 of 4 instances could be started")


async def test_it_is_listed_page_by_page_and_deleted_once(caller: Caller) -> None:
    await caller.bench.functions.aliases.create(TENANT, "resize", "next", "1")
    for qualifier in ("next", "live"):
        await caller.ask("PutProvisionedConcurrency", qualifier=qualifier, requested=2)

    first = await caller.ask("ListProvisionedConcurrency", page_size=1)
    last = await caller.ask(
        "ListProvisionedConcurrency", page_token=first.next_page_token
    )
    await caller.ask("DeleteProvisionedConcurrency", qualifier="live")
    left = await caller.ask("ListProvisionedConcurrency")
    totals = [
        dict(
            (await caller.ask("GetConcurrency", function=name)).concurrency.provisioned
        )
        for name in ("", "resize", "other")
    ]
    gone = [
        await caller.refused(method, qualifier="live")
        for method in ("GetProvisionedConcurrency", "DeleteProvisionedConcurrency")
    ]

    listed = [each.qualifier for page in (first, last) for each in page.provisioned]
    assert (listed, last.next_page_token) == (["live", "next"], "")
    assert [each.qualifier for each in left.provisioned] == ["next"]
    assert totals == [{"resize": 2}, {"resize": 2}, {}]
    assert gone == [grpc.StatusCode.NOT_FOUND] * 2


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"qualifier": ""}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"qualifier": "$LATEST"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"qualifier": "7"}, grpc.StatusCode.NOT_FOUND),
        ({"qualifier": "nobody"}, grpc.StatusCode.NOT_FOUND),
        ({"requested": 0}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"requested": -1}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"requested": LIMIT - 99}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"metadata": as_tenant("acme")}, grpc.StatusCode.NOT_FOUND),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_provisioned_is_refused(
    caller: Caller, fields: dict[str, Any], code: grpc.StatusCode
) -> None:
    asked = {"qualifier": "1", "requested": 1, **fields}

    assert await caller.refused("PutProvisionedConcurrency", **asked) is code
    assert list((await caller.ask("ListProvisionedConcurrency")).provisioned) == []


async def test_an_alias_and_its_version_do_not_both_have_some(caller: Caller) -> None:
    await caller.ask("PutProvisionedConcurrency", qualifier="live", requested=1)

    code = await caller.refused("PutProvisionedConcurrency", qualifier="1", requested=1)

    assert code is grpc.StatusCode.ABORTED
