"""The Runtime API as a program in a jail meets it: real sockets, real HTTP."""

import asyncio
import contextlib
import gc
import json
import math
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import h11
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from sandlot_sandbox import frames
from sandlot_sandbox.host import program_connection, runtime_wire
from sandlot_sandbox.host.runtime_api import (
    MAX_SMALL_BODY,
    VERSION,
    Reply,
    Request,
    RuntimeApi,
)
from sandlot_sandbox.host.runtime_wire import MAX_CONNECTIONS, RuntimeWire
from tests.fakes.loop import Loop
from tests.fakes.waiting import eventually

WAIT_S = 5.0
NEXT = f"{VERSION}/invocation/next"
RESPONSE = f"{VERSION}/invocation/r-1/response"
ERROR = f"{VERSION}/invocation/r-1/error"
INIT_ERROR = f"{VERSION}/init/error"


class Engine:
    """Hears what an instance would."""

    expects_answer = True

    def __init__(self) -> None:
        self.answers: list[frames.Answer] = []
        self.violations: list[frames.Violation] = []
        self.crashes: list[str] = []
        self.reasons: list[str] = []
        self.statuses: list[int] = []
        self.settled = 0
        self.has_hung_up = False
        self._news = asyncio.Event()

    def hear(self, answer: frames.Answer) -> None:
        self.answers.append(answer)
        self._news.set()

    def note_violation(self, violation: frames.Violation) -> None:
        self.violations.append(violation)

    def note_crash(self, error_type: str, why: str = "") -> None:
        self.crashes.append(error_type)
        self.reasons.append(why)

    def note_settled(self) -> None:
        self.settled += 1

    def note_runtime_ended(self, status: int) -> None:
        self.statuses.append(status)

    def note_hung_up(self) -> None:
        self.has_hung_up = True

    async def wait_for(self, count: int) -> list[frames.Answer]:
        async with asyncio.timeout(WAIT_S):
            while len(self.answers) < count:
                self._news.clear()
                await self._news.wait()
        return self.answers


