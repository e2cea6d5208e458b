"""The blocking client against a real gRPC server."""

import asyncio
import math
import socket
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from sandlot import AsyncClient, Client, errors
from sandlot.calls import MAX_EVENT, MAX_QUEUED_EVENT
from sandlot.config import Address, Where
from sandlot.failures import from_call
from sandlot.results import EventState, Network, Status, Tenant
from sandlot.v1 import events_pb2 as evt
from sandlot.v1 import functions_pb2
from sandlot.v1 import invocations_pb2 as inv
from tests.fakes.engine import OPERATOR, Engine, Failure, Refusal
from tests.fakes.server import Server


def test_an_invocation_sends_json_and_decodes_the_answer(
    client: Client, engine: Engine
) -> None:
    engine.add_function("hello", lambda event: {"greeting": f"Hello {event['name']}"})

    reply = client.invoke("hello", {"name": "Ada"})

    assert reply.value == {"greeting": "Hello Ada"}
    assert reply.status is Status.OK


def test_a_payload_goes_out_byte_for_byte(client: Client, engine: Engine) -> None:
    engine.add_function("hello")

    client.invoke("hello", payload=b'{ "a":1 }')

    assert engine.requests[-1].payload == b'{ "a":1 }'


def test_a_report_has_times_memory_and_an_exact_cost(
    client: Client, engine: Engine
) -> None:
    engine.add_function("hello")

    report = client.invoke("hello").report

    assert report is not None
    assert (report.wait_ms, report.init_ms, report.duration_ms) == (0.2, 3.1, 0.8)
    assert (report.billed_ms, report.billed_mb_ms, report.cold) == (4, 512, True)
    assert report.cost == Decimal("0.0002") / 1000 + Decimal("0.0000166667") / 2000


def test_the_key_goes_with_every_call(client: Client, engine: Engine) -> None:
    list(client.functions())

    assert engine.metadata[-1]["authorization"] == "Bearer " + ":".join(OPERATOR)


def test_an_operator_acts_for_another_tenant(server: Server) -> None:
    server.engine.add_function("theirs", tenant_id="000000000002")

    with Client(
        server.address,
        access_key_id=OPERATOR[0],
        secret_access_key=OPERATOR[1],
        tenant="000000000002",
    ) as client:
        assert [one.name for one in client.functions()] == ["theirs"]


@pytest.mark.parametrize(
    ("status", "type_", "expected"),
    [
        (inv.INVOCATION_STATUS_ERROR, "ValueError", errors.Unhandled),
        (inv.INVOCATION_STATUS_TIMEOUT, "Sandbox.Timedout", errors.TimedOut),
        (inv.INVOCATION_STATUS_CRASHED, "Runtime.ExitError", errors.Crashed),
        (inv.INVOCATION_STATUS_CRASHED, "Runtime.OutOfMemory", errors.OutOfMemory),
        (inv.INVOCATION_STATUS_CRASHED, "Runtime.SyscallDenied", errors.SyscallDenied),
        (
            inv.INVOCATION_STATUS_INIT_FAILED,
            "Runtime.ImportModuleError",
            errors.InitFailed,
        ),
        # A handler may call its own exception what it likes.
        (inv.INVOCATION_STATUS_ERROR, "OutOfMemory", errors.Unhandled),
    ],
)
def test_a_function_that_fails_raises_an_error_of_its_kind(
    client: Client,
    engine: Engine,
    status: inv.InvocationStatus,
    type_: str,
    expected: type[errors.FunctionError],
) -> None:
    def fail(event: object) -> None:
        raise Failure(type_, "what happened", status, ('File "x.py", line 1',))

    engine.add_function("broken", fail)

    with pytest.raises(errors.FunctionError) as failed:
        client.invoke("broken")

    assert type(failed.value) is expected
    assert (failed.value.type, failed.value.message) == (type_, "what happened")
    assert failed.value.stack_trace == ('File "x.py", line 1',)
    assert failed.value.request_id
    assert failed.value.report is not None


