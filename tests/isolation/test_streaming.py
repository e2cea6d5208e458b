"""Answers that come in pieces."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from sandlot_sandbox import frames
from sandlot_sandbox.host import sink as sinks
from sandlot_sandbox.outcome import Ended, Ending
from tests.isolation.machine import WAIT_S, Guest, Sandbox, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEAD = b'{"statusCode": %d}' + bytes(8)


class Reader:
    """A sink: takes what it has room for."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.content_type = ""
        self.pieces: list[bytes] = []
        self._room = room
        self._go_on: Callable[[], None] | None = None
        self.has_filled = asyncio.Event()

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    @property
    def is_full(self) -> bool:
        return self.size >= self._room

    def begin(self, content_type: str) -> None:
        self.content_type = content_type

    def write(self, piece: bytes) -> None:
        self.pieces.append(piece)
        if self.is_full:
            self.has_filled.set()

    def when_room(self, call: Callable[[], None]) -> None:
        self._go_on = call

    def make_room(self) -> None:
        self._room = 1 << 30
        assert self._go_on is not None
        self._go_on()


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=["clone", "program"]
)
async def guest(
    sandbox: Sandbox, request: pytest.FixtureRequest
) -> AsyncIterator[Guest]:
    is_program = request.param == "program"
    async with sandbox.running(
        "streaming", import_in_zygote=not is_program, as_program=is_program
    ) as guest:
        yield guest


async def _invoke(
    guest: Guest, what: str, reader: Reader | None = None, **arguments: Any
) -> Ending:
    instance = await guest.fork()
    try:
        return await send(instance, what, sink=reader, **arguments)
    finally:
        await instance.destroy()


@pytest.mark.parametrize(
    ("what", "whole"),
    [
        ("words", b"one two drei!"),
        ("nothing", b""),
        (
            "with_head",
            b'{"statusCode": 201, "headers": {"a": "b"}}' + bytes(8) + b"body",
        ),
    ],
)
async def test_a_generator_answers_in_pieces(
    guest: Guest, what: str, whole: bytes
) -> None:
    reader = Reader()
    ending = await _invoke(guest, what, reader)
    assert (ending.ended, ending.payload) == (Ended.ANSWERED, b"")
    assert ending.is_streamed
    assert b"".join(reader.pieces) == whole


async def test_who_asks_for_all_at_once_has_it_whole(guest: Guest) -> None:
    ending = await _invoke(guest, "words")
    assert (ending.ended, ending.payload) == (Ended.ANSWERED, b"one two drei!")
    assert not ending.is_streamed


async def test_who_asks_for_pieces_may_get_a_plain_answer(guest: Guest) -> None:
    reader = Reader()
    ending = await _invoke(guest, "plain", reader)
    assert (ending.payload, ending.is_streamed, reader.pieces) == (b"[1]", False, [])


async def test_an_instance_streams_one_answer_after_another(guest: Guest) -> None:
    instance = await guest.fork()
    for _ in range(3):
        reader = Reader()
        await send(instance, "words", sink=reader)
        assert reader.pieces == [b"one ", b"two ", b"drei!"]
    await instance.destroy()


async def test_a_slow_reader_makes_the_function_wait(guest: Guest) -> None:
    reader = Reader(room=100_000)
    running = asyncio.create_task(
        _invoke(guest, "much", reader, pieces=400, size=50_000)
    )
    async with asyncio.timeout(WAIT_S):
        await reader.has_filled.wait()
    # What is on its way is all there is in memory, whatever the answer's size.
    assert reader.size < 100_000 + 2 * frames.MAX_PIECE
    assert not running.done()
    reader.make_room()
    assert (await running).ended is Ended.ANSWERED
    assert reader.size == 20_000_000


async def test_an_error_before_the_first_piece_is_an_answer_like_any(
    guest: Guest,
) -> None:
    reader = Reader()
    ending = await _invoke(guest, "breaks", reader, after=0)
    assert (ending.ended, ending.is_streamed) == (Ended.FAILED, False)
    assert json.loads(ending.payload)["errorType"] == "ValueError"
    assert reader.content_type == ""


