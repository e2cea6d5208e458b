"""Provisioned concurrency: who may ask for it, what is handed on, what is shown."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandlot_engine.errors import Conflict, InvalidParameter, NotFound, Refusal
from sandlot_engine.model.provisioned import ProvisionStatus
from tests.fakes.catalog import ARN, OTHER_ZIP, TENANT
from tests.fakes.provisioning import Machine, World, world_of
from tests.fakes.stores import MemoryStore

UNPUBLISHED = (
    "Provisioned Concurrency Configs cannot be applied to unpublished function "
    "versions."
)
VERSION_HAS_SOME = (
    "Alias can't be used for Provisioned Concurrency configuration on an already "
    "Provisioned version"
)
ALIAS_HAS_SOME = "Version is pointed by a Provisioned Concurrency alias"
NO_SUCH_RESOURCE = (
    "The function resource provided must be an alias or a published version."
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """With a function that has versions 1 and 2, and an alias for the first."""
    machine = Machine()
    machine.may_start.set()
    async with world_of(tmp_path, MemoryStore(), machine) as made:
        await made.bench.create()
        await made.bench.settled()
        await made.bench.publish()
        await made.bench.functions.update_code(TENANT, "resize", OTHER_ZIP)
        await made.bench.settled()
        await made.bench.publish()
        await made.bench.functions.aliases.create(TENANT, "resize", "live", "1")
        yield made


async def test_what_is_asked_for_is_in_progress_and_then_ready(world: World) -> None:
    world.machine.may_start.clear()
    await world.put("1", 5)
    assert world.status("1") == ("IN_PROGRESS", 0)

    world.machine.may_start.set()
    await world.wait_status("1", ProvisionStatus.READY)

    assert world.status("1") == ("READY", 5)
    assert world.machine.kept == {"1": 5}


async def test_what_has_failed_says_so_and_is_tried_again(world: World) -> None:
    world.machine.room = 2
    await world.put("1", 5)
    await world.wait_status("1", ProvisionStatus.FAILED)

    found = world.provisioned.get(TENANT, "resize", "1")
    assert found.allocated == found.available == 2
    assert found.reason.startswith("2 of 5 instances could be started")
    world.machine.room = 1_000
    await world.wait_status("1", ProvisionStatus.READY)


async def test_what_is_there_now_is_told_beside_what_was_allocated(
    world: World,
) -> None:
    await world.put("1", 5)
    await world.wait_status("1", ProvisionStatus.READY)

    world.machine.kept["1"] = 4

    found = world.provisioned.get(TENANT, "resize", "1")
    assert (found.status, found.allocated, found.available) == ("READY", 5, 4)


async def test_those_there_are_count_while_more_are_started(world: World) -> None:
    await world.put("1", 5)
    await world.wait_status("1", ProvisionStatus.READY)
    world.machine.may_start.clear()

    await world.put("1", 8)

    assert world.status("1") == ("IN_PROGRESS", 5)
    world.machine.may_start.set()
    await world.wait_status("1", ProvisionStatus.READY)


async def test_an_alias_takes_its_instances_along(world: World) -> None:
    await world.put("live", 4)
    await world.wait_kept(v1=4)

    aliases = world.bench.functions.aliases
    await aliases.update(TENANT, "resize", "live", version="2")
    await world.wait_kept(v2=4)
    await aliases.update(TENANT, "resize", "live", weights={"1": 0.25})
    await world.wait_kept(v1=1, v2=3)
    await world.wait_status("live", ProvisionStatus.READY)
    await aliases.delete(TENANT, "resize", "live")

    await world.wait_kept()


async def test_what_is_no_longer_asked_for_is_given_back(world: World) -> None:
    await world.put("1", 3)
    await world.put("2", 1)
    await world.wait_kept(v1=3, v2=1)

    assert await world.provisioned.delete(TENANT, "resize", "1")
    assert not await world.provisioned.delete(TENANT, "resize", "1")
    await world.wait_kept(v2=1)
    await world.put("2", 2)
    await world.wait_kept(v2=2)
    await world.bench.functions.delete(TENANT, "resize")

    await world.wait_kept()


async def test_a_version_that_is_deleted_takes_it_along(world: World) -> None:
    await world.put("2", 1)
    await world.wait_kept(v2=1)

    await world.bench.functions.delete_version(TENANT, "resize", "2")

    await world.wait_kept()
    assert world.provisioned.list(TENANT, "resize") == ([], "")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [("1", "live", VERSION_HAS_SOME), ("live", "1", ALIAS_HAS_SOME)],
)
async def test_an_alias_and_its_version_do_not_both_have_it(
    world: World, first: str, second: str, message: str
) -> None:
    await world.put(first, 1)

    with pytest.raises(Conflict) as refusal:
        await world.put(second, 1)
    await world.put("2", 1)

    assert str(refusal.value) == message


async def test_latest_has_none(world: World) -> None:
    aliases = world.bench.functions.aliases
    await aliases.create(TENANT, "resize", "dev", "$LATEST")

    with pytest.raises(InvalidParameter) as refusal:
        await world.put("$LATEST", 1)
    assert str(refusal.value) == UNPUBLISHED
    with pytest.raises(InvalidParameter, match=r"points to the \$LATEST version"):
        await world.put("dev", 1)
    with pytest.raises(InvalidParameter) as refusal:
        world.provisioned.get(TENANT, "resize", "$LATEST")
    assert str(refusal.value) == NO_SUCH_RESOURCE
    with pytest.raises(InvalidParameter) as refusal:
        await world.provisioned.delete(TENANT, "resize", "")
    assert str(refusal.value) == NO_SUCH_RESOURCE


async def test_it_stays_within_what_is_reserved(world: World) -> None:
    settings = world.bench.functions.settings
    await settings.put_concurrency(TENANT, "resize", 5)
    await world.put("1", 2)

    with pytest.raises(InvalidParameter) as refusal:
        await world.put("2", 4)
    await world.put("2", 3)
    with pytest.raises(InvalidParameter) as lowered:
        await settings.put_concurrency(TENANT, "resize", 4)

    assert str(refusal.value) == (
        "Requested Provisioned Concurrency should not be greater than the "
        "reservedConcurrentExecution for function"
    )
    assert str(lowered.value) == (
        " ReservedConcurrentExecutions  4 should not be lower than function's total "
        "provisioned concurrency [5]."
    )


async def test_it_leaves_others_something(world: World) -> None:
    await world.put("2", 100)
    with pytest.raises(InvalidParameter) as refusal:
        await world.put("1", 901)
    assert str(refusal.value) == (
        "Specified ConcurrentExecutions for function is greater than account's "
        "unreserved concurrency [900]."
    )
    with pytest.raises(InvalidParameter) as refusal:
        await world.put("1", 801)
    assert str(refusal.value) == (
        "Specified ConcurrentExecutions for function decreases account's "
        "UnreservedConcurrentExecution below its minimum value of [100]."
    )
    with pytest.raises(InvalidParameter, match="must be 1 or more"):
        await world.put("1", 0)
    await world.put("1", 800)
    await world.put("1", 800)


async def test_what_others_reserve_leaves_what_is_provisioned(world: World) -> None:
    settings = world.bench.functions.settings
    await world.bench.create("other")
    await world.put("1", 500)

    with pytest.raises(InvalidParameter, match=r"minimum value of \[100\]"):
        await settings.put_concurrency(TENANT, "other", 401)
    await settings.put_concurrency(TENANT, "other", 400)
    # What is its own comes out of its own reserve.
    await settings.put_concurrency(TENANT, "resize", 500)


async def test_what_there_is_not(world: World) -> None:
    with pytest.raises(Refusal) as refusal:
        world.provisioned.get(TENANT, "resize", "1")
    assert refusal.value.reason == "ProvisionedConcurrencyConfigNotFoundException"
    assert str(refusal.value) == (
        "No Provisioned Concurrency Config found for this function"
    )
    with pytest.raises(NotFound) as missing:
        await world.put("7", 1)
    assert str(missing.value) == f"Function not found: {ARN}:7"
    with pytest.raises(NotFound) as missing:
        await world.put("dev", 1)
    assert str(missing.value) == f"Cannot find alias arn: {ARN}:dev"
    nobody = ARN.replace("resize", "nobody")
    with pytest.raises(NotFound) as missing:
        world.provisioned.get(TENANT, "nobody", "1")
    assert str(missing.value) == f"Function not found: {nobody}:1"
    with pytest.raises(NotFound) as missing:
        world.provisioned.get(TENANT, "nobody", "dev")
    assert str(missing.value) == f"Cannot find alias arn: {nobody}:dev"
    with pytest.raises(NotFound):
        world.provisioned.list(TENANT, "nobody")


async def test_an_engine_that_starts_hands_on_what_was_asked_for(
    tmp_path: Path,
) -> None:
    store, before, after = MemoryStore(), Machine(), Machine()
    async with world_of(tmp_path, store, before) as world:
        await world.bench.create()
        await world.bench.settled()
        await world.bench.publish()
        await world.put("1", 3)

    after.may_start.set()
    async with world_of(tmp_path, store, after) as world:
        await world.wait_kept(v1=3)
        page, _ = world.provisioned.list(TENANT, "resize")

    assert [each.config.requested for each in page] == [3]
