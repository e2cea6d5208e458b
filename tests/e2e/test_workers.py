"""`sandlot up --workers 2`: as one process, on more than one core.

Each test has connections enough that both workers have some of them.
"""

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandlot import Client, FunctionHandle, NewKey, Run, errors
from tests.e2e import processes
from tests.e2e.conftest import client_of, deploy_guest
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.processes import Role
from tests.e2e.waiting import DEADLINE_S, wait_until
from tests.fakes.zips import zip_of

WORKERS = 2
CONNECTIONS = 12
"""That all of them are one worker's happens once in two thousand times."""

ANSWERS = """
import os, sys, time

def handler(event, context):
    do = event.get("do")
    if do == "raise":
        raise ValueError("as asked")
    if do == "exit":
        os._exit(3)
    if do == "print":
        print("heard", event["word"])
    if do == "sleep":
        time.sleep(event["seconds"])
    if do == "eat":
        eaten = [bytearray(1 << 20) for _ in range(1 << 10)]
    return {"pid": os.getpid(), "version": VERSION, "event": event}
"""


@pytest.fixture(scope="module")
def engine(mode: Mode) -> Iterator[Engine]:
    """One with workers, for all tests that do it no harm."""
    with new_engine(mode) as engine:
        engine.start("--workers", str(WORKERS))
        yield engine
        family = processes.family_of(engine.pid)
        assert engine.stop() == 0, engine.said
        processes.wait_gone(family.members.values())


@pytest.fixture
def fresh(mode: Mode) -> Iterator[Engine]:
    """One of the test's own."""
    with new_engine(mode) as engine:
        engine.start("--workers", str(WORKERS))
        yield engine


@dataclass
class Tenant:
    """A tenant, and how it calls."""

    engine: Engine
    key: NewKey
    client: Client

    @contextmanager
    def connections(self, count: int = CONNECTIONS) -> Iterator[list["Connection"]]:
        """Each of its own, and so of one worker or of another."""
        port = int(self.engine.ready["http"].rpartition(":")[2])
        made = [Connection(port, self.key) for _ in range(count)]
        try:
            yield made
        finally:
            for connection in made:
                connection.close()

    def warm(
        self,
        function: FunctionHandle,
        callers: list["Connection"],
        *,
        event: Any = None,
        lent: int = WORKERS,
    ) -> None:
        """Until workers have been lent so many instances that they run things on."""

        def all_at_once() -> bool:
            with ThreadPoolExecutor(len(callers)) as pool:
                list(pool.map(lambda each: each.invoke(function.name, event), callers))
            return metric(self.engine, "instances_lent") >= lent

        wait_until(all_at_once, "instances are lent")


