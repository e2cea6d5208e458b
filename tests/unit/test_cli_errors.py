"""What a command that fails says, and how it exits."""

import errno
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import pytest

from sandlot.cli import events, settings, tenants
from sandlot_engine.catalog import event_configs, validation
from sandlot_engine.catalog import tenants as engine_tenants
from tests.fakes.engine import OPERATOR, Engine, Failure, Refusal
from tests.fakes.server import Server
from tests.unit.conftest import Cli


def test_what_is_not_there_exits_3_and_says_what_to_do(cli: Cli) -> None:
    done = cli("fn", "show", "nowhere")

    assert done.exit_code == 3
    assert "NotFound: there is no function 'nowhere': see `sandlot fn list`" in (
        done.stderr
    )


def test_a_reader_that_has_enough_is_no_error(
    cli: Cli, server: Server, engine: Engine
) -> None:
    engine.add_function("hello")
    engine.log("hello", b"a line")
    reads, writes = os.pipe()
    os.close(reads)  # as `head` does

    with os.fdopen(writes, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "sandlot", "logs", "hello"],
            check=False,
            stdout=nobody,
            stderr=subprocess.PIPE,
            timeout=30,
        )

    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    "arguments",
    [
        ("deploy", "nowhere.py"),
        ("deploy", "."),
        ("fn", "list", "--profile", "nobody"),
        ("fn", "list", "--endpoint", "no-port"),
        ("fn", "list", "--endpoint", "example.org:1"),
    ],
)
def test_a_mistake_on_this_side_exits_2_and_asks_nothing_of_the_engine(
    cli: Cli,
    engine: Engine,
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    done = cli(*arguments)

    assert done.exit_code == 2
    assert done.stderr.startswith("UsageError: ")
    assert engine.requests == []


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "-1", "1e300", "soon"])
@pytest.mark.parametrize(
    "command",
    [
        ("fn", "list", "--deadline"),
        ("up", "--idle"),
        ("fn", "config", "x", "--timeout"),
    ],
    ids=["deadline", "idle", "timeout"],
)
def test_a_time_span_that_is_none_is_refused_in_clear_words(
    cli: Cli, command: tuple[str, ...], value: str
) -> None:
    done = cli(*command, value)

    assert done.exit_code == 2
    assert re.search(
        rf"'{command[-1]}'.*: '{value}' is no (whole )?number of seconds", done.stderr
    )


@pytest.mark.parametrize(
    ("command", "value", "said"),
    [
        (("deploy", "--memory"), "12", "12 is not in the range 128<=x<=10240"),
        (("fn", "config", "x", "--memory"), "10241", "range 128<=x<=10240"),
        (("fn", "config", "x", "--memory"), "much", "'much' is not a valid integer"),
        (("deploy", "--timeout"), "901", "901 is not within 1 to 900 seconds"),
        (("deploy", "--ephemeral-storage"), "10", "range 512<=x<=10240"),
        (("event", "config", "x", "--max-age"), "59", "59 is not within 60 to 21,600"),
        (("tenant", "create", "a", "--concurrency"), "0", "range 1<=x<=100000"),
        (("tenant", "update", "1", "--concurrency"), "100001", "range 1<=x<=100000"),
    ],
)
def test_a_value_out_of_bounds_is_a_usage_error_that_names_them(
    cli: Cli, engine: Engine, command: tuple[str, ...], value: str, said: str
) -> None:
    done = cli(*command, value)

    assert done.exit_code == 2
    assert said in done.stderr
    assert engine.requests == []


def test_the_bounds_of_options_are_the_engine_s() -> None:
    def ends(bounds: range) -> tuple[int, int]:
        return bounds.start, bounds.stop - 1

    assert ends(validation.MEMORY_MB) == settings.MEMORY_MB
    assert ends(validation.TIMEOUT_S) == settings.TIMEOUT_S
    assert ends(validation.EPHEMERAL_STORAGE_MB) == settings.EPHEMERAL_STORAGE_MB
    assert ends(event_configs.MAX_AGE_S) == events.MAX_AGE_S
    assert engine_tenants.MAX_CONCURRENCY == tenants.MAX_CONCURRENCY


def test_no_engine_exits_4_and_says_how_to_start_one(cli: Cli) -> None:
    done = cli("fn", "list", "--endpoint", "127.0.0.1:1")

    assert done.exit_code == 4
    assert "sandlot up" in done.stderr


