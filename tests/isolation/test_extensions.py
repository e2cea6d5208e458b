"""Extensions beside an instance's program: real processes, in the same jail."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sandlot_sandbox.host import program_api
from sandlot_sandbox.host.extensions_api import Identity
from sandlot_sandbox.host.instance import Instance, State
from sandlot_sandbox.outcome import Ended, Ending
from tests.isolation.machine import (
    GUESTS,
    WAIT_S,
    Guest,
    Sandbox,
    ask,
    descendants,
    kernel_facts,
    send,
    wait_gone,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROVIDED = "provided.al2023"
PROGRAMS = GUESTS / "programs"
SHELL = {"bootstrap": (PROGRAMS / "shell_bootstrap.sh").read_bytes()}
EXTENSION = (PROGRAMS / "extension.py").read_text()
IDENTITY = Identity(name="f", version="7", handler="app.handler", account="1234")


@asynccontextmanager
async def _running(sandbox: Sandbox, *names: str) -> AsyncIterator[Guest]:
    """The shell's function, with extensions of these names."""
    files = {f"extensions/{name}": EXTENSION for name in names}
    opt = sandbox.store.add_opt(
        "extensions " + " ".join(names), files, runtime=PROVIDED
    )
    async with sandbox.running_program(
        PROVIDED, SHELL, opt=opt, identity=IDENTITY
    ) as guest:
        yield guest


def _said(ending: Ending) -> list[str]:
    return [text.decode() for _, text in ending.printed]


async def _settled(instance: Instance) -> list[str]:
    """What is printed until it is idle again."""
    async with asyncio.timeout(WAIT_S):
        rest = await instance.wait_settled()
    assert not rest.error_type
    return [text.decode() for _, text in rest.printed]


async def test_an_extension_hears_of_every_invocation(sandbox: Sandbox) -> None:
    async with _running(sandbox, "hears") as guest:
        instance = await guest.fork()
        ending = await send(instance, "greet")
        assert ending.ended is Ended.ANSWERED
        said = _said(ending)
        if instance.is_settling:
            said += await _settled(instance)
        told = json.loads(said[0].removeprefix("hears: registered ").rsplit(" ", 1)[0])
        assert told == {
            "functionName": "f",
            "functionVersion": "7",
            "handler": "app.handler",
            "accountId": "1234",
        }
        # It sees nothing that is the runtime's.
        assert said[0].endswith(" False")
        assert "hears: INVOKE " in said
        assert (await ask(instance, "again"))["calls"] == 2
        await instance.destroy()


async def test_the_answer_does_not_wait_for_extensions_and_the_instance_does(
    sandbox: Sandbox,
) -> None:
    async with _running(sandbox, "slow") as guest:
        instance = await guest.fork()
        ending = await send(instance, "greet")
        assert ending.ended is Ended.ANSWERED
        assert instance.state is State.SETTLING
        assert not instance.is_usable
        async with asyncio.timeout(WAIT_S):
            rest = await instance.wait_settled()
        assert instance.is_usable
        assert rest.duration_s >= 0.2
        assert [text for _, text in rest.printed][-1] == b"slow: slept"
        await instance.destroy()


async def test_an_extension_that_takes_too_long_ends_the_instance(
    sandbox: Sandbox,
) -> None:
    async with _running(sandbox, "stuck") as guest:
        instance = await guest.fork()
        ending = await send(instance, "greet", timeout_s=1.0)
        assert ending.ended is Ended.ANSWERED
        async with asyncio.timeout(WAIT_S):
            rest = await instance.wait_settled()
        assert rest.error_type == "Sandbox.Timedout"
        assert ending.duration_s + rest.duration_s >= 1.0
        await guest.wait_death(instance)


