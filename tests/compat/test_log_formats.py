"""Logs as JSON, with boto3."""

import base64
import json
from typing import Any

from tests.compat.clients import Lambda, invoke, package, refused, wait_updated
from tests.compat.conftest import Create

SOURCE = """
import logging
log = logging.getLogger("app")
def handler(event, context):
    print("plain")
    log.debug("fine")
    log.info("coarse", extra={"order": 7})
    if event:
        raise KeyError("as asked")
"""


def _log(answer: dict[str, Any]) -> list[Any]:
    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    return [json.loads(line) if line.startswith("{") else line for line in lines]


def test_a_function_logs_as_json(aws: Lambda, create: Create) -> None:
    name = create(package(SOURCE), LoggingConfig={"LogFormat": "JSON"})
    shown = aws.get_function_configuration(FunctionName=name)["LoggingConfig"]
    assert shown == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "INFO",
        "LogGroup": f"/aws/lambda/{name}",
    }

    answer = invoke(aws, name, LogType="Tail")
    start, plain, info, report = _log(answer)

    request_id = answer["ResponseMetadata"]["RequestId"]
    assert start["type"] == "platform.start"
    assert start["record"] == {"requestId": request_id, "version": "$LATEST"}
    assert plain == "plain"
    assert info.pop("timestamp")
    assert info == {
        "level": "INFO",
        "message": "coarse",
        "logger": "app",
        "requestId": request_id,
        "order": 7,
    }
    assert report["type"] == "platform.report"
    assert report["record"]["status"] == "success"
    assert report["record"]["metrics"]["memorySizeMB"] == 128

    failed = _log(invoke(aws, name, {"fail": True}, LogType="Tail"))
    error = next(line for line in failed if "log_level" in line)
    assert (error["errorType"], error["log_level"]) == ("KeyError", "ERROR")
    assert failed[-1]["record"]["status"] == "error"


def test_levels_choose_what_is_logged(aws: Lambda, create: Create) -> None:
    levels = {"ApplicationLogLevel": "DEBUG", "SystemLogLevel": "WARN"}
    name = create(package(SOURCE), LoggingConfig={"LogFormat": "JSON", **levels})
    plain, debug, info = _log(invoke(aws, name, LogType="Tail"))
    assert (plain, debug["message"], info["message"]) == ("plain", "fine", "coarse")

    aws.update_function_configuration(
        FunctionName=name, LoggingConfig={"ApplicationLogLevel": "ERROR"}
    )
    wait_updated(aws, name)
    assert _log(invoke(aws, name, LogType="Tail")) == ["plain"]

    aws.update_function_configuration(
        FunctionName=name, LoggingConfig={"LogFormat": "Text"}
    )
    wait_updated(aws, name)
    shown = aws.get_function_configuration(FunctionName=name)["LoggingConfig"]
    assert "ApplicationLogLevel" not in shown
    assert _log(invoke(aws, name, LogType="Tail"))[0].startswith("START")


def test_levels_are_json_s(aws: Lambda, create: Create) -> None:
    name = create(package(SOURCE))
    refusal = refused(
        aws.update_function_configuration,
        FunctionName=name,
        LoggingConfig={"ApplicationLogLevel": "ERROR"},
    )
    assert refusal.code == "InvalidParameterValueException"
    assert "JSON" in refusal.message
