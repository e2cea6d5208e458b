"""What of our memory and time a program has by the Runtime API, and no more."""

import asyncio
import contextlib
import gc
import json
import math
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sandlot_sandbox import frames
from sandlot_sandbox.host import program_connection, runtime_wire
from sandlot_sandbox.host.runtime_api import MAX_SMALL_BODY
from sandlot_sandbox.host.runtime_wire import MAX_CONNECTIONS, RuntimeWire
from tests.fakes.loop import Loop
from tests.fakes.waiting import eventually
from tests.unit.runtime_api_jail import (
    INIT_ERROR,
    NEXT,
    RESPONSE,
    WAIT_S,
    Engine,
    Jail,
    jailed,
)


@pytest_asyncio.fixture
async def jail() -> AsyncIterator[Jail]:
    async with jailed() as made:
        yield made


async def test_an_answer_that_is_too_large_is_read_to_its_end(jail: Jail) -> None:
    program = await jail.running()
    refused = await program.call("POST", RESPONSE, b"x" * (frames.MAX_PAYLOAD + 1))
    assert refused[0] == 413
    assert json.loads(refused[2])["errorType"] == "RequestEntityTooLarge"
    answer = (await jail.engine.wait_for(2))[1]
    assert answer.error_type == "Function.ResponseSizeTooLarge"
    assert jail.wire.kept == 0


async def test_the_largest_answer_is_taken(jail: Jail) -> None:
    program = await jail.running()
    body = b"x" * frames.MAX_PAYLOAD
    assert (await program.call("POST", RESPONSE, body))[0] == 202
    assert (await jail.engine.wait_for(2))[1].payload == body


async def test_of_answers_to_nothing_no_byte_is_kept(jail: Jail) -> None:
    program = await jail.connect()
    program.ask("POST", RESPONSE, b"x" * 1_000_000)
    assert (await program.hear())[0] == 403
    assert jail.wire.kept == 0


