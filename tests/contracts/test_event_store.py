"""What every `EventStore` promises."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sandlot_engine.model.event import (
    Attempt,
    AttemptStatus,
    Condition,
    Delivery,
    DeliveryKind,
    Event,
    EventState,
)
from sandlot_engine.store.event_ports import Settled
from tests.fakes.stores import ADAPTERS, OpenStore, Store
from tests.fakes.things import NOON, record, tenant

SECOND = timedelta(seconds=1)


@pytest.fixture(params=ADAPTERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    open_store: OpenStore = request.param
    async with open_store(tmp_path) as opened:
        yield opened


def event(request_id: str = "e-1", **fields: Any) -> Event:
    return Event(
        **{
            "request_id": request_id,
            "tenant_id": "1",
            "function": "resize",
            "size": 2,
            "accepted": NOON,
            "due": NOON,
            **fields,
        }
    )


async def put(store: Store, *events: Event, payload: bytes = b"{}") -> list[int]:
    positions = [await store.put_event(each, payload) for each in events]
    return [position for position in positions if position is not None]


async def claimed(store: Store, position: int) -> Event:
    [(event, _)] = await store.claim_events([position], now=NOON)
    return event


def delivery(position: int, target: str = "arn:queue", **fields: Any) -> Delivery:
    return Delivery(
        **{
            "position": position,
            "tenant_id": "1",
            "kind": DeliveryKind.DESTINATION,
            "target": target,
            "due": NOON,
            "since": NOON,
            **fields,
        }
    )


async def over(store: Store, position: int, **fields: Any) -> Event:
    """An event that ran and is in a final state, or is being told of."""
    now = await claimed(store, position)
    ended = replace(
        now,
        **{
            "state": EventState.DEAD,
            "ended": NOON,
            "condition": Condition.RETRIES_EXHAUSTED,
            **fields,
        },
    )
    await store.settle_event(Settled(event=ended))
    return ended


# --- from put to settled ------------------------------------------------------------


async def test_an_event_comes_back_as_it_was_put(store: Store) -> None:
    given = event(
        qualifier="live",
        invoked_arn="arn",
        isolation_key="ann",
        client_context='{"ü":1}',
        lineage="aaaaaaaa:1",
    )

    [position] = await put(store, given, payload=b"\x00any bytes\xff")
    [(kept, payload)] = await store.claim_events([position], now=NOON)

    assert kept == replace(given, position=position, state=EventState.RUNNING)
    assert payload == b"\x00any bytes\xff"


async def test_positions_rise(store: Store) -> None:
    positions = await put(store, event("a"), event("b"), event("c"))

    assert positions == sorted(set(positions))


async def test_a_request_id_is_taken_once_by_a_tenant(store: Store) -> None:
    [first] = await put(store, event("a"), payload=b"1")

    again = await store.put_event(event("a", function="scan"), b"2")
    anothers = await store.put_event(event("a", tenant_id="2"), b"3")

    assert again is None
    assert anothers is not None
    assert await store.event_payload(first) == b"1"
    assert (await store.get_event("1", "a")) == event("a", position=first)


async def test_an_event_is_claimed_once(store: Store) -> None:
    [position] = await put(store, event())

    first = await store.claim_events([position], now=NOON)
    second = await store.claim_events([position, 999], now=NOON)

    assert [each.position for each, _ in first] == [position]
    assert second == []


async def test_what_was_claimed_is_found_to_be_running(store: Store) -> None:
    a, _ = await put(store, event("a"), event("b"))
    await store.claim_events([a], now=NOON + SECOND)

    [(running, since)] = await store.running_events(limit=9)

    assert (running.request_id, since) == ("a", NOON + SECOND)


async def test_events_wait_by_due_time_and_then_in_their_order(store: Store) -> None:
    a, b, c, d = await put(
        store,
        event("a", due=NOON + SECOND),
        event("b"),
        event("c"),
        event("d", due=NOON - SECOND, size=7),
    )
    await put(store, event("other", function="scan"), event("theirs", tenant_id="2"))
    await store.claim_events([c], now=NOON)

    waiting = await store.waiting_events("1", "resize", limit=9)
    first = await store.waiting_events("1", "resize", limit=1)

    assert [each.position for each in waiting] == [d, b, a]
    assert [(each.position, each.due, each.size) for each in first] == [
        (d, NOON - SECOND, 7)
    ]


async def test_lanes_are_functions_with_events_that_wait(store: Store) -> None:
    _, _, c = await put(
        store,
        event("a", due=NOON + SECOND),
        event("b"),
        event("c", function="scan"),
    )
    await put(store, event("d", tenant_id="2"))
    await store.claim_events([c], now=NOON)

    lanes = await store.waiting_lanes()

    assert [(each.tenant_id, each.name, each.first_due) for each in lanes] == [
        ("1", "resize", NOON),
        ("2", "resize", NOON),
    ]


async def test_an_event_that_is_to_be_tried_again_waits_with_its_payload(
    store: Store,
) -> None:
    [position] = await put(store, event(), payload=b"[1]")
    running = await claimed(store, position)
    attempt = Attempt(started=NOON, ended=NOON + SECOND, status=AttemptStatus.ERROR)
    again = replace(
        running,
        state=EventState.QUEUED,
        due=NOON + 60 * SECOND,
        errors=1,
        attempts=(attempt,),
    )

    await store.settle_event(Settled(event=again))

    assert await store.get_event("1", "e-1") == again
    [(_, payload)] = await store.claim_events([position], now=NOON)
    assert payload == b"[1]"


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (EventState.SUCCEEDED, None),
        (EventState.FAILED, None),
        (EventState.DEAD, b"{}"),
        (EventState.DELIVERING, b"{}"),
    ],
)
async def test_a_payload_is_kept_as_long_as_somebody_may_need_it(
    store: Store, state: EventState, kept: bytes | None
) -> None:
    [position] = await put(store, event())

    await over(store, position, state=state)

    assert await store.event_payload(position) == kept


async def test_a_record_is_kept_with_what_became_of_its_event(store: Store) -> None:
    [position] = await put(store, event())
    running = await claimed(store, position)
    done = replace(running, state=EventState.SUCCEEDED, ended=NOON)

    await store.settle_event(Settled(event=done, record=record("e-1")))

    [(_, kept)] = await store.list_records("1", "", before=0, limit=9)
    assert kept == record("e-1")


async def test_what_ran_is_billed_though_its_event_is_gone(store: Store) -> None:
    gone = event(position=77, state=EventState.SUCCEEDED, ended=NOON)

    was_there = await store.settle_event(Settled(event=gone, record=record()))

    assert not was_there
    assert len(await store.list_records("1", "", before=0, limit=9)) == 1


# --- who asks -----------------------------------------------------------------------


async def test_an_event_is_its_tenants_own(store: Store) -> None:
    await put(store, event())

    assert await store.get_event("2", "e-1") is None
    assert await store.list_events("2", limit=9) == []


async def test_events_are_listed_newest_first_page_by_page(store: Store) -> None:
    await put(store, *(event(f"e-{n}") for n in range(5)))

    first = await store.list_events("1", limit=2)
    rest = await store.list_events("1", before=first[-1].position, limit=9)

    assert [each.request_id for each in first] == ["e-4", "e-3"]
    assert [each.request_id for each in rest] == ["e-2", "e-1", "e-0"]


async def test_events_are_listed_by_function_and_state(store: Store) -> None:
    _, b, _ = await put(
        store, event("a"), event("b"), event("c", function="scan", state="queued")
    )
    await over(store, b)

    dead = await store.list_events("1", states=[EventState.DEAD], limit=9)
    scans = await store.list_events("1", function="scan", limit=9)

    assert [each.request_id for each in dead] == ["b"]
    assert [each.request_id for each in scans] == ["c"]


async def test_depths_are_counts_and_bytes_by_tenant_and_state(store: Store) -> None:
    _, b, _ = await put(store, event("a"), event("b", size=5), event("c", size=3))
    await put(store, event("d", tenant_id="2"))
    await over(store, b)

    depths = await store.event_depths()

    assert {(d.tenant_id, d.state, d.count, d.size) for d in depths} == {
        ("1", EventState.QUEUED, 2, 5),
        ("1", EventState.DEAD, 1, 5),
        ("2", EventState.QUEUED, 1, 2),
    }


async def test_the_oldest_that_are_over_are_deleted_first(store: Store) -> None:
    positions = await put(store, *(event(f"e-{n}") for n in range(4)))
    for seconds, position in enumerate(positions[:3]):
        await over(store, position, ended=NOON + seconds * SECOND)

    some = await store.delete_events("1", states=[EventState.DEAD], limit=1)
    old = await store.delete_events(
        "1",
        states=[EventState.DEAD],
        ended_before=NOON + 2 * SECOND,
        limit=9,
    )

    assert [(each.state, each.count, each.size) for each in some] == [
        (EventState.DEAD, 1, 2)
    ]
    assert len(old) == 1
    left = await store.list_events("1", limit=9)
    assert [each.request_id for each in left] == ["e-3", "e-2"]
    assert await store.event_payload(positions[0]) is None


async def test_what_is_not_over_is_not_deleted(store: Store) -> None:
    await put(store, event())

    gone = await store.delete_events("1", states=[EventState.QUEUED], limit=9)

    assert gone == []
    assert await store.get_event("1", "e-1") is not None


async def test_one_event_or_one_functions_can_be_deleted(store: Store) -> None:
    for position in await put(
        store, event("a"), event("b"), event("c", function="scan")
    ):
        await over(store, position)

    await store.delete_events("1", states=[EventState.DEAD], request_id="a", limit=9)
    await store.delete_events("1", states=[EventState.DEAD], function="scan", limit=9)

    left = await store.list_events("1", limit=9)
    assert [each.request_id for each in left] == ["b"]


async def test_times_move_with_the_clock_but_for_what_is_over(store: Store) -> None:
    a, b = await put(store, event("a"), event("b"))
    await over(store, b)

    await store.shift_events(-SECOND, now=NOON)

    [moved] = await store.list_events("1", states=[EventState.QUEUED], limit=9)
    [stayed] = await store.list_events("1", states=[EventState.DEAD], limit=9)
    assert (moved.position, moved.accepted, moved.due) == (
        a,
        NOON - SECOND,
        NOON - SECOND,
    )
    assert (stayed.accepted, stayed.due) == (NOON, NOON)


async def test_since_when_it_is_over_moves_with_the_clock_and_not_past_it(
    store: Store,
) -> None:
    a, b = await put(store, event("a"), event("b"))
    await over(store, a, ended=NOON)
    await over(store, b, ended=NOON + 9 * SECOND)

    await store.shift_events(4 * SECOND, now=NOON + 8 * SECOND)

    dead = await store.list_events("1", states=[EventState.DEAD], limit=9)
    assert {each.request_id: each.ended for each in dead} == {
        "a": NOON + 4 * SECOND,
        "b": NOON + 8 * SECOND,
    }


async def test_the_latest_time_is_of_what_is_not_over(store: Store) -> None:
    assert await store.latest_time() is None
    late = replace(event("late"), accepted=NOON + 9 * SECOND)
    a, b, c = await put(store, event("a"), event("b"), late)
    await over(store, c)
    assert await store.latest_time() == NOON

    await store.claim_events([b], now=NOON + 5 * SECOND)
    assert await store.latest_time() == NOON + 5 * SECOND

    running = await claimed(store, a)
    since = NOON + 7 * SECOND
    await store.settle_event(
        Settled(event=running, deliveries=(replace(delivery(a), since=since),))
    )
    assert await store.latest_time() == since


async def test_events_go_with_their_tenant(store: Store) -> None:
    await store.create_tenant(tenant("1"))
    [position] = await put(store, event())
    running = await claimed(store, position)
    await store.settle_event(Settled(event=running, deliveries=(delivery(position),)))
    [theirs] = await put(store, event("theirs", tenant_id="2"))

    await store.delete_tenant("1")

    assert await store.get_event("1", "e-1") is None
    assert await store.event_payload(position) is None
    assert await store.delivery_lanes() == []
    assert await store.event_payload(theirs) == b"{}"


# --- deliveries ---------------------------------------------------------------------


async def delivering(store: Store, *targets: str) -> Event:
    [position] = await put(store, event(), payload=b"[1]")
    running = await claimed(store, position)
    told = replace(running, state=EventState.DELIVERING, ended=NOON)
    await store.settle_event(
        Settled(
            event=told,
            response=b'"answer"',
            deliveries=tuple(delivery(position, target) for target in targets),
        )
    )
    return told


async def only_id(store: Store, target: str) -> int:
    [waiting] = await store.waiting_deliveries("1", target, limit=9)
    return waiting.position


async def test_a_delivery_has_all_that_its_body_is_made_of(store: Store) -> None:
    told = await delivering(store, "arn:queue")

    parcel = await store.get_parcel(await only_id(store, "arn:queue"))

    assert parcel is not None
    assert parcel.delivery == delivery(told.position, id=parcel.delivery.id)
    assert (parcel.event, parcel.payload) == (told, b"[1]")
    assert parcel.response == b'"answer"'


async def test_deliveries_wait_by_target(store: Store) -> None:
    await delivering(store, "arn:queue", "arn:topic")

    lanes = await store.delivery_lanes()

    assert [(each.tenant_id, each.name, each.first_due) for each in lanes] == [
        ("1", "arn:queue", NOON),
        ("1", "arn:topic", NOON),
    ]
    assert await store.waiting_deliveries("2", "arn:queue", limit=9) == []


async def test_a_delivery_that_is_put_off_waits_with_its_error(store: Store) -> None:
    await delivering(store, "arn:queue")
    parcel = await store.get_parcel(await only_id(store, "arn:queue"))
    assert parcel is not None
    later = replace(parcel.delivery, due=NOON + SECOND, tries=1, error="refused")

    await store.put_off_delivery(later)

    [waiting] = await store.waiting_deliveries("1", "arn:queue", limit=9)
    again = await store.get_parcel(waiting.position)
    assert waiting.due == NOON + SECOND
    assert again is not None
    assert again.delivery == later


async def test_the_last_delivery_ends_its_event(store: Store) -> None:
    await delivering(store, "arn:queue", "arn:topic")
    left: list[int] = []

    def change(event: Event, others: int) -> Event:
        left.append(others)
        state = event.state if others else EventState.FAILED
        return replace(event, state=state)

    for target in ("arn:queue", "arn:topic"):
        parcel = await store.get_parcel(await only_id(store, target))
        assert parcel is not None
        await store.settle_delivery(parcel.delivery, change)

    assert left == [1, 0]
    ended = await store.get_event("1", "e-1")
    assert ended is not None
    assert ended.state is EventState.FAILED
    assert await store.event_payload(ended.position) is None


async def test_what_is_told_to_a_function_is_another_event(store: Store) -> None:
    await delivering(store, "arn:function")
    parcel = await store.get_parcel(await only_id(store, "arn:function"))
    assert parcel is not None

    changed, position = await store.settle_delivery(
        parcel.delivery,
        lambda event, _: replace(event, state=EventState.SUCCEEDED),
        event=event("e-2", function="scan"),
        payload=b"record",
    )
    again = await store.settle_delivery(
        parcel.delivery, lambda event, _: event, event=event("e-3")
    )

    assert changed is not None
    assert changed.state is EventState.SUCCEEDED
    assert position is not None
    assert await store.event_payload(position) == b"record"
    assert again == (None, None)
    assert await store.get_event("1", "e-3") is None