def test_a_data_directory_names_the_engine_and_outranks_the_environment(
    cli: Cli, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDLOT_ENDPOINT", "127.0.0.1:1")
    (tmp_path / "engine.json").write_text(json.dumps({"grpc": server.address}))
    (tmp_path / "operator.json").write_text(
        json.dumps({"access_key_id": OPERATOR[0], "secret_access_key": OPERATOR[1]})
    )

    assert cli("fn", "list", "--data", str(tmp_path)).exit_code == 0


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (
            "Function not found: arn:aws:lambda:us-east-1:1:function:helo",
            "  next: see which there are: sandlot fn list --tenant 123456789012\n",
        ),
        (
            "There is no tenant 'acme'.",
            "  next: `sandlot tenant list` has the ids of those there are\n",
        ),
        ("There is none.", ""),
    ],
)
def test_where_what_there_is_can_be_seen_is_said(
    cli: Cli, engine: Engine, said: str, advice: str
) -> None:
    engine.refuse_next.append(Refusal(grpc.StatusCode.NOT_FOUND, "NotFound", said))

    done = cli("fn", "show", "helo", "--tenant", "123456789012")

    assert done.stderr == f"NotFound: {said}\n{advice}"


@pytest.mark.parametrize(
    ("said", "then"),
    [
        ("Trigger tick does not exist.", "sandlot trigger list"),
        ("Schedule tick does not exist.", "sandlot trigger list"),
        (
            "Schedule tick already exists.",
            "sandlot schedule config tick --expression EXPRESSION",
        ),
        ("Webhook hook already exists.", "sandlot trigger rm hook"),
        ("Directory inbox already exists.", "sandlot trigger rm inbox"),
        (
            "Alias with name live points to the $LATEST version, which cannot have it.",
            "sandlot fn publish hello",
        ),
        ("There is no access key AKIA.", "sandlot key list"),
        ("There is no event 1, or it was over too long ago.", "sandlot event list"),
        ("There is no event 1 in the dead-letter store.", "sandlot dead-letter list"),
        ("Function does not exist", "sandlot fn list"),
        ("Function name 'my func' must have 1 to 64 letters", "--name NAME"),
        ("The resource you requested does not exist.", "sandlot url show hello"),
        ("The function doesn't exist.", "sandlot fn list"),
        (
            "The provided principal was invalid. Please check the principal and try",
            "a tenant is its id, of twelve digits; * is every tenant",
        ),
        (
            "Tenant 123456789012 is suspended by the operator. Nothing ran.",
            "an operator takes that back with `sandlot tenant resume 123456789012`",
        ),
        (
            "Tenant 123456789012 still has 1 functions. Delete them first.",
            "sandlot tenant delete 123456789012 --with-functions",
        ),
    ],
)
def test_where_it_is_seen_what_there_is_depends_on_what_is_missing(
    cli: Cli, engine: Engine, said: str, then: str
) -> None:
    engine.refuse_next.append(Refusal(grpc.StatusCode.NOT_FOUND, "NotFound", said))

    done = cli("url", "show", "hello")

    assert done.stderr.endswith(f": {then}\n")


@pytest.mark.parametrize(
    "said",
    [
        "Function already exist: hello",
        (
            "The operation cannot be performed at this time. An update is in progress"
            " for resource: arn:aws:lambda:us-east-1:1:function:hello"
        ),
    ],
)
def test_who_loses_a_race_of_deployments_is_told_of_the_other(
    cli: Cli, engine: Engine, said: str
) -> None:
    engine.refuse_next.append(Refusal(grpc.StatusCode.ABORTED, "Conflict", said))

    done = cli("fn", "publish", "hello")

    assert done.exit_code == 3
    assert re.search(r"next: .*(deploy|try) again", done.stderr)