class Program:
    """A connection of a program's to the API."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader, self.writer = reader, writer
        self.http = h11.Connection(h11.CLIENT)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        head = (("Host", "127.0.0.1"), ("Content-Length", str(len(body))), *headers)
        request = h11.Request(method=method, target=path, headers=list(head))
        self.writer.write(self.http.send(request) or b"")
        if body:
            self.writer.write(self.http.send(h11.Data(data=body)) or b"")
        self.writer.write(self.http.send(h11.EndOfMessage()) or b"")

    async def hear(self) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = 0, {}, b""
        async with asyncio.timeout(WAIT_S):
            while True:
                event = self.http.next_event()
                if event is h11.NEED_DATA:
                    self.http.receive_data(await self.reader.read(1 << 16))
                elif isinstance(event, h11.Response):
                    status = event.status_code
                    headers = {k.decode(): v.decode() for k, v in event.headers}
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    assert isinstance(event, h11.EndOfMessage)
                    if self.http.our_state is h11.DONE:
                        self.http.start_next_cycle()
                    return status, headers, body

    async def call(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        named = tuple((k.replace("_", "-"), v) for k, v in headers.items())
        self.ask(method, path, body, named)
        return await self.hear()

    async def is_closed(self) -> bool:
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True


class Jail:
    """A wire, whoever hears it, and programs that connect to it."""

    def __init__(self) -> None:
        ours, self.channel = socket.socketpair()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.engine = Engine()
        self.wire = RuntimeWire(ours, listener)
        self.wire.open(self.engine)
        self._programs: list[Program] = []

    async def connect(self) -> Program:
        program = Program(*await asyncio.open_connection("127.0.0.1", self.port))
        self._programs.append(program)
        return program

    def send(self, payload: bytes = b'{"a": 1}', context: str = "") -> None:
        header = frames.EventHeader("r-1", 1_234, "arn:f", context, "Root=1", "t-1")
        self.wire.send(header, payload)

    async def running(self) -> Program:
        """A program that has an event."""
        program = await self.connect()
        self.send()
        assert (await program.call("GET", NEXT))[0] == 200
        return program

    async def close(self) -> None:
        self.wire.close()
        self.channel.close()
        for program in self._programs:
            program.writer.close()


@pytest_asyncio.fixture
async def jail() -> AsyncIterator[Jail]:
    made = Jail()
    yield made
    await made.close()


async def test_an_event_goes_down_and_its_answer_comes_up(jail: Jail) -> None:
    program = await jail.connect()
    program.ask("GET", NEXT)
    ready, *_ = await jail.engine.wait_for(1)
    jail.send(context='{"custom":\n{"é": 1}}')
    status, headers, body = await program.hear()

    assert ready.kind == frames.READY
    assert (status, body) == (200, b'{"a": 1}')
    assert {k: v for k, v in headers.items() if k != "content-length"} == {
        "content-type": "application/json",
        "lambda-runtime-aws-request-id": "r-1",
        "lambda-runtime-deadline-ms": "1234",
        "lambda-runtime-invoked-function-arn": "arn:f",
        "lambda-runtime-trace-id": "Root=1",
        "lambda-runtime-client-context": '{"custom": {"é": 1}}',
        "lambda-runtime-aws-tenant-id": "t-1",
    }

    answered = await program.call("POST", RESPONSE, b"[1]")
    assert (answered[0], answered[2]) == (202, b'{"status":"OK"}\n')
    answer = (await jail.engine.wait_for(2))[1]
    assert (answer.kind, answer.payload) == (frames.ANSWER, b"[1]")


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ('\n {"a":\r\n1}\t', '{"a":  1}'),
        (' {"a": "\x85é "} ', '{"a": "\x85é "}'),
        ("\x7f{}\0", "{}"),
        (" \n", None),
    ],
)
async def test_what_a_caller_writes_around_its_context_is_no_part_of_it(
    jail: Jail, sent: str, found: str | None
) -> None:
    """It is a header, of which h11 sends none with blanks around it."""
    program = await jail.connect()
    program.ask("GET", NEXT)
    await jail.engine.wait_for(1)

    jail.wire.send(frames.EventHeader("r-1", 1_000, "arn", sent), b"{}")

    status, headers, _ = await program.hear()
    assert status == 200
    assert headers.get("lambda-runtime-client-context") == found


async def test_an_event_waits_for_who_asks_first(jail: Jail) -> None:
    jail.send()
    program = await jail.connect()
    assert (await program.call("GET", NEXT))[2] == b'{"a": 1}'


async def test_an_error_comes_up_with_its_type(jail: Jail) -> None:
    program = await jail.running()
    body = b'{"errorMessage": "no", "errorType": "Broken"}'
    await program.call(
        "POST", ERROR, body, Lambda_Runtime_Function_Error_Type="Function.Broken"
    )
    answer = (await jail.engine.wait_for(2))[1]
    assert answer.kind == frames.ERROR
    assert (answer.error_type, answer.payload) == ("Function.Broken", body)


async def test_an_init_error_comes_up_before_anything_was_asked_for(
    jail: Jail,
) -> None:
    program = await jail.connect()
    status, _, _ = await program.call(
        *("POST", INIT_ERROR, b"{}"), Lambda_Runtime_Function_Error_Type="a\tb"
    )
    assert status == 202
    (answer,) = await jail.engine.wait_for(1)
    assert (answer.kind, answer.error_type) == (frames.INIT_ERROR, "Runtime.Unknown")
    assert (await program.call("GET", NEXT))[0] == 403


async def test_calls_out_of_turn_are_refused_in_awss_words(jail: Jail) -> None:
    program = await jail.connect()
    early = await program.call("POST", RESPONSE, b"1")
    assert early[0] == 403
    told = json.loads(early[2])
    assert told["errorType"] == "InvalidStateTransition"
    assert told["errorMessage"].startswith("State transition from Init to ")

    jail.send()
    await program.call("GET", NEXT)
    assert (await program.call("POST", INIT_ERROR, b"{}"))[0] == 403
    assert (await program.call("GET", NEXT))[0] == 403
    wrong = await program.call("POST", RESPONSE.replace("r-1", "r-2"), b"1")
    assert wrong[0] == 400
    assert json.loads(wrong[2])["errorType"] == "InvalidRequestID"
    assert (await program.call("POST", RESPONSE, b"1"))[0] == 202
    assert (await program.call("POST", RESPONSE, b"2"))[0] == 403
    payloads = [each.payload for each in jail.engine.answers[1:]]
    assert payloads == [b"1"]
    assert not jail.engine.violations


async def test_what_is_not_there_is_not_found(jail: Jail) -> None:
    program = await jail.connect()
    assert (await program.call("GET", "/ping"))[2] == b"pong"
    assert (await program.call("GET", "/2018-06-01/ping"))[2] == b"pong"
    assert (await program.call("GET", "/2018-06-01/"))[0] == 404
    assert (await program.call("PUT", NEXT))[0] == 404


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


async def test_a_call_for_a_head_is_answered_by_one(jail: Jail) -> None:
    """h11 sends no body then; to insist was a traceback in the operator's log."""
    raised: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, what: raised.append(what))
    program = await jail.connect()

    for path in (NEXT, "/anything"):
        program.ask("HEAD", path)
        status, headers, body = await program.hear()
        assert (status, body) == (404, b"")
        assert int(headers["content-length"]) > 0

    assert (await program.call("GET", "/ping"))[2] == b"pong"
    assert not raised


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


