"""The context object, the log format and the snapshot hooks."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from sandlot_sandbox.guest import context
from sandlot_sandbox.guest.failures import Failure
from tests.fakes.guest_interpreters import Guest, every_interpreter

MINUTE_MS = 60_000


def make(
    *, client_context_json: str = "", deadline_ms: int = 0
) -> context.LambdaContext:
    made = context.make(
        request_id="req-1",
        deadline_ms=deadline_ms,
        function_arn="arn:f",
        client_context_json=client_context_json,
        tenant_id="t-1",
    )
    assert isinstance(made, context.LambdaContext), made
    return made


@pytest.fixture
def guest(python: str, tmp_path: Path) -> Guest:
    return Guest(python, tmp_path)


def test_the_repr_is_awss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/f")
    monkeypatch.setenv("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")

    assert repr(make()) == (
        "LambdaContext([aws_request_id=req-1,log_group_name=/aws/lambda/f,"
        "log_stream_name=stream,function_name=f,memory_limit_in_mb=128,"
        "function_version=$LATEST,invoked_function_arn=arn:f,client_context=None,"
        "identity=CognitoIdentity([cognito_identity_id=None,"
        "cognito_identity_pool_id=None]),tenant_id=t-1])"
    )


def test_the_memory_limit_is_a_string(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")

    assert make().memory_limit_in_mb == "128"


def test_the_remaining_time_runs_to_the_deadline_and_not_below_zero() -> None:
    later = make(deadline_ms=int(time.time() * 1000) + MINUTE_MS)
    over = make(deadline_ms=int(time.time() * 1000) - MINUTE_MS)

    assert 0 < later.get_remaining_time_in_millis() <= MINUTE_MS
    assert over.get_remaining_time_in_millis() == 0


def test_a_client_context_becomes_attributes() -> None:
    made = make(
        client_context_json='{"custom": {"a": 1}, "client": {"app_title": "x"}}'
    ).client_context

    assert made is not None
    assert made.custom == {"a": 1}
    assert made.env is None
    assert made.client.app_title == "x"
    assert made.client.installation_id is None


def test_a_null_client_context_is_none() -> None:
    assert make(client_context_json="null").client_context is None


def test_an_identity_has_its_ids() -> None:
    fields = {"cognitoIdentityId": "i"}
    made = context.LambdaContext("req-1", None, fields, 0).identity

    assert (made.cognito_identity_id, made.cognito_identity_pool_id) == ("i", None)


@pytest.mark.parametrize("text", ["{", "[]", '{"client": 5}', "[" * 100_000])
def test_a_bad_client_context_is_a_failure(text: str) -> None:
    made = context.make(
        request_id="r", deadline_ms=0, function_arn="", client_context_json=text
    )

    assert isinstance(made, Failure)
    assert made.error_type == "Runtime.LambdaContextUnmarshalError"
    assert made.message.startswith("Unable to parse Client Context JSON: ")


def test_log_writes_entries_that_are_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    context = make()
    context.log(5)
    context.log("six\n")

    assert capsys.readouterr().out == "5\nsix\n"


@every_interpreter
def test_a_log_record_has_level_time_and_request_id(guest: Guest) -> None:
    done = guest.run(
        """
        import logging
        logging_setup.install()
        logging.getLogger("x").warning("at init")
        logging_setup.set_request_id("req-1")
        logging.getLogger("x").error("a %s", "b")
        logging.getLogger("x").info("below the root's level")
        """
    )

    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    first, second = done.stdout.splitlines()
    assert re.fullmatch(rf"\[WARNING\]\t{stamp}\t\tat init", first)
    assert re.fullmatch(rf"\[ERROR\]\t{stamp}\treq-1\ta b", second)


@every_interpreter
def test_records_stay_apart_whatever_their_format(guest: Guest) -> None:
    done = guest.run(
        """
        logging_setup.install()
        import logging
        (handler,) = logging.getLogger().handlers
        assert type(handler).__name__ == "LambdaLoggerHandler"
        handler.setFormatter(logging.Formatter('{"message": "%(message)s"}'))
        logging.warning("one")
        logging.warning("two")
        """
    )

    assert done.stdout == '{"message": "one"}\n{"message": "two"}\n'


@every_interpreter
def test_logging_imported_later_has_the_format_too(guest: Guest) -> None:
    done = guest.run(
        """
        logging_setup.install()
        assert "logging" not in sys.modules
        import logging
        logging.warning("late")
        """
    )

    assert done.stdout.startswith("[WARNING]\t")
    assert done.stdout.endswith("\tlate\n")


@every_interpreter
def test_a_tenants_own_logging_module_does_not_shadow_the_real_one(
    guest: Guest,
) -> None:
    (guest.tenant / "logging.py").write_text("")

    done = guest.run(
        """
        logging_setup.install()
        import logging
        logging.warning("real")
        """
    )

    assert done.stdout.endswith("\treal\n")


@every_interpreter
def test_hooks_run_backwards_before_the_snapshot_and_forwards_after(
    guest: Guest,
) -> None:
    assert guest.result_of(
        """
        import snapshot_restore_py as s
        ran = []
        s.register_before_snapshot(ran.append, "b1")
        s.register_before_snapshot(ran.append, "b2")
        s.register_after_restore(ran.append, "a1")
        @s.register_after_restore
        def second(): ran.append("a2")
        second()
        failed = [hooks.run_before_snapshot(), hooks.run_after_restore()]
        result = [ran, failed]
        """
    ) == [["a2", "b2", "b1", "a1", "a2"], [None, None]]


@every_interpreter
def test_without_the_module_there_are_no_hooks_and_it_stays_unloaded(
    guest: Guest,
) -> None:
    assert guest.result_of(
        """
        failed = [hooks.run_before_snapshot(), hooks.run_after_restore()]
        result = [failed, "snapshot_restore_py" in sys.modules]
        """
    ) == [[None, None], False]


@every_interpreter
@pytest.mark.parametrize(
    ("when", "error_type"),
    [
        ("before_snapshot", "Runtime.BeforeSnapshotError"),
        ("after_restore", "Runtime.AfterRestoreError"),
    ],
)
@pytest.mark.parametrize("cause", ["ValueError('no')", "SystemExit(3)"])
def test_a_hook_that_raises_is_a_failure(
    guest: Guest, when: str, error_type: str, cause: str
) -> None:
    guest.write(
        "mod.py",
        f"""
        import snapshot_restore_py
        @snapshot_restore_py.register_{when}
        def hook():
            raise {cause}
        """,
    )

    found, message, trace = guest.result_of(
        f"""
        import mod
        failure = hooks.run_{when}()
        result = [failure.error_type, failure.message, failure.stack_trace]
        """
    )

    assert found == error_type
    assert message.split(":")[0] == cause.split("(")[0]
    assert "in hook" in trace[0]


@every_interpreter
def test_with_the_json_format_a_record_is_an_object(guest: Guest) -> None:
    done = guest.run(
        """
        import os
        os.environ.update(AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="INFO")
        logging_setup.install()
        logging_setup.set_request_id("req-1", "t-1")
        import logging
        log = logging.getLogger("x")
        log.debug("not shown")
        log.info("a %s", "b", extra={"order": 7, "what": {1, 1}})
        log.log(25, {"what": ["was", 1]})
        try:
            raise KeyError("k")
        except KeyError:
            log.exception("it failed")
        """
    )

    first, plain, second = map(json.loads, done.stdout.splitlines())
    assert (plain["level"], plain["message"]) == ("INFO", {"what": ["was", 1]})
    stamp = first.pop("timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamp)
    assert first == {
        "level": "INFO",
        "message": "a b",
        "logger": "x",
        "requestId": "req-1",
        "tenantId": "t-1",
        "order": 7,
        "what": "{1}",
    }
    assert (second["errorType"], second["errorMessage"]) == ("KeyError", "'k'")
    assert ":<module>:" in second["location"]
    assert second["stackTrace"]


@every_interpreter
def test_with_the_json_format_a_failure_is_an_object(guest: Guest) -> None:
    done = guest.run(
        """
        failures.use_json_log(is_json=True)
        failures.print_failure(failures.Failure("E", "why", ["  a\\n"]), "req-1")
        """
    )

    told = json.loads(done.stdout)
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "log_level": "ERROR",
        "errorMessage": "why",
        "errorType": "E",
        "requestId": "req-1",
        "stackTrace": ["  a\n"],
    }
