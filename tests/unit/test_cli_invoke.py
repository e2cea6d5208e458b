"""`sandlot invoke`: the answer on stdout, one line about it on stderr."""

import json
import re
import threading
from pathlib import Path

import grpc
import pytest

from sandlot.calls import MAX_EVENT
from sandlot.v1 import invocations_pb2 as inv
from tests.fakes.engine import Engine, Failure, Refusal, Verbatim
from tests.fakes.server import Server
from tests.unit.conftest import Cli


def fail(event: object) -> None:
    raise Failure("ValueError", "no such thing")


def test_the_answer_is_on_stdout_and_its_report_on_stderr(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("hello")

    done = cli("invoke", "hello", '{"name": "Ada"}')

    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"name": "Ada"}
    assert re.fullmatch(
        r"  req [0-9a-f]{8}…  cold  wait 0\.2 · init 3\.1 · run 0\.8 ms   "
        r"billed 4 ms   mem 19/128 MB   \$0\.000000208\n",
        done.stderr,
    )


def test_quiet_leaves_only_the_answer(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    assert cli("invoke", "hello", "-q").stderr == ""


def test_the_event_may_come_from_a_file_or_from_stdin(
    cli: Cli, engine: Engine, tmp_path: Path
) -> None:
    engine.add_function("echo")
    (tmp_path / "event.json").write_text('{"from": "file"}')

    from_file = cli("invoke", "echo", "-e", str(tmp_path / "event.json"))
    from_stdin = cli("invoke", "echo", "-", stdin='{"from": "stdin"}')

    assert json.loads(from_file.stdout) == {"from": "file"}
    assert json.loads(from_stdin.stdout) == {"from": "stdin"}


def test_an_event_that_is_not_json_is_a_usage_error_and_costs_nothing(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("echo")

    done = cli("invoke", "echo", "{name: Ada}")

    assert done.exit_code == 2
    assert "not JSON" in done.stderr
    assert engine.requests == []


def test_a_function_that_fails_exits_1_with_its_error_object_on_stdout(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("broken", fail)

    done = cli("invoke", "broken")

    assert done.exit_code == 1
    assert json.loads(done.stdout)["errorType"] == "ValueError"
    assert "Unhandled: ValueError: no such thing" in done.stderr
    assert "sandlot logs" in done.stderr


@pytest.mark.parametrize(
    ("status", "type_", "hint"),
    [
        (inv.INVOCATION_STATUS_ERROR, "ValueError", "sandlot logs broken"),
        (
            inv.INVOCATION_STATUS_TIMEOUT,
            "Sandbox.Timedout",
            "sandlot fn config broken --timeout SECONDS",
        ),
        (
            inv.INVOCATION_STATUS_CRASHED,
            "Runtime.OutOfMemory",
            "sandlot fn config broken --memory MB",
        ),
    ],
)
def test_what_to_do_next_is_a_command_that_can_be_copied(
    cli: Cli, engine: Engine, status: inv.InvocationStatus, type_: str, hint: str
) -> None:
    def end(event: object) -> None:
        raise Failure(type_, "what happened", status)

    engine.add_function("broken", end)

    said = cli("invoke", "broken").stderr

    assert re.search(rf"^  next: .*{hint}$", said, re.MULTILINE)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "[1, Infinity]", "1e999"])
@pytest.mark.parametrize("many", [(), ("-n", "2")], ids=["one", "many"])
def test_json_that_is_printed_is_json(
    cli: Cli, engine: Engine, number: str, many: tuple[str, ...]
) -> None:
    engine.add_function("odd", lambda event: Verbatim(number))

    lines = cli("invoke", "odd", "--json", *many).stdout
    documents = lines.splitlines() if many else [lines]

    assert len(documents) == (2 if many else 1)
    for document in documents:
        assert json.loads(document, parse_constant=pytest.fail)["value"] is None


def test_an_event_that_is_no_json_though_python_reads_it_is_a_usage_error(
    cli: Cli, engine: Engine
) -> None:
    done = cli("invoke", "echo", '{"a": NaN}')

    assert done.exit_code == 2
    assert "EVENT is not JSON: JSON has no NaN" in done.stderr
    assert engine.requests == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-8"])
def test_a_file_is_read_in_the_encodings_that_json_is_written_in(
    cli: Cli, engine: Engine, tmp_path: Path, encoding: str
) -> None:
    engine.add_function("echo")
    file = tmp_path / "event.json"
    file.write_bytes('{"name": "Ödön"}'.encode(encoding))

    done = cli("invoke", "echo", "-e", str(file))

    assert json.loads(done.stdout) == {"name": "Ödön"}


def test_an_event_that_is_empty_is_told_so(cli: Cli, engine: Engine) -> None:
    engine.add_function("echo")

    done = cli("invoke", "echo", "-", stdin="\n")

    assert done.exit_code == 2
    assert "stdin is empty: an event with nothing in it is {}" in done.stderr


@pytest.mark.parametrize(
    "named", ["@it.json", "file://it.json", "fileb://it.json", "it.json"]
)
def test_a_file_that_is_named_as_elsewhere_is_told(
    cli: Cli, engine: Engine, named: str
) -> None:
    done = cli("invoke", "hello", named)

    assert (done.exit_code, engine.requests) == (2, [])
    assert done.stderr.rstrip().endswith("A file is named by -e it.json")


@pytest.mark.parametrize("kind", ["event", "dry-run"])
@pytest.mark.parametrize("many", [("-n", "3"), ("--summary",)])
def test_what_is_not_answered_is_not_counted(
    cli: Cli, engine: Engine, kind: str, many: tuple[str, ...]
) -> None:
    """Of three events one was queued."""
    done = cli("invoke", "hello", "--type", kind, *many)

    assert (done.exit_code, engine.requests) == (2, [])
    assert "are for requests" in done.stderr


def test_what_is_queued_can_be_looked_at_by_what_is_told(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("hello")
    engine.add_tenant("123456789012", "acme", key=("AKIA2", "s"))
    engine.add_function("hello", tenant_id="123456789012")

    mine = cli("invoke", "hello", "--type", "event")
    theirs = cli("invoke", "hello", "--type", "event", "--tenant", "123456789012")

    told = f"sandlot event show {mine.stdout.strip()}\n"
    assert mine.stderr.endswith(told)
    assert theirs.stderr.endswith(
        f"sandlot event show {theirs.stdout.strip()} --tenant 123456789012\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-c", "5"), "give -n N, too"),
        (("-n", "3", "--log"), "are for one request"),
        (("--type", "event", "--raw"), "are for one request"),
    ],
)
def test_what_would_not_be_heeded_is_refused(
    cli: Cli, engine: Engine, words: tuple[str, ...], said: str
) -> None:
    done = cli("invoke", "hello", *words)

    assert (done.exit_code, engine.requests) == (2, [])
    assert said in done.stderr


