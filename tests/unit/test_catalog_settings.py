"""Tags, reserved concurrency and the like: at once, for all versions of a function."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandlot_engine.catalog.settings import Settings
from sandlot_engine.errors import Conflict, InvalidParameter, NotFound
from sandlot_engine.model.settings import FunctionSettings, RecursiveLoop
from tests.fakes.catalog import CONFIG, OTHER_ZIP, TENANT, ZIP, Bench, Node, opened
from tests.fakes.stores import MemoryStore


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """With functions `resize` and `other`, of a tenant with 1,000 at once."""
    async with opened(tmp_path, MemoryStore(), Node(), None) as made:
        for name in ("resize", "other"):
            await made.create(name)
            await made.settled(name)
        yield made


@pytest.fixture
def settings(bench: Bench) -> Settings:
    return bench.functions.settings


async def test_nothing_is_set_at_first(settings: Settings) -> None:
    assert settings.of(TENANT, "resize") == FunctionSettings()
    assert settings.concurrency_of(TENANT, "resize") is None
    assert settings.unreserved(TENANT) == 1_000


async def test_settings_survive_the_engine(tmp_path: Path) -> None:
    store = MemoryStore()
    async with opened(tmp_path, store, Node(), None) as before:
        await before.functions.create(TENANT, "resize", CONFIG, ZIP, tags={"a": "b"})
        await before.functions.settings.put_concurrency(TENANT, "resize", 7)

    async with opened(tmp_path, store, Node(), None) as after:
        kept = after.functions.settings
        assert kept.of(TENANT, "resize").tags == {"a": "b"}
        assert kept.reserved(TENANT) == {"resize": 7}


# --- concurrency -----------------------------------------------------------------


async def test_what_is_reserved_is_taken_from_the_rest(settings: Settings) -> None:
    await settings.put_concurrency(TENANT, "resize", 300)
    await settings.put_concurrency(TENANT, "other", 0)

    assert settings.concurrency_of(TENANT, "resize") == 300
    assert settings.reserved(TENANT) == {"resize": 300, "other": 0}
    assert settings.unreserved(TENANT) == 700

    await settings.delete_concurrency(TENANT, "resize")
    await settings.delete_concurrency(TENANT, "resize")

    assert settings.concurrency_of(TENANT, "resize") is None
    assert settings.reserved(TENANT) == {"other": 0}


async def test_a_hundred_stay_for_the_others(settings: Settings) -> None:
    await settings.put_concurrency(TENANT, "other", 400)

    with pytest.raises(InvalidParameter) as refusal:
        await settings.put_concurrency(TENANT, "resize", 501)
    await settings.put_concurrency(TENANT, "resize", 500)
    await settings.put_concurrency(TENANT, "resize", 499)

    assert str(refusal.value) == (
        "Specified ReservedConcurrentExecutions for function decreases account's "
        "UnreservedConcurrentExecution below its minimum value of [100]."
    )


async def test_a_small_tenant_can_only_switch_off(tmp_path: Path) -> None:
    async with opened(tmp_path, MemoryStore(), Node(), None, concurrency=10) as bench:
        await bench.create()
        await bench.functions.settings.put_concurrency(TENANT, "resize", 0)

        with pytest.raises(InvalidParameter, match=r"minimum value of \[10\]"):
            await bench.functions.settings.put_concurrency(TENANT, "resize", 1)
        with pytest.raises(InvalidParameter, match="must be 0 or more"):
            await bench.functions.settings.put_concurrency(TENANT, "resize", -1)


async def test_concurrency_of_nothing_is_not_found_by_its_latest(
    settings: Settings,
) -> None:
    with pytest.raises(NotFound, match=r"^Function not found: .*:no:\$LATEST$"):
        await settings.put_concurrency(TENANT, "no", 1)
    with pytest.raises(NotFound, match=r"^Function not found: .*:function:no$"):
        await settings.delete_concurrency(TENANT, "no")


# --- tags ------------------------------------------------------------------------


async def test_tags_are_added_changed_and_removed(settings: Settings) -> None:
    await settings.tag(TENANT, "resize", {"a": "1", "b": "2"})
    await settings.tag(TENANT, "resize", {"b": "3", "c": ""})
    changed = await settings.untag(TENANT, "resize", ["a", "missing"])

    assert changed.tags == settings.of(TENANT, "resize").tags == {"b": "3", "c": ""}


async def test_a_function_has_fifty_tags_at_most(settings: Settings) -> None:
    await settings.tag(TENANT, "resize", {f"key-{n}": "" for n in range(50)})

    with pytest.raises(
        InvalidParameter, match=r"^Number of tags exceeds resource tag limit\.$"
    ):
        await settings.tag(TENANT, "resize", {"one": "more"})
    await settings.tag(TENANT, "resize", {"key-7": "changed"})


@pytest.mark.parametrize(
    ("key", "value"), [("", "v"), ("k" * 129, "v"), ("k", "v" * 257), ("aws:k", "v")]
)
async def test_tags_that_cannot_be_are_refused(
    bench: Bench, settings: Settings, key: str, value: str
) -> None:
    with pytest.raises(InvalidParameter, match=r"^Tag"):
        await settings.tag(TENANT, "resize", {key: value})
    with pytest.raises(InvalidParameter, match=r"^Tag"):
        await bench.functions.create(TENANT, "new", CONFIG, ZIP, tags={key: value})


async def test_a_function_that_is_being_changed_is_not_tagged(
    bench: Bench, settings: Settings
) -> None:
    bench.node.go.clear()
    await bench.functions.update_code(TENANT, "resize", OTHER_ZIP)

    with pytest.raises(Conflict, match="An update is in progress for resource"):
        await settings.tag(TENANT, "resize", {"a": "b"})
    with pytest.raises(Conflict, match="An update is in progress for resource"):
        await settings.untag(TENANT, "resize", ["a"])


# --- loops -----------------------------------------------------------------------


async def test_loops_are_ended_unless_they_are_allowed(settings: Settings) -> None:
    before = settings.of(TENANT, "resize").recursive_loop

    await settings.put_recursive_loop(TENANT, "resize", RecursiveLoop.ALLOW)

    assert before is RecursiveLoop.TERMINATE
    assert settings.of(TENANT, "resize").recursive_loop is RecursiveLoop.ALLOW
