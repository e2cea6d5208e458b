"""Posting to hooks over the real HTTP port, by bytes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from sandlot_engine.errors import Throttled
from sandlot_engine.gateway import hooks
from sandlot_engine.model.invocation import MAX_EVENT_PAYLOAD
from sandlot_engine.model.trigger import ObjectFilter, Scheme, TriggerKind
from sandlot_engine.triggers import desk
from sandlot_engine.triggers.making import new_trigger
from tests.fakes.backend import ACME
from tests.fakes.hooks import record, signed, told
from tests.integration.http_port import Port, answer_from, serving

SECRET = "a secret of the sender's"
REFUSED = {"message": "there is no such hook, or it may not be posted to so"}
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class HooksPort(Port):
    """With a webhook `orders`, a Slack one `talk`, and a bucket `pictures`."""

    token: str = ""
    """What opens `pictures`, which was made last."""

    async def make(self) -> None:
        for name, kind, fields in (
            ("orders", TriggerKind.WEBHOOK, {"webhook": desk.webhook(Scheme.GENERIC)}),
            ("talk", TriggerKind.WEBHOOK, {"webhook": desk.webhook(Scheme.SLACK)}),
            ("pictures", TriggerKind.BUCKET, {"bucket": desk.bucket(ObjectFilter())}),
        ):
            trigger = new_trigger(
                ACME, kind, name, "echo", now=self.engine.clock.now(), **fields
            )
            secret = SECRET if kind is TriggerKind.WEBHOOK else ""
            _, self.token = await self.engine.triggers.desk.create(
                trigger, secret=secret
            )

    def headers(self, body: bytes, scheme: Scheme = Scheme.GENERIC) -> dict[str, str]:
        at = self.engine.clock.now().timestamp()
        return signed(scheme, body, at=at, secret=SECRET.encode())

    async def post(
        self,
        path: str = f"/hooks/{ACME}/orders",
        body: bytes = b'{"n":1}',
        headers: dict[str, str] | None = None,
        *,
        method: str = "POST",
        length: int | None = None,
    ) -> Answer:
        sent = self.headers(body) if headers is None else headers
        size = len(body) if length is None else length
        lines = [f"{name}: {value}" for name, value in sent.items()]
        head = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {size}"]
        return await self.exchange("\r\n".join([*head, *lines, "", ""]).encode() + body)


@pytest.fixture
async def port() -> AsyncIterator[HooksPort]:
    async with serving_hooks() as made:
        yield made


@asynccontextmanager
async def serving_hooks() -> AsyncIterator[HooksPort]:
    async with serving() as plain:
        made = HooksPort(plain.engine, plain.port)
        await made.make()
        yield made


async def test_a_signed_post_is_accepted_with_its_requests_id(port: HooksPort) -> None:
    status, headers, body = await port.post(f"/hooks/{ACME}/orders?a=1&b=2")

    (event,) = port.engine.fired.taken
    assert status == 202
    assert json.loads(body) == {"requestId": event.request_id}
    assert headers["x-amzn-requestid"] == event.request_id
    told = json.loads(event.payload)
    assert (told["body"], told["rawQueryString"]) == ('{"n":1}', "a=1&b=2")
    assert told["headers"]["host"] == "x"


async def test_a_notification_is_accepted_with_a_token(port: HooksPort) -> None:
    token = {"authorization": f"Bearer {port.token}"}

    made = await port.post(f"/hooks/{ACME}/pictures", told(record()), token)
    none = await port.post(f"/hooks/{ACME}/pictures", b"{}", token)
    bad = await port.post(f"/hooks/{ACME}/pictures", b"[]", token)

    assert (made[0], json.loads(made[2])["records"]) == (202, 1)
    assert none[0] == 200
    assert bad[0] == 400


async def test_whoever_may_not_post_gets_one_answer(port: HooksPort) -> None:
    wrong = port.headers(b"another body")
    answers = [
        await port.post(),
        await port.post(headers=wrong),
        await port.post(headers={}),
        await port.post(f"/hooks/{ACME}/nothing"),
        await port.post("/hooks/999999999999/orders"),
        await port.post("/hooks/acme/orders"),
        await port.post(f"/hooks/{ACME}/orders/more"),
        await port.post(f"/hooks/{ACME}/%ff%00"),
        await port.post("/hooks/"),
        await port.post(f"/hooks/{ACME}/pictures"),
    ]

    assert answers[0][0] == 202
    for status, headers, body in answers[1:]:
        assert (status, json.loads(body)) == (404, REFUSED)
        assert set(headers) == {"content-type", "content-length", "date"}
    assert len(port.engine.fired.taken) == 1


async def test_slack_reads_its_challenge_back(port: HooksPort) -> None:
    body = b'{"challenge":"3eZbrw1aB","type":"url_verification"}'

    answer = await port.post(
        f"/hooks/{ACME}/talk", body, port.headers(body, Scheme.SLACK)
    )

    assert (answer[0], answer[2]) == (200, b"3eZbrw1aB")


async def test_only_posts_are_taken(port: HooksPort) -> None:
    status, headers, _ = await port.post(method="PUT")

    assert (status, headers["allow"]) == (405, "POST")


async def test_senders_are_told_when_to_come_again(port: HooksPort) -> None:
    port.engine.fired.refusal = Throttled(
        "full", reason="x", limit=1, retry_after_s=2.5
    )
    full = await port.post()
    triggers = port.engine.triggers.triggers
    await triggers.change(
        ACME, "orders", change=lambda old: replace(old, is_enabled=False)
    )
    paused = await port.post()

    assert (full[0], full[1]["retry-after"]) == (429, "3")
    assert (paused[0], paused[1]["retry-after"]) == (503, "5")
    assert b"orders" not in paused[2]


async def test_what_is_too_large_is_refused_unread(port: HooksPort) -> None:
    declared = await port.post(body=b"", length=MAX_EVENT_PAYLOAD + 1)
    sent = b"x" * (MAX_EVENT_PAYLOAD + 1)
    async with port.connected() as (reader, writer):
        writer.write(
            f"POST /hooks/{ACME}/orders HTTP/1.1\r\nHost: x\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
            + b"%x\r\n%s\r\n0\r\n\r\n" % (len(sent), sent)
        )
        chunked = await answer_from(reader)

    assert declared[0] == 413
    assert chunked[0] == 413


async def test_a_body_in_pieces_is_put_together(port: HooksPort) -> None:
    body = b'{"n": 12345678}'
    lines = "".join(f"{k}: {v}\r\n" for k, v in port.headers(body).items())
    async with port.connected() as (reader, writer):
        writer.write(
            f"POST /hooks/{ACME}/orders HTTP/1.1\r\nHost: x\r\n{lines}"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        for piece in (body[:5], body[5:9], body[9:]):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        status, _, _ = await answer_from(reader)

    assert status == 202
    assert json.loads(port.engine.fired.payloads[0])["body"] == body.decode()


PIECE = b"50\r\n" + b"x" * 80 + b"\r\n"


def chunked(path: str = f"/hooks/{ACME}/orders", *lines: str) -> bytes:
    """A post's head, whose body may never end."""
    head = [f"POST {path} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"]
    return "\r\n".join([*head, *lines, "", ""]).encode()