@pytest.mark.parametrize("many", [(), ("-n", "3")], ids=["one", "many"])
def test_an_event_that_is_too_large_is_refused_with_its_size_and_not_sent(
    cli: Cli, engine: Engine, tmp_path: Path, many: tuple[str, ...]
) -> None:
    file = tmp_path / "event.json"
    file.write_text('"' + "x" * MAX_EVENT + '"')

    done = cli("invoke", "echo", "-e", str(file), *many)

    assert done.exit_code == 3
    assert "the event has 6,291,458 bytes of 6,291,456" in done.stderr
    assert engine.requests == []


@pytest.mark.parametrize("as_json", [False, True])
def test_an_engine_that_goes_away_leaves_a_summary_of_what_was_done(
    cli: Cli, server: Server, *, as_json: bool
) -> None:
    turns = iter(range(100))

    def answer(event: object) -> object:
        if next(turns) == 3:
            # Not from the thread that serves this call, which stop waits for.
            threading.Thread(target=server.stop_now).start()
            server.stopped.wait(10)
        return event

    server.engine.add_function("echo", answer)

    flags = ("--json",) if as_json else ()
    done = cli("invoke", "echo", "-n", "50", "--summary", *flags)

    assert done.exit_code == 4
    assert "ConnectionFailed" in done.stderr
    if as_json:
        told = json.loads(done.stdout)
        assert (told["ok"], told["errors"], told["unanswered"]) == (3, 0, 47)
    else:
        assert done.stdout.startswith("3 ok · 0 errors · ")
        assert done.stdout.endswith(" · 47 unanswered\n")


