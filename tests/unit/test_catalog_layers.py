"""Layers: numbered, found, shared, resolved for functions; in AWS's words."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from sandlot_engine.catalog.keeper import Keeper
from sandlot_engine.catalog.layers import MAX_UNZIPPED, Layers, check_unpacked_size
from sandlot_engine.catalog.on_disk import OnDisk
from sandlot_engine.catalog.ports import CheckRoom
from sandlot_engine.catalog.turns import Turns
from sandlot_engine.errors import (
    AlreadyExists,
    Conflict,
    InvalidParameter,
    NotFound,
    NotSupported,
    PermissionDenied,
    QuotaExceeded,
    Unavailable,
)
from sandlot_engine.model.function import Code, LayerUse
from sandlot_engine.model.layer import LayerVersion, layer_version_arn
from tests.fakes.runner import FakeClock
from tests.fakes.stores import MemoryStore

MINE, OTHER, THIRD = "000000000001", "000000000002", "000000000003"
REGION = "eu-west-1"
RUNTIMES = ("python3.11", "python3.12")


class FakePackages:
    """Takes any bytes; remembers what was let go of."""

    def __init__(self) -> None:
        self.built_for: list[str] = []
        self.discarded: list[str] = []

    @asynccontextmanager
    async def arrived(
        self, tenant_id: str, zip_bytes: bytes, runtime: str, *, is_layer: bool
    ) -> AsyncIterator[Code]:
        assert tenant_id
        assert is_layer
        self.built_for.append(runtime)
        await asyncio.sleep(0)
        yield Code(sha256=zip_bytes.decode(), size=len(zip_bytes), unpacked_size=10)

    async def discard_unused(self, sha256s: Iterable[str]) -> None:
        self.discarded += sha256s


class World:
    """The catalog of an engine, which can be started again."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.packages = FakePackages()
        self.runtimes: tuple[str, ...] = RUNTIMES
        self.on_disk = OnDisk()
        self.layers = self._new()

    def _new(self, check_room: CheckRoom = lambda *_: None, **more: int) -> Layers:
        keeper = Keeper()
        return Layers(
            self.store,
            self.packages,
            turns=Turns(keeper),
            keeper=keeper,
            clock=FakeClock(),
            runtimes=lambda: self.runtimes,
            check_room=check_room,
            on_disk=self.on_disk,
            **more,
        )

    async def restart(self, **more: Any) -> Layers:
        self.on_disk = OnDisk()
        self.layers = self._new(**more)
        await self.layers.load()
        return self.layers

    async def publish(
        self, name: str = "tools", content: str = "aa", *, by: str = MINE, **more: Any
    ) -> LayerVersion:
        return await self.layers.publish(by, name, content.encode(), **more)

    async def share(
        self, principal: str, *, number: int = 1, id_: str = "s1", revision: str = ""
    ) -> LayerVersion:
        version, _ = await self.layers.add_permission(
            *(MINE, "tools", number),
            statement_id=id_,
            action="lambda:GetLayerVersion",
            principal=principal,
            revision_id=revision,
            region=REGION,
        )
        return version

    def resolve(self, *arns: str, by: str = MINE) -> tuple[LayerUse, ...]:
        return self.layers.resolve(by, arns, region=REGION)


def arn(name: str = "tools", number: int = 1, *, of: str = MINE) -> str:
    return layer_version_arn(REGION, of, name, number)


@pytest.fixture
async def world() -> World:
    made = World()
    await made.restart()
    return made


# --- published, and found ---------------------------------------------------------


async def test_versions_are_numbered_from_1_by_layer_and_tenant(world: World) -> None:
    numbers = [
        (await world.publish()).version,
        (await world.publish()).version,
        (await world.publish("other")).version,
        (await world.publish(by=OTHER)).version,
    ]

    assert numbers == [1, 2, 1, 1]


async def test_a_number_is_never_given_again(world: World) -> None:
    await world.publish()
    await world.publish()
    await world.layers.delete(MINE, "tools", 2)
    await world.layers.delete(MINE, "tools", 1)

    assert (await world.publish()).version == 3
    await world.layers.delete(MINE, "tools", 3)
    await world.restart()
    assert (await world.publish()).version == 4


