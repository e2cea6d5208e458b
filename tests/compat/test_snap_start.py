"""SnapStart by boto3: a version is its import's snapshot, and a start is a restore."""

import json
import re
from base64 import b64decode
from typing import Any

import pytest

from tests.compat.clients import (
    Lambda,
    invoke,
    new_function,
    package,
    refused,
    said,
    saying,
    wait_published,
)
from tests.compat.conftest import Create

ON = {"ApplyOn": "PublishedVersions"}
OFF = {"ApplyOn": "None"}
FAST = {"Timeout": 3}

HOOKS = """
import os, random
from snapshot_restore_py import register_after_restore, register_before_snapshot

ran = []
type_at_import = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
for word in ("first", "second"):
    register_before_snapshot(ran.append, f"before: {word}")
    register_after_restore(ran.append, f"after: {word}")

def handler(event, context):
    now = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
    return {"ran": ran, "types": [type_at_import, now], "pid": os.getpid()}
"""


def published(aws: Lambda, create: Create, source: str, **settings: Any) -> str:
    """A version with SnapStart, which is active; its name."""
    name = create(package(source), SnapStart=ON, Publish=True, **settings)
    wait_published(aws, name, "1")
    return name


def log_of(answer: dict[str, Any]) -> list[str]:
    return b64decode(answer["LogResult"]).decode().splitlines()


def failed(aws: Lambda, create: Create, source: str) -> dict[str, Any]:
    """A version with SnapStart that could not be made: how it is shown."""
    name = create(package(source), SnapStart=ON)
    aws.publish_version(FunctionName=name)
    while True:  # pytest's timeout is the deadline
        shown: dict[str, Any] = aws.get_function_configuration(
            FunctionName=name, Qualifier="1"
        )
        if shown["State"] != "Pending":
            return shown


def test_a_version_is_pending_then_active_and_its_hooks_have_run_in_order(
    aws: Lambda, create: Create
) -> None:
    name = create(package(HOOKS), SnapStart=ON)

    made = aws.publish_version(FunctionName=name)
    wait_published(aws, name, "1")
    latest = aws.get_function_configuration(FunctionName=name)
    shown = aws.get_function_configuration(FunctionName=name, Qualifier="1")
    answer = said(aws, name, Qualifier="1")

    assert (made["State"], made["StateReasonCode"]) == ("Pending", "Creating")
    assert shown["State"] == "Active"
    assert "StateReasonCode" not in shown
    assert shown["SnapStart"] == {**ON, "OptimizationStatus": "On"}
    assert latest["SnapStart"] == {**ON, "OptimizationStatus": "Off"}
    assert answer["ran"] == [
        "before: second",
        "before: first",
        "after: first",
        "after: second",
    ]
    assert answer["types"] == ["snap-start", "snap-start"]
    assert said(aws, name)["types"] == ["on-demand", "on-demand"]


def test_a_start_is_a_restore_in_the_log_and_is_billed(
    aws: Lambda, create: Create
) -> None:
    source = """
import time
from snapshot_restore_py import register_after_restore

@register_after_restore
def connect():
    print("connecting")
    time.sleep(0.05)

def handler(event, context): print("here")
"""
    name = published(aws, create, source)

    first = log_of(invoke(aws, name, Qualifier="1", LogType="Tail"))
    second = log_of(invoke(aws, name, Qualifier="1", LogType="Tail"))

    version = re.fullmatch(r"RESTORE_START Runtime Version: python:3\.\d+", first[0])
    assert version is not None
    restored = re.fullmatch(
        r"RESTORE_REPORT Restore Duration: (\d+\.\d\d) ms", first[1]
    )
    assert restored is not None
    assert float(restored[1]) >= 50
    assert [line.split()[0] for line in first[2:]] == [
        "START",
        "connecting",
        "here",
        "END",
        "REPORT",
    ]
    fields = dict(field.split(": ") for field in first[-1].split("\t")[1:] if field)
    restore_ms, billed_ms = (
        float(fields[name].split()[0])
        for name in ("Restore Duration", "Billed Restore Duration")
    )
    assert "Init Duration" not in fields
    assert 50 <= restore_ms <= billed_ms < restore_ms + 1
    assert float(fields["Billed Duration"].split()[0]) >= billed_ms
    assert "RESTORE" not in "".join(second)
    assert "Restore Duration" not in second[-1]


def test_with_the_json_format_a_restore_has_its_own_records(
    aws: Lambda, create: Create
) -> None:
    logging = {"LogFormat": "JSON", "SystemLogLevel": "DEBUG"}
    name = published(aws, create, HOOKS, LoggingConfig=logging)

    lines = log_of(invoke(aws, name, Qualifier="1", LogType="Tail"))
    told = {one["type"]: one["record"] for one in map(json.loads, lines)}

    assert list(told)[:3] == [
        "platform.restoreStart",
        "platform.restoreRuntimeDone",
        "platform.restoreReport",
    ]
    assert told["platform.restoreReport"]["status"] == "success"
    metrics = told["platform.report"]["metrics"]
    took_ms = told["platform.restoreReport"]["metrics"]["durationMs"]
    assert metrics["restoreDurationMs"] == took_ms
    assert metrics["billedRestoreDurationMs"] >= took_ms
    assert "initDurationMs" not in metrics