def test_a_port_that_is_no_grpc_is_told_from_none(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        port = listener.getsockname()[1]
        done = cli("fn", "list", "--endpoint", f"127.0.0.1:{port}", "--deadline", "20")
        thread.join(20)

    assert done.exit_code == 4
    assert "That is a port for HTTP" in done.stderr
    assert "sandlot up" not in done.stderr


def test_where_nobody_listens_that_is_all_that_is_said(cli: Cli) -> None:
    done = cli("fn", "list", "--endpoint", "127.0.0.1:1")

    assert done.stderr.startswith(
        "ConnectionFailed: no engine answers at 127.0.0.1:1: Connection refused. Start"
    )


def test_an_engine_that_has_ended_is_told_by_the_folder_that_knew_it(
    cli: Cli, tmp_path: Path
) -> None:
    data = tmp_path / "my data"
    before = cli("status", "--data", str(data))
    data.mkdir()
    told = {"grpc": "127.0.0.1:1", "http": "127.0.0.1:1"}
    (data / "engine.json").write_text(json.dumps(told))

    after = [
        cli(*words, "--data", str(data)) for words in (("fn", "list"), ("status",))
    ]

    for done in (before, *after):
        assert done.exit_code == 4
        assert f"tart it with `sandlot up --data '{data}'`" in done.stderr.replace(
            "Start one with", "Start it with"
        )


def test_tls_where_there_is_none_is_told_in_one_line(server: Server) -> None:
    # In a process of its own: what gRPC itself notes on stderr is not click's.
    words = ("fn", "list", "--endpoint", f"grpcs://{server.address}")
    done = subprocess.run(
        [sys.executable, "-m", "sandlot", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.returncode == 4
    assert "leave grpcs:// out" in done.stderr
    assert done.stderr.startswith("ConnectionFailed: ")
    assert len(done.stderr.splitlines()) == 1


def test_an_interrupt_exits_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sandlot.Client.functions", interrupt)

    assert cli("fn", "list").exit_code == 130


def test_output_that_cannot_be_written_is_not_the_engine_s_fault() -> None:
    # In a process of its own: it is stdout that fails.
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sandlot", "version"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
        )

    assert done.returncode == 2
    said = "OSError: the output cannot be written: No space left on device\n"
    assert done.stderr == said


def test_a_file_that_cannot_be_read_is_told_by_its_name(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "d/x")

    monkeypatch.setattr("sandlot.Client.deploy", refuse)
    (tmp_path / "hello.py").write_text("")

    done = cli("deploy", str(tmp_path / "hello.py"))

    assert done.exit_code == 2
    assert done.stderr == "PermissionError: d/x: Permission denied\n"


def test_verbose_shows_where_an_error_comes_from(cli: Cli) -> None:
    assert "Traceback" in cli("fn", "show", "nowhere", "-v").stderr
    assert "Traceback" not in cli("fn", "show", "nowhere").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "message", "advice"),
    [
        (("fn", "show", "nowhere"), 3, "NotFound", "no function 'nowhere'", ""),
        (
            ("fn", "list", "--endpoint", "127.0.0.1:1"),
            4,
            "ConnectionFailed",
            "sandlot up",
            "",
        ),
        (("fn", "list", "--colour"), 2, "UsageError", "--colour", "fn list --help"),
        (("fn", "lst"), 2, "UsageError", "lst", "--help"),
        (("fn", "list", "--deadline", "0"), 2, "UsageError", "'0' is no", "--help"),
        (("fn", "show"), 2, "UsageError", "NAME", "fn show --help"),
        (("doctor", "--insecure", "x"), 2, "UsageError", "'x' cannot be", "--help"),
        (("deploy", "nowhere.py"), 2, "UsageError", "nowhere.py", ""),
        (("invoke", "x", "{"), 2, "UsageError", "not JSON", "invoke --help"),
        (("invoke", "x", "-e", "."), 2, "UsageError", "is a directory", "--help"),
        (("up", "--s3-endpoint", "minio"), 2, "UsageError", "'minio' is no", "--help"),
        (("up", "--destination", "sqs=http://"), 2, "UsageError", "no URL", "--help"),
        (("up", "--tls-cert", __file__), 2, "UsageError", "go together", "up --help"),
    ],
    ids=lambda one: "-".join(one[:2]) if isinstance(one, tuple) else "",
)
def test_with_json_an_error_is_one_object_on_stderr(
    cli: Cli,
    arguments: tuple[str, ...],
    code: int,
    kind: str,
    message: str,
    advice: str,
) -> None:
    done = cli(*arguments, "--json")

    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1
    error = json.loads(done.stderr)["error"]
    assert error["kind"] == kind
    assert message in error["message"]
    assert advice in error["advice"]


def test_an_option_before_its_command_is_sent_behind_it(cli: Cli) -> None:
    plain, as_json = cli("--data", "x", "fn", "list"), cli("--json", "fn", "list")

    assert (plain.exit_code, as_json.exit_code) == (2, 2)
    assert "Error: --data goes behind the command." in plain.stderr
    error = json.loads(as_json.stderr)["error"]
    assert error["message"] == "--json goes behind the command."
    assert "No such option" in cli("--colour", "fn").stderr


def test_with_json_a_function_s_error_is_one_too(cli: Cli, engine: Engine) -> None:
    def fail(_: object) -> object:
        raise Failure("KeyError", "'name'")

    engine.add_function("hello")
    engine.answers["hello"] = fail

    done = cli("invoke", "hello", "--json")

    assert done.exit_code == 1
    assert json.loads(done.stdout)["value"]["errorType"] == "KeyError"
    error = json.loads(done.stderr)["error"]
    assert error["kind"] == "Unhandled"
    assert error["message"] == "KeyError: 'name'"
    assert error["advice"] == "read its log: sandlot logs hello"
    assert error["request_id"]


def test_with_json_where_an_error_comes_from_is_in_it(cli: Cli) -> None:
    done = cli("fn", "show", "nowhere", "--json", "--verbose")

    trace = json.loads(done.stderr)["error"]["trace"]
    assert trace[0] == "Traceback (most recent call last):"


def test_a_setting_that_asks_for_json_does_so_of_errors(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDLOT_JSON", "1")

    assert json.loads(cli("fn", "lst").stderr)["error"]["message"]
    assert cli("fn").stderr.startswith("Usage: ")
    assert cli("up", "--nothing").stderr.startswith("Usage: ")