async def test_calls_that_come_together_are_answered_in_their_order(jail: Jail) -> None:
    program = await jail.connect()
    jail.send()
    calls = [
        f"GET {NEXT} HTTP/1.1\r\nHost: a\r\n\r\n",
        f"POST {RESPONSE} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1",
        "GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ]
    program.writer.write("".join(calls).encode())
    async with asyncio.timeout(WAIT_S):
        heard = await program.reader.read()
    assert [part[:3] for part in heard.split(b"HTTP/1.1 ")[1:]] == [
        b"200",
        b"202",
        b"200",
    ]


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


async def test_who_hung_up_is_given_no_event(jail: Jail) -> None:
    gone, program = await jail.connect(), await jail.connect()
    gone.ask("GET", NEXT)
    await jail.engine.wait_for(1)
    gone.writer.close()
    await gone.writer.wait_closed()
    jail.wire.read()
    program.ask("GET", NEXT)
    jail.wire.read()
    jail.send()
    assert (await program.hear())[0] == 200


async def test_why_there_is_no_program_comes_by_the_channel(jail: Jail) -> None:
    trouble = frames.encode_answer(
        frames.INIT_ERROR, b"{}", error_type="Runtime.InvalidEntrypoint"
    )
    jail.channel.send(trouble)
    (answer,) = await jail.engine.wait_for(1)
    assert answer.error_type == "Runtime.InvalidEntrypoint"
    jail.channel.send(frames.encode_answer(frames.ANSWER, b"{}"))
    jail.wire.read()
    assert len(jail.engine.violations) == 1


async def test_what_ends_later_beside_the_program_is_a_crash(jail: Jail) -> None:
    await jail.running()
    trouble = frames.encode_answer(
        frames.INIT_ERROR, b"{}", error_type="Extension.Crash"
    )
    jail.channel.send(trouble)
    jail.wire.read()
    assert jail.engine.crashes == ["Extension.Crash"]


async def test_a_closed_channel_is_no_end(jail: Jail) -> None:
    jail.channel.close()
    program = await jail.running()
    assert (await program.call("POST", RESPONSE, b"1"))[0] == 202
    assert not jail.engine.has_hung_up


async def test_who_sends_a_call_line_by_line_does_not_wait_for_each(jail: Jail) -> None:
    """As a shell's `printf` does, without TCP_NODELAY: the kernel would keep back its
    word on each line for 40 ms."""
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", jail.port)) as program:
        program.setblocking(False)
        took = []
        for _ in range(15):
            began = time.perf_counter()
            for line in (b"GET /ping HTTP/1.1\r\n", b"Host: api\r\n", b"\r\n"):
                await loop.sock_sendall(program, line)
            async with asyncio.timeout(WAIT_S):
                assert (await loop.sock_recv(program, 4096)).endswith(b"pong")
            took.append(time.perf_counter() - began)

    assert min(took[1:]) < 0.03, "each waits for it, but for the first"


_CALLS = st.sampled_from(
    [
        ("GET", NEXT),
        ("POST", RESPONSE),
        ("POST", ERROR),
        ("POST", RESPONSE.replace("r-1", "r-2")),
        ("POST", INIT_ERROR),
        ("GET", "/ping"),
        ("EVENT", ""),
    ]
)


@given(st.lists(_CALLS, max_size=30))
def test_however_it_calls_every_event_has_one_answer_at_most(
    calls: list[tuple[str, str]],
) -> None:
    told: list[int] = []
    replies: list[Reply] = []
    asked = sent = 0
    api = RuntimeApi(lambda answer: told.append(answer.kind))
    for method, path in calls:
        if method == "EVENT":
            # As the engine does it: one at a time, and only to who is ready.
            if sent == told.count(frames.ANSWER) + told.count(frames.ERROR):
                api.send(frames.EventHeader("r-1", 0, ""), b"")
                sent += 1
            continue
        asked += 1
        api.hear(Request(method, path), replies.append)
    answers = [kind for kind in told if kind in (frames.ANSWER, frames.ERROR)]
    assert len(answers) <= sent
    assert told.count(frames.READY) + told.count(frames.INIT_ERROR) <= 1
    if answers:
        assert told[0] == frames.READY
    # All but one who may still wait for an event.
    assert asked - len(replies) <= 1
