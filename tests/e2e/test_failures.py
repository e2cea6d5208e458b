"""A function that fails: what its caller is told, in AWS's words, and then."""

import json
import re
import signal

import pytest

from sandlot import Client, FunctionHandle, Status, errors
from tests.e2e.conftest import Deploy
from tests.e2e.waiting import wait_until

MAX_EVENT = 6_291_456
MAX_ANSWER = 6_291_556

CRASHES = {
    "sys.exit(0)": (
        {"how": "exit", "status": 0},
        "Runtime exited without providing a reason",
    ),
    "sys.exit(3)": (
        {"how": "exit", "status": 3},
        "Runtime exited with error: exit status 3",
    ),
    "os._exit(127)": (
        {"how": "_exit", "status": 127},
        "Runtime exited with error: exit status 127",
    ),
    "SIGKILL": (
        {"how": "signal", "number": signal.SIGKILL},
        "Runtime exited with error: signal: killed",
    ),
    "a segmentation fault": (
        {"how": "segfault"},
        "Runtime exited with error: signal: segmentation fault",
    ),
    "abort()": ({"how": "abort"}, "Runtime exited with error: signal: aborted"),
}


@pytest.fixture(scope="module")
def failing(deploy_for_module: Deploy) -> FunctionHandle:
    """Does what its event says."""
    return deploy_for_module("failing", timeout=30)


def test_an_exception_is_told_with_type_message_and_trace(
    failing: FunctionHandle,
) -> None:
    reply = failing.invoke({"how": "raise"}, check=False, tail_log=True)

    told = reply.value
    assert list(told) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert told["errorMessage"] == "Handler fails"
    assert told["errorType"] == "CustomError"
    assert told["requestId"] == reply.request_id
    assert re.fullmatch(
        r'  File "/var/task/failing.py", line \d+, in handler\n'
        r'    raise CustomError\("Handler fails"\)\n',
        "".join(told["stackTrace"]),
    )
    assert reply.function_error == "Unhandled"
    assert b"[ERROR] CustomError: Handler fails\rTraceback" in reply.log_tail


def test_an_exception_ends_no_instance(failing: FunctionHandle) -> None:
    with pytest.raises(errors.Unhandled, match="CustomError: Handler fails"):
        failing.invoke({"how": "raise"})

    report = failing.invoke({"how": "nothing"}).report
    assert report is not None
    assert not report.cold


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_is_told_and_the_next_call_runs_on_a_new_instance(
    failing: FunctionHandle, crash: str
) -> None:
    event, why = CRASHES[crash]

    reply = failing.invoke(event, check=False, tail_log=True)

    assert reply.value == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {reply.request_id} Error: {why}",
    }
    assert reply.status is Status.CRASHED
    assert reply.log_tail.endswith(
        b"\tStatus: error\tError Type: Runtime.ExitError\t\n"
    )
    end = f"RequestId: {reply.request_id} Error: {why}\nEND RequestId: "
    assert end.encode() in reply.log_tail
    assert reply.report is not None
    assert reply.report.max_memory_mb > 1, "what was known when it was ready"
    report = failing.invoke({"how": "nothing"}).report
    assert report is not None
    assert report.cold


@pytest.mark.parametrize("how", ["sleep", "spin"])
def test_a_timeout_is_told_and_billed_and_the_next_call_works(
    deploy: Deploy, how: str
) -> None:
    function = deploy("failing", timeout=1)

    reply = function.invoke({"how": how}, check=False, tail_log=True)

    assert reply.value == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": (
            f"RequestId: {reply.request_id} Error: Task timed out after 1.00 seconds"
        ),
    }
    assert reply.report is not None
    assert reply.report.duration_ms == 1000
    assert reply.report.max_memory_mb > 1
    assert reply.log_tail.endswith(b"\tStatus: timeout\t\n")
    assert function.invoke({"how": "nothing"}).value == {"size": 0}


def test_an_answer_that_is_no_json_is_a_marshal_error(failing: FunctionHandle) -> None:
    told = failing.invoke({"how": "unserialisable"}, check=False).value

    assert told["errorType"] == "Runtime.MarshalError"
    assert told["errorMessage"].startswith("Unable to marshal response: ")


@pytest.mark.parametrize("size", [MAX_EVENT, MAX_ANSWER])
def test_an_answer_of_six_megabytes_passes(failing: FunctionHandle, size: int) -> None:
    reply = failing.invoke({"how": "answer", "size": size})

    assert len(reply.payload) == size