async def test_an_error_later_breaks_the_answer_off(guest: Guest) -> None:
    reader = Reader()
    ending = await _invoke(guest, "breaks", reader, after=2)
    assert b"".join(reader.pieces) == b"piece piece "
    assert (ending.ended, ending.error_type) == (Ended.FAILED, "ValueError")
    assert json.loads(ending.payload)["errorMessage"] == "as asked"
    assert ending.is_streamed


async def test_what_is_neither_text_nor_bytes_says_so(guest: Guest) -> None:
    ending = await _invoke(guest, "number", Reader())
    assert "str and bytes, not of int" in json.loads(ending.payload)["errorMessage"]


async def test_an_exit_breaks_the_answer_off(guest: Guest) -> None:
    reader = Reader()
    ending = await _invoke(guest, "exits", reader)
    # Of a program, the broken call is seen first.
    is_truncated = ending.error_type == "Runtime.TruncatedResponse"
    assert is_truncated or (ending.ended, ending.exit_code) == (Ended.EXITED, 3)
    assert reader.pieces == [b"piece"]
    assert ending.is_streamed


async def test_a_timeout_breaks_the_answer_off(guest: Guest) -> None:
    reader = Reader()
    ending = await _invoke(guest, "hangs", reader, timeout_s=0.2)
    assert ending.ended is Ended.TIMED_OUT
    assert reader.pieces == [b"piece"]


async def test_too_much_for_one_answer_is_too_large(guest: Guest) -> None:
    ending = await _invoke(guest, "much", pieces=7, size=1_000_000)
    assert ending.ended is Ended.TOO_LARGE


async def test_a_stream_has_an_end(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "MAX_STREAMED", 1_000_000)
    reader = Reader()
    ending = await _invoke(guest, "much", reader, pieces=7, size=1_000_000)
    assert ending.ended is Ended.TOO_LARGE
    assert reader.size <= 1_000_000


async def test_a_handler_may_write_to_a_stream(sandbox: Sandbox) -> None:
    async with sandbox.running("streaming", handler="app.streamed") as guest:
        reader = Reader()
        ending = await _invoke(guest, "", reader)
        assert ending.ended is Ended.ANSWERED
        assert b"".join(reader.pieces) == HEAD % 202 + b"one two"
        assert reader.content_type.startswith("application/vnd.awslambda.http")
        failed = await _invoke(guest, "", reader, fail=True)
        assert (failed.ended, failed.error_type) == (Ended.FAILED, "KeyError")


async def test_a_program_streams_through_the_runtime_api(sandbox: Sandbox) -> None:
    node = next((r.name for r in sandbox.store.runtimes if "node" in r.name), "")
    if not node:
        pytest.skip("there is no Node here")
    source = b"""
    exports.handler = awslambda.streamifyResponse(async (event, stream) => {
      if (event.do === 'early') throw new Error('early');
      stream.setContentType('text/plain');
      const piece = 'x'.repeat(50000);
      for (let n = 0; n < event.pieces; n += 1) {
        if (!stream.write(piece)) await new Promise((r) => stream.once('drain', r));
      }
      if (event.do === 'late') throw new TypeError('late');
      stream.end();
    });"""
    async with sandbox.running_program(node, {"app.js": source}) as guest:
        reader = Reader(room=100_000)
        running = asyncio.create_task(_invoke(guest, "all", reader, pieces=400))
        async with asyncio.timeout(WAIT_S):
            await reader.has_filled.wait()
        assert reader.size < 100_000 + 3 * frames.MAX_PIECE
        reader.make_room()
        assert (await running).ended is Ended.ANSWERED
        assert (reader.size, reader.content_type) == (20_000_000, "text/plain")

        early = await _invoke(guest, "early", Reader())
        assert (early.ended, early.is_streamed) == (Ended.FAILED, False)
        reader = Reader()
        late = await _invoke(guest, "late", reader, pieces=1)
        assert (late.ended, late.error_type) == (Ended.FAILED, "TypeError")
        assert json.loads(late.payload)["errorMessage"] == "late"
        assert (reader.size, late.is_streamed) == (50_000, True)