async def test_a_program_may_not_have_us_keep_more_than_one_answer(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_connection, "MAX_BODIES", 3 * MAX_SMALL_BODY // 2)
    programs = [await jail.connect() for _ in range(2)]
    half = b"x" * (MAX_SMALL_BODY - 1)
    for program in programs:
        head = (
            f"POST {INIT_ERROR} HTTP/1.1\r\nHost: a\r\nContent-Length: 262144\r\n\r\n"
        )
        program.writer.write(head.encode() + half)
    closed = [
        asyncio.create_task(program.is_closed(), name=str(number))
        for number, program in enumerate(programs)
    ]
    done, pending = await asyncio.wait(
        closed, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED
    )
    assert len(done) == 1
    for task in pending:
        task.cancel()
    assert jail.wire.kept <= program_connection.MAX_BODIES


async def test_who_sends_on_before_the_reply_is_kept_only_so_much_of(
    jail: Jail,
) -> None:
    program = await jail.connect()
    program.ask("GET", NEXT)
    await jail.engine.wait_for(1)
    with contextlib.suppress(ConnectionError):
        for _ in range(64):
            program.writer.write(b"x" * program_connection.MAX_AHEAD)
            await program.writer.drain()

    assert await program.is_closed()


class Stormed(socket.socket):
    """A listener to which somebody else comes whenever one was accepted."""

    accepted = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.accepted += 1
        assert self.accepted < 100 * MAX_CONNECTIONS, "it would go on for ever"
        with socket.create_connection(self.getsockname()):
            return super().accept()


async def test_who_comes_without_end_does_not_keep_us_from_others() -> None:
    ours, theirs = socket.socketpair()
    listener = Stormed()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    wire = RuntimeWire(ours, listener)
    with theirs:
        wire.open(Engine())

        wire.read()

        assert 0 < listener.accepted <= MAX_CONNECTIONS
        wire.close()


async def test_who_comes_again_and_again_has_a_break_and_is_heard(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_wire, "MAX_AT_ONCE", 16)
    breaks = 0
    again = RuntimeWire._accept_again  # noqa: SLF001

    def accept_again(wire: RuntimeWire) -> None:
        nonlocal breaks
        breaks += 1
        again(wire)

    monkeypatch.setattr(RuntimeWire, "_accept_again", accept_again)
    programs = await asyncio.gather(*(jail.connect() for _ in range(MAX_CONNECTIONS)))

    for program in programs:
        assert (await program.call("GET", "/ping"))[0] == 200

    assert breaks > 0


async def test_connections_are_counted(jail: Jail) -> None:
    programs = [await jail.connect() for _ in range(runtime_wire.MAX_CONNECTIONS)]
    for program in programs:
        assert (await program.call("GET", "/ping"))[0] == 200
    one_more = await jail.connect()
    assert await one_more.is_closed()
    programs[0].writer.close()
    await programs[0].writer.wait_closed()
    jail.wire.read()
    again = await jail.connect()
    assert (await again.call("GET", "/ping"))[0] == 200


@pytest.mark.parametrize(
    "noise",
    [
        b"\x00\xff\x00\xff\r\n\r\n",
        b"GET / FTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /ping HTTP/1.1\r\n\r\n",
        b"POST /ping HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /ping HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_noise_harms_nobody_but_its_connection(jail: Jail, noise: bytes) -> None:
    noisy, program = await jail.connect(), await jail.running()
    noisy.writer.write(noise)
    async with asyncio.timeout(WAIT_S):
        assert b"HTTP/1.1 4" in await noisy.reader.read()
    assert (await program.call("POST", RESPONSE, b"1"))[0] == 202
    assert not jail.engine.violations


async def test_headers_without_end_are_refused(jail: Jail) -> None:
    noisy, program = await jail.connect(), await jail.connect()
    noisy.writer.write(
        b"GET / HTTP/1.1\r\nA: " + b"x" * program_connection.MAX_HEADERS * 2
    )
    async with asyncio.timeout(WAIT_S):
        # What it is told is lost with what it sent that nobody read.
        with contextlib.suppress(ConnectionError):
            assert (await noisy.reader.read()).startswith(b"HTTP/1.1 431")
    assert (await program.call("GET", "/ping"))[2] == b"pong"


@pytest.mark.parametrize("end", ["\r\n", "\n", ""])
async def test_headers_of_thousands_of_lines_are_refused(jail: Jail, end: str) -> None:
    program = await jail.connect()
    lines = (program_connection.MAX_LINES + 1) * "a:\r\n"

    program.writer.write(f"GET /ping HTTP/1.1\r\nHost: a\r\n{lines}{end}".encode())

    async with asyncio.timeout(WAIT_S):
        heard = await program.reader.read()
    assert heard.startswith(b"HTTP/1.1 431 ")
    assert (await (await jail.connect()).call("GET", "/ping"))[0] == 200


async def test_a_body_may_have_any_number_of_lines(jail: Jail) -> None:
    program = await jail.running()
    body = 2 * program_connection.MAX_LINES * b"\n"

    assert (await program.call("POST", RESPONSE, body))[0] == 202

    assert (await jail.engine.wait_for(2))[1].payload == body


async def test_whose_calls_take_long_to_be_understood_has_a_longer_break(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_wire, "USUAL_S", 0.0)
    monkeypatch.setattr(runtime_wire, "LONG_S", 0.0)
    monkeypatch.setattr(runtime_wire, "_DUTY", 1e9)
    program = await jail.connect()
    assert (await program.call("GET", "/ping"))[0] == 200

    program.ask("GET", "/ping")

    async def rests() -> bool:
        return any(one._rest for one in jail.wire._connections)  # noqa: SLF001

    await eventually(rests)
    jail.wire.read()
    assert (await program.hear())[0] == 200


async def test_what_is_large_may_take_long_in_proportion(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event as it is handed over, an answer as it ends."""
    large, sizes = bytes(1_000_000), list[int]()
    monkeypatch.setattr(jail.wire, "note_took", lambda _, size: sizes.append(size))
    program = await jail.connect()
    jail.send(large)

    assert (await program.call("GET", NEXT))[0] == 200
    assert max(sizes) > len(large)
    sizes.clear()
    assert (await program.call("POST", RESPONSE, large))[0] == 202
    assert max(sizes) > len(large)


async def test_that_all_memory_is_looked_through_meanwhile_is_nobody_s_doing(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, took = [[number] for number in range(300_000)], list[float]()
    spent_s = 0.0

    def hear(_: frames.Answer) -> None:
        nonlocal spent_s
        began = time.thread_time()
        gc.collect()
        spent_s += time.thread_time() - began

    monkeypatch.setattr(jail.engine, "hear", hear)
    monkeypatch.setattr(jail.wire, "note_took", lambda cpu_s, _: took.append(cpu_s))
    program = await jail.connect()
    jail.send()

    assert (await program.call("GET", NEXT))[0] == 200
    assert 0.0 <= sum(took) < spent_s / 2
    assert kept


async def test_who_is_refused_again_and_again_has_a_longer_break(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short each of it is; and what is answered counts for nothing."""
    monkeypatch.setattr(runtime_wire, "USUAL_S", 3_600.0)
    monkeypatch.setattr(runtime_wire, "LONG_S", 0.0)
    monkeypatch.setattr(runtime_wire, "_DUTY", 1e9)
    program = await jail.connect()
    for _ in range(3):
        assert (await program.call("GET", "/ping"))[0] == 200

    assert (await program.call("GET", "/none"))[0] == 404
    program.ask("GET", "/ping")

    async def rests() -> bool:
        return any(one._rest for one in jail.wire._connections)  # noqa: SLF001

    await eventually(rests)


async def test_a_break_is_the_longer_the_more_have_one(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_wire, "LONG_S", 0.0)
    monkeypatch.setattr(runtime_wire, "NOT_LONG_S", 3_600.0)
    until = list[float]()
    for others in (0, 99):
        for _ in range(others):
            runtime_wire._talkers[object()] = math.inf  # type: ignore[index] # noqa: SLF001
        monkeypatch.setattr(jail.wire, "_until", 0.0)
        jail.wire.note_refusal()
        jail.wire.note_took(60.0, 1)
        until.append(jail.wire._until - asyncio.get_running_loop().time())  # noqa: SLF001
    runtime_wire._talkers.clear()  # noqa: SLF001

    assert until[1] > 50 * until[0] > 0


async def test_time_gives_back_what_was_for_nothing_and_ends_a_break(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, wire = Loop(), jail.wire
    monkeypatch.setattr(wire, "_loop", clock)
    monkeypatch.setattr(runtime_wire, "_talkers", {})

    def waste(cpu_s: float) -> bool:
        """Whether it may go on."""
        wire.note_refusal()
        wire.note_took(cpu_s, 0)
        return wire.may_go_on()

    most_s = runtime_wire.LONG_S
    for _ in range(10):
        assert waste(most_s)
        clock.pass_by(5.5 * most_s)  # a fifth of it, to who is alone
    clock.pass_by(60.0)
    assert waste(most_s / 2)
    assert not waste(most_s)

    clock.pass_by(5.9 * most_s)
    assert not wire.may_go_on()
    clock.pass_by(0.2 * most_s)
    assert wire.may_go_on()


_PING = "GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
_LAST = _PING.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")


async def test_thousands_that_wait_for_a_reply_are_answered_one_after_another(
    jail: Jail,
) -> None:
    count = 1_500
    program = await jail.connect()
    wait = f"GET {NEXT} HTTP/1.1\r\nHost: a\r\n\r\n"
    program.writer.write((wait + count * _PING + _LAST).encode())
    await jail.engine.wait_for(1)

    jail.send()

    async with asyncio.timeout(WAIT_S):
        heard = await program.reader.read()
    assert heard.count(b"HTTP/1.1 200") == 1 + count + 1


async def test_who_says_much_at_once_has_a_break_and_is_heard_to_the_end(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_wire, "MAX_AT_ONCE", 16)
    # By the clock of the loop, so that it never is over but by a timer.
    monkeypatch.setattr(runtime_wire, "REST_S", 0.01)
    breaks = 0
    connection = program_connection.Connection
    rest = connection._rest_a_while  # noqa: SLF001

    def rest_a_while(one: object) -> None:
        nonlocal breaks
        breaks += 1
        rest(one)  # type: ignore[arg-type]

    monkeypatch.setattr(connection, "_rest_a_while", rest_a_while)
    program = await jail.running()
    head = (
        f"POST {RESPONSE} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        "Lambda-Runtime-Function-Response-Mode: streaming\r\n\r\n"
    )

    program.writer.write((head + 200 * "1\r\nx\r\n" + "0\r\n\r\n").encode())

    said = await jail.engine.wait_for(1 + 1 + 200 + 1)
    assert said[-1].kind == frames.STREAM_END
    assert b"".join(answer.payload for answer in said[2:-1]) == b"x" * 200
    assert breaks >= 200 // 16


async def test_who_wants_to_have_heard_all_has(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = await jail.running()
    monkeypatch.setattr(runtime_wire, "MAX_AT_ONCE", 8)
    monkeypatch.setattr(runtime_wire, "REST_S", 3_600.0)
    calls = 20 * _PING + f"POST {RESPONSE} HTTP/1.1\r\nHost: a\r\n"
    program.writer.write((calls + "Content-Length: 1\r\n\r\n1").encode())

    async def rests() -> bool:
        return any(one._rest for one in jail.wire._connections)  # noqa: SLF001

    await eventually(rests)
    assert len(jail.engine.answers) == 1, "only that it is ready"

    jail.wire.read()

    assert jail.engine.answers[-1].payload == b"1"