def test_an_answer_over_six_megabytes_is_refused(failing: FunctionHandle) -> None:
    event = {"how": "answer", "size": MAX_ANSWER + 1}

    reply = failing.invoke(event, check=False)

    assert reply.value == {
        "errorMessage": (
            "Response payload size exceeded maximum allowed payload size "
            "(6291556 bytes)."
        ),
        "errorType": "Function.ResponseSizeTooLarge",
    }
    assert reply.function_error == "Unhandled"


def test_an_event_of_six_megabytes_passes(failing: FunctionHandle) -> None:
    event = _event_of(MAX_EVENT)

    reply = failing.invoke(payload=event)

    assert reply.value == {"size": len(json.loads(event)["filler"])}


def test_an_event_over_six_megabytes_is_refused(failing: FunctionHandle) -> None:
    with pytest.raises(errors.PayloadTooLarge, match="6,291,457 bytes of 6,291,456"):
        failing.invoke(payload=_event_of(MAX_EVENT + 1))


@pytest.mark.parametrize("payload", [b"{", b"nope", b"\xff\xfe", b'{"a": 1} x'])
def test_an_event_that_is_no_json_is_refused(
    failing: FunctionHandle, payload: bytes
) -> None:
    with pytest.raises(errors.InvalidParameter, match="Could not parse") as caught:
        failing.invoke(payload=payload)

    assert caught.value.reason == "InvalidRequestContent"


def test_an_event_for_the_queue_is_at_most_a_megabyte(failing: FunctionHandle) -> None:
    with pytest.raises(errors.PayloadTooLarge):
        failing.enqueue(payload=_event_of(1_048_577))

    ticket = failing.enqueue(payload=_event_of(1_048_576))
    assert ticket.wait(deadline=30).size == 1_048_576


INITS = {
    "a module that is not there": (
        "import no_such_module\n",
        "app.handler",
        "Runtime.ImportModuleError",
        "Unable to import module 'app': No module named 'no_such_module'",
    ),
    "a handler that is not there": (
        "def other(event, context): pass\n",
        "app.handler",
        "Runtime.HandlerNotFound",
        "Handler 'handler' missing on module 'app'",
    ),
    "a syntax error": (
        "def handler(event, context)\n    pass\n",
        "app.handler",
        "Runtime.UserCodeSyntaxError",
        "Syntax error in module 'app': expected ':' (app.py, line 1)",
    ),
    "a handler without a dot": (
        "def handler(event, context): pass\n",
        "handler",
        "Runtime.MalformedHandlerName",
        "Bad handler 'handler': not enough values to unpack (expected 2, got 1)",
    ),
    "an exception at the import": (
        "raise LookupError('at import')\n",
        "app.handler",
        "LookupError",
        "at import",
    ),
}


@pytest.mark.parametrize("case", INITS)
def test_an_import_that_fails_is_told_to_each_caller(deploy: Deploy, case: str) -> None:
    source, handler, error_type, message = INITS[case]
    function = deploy({"app.py": source}, handler=handler)

    for _ in range(2):
        reply = function.invoke(check=False, tail_log=True)
        assert reply.value["errorType"] == error_type
        assert reply.value["errorMessage"] == message
        assert reply.value["requestId"] == ""
        assert reply.status is Status.INIT_FAILED
        assert b"INIT_REPORT Init Duration: " in reply.log_tail


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import sys; sys.exit(3)", "exit status 3"),
        ("import os; os._exit(4)", "exit status 4"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal: killed"),
    ],
    ids=["sys.exit(3)", "os._exit(4)", "SIGKILL"],
)
def test_an_import_that_ends_the_process_is_a_crash(
    deploy: Deploy, source: str, why: str
) -> None:
    function = deploy({"app.py": source})

    for _ in range(2):
        with pytest.raises(errors.Crashed, match=f"{re.escape(why)}$") as caught:
            function.invoke()
        assert caught.value.type == "Runtime.ExitError"
    tail = function.invoke(check=False, tail_log=True).log_tail
    assert tail.startswith(b"INIT_REPORT Init Duration: ")


def test_a_dry_run_runs_nothing(client: Client, deploy: Deploy) -> None:
    function = deploy("counter")

    client.dry_run(function.name)

    assert function.invoke().value["count"] == 1
    with pytest.raises(errors.NotFound):
        client.dry_run("no-such-function")


def test_a_queued_event_runs_by_itself(deploy: Deploy) -> None:
    function = deploy("counter")

    queued = function.enqueue({})

    (run,) = wait_until(lambda: list(function.runs()), "the event ran")
    assert run.request_id == queued.request_id
    assert run.status is Status.OK


def _event_of(size: int) -> bytes:
    frame = b'{"how":"nothing","filler":"%s"}'
    return frame % (b"x" * (size - len(frame % b"")))