async def test_extensions_are_told_that_the_instance_ends(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who does not want to know is not waited for: not for longer than we wait here.
    monkeypatch.setattr(program_api, "EXTERNAL_S", 2 * WAIT_S)
    async with _running(sandbox, "hears", "invoke-only") as guest:
        instance = await guest.fork()
        await ask(instance, "greet")
        await _idle_and_frozen(instance)
        instance.stop()
        await guest.wait_death(instance)
        said = [text.decode() for _, text in instance.last_words]
        assert "hears: SHUTDOWN SPINDOWN" in said
        assert not any("invoke-only: SHUTDOWN" in line for line in said)


async def test_one_that_does_not_end_by_itself_is_ended(sandbox: Sandbox) -> None:
    async with _running(sandbox, "lingers") as guest:
        instance = await guest.fork()
        await ask(instance, "greet")
        began = time.monotonic()
        instance.stop()
        await guest.wait_death(instance)
        assert time.monotonic() - began > 1.5
        assert b"lingers: SHUTDOWN SPINDOWN" in [t for _, t in instance.last_words]


async def test_after_a_timeout_extensions_are_told_why(sandbox: Sandbox) -> None:
    async with _running(sandbox, "hears") as guest:
        instance = await guest.fork()
        ending = await send(instance, "hang", timeout_s=0.5)
        assert ending.ended is Ended.TIMED_OUT
        await guest.wait_death(instance)
        assert b"hears: SHUTDOWN TIMEOUT" in [t for _, t in instance.last_words]


async def test_after_a_crash_extensions_are_told_why(sandbox: Sandbox) -> None:
    async with _running(sandbox, "hears") as guest:
        instance = await guest.fork()
        ending = await send(instance, "exit")
        assert (ending.ended, ending.exit_code) == (Ended.EXITED, 7)
        await guest.wait_death(instance)
        assert b"hears: SHUTDOWN FAILURE" in [t for _, t in instance.last_words]


@pytest.mark.parametrize(
    ("name", "ended", "error_type"),
    [
        ("dies", Ended.INIT_FAILED, "Extension.Crash"),
        ("init-error", Ended.EXITED, "Extension.InitError"),
        ("silent", Ended.INIT_TIMED_OUT, ""),
    ],
)
async def test_an_extension_that_fails_at_first(
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    ended: Ended,
    error_type: str,
) -> None:
    if name == "silent":
        monkeypatch.setattr("sandlot_sandbox.host.invocation.INIT_S", 0.5)
    async with _running(sandbox, name) as guest:
        instance = await guest.fork()
        ending = await send(instance, "greet")
        assert (ending.ended, ending.error_type) == (ended, error_type)
        await guest.wait_death(instance)


@pytest.mark.parametrize(
    ("name", "error_type"),
    [("crashes", "Extension.Crash"), ("exit-error", "Extension.ExitError")],
)
async def test_an_extension_that_fails_later(
    sandbox: Sandbox, name: str, error_type: str
) -> None:
    async with _running(sandbox, name) as guest:
        instance = await guest.fork()
        ending = await send(instance, "greet")
        if ending.ended is Ended.ANSWERED:
            # It may be later than the answer.
            async with asyncio.timeout(WAIT_S):
                assert (await instance.wait_settled()).error_type == error_type
        else:
            assert (ending.ended, ending.error_type) == (Ended.EXITED, error_type)
        await guest.wait_death(instance)


async def test_what_is_no_program_is_no_extension_that_can_be_started(
    sandbox: Sandbox,
) -> None:
    opt = sandbox.store.add_opt(
        "no program", {"extensions/noise": "\x00\x01"}, runtime=PROVIDED
    )
    async with sandbox.running_program(PROVIDED, SHELL, opt=opt) as guest:
        ending = await send(await guest.fork(), "greet")
        assert ending.ended is Ended.INIT_FAILED
        assert ending.error_type == "Extension.LaunchError"


async def test_there_are_only_so_many_extensions(sandbox: Sandbox) -> None:
    async with _running(sandbox, *(f"number-{n}" for n in range(11))) as guest:
        ending = await send(await guest.fork(), "greet")
        assert ending.error_type == "Extension.TooManyExtensions"


INTERNAL = b"""#!/usr/bin/python3
import json, os, signal, sys, urllib.request
API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]

def call(path, body=None, **headers):
    request = urllib.request.Request(API + path, data=body)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    return urllib.request.urlopen(request)

def end(*_):
    print("asked to end", flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, end)
E = "/2020-01-01/extension/"
told = call(E + "register", b'{"events": []}', Lambda_Extension_Name="internal")
id = told.headers["Lambda-Extension-Identifier"]
import threading
# Who is thawed may have the signal in any thread that takes it, and only the main one
# would be woken from what it waits for.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
threading.Thread(
    target=lambda: call(E + "event/next", Lambda_Extension_Identifier=id), daemon=True
).start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
R = "/2018-06-01/runtime/invocation/"
while True:
    event = call(R + "next")
    call(R + event.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", b'"done"')
"""


async def test_a_program_with_an_internal_extension_is_asked_to_end(
    sandbox: Sandbox,
) -> None:
    async with sandbox.running_program(PROVIDED, {"bootstrap": INTERNAL}) as guest:
        instance = await guest.fork()
        assert await ask(instance, "greet") == "done"
        await _idle_and_frozen(instance)
        instance.stop()
        await guest.wait_death(instance)
        assert [text for _, text in instance.last_words] == [b"asked to end"]


async def _idle_and_frozen(instance: Instance) -> None:
    if instance.is_settling:
        await _settled(instance)
    async with asyncio.timeout(WAIT_S):
        while not instance.is_frozen:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0)


