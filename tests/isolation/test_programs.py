"""Instances that are somebody's program, over the Runtime API."""

import asyncio
import json
import shutil
import subprocess

import pytest

from sandlot_sandbox.errors import StartFailed
from sandlot_sandbox.host import instance as instances
from sandlot_sandbox.host.instance import Instance, State
from sandlot_sandbox.outcome import Ended
from tests.isolation.machine import GUESTS, WAIT_S, Sandbox, ask, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAMS = GUESTS / "programs"
PROVIDED = "provided.al2023"
SHELL = {"bootstrap": (PROGRAMS / "shell_bootstrap.sh").read_bytes()}


@pytest.fixture(scope="session")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here")
    made = tmp_path_factory.mktemp("c") / "bootstrap"
    source = str(PROGRAMS / "bootstrap.c")
    subprocess.run(
        [compiler, "-D_GNU_SOURCE", "-O1", "-static", "-o", str(made), source],
        check=True,
        timeout=60,
    )
    return made.read_bytes()


async def test_a_shell_script_serves_one_event_after_another(sandbox: Sandbox) -> None:
    async with sandbox.running_program(PROVIDED, SHELL) as guest:
        instance = await guest.fork()
        first = await ask(instance, "greet")
        second = await ask(instance, "greet again")

        assert first["event"]["do"] == "greet"
        assert (first["calls"], second["calls"]) == (1, 2)
        assert (first["uid"], first["cwd"]) == (1000, "/var/task")
        await instance.destroy()


async def test_what_it_prints_is_its_log(sandbox: Sandbox) -> None:
    async with sandbox.running_program(PROVIDED, SHELL) as guest:
        instance = await guest.fork()
        ending = await send(instance, "greet")
        assert [text for _, text in ending.printed] == [b"call 1"]
        assert ending.init_s is not None
        await instance.destroy()


async def test_its_errors_are_its_functions(sandbox: Sandbox) -> None:
    async with sandbox.running_program(PROVIDED, SHELL) as guest:
        instance = await guest.fork()
        ending = await send(instance, "error")
        assert (ending.ended, ending.error_type) == (Ended.FAILED, "Function.Asked")
        assert json.loads(ending.payload)["errorType"] == "Shell.Error"
        assert (await ask(instance, "greet"))["calls"] == 2
        await instance.destroy()


async def test_one_that_exits_takes_its_instance_along_and_no_other(
    sandbox: Sandbox,
) -> None:
    async with sandbox.running_program(PROVIDED, SHELL) as guest:
        other, instance = await guest.fork(), await guest.fork()
        await ask(other, "greet")
        ending = await send(instance, "exit")
        assert (ending.ended, ending.exit_code) == (Ended.EXITED, 7)
        await guest.wait_death(instance)
        assert (await ask(other, "greet"))["calls"] == 2
        await other.destroy()


async def test_time_counts_of_who_was_seen_at_work_after_an_answer(
    sandbox: Sandbox,
) -> None:
    async with sandbox.running_program(PROVIDED, SHELL) as guest:
        instance = await guest.fork()
        await ask(instance, "linger")
        await _frozen(instance)

        ending = await send(instance, "linger")

        assert ending.ended is Ended.ANSWERED
        assert instance.state is State.SETTLING
        async with asyncio.timeout(WAIT_S):
            rest = await instance.wait_settled()
        assert rest.duration_s >= 0.2
        assert instance.is_usable
        await instance.destroy()


async def test_an_event_that_nobody_asked_for_is_none_of_who_ends_after_an_answer(
    sandbox: Sandbox,
) -> None:
    async with sandbox.running_program(PROVIDED, SHELL) as guest:
        instance = await guest.fork()
        await ask(instance, "greet and leave")

        with pytest.raises(StartFailed, match="before it asked for the event"):
            await send(instance, "greet")

        await guest.wait_death(instance)
        assert [text for _, text in instance.last_words] == [b"leaving"]


