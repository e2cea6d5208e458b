"""Libraries that functions bring along: Powertools, Mangum with FastAPI, hooks."""

import base64
import json

from tests.compat.aws_events import http_api
from tests.compat.clients import Lambda, invoke, said
from tests.compat.commands import needs_clients
from tests.compat.conftest import Deploy

pytestmark = needs_clients


def test_powertools_logs_what_the_context_says(aws: Lambda, deploy: Deploy) -> None:
    name = deploy("logger")

    answer = invoke(aws, name, {"id": "id-1", "order": 7}, LogType="Tail")

    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    event, order = (json.loads(line) for line in lines if line.startswith("{"))
    assert event["message"] == {"id": "id-1", "order": 7}
    assert (order["message"], order["order"]) == ("an order", 7)
    assert (order["service"], order["correlation_id"]) == ("orders", "id-1")
    assert order["function_name"] == name
    assert order["function_request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert (event["cold_start"], order["cold_start"]) == (True, True)


def test_powertools_parses_an_event_of_an_api(aws: Lambda, deploy: Deploy) -> None:
    name = deploy("parser")

    good = said(aws, name, http_api("GET", "/orders/7", query="details=true"))
    bad = invoke(aws, name, {"no": "event"})

    assert good == {
        "method": "GET",
        "path": "/orders/7",
        "query": {"details": "true"},
    }
    assert bad["FunctionError"] == "Unhandled"
    assert bad["Payload"]["errorType"] == "ValidationError"


def test_powertools_validates_an_event(aws: Lambda, deploy: Deploy) -> None:
    name = deploy("validated")

    good = said(aws, name, {"amount": 21})
    bad = invoke(aws, name, {"amount": 0})

    assert good == 42
    assert bad["Payload"]["errorType"] == "SchemaValidationError"


def test_powertools_does_what_was_done_once_only(aws: Lambda, deploy: Deploy) -> None:
    name = deploy("idempotent")

    answers = [said(aws, name, {"order": order}) for order in (1, 1, 2, 1)]

    assert [each["done"] for each in answers] == [1, 1, 2, 1]


def test_fastapi_answers_behind_mangum(aws: Lambda, deploy: Deploy) -> None:
    name = deploy("web")

    read = said(aws, name, http_api("GET", "/orders/7", query="details=true"))
    made = said(aws, name, http_api("POST", "/orders", body='{"amount": 3}'))
    wrong = said(aws, name, http_api("POST", "/orders", body='{"amount": "x"}'))
    none = said(aws, name, http_api("GET", "/nothing"))

    assert json.loads(read["body"]) == {"number": 7, "details": True}
    assert read["headers"]["content-type"] == "application/json"
    statuses = [each["statusCode"] for each in (read, made, wrong, none)]
    assert statuses == [200, 201, 422, 404]


def test_hooks_run_around_the_snapshot(aws: Lambda, deploy: Deploy) -> None:
    name = deploy("hooks")

    assert said(aws, name) == ["before the snapshot", "after the restore"]