async def test_a_python_function_with_extensions_runs_beside_them(
    sandbox: Sandbox,
) -> None:
    opt = sandbox.store.add_opt("for python", {"extensions/hears": EXTENSION})
    async with sandbox.running(
        "counter", import_in_zygote=False, as_program=True, opt=opt
    ) as guest:
        instance = await guest.fork()
        first = await send(instance, "count")
        assert first.ended is Ended.ANSWERED, first
        if instance.is_settling:
            await _settled(instance)
        await _idle_and_frozen(instance)
        again = await send(instance, "count")
        assert (
            json.loads(again.payload)["count"] == json.loads(first.payload)["count"] + 1
        )
        instance.stop()
        await guest.wait_death(instance)
        assert b"hears: SHUTDOWN SPINDOWN" in [t for _, t in instance.last_words]


LISTENER = (PROGRAMS / "listener.py").read_text()


@pytest.mark.parametrize("name", ["http", "tcp", "logs"])
async def test_telemetry_reaches_who_subscribed(sandbox: Sandbox, name: str) -> None:
    opt = sandbox.store.add_opt(
        f"listener {name}", {f"extensions/{name}": LISTENER}, runtime=PROVIDED
    )
    async with sandbox.running_program(
        PROVIDED, SHELL, opt=opt, identity=IDENTITY
    ) as guest:
        instance = await guest.fork()
        ending = await send(instance, "greet")
        said = _said(ending)
        assert ending.ended is Ended.ANSWERED, said
        said += await _settled(instance)
        again = await send(instance, "again")
        said += [*_said(again), *(await _settled(instance))]
        instance.stop()
        await guest.wait_death(instance)
        said += [text.decode() for _, text in instance.last_words]

    heard = [
        json.loads(line.removeprefix("heard "))
        for line in said
        if line.startswith("heard ")
    ]
    platform = [e["type"] for e in heard if e["type"].startswith("platform.")]
    what = "logsSubscription" if name == "logs" else "telemetrySubscription"
    assert platform[:9] == [
        "platform.initStart",
        f"platform.{what}",
        "platform.extension",
        "platform.initRuntimeDone",
        "platform.initReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
        "platform.start",
    ]
    by_type = {event["type"]: event["record"] for event in reversed(heard)}
    assert by_type["platform.start"]["version"] == "7"
    assert by_type["platform.runtimeDone"]["status"] == "success"
    assert by_type["platform.report"]["metrics"]["initDurationMs"] > 0
    assert by_type["platform.extension"] == {
        "name": name,
        "state": "Ready",
        "events": ["INVOKE", "SHUTDOWN"],
    }
    functions = [e["record"] for e in heard if e["type"] == "function"]
    assert functions[0] == "call 1"
    # What it prints itself is no line of the function.
    assert not any(line.startswith("heard") for line in functions)