async def test_who_has_worked_before_it_ended_has_had_the_event(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "UNASKED_S", 0.0)
    async with sandbox.running_program(PROVIDED, SHELL) as guest:
        instance = await guest.fork()
        await ask(instance, "greet and leave")

        ending = await send(instance, "greet")

        assert (ending.ended, ending.exit_code) == (Ended.EXITED, 9)
        await guest.wait_death(instance)


async def _frozen(instance: Instance) -> None:
    async with asyncio.timeout(WAIT_S):
        while not instance.is_frozen:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0)


async def test_who_does_not_come_back_from_work_is_timed_out(sandbox: Sandbox) -> None:
    async with sandbox.running_program(PROVIDED, SHELL) as guest:
        instance = await guest.fork()
        await ask(instance, "linger")
        await _frozen(instance)

        await send(instance, "linger for ever", timeout_s=1.0)

        async with asyncio.timeout(WAIT_S):
            rest = await instance.wait_settled()
        assert rest.error_type == "Sandbox.Timedout"
        await guest.wait_death(instance)


async def test_instances_of_one_function_have_an_api_each(sandbox: Sandbox) -> None:
    async with sandbox.running_program(PROVIDED, SHELL) as guest:
        instances = [await guest.fork() for _ in range(3)]
        asked = [ask(one, f"call {n}") for n, one in enumerate(instances)]
        answers = await asyncio.gather(*asked)
        assert [answer["event"]["do"] for answer in answers] == [
            "call 0",
            "call 1",
            "call 2",
        ]
        for instance in instances:
            await instance.destroy()


async def test_a_static_program_in_c(sandbox: Sandbox, c_program: bytes) -> None:
    async with sandbox.running_program(PROVIDED, {"bootstrap": c_program}) as guest:
        instance = await guest.fork()
        assert await ask(instance, "echo") == {"do": "echo"}
        assert await ask(instance, "again") == {"do": "again"}
        await instance.destroy()


async def test_a_package_without_a_program_says_so(sandbox: Sandbox) -> None:
    async with sandbox.running_program(PROVIDED, {"other": b""}) as guest:
        instance = await guest.fork()
        ending = await send(instance, "greet")
        assert ending.ended is Ended.INIT_FAILED
        assert ending.error_type == "Runtime.InvalidEntrypoint"
        assert "/var/task/bootstrap /opt/bootstrap" in _message(ending.payload)
        await guest.wait_death(instance)


async def test_what_is_no_program_says_so(sandbox: Sandbox) -> None:
    files = {"bootstrap": b"\x00\x01 not a program"}
    async with sandbox.running_program(PROVIDED, files) as guest:
        ending = await send(await guest.fork(), "greet")
        assert ending.ended is Ended.INIT_FAILED
        assert "exec format error" in _message(ending.payload)


