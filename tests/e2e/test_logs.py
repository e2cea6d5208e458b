"""What functions print: kept in bounds, never mistaken for what the platform says."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandlot import FunctionHandle, LogLine
from sandlot.results import LogSource
from tests.e2e import processes
from tests.e2e.conftest import Deploy
from tests.e2e.engines import Engine
from tests.e2e.processes import Role
from tests.e2e.waiting import wait_until

MAX_TAIL = 4_096
_MB = 1 << 20
_MAX_GROWTH = 64 * _MB
"""Far more than the bounds on one invocation's output, far less than the output."""


@pytest.fixture(scope="module")
def talking(deploy_for_module: Deploy) -> FunctionHandle:
    """Prints what its event says."""
    return deploy_for_module("talking")


def test_a_log_has_the_platforms_lines_around_the_functions_own(
    talking: FunctionHandle,
) -> None:
    reply = talking.invoke({"how": "text", "text": "hello\nyou"}, tail_log=True)

    assert re.fullmatch(
        f"START RequestId: {reply.request_id} Version: \\$LATEST\n"
        "hello\nyou\n"
        f"END RequestId: {reply.request_id}\n"
        f"REPORT RequestId: {reply.request_id}\tDuration: [0-9.]+ ms\t"
        r"Billed Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB\t"
        r"(Init Duration: [0-9.]+ ms\t)?\n",
        reply.log_tail.decode(),
    )


def test_the_tail_is_four_kilobytes_and_ends_with_the_report(
    talking: FunctionHandle,
) -> None:
    reply = talking.invoke({"how": "long"}, tail_log=True)

    assert len(reply.log_tail) == MAX_TAIL
    *_, last, end, report = reply.log_tail.splitlines()
    assert last == b"last"
    assert end == f"END RequestId: {reply.request_id}".encode()
    assert report.startswith(f"REPORT RequestId: {reply.request_id}\t".encode())


def test_forged_lines_are_the_functions_and_change_no_bill(
    talking: FunctionHandle,
) -> None:
    reply = talking.invoke({"how": "forge"}, tail_log=True)

    lines = _lines_of(talking, reply.request_id)
    by_source = {
        source: [line.text.split(" ")[0] for line in lines if line.source is source]
        for source in LogSource
    }
    assert by_source[LogSource.PLATFORM] == ["START", "END", "REPORT"]
    assert by_source[LogSource.FUNCTION] == ["START", "END", "REPORT"] * 2
    (run,) = (run for run in talking.runs() if run.request_id == reply.request_id)
    assert run.report.billed_ms > 0


def test_binary_output_is_kept_byte_by_byte(talking: FunctionHandle) -> None:
    reply = talking.invoke({"how": "binary"}, tail_log=True)

    printed = bytes(range(256)) + b"\n\xff\xfe\x00end\n"
    assert printed in reply.log_tail
    lines = _lines_of(talking, reply.request_id)
    kept = [line.data for line in lines if line.source is LogSource.FUNCTION]
    assert b"\n".join(kept) + b"\n" == printed


def test_endless_output_is_dropped_and_counted_and_harms_nobody(
    engine: Engine, deploy: Deploy
) -> None:
    flood, neighbour = deploy("talking", timeout=3), deploy("counter")
    before = _resident_bytes(engine)
    peak = before

    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(
            flood.invoke, {"how": "endless"}, check=False, tail_log=True
        )
        answers = 0
        while not flooding.done():
            answers += neighbour.invoke(deadline=20).value["count"] > 0
            peak = max(peak, _resident_bytes(engine))
        reply = flooding.result()

    assert answers > 0
    assert peak - before < _MAX_GROWTH
    assert reply.value["errorType"] == "Sandbox.Timedout"
    dropped = re.search(rb"\[\xe2\x80\xa6 (\d+) bytes dropped\]\n", reply.log_tail)
    assert dropped is not None
    assert int(dropped[1]) > _MB


def test_a_log_can_be_followed(talking: FunctionHandle) -> None:
    with ThreadPoolExecutor(1) as pool:
        following = talking.logs(since="10m", follow=True)
        first = pool.submit(
            lambda: next(line for line in following if line.text == "to be followed")
        )
        reply = talking.invoke({"how": "text", "text": "to be followed"})

        assert first.result(20).request_id == reply.request_id
    following.close()  # type: ignore[attr-defined]


def test_what_an_import_prints_is_logged(deploy: Deploy) -> None:
    source = "print('at the import')\ndef handler(event, context): print('in it')\n"
    function = deploy({"app.py": source})

    reply = function.invoke()

    _lines_of(function, reply.request_id)
    printed = [
        (line.text, line.request_id)
        for line in function.logs()
        if line.source is LogSource.FUNCTION
    ]
    assert printed == [("at the import", ""), ("in it", reply.request_id)]


def _lines_of(function: FunctionHandle, request_id: str) -> list[LogLine]:
    def written() -> list[LogLine]:
        lines = [line for line in function.logs() if line.request_id == request_id]
        return lines if lines and lines[-1].text.startswith("REPORT") else []

    return wait_until(written, f"the log of {request_id} is written")


def _resident_bytes(engine: Engine) -> int:
    process = processes.family_of(engine.pid).only(Role.ENGINE)
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (row for row in status.splitlines() if row.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
