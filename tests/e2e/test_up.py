"""Starting and stopping: readiness, drain, what is lost and what never is."""

import json
import os
import signal
import socket
import sqlite3
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from sandlot import Reply, errors
from tests.e2e import processes
from tests.e2e.bills import bill_of
from tests.e2e.conftest import Tenant, deploy_guest
from tests.e2e.engines import Engine, Mode, new_engine
from tests.e2e.waiting import DEADLINE_S, wait_until

_RUNNING = 3
_HURRIED_S = 12.0
"""Less than the supervisor's patience."""

_REFUSED = 78
"""EX_CONFIG of sysexits.h."""


def test_the_ready_line_says_where_to_connect_and_as_whom(engine: Engine) -> None:
    ready = engine.ready

    assert ready["pid"] == engine.pid
    assert ready["grpc"].startswith("127.0.0.1:")
    assert ready["credentials_file"] == str(engine.data / "operator.json")
    assert engine.client().status().mode == engine.mode


def test_a_second_engine_on_the_same_directory_is_refused(engine: Engine) -> None:
    status, said = engine.start_in_vain()

    assert status == _REFUSED
    assert f"another engine is running on {engine.data}" in said
    assert engine.client().status().mode == engine.mode


def test_what_lies_in_the_folder_it_is_started_in_is_none_of_its_own(
    mode: Mode,
) -> None:
    with new_engine(mode) as engine:
        engine.started_in = engine.data.parent
        for module in ("json", "asyncio", "grpc", "sandlot_sandbox"):
            file = engine.started_in / f"{module}.py"
            file.write_text("raise SystemExit('this is a stranger')")
            file.chmod(0o644)

        engine.start("--workers", "2")
        function = deploy_guest(engine.client(), "counter")
        reply = function.invoke()

        assert reply.function_error == ""
        assert "a stranger" not in engine.said


def test_a_certificate_that_is_none_is_told_by_its_file(mode: Mode) -> None:
    with new_engine(mode) as engine:
        file = f"{engine.data.parent}/none.pem"
        Path(file).write_text("none")
        Path(file).chmod(0o644)

        status, said = engine.start_in_vain(f"--tls-cert={file}", f"--tls-key={file}")

    assert status == _REFUSED
    error = json.loads(said.splitlines()[-1])["error"]
    assert error["message"].startswith(f"--tls-cert {file} and --tls-key {file} are no")


def test_an_address_that_is_taken_or_none_is_told_in_one_line(mode: Mode) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, new_engine(mode) as engine:
        port = taken.getsockname()[1]
        for option, why in (
            (f"--grpc=127.0.0.1:{port}", f"cannot serve gRPC on 127.0.0.1:{port}: "),
            (f"--http=127.0.0.1:{port}", f"cannot serve HTTP on 127.0.0.1:{port}: "),
            ("--grpc=127.0.0.1:99999", ""),
            ("--grpc=nonsense", ""),
            ("--grpc=0.0.0.0:0", ""),
        ):
            status, said = engine.start_in_vain(option)

            assert status == _REFUSED, option
            assert "Traceback" not in said
            error = json.loads(said.splitlines()[-1])["error"]
            assert error["kind"] == "Refused"
            assert error["message"].startswith(why)


def test_sigterm_lets_running_invocations_finish_and_loses_no_record(
    fresh_engine: Engine,
) -> None:
    client = fresh_engine.client()
    function = deploy_guest(client, "counter")
    told = [function.invoke(tail_log=True) for _ in range(5)]
    queued = [function.enqueue() for _ in range(5)]
    with ThreadPoolExecutor(_RUNNING) as pool:
        running = [
            # Longer than anybody needs to send the signal, and to see it matter.
            pool.submit(function.invoke, {"until": _in_seconds(2)}, tail_log=True)
            for _ in range(_RUNNING)
        ]
        wait_until(lambda: client.status().instances >= _RUNNING, "the invocations run")

        fresh_engine.terminate()

        told += [one.result(DEADLINE_S) for one in running]
    assert fresh_engine.wait() == 0
    fresh_engine.start()
    client = fresh_engine.client()
    for ticket in queued:
        client.wait_event(ticket.request_id, deadline=DEADLINE_S)
    runs = {run.request_id: run for run in client.runs(function.name)}
    assert runs.keys() == {
        *(reply.request_id for reply in told),
        *(ticket.request_id for ticket in queued),
    }
    (line,) = bill_of(client).lines
    assert line.invocations == len(runs)
    assert line.billed_ms == sum(
        runs[ticket.request_id].report.billed_ms for ticket in queued
    ) + sum(_billed_ms(reply) for reply in told)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_second_signal_cuts_short_what_runs_and_bills_it(
    mode: Mode, workers: int
) -> None:
    with new_engine(mode) as engine, ThreadPoolExecutor(1) as pool:
        engine.start("--workers", str(workers))
        client = engine.client()
        function = deploy_guest(client, "counter")
        if workers:
            function.invoke()  # the next one is warm, and a worker's
        running = pool.submit(function.invoke, {"until": _in_seconds(50)})
        wait_until(lambda: _running(engine), "the invocation runs")
        engine.terminate()
        wait_until(lambda: "draining" in engine.said, "it drains")

        engine.terminate()

        began = time.monotonic()
        assert engine.wait() == 0, engine.said
        assert time.monotonic() - began < _HURRIED_S, engine.said
        with pytest.raises(errors.SandlotError):
            running.result(DEADLINE_S)
        assert "asked again to stop" in engine.said
        engine.start()
        runs = [run.status for run in engine.client().runs(function.name)]
        assert runs == ["cancelled", *["ok"] * bool(workers)]