async def test_one_that_never_asks_has_no_init_without_end(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandlot_sandbox.host.invocation.INIT_S", 0.3)
    files = {"bootstrap": b"#!/bin/sh\nexec sleep 99\n"}
    async with sandbox.running_program(PROVIDED, files) as guest:
        instance = await guest.fork()
        ending = await send(instance, "greet")
        assert ending.ended is Ended.INIT_TIMED_OUT
        await guest.wait_death(instance)


async def _node(sandbox: Sandbox) -> str:
    name = next((r.name for r in sandbox.store.runtimes if "node" in r.name), "")
    if not name:
        pytest.skip("there is no Node here")
    return name


COMMON = b"""
let calls = 0;
exports.handler = async (event, context) => {
  calls += 1;
  console.log('hello', event.do);
  if (event.do === 'throw') throw new TypeError('as asked');
  const left = context.getRemainingTimeInMillis();
  return { do: event.do, calls, id: context.awsRequestId, left };
};
exports.callback = (event, context, callback) => {
  setTimeout(() => callback(null, { calls: ++calls }), 1);
};
exports.silent = () => {};
exports.never = async () => new Promise(() => {});
exports.succeeds = (event, context) => {
  setTimeout(() => {}, 9e5);
  context.succeed('well');
};
exports.fails = async () => { throw undefined; };
exports.nested = { deeper: async () => 'found' };
exports.rejects = () => {
  setTimeout(() => Promise.reject(new Error('lost')), 1);
  return new Promise((resolve) => setTimeout(resolve, 9e5));
};
"""


async def test_a_node_handler_in_commonjs(sandbox: Sandbox) -> None:
    files = {"app.js": COMMON}
    async with sandbox.running_program(await _node(sandbox), files) as guest:
        instance = await guest.fork()
        answer = await ask(instance, "greet")
        assert (answer["do"], answer["calls"]) == ("greet", 1)
        assert 0 < answer["left"] <= 10_000
        ending = await send(instance, "throw")
        assert (ending.ended, ending.error_type) == (Ended.FAILED, "TypeError")
        told = json.loads(ending.payload)
        assert (told["errorType"], told["errorMessage"]) == ("TypeError", "as asked")
        assert told["trace"][0] == "TypeError: as asked"
        log = b"\n".join(text for _, text in ending.printed).decode()
        assert f"\t{answer['id']}\tINFO\thello throw" in log
        _, logged = log.split(f"\t{answer['id']}\tERROR\tInvoke Error \t")
        shown = json.loads(logged)
        assert list(shown) == ["errorType", "errorMessage", "stack"]
        assert shown["stack"][0] == "TypeError: as asked"
        assert (await ask(instance, "greet"))["calls"] == 3
        await instance.destroy()


async def test_a_node_handler_with_a_callback(sandbox: Sandbox) -> None:
    files = {"app.js": COMMON}
    node = await _node(sandbox)
    async with sandbox.running_program(node, files, handler="app.callback") as guest:
        instance = await guest.fork()
        assert await ask(instance, "greet") == {"calls": 1}
        assert await ask(instance, "greet") == {"calls": 2}
        await instance.destroy()


async def test_a_node_handler_that_says_nothing_answers_null(sandbox: Sandbox) -> None:
    files = {"app.js": COMMON}
    node = await _node(sandbox)
    async with sandbox.running_program(node, files, handler="app.silent") as guest:
        instance = await guest.fork()
        assert await ask(instance, "greet") is None
        assert await ask(instance, "greet") is None
        await instance.destroy()


async def test_a_node_handler_that_waits_for_what_never_comes_fails(
    sandbox: Sandbox,
) -> None:
    files = {"app.js": COMMON}
    node = await _node(sandbox)
    async with sandbox.running_program(node, files, handler="app.never") as guest:
        instance = await guest.fork()
        for _ in range(2):
            ending = await send(instance, "wait")
            assert (ending.ended, ending.error_type) == (
                Ended.FAILED,
                "Runtime.NodeJsExit",
            )
            told = json.loads(ending.payload)["errorMessage"]
            assert "a Promise that was never settled" in told
        await instance.destroy()


async def test_a_context_that_is_told_the_answer_waits_for_nothing(
    sandbox: Sandbox,
) -> None:
    files = {"app.js": COMMON}
    node = await _node(sandbox)
    async with sandbox.running_program(node, files, handler="app.succeeds") as guest:
        instance = await guest.fork()
        assert await ask(instance, "greet") == "well"
        assert await ask(instance, "greet") == "well"
        await instance.destroy()


async def test_a_node_handler_that_throws_nothing_has_failed(sandbox: Sandbox) -> None:
    files = {"app.js": COMMON}
    node = await _node(sandbox)
    async with sandbox.running_program(node, files, handler="app.fails") as guest:
        instance = await guest.fork()
        ending = await send(instance, "fail")
        assert ending.ended is Ended.FAILED
        assert json.loads(ending.payload)["errorMessage"] == "handled"
        await instance.destroy()


async def test_a_node_handler_within_an_object(sandbox: Sandbox) -> None:
    files = {"lib/app.js": COMMON}
    node = await _node(sandbox)
    async with sandbox.running_program(
        node, files, handler="lib/app.nested.deeper"
    ) as guest:
        assert await guest.ask("greet") == "found"


async def test_a_node_handler_with_the_json_format(sandbox: Sandbox) -> None:
    source = b"""
    exports.handler = async (event) => {
      console.debug('not shown');
      console.info('a %s', 'b', { c: 1 });
      console.warn({ order: 7 });
      throw new TypeError('as asked');
    };"""
    json_format = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}
    async with sandbox.running_program(
        await _node(sandbox), {"app.js": source}, environment=json_format
    ) as guest:
        instance = await guest.fork()
        ending = await send(instance, "greet")
        info, warning, error = (json.loads(text) for _, text in ending.printed)
        assert (info["level"], info["message"]) == ("INFO", "a b { c: 1 }")
        assert info["requestId"]
        assert (warning["level"], warning["message"]) == ("WARN", {"order": 7})
        assert error["level"] == "ERROR"
        assert error["message"]["errorType"] == "TypeError"
        assert error["message"]["errorMessage"] == "as asked"
        await instance.destroy()