class Connection:
    """Signed requests over one connection."""

    def __init__(self, port: int, key: NewKey) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        self._port = port
        self._credentials = Credentials(key.access_key_id, key.secret_access_key)

    def invoke(self, name: str, event: Any = None, **headers: str) -> "Answer":
        path = f"/2015-03-31/functions/{name}/invocations"
        return self.send("POST", path, json.dumps(event or {}).encode(), **headers)

    def send(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> "Answer":
        url = f"http://127.0.0.1:{self._port}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest(method, url, data=body, headers=named)
        SigV4Auth(self._credentials, "lambda", "us-east-1").add_auth(request)
        self._http.request(method, path, body, dict(request.headers.items()))
        response = self._http.getresponse()
        data = response.read()
        return Answer(response.status, dict(response.getheaders()), data)

    def hang_up(self) -> None:
        """Although an answer is waited for."""
        self._http.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._http.close()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.headers.get("x-amzn-errortype", "")


def metric(engine: Engine, name: str) -> float:
    port = int(engine.ready["http"].rpartition(":")[2])
    http_client = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    http_client.request("GET", "/metrics")
    text = http_client.getresponse().read().decode()
    http_client.close()
    (line,) = (row for row in text.splitlines() if row.startswith(f"sandlot_{name} "))
    return float(line.split()[1])


def new_tenant(engine: Engine, name: str = "warm", **options: Any) -> Tenant:
    key = engine.client().create_tenant(name, **options)
    return Tenant(engine, key, client_of(engine, key))


@pytest.fixture
def tenant(engine: Engine) -> Tenant:
    return new_tenant(engine)


def deploy_answers(tenant: Tenant, version: int = 1, **options: Any) -> FunctionHandle:
    code = zip_of({"app.py": f"VERSION = {version}\n{ANSWERS}"})
    settings = {"handler": "app.handler", "timeout": 20, **options}
    return tenant.client.deploy(code, name="answers", **settings)


def runs_of(tenant: Tenant, function: FunctionHandle) -> list[Run]:
    """All of them: the bill has them written first."""
    tenant.client.bill()
    return list(function.runs())


def workers_of(engine: Engine) -> list[processes.Process]:
    return processes.family_of(engine.pid).of_role(Role.WORKER)


def instances_of(engine: Engine) -> set[tuple[int, int]]:
    family = processes.family_of(engine.pid)
    return {process.identity for process in family.of_role(Role.INSTANCE)}


STREAMS = """
import time

def handler(event, context):
    yield "one "
    time.sleep(1)
    if event.get("rawPath") == "/fail":
        raise ValueError("as asked")
    yield "two"
"""

# --- the same answers ---------------------------------------------------------------


def test_workers_answer_what_the_core_answers(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        first = callers[0].invoke(function.name, {"n": 1})
        tenant.warm(function, callers)
        # One worker may have been lent all of them: then the other asks for its own.
        for caller in callers:
            caller.invoke(function.name)
        before = metric(tenant.engine, "cold_starts_total")
        warm = [caller.invoke(function.name, {"n": 1}) for caller in callers]
        after = metric(tenant.engine, "cold_starts_total")

    assert {answer.status for answer in warm} == {200}
    assert {answer.headers["x-amz-executed-version"] for answer in warm} == {"$LATEST"}
    assert {answer.value["event"]["n"] for answer in warm} == {
        first.value["event"]["n"]
    }
    assert {frozenset(answer.headers) for answer in warm} == {frozenset(first.headers)}
    assert after == before


def test_grpc_is_served_by_workers_as_well(tenant: Tenant) -> None:
    function = deploy_answers(tenant)

    for n in range(20):
        reply = function.invoke({"n": n})
        assert reply.value["event"] == {"n": n}

    assert metric(tenant.engine, "instances_lent") >= 1
    assert len(runs_of(tenant, function)) == 20


@pytest.mark.parametrize(
    ("event", "status", "kind"),
    [
        ({"do": "raise"}, "error", "ValueError"),
        ({"do": "exit"}, "crashed", "Runtime.ExitError"),
        ({"do": "sleep", "seconds": 5}, "timeout", "Sandbox.Timedout"),
        ({"do": "eat"}, "crashed", "Runtime.OutOfMemory"),
    ],
    ids=["raises", "exits", "times out", "eats"],
)
def test_what_fails_on_a_lent_instance_is_told_as_it_is(
    tenant: Tenant, event: dict[str, Any], status: str, kind: str
) -> None:
    function = deploy_answers(tenant, timeout=1)
    with tenant.connections(1) as (caller,):
        tenant_warm(tenant, function, caller)
        failed = caller.invoke(function.name, event)
        again = caller.invoke(function.name)

    assert failed.status == 200
    assert failed.headers["x-amz-function-error"] == "Unhandled"
    assert again.status == 200
    run = next(run for run in runs_of(tenant, function) if str(run.status) != "ok")
    if kind != "Runtime.OutOfMemory" or run.error_type == kind:
        assert (str(run.status), run.error_type) == (status, kind)
    else:
        assert run.error_type in ("MemoryError", "Runtime.ExitError")


RESETS = """
import os

count = 0

def handler(event, context):
    global count
    count += 1
    with open("/tmp/lines", "a") as file:
        file.write("x")
    if event.get("do") == "exit":
        os._exit(3)
    while event.get("do") == "hang":
        pass
    return {"count": count, "lines": os.path.getsize("/tmp/lines")}
"""


@pytest.mark.parametrize("do", ["exit", "hang"])
def test_after_a_reset_of_a_lent_instance_its_tmp_is_there(
    tenant: Tenant, do: str
) -> None:
    code = zip_of({"app.py": RESETS})
    function = tenant.client.deploy(
        code, name="resets", handler="app.handler", timeout=1
    )
    nothing = "nothing is lent of other tests' functions"
    wait_until(lambda: metric(tenant.engine, "instances_lent") == 0, nothing)
    with tenant.connections(1) as (caller,):
        tenant_warm(tenant, function, caller)
        # One caller after the other has one instance, and that is lent now.
        before = caller.invoke(function.name).value
        assert metric(tenant.engine, "instances_lent") >= 1
        failed = caller.invoke(function.name, {"do": do})
        after = caller.invoke(function.name).value

    assert failed.headers["x-amz-function-error"] == "Unhandled"
    assert before["count"] == before["lines"] > 1
    assert after == {"count": 1, "lines": before["lines"] + 2}


def tenant_warm(tenant: Tenant, function: FunctionHandle, caller: Connection) -> None:
    def is_warm() -> bool:
        caller.invoke(function.name)
        return metric(tenant.engine, "instances_lent") >= 1

    wait_until(is_warm, "an instance is lent")


def test_logs_of_lent_instances_are_whole(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections(4) as callers:
        tenant.warm(function, [*callers])
        for number, caller in enumerate(callers):
            answer = caller.invoke(
                function.name,
                {"do": "print", "word": f"word-{number}"},
                x_amz_log_type="Tail",
            )
            assert "x-amz-log-result" in answer.headers

    def heard() -> int:
        text = "\n".join(line.text for line in function.logs())
        return text.count("heard word-")

    wait_until(lambda: heard() == 4, "all is in the log")


def test_what_a_worker_does_not_have_is_answered_by_the_core(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        listed = [caller.send("GET", "/2015-03-31/functions/") for caller in callers]
        missing = [caller.invoke("nowhere") for caller in callers]
        dry = callers[0].invoke(function.name, x_amz_invocation_type="DryRun")
        large = callers[0].invoke(function.name, {"a": "x" * 3_000_000})
        too_large = callers[0].invoke(function.name, {"a": "x" * 7_000_000})

    names = {
        tuple(f["FunctionName"] for f in each.value["Functions"]) for each in listed
    }
    assert names == {(function.name,)}
    assert {answer.error for answer in missing} == {"ResourceNotFoundException"}
    assert dry.status == 204
    assert large.status == 200
    assert len(large.value["event"]["a"]) == 3_000_000
    assert too_large.status == 413


# --- what changes -------------------------------------------------------------------


def test_new_code_answers_as_soon_as_it_is_said_to(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        for version in range(2, 6):
            tenant.warm(function, callers)
            deploy_answers(tenant, version)
            seen = {caller.invoke(function.name).value["version"] for caller in callers}
            assert seen == {version}


def test_a_deleted_function_is_gone_at_once(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        tenant.warm(function, callers)
        function.delete()
        errors_ = {caller.invoke(function.name).error for caller in callers}

    assert errors_ == {"ResourceNotFoundException"}


def test_a_revoked_key_is_of_no_use_when_the_call_returns(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    key = tenant.client.create_key()
    other = Tenant(tenant.engine, key, tenant.client)
    with other.connections() as callers:
        other.warm(function, callers)
        tenant.client.revoke_key(key.access_key_id)
        answers = [caller.invoke(function.name) for caller in callers]

    assert {answer.error for answer in answers} == {"UnrecognizedClientException"}


# --- limits and bills ---------------------------------------------------------------


def test_concurrency_is_held_over_all_workers(engine: Engine) -> None:
    tenant = new_tenant(engine, concurrency=3)
    function = deploy_guest(tenant.client, "counter")
    with tenant.connections() as callers:
        for _ in range(3):
            # Places that are lent and not used are others' to have.
            for caller in callers:
                assert caller.invoke(function.name).status == 200
            until = time.time() + 1.5

            def hold(caller: Connection, until: float = until) -> Answer:
                return caller.invoke(function.name, {"until": until})

            with ThreadPoolExecutor(len(callers)) as pool:
                answers = list(pool.map(hold, callers))
            statuses = Counter(answer.status for answer in answers)
            assert statuses == {200: 3, 429: len(callers) - 3}


def test_a_lowered_limit_holds_for_what_is_lent(engine: Engine) -> None:
    tenant = new_tenant(engine, concurrency=6)
    function = deploy_guest(tenant.client, "counter")
    with tenant.connections() as callers:
        tenant.warm(function, callers[:6])
        engine.client().update_tenant(tenant.key.tenant_id, concurrency=1)
        until = time.time() + 1.5
        with ThreadPoolExecutor(len(callers)) as pool:
            answers = list(
                pool.map(lambda c: c.invoke(function.name, {"until": until}), callers)
            )

    assert Counter(a.status for a in answers) == {200: 1, 429: len(callers) - 1}


def test_every_invocation_is_billed_once(tenant: Tenant) -> None:
    function = deploy_guest(tenant.client, "counter")
    each = 40
    with tenant.connections() as callers:

        def load(caller: Connection) -> int:
            answers = [caller.invoke(function.name) for _ in range(each)]
            return sum(answer.status == 200 for answer in answers)

        with ThreadPoolExecutor(len(callers)) as pool:
            answered = sum(pool.map(load, callers))
        # At once: what was answered is on the bill.
        (line,) = tenant.client.bill().lines

    runs = runs_of(tenant, function)
    assert answered == each * CONNECTIONS
    assert line.invocations == answered == len({run.request_id for run in runs})
    assert line.billed_ms == sum(run.report.billed_ms for run in runs)


def test_a_caller_who_leaves_is_billed_and_its_instance_is_gone(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections(1) as (caller,):
        tenant.warm(function, [caller], lent=1)
        known = len(runs_of(tenant, function))
        with ThreadPoolExecutor(1) as pool:
            event = {"do": "sleep", "seconds": 15}
            held = pool.submit(caller.invoke, function.name, event)
            wait_until(lambda: metric(tenant.engine, "running") >= 1, "it runs")
            caller.hang_up()
            assert _end_of(held) == "lost"
        wait_until(lambda: metric(tenant.engine, "running") == 0, "it was stopped")

    runs = runs_of(tenant, function)
    assert len(runs) == known + 1
    assert runs[0].error_type == "Sandbox.Cancelled"


# --- deaths -------------------------------------------------------------------------


def test_a_killed_worker_is_replaced_and_what_it_ran_is_billed(fresh: Engine) -> None:
    tenant = new_tenant(fresh)
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        # Long enough that each has an instance of its own.
        nap = {"do": "sleep", "seconds": 0.3}
        tenant.warm(function, callers, event=nap, lent=CONNECTIONS)
        before = {process.pid for process in workers_of(fresh)}
        known = len(runs_of(tenant, function))
        sleep = {"do": "sleep", "seconds": 8}
        with ThreadPoolExecutor(len(callers)) as pool:
            held = [pool.submit(c.invoke, function.name, sleep) for c in callers]
            wait_until(
                lambda: metric(fresh, "running") >= CONNECTIONS, "all of them run"
            )
            victim, lived = min(before), instances_of(fresh)
            os.kill(victim, signal.SIGKILL)
            wait_until(
                lambda: len({p.pid for p in workers_of(fresh)} - {victim}) == WORKERS,
                "there is another worker",
            )
            ends = [_end_of(future) for future in held]
    lost = ends.count("lost")

    assert 0 < lost < CONNECTIONS
    assert ends.count("200") == CONNECTIONS - lost
    runs = runs_of(tenant, function)
    assert len(runs) == known + CONNECTIONS
    cut = [run for run in runs if run.error_type == "Sandbox.Cancelled"]
    assert len(cut) == lost
    assert metric(fresh, "worker_restarts_total") == 1
    wait_until(
        lambda: len(lived - instances_of(fresh)) >= lost, "what it ran on is dead"
    )
    with tenant.connections() as callers:
        assert {caller.invoke(function.name).status for caller in callers} == {200}


def _end_of(future: Any) -> str:
    try:
        return str(future.result(DEADLINE_S).status)
    except (http.client.HTTPException, OSError):
        return "lost"


def test_events_that_were_taken_run_though_workers_are_killed(fresh: Engine) -> None:
    tenant = new_tenant(fresh)
    function = deploy_guest(tenant.client, "counter")
    taken = 0
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.5):
            found = workers_of(fresh)
            if len(found) == WORKERS:
                os.kill(found[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        for _ in range(60):
            with tenant.connections(1) as (caller,):
                try:
                    answer = caller.invoke(
                        function.name, {}, x_amz_invocation_type="Event"
                    )
                except (http.client.HTTPException, OSError):
                    continue
                taken += answer.status == 202
    finally:
        stop.set()
        killer.join()

    assert taken > 0
    wait_until(
        lambda: len(runs_of(tenant, function)) >= taken, "all that was taken has run"
    )


def test_workers_die_with_the_core(fresh: Engine) -> None:
    workers = workers_of(fresh)
    assert len(workers) == WORKERS
    core = processes.family_of(fresh.pid).only(Role.ENGINE)

    os.kill(core.pid, signal.SIGKILL)

    processes.wait_gone(workers)
    fresh.start("--workers", str(WORKERS))
    assert len(workers_of(fresh)) == WORKERS


def test_streams_end_when_the_engine_stops(fresh: Engine) -> None:
    tenant = new_tenant(fresh)
    function = deploy_answers(tenant)
    function.invoke()
    lines = function.logs(follow=True)
    next(lines)

    fresh.terminate()

    with pytest.raises(errors.SandlotError):
        list(lines)
    assert fresh.wait() == 0, fresh.said


def test_workers_finish_what_they_run_when_the_engine_stops(fresh: Engine) -> None:
    tenant = new_tenant(fresh)
    function = deploy_answers(tenant)
    with tenant.connections(4) as callers:
        tenant.warm(function, callers)
        sleep = {"do": "sleep", "seconds": 2}
        with ThreadPoolExecutor(len(callers)) as pool:
            held = [pool.submit(c.invoke, function.name, sleep) for c in callers]
            wait_until(lambda: metric(fresh, "running") >= 4, "all of them run")
            fresh.terminate()
            assert {future.result(DEADLINE_S).status for future in held} == {200}
    assert fresh.wait() == 0, fresh.said

    fresh.start()
    (line,) = client_of(fresh, tenant.key).bill().lines
    assert line.invocations >= 8


def test_a_worker_can_gain_nothing_and_shows_itself_to_nobody(engine: Engine) -> None:
    core = processes.family_of(engine.pid).only(Role.ENGINE)
    for worker in workers_of(engine):
        status = _status(worker.pid)
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == 0
        assert status["Uid"] == _status(core.pid)["Uid"]
        assert worker.parent == core.pid
        assert Path(f"/proc/{worker.pid}/environ").stat().st_uid == 0


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines)
    return {name: value.strip() for name, value in pairs}


def test_a_taken_port_is_refused(engine: Engine, mode: Mode) -> None:
    taken = engine.ready["http"].removeprefix("http://")
    with new_engine(mode) as second:
        status, said = second.start_in_vain("--workers", "2", "--http", taken)

    assert status != 0
    assert "cannot serve HTTP" in said


def test_one_worker_is_none(fresh: Engine) -> None:
    fresh.stop()
    fresh.start("--workers", "1")

    assert workers_of(fresh) == []
    tenant = new_tenant(fresh)
    assert deploy_answers(tenant).invoke().value["version"] == 1


def test_an_operator_speaks_for_a_tenant_through_workers(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    operator = tenant.engine.client(tenant=tenant.key.tenant_id)

    assert operator.invoke(function.name).value["version"] == 1
    with pytest.raises(errors.NotFound):
        tenant.engine.client(tenant="999999999999").invoke(function.name)


# --- what is the core's alone -------------------------------------------------------


def test_a_request_with_a_key_is_run_once_by_the_core(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        tenant.warm(function, callers)
        before = len(runs_of(tenant, function))
        answers = [
            caller.invoke(function.name, {"n": 1}, idempotency_key="k")
            for caller in callers
        ]
    replies = [function.invoke({"n": 2}, idempotency_key="g") for _ in range(6)]

    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == (
        CONNECTIONS - 1
    )
    assert [reply.replayed for reply in replies] == [False] + [True] * 5
    assert len(runs_of(tenant, function)) == before + 2


@pytest.fixture
def streams(tenant: Tenant) -> FunctionHandle:
    code = zip_of({"app.py": STREAMS})
    return tenant.client.deploy(code, name="streams", handler="app.handler")


def test_pieces_come_through_workers_as_they_are_said(streams: FunctionHandle) -> None:
    pieces = streams.stream({})
    assert next(pieces) == b"one "
    first = time.monotonic()
    assert list(pieces) == [b"two"]
    # The function itself waits a second between the two.
    assert time.monotonic() - first >= 0.9


@pytest.mark.parametrize("by_host", [False, True])
def test_function_urls_are_the_core_s(
    tenant: Tenant, streams: FunctionHandle, by_host: bool
) -> None:
    address = streams.put_url(auth="none", stream=True).url
    port = int(tenant.engine.ready["http"].rpartition(":")[2])
    url_id = address.rstrip("/").rpartition("/")[2]
    host = f"{url_id}.lambda-url.us-east-1.localhost"
    # Under a host of that form, a path of AWS's is the function's, too.
    path = "/2015-03-31/functions/f/invocations" if by_host else f"/url/{url_id}/x"
    http_client = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    http_client.request("POST", path, b"{}", {"host": host} if by_host else {})
    response = http_client.getresponse()
    first = response.read(4)
    heard = time.monotonic()

    assert (response.status, first, response.read()) == (200, b"one ", b"two")
    assert time.monotonic() - heard >= 0.9
    assert address.startswith(f"http://127.0.0.1:{port}/url/")
    http_client.close()


def test_what_the_core_cuts_is_cut(tenant: Tenant, streams: FunctionHandle) -> None:
    address = streams.put_url(auth="none", stream=True).url
    port = int(tenant.engine.ready["http"].rpartition(":")[2])
    http_client = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    http_client.request("GET", f"{address.partition(f':{port}')[2]}fail")
    response = http_client.getresponse()

    assert response.read(4) == b"one "
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    http_client.close()
