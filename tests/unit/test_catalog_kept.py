"""Small things: in memory what is on disk, and on disk first."""

from dataclasses import dataclass

import pytest

from sandlot_engine.catalog.kept import Kept
from sandlot_engine.errors import Internal
from sandlot_engine.store.ports import Document
from tests.fakes.stores import MemoryStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Sticker:
    text: str
    colour: str = "white"


def kept(store: MemoryStore | None = None) -> Kept[Sticker]:
    return Kept(store or MemoryStore(), "sticker", Sticker)


async def test_a_thing_is_found_by_its_owner_and_key() -> None:
    things = kept()
    one = await things.put("1", "resize", "a", Sticker(text="x"))
    await things.put("1", "resize", "b", Sticker(text="y"))
    await things.put("2", "resize", "a", Sticker(text="z"))

    assert things.get("1", "resize", "a") == one
    assert things.get("1", "resize") is None
    assert things.get("1", "other", "a") is None
    assert set(things.of("1", "resize")) == {"a", "b"}
    assert {owner: set(all_) for owner, all_ in things.owners("1").items()} == {
        "resize": {"a", "b"}
    }


async def test_an_engine_that_starts_finds_what_was_kept() -> None:
    store = MemoryStore()
    before, after = kept(store), kept(store)
    thing = await before.put("1", "resize", "a", Sticker(text="x", colour="red"))

    await after.load()

    assert after.get("1", "resize", "a") == thing


async def test_fields_that_come_and_go_do_no_harm() -> None:
    store = MemoryStore()
    things = kept(store)
    await store.put_document(
        Document(
            tenant_id="1",
            kind="sticker",
            owner="resize",
            key="a",
            body=b'{"text": "x", "glue": 7}',
        )
    )

    await things.load()

    assert things.get("1", "resize", "a") == Sticker(text="x", colour="white")


async def test_a_thing_is_deleted_once_and_all_of_an_owner_at_once() -> None:
    store = MemoryStore()
    things = kept(store)
    for key in ("a", "b", "c"):
        await things.put("1", "resize", key, Sticker(text="x"))
    await things.put("1", "other", "a", Sticker(text="x"))

    assert await things.delete("1", "resize", "a")
    assert not await things.delete("1", "resize", "a")
    assert await things.delete_all("1", "resize") == 2

    assert not things.of("1", "resize")
    assert set(things.owners("1")) == {"other"}
    assert len(await store.all_documents("sticker")) == 1


async def test_what_the_store_refused_is_not_in_memory_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object) -> None:
        raise Internal("disk full")

    store = MemoryStore()
    things = kept(store)
    old = await things.put("1", "resize", "a", Sticker(text="old"))
    monkeypatch.setattr(store, "put_document", fail)
    monkeypatch.setattr(store, "delete_document", fail)

    with pytest.raises(Internal):
        await things.put("1", "resize", "a", Sticker(text="new"))
    with pytest.raises(Internal):
        await things.delete("1", "resize", "a")

    assert things.get("1", "resize", "a") == old


async def test_a_thing_whose_key_is_given_once_is_found_by_it_alone() -> None:
    store = MemoryStore()
    things, after = (
        Kept(store, "sticker", Sticker, keys_are_unique=True) for _ in range(2)
    )
    for owner, key in (("resize", "a"), ("resize", "b"), ("parse", "c")):
        await things.put("1", owner, key, Sticker(text=key))
    await after.load()

    await things.delete("1", "parse", "c")
    things.forget("1", "resize")

    assert [things.named(key) for key in "abc"] == [None] * 3
    assert after.named("b") == Sticker(text="b")
    assert after.tenants() == ["1"]


async def test_a_thing_that_cannot_be_read_hides_no_other() -> None:
    store = MemoryStore()
    things = kept(store)
    await things.put("1", "resize", "a", Sticker(text="x"))
    for key, body in (("b", b"{"), ("c", b'{"text": 7}'), ("d", b"\xff")):
        await store.put_document(
            Document(tenant_id="1", kind="sticker", owner="resize", key=key, body=body)
        )

    await things.load()

    assert set(things.of("1", "resize")) == {"a"}
    assert store.damaged == 3