def test_without_check_a_failure_is_a_reply(client: Client, engine: Engine) -> None:
    def fail(event: object) -> None:
        raise Failure("ValueError", "no")

    engine.add_function("broken", fail)

    reply = client.invoke("broken", check=False)

    assert (reply.status, reply.function_error) == (Status.ERROR, "Unhandled")


def test_a_reply_that_is_no_error_object_still_makes_an_error() -> None:
    from sandlot import failures
    from sandlot.results import Reply

    reply = Reply(
        payload=b"\xff not json",
        report=None,
        log_tail=b"",
        request_id="r",
        executed_version="",
        status=Status.CRASHED,
        function_error="Unhandled",
    )

    assert "not json" in failures.from_reply(reply).message


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        ("INVALID_ARGUMENT", "InvalidParameter", errors.InvalidParameter),
        ("INVALID_ARGUMENT", "InvalidZip", errors.InvalidParameter),
        ("INVALID_ARGUMENT", "TooLarge", errors.PayloadTooLarge),
        ("UNAUTHENTICATED", "Unauthenticated", errors.Unauthenticated),
        ("PERMISSION_DENIED", "PermissionDenied", errors.PermissionDenied),
        ("NOT_FOUND", "NotFound", errors.NotFound),
        ("ALREADY_EXISTS", "AlreadyExists", errors.AlreadyExists),
        ("ABORTED", "Conflict", errors.Conflict),
        (
            "RESOURCE_EXHAUSTED",
            "ConcurrentInvocationLimitExceeded",
            errors.Throttled,
        ),
        ("FAILED_PRECONDITION", "QuotaExceeded", errors.QuotaExceeded),
        ("FAILED_PRECONDITION", "Refusal", errors.Refused),
        ("FAILED_PRECONDITION", "RecursiveInvocationException", errors.Refused),
        ("FAILED_PRECONDITION", "FunctionError.InitTimeout", errors.Refused),
        ("UNIMPLEMENTED", "NotSupported", errors.NotSupported),
        ("DEADLINE_EXCEEDED", "DeadlineExceeded", errors.DeadlineExceeded),
        ("INTERNAL", "Internal", errors.Internal),
        ("UNKNOWN", "SomethingNew", errors.Internal),
    ],
)
def test_what_the_engine_refuses_with_becomes_the_error_of_that_name(
    client: Client,
    engine: Engine,
    code: str,
    reason: str,
    expected: type[errors.SandlotError],
) -> None:
    engine.refuse_next.append(Refusal(grpc.StatusCode[code], reason, "no, because"))

    with pytest.raises(errors.SandlotError) as refused:
        client.dry_run("hello")

    assert type(refused.value) is expected
    assert (refused.value.reason, refused.value.message) == (reason, "no, because")
    assert isinstance(refused.value.__cause__, grpc.RpcError)