def test_a_hook_that_fails_is_an_error_of_the_call(aws: Lambda, create: Create) -> None:
    source = """
from snapshot_restore_py import register_after_restore

@register_after_restore
def connect(): raise OSError("no database")

def handler(event, context): return "it ran"
"""
    name = published(aws, create, source)

    refusal = refused(aws.invoke, FunctionName=name, Qualifier="1")

    assert (refusal.status, refusal.code) == (400, "SnapStartException")
    assert "Runtime.AfterRestoreError" in refusal.message


def test_a_hook_that_takes_too_long_is_an_error_of_the_call(
    aws: Lambda, create: Create
) -> None:
    source = """
import time
from snapshot_restore_py import register_after_restore
register_after_restore(time.sleep, 60)
def handler(event, context): return "it ran"
"""
    name = published(aws, create, source, **FAST)

    refusal = refused(aws.invoke, FunctionName=name, Qualifier="1")

    assert (refusal.status, refusal.code) == (408, "SnapStartTimeoutException")


@pytest.mark.parametrize(
    ("source", "code", "reason"),
    [
        (
            "import nothing_of_that_name",
            "RuntimeInitError",
            "Runtime.ImportModuleError",
        ),
        ("import os; os._exit(3)", "RuntimeInitError", "ended the process"),
        (
            (
                "import snapshot_restore_py as s; handler = print\n"
                "s.register_before_snapshot(int, 'x')"
            ),
            "RuntimeInitError",
            "before-snapshot hook failed: ValueError",
        ),
    ],
)
def test_a_version_whose_import_fails_is_none(
    aws: Lambda, create: Create, source: str, code: str, reason: str
) -> None:
    shown = failed(aws, create, source)

    assert shown["State"] == "Failed"
    assert shown["StateReasonCode"] == f"FunctionError.{code}"
    assert reason in shown["StateReason"]
    assert shown["SnapStart"] == {**ON, "OptimizationStatus": "Off"}
    refusal = refused(aws.invoke, FunctionName=shown["FunctionArn"])
    assert (refusal.status, refusal.code) == (409, "ResourceConflictException")


def test_what_may_not_be_cloned_is_a_version_without_a_snapshot(
    aws: Lambda, create: Create
) -> None:
    source = "import socket\nkept = socket.socketpair()\n" + HOOKS
    name = published(aws, create, source)

    shown = aws.get_function_configuration(FunctionName=name, Qualifier="1")
    answer = invoke(aws, name, Qualifier="1", LogType="Tail")

    assert shown["SnapStart"] == {**ON, "OptimizationStatus": "Off"}
    assert answer["Payload"]["types"] == ["on-demand", "on-demand"]
    assert "Init Duration" in log_of(answer)[-1]


def test_a_version_is_refused_while_its_import_runs(
    aws: Lambda, create: Create
) -> None:
    source = "import time\ntime.sleep(5)\ndef handler(event, context): ..."
    name = create(package(source), SnapStart=ON)
    aws.publish_version(FunctionName=name)

    refusal = refused(aws.invoke, FunctionName=name, Qualifier="1")

    assert (refusal.status, refusal.code) == (409, "SnapStartNotReadyException")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"EphemeralStorage": {"Size": 1024}}, "512 MB of ephemeral storage at most"),
        (
            {"Runtime": "provided.al2023"},
            "provided.al2023 is not supported for SnapStart enabled functions.",
        ),
        (
            {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}},
            "tenant isolation cannot have SnapStart",
        ),
    ],
)
def test_what_goes_with_it_not_is_refused(
    aws: Lambda, settings: dict[str, Any], words: str
) -> None:
    given = new_function(saying("a word"), SnapStart=ON, **settings)

    refusal = refused(aws.create_function, **given)

    assert (refusal.status, refusal.code) == (400, "InvalidParameterValueException")
    assert words in refusal.message


def test_a_version_with_it_has_nothing_provisioned(aws: Lambda, create: Create) -> None:
    name = published(aws, create, HOOKS)

    refusal = refused(
        aws.put_provisioned_concurrency_config,
        FunctionName=name,
        Qualifier="1",
        ProvisionedConcurrentExecutions=1,
    )

    assert (refusal.status, refusal.code) == (400, "InvalidParameterValueException")
    assert "SnapStart" in refusal.message


def test_what_is_provisioned_knows_it(aws: Lambda, create: Create) -> None:
    name = create(package(HOOKS), Publish=True)
    wait_published(aws, name, "1")
    aws.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
    )
    ready: Any = aws.get_provisioned_concurrency_config
    while ready(FunctionName=name, Qualifier="1")["Status"] == "IN_PROGRESS":
        pass  # pytest's timeout is the deadline

    answer = said(aws, name, Qualifier="1")

    assert answer["types"] == ["on-demand", "provisioned-concurrency"]


def test_it_is_switched_off_again_and_over_our_own_api(
    aws: Lambda, account: Any, create: Create
) -> None:
    name = create(saying("a word"), SnapStart=ON)
    with account.grpc() as client:
        before = client.get_function(name)
        after = client.update_function(name, snap_start=False)

    assert (before.snap_start, after.snap_start) == (True, False)
    shown = aws.get_function_configuration(FunctionName=name)
    assert shown["SnapStart"] == {**OFF, "OptimizationStatus": "Off"}