async def test_publishing_at_once_gives_each_a_number_of_its_own(world: World) -> None:
    published = await asyncio.gather(*(world.publish() for _ in range(5)))

    assert sorted(version.version for version in published) == [1, 2, 3, 4, 5]


async def test_a_version_is_found_as_it_was_published_also_by_the_next_engine(
    world: World,
) -> None:
    published = await world.publish(
        description="ü",
        license_info="MIT",
        runtimes=("python3.12",),
        architectures=("x86_64", "arm64"),
    )
    await world.restart()

    assert world.layers.get(MINE, "tools", 1, region=REGION) == published
    assert world.layers.get_by_arn(MINE, arn()) == published
    layer_arn = published.layer_arn(REGION)
    assert world.layers.get(MINE, layer_arn, 1, region=REGION) == published
    assert published.license_info == "MIT"
    assert published.code.unpacked_size == 10


async def test_a_package_is_checked_with_a_runtime_that_it_is_for(
    world: World,
) -> None:
    await world.publish(runtimes=("nodejs22.x", "python3.11"))
    await world.publish(runtimes=("nodejs22.x",))
    await world.publish()

    assert world.packages.built_for == ["python3.11", "python3.12", "python3.12"]


async def test_a_machine_without_interpreters_takes_no_layers(world: World) -> None:
    world.runtimes = ()

    with pytest.raises(Unavailable, match="no interpreter"):
        await world.publish()


@pytest.mark.parametrize(("name", "number"), [("tools", 2), ("none", 1)])
async def test_what_is_not_there_is_not_found(
    world: World, name: str, number: int
) -> None:
    await world.publish()

    with pytest.raises(
        NotFound, match=r"^The resource you requested does not exist\.$"
    ):
        world.layers.get(MINE, name, number, region=REGION)
    with pytest.raises(NotFound):
        world.layers.get_by_arn(MINE, arn(name, number))
    with pytest.raises(InvalidParameter, match="Layer Version Cannot be less than 1"):
        world.layers.get(MINE, name, 0, region=REGION)


async def test_layers_are_listed_by_their_latest_version_that_matches(
    world: World,
) -> None:
    await world.publish("b", runtimes=("python3.11",), architectures=("arm64",))
    await world.publish("b", runtimes=("python3.12",))
    await world.publish("a", runtimes=("python3.11",))
    await world.publish("c", by=OTHER)

    def listed(**filters: Any) -> list[tuple[str, int]]:
        found, token = world.layers.list_layers(MINE, **filters)
        assert token == ""
        return [(version.name, version.version) for version in found]

    assert listed() == [("a", 1), ("b", 2)]
    assert listed(runtime="python3.11") == [("a", 1), ("b", 1)]
    assert listed(runtime="python3.11", architecture="arm64") == [("b", 1)]
    assert listed(runtime="python3.9") == []


