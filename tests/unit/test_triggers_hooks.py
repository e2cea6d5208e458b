"""What is posted becomes events, if it may be posted."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandlot_engine.errors import (
    InvalidParameter,
    NotFound,
    PermissionDenied,
    Throttled,
    TooLarge,
    Unavailable,
)
from sandlot_engine.metrics import Metrics
from sandlot_engine.model.trigger import ObjectFilter, Scheme, Trigger, TriggerKind
from sandlot_engine.triggers import desk
from sandlot_engine.triggers.hooks import Post
from tests.fakes.catalog import TENANT
from tests.fakes.hooks import record, signed, told
from tests.fakes.triggers import World, world_in

SECRET = "a secret of the sender's"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_in(tmp_path) as world:
        yield world


async def webhook(
    world: World, scheme: Scheme = Scheme.GENERIC, *, secret: str = SECRET
) -> tuple[Trigger, str]:
    trigger = world.trigger(
        "orders", kind=TriggerKind.WEBHOOK, webhook=desk.webhook(scheme)
    )
    return await world.parts.desk.create(trigger, secret=secret)


async def bucket(world: World, **by: Any) -> str:
    """Its token."""
    trigger = world.trigger(
        "pictures", kind=TriggerKind.BUCKET, bucket=desk.bucket(ObjectFilter(**by))
    )
    _, token = await world.parts.desk.create(trigger)
    return token


def post(
    world: World,
    body: bytes = b'{"n":1}',
    scheme: Scheme = Scheme.GENERIC,
    *,
    secret: str = SECRET,
    **headers: str,
) -> Post:
    signature = signed(scheme, body, at=world.now.timestamp(), secret=secret.encode())
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Post(headers=signature | more, query="a=1", body=body)


def with_token(token: str, body: bytes) -> Post:
    return Post(headers={"authorization": f"Bearer {token}"}, query="", body=body)


# --- webhooks -------------------------------------------------------------------


@pytest.mark.parametrize("scheme", list(Scheme))
async def test_a_signed_request_becomes_an_event(world: World, scheme: Scheme) -> None:
    await webhook(world, scheme)

    taken = await world.parts.hooks.post(
        TENANT,
        "orders",
        post(world, scheme=scheme, content_type="application/json", cookie="c"),
    )

    (event,) = world.events.taken
    assert (event.function, event.type) == ("resize", "Event")
    assert event.request_id == taken.request_id
    told = json.loads(event.payload)
    headers = told.pop("headers")
    assert told == {
        "version": "1.0",
        "source": "sandlot.webhook",
        "id": taken.request_id,
        "time": "2026-05-17T12:30:00Z",
        "trigger": "orders",
        "scheme": scheme.value,
        "rawQueryString": "a=1",
        "body": '{"n":1}',
        "isBase64Encoded": False,
    }
    assert headers["content-type"] == "application/json"
    assert "cookie" not in headers


async def test_a_body_that_is_no_text_is_told_in_base64(world: World) -> None:
    await webhook(world)

    await world.parts.hooks.post(TENANT, "orders", post(world, b"\xff\x00"))

    told = json.loads(world.events.taken[0].payload)
    assert told["isBase64Encoded"] is True
    assert base64.b64decode(told["body"]) == b"\xff\x00"


@pytest.mark.parametrize("scheme", list(Scheme))
async def test_a_request_that_comes_again_makes_no_second_event(
    world: World, scheme: Scheme
) -> None:
    await webhook(world, scheme)
    same = post(world, scheme=scheme)

    taken = [await world.parts.hooks.post(TENANT, "orders", same) for _ in range(2)]

    assert len(world.events.taken) == 1
    assert taken[0].request_id == taken[1].request_id
    world.clock.advance(1)
    await world.parts.hooks.post(TENANT, "orders", post(world, b"2", scheme))
    assert len(world.events.taken) == 2


async def test_who_may_not_post_is_refused_alike_and_counted(world: World) -> None:
    await webhook(world)
    token = await bucket(world)
    await world.create("rate(1 hour)")
    refusals = set[str]()
    posts = [
        ("orders", post(world, secret="another secret of mine")),
        ("orders", Post(headers={}, query="", body=b"")),
        ("orders", with_token(token, told(record()))),
        ("nothing", post(world)),
        ("nothing", post(world, scheme=Scheme.GITHUB, secret="x" * 43)),
        ("nightly", post(world)),
        ("pictures", with_token("another", told(record()))),
        ("pictures", post(world)),
        ("pictures", Post(headers={"authorization": token}, query="", body=b"{}")),
        ("pictures", Post(headers={"authorization": ""}, query="", body=b"{}")),
    ]

    for name, one in posts:
        with pytest.raises(PermissionDenied) as refusal:
            await world.parts.hooks.post(TENANT, name, one)
        refusals.add(repr((refusal.value.message, refusal.value.facts)))

    assert len(refusals) == 1
    assert world.parts.hooks.refused == len(posts)
    assert world.events.taken == []


async def test_slack_is_answered_when_it_asks_whether_we_are_there(
    world: World,
) -> None:
    await webhook(world, Scheme.SLACK)
    asked = b'{"token":"x","challenge":"3eZbrw1aB","type":"url_verification"}'

    taken = await world.parts.hooks.post(
        TENANT, "orders", post(world, asked, Scheme.SLACK)
    )

    assert (taken.answer, taken.request_id) == ("3eZbrw1aB", "")
    assert world.events.taken == []


async def test_only_slack_is_answered_so(world: World) -> None:
    await webhook(world)
    asked = b'{"challenge":"3eZbrw1aB","type":"url_verification"}'

    taken = await world.parts.hooks.post(TENANT, "orders", post(world, asked))

    assert taken.answer == ""
    assert taken.request_id


async def test_what_slack_cannot_read_back_is_an_event(world: World) -> None:
    await webhook(world, Scheme.SLACK)
    asked = rb'{"challenge":"\ud800","type":"url_verification"}'

    taken = await world.parts.hooks.post(
        TENANT, "orders", post(world, asked, Scheme.SLACK)
    )

    assert taken.answer == ""
    assert taken.request_id


async def test_while_one_is_paused_its_sender_is_told_to_come_again(
    world: World,
) -> None:
    await webhook(world)
    await world.triggers.change(
        TENANT, "orders", change=lambda old: replace(old, is_enabled=False)
    )

    with pytest.raises(Unavailable, match="paused"):
        await world.parts.hooks.post(TENANT, "orders", post(world))
    with pytest.raises(PermissionDenied):
        await world.parts.hooks.post(
            TENANT, "orders", post(world, secret="another secret of mine")
        )


async def test_what_is_too_large_as_an_event_is_refused(world: World) -> None:
    await webhook(world)
    # Each byte of it takes six in JSON.
    body = b"\x01" * 200_000

    with pytest.raises(TooLarge, match="of 1048576 allowed"):
        await world.parts.hooks.post(TENANT, "orders", post(world, body))


async def test_a_full_queue_is_the_senders_to_know(world: World) -> None:
    await webhook(world)
    full = Throttled("full", reason="x", limit=1, retry_after_s=1)
    world.events.refusal = full
    same = post(world)

    with pytest.raises(Throttled):
        await world.parts.hooks.post(TENANT, "orders", same)
    world.events.refusal = None
    assert (await world.parts.hooks.post(TENANT, "orders", same)).request_id
    assert world.parts.hooks.taken == 1


async def test_what_happened_is_told_to_prometheus(world: World) -> None:
    await webhook(world)
    metrics = Metrics()
    metrics.watch(gauges=world.parts.gauges, counters=world.parts.counters)

    await world.parts.hooks.post(TENANT, "orders", post(world))
    with pytest.raises(PermissionDenied):
        await world.parts.hooks.post(TENANT, "nothing", post(world))

    text = metrics.text().decode()
    assert "sandlot_hook_events_total 1.0" in text
    assert "sandlot_hooks_refused_total 1.0" in text
    assert "sandlot_schedule_events_pending 0.0" in text


# --- secrets --------------------------------------------------------------------


async def test_a_secret_is_made_shown_once_and_kept_sealed(world: World) -> None:
    _, secret = await webhook(world, secret="")

    assert len(secret) == 43
    await world.parts.hooks.post(TENANT, "orders", post(world, secret=secret))
    documents = await world.store.all_documents("trigger")
    token = await bucket(world)
    documents += await world.store.all_documents("trigger")
    for document in documents:
        assert secret.encode() not in document.body
        assert token.encode() not in document.body
    assert secret not in repr(world.triggers.get(TENANT, "orders"))


async def test_after_a_rotation_the_old_secret_is_refused(world: World) -> None:
    await webhook(world)
    token = await bucket(world)

    _, secret = await world.parts.desk.rotate(TENANT, "orders")
    _, new_token = await world.parts.desk.rotate(TENANT, "pictures")

    with pytest.raises(PermissionDenied):
        await world.parts.hooks.post(TENANT, "orders", post(world))
    with pytest.raises(PermissionDenied):
        await world.parts.hooks.post(TENANT, "pictures", with_token(token, b"{}"))
    await world.parts.hooks.post(TENANT, "orders", post(world, secret=secret))
    await world.parts.hooks.post(TENANT, "pictures", with_token(new_token, b"{}"))


@pytest.mark.parametrize(
    "secret", ["short", "x" * 257, "ünterschrift-mit-umlaut", "\n"]
)
async def test_secrets_that_nobody_should_have_are_refused(
    world: World, secret: str
) -> None:
    with pytest.raises(InvalidParameter, match="The secret must have 16 to 256"):
        await webhook(world, secret=secret)


async def test_what_has_no_secret_has_none_to_rotate(world: World) -> None:
    await world.create("rate(1 hour)")

    with pytest.raises(InvalidParameter, match="is a schedule, and has no secret"):
        await world.parts.desk.rotate(TENANT, "nightly")
    with pytest.raises(InvalidParameter, match="Only webhooks take a secret"):
        await world.parts.desk.create(world.trigger("x"), secret=SECRET)


# --- buckets --------------------------------------------------------------------


async def test_a_notification_becomes_awss_event_of_what_was_chosen(
    world: World,
) -> None:
    token = await bucket(world, events=("s3:ObjectCreated:*",), suffix=".jpg")
    body = told(
        record("a.jpg", eventName="s3:ObjectCreated:Put"),
        record("b.txt"),
        record("c.jpg", eventName="s3:ObjectRemoved:Delete"),
        EventName="s3:ObjectCreated:Put",
    )

    taken = await world.parts.hooks.post(TENANT, "pictures", with_token(token, body))

    assert taken.records == 1
    assert json.loads(world.events.taken[0].payload) == {"Records": [record("a.jpg")]}


async def test_the_same_notification_twice_makes_one_event(world: World) -> None:
    token = await bucket(world)
    same = with_token(token, told(record()))

    for _ in range(2):
        await world.parts.hooks.post(TENANT, "pictures", same)

    assert len(world.events.taken) == 1


async def test_while_one_is_paused_a_notification_is_to_come_again(
    world: World,
) -> None:
    token = await bucket(world)
    await world.triggers.change(
        TENANT, "pictures", change=lambda old: replace(old, is_enabled=False)
    )

    with pytest.raises(Unavailable, match="paused"):
        await world.parts.hooks.post(
            TENANT, "pictures", with_token(token, told(record()))
        )
    with pytest.raises(PermissionDenied):
        await world.parts.hooks.post(
            TENANT, "pictures", with_token("x", told(record()))
        )

    assert world.events.taken == []


async def test_what_tells_nothing_that_was_chosen_is_passed_over(world: World) -> None:
    token = await bucket(world, buckets=("others",))

    for body in (b"{}", told(record())):
        taken = await world.parts.hooks.post(
            TENANT, "pictures", with_token(token, body)
        )
        assert (taken.request_id, taken.records) == ("", 0)
    with pytest.raises(InvalidParameter):
        await world.parts.hooks.post(TENANT, "pictures", with_token(token, b"x"))

    assert world.parts.hooks.passed_over == 2
    assert world.events.taken == []


@pytest.mark.parametrize(
    "by",
    [
        {"events": ("everything",)},
        {"events": ("s3:ObjectCreated:Put",) * 33},
        {"prefix": "x" * 1_025},
        {"buckets": ("",)},
    ],
)
async def test_filters_that_choose_nothing_are_refused(
    world: World, by: dict[str, Any]
) -> None:
    with pytest.raises(InvalidParameter):
        await bucket(world, **by)


# --- tried ----------------------------------------------------------------------


async def test_each_kind_is_tried_with_an_event_as_it_would_send(
    world: World,
) -> None:
    await world.create("rate(1 hour)", input='{"in":1}')
    await webhook(world)
    await bucket(world, buckets=("pictures",), prefix="in/", suffix=".jpg")
    await world.triggers.change(
        TENANT, "nightly", change=lambda old: replace(old, is_enabled=False)
    )

    ids = [
        await world.parts.desk.test(TENANT, name)
        for name in ("nightly", "orders", "pictures", "nightly")
    ]

    assert [event.request_id for event in world.events.taken] == ids
    assert len(set(ids)) == 4
    nightly, orders, pictures, _ = map(json.loads, world.events.payloads)
    assert nightly == {"in": 1}
    assert orders["body"] == '{"test":true}'
    (object_,) = pictures["Records"]
    assert object_["eventSource"] == "aws:s3"
    assert object_["s3"]["object"]["key"] == "in/test.jpg"
    assert object_["s3"]["bucket"]["name"] == "pictures"
    progress = world.triggers.progress(world.triggers.get(TENANT, "nightly"))
    assert progress.fired == 0
    with pytest.raises(NotFound):
        await world.parts.desk.test(TENANT, "nothing")