def test_a_summary_of_all_says_nothing_of_unanswered_ones(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("echo")

    assert "unanswered" not in cli("invoke", "echo", "-n", "3", "--summary").stdout


def test_json_is_one_document_with_value_and_report(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    told = json.loads(cli("invoke", "hello", "[1, 2]", "--json").stdout)

    assert told["value"] == [1, 2]
    assert told["status"] == "ok"
    assert told["report"]["billed_mb_ms"] == 512
    assert told["report"]["cost"].startswith("0.00000020833")


def test_the_log_comes_on_stderr_when_asked_for(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")
    engine.log("hello", b"saying hello")

    assert "saying hello" in cli("invoke", "hello", "--log").stderr
    assert "saying hello" not in cli("invoke", "hello").stderr


def test_an_event_is_queued_and_its_id_is_the_data(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    done = cli("invoke", "hello", "--type", "event")

    assert re.fullmatch(r"[0-9a-f-]{36}\n", done.stdout)
    assert engine.requests[-1].invocation_type == inv.INVOCATION_TYPE_EVENT


def test_a_dry_run_runs_nothing(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    assert cli("invoke", "hello", "--type", "dry-run").exit_code == 0
    assert engine.records == []


@pytest.mark.parametrize(
    "how",
    [[], ["--type", "event"], ["--type", "dry-run"], ["-n", "2"]],
    ids=lambda how: " ".join(how) or "request",
)
def test_a_version_or_an_alias_follows_the_name(
    cli: Cli, engine: Engine, how: list[str]
) -> None:
    engine.add_function("hello")

    cli("invoke", "hello:live", *how)

    sent = [getattr(one, "request", one) for one in engine.requests]
    called = {(one.function, one.qualifier) for one in sent if one.function}
    assert called == {("hello", "live")}


def test_an_arn_is_refused_since_the_tenant_in_it_would_not_be_heeded(
    cli: Cli, engine: Engine
) -> None:
    done = cli("invoke", "arn:aws:lambda:us-east-1:123456789012:function:hello")

    assert done.exit_code == 2
    assert "--tenant" in done.stderr
    assert engine.requests == []


def test_many_invocations_print_an_answer_each(cli: Cli, engine: Engine) -> None:
    engine.add_function("echo")

    done = cli("invoke", "echo", "1", "-n", "20", "-c", "4")

    assert done.stdout.splitlines() == ["1"] * 20
    assert "20 ok · 0 errors · 4 at once" in done.stderr


def test_many_invocations_as_json_are_an_object_on_each_line(
    cli: Cli, engine: Engine
) -> None:
    engine.add_function("echo")

    lines = cli("invoke", "echo", "1", "-n", "5", "--json").stdout.splitlines()

    assert sorted(json.loads(line)["index"] for line in lines) == [0, 1, 2, 3, 4]


def test_many_that_are_all_refused_exit_3_as_one_does(cli: Cli, engine: Engine) -> None:
    done = cli("invoke", "nobody", "-n", "2", "--summary")

    assert (done.exit_code, done.stdout[:30]) == (3, "0 ok · 2 errors (2 NotFound) ·")


def test_a_summary_counts_errors_by_kind_and_exits_1(cli: Cli, engine: Engine) -> None:
    turns = iter([None, fail, None, fail])
    engine.add_function("flaky", lambda event: (next(turns) or (lambda _: 1))(event))

    done = cli("invoke", "flaky", "-n", "4", "-c", "2", "--summary", "--json")

    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (told["ok"], told["errors"]) == (2, 2)
    assert told["errors_by_type"] == {"Unhandled": 2}
    assert told["p50_ms"] <= told["p95_ms"] <= told["p99_ms"]


def test_percentiles_are_latencies_that_happened() -> None:
    from sandlot.cli.load import percentile

    hundred = [float(n) for n in range(1, 101)]

    assert [percentile(hundred, share) for share in (50, 95, 99)] == [50, 95, 99]
    assert percentile([7.0], 99) == 7.0


def test_a_deadline_that_passes_exits_5(cli: Cli, engine: Engine) -> None:
    let_go = threading.Event()
    engine.add_function("slow", lambda event: let_go.wait(30))

    done = cli("invoke", "slow", "--deadline", "0.2")
    let_go.set()

    assert done.exit_code == 5
    assert "--deadline" in done.stderr


def test_a_throttled_invocation_exits_3_and_says_when_to_come_back(
    cli: Cli, engine: Engine
) -> None:
    engine.refuse_next.append(
        Refusal(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "ConcurrentInvocationLimitExceeded",
            "tenant 'acme' already has 50 invocations running of 50 allowed",
            retry_after_s=0.5,
            request_id="req-42",
        )
    )

    done = cli("invoke", "hello")

    assert done.exit_code == 3
    assert "50 invocations running of 50 allowed" in done.stderr
    assert "try again in 0.5 s" in done.stderr
    assert "request id: req-42" in done.stderr


def test_of_a_function_that_is_switched_off_it_says_how_it_is_switched_on(
    cli: Cli, engine: Engine
) -> None:
    engine.refuse_next.append(
        Refusal(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "ReservedFunctionConcurrentInvocationLimitExceeded",
            "function 'hello' already has 0 invocations running of 0 reserved for it",
            retry_after_s=1,
        )
    )

    done = cli("invoke", "hello")

    assert "sandlot concurrency unreserve hello" in done.stderr
    assert "try again" not in done.stderr


def test_a_key_goes_along_and_is_for_one_request(cli: Cli, engine: Engine) -> None:
    engine.add_function("hello")

    cli("invoke", "hello", "--idempotency-key", "k")
    cli("invoke", "hello", "--idempotency-key", "k", "--type", "event")
    many = cli("invoke", "hello", "--idempotency-key", "k", "-n", "2")

    assert [request.idempotency_key for request in engine.requests] == ["k", "k"]
    assert many.exit_code == 2


@pytest.mark.parametrize(
    ("why", "is_network"),
    [
        ("<urlopen error [Errno -3] Temporary failure in name resolution>", True),
        ("[Errno 101] Network is unreachable", True),
        ("getaddrinfo EAI_AGAIN example.org", True),
        ("list index out of range", False),
    ],
)
def test_a_function_that_has_no_network_is_told_how_to_get_one(
    cli: Cli, engine: Engine, why: str, is_network: bool
) -> None:
    def fail(_: object) -> None:
        raise Failure("URLError", why)

    engine.add_function("fetch", fail)

    said = cli("invoke", "fetch").stderr

    assert ("sandlot fn config fetch --network egress" in said) is is_network
    assert ("sandlot logs fetch" in said) is not is_network