class NotSent(grpc.RpcError):
    """As gRPC has it where nothing of a call has left this machine."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return str(self)

    def trailing_metadata(self) -> tuple[()]:
        return ()


@pytest.mark.parametrize(
    "words",
    [
        "DNS resolution failed for engine.exmaple:9071: no such name",
        "errors resolving engine.exmaple:9071: [field:hostname lookup]",
    ],
    ids=["of old", "of 1.85"],
)
def test_of_a_name_that_nobody_knows_it_is_not_said_that_work_was_done(
    words: str,
) -> None:
    told = from_call(NotSent(words), address=Address(endpoint="engine.exmaple:9071"))

    assert type(told) is errors.ConnectionFailed
    assert told.message.startswith("no engine answers at engine.exmaple:9071: ")
    assert "how the name is written" in told.message
    assert "may have been done" not in told.message


def test_a_throttled_call_says_which_limit_and_when_to_come_back(
    client: Client, engine: Engine
) -> None:
    engine.refuse_next.append(
        Refusal(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "ConcurrentInvocationLimitExceeded",
            "tenant 'acme' already has 50 invocations running of 50 allowed",
            retry_after_s=0.25,
            facts={"limit": "50"},
            request_id="req-1",
        )
    )

    with pytest.raises(errors.Throttled) as refused:
        client.invoke("hello")

    assert (refused.value.limit, refused.value.retry_after) == (50, 0.25)
    assert refused.value.request_id == "req-1"


def test_a_wrong_secret_is_unauthenticated(server: Server) -> None:
    with (
        Client(
            server.address, access_key_id=OPERATOR[0], secret_access_key="wrong"
        ) as client,
        pytest.raises(errors.Unauthenticated),
    ):
        client.status()


def test_no_engine_is_a_failed_connection_that_says_how_to_start_one() -> None:
    with (
        Client("127.0.0.1:1", deadline=10) as client,
        pytest.raises(errors.ConnectionFailed, match="sandlot up"),
    ):
        client.invoke("hello")


def test_a_deadline_that_passes_is_not_a_grpc_error(
    client: Client, engine: Engine
) -> None:
    import threading

    let_go = threading.Event()
    engine.add_function("slow", lambda event: let_go.wait(30))

    with pytest.raises(errors.DeadlineExceeded):
        client.invoke("slow", deadline=0.2)
    let_go.set()


def test_lists_page_by_themselves(client: Client, engine: Engine) -> None:
    for name in "abcde":
        engine.add_function(name)

    assert [one.name for one in client.functions()] == list("abcde")


def test_an_event_is_queued_and_a_dry_run_is_not_run(
    client: Client, engine: Engine
) -> None:
    engine.add_function("hello")

    ticket = client.enqueue("hello", {"n": 1})
    client.dry_run("hello")

    assert ticket.request_id
    assert engine.records == []


def test_runs_and_the_bill_add_up(client: Client, engine: Engine) -> None:
    engine.add_function("hello")
    for _ in range(3):
        client.invoke("hello")

    runs = list(client.runs("hello"))
    bill = client.bill(since="1h")

    assert bill.total.billed_mb_ms == sum(run.report.billed_mb_ms for run in runs)
    assert bill.total.cost == sum(line.cost for line in bill.lines)
    assert bill.lines[0].invocations == 3


def test_logs_replay_what_was_printed(client: Client, engine: Engine) -> None:
    engine.add_function("hello")
    engine.log("hello", b"caf\xc3\xa9 \xff", request_id="r1")

    (line,) = client.function("hello").logs(since=datetime(2026, 1, 1, tzinfo=UTC))

    assert (line.text, line.data) == ("café \ufffd", b"caf\xc3\xa9 \xff")
    assert engine.requests[-1].since.ToDatetime() == datetime(2026, 1, 1)  # noqa: DTZ001  # protobuf's are naive


def test_tenants_and_keys_are_made_changed_and_taken_back(client: Client) -> None:
    made = client.create_tenant("acme", id="123456789012", concurrency=20)
    client.update_tenant("123456789012", concurrency=30)
    another = client.create_key("123456789012")
    client.import_key("FIXEDKEY000000001", "fixed-secret", tenant_id="123456789012")
    client.revoke_key(another.access_key_id)

    keys = {key.access_key_id for key in client.list_keys("123456789012")}
    (tenant,) = (t for t in client.list_tenants() if t.id == "123456789012")
    client.delete_tenant("123456789012")

    assert keys == {made.access_key_id, "FIXEDKEY000000001"}
    assert (tenant.name, tenant.concurrency) == ("acme", 30)
    assert "123456789012" not in {t.id for t in client.list_tenants()}
    assert made.secret_access_key not in repr(made)


def test_a_tenants_network_is_set_changed_and_emptied(client: Client) -> None:
    def tenant() -> Tenant:
        return next(t for t in client.list_tenants() if t.name == "acme")

    made = client.create_tenant("acme", network="egress", network_allow=["10.1.0.0/16"])
    at_first = tenant()
    client.update_tenant(made.tenant_id, concurrency=3)
    untouched = tenant()
    client.update_tenant(made.tenant_id, network=Network.HOST, network_allow=[])

    assert (at_first.network, at_first.network_allow) == ("egress", ("10.1.0.0/16",))
    assert (untouched.network, untouched.network_allow) == ("egress", ("10.1.0.0/16",))
    assert (tenant().network, tenant().network_allow) == ("host", ())


def test_who_shares_the_machines_network_is_in_the_status(
    client: Client, engine: Engine
) -> None:
    shared = engine.add_function("shared", tenant_id="000000000002")
    shared.config.network = functions_pb2.NETWORK_HOST
    engine.add_function("other")

    assert client.status().on_host_network == {"000000000002": 1}


def test_an_event_that_is_too_large_is_refused_before_it_is_sent(
    client: Client, engine: Engine
) -> None:
    engine.add_function("hello")

    client.invoke("hello", payload=b'"%s"' % (b"x" * (MAX_EVENT - 2)))
    with pytest.raises(errors.PayloadTooLarge, match="6,291,457 bytes of 6,291,456"):
        client.invoke("hello", payload=b"x" * (MAX_EVENT + 1))
    with pytest.raises(errors.PayloadTooLarge, match="1,048,577 bytes of 1,048,576"):
        client.enqueue("hello", payload=b"x" * (MAX_QUEUED_EVENT + 1))

    assert len(engine.requests) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", {1, 2}, object()])
def test_what_json_cannot_hold_is_refused_before_it_is_sent(
    client: Client, engine: Engine, value: object
) -> None:
    with pytest.raises(errors.UsageError, match="cannot be JSON"):
        client.invoke("hello", {"a": value})

    assert engine.requests == []


def test_a_name_may_bring_its_qualifier_along(client: Client, engine: Engine) -> None:
    engine.add_function("hello")

    client.invoke("hello:live")
    client.enqueue("hello:3", qualifier="3")
    list(client.map("hello:live", [1]))

    asked = [
        (one.function, one.qualifier)
        for one in engine.requests
        if isinstance(one, inv.InvokeRequest)
    ]
    assert asked == [("hello", "live"), ("hello", "3"), ("hello", "live")]


@pytest.mark.parametrize(
    ("name", "qualifier", "said"),
    [
        ("hello:live", "next", "say one of them"),
        ("arn:aws:lambda:us-east-1:000000000001:function:hello", "", "not its ARN"),
    ],
)
def test_two_qualifiers_and_arns_are_refused(
    client: Client, engine: Engine, name: str, qualifier: str, said: str
) -> None:
    with pytest.raises(errors.UsageError, match=said):
        client.invoke(name, qualifier=qualifier)
    with pytest.raises(errors.UsageError, match=said):
        client.get_function(name, qualifier=qualifier)

    assert engine.requests == []


def test_an_event_is_given_once(client: Client, engine: Engine) -> None:
    with pytest.raises(errors.UsageError, match="give one of them"):
        client.invoke("hello", {"a": 1}, payload=b"{}")

    assert engine.requests == []


FORKS = """
import os, sys
from sandlot import Client, errors
client = Client(sys.argv[1], access_key_id=sys.argv[2], secret_access_key=sys.argv[3])
if sys.argv[4:]:
    client.invoke("hello")
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
try:
    client.invoke("hello")
