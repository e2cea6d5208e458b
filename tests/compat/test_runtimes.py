"""Functions that are no Python, made and called with boto3."""

import base64
import json
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.compat.clients import Cloud, Lambda, invoke, said
from tests.compat.commands import PAYLOAD, needs_clients
from tests.compat.conftest import Create
from tests.fakes.zips import zip_of

PROGRAMS = Path(__file__).parent.parent / "guests" / "programs"
PROVIDED = {"Runtime": "provided.al2023", "Handler": "app.handler", "Timeout": 20}


@pytest.fixture
def node(aws: Lambda) -> dict[str, Any]:
    """Settings for a Node that the engine has found."""
    if shutil.which("node") is None:
        pytest.skip("there is no Node here")
    return {"Runtime": "nodejs20.x", "Handler": "index.handler", "Timeout": 20}


def _programs(files: dict[str, str | bytes]) -> bytes:
    return zip_of(files, modes=dict.fromkeys(files, 0o100755))


def test_a_shell_script_is_a_function(aws: Lambda, create: Create) -> None:
    script = (PROGRAMS / "shell_bootstrap.sh").read_text()
    name = create(_programs({"bootstrap": script}), **PROVIDED)

    answer = invoke(aws, name, {"a": 1}, LogType="Tail")
    told = answer["Payload"]
    assert (told["event"], told["calls"]) == ({"a": 1}, 1)
    log = base64.b64decode(answer["LogResult"]).decode()
    assert "call 1\nEND RequestId" in log
    assert "\tInit Duration: " in log
    assert said(aws, name, {"a": 2})["calls"] == 2

    failed = invoke(aws, name, {"do": "error"})
    assert failed["FunctionError"] == "Unhandled"
    assert failed["Payload"]["errorType"] == "Shell.Error"

    crashed = invoke(aws, name, {"do": "exit"})
    assert crashed["Payload"]["errorType"] == "Runtime.ExitError"
    assert crashed["Payload"]["errorMessage"].endswith("exit status 7")
    assert said(aws, name, {"a": 3})["calls"] == 1


def test_a_package_without_a_program_says_what_is_missing(
    aws: Lambda, create: Create
) -> None:
    name = create(zip_of({"readme": "nothing"}), **PROVIDED)
    answer = invoke(aws, name)

    request_id = answer["ResponseMetadata"]["RequestId"]
    assert answer["Payload"] == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": (
            f"RequestId: {request_id} Error: Couldn't find valid bootstrap(s): "
            "[/var/task/bootstrap /opt/bootstrap]"
        ),
    }


def test_a_node_function(aws: Lambda, create: Create, node: dict[str, Any]) -> None:
    source = """
    let calls = 0;
    exports.handler = async (event, context) => ({
      event, calls: ++calls, name: context.functionName,
      arn: context.invokedFunctionArn,
      memory: context.memoryLimitInMB, where: process.env.AWS_EXECUTION_ENV,
      colour: process.env.COLOUR,
    });
    """
    variables = {"Variables": {"COLOUR": "blue"}}
    zipped = zip_of({"index.js": source})
    name = create(zipped, **node, Environment=variables, MemorySize=256)
    answer = said(aws, name, {"a": "ü"})
    arn = answer.pop("arn")
    assert arn.endswith(f":function:{name}")
    assert answer == {
        "event": {"a": "ü"},
        "calls": 1,
        "name": name,
        "memory": "256",
        "where": "AWS_Lambda_nodejs20.x",
        "colour": "blue",
    }


def test_who_patches_node_s_http_sees_no_calls_of_the_runtime(
    aws: Lambda, create: Create, node: dict[str, Any]
) -> None:
    # As the X-Ray SDK does, and with it Powertools' Tracer.
    source = """
        const http = require('node:http');
        const { request } = http;
        let calls = 0;
        http.request = (...all) => { calls += 1; return request(...all); };
        require('node:module').syncBuiltinESMExports();
        exports.handler = async () => calls;
        exports.streaming = awslambda.streamifyResponse(async (event, stream) => {
          stream.end(String(calls));
        });
    """
    package = zip_of({"index.js": source})
    names = [
        create(package, **node | {"Handler": f"index.{handler}"})
        for handler in ("handler", "streaming")
    ]

    answers = [said(aws, name) for name in names for _ in range(3)]

    assert answers == [0, 0, 0, 0, 0, 0]


def test_who_calls_after_a_node_function_has_crashed_hears_nothing_of_it(
    aws: Lambda, create: Create, node: dict[str, Any]
) -> None:
    source = """
        exports.handler = async (event) => {
          if (event.crash) setImmediate(() => { throw new RangeError('too late'); });
          return event.crash ? new Promise(() => setTimeout(() => {}, 60000)) : 'well';
        };
    """
    name = create(zip_of({"index.js": source}), **node)

    for _ in range(3):
        crashed = invoke(aws, name, {"crash": True})
        assert crashed["Payload"]["errorType"] == "RangeError"
        assert said(aws, name, {}) == "well"


