"""Extensions in layers, with boto3: scripts as their vendors write them."""

import base64
import json
from pathlib import Path
from typing import Any

from tests.compat.clients import (
    Cloud,
    Lambda,
    invoke,
    new_function,
    package,
    unique,
    wait_active,
)
from tests.compat.conftest import Create
from tests.e2e.engines import MODES, new_engine
from tests.fakes.zips import zip_of

PROGRAMS = Path(__file__).parent.parent / "guests" / "programs"
PROVIDED: Any = {"Runtime": "provided.al2023", "Handler": "app.handler", "Timeout": 20}

SHELL_EXTENSION = """#!/bin/bash
# As in AWS's own samples: register, then ask for one event after another.
set -euo pipefail
name=$(basename "$0")
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
headers=$(mktemp)
curl -sS -D "$headers" -o /dev/null -X POST "$api/register" \
  -H "Lambda-Extension-Name: $name" -d '{"events": ["INVOKE", "SHUTDOWN"]}'
id=$(grep -Fi Lambda-Extension-Identifier "$headers" | tr -d '[:space:]' | cut -d: -f2)
while true; do
  event=$(curl -sS "$api/event/next" -H "Lambda-Extension-Identifier: $id")
  echo "[$name] $event"
  case "$event" in *SHUTDOWN*) exit 0 ;; esac
done
"""


def _layer(aws: Lambda, files: dict[str, str | bytes]) -> str:
    zipped = zip_of(files, modes=dict.fromkeys(files, 0o100755))
    made = aws.publish_layer_version(
        LayerName=unique("extension"), Content={"ZipFile": zipped}
    )
    arn: str = made["LayerVersionArn"]
    return arn


def _programs(files: dict[str, str | bytes]) -> bytes:
    return zip_of(files, modes=dict.fromkeys(files, 0o100755))


SHELL = _programs({"bootstrap": (PROGRAMS / "shell_bootstrap.sh").read_text()})


def _log(answer: dict[str, Any]) -> str:
    return base64.b64decode(answer["LogResult"]).decode()


def test_an_extension_of_a_layer_hears_of_invocations(
    aws: Lambda, create: Create
) -> None:
    layer = _layer(aws, {"extensions/sample.sh": SHELL_EXTENSION})
    name = create(SHELL, Layers=[layer], **PROVIDED)

    answer = invoke(aws, name, {"a": 1}, LogType="Tail")

    assert answer["Payload"]["event"] == {"a": 1}
    log = _log(answer)
    (line,) = (each for each in log.splitlines() if each.startswith("[sample.sh] "))
    event = json.loads(line.removeprefix("[sample.sh] "))
    assert event["eventType"] == "INVOKE"
    assert event["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert event["invokedFunctionArn"].endswith(name)
    # The same instance, so it was usable again.
    assert invoke(aws, name)["Payload"]["calls"] == 2


def test_time_of_extensions_is_billed(aws: Lambda, create: Create) -> None:
    extension = (PROGRAMS / "extension.py").read_text()
    layer = _layer(aws, {"extensions/slow": extension})
    name = create(SHELL, Layers=[layer], **PROVIDED)

    invoke(aws, name, {"a": 1})
    report = _log(invoke(aws, name, {"a": 1}, LogType="Tail")).splitlines()[-1]

    duration = float(report.split("Duration: ")[1].split(" ")[0])
    assert duration > 250


def test_an_extension_that_crashes_is_the_functions_error(
    aws: Lambda, create: Create
) -> None:
    extension = (PROGRAMS / "extension.py").read_text()
    layer = _layer(aws, {"extensions/dies": extension})
    name = create(SHELL, Layers=[layer], **PROVIDED)

    answer = invoke(aws, name)

    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == "Extension.Crash"
    assert "exit status 3" in answer["Payload"]["errorMessage"]


def test_a_python_function_with_an_extension_in_a_layer(
    aws: Lambda, create: Create
) -> None:
    layer = _layer(aws, {"extensions/sample.sh": SHELL_EXTENSION})
    source = """
import awslambda, logging, os, sys
calls = 0
def handler(event, context):
    global calls
    calls += 1
    logging.error("an error of %s", context.function_name)
    if event.get("fail"):
        raise KeyError("as asked")
    return {"event": event, "calls": calls, "id": context.aws_request_id,
            "arn": context.invoked_function_arn, "path": sys.path[0]}
"""
    name = create(package(source), Layers=[layer], Timeout=20)

    answer = invoke(aws, name, {"a": "\u00fc"}, LogType="Tail")

    told = answer["Payload"]
    assert (told["event"], told["calls"], told["path"]) == (
        {"a": "\u00fc"},
        1,
        "/var/task",
    )
    assert told["id"] == answer["ResponseMetadata"]["RequestId"]
    assert told["arn"].endswith(name)
    log = _log(answer)
    assert f"\t{told['id']}\tan error of {name}" in log
    assert "[sample.sh] " in log
    failed = invoke(aws, name, {"fail": True}, LogType="Tail")
    assert failed["Payload"]["errorType"] == "KeyError"
    assert failed["Payload"]["stackTrace"][0].startswith('  File "/var/task/app.py"')
    assert invoke(aws, name, {})["Payload"]["calls"] == 3


def test_a_python_function_with_a_wrapper_script(aws: Lambda, create: Create) -> None:
    wrapper = '#!/bin/sh\nexport WRAPPED="$2"\nexec "$@"\n'
    layer = _layer(aws, {"wrap": wrapper})
    name = create(
        package("import os\ndef handler(event, _): return os.environ['WRAPPED']"),
        Layers=[layer],
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"}},
        Timeout=20,
    )
    assert invoke(aws, name)["Payload"]

    missing = create(
        package("def handler(event, _): return 1"),
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/missing"}},
    )
    answer = invoke(aws, missing)["Payload"]
    assert answer["errorType"] == "Runtime.ExitError"
    assert answer["errorMessage"].endswith("exit status 127")


def test_an_extension_hears_what_a_python_function_logs(
    aws: Lambda, create: Create
) -> None:
    listener = (PROGRAMS / "listener.py").read_text()
    layer = _layer(aws, {"extensions/http": listener})
    source = "def handler(event, _): print('a line'); return 1"
    name = create(package(source), Layers=[layer], Timeout=20)

    log = _log(invoke(aws, name, LogType="Tail")) + _log(
        invoke(aws, name, LogType="Tail")
    )

    heard = [
        json.loads(line.removeprefix("heard "))
        for line in log.splitlines()
        if line.startswith("heard ")
    ]
    assert {"type": "function", "record": "a line"} in [
        {key: event[key] for key in ("type", "record")} for event in heard
    ]
    done = [e["record"] for e in heard if e["type"] == "platform.runtimeDone"]
    assert done[0]["status"] == "success"


def test_an_extension_is_told_that_the_engine_ends() -> None:
    with new_engine(MODES[0]) as engine:
        engine.start()
        cloud = Cloud(engine)
        account = cloud.account()
        aws = account.aws()
        layer = _layer(aws, {"extensions/sample.sh": SHELL_EXTENSION})
        made = new_function(SHELL, Layers=[layer], **PROVIDED)
        name = aws.create_function(**made)["FunctionName"]
        wait_active(aws, name)
        invoke(aws, name)
        cloud.close()

        assert engine.stop() == 0
        engine.start()

        key = account.key
        with engine.client(
            access_key_id=key.access_key_id, secret_access_key=key.secret_access_key
        ) as client:
            said = [line.text for line in client.logs(name)]
        assert any("SHUTDOWN" in str(text) and "SPINDOWN" in str(text) for text in said)