async def test_lists_come_in_pages(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.publish(name)
    for _ in range(10):
        await world.publish("a")

    one, token = world.layers.list_layers(MINE, page_size=2)
    two, end = world.layers.list_layers(MINE, page_size=2, page_token=token)
    newest, token = world.layers.list_versions(MINE, "a", page_size=3)
    older, _ = world.layers.list_versions(MINE, "a", page_size=3, page_token=token)

    assert [version.name for version in (*one, *two)] == ["a", "b", "c"]
    assert end == ""
    assert [version.version for version in newest] == [11, 10, 9]
    assert [version.version for version in older] == [8, 7, 6]


async def test_versions_are_listed_by_what_they_are_for(world: World) -> None:
    await world.publish(runtimes=("python3.11",))
    await world.publish(architectures=("arm64",))

    def numbers(**filters: Any) -> list[int]:
        found, _ = world.layers.list_versions(MINE, "tools", **filters)
        return [version.version for version in found]

    assert numbers() == [2, 1]
    assert numbers(runtime="python3.11") == [1]
    assert numbers(architecture="arm64") == [2]
    assert world.layers.list_versions(MINE, "none") == ([], "")


# --- packages ---------------------------------------------------------------------


async def test_a_package_is_kept_while_a_version_has_it(world: World) -> None:
    await world.publish("a", "same")
    await world.publish("b", "same")
    assert set(world.layers.hashes) == {"same"}

    await world.layers.delete(MINE, "a", 1)
    assert set((await world.restart()).hashes) == {"same"}
    assert world.packages.discarded == []

    await world.layers.delete(MINE, "b", 1)
    assert set(world.layers.hashes) == set()
    assert world.packages.discarded == ["same"]


async def test_deleting_what_is_not_there_is_no_failure(world: World) -> None:
    await world.publish()

    assert await world.layers.delete(MINE, "tools", 1)
    assert not await world.layers.delete(MINE, "tools", 1)
    assert not await world.layers.delete(MINE, "none", 7)


async def test_of_a_tenant_that_goes_nothing_is_left(world: World) -> None:
    await world.publish("a", "one")
    await world.publish("b", "two")
    await world.publish("b", "three", by=OTHER)

    await world.layers.delete_all(MINE)
    await world.restart()

    assert world.layers.list_layers(MINE) == ([], "")
    assert sorted(world.packages.discarded) == ["one", "two"]
    assert set(world.layers.hashes) == {"three"}
    assert (await world.publish("a")).version == 1


async def test_a_package_of_several_versions_counts_once(world: World) -> None:
    await world.publish("a", "same")
    alone = world.on_disk.total(MINE)
    await world.publish("b", "same")
    twice = world.on_disk.total(MINE)
    await world.layers.delete(MINE, "a", 1)
    once = world.on_disk.total(MINE)
    await world.layers.delete(MINE, "b", 1)

    assert once == twice == alone > 0
    assert world.on_disk.total(MINE) == world.on_disk.total(OTHER) == 0


async def test_a_tenant_without_room_publishes_nothing(world: World) -> None:
    def refuse(tenant_id: str, code: Code) -> None:
        raise QuotaExceeded(f"{tenant_id} has no room for {code.size} bytes")

    await world.restart(check_room=refuse)
    with pytest.raises(QuotaExceeded, match="no room for 2 bytes"):
        await world.publish()
    assert world.layers.list_layers(MINE) == ([], "")

    await world.restart(max_versions=1)
    await world.publish()
    with pytest.raises(QuotaExceeded, match="has 1 layer versions of 1 allowed"):
        await world.publish()


# --- used by functions ------------------------------------------------------------


async def test_layers_are_resolved_in_their_order(world: World) -> None:
    await world.publish("a", "one")
    await world.publish("b", "two")

    uses = world.resolve(arn("b"), arn("a"))

    assert [(use.arn, use.code.sha256) for use in uses] == [
        (arn("b"), "two"),
        (arn("a"), "one"),
    ]
    assert world.resolve() == ()


async def test_five_layers_are_the_most(world: World) -> None:
    arns = [arn((await world.publish(f"l{n}")).name) for n in range(6)]

    assert len(world.resolve(*arns[:5])) == 5
    with pytest.raises(
        InvalidParameter, match=r"^Cannot reference more than 5 layers\.$"
    ):
        world.resolve(*arns)


async def test_two_versions_of_a_layer_do_not_go_together(world: World) -> None:
    await world.publish()
    await world.publish()

    with pytest.raises(InvalidParameter) as refused:
        world.resolve(arn(number=1), arn(number=2))
    with pytest.raises(InvalidParameter, match="Two different versions"):
        world.resolve(arn(), arn())

    assert refused.value.message == (
        "Two different versions of the same layer are not allowed to be referenced in "
        f"the same function. {arn(number=1)} and {arn(number=2)} are versions of the "
        "same layer."
    )


@pytest.mark.parametrize(
    "missing",
    [
        arn("none"),
        arn(number=2),
        "arn:aws:lambda:::awslayer:AmazonLinux1803",
        "tools",
        f"{arn()}\n",
    ],
)
async def test_a_layer_that_is_not_there_is_refused(world: World, missing: str) -> None:
    await world.publish()

    with pytest.raises(InvalidParameter) as refused:
        world.resolve(missing)

    assert refused.value.message == f"Layer version {missing} does not exist."


async def test_a_layer_of_another_region_or_no_number_is_refused(world: World) -> None:
    await world.publish()
    elsewhere = layer_version_arn("us-east-1", MINE, "tools", 1)

    with pytest.raises(InvalidParameter) as refused:
        world.resolve(elsewhere)
    with pytest.raises(InvalidParameter, match="Layer Version Cannot be less than 1"):
        world.resolve(arn(number=0))

    assert refused.value.message == (
        "Layers are not in the same region as the function. Layers are expected to be "
        f"in region {REGION}."
    )


async def test_a_deleted_version_cannot_be_referred_to_any_more(world: World) -> None:
    await world.publish()
    await world.layers.delete(MINE, "tools", 1)

    with pytest.raises(InvalidParameter, match=r"does not exist\.$"):
        world.resolve(arn())


def test_a_function_and_its_layers_are_not_too_large_together() -> None:
    code = Code(sha256="aa", size=1, unpacked_size=MAX_UNZIPPED - 20)
    layer = LayerUse(arn=arn(), code=replace(code, unpacked_size=10))

    check_unpacked_size(code, (layer, layer))
    with pytest.raises(InvalidParameter) as refused:
        check_unpacked_size(code, (layer,) * 3)

    assert refused.value.message == (
        "Function code combined with layers exceeds the maximum allowed size of "
        "262144000 bytes. The actual size is 262144010 bytes."
    )


# --- shared -----------------------------------------------------------------------


async def test_another_tenant_s_layer_is_closed_whether_it_is_there_or_not(
    world: World,
) -> None:
    await world.publish()

    texts = set()
    for number in (1, 2):
        with pytest.raises(PermissionDenied) as used:
            world.resolve(arn(number=number), by=OTHER)
        with pytest.raises(PermissionDenied) as read:
            world.layers.get_by_arn(OTHER, arn(number=number))
        texts |= {
            refused.value.message.replace(arn(number=number), "ARN")
            for refused in (used, read)
        }

    (text,) = texts
    assert text == (
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: "
        "lambda:GetLayerVersion on resource: ARN because no resource-based policy "
        "allows the lambda:GetLayerVersion action"
    )


@pytest.mark.parametrize("principal", ["*", OTHER, f"arn:aws:iam::{OTHER}:root"])
async def test_whom_it_is_shared_with_uses_and_reads_it(
    world: World, principal: str
) -> None:
    published = await world.publish()
    await world.publish()
    await world.share(principal)
    await world.restart()

    (use,) = world.resolve(arn(), by=OTHER)

    assert use.code == published.code
    assert world.layers.get_by_arn(OTHER, arn()).version == 1
    with pytest.raises(PermissionDenied):
        world.resolve(arn(number=2), by=OTHER)
    if principal != "*":
        with pytest.raises(PermissionDenied):
            world.resolve(arn(), by=THIRD)


async def test_only_its_owner_changes_or_lists_it(world: World) -> None:
    published = await world.publish()
    await world.share("*")
    named = published.layer_arn(REGION)
    layers = world.layers

    with pytest.raises(PermissionDenied, match="lambda:DeleteLayerVersion"):
        await layers.delete(OTHER, named, 1)
    with pytest.raises(PermissionDenied, match="lambda:PublishLayerVersion"):
        await layers.publish(OTHER, named, b"x")
    with pytest.raises(PermissionDenied, match="lambda:ListLayerVersions"):
        layers.list_versions(OTHER, named)
    with pytest.raises(PermissionDenied, match="lambda:GetLayerVersionPolicy"):
        layers.policy(OTHER, named, 1, region=REGION)
    with pytest.raises(PermissionDenied, match="lambda:RemoveLayerVersionPermission"):
        await layers.remove_permission(
            OTHER, named, 1, statement_id="s1", region=REGION
        )
    assert not await layers.delete(OTHER, "tools", 1)


async def test_a_policy_is_shown_as_aws_writes_it(world: World) -> None:
    await world.publish()
    await world.share("*", id_="all")
    shared = await world.share(OTHER, id_="one")

    policy, revision_id = world.layers.policy(MINE, "tools", 1, region=REGION)

    assert revision_id == shared.policy_revision_id
    assert json.loads(policy) == {
        "Version": "2012-10-17",
        "Id": "default",
        "Statement": [
            {
                "Sid": id_,
                "Effect": "Allow",
                "Principal": principal,
                "Action": "lambda:GetLayerVersion",
                "Resource": arn(),
            }
            for id_, principal in (
                ("all", "*"),
                ("one", {"AWS": f"arn:aws:iam::{OTHER}:root"}),
            )
        ],
    }


async def test_what_was_shared_can_be_taken_back(world: World) -> None:
    await world.publish()
    await world.share(OTHER)

    await world.layers.remove_permission(
        MINE, "tools", 1, statement_id="s1", region=REGION
    )

    with pytest.raises(PermissionDenied):
        world.resolve(arn(), by=OTHER)
    with pytest.raises(NotFound, match="No policy is associated with the given"):
        world.layers.policy(MINE, "tools", 1, region=REGION)
    with pytest.raises(NotFound, match="Statement s1 is not found in resource policy"):
        await world.layers.remove_permission(
            MINE, "tools", 1, statement_id="s1", region=REGION
        )


async def test_a_statement_id_is_taken_once(world: World) -> None:
    await world.publish()
    await world.share(OTHER)

    with pytest.raises(AlreadyExists) as refused:
        await world.share("*")

    assert refused.value.message == (
        "The statement id (s1) provided already exists. Please provide a new statement "
        "id, or remove the existing statement."
    )


async def test_a_policy_that_has_changed_is_not_changed_by_who_has_not_seen_it(
    world: World,
) -> None:
    await world.publish()
    first = (await world.share(OTHER)).policy_revision_id
    second = (await world.share("*", id_="s2", revision=first)).policy_revision_id

    assert first != second
    with pytest.raises(Conflict, match="Call the GetLayerPolicy API") as stale:
        await world.share("*", id_="s3", revision=first)
    with pytest.raises(Conflict):
        await world.layers.remove_permission(
            *(MINE, "tools", 1), statement_id="s1", revision_id=first, region=REGION
        )

    assert stale.value.reason == "PreconditionFailed"


async def test_a_policy_has_no_more_than_its_limit(world: World) -> None:
    await world.publish()

    async def share_often() -> None:
        for number in range(200):
            await world.share(OTHER, id_=f"{number:0100}")

    with pytest.raises(QuotaExceeded, match=r"is bigger than the limit \(20480\)"):
        await share_often()

    policy, _ = world.layers.policy(MINE, "tools", 1, region=REGION)
    assert len(policy) <= 20_480


@pytest.mark.parametrize(
    ("changed", "kind", "because"),
    [
        ({"action": "lambda:*"}, InvalidParameter, "'lambda:\\*' at 'action'"),
        ({"principal": "12"}, InvalidParameter, "^The provided principal was invalid"),
        ({"principal": f"x::{OTHER}"}, InvalidParameter, "principal was invalid"),
        ({"organization_id": "o-abcdefghij"}, NotSupported, "^OrganizationId o-abc"),
    ],
)
async def test_a_permission_that_cannot_be_is_refused(
    world: World, changed: dict[str, str], kind: type[Exception], because: str
) -> None:
    await world.publish()
    asked = {
        "statement_id": "s1",
        "action": "lambda:GetLayerVersion",
        "principal": "*",
        "region": REGION,
    }

    with pytest.raises(kind, match=because):
        await world.layers.add_permission(MINE, "tools", 1, **{**asked, **changed})
    with pytest.raises(
        NotFound, match=f"^Layer version {arn(number=2)} does not exist"
    ):
        await world.layers.add_permission(MINE, "tools", 2, **asked)