@needs_clients
def test_awss_own_client_of_the_runtime_api(aws: Lambda, create: Create) -> None:
    """`awslambdaric`, unchanged, in a runtime that a package brings along."""
    libraries = ("awslambdaric", "simplejson", "snapshot_restore_py")
    files: dict[str, str | bytes] = {
        str(path.relative_to(PAYLOAD)): path.read_bytes()
        for library in (*libraries, "runtime_client*.so")
        for top in PAYLOAD.glob(library)
        for path in ([top] if top.is_file() else top.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    python = f"python3.{sys.version_info[1]}"
    files["bootstrap"] = f"""#!/bin/sh
    exec "$(command -v {python})" -m awslambdaric app.handler
    """.replace("\n    ", "\n")
    files["app.py"] = """
import logging, os
def handler(event, context):
    logging.getLogger().error("an error of %s", context.function_name)
    print("remaining", context.get_remaining_time_in_millis() > 0)
    if event.get("fail"):
        raise KeyError("no such thing")
    return {"event": event, "id": context.aws_request_id, "cwd": os.getcwd()}
"""
    name = create(_programs(files), **PROVIDED, MemorySize=256)
    answer = invoke(aws, name, {"a": 1}, LogType="Tail")
    told = answer["Payload"]
    assert (told["event"], told["cwd"]) == ({"a": 1}, "/var/task")
    assert told["id"] == answer["ResponseMetadata"]["RequestId"]
    log = base64.b64decode(answer["LogResult"]).decode()
    assert "[ERROR]\t" in log
    assert f"an error of {name}" in log
    assert "remaining True" in log

    failed = invoke(aws, name, {"fail": True})["Payload"]
    assert (failed["errorType"], failed["errorMessage"]) == (
        "KeyError",
        "'no such thing'",
    )
    assert said(aws, name, {"a": 2})["event"] == {"a": 2}


STREAMS = {
    "python": """
def handler(event, context):
    yield {"statusCode": 201, "headers": {"x-made": "by hand"}}
    yield "one "
    if event.get("fail"):
        raise ValueError("as asked")
    yield b"two"
""",
    "node": """
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  const http = awslambda.HttpResponseStream.from(stream,
    { statusCode: 201, headers: { 'x-made': 'by hand' } });
  http.write('one ');
  if (event.fail) throw new TypeError('as asked');
  http.end('two');
});
""",
}


@pytest.fixture(params=["python", "node"])
def streaming(
    request: pytest.FixtureRequest, create: Create, node: dict[str, Any]
) -> str:
    """A function that answers in pieces."""
    source = STREAMS[request.param]
    if request.param == "node":
        return create(zip_of({"index.js": source}), **node)
    return create(zip_of({"app.py": source}), Timeout=20)


def test_botocore_reads_a_stream_of_pieces(aws: Lambda, streaming: str) -> None:
    answer = aws.invoke_with_response_stream(FunctionName=streaming, LogType="Tail")
    assert answer["ExecutedVersion"] == "$LATEST"
    events = list(answer["EventStream"])
    pieces = [e["PayloadChunk"]["Payload"] for e in events if "PayloadChunk" in e]
    head, _, body = b"".join(pieces).partition(bytes(8))
    assert json.loads(head)["statusCode"] == 201
    assert body == b"one two"
    complete = events[-1]["InvokeComplete"]
    assert b"REPORT RequestId" in base64.b64decode(complete["LogResult"])
    assert "ErrorCode" not in complete


def test_an_error_in_the_middle_is_told_at_the_end(aws: Lambda, streaming: str) -> None:
    answer = aws.invoke_with_response_stream(
        FunctionName=streaming, Payload=b'{"fail": true}'
    )
    events = list(answer["EventStream"])
    pieces = [e["PayloadChunk"]["Payload"] for e in events if "PayloadChunk" in e]
    assert b"".join(pieces).endswith(b"one ")
    complete = events[-1]["InvokeComplete"]
    assert complete["ErrorCode"] in {"ValueError", "TypeError"}
    assert "as asked" in complete["ErrorDetails"]


def test_a_url_streams_what_its_function_streams(
    cloud: Cloud, aws: Lambda, streaming: str
) -> None:
    url = aws.create_function_url_config(
        FunctionName=streaming, AuthType="NONE", InvokeMode="RESPONSE_STREAM"
    )["FunctionUrl"]
    for action in ("InvokeFunctionUrl", "InvokeFunction"):
        given = {"FunctionUrlAuthType": "NONE"} if "Url" in action else {}
        aws.add_permission(
            FunctionName=streaming,
            StatementId=action,
            Action=f"lambda:{action}",
            Principal="*",
            **given,
        )
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own
        assert (answer.status, answer.headers["x-made"]) == (201, "by hand")
        assert answer.read() == b"one two"
