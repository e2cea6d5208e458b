"""The Runtime API as a program in a jail meets it: what is answered, and when."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from sandlot_sandbox import frames
from sandlot_sandbox.host.runtime_api import Reply, Request, RuntimeApi
from tests.unit.runtime_api_jail import (
    ERROR,
    INIT_ERROR,
    NEXT,
    RESPONSE,
    WAIT_S,
    Jail,
    jailed,
)


@pytest_asyncio.fixture
async def jail() -> AsyncIterator[Jail]:
    async with jailed() as made:
        yield made


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
