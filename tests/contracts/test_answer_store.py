"""What every `AnswerStore` promises."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sandlot_engine.store.ports import AnswerBounds, KeptAnswer
from tests.fakes.answers import LONG_AGO, NOW, answer
from tests.fakes.stores import ADAPTERS, OpenStore, Store
from tests.fakes.things import function, tenant

ROOMY = AnswerBounds(answers=100, bytes=10_000, all_bytes=100_000)


@pytest.fixture(params=ADAPTERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    open_store: OpenStore = request.param
    async with open_store(tmp_path) as opened:
        yield opened


async def keep(
    store: Store,
    kept: KeptAnswer,
    bounds: AnswerBounds = ROOMY,
    *,
    since: datetime = LONG_AGO,
) -> int:
    return await store.keep_answer(kept, since=since, bounds=bounds)


async def found(store: Store, kept: KeptAnswer) -> KeptAnswer | None:
    return await store.find_answer(kept.tenant_id, kept.function, kept.key)


async def test_an_answer_comes_back_byte_by_byte(store: Store) -> None:
    kept = answer(b"\x00\xff", body=b"\x00\xfe")
    await keep(store, kept)

    assert await found(store, kept) == kept


async def test_each_part_of_the_name_tells_answers_apart(store: Store) -> None:
    await keep(store, answer())

    assert await store.find_answer("2", "f", b"k") is None
    assert await store.find_answer("1", "g", b"k") is None
    assert await store.find_answer("1", "f", b"l") is None


async def test_the_same_key_is_replaced_and_counted_once(store: Store) -> None:
    bounds = AnswerBounds(answers=1, bytes=100, all_bytes=100)
    await keep(store, answer(body=b"old"), bounds)

    evicted = await keep(store, answer(body=b"new"), bounds)

    assert evicted == 0
    assert await found(store, answer()) == answer(body=b"new")


async def test_what_is_too_old_goes_with_the_next_one(store: Store) -> None:
    old, young = answer(b"old", time=LONG_AGO), answer(b"young")
    await keep(store, old)

    evicted = await keep(store, young, since=NOW - timedelta(days=1))

    assert evicted == 0
    assert await found(store, old) is None
    assert await found(store, young) == young


async def test_over_its_count_a_tenants_oldest_goes(store: Store) -> None:
    bounds = AnswerBounds(answers=2, bytes=10_000, all_bytes=10_000)
    kept = [answer(bytes([n])) for n in range(4)]

    evicted = [await keep(store, each, bounds) for each in kept]

    assert evicted == [0, 0, 1, 1]
    assert [await found(store, each) for each in kept] == [None, None, *kept[2:]]


async def test_over_its_bytes_a_tenants_oldest_go(store: Store) -> None:
    bounds = AnswerBounds(answers=10, bytes=10, all_bytes=100)
    for n in range(3):
        await keep(store, answer(bytes([n]), body=b"xxx"), bounds)

    evicted = await keep(store, answer(b"large", body=b"y" * 9), bounds)

    assert evicted == 3
    assert await found(store, answer(b"large")) is not None


@pytest.mark.parametrize("body", [b"y", b"y" * 30])
async def test_one_functions_answers_are_not_anothers_to_push_out(
    store: Store, body: bytes
) -> None:
    """Strangers may call a function that has an open URL, with keys of their own."""
    bounds = AnswerBounds(answers=5, bytes=100, all_bytes=1_000)
    others = answer(b"other", function="g", body=b"xx")
    await keep(store, others, bounds)

    for n in range(9):
        await keep(store, answer(bytes([n]), body=body), bounds)
    new = answer(b"new", function="g", body=b"xx")
    await keep(store, new, bounds)

    assert await found(store, others) == others
    assert await found(store, new) == new
    assert await found(store, answer(bytes([8]), body=body)) is not None


async def test_one_tenants_answers_are_not_anothers_to_push_out(store: Store) -> None:
    bounds = AnswerBounds(answers=10, bytes=60, all_bytes=80)
    small = answer(b"small", tenant_id="2", body=b"x" * 10)
    await keep(store, small, bounds)
    for n in range(6):
        await keep(store, answer(bytes([n]), body=b"y" * 10), bounds)

    evicted = await keep(store, answer(b"z", tenant_id="3", body=b"z" * 30), bounds)

    assert evicted == 2
    assert await found(store, small) == small
    assert await found(store, answer(bytes([1]))) is None
    assert await found(store, answer(bytes([2]))) is not None


async def test_answers_go_with_their_function(store: Store) -> None:
    made = function("f", tenant_id="1")
    await store.create_function(made)
    await keep(store, answer())
    await keep(store, answer(function="g"))

    await store.delete_function("1", "f")

    assert await found(store, answer()) is None
    assert await found(store, answer(function="g")) is not None


async def test_answers_go_with_their_tenant(store: Store) -> None:
    await store.create_tenant(tenant("1"))
    await keep(store, answer())
    await keep(store, answer(tenant_id="2"))

    await store.delete_tenant("1")

    assert await found(store, answer()) is None
    assert await found(store, answer(tenant_id="2")) is not None
