"""Aliases: where they lead, what they refuse, in AWS's words."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandlot_engine.catalog import aliases as module
from sandlot_engine.catalog.aliases import Aliases
from sandlot_engine.errors import (
    AlreadyExists,
    Conflict,
    InvalidParameter,
    NotFound,
    QuotaExceeded,
)
from tests.fakes.catalog import ARN, OTHER_ZIP, TENANT, ZIP, Bench, Node, opened
from tests.fakes.stores import MemoryStore


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """With a function that has versions 1 and 2, and chances that are the same each
    time."""
    chance = random.Random(7).random  # noqa: S311 -- no secret
    async with opened(tmp_path, MemoryStore(), Node(), None, chance=chance) as made:
        await made.create()
        await made.settled()
        for code in (OTHER_ZIP, ZIP):
            await made.publish()
            await made.functions.update_code(TENANT, "resize", code)
            await made.settled()
        await made.functions.publish(TENANT, "resize")
        yield made


@pytest.fixture
def aliases(bench: Bench) -> Aliases:
    return bench.functions.aliases


async def test_an_alias_leads_to_its_version(bench: Bench, aliases: Aliases) -> None:
    alias = await aliases.create(TENANT, "resize", "live", "1", description="for all")

    found = await bench.functions.get(TENANT, "resize", "live")

    assert aliases.get(TENANT, "resize", "live") == alias
    assert (alias.version, alias.description, alias.weights) == ("1", "for all", {})
    assert found.version == "1"
    assert bench.functions.resolve(TENANT, "resize", "live") == found


async def test_an_alias_can_follow_latest(bench: Bench, aliases: Aliases) -> None:
    await aliases.create(TENANT, "resize", "dev", "$LATEST")

    assert bench.functions.resolve(TENANT, "resize", "dev").version == "$LATEST"


async def test_an_alias_between_two_versions_leads_to_either_by_weight(
    bench: Bench, aliases: Aliases
) -> None:
    await aliases.create(TENANT, "resize", "live", "1", weights={"2": 0.25})

    went = Counter(
        bench.functions.resolve(TENANT, "resize", "live").version for _ in range(1_000)
    )

    assert set(went) == {"1", "2"}
    assert 200 < went["2"] < 300
    assert (await bench.functions.get(TENANT, "resize", "live")).version == "1"


@pytest.mark.parametrize(("weight", "version"), [(0.0, "1"), (1.0, "2")])
async def test_the_ends_of_the_scale_are_certain(
    bench: Bench, aliases: Aliases, weight: float, version: str
) -> None:
    await aliases.create(TENANT, "resize", "live", "1", weights={"2": weight})

    went = {
        bench.functions.resolve(TENANT, "resize", "live").version for _ in range(99)
    }

    assert went == {version}


async def test_an_alias_moves_at_once_and_keeps_what_is_not_said(
    bench: Bench, aliases: Aliases
) -> None:
    old = await aliases.create(
        TENANT, "resize", "live", "1", description="d", weights={"2": 1.0}
    )

    cleared = await aliases.update(TENANT, "resize", "live", weights={})
    moved = await aliases.update(TENANT, "resize", "live", version="2")

    assert (moved.version, moved.description, moved.weights) == ("2", "d", {})
    assert len({old.revision_id, cleared.revision_id, moved.revision_id}) == 3
    assert bench.functions.resolve(TENANT, "resize", "live").version == "2"


async def test_an_update_of_an_older_alias_is_refused(aliases: Aliases) -> None:
    alias = await aliases.create(TENANT, "resize", "live", "1")

    with pytest.raises(Conflict) as refusal:
        await aliases.update(TENANT, "resize", "live", version="2", revision_id="older")
    await aliases.update(
        TENANT, "resize", "live", version="2", revision_id=alias.revision_id
    )

    assert refusal.value.reason == "PreconditionFailed"
    assert str(refusal.value) == (
        "The Revision Id provided does not match the latest Revision Id. Call the "
        "GetFunction/GetAlias API to retrieve the latest Revision Id"
    )


async def test_a_name_is_taken_once(aliases: Aliases) -> None:
    await aliases.create(TENANT, "resize", "live", "1")

    with pytest.raises(AlreadyExists, match=f"^Alias already exists: {ARN}:live$"):
        await aliases.create(TENANT, "resize", "live", "2")


@pytest.mark.parametrize("name", ["", "12", "a b", "$LATEST", "x" * 129])
async def test_a_name_is_no_number_and_has_plain_letters(
    aliases: Aliases, name: str
) -> None:
    with pytest.raises(InvalidParameter, match=r"^Alias name"):
        await aliases.create(TENANT, "resize", name, "1")


async def test_a_description_is_bounded(aliases: Aliases) -> None:
    with pytest.raises(InvalidParameter, match="257 characters of 256"):
        await aliases.create(TENANT, "resize", "live", "1", description="x" * 257)


async def test_what_is_not_there_is_not_found(aliases: Aliases) -> None:
    with pytest.raises(NotFound, match=f"^Cannot find alias arn: {ARN}:live$"):
        aliases.get(TENANT, "resize", "live")
    with pytest.raises(NotFound, match=f"^Alias not found: {ARN}:live$"):
        await aliases.update(TENANT, "resize", "live", version="1")
    with pytest.raises(NotFound, match=f"^Function not found: {ARN}:7$"):
        await aliases.create(TENANT, "resize", "live", "7")
    with pytest.raises(NotFound, match=r"^Function not found: .*:function:other:1$"):
        await aliases.create(TENANT, "other", "live", "1")
    with pytest.raises(NotFound, match=r"^Function not found: .*:function:other$"):
        await aliases.delete(TENANT, "other", "live")
    with pytest.raises(NotFound, match=r"^Function not found: .*:function:other$"):
        aliases.list(TENANT, "other")


@pytest.mark.parametrize(
    ("version", "weights", "text"),
    [
        (
            "1",
            {"1": 0.5},
            (
                "Invalid function version 1. Function version 1 is already included in "
                "routing configuration."
            ),
        ),
        (
            "1",
            {"2": 0.1, "3": 0.1},
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ),
        (
            "$LATEST",
            {"1": 0.5},
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
        (
            "1",
            {"$LATEST": 0.5},
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
        ("1", {"2": 1.1}, "The weight of version 2 is 1.1; it must be 0.0 to 1.0."),
    ],
)
async def test_routing_that_cannot_be_is_refused(
    aliases: Aliases, version: str, weights: dict[str, float], text: str
) -> None:
    with pytest.raises(InvalidParameter) as created:
        await aliases.create(TENANT, "resize", "live", version, weights=weights)
    await aliases.create(TENANT, "resize", "live", "1")
    with pytest.raises(InvalidParameter) as updated:
        await aliases.update(TENANT, "resize", "live", version=version, weights=weights)

    assert str(created.value) == str(updated.value) == text


async def test_an_extra_version_has_to_exist(aliases: Aliases) -> None:
    with pytest.raises(NotFound, match=f"^Function not found: {ARN}:9$"):
        await aliases.create(TENANT, "resize", "live", "1", weights={"9": 0.5})


async def test_versions_with_different_roles_do_not_share_an_alias(
    bench: Bench, aliases: Aliases
) -> None:
    await bench.functions.update_configuration(TENANT, "resize", {"role": "other"})
    await bench.settled()
    other = await bench.publish()

    with pytest.raises(InvalidParameter, match="roles or their dead-letter targets"):
        await aliases.create(
            TENANT, "resize", "live", "1", weights={other.version: 0.5}
        )


async def test_to_delete_an_alias_that_is_not_there_is_no_failure(
    bench: Bench, aliases: Aliases
) -> None:
    await aliases.create(TENANT, "resize", "live", "1")

    assert await aliases.delete(TENANT, "resize", "live")
    assert not await aliases.delete(TENANT, "resize", "live")
    with pytest.raises(NotFound, match=f"^Function not found: {ARN}:live$"):
        bench.functions.resolve(TENANT, "resize", "live")


async def test_aliases_are_listed_by_name_page_by_page_and_by_version(
    aliases: Aliases,
) -> None:
    for name, version in (("c", "1"), ("a", "2"), ("b", "1")):
        await aliases.create(TENANT, "resize", name, version)
    await aliases.update(TENANT, "resize", "a", weights={"1": 0.1})

    page, token = aliases.list(TENANT, "resize", page_size=2)
    rest, end = aliases.list(TENANT, "resize", page_size=2, page_token=token)
    of_two, _ = aliases.list(TENANT, "resize", version="2")

    assert [each.name for each in (*page, *rest)] == ["a", "b", "c"]
    assert (len(page), end) == (2, "")
    assert [each.name for each in of_two] == ["a"]


async def test_a_function_has_a_bounded_number_of_aliases(
    aliases: Aliases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ALIASES", 1)
    await aliases.create(TENANT, "resize", "a", "1")

    with pytest.raises(QuotaExceeded, match="has 1 aliases of 1 allowed"):
        await aliases.create(TENANT, "resize", "b", "1")


async def test_aliases_survive_the_engine(tmp_path: Path) -> None:
    store = MemoryStore()
    async with opened(tmp_path, store, Node(), None) as before:
        await before.create()
        await before.settled()
        await before.publish()
        alias = await before.functions.aliases.create(TENANT, "resize", "live", "1")

    async with opened(tmp_path, store, Node(), None) as after:
        assert after.functions.aliases.get(TENANT, "resize", "live") == alias
        assert after.functions.resolve(TENANT, "resize", "live").version == "1"