async def test_half_a_body_has_its_room_until_its_sender_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hooks, "MAX_BODIES_OF_HOOK", 100)
    async with serving_hooks() as port:
        async with port.connected() as (_, first), port.connected() as (reader, second):
            first.write(chunked() + PIECE)
            await first.drain()
            second.write(chunked() + PIECE + PIECE)
            status, headers, _ = await answer_from(reader)

        assert (status, headers["retry-after"]) == (429, "5")
        body = b"x" * 90
        assert (await port.post(body=body, headers=port.headers(body)))[0] == 202


async def test_strangers_who_do_not_end_keep_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is a path for each of them: that no hook is there they learn at the end."""
    monkeypatch.setattr(hooks, "MAX_BODIES", 400)
    monkeypatch.setattr(hooks, "SLOW_S", 0.0)
    body = b"x" * 160
    async with serving_hooks() as port, AsyncExitStack() as strangers:
        lines = [f"{name}: {value}" for name, value in port.headers(body).items()]
        told = set()
        for number in range(6):
            reader, writer = await strangers.enter_async_context(port.connected())
            writer.write(chunked(f"/hooks/{ACME}/none-{number}") + PIECE)
            told.add(asyncio.create_task(answer_from(reader)))
        # Five fit in.
        full, told = await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)

        async with port.connected() as (reader, writer):
            writer.write(chunked(f"/hooks/{ACME}/orders", *lines) + PIECE)
            gave_way, told = await asyncio.wait(
                told, return_when=asyncio.FIRST_COMPLETED
            )
            writer.write(PIECE + b"0\r\n\r\n")
            status, _, _ = await answer_from(reader)
        for task in told:
            task.cancel()

    assert {task.result()[0] for task in full | gave_way} == {429}
    assert status == 202


async def test_a_body_that_does_not_come_is_not_waited_for(
    port: HooksPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "BODY_S", 0.05)

    answer = await port.post(body=b"", length=5)

    assert answer[0] == 408
