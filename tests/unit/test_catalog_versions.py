"""Versions: published, numbered, made ready for themselves, deleted."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sandlot_engine.catalog import preparing
from sandlot_engine.catalog.kept import Kept
from sandlot_engine.catalog.quotas import Quota
from sandlot_engine.catalog.versions import Versions
from sandlot_engine.errors import (
    Conflict,
    InvalidParameter,
    NotFound,
    QuotaExceeded,
    Unavailable,
)
from sandlot_engine.model.function import Function, FunctionState, UpdateStatus
from sandlot_engine.model.network import Network
from tests.fakes.catalog import (
    ARN,
    OTHER_ZIP,
    TENANT,
    ZIP,
    Bench,
    Node,
    opened,
)
from tests.fakes.stores import MemoryStore
from tests.fakes.things import function, revision


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """With a function that is ready."""
    async with opened(tmp_path, MemoryStore(), Node(), None) as made:
        await made.create()
        await made.settled()
        yield made


async def change(bench: Bench, code: bytes = OTHER_ZIP) -> Function:
    await bench.functions.update_code(TENANT, "resize", code)
    return await bench.settled()


def test_functions_are_counted_by_network_once_until_one_changes() -> None:
    versions, one = Versions("eu-central-1"), function()
    config = replace(revision().config, network=Network.HOST)
    shares = function("other", serving=replace(revision(), config=config))
    versions.keep(one)
    before = versions.count_by_network(Network.HOST)

    again = versions.count_by_network(Network.HOST)
    versions.keep(shares)
    with_it = versions.count_by_network(Network.HOST)
    versions.forget(shares)

    assert again is before
    assert (before, with_it) == ({}, {"1": 1})
    assert versions.count_by_network(Network.HOST) == {}


# --- published -------------------------------------------------------------------


async def test_a_version_is_made_ready_for_itself_and_then_is_active(
    bench: Bench,
) -> None:
    latest = await bench.functions.get(TENANT, "resize")
    bench.node.go.clear()

    pending = await bench.functions.publish(TENANT, "resize")

    assert (pending.version, pending.state) == ("1", FunctionState.PENDING)
    assert pending.state_reason == "The function is being created."
    assert pending.update_status is UpdateStatus.NONE
    assert pending.current.code == latest.current.code
    assert pending.current.config == latest.current.config
    assert pending.current.id != latest.current.id
    with pytest.raises(Conflict, match="following state: Pending"):
        bench.functions.resolve(TENANT, "resize", "1")

    active = await bench.settled(qualifier="1")

    assert active.state is FunctionState.ACTIVE
    assert active.revision_id not in (pending.revision_id, latest.revision_id)
    assert bench.functions.resolve(TENANT, "resize", "1") == active
    assert bench.node.prepared == [latest.current.id, pending.current.id]
    assert await bench.store.get_function(TENANT, "resize", "1") == active
    now = await bench.functions.get(TENANT, "resize")
    assert replace(now, revision_id="") == replace(latest, revision_id="")


async def test_whoever_publishes_can_wait_until_it_is_ready(bench: Bench) -> None:
    pending = await bench.functions.publish(TENANT, "resize")

    ready = await bench.functions.when_ready(pending, within_s=60.0)

    assert ready.state is FunctionState.ACTIVE
    assert ready == bench.functions.resolve(TENANT, "resize", "1")
    assert await bench.functions.when_ready(ready, within_s=60.0) == ready


async def test_nobody_waits_for_a_version_any_longer_than_said(bench: Bench) -> None:
    bench.node.go.clear()
    pending = await bench.functions.publish(TENANT, "resize")

    still = await bench.functions.when_ready(pending, within_s=0.01)

    assert still == pending
    assert (await bench.settled(qualifier="1")).state is FunctionState.ACTIVE


@pytest.mark.parametrize(
    ("timeout_s", "state"), [(3, FunctionState.FAILED), (900, FunctionState.ACTIVE)]
)
async def test_a_snapshots_import_has_the_functions_timeout_where_that_is_more(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    timeout_s: int,
    state: FunctionState,
) -> None:
    changes = {"snap_start": True, "timeout_s": timeout_s}
    await bench.functions.update_configuration(TENANT, "resize", changes)
    await bench.settled()
    # Of AWS's least nothing is left.
    monkeypatch.setattr(preparing, "PREPARE_TIMEOUT_S", -130.0)
    bench.node.go.clear()
    bench.node.preparing.clear()

    await bench.functions.publish(TENANT, "resize")
    await bench.node.preparing.wait()
    version = await bench.settled(qualifier="1")

    assert version.state is state


async def test_a_version_stays_as_it_is(bench: Bench) -> None:
    one = await bench.publish()

    latest = await change(bench)

    assert await bench.functions.get(TENANT, "resize", "1") == one
    assert latest.current.code != one.current.code
    assert await bench.code_of("resize", "1") == ZIP
    assert await bench.code_of("resize") == OTHER_ZIP
    await bench.codes_left(2)


async def test_without_a_change_there_is_no_new_version(bench: Bench) -> None:
    one = await bench.publish(description="as it was")

    again = await bench.publish(description="again")
    await change(bench, ZIP)
    unchanged = await bench.publish()

    assert again == unchanged == one
    assert one.current.config.description == "as it was"


@pytest.mark.parametrize(
    "changes", [{"timeout_s": 9}, {"description": "new"}, {"environment": {"AB": "c"}}]
)
async def test_a_changed_setting_makes_a_new_version(
    bench: Bench, changes: dict[str, object]
) -> None:
    await bench.publish()

    await bench.functions.update_configuration(TENANT, "resize", changes)
    await bench.settled()
    two = await bench.publish()

    assert two.version == "2"


async def test_numbers_are_never_used_again(bench: Bench) -> None:
    await bench.publish()
    await bench.functions.delete_version(TENANT, "resize", "1")
    two = await bench.publish()

    await bench.functions.delete(TENANT, "resize")
    await bench.create()
    await bench.settled()
    three = await bench.publish()

    assert (two.version, three.version) == ("2", "3")


async def test_what_has_failed_can_be_published_again(bench: Bench) -> None:
    bench.node.error = Unavailable("no launcher")
    failed = await bench.publish()
    bench.node.error = None

    two = await bench.publish()

    assert (failed.state, failed.version) == (FunctionState.FAILED, "1")
    assert (two.state, two.version) == (FunctionState.ACTIVE, "2")


async def test_other_code_than_the_caller_means_is_not_published(bench: Bench) -> None:
    current = (await bench.functions.get(TENANT, "resize")).current.code.sha256_base64

    with pytest.raises(InvalidParameter) as refusal:
        await bench.functions.publish(TENANT, "resize", code_sha256="other")
    one = await bench.functions.publish(TENANT, "resize", code_sha256=current)

    assert str(refusal.value) == (
        f"CodeSHA256 (other) is different from current CodeSHA256 in $LATEST "
        f"({current}). Please try again with the CodeSHA256 in $LATEST."
    )
    assert one.version == "1"


async def test_another_revision_than_the_caller_means_is_not_published(
    bench: Bench,
) -> None:
    latest = await bench.functions.get(TENANT, "resize")

    with pytest.raises(Conflict, match=r"^The Revision Id provided does not match"):
        await bench.functions.publish(TENANT, "resize", revision_id="older")
    one = await bench.functions.publish(
        TENANT, "resize", revision_id=latest.revision_id
    )
    with pytest.raises(Conflict, match=r"^The Revision Id provided does not match"):
        await bench.functions.publish(TENANT, "resize", revision_id=latest.revision_id)
    now = await bench.functions.get(TENANT, "resize")
    again = await bench.functions.publish(TENANT, "resize", revision_id=now.revision_id)

    assert one.version == again.version == "1"
    # Nothing was published, and so nothing has changed.
    assert await bench.functions.get(TENANT, "resize") == now


async def test_what_is_not_settled_is_not_published(bench: Bench) -> None:
    bench.node.go.clear()
    await bench.create("new", code=OTHER_ZIP)
    await bench.functions.update_code(TENANT, "resize", OTHER_ZIP)

    with pytest.raises(Conflict, match="following state: Pending"):
        await bench.functions.publish(TENANT, "new")
    with pytest.raises(
        Conflict, match=f"An update is in progress for resource: {ARN}$"
    ):
        await bench.functions.publish(TENANT, "resize")
    with pytest.raises(NotFound, match=r"^Function not found: .*:other$"):
        await bench.functions.publish(TENANT, "other")


async def test_a_function_can_be_published_as_it_is_made(bench: Bench) -> None:
    bench.node.go.clear()
    tags = {"team": "blue"}

    version = await bench.functions.create(
        TENANT, "new", (await bench.functions.get(TENANT, "resize")).current.config,
        OTHER_ZIP, publish=True, tags=tags,
    )  # fmt: skip

    assert (version.version, version.state) == ("1", FunctionState.PENDING)
    assert (await bench.settled("new")).version == "$LATEST"
    assert (await bench.settled("new", "1")).state is FunctionState.ACTIVE
    assert bench.functions.settings.of(TENANT, "new").tags == tags


async def test_an_update_can_be_published_as_it_is_made(bench: Bench) -> None:
    bench.node.go.clear()

    version = await bench.functions.update_code(
        TENANT, "resize", OTHER_ZIP, publish=True
    )

    latest = await bench.functions.get(TENANT, "resize")
    assert (version.version, version.state) == ("1", FunctionState.PENDING)
    assert latest.update_status is UpdateStatus.IN_PROGRESS
    assert version.current.code == latest.current.code
    assert (await bench.settled(qualifier="1")).state is FunctionState.ACTIVE


async def test_a_tenant_has_a_bounded_number_of_versions(tmp_path: Path) -> None:
    async with opened(tmp_path, MemoryStore(), Node(), Quota(versions=1)) as bench:
        await bench.create()
        await bench.settled()
        await bench.publish()
        await change(bench)

        with pytest.raises(QuotaExceeded, match="has 1 published versions of 1"):
            await bench.publish()


async def test_an_engine_that_stopped_half_way_makes_versions_ready(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    async with opened(tmp_path, store, Node(), None) as before:
        await before.create()
        await before.settled()
        before.node.go.clear()
        pending = await before.functions.publish(TENANT, "resize")

    async with opened(tmp_path, store, Node(), None) as after:
        active = await after.settled(qualifier="1")

        assert active.state is FunctionState.ACTIVE
        assert after.node.prepared == [pending.current.id]


async def test_versions_with_a_network_are_renewed_too(bench: Bench) -> None:
    await bench.set_policy(Network.EGRESS)
    await bench.functions.update_configuration(
        TENANT, "resize", {"network": Network.EGRESS}
    )
    await bench.settled()
    one = await bench.publish()

    await bench.set_policy(Network.HOST)
    renewed = bench.functions.resolve(TENANT, "resize", "1")

    assert renewed.current.id != one.current.id
    assert replace(renewed, serving=one.serving) == one
    assert bench.functions.count_by_network(Network.EGRESS) == {TENANT: 1}


# --- listed ----------------------------------------------------------------------


async def test_versions_are_listed_by_number_and_page_by_page(bench: Bench) -> None:
    for number in range(11):
        await change(bench, ZIP if number % 2 else OTHER_ZIP)
        await bench.publish()

    page, token = await bench.functions.list_versions(TENANT, "resize", 10)
    rest, end = await bench.functions.list_versions(TENANT, "resize", 10, token)

    listed = [each.version for each in (*page, *rest)]
    assert listed == ["$LATEST", *map(str, range(1, 12))]
    assert (len(page), end) == (10, "")
    with pytest.raises(NotFound):
        await bench.functions.list_versions(TENANT, "other")


async def test_all_versions_are_listed_with_their_functions(bench: Bench) -> None:
    for name in ("resize-2", "a"):
        await bench.create(name)
    await bench.publish()

    page, token = await bench.functions.list(TENANT, 3, all_versions=True)
    rest, _ = await bench.functions.list(TENANT, 3, token, all_versions=True)
    names, _ = await bench.functions.list(TENANT)

    assert [(each.name, each.version) for each in (*page, *rest)] == [
        ("a", "$LATEST"),
        ("resize", "$LATEST"),
        ("resize", "1"),
        ("resize-2", "$LATEST"),
    ]
    assert [each.name for each in names] == ["a", "resize", "resize-2"]


# --- deleted ---------------------------------------------------------------------


async def test_a_deleted_version_is_gone_with_all_that_ran_of_it(bench: Bench) -> None:
    one = await bench.publish()
    await change(bench)

    await bench.functions.delete_version(TENANT, "resize", "1")

    assert one.current.id in bench.node.retired
    with pytest.raises(NotFound, match=f"^Function not found: {ARN}:1$"):
        await bench.functions.get(TENANT, "resize", "1")
    await bench.codes_left(1)


async def test_latest_is_not_deleted_alone(bench: Bench) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        await bench.functions.delete_version(TENANT, "resize", "$LATEST")

    assert str(refusal.value) == (
        "$LATEST version cannot be deleted without deleting the function."
    )


async def test_a_version_that_is_not_there_is_not_deleted(bench: Bench) -> None:
    with pytest.raises(NotFound, match=f"^Function not found: {ARN}:7$"):
        await bench.functions.delete_version(TENANT, "resize", "7")


async def test_a_version_stays_while_an_alias_leads_to_it(bench: Bench) -> None:
    await bench.publish()
    await change(bench)
    await bench.publish()
    await bench.functions.aliases.create(
        TENANT, "resize", "live", "2", weights={"1": 0.5}
    )

    for version in ("1", "2"):
        with pytest.raises(
            Conflict,
            match=re.escape(
                "Unable to delete version because the following aliases reference it: "
                "[live]"
            ),
        ):
            await bench.functions.delete_version(TENANT, "resize", version)
    with pytest.raises(
        InvalidParameter, match=r"^Deletion of aliases is not currently supported\.$"
    ):
        await bench.functions.delete_version(TENANT, "resize", "live")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    text: str


async def test_a_function_goes_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    store = MemoryStore()
    rules = Kept(store, "rule", Rule)
    async with opened(tmp_path, store, Node(), None, belongings=[rules]) as bench:
        await bench.create()
        await bench.settled()
        one = await bench.publish()
        await bench.functions.aliases.create(TENANT, "resize", "live", "1")
        await bench.functions.settings.put_concurrency(TENANT, "resize", 5)
        for qualifier in ("", "1", "live"):
            await rules.put(TENANT, "resize", qualifier, Rule(text="yes"))

        await bench.functions.delete(TENANT, "resize")

        assert one.current.id in bench.node.retired
        assert not rules.of(TENANT, "resize")
        assert not bench.functions.reserved(TENANT)
        kinds = [await store.all_documents(k) for k in ("rule", "alias", "settings")]
        assert kinds == [[], [], []]
        await bench.codes_left(0)

        await bench.create()
        with pytest.raises(NotFound):
            bench.functions.aliases.get(TENANT, "resize", "live")


async def test_what_belongs_to_a_version_or_an_alias_goes_with_it(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    rules = Kept(store, "rule", Rule)
    async with opened(tmp_path, store, Node(), None, belongings=[rules]) as bench:
        await bench.create()
        await bench.settled()
        await bench.publish()
        await bench.functions.aliases.create(TENANT, "resize", "live", "1")
        for qualifier in ("", "1", "live"):
            await rules.put(TENANT, "resize", qualifier, Rule(text="yes"))

        await bench.functions.aliases.delete(TENANT, "resize", "live")
        await bench.functions.delete_version(TENANT, "resize", "1")

        assert set(rules.of(TENANT, "resize")) == {""}


async def test_what_counts_as_part_of_it_changes_its_revision_id(bench: Bench) -> None:
    functions = bench.functions
    await bench.publish()
    await functions.aliases.create(TENANT, "resize", "live", "1")

    for qualifier in ("", "1", "live"):
        old = functions.revision_id(TENANT, "resize", qualifier)
        new = await functions.in_turn(
            TENANT,
            lambda: functions.touch(TENANT, "resize", qualifier),  # noqa: B023 -- at once
        )

        assert old != new == functions.revision_id(TENANT, "resize", qualifier)


async def test_a_function_that_is_being_changed_is_not_deleted_meanwhile(
    bench: Bench,
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        begun.set()
        await go.wait()
        return bench.functions.revision_id(TENANT, "resize")

    change = asyncio.create_task(bench.functions.in_turn(TENANT, work))
    await begun.wait()
    deletion = asyncio.create_task(bench.functions.delete(TENANT, "resize"))
    go.set()

    assert await change
    await deletion
    assert bench.functions.count(TENANT) == 0