async def test_a_rejection_that_nobody_handles_ends_the_instance(
    sandbox: Sandbox,
) -> None:
    files = {"app.js": COMMON}
    node = await _node(sandbox)
    async with sandbox.running_program(node, files, handler="app.rejects") as guest:
        instance = await guest.fork()
        ending = await send(instance, "late")
        assert ending.error_type == "Runtime.UnhandledPromiseRejection"
        log = b"\n".join(text for _, text in ending.printed).decode()
        shown = json.loads(log.partition("\tUnhandled Promise Rejection \t")[2])
        assert (shown["errorType"], shown["errorMessage"]) == (
            "Runtime.UnhandledPromiseRejection",
            "Error: lost",
        )
        assert shown["reason"]["errorMessage"] == "lost"
        await guest.wait_death(instance)


async def test_a_node_handler_in_a_module(sandbox: Sandbox) -> None:
    module = b"export const handler = async (event) => ({ got: event.do });"
    files = {"app.mjs": b"import fs from 'node:fs'; await 0; " + module}
    async with sandbox.running_program(await _node(sandbox), files) as guest:
        assert await guest.ask("greet") == {"got": "greet"}
    files = {"app.js": module, "package.json": b'{"type": "module"}'}
    async with sandbox.running_program(await _node(sandbox), files) as guest:
        assert await guest.ask("greet") == {"got": "greet"}


@pytest.mark.parametrize(
    ("files", "handler", "error_type"),
    [
        ({"app.js": b"require('nothing-here')"}, "app.handler", "ImportModuleError"),
        ({"app.js": b"}"}, "app.handler", "UserCodeSyntaxError"),
        ({"app.js": b""}, "app.handler", "HandlerNotFound"),
        ({"app.js": b""}, "app", "MalformedHandlerName"),
    ],
)
async def test_a_node_handler_that_cannot_be_loaded(
    sandbox: Sandbox, files: dict[str, bytes], handler: str, error_type: str
) -> None:
    node = await _node(sandbox)
    async with sandbox.running_program(node, files, handler=handler) as guest:
        ending = await send(await guest.fork(), "greet")
        assert ending.ended is Ended.INIT_FAILED
        assert ending.error_type == f"Runtime.{error_type}"


async def test_a_streamed_answer_is_whole_in_the_end(sandbox: Sandbox) -> None:
    source = b"""
    exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
      const http = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
      for (const word of ['one', 'two', 'three']) { http.write(word); }
      http.end();
    });"""
    async with sandbox.running_program(
        await _node(sandbox), {"app.js": source}
    ) as guest:
        instance = await guest.fork()
        for _ in range(2):
            ending = await send(instance, "greet")
            assert ending.payload == b'{"statusCode":201}' + bytes(8) + b"onetwothree"
        await instance.destroy()


async def test_a_wrapper_is_run_in_place_of_the_runtime(sandbox: Sandbox) -> None:
    files = {
        "app.js": COMMON,
        "wrap": b'#!/bin/sh\necho wrapped "$1"\nexec "$@"\n',
    }
    async with sandbox.running_program(
        await _node(sandbox),
        files,
        environment={"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap"},
    ) as guest:
        instance = await guest.fork()
        ending = await send(instance, "greet")
        assert ending.printed[0][1].startswith(b"wrapped /")
        await instance.destroy()


def _message(payload: bytes) -> str:
    return str(json.loads(payload)["errorMessage"])