def _running(engine: Engine) -> bool:
    address = f"{engine.ready['http']}/metrics"
    with urllib.request.urlopen(address) as answer:  # noqa: S310
        return b"\nsandlot_running 1.0" in answer.read()


def test_the_bill_is_the_sum_of_the_report_lines(tenant: Tenant) -> None:
    client = tenant()
    small = deploy_guest(client, "counter", memory=128)
    large = deploy_guest(client, "counter", memory=512)

    billed = {
        function.name: [_billed_ms(function.invoke(tail_log=True)) for _ in range(10)]
        for function in (small, large)
    }

    bill = bill_of(client)
    assert {line.function: line.billed_ms for line in bill.lines} == {
        name: sum(all_ms) for name, all_ms in billed.items()
    }
    assert bill.total.billed_mb_ms == 128 * sum(billed[small.name]) + 512 * sum(
        billed[large.name]
    )
    assert bill.total.invocations == 20


def test_kill_9_loses_no_record_that_was_flushed(fresh_engine: Engine) -> None:
    client = fresh_engine.client()
    function = deploy_guest(client, "counter")
    flushed = {function.invoke().request_id for _ in range(10)}
    wait_until(
        lambda: _on_disk(fresh_engine) == len(flushed), "the records were flushed"
    )
    last = {function.invoke().request_id for _ in range(10)}
    family = processes.family_of(fresh_engine.pid)

    os.kill(family.only(processes.Role.ENGINE).pid, signal.SIGKILL)

    fresh_engine.wait()
    fresh_engine.start()
    client = fresh_engine.client()
    runs = list(client.runs(function.name))
    kept = {run.request_id for run in runs}
    assert flushed <= kept <= flushed | last
    assert bill_of(client).total.billed_mb_ms == sum(
        run.report.billed_mb_ms for run in runs
    )


def test_functions_tenants_and_keys_survive_a_restart(fresh_engine: Engine) -> None:
    key = fresh_engine.client().create_tenant("lasting")
    client = fresh_engine.client(
        access_key_id=key.access_key_id, secret_access_key=key.secret_access_key
    )
    function = deploy_guest(client, "counter", memory=256, env={"COLOUR": "blue"})
    before = function.config()

    assert fresh_engine.stop() == 0
    fresh_engine.start()

    client = fresh_engine.client(
        access_key_id=key.access_key_id, secret_access_key=key.secret_access_key
    )
    assert client.get_function(function.name) == before
    assert client.invoke(function.name).value["count"] == 1


def test_idle_instances_are_retired(unstarted_engine: Engine) -> None:
    unstarted_engine.start("--idle", "0.2")
    client = unstarted_engine.client()
    function = deploy_guest(client, "counter")

    first = function.invoke().value

    wait_until(lambda: client.status().instances == 0, "the instance is retired")
    assert client.status().zygotes == 1
    again = function.invoke().value
    assert again["count"] == 1
    assert again["instance"] != first["instance"]


def test_an_engine_that_is_not_there_is_a_failed_connection(
    fresh_engine: Engine,
) -> None:
    client = fresh_engine.client()
    assert fresh_engine.stop() == 0

    with pytest.raises(errors.ConnectionFailed, match="sandlot up"):
        client.status()


def _billed_ms(reply: Reply) -> int:
    """As the REPORT line has it."""
    fields = reply.log_tail.decode().splitlines()[-1].split("\t")
    (billed,) = (f for f in fields if f.startswith("Billed Duration: "))
    return int(billed.removeprefix("Billed Duration: ").removesuffix(" ms"))


def _in_seconds(seconds: float) -> float:
    return time.time() + seconds


def _on_disk(engine: Engine) -> int:
    with closing(sqlite3.connect(engine.data / "sandlot.db")) as database:
        (count,) = database.execute("SELECT count(*) FROM records").fetchone()
        return int(count)