except errors.UsageError as error:
    os._exit(7 if "before this process was forked" in error.message else 1)
os._exit(0)
"""


@pytest.mark.parametrize(("used", "status"), [((), 0), (("used",), 7)])
def test_a_client_that_was_used_is_no_forks(
    server: Server, engine: Engine, used: tuple[str, ...], status: int
) -> None:
    engine.add_function("hello")
    command = (sys.executable, "-c", FORKS, server.address, *OPERATOR, *used)

    forked = subprocess.run(command, timeout=60, check=False)

    assert forked.returncode == status


@pytest.mark.parametrize("deadline", [0, -1, math.nan, math.inf, 1e300])
def test_a_deadline_that_is_none_is_refused(client: Client, deadline: float) -> None:
    with pytest.raises(errors.UsageError, match="more than 0, and at most"):
        client.invoke("hello", deadline=deadline)


async def test_a_blocking_client_in_a_running_loop_warns_once(
    client: Client, engine: Engine
) -> None:
    engine.add_function("hello")

    with pytest.warns(RuntimeWarning, match="AsyncClient") as caught:
        client.invoke("hello")

    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client.invoke("hello")
        await asyncio.to_thread(client.invoke, "hello")


def test_an_unknown_setting_is_a_mistake_of_the_caller(
    client: Client, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text("")

    with pytest.raises(TypeError, match="memroy"):
        client.deploy(tmp_path / "app.py", memroy=1)  # type: ignore[call-arg]  # the point


def an_event(server: Server, **fields: Any) -> evt.Event:
    event = evt.Event(request_id="e-1", function="hello", **fields)
    server.events.all.append(event)
    return event


def test_an_events_status_is_told(server: Server, client: Client) -> None:
    event = an_event(server, state=evt.EVENT_STATE_QUEUED, reason="boom", runs=1)
    event.next_attempt.FromSeconds(60)
    event.attempts.add(status="error", error_type="ValueError", error="boom")

    told = client.event("e-1")

    assert (told.state, told.is_over) == (EventState.QUEUED, False)
    assert told.next_attempt == datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    assert (told.ended, told.attempts[0].error_type) == (None, "ValueError")


def test_a_ticket_waits_until_its_event_is_over(
    server: Server, client: Client, engine: Engine
) -> None:
    engine.add_function("hello")
    ticket = client.function("hello").enqueue()
    an_event(server).request_id = ticket.request_id
    server.events.next_states = [
        evt.EVENT_STATE_QUEUED,
        evt.EVENT_STATE_RUNNING,
        evt.EVENT_STATE_FAILED,
    ]

    told = ticket.wait()

    assert told.state is EventState.FAILED
    assert engine.requests[-1].wait.seconds == 20
    assert ticket.status().is_over


def test_a_ticket_waits_no_longer_than_its_deadline(
    server: Server, client: Client
) -> None:
    an_event(server, state=evt.EVENT_STATE_QUEUED)

    with pytest.raises(errors.DeadlineExceeded):
        client.wait_event("e-1", deadline=0.2)


def test_events_are_listed_page_by_page_by_state(
    server: Server, client: Client
) -> None:
    for state in (evt.EVENT_STATE_DEAD, evt.EVENT_STATE_QUEUED, evt.EVENT_STATE_DEAD):
        an_event(server, state=state)

    everything = list(client.events())
    dead = list(client.events("hello", states=["dead"]))

    assert len(everything) == 3
    assert [event.state for event in dead] == [EventState.DEAD] * 2
    with pytest.raises(errors.UsageError):
        list(client.events(states=["buried"]))


def test_dead_events_are_redriven_and_purged_to_the_last(
    server: Server, client: Client
) -> None:
    server.events.batches = [(1_000, True), (7, False), (1_000, True), (1, False)]

    assert client.redrive_events() == 1_007
    assert client.purge_events("hello") == 1_001


def test_an_events_payload_is_bytes(server: Server, client: Client) -> None:
    an_event(server)

    assert client.event_payload("e-1") == b'{"n":1}'


def test_how_events_are_treated_is_said_and_taken_back(client: Client) -> None:
    said = client.put_event_settings("hello", qualifier="1", max_retries=0)
    more = client.put_event_settings("hello", qualifier="1", on_failure="other")
    client.delete_event_settings("hello", qualifier="1")

    assert (said.max_retries, said.max_age_s, said.on_failure) == (0, 21_600, "")
    assert (more.max_retries, more.on_failure) == (0, "other")
    assert client.get_event_settings("hello", qualifier="1").max_retries == 2


@pytest.mark.parametrize("name", ["http_proxy", "grpc_proxy"])
async def test_no_proxy_comes_between_a_client_and_this_machine(
    server: Server, engine: Engine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    engine.add_function("hello")
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        key, secret = OPERATOR

        where: Where = {"access_key_id": key, "secret_access_key": secret}
        with Client(server.address, **where, deadline=10) as client:
            found = await asyncio.to_thread(lambda: list(client.functions()))
        async with AsyncClient(server.address, **where, deadline=10) as aclient:
            also = [one async for one in aclient.functions()]

        proxy.settimeout(0)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert [one.name for one in found] == [one.name for one in also] == ["hello"]
