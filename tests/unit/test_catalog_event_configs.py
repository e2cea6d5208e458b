"""How asynchronous invocations are treated: what is kept, and what is refused."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandlot_engine.catalog.event_configs import EventConfigs, kept_event_configs
from sandlot_engine.errors import InvalidParameter, NotFound
from sandlot_engine.model.event_config import Destinations
from tests.fakes.catalog import ARN, TENANT, Bench, Node, opened
from tests.fakes.runner import FakeClock
from tests.fakes.stores import MemoryStore

QUEUE = f"arn:aws:sqs:eu-north-1:{TENANT}:failed"
OTHER = ARN.replace("resize", "other")


@dataclass
class World:
    bench: Bench
    configs: EventConfigs
    clock: FakeClock


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """With a function that has a version 1 and an alias, and another function."""
    store, clock = MemoryStore(), FakeClock()
    kept = kept_event_configs(store)
    async with opened(tmp_path, store, Node(), None, belongings=[kept]) as bench:
        await bench.create()
        await bench.create("other")
        await bench.settled()
        await bench.publish()
        await bench.functions.aliases.create(TENANT, "resize", "live", "1")
        yield World(bench, EventConfigs(kept, bench.functions, clock=clock), clock)


@pytest.fixture
def configs(world: World) -> EventConfigs:
    return world.configs


async def test_put_replaces_and_update_changes(
    world: World, configs: EventConfigs
) -> None:
    to = Destinations(on_success=OTHER, on_failure=QUEUE)
    first = await configs.put(TENANT, "resize", max_retries=1, destinations=to)
    world.clock.advance(60)
    changed = await configs.update(TENANT, "resize", max_age_s=60)

    assert first.qualifier == "$LATEST"
    assert (changed.max_retries, changed.max_age_s) == (1, 60)
    assert changed.destinations == to
    assert changed.last_modified > first.last_modified
    assert configs.get(TENANT, "resize") == changed
    replaced = await configs.put(TENANT, "resize", max_retries=0)
    assert (replaced.max_retries, replaced.max_age_s) == (0, None)
    assert replaced.destinations == Destinations()


async def test_each_qualifier_has_its_own(configs: EventConfigs) -> None:
    for qualifier in ("1", "live", "$LATEST"):
        await configs.put(TENANT, "resize", qualifier, max_retries=0)

    page, token = configs.list(TENANT, "resize", 2)
    rest, end = configs.list(TENANT, "resize", 2, token)
    assert [each.qualifier for each in (*page, *rest)] == ["$LATEST", "1", "live"]
    assert end == ""


@pytest.mark.parametrize(
    "given",
    [
        {"max_retries": 3},
        {"max_retries": -1},
        {"max_age_s": 59},
        {"max_age_s": 21_601},
    ],
)
async def test_numbers_have_limits(configs: EventConfigs, given: Any) -> None:
    with pytest.raises(InvalidParameter, match="it must be"):
        await configs.put(TENANT, "resize", **given)

    assert configs.find(TENANT, "resize") is None


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        (ARN, "You can't specify the function as a destination for itself."),
        (f"{ARN}:1", "You can't specify the function as a destination for itself."),
        (f"{ARN}:7", f"The destination ARN {ARN}:7 is invalid."),
        (f"{OTHER}s", f"The destination ARN {OTHER}s is invalid."),
        (f"{QUEUE}.fifo", f"The destination ARN {QUEUE}.fifo is invalid."),
        ("arn:aws:s3:::b", "The destination ARN arn:aws:s3:::b is invalid."),
        ("queue", "The destination ARN queue is invalid."),
    ],
)
async def test_a_destination_that_is_none_is_refused(
    configs: EventConfigs, arn: str, message: str
) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        await configs.put(TENANT, "resize", destinations=Destinations(on_success=arn))

    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("arn", "why"),
    [
        ("arn:aws:s3:::b", "S3 destinations are not supported: name a queue"),
        (QUEUE.replace(TENANT, "9" * 12), f"another account .*: name one of {TENANT}"),
        (OTHER.replace(TENANT, "9" * 12), f"another account .*: name one of {TENANT}"),
        (f"{QUEUE}/a", "no name of a queue"),
        (QUEUE.replace("sqs", "events"), "no event bus"),
    ],
)
async def test_a_destination_that_could_never_be_told_says_why(
    configs: EventConfigs, arn: str, why: str
) -> None:
    said = rf"^The destination ARN {arn} is invalid\. .*{why}"
    with pytest.raises(InvalidParameter, match=said):
        await configs.put(TENANT, "resize", destinations=Destinations(on_failure=arn))

    assert configs.find(TENANT, "resize") is None


async def test_something_must_be_given(configs: EventConfigs) -> None:
    for change in (configs.put, configs.update):
        with pytest.raises(InvalidParameter) as refusal:
            await change(TENANT, "resize")

        assert str(refusal.value) == (
            "You must specify at least one of error handling or destination setting."
        )


async def test_what_there_is_not(configs: EventConfigs) -> None:
    with pytest.raises(NotFound, match=r"^The function doesn't exist\.$"):
        await configs.put(TENANT, "resize", "7", max_retries=0)
    with pytest.raises(NotFound, match=r"^The function doesn't exist\.$"):
        configs.list(TENANT, "nobody")
    with pytest.raises(NotFound) as refusal:
        configs.get(TENANT, "resize", "7")
    assert (
        str(refusal.value) == f"The function {ARN}:7 doesn't have an EventInvokeConfig"
    )
    with pytest.raises(NotFound, match=r"\$LATEST doesn't have an EventInvokeConfig"):
        await configs.update(TENANT, "resize", max_retries=0)
    for name in ("resize", "nobody"):
        what = rf"{name}:\$LATEST doesn't have an EventInvokeConfig"
        with pytest.raises(NotFound, match=what):
            configs.get(TENANT, name)
        with pytest.raises(NotFound, match=what):
            await configs.delete(TENANT, name)


async def test_it_goes_when_it_is_deleted_and_with_what_it_is_about(
    world: World, configs: EventConfigs
) -> None:
    for qualifier in ("", "live", "1"):
        await configs.put(TENANT, "resize", qualifier, max_retries=0)

    await configs.delete(TENANT, "resize")
    await world.bench.functions.aliases.delete(TENANT, "resize", "live")
    await world.bench.functions.delete_version(TENANT, "resize", "1")

    assert configs.list(TENANT, "resize") == ([], "")


async def test_an_engine_that_starts_knows_them(
    world: World, configs: EventConfigs
) -> None:
    config = await configs.put(TENANT, "resize", max_retries=0)

    kept = kept_event_configs(world.bench.store)
    await kept.load()

    assert kept.get(TENANT, "resize", "$LATEST") == config