async def test_after_a_reset_the_init_is_within_the_invocation(
    sandbox: Sandbox,
) -> None:
    opt = sandbox.store.add_opt(
        "listener http", {"extensions/http": LISTENER}, runtime=PROVIDED
    )
    async with sandbox.running_program(
        PROVIDED, SHELL, opt=opt, identity=IDENTITY
    ) as guest:
        instance = await guest.fork()
        assert (await send(instance, "exit")).ended is Ended.EXITED
        await guest.wait_death(instance)
        instance = await guest.fork()
        ending = await send(instance, "greet")
        assert ending.init_is_within
        said = [*_said(ending), *(await _settled(instance))]
        again = await send(instance, "again")
        assert not again.init_is_within
        said += [*_said(again), *(await _settled(instance))]
        await instance.destroy()

    heard = [json.loads(line[6:]) for line in said if line.startswith("heard ")]
    records = {event["type"]: event["record"] for event in reversed(heard)}
    first, second, *_ = (event["type"] for event in heard)
    assert (first, second) == ("platform.start", "platform.initStart")
    assert records["platform.initStart"]["phase"] == "invoke"
    assert "initDurationMs" not in records["platform.report"]["metrics"]


INNER_LISTENER = (PROGRAMS / "inner_listener.py").read_bytes()


async def test_telemetry_reaches_an_internal_extension_alone(sandbox: Sandbox) -> None:
    async with sandbox.running_program(
        PROVIDED, {"bootstrap": INNER_LISTENER}, identity=IDENTITY
    ) as guest:
        instance = await guest.fork()
        ending = await send(instance, "greet")
        said = _said(ending)
        assert ending.ended is Ended.ANSWERED, said
        assert "subscribed 200 OK" in said
        said += await _settled(instance)
        again = await send(instance, "again")
        said += [*_said(again), *(await _settled(instance))]
        await instance.destroy()

    types = [
        json.loads(line.removeprefix("heard "))["type"]
        for line in said
        if line.startswith("heard ")
    ]
    assert types[:9] == [
        "platform.initStart",
        "platform.telemetrySubscription",
        "platform.extension",
        "platform.initRuntimeDone",
        "platform.initReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
        "platform.start",
    ]


async def test_a_courier_lives_and_dies_as_its_program_does(sandbox: Sandbox) -> None:
    async with sandbox.running_program(
        PROVIDED, {"bootstrap": INNER_LISTENER}, identity=IDENTITY
    ) as guest:
        before = set(descendants(sandbox.process.pid))
        instance = await guest.fork()
        ending = await send(instance, "greet")
        assert ending.ended is Ended.ANSWERED, _said(ending)
        await _idle_and_frozen(instance)
        # Reapers of cells are first in theirs.
        inside = {
            pid: facts
            for pid in set(descendants(sandbox.process.pid)) - before
            if (facts := kernel_facts(pid))["NSpid"].split()[-1] != "1"
        }
        assert len(inside) >= 2  # the program, the courier, what it may have under way
        confined = {tuple(facts[name] for name in _FACTS) for facts in inside.values()}
        assert len(confined) == 1
        *_, no_new_privileges, seccomp, capabilities = confined.pop()
        assert (no_new_privileges, seccomp) == ("1", "2")
        assert int(capabilities, 16) == 0
        await instance.destroy()
        await wait_gone(list(inside))


_FACTS = ("Uid", "Gid", "Groups", "CapBnd", "NoNewPrivs", "Seccomp", "CapEff")
