"""Functions as the libraries' own guides have them, with the events that AWS documents:
WSGI adapters, Chalice, Powertools; for Node, Express and Middy."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat import aws_events as events
from tests.compat.clients import Lambda, said
from tests.compat.commands import CLIENTS, needs_clients
from tests.compat.conftest import Create, Deploy, libraries_files
from tests.e2e.conftest import GUESTS
from tests.fakes.zips import zip_of

pytestmark = needs_clients

NEEDED = (
    *("flask", "werkzeug", "jinja2", "markupsafe", "click", "itsdangerous", "blinker"),
    *("apig_wsgi", "serverless_wsgi", "serverless_wsgi.py", "chalice"),
    *("aws_lambda_powertools", "jmespath", "typing_extensions.py"),
)
"""Of the libraries that are installed: with all, each function takes seconds more."""

MODULES = CLIENTS / "node" / "node_modules"
LIBRARIES = GUESTS / "libraries"
ORDER = {"number": 7, "details": "true"}


@pytest.fixture(scope="module")
def few(aws: Lambda, runtime: str) -> Iterator[str]:
    """A layer with what the functions here need."""
    files = {
        f"python/{path}": content
        for path, content in libraries_files()
        if path.partition("/")[0] in NEEDED
    }
    made = aws.publish_layer_version(
        LayerName="collections",
        CompatibleRuntimes=[runtime],
        Content={"ZipFile": zip_of(files)},
    )
    yield made["LayerVersionArn"]
    aws.delete_layer_version(LayerName="collections", VersionNumber=made["Version"])


@pytest.fixture
def deploy(create: Create, few: str, runtime: str) -> Deploy:
    """`deploy(name)`: a handler of the files of tests/guests/libraries."""
    sources = ("flask_apig", "flask_serverless", "chalice_app", "batch", "balanced")
    files = {
        f"{each}.py": (LIBRARIES / f"{each}.py").read_text()
        for each in (*sources, "objects")
    }

    def deploy(handler: str) -> str:
        return create(
            zip_of(files),
            Handler=handler if "." in handler else f"{handler}.handler",
            Runtime=runtime,
            Layers=[few],
            MemorySize=512,
            Timeout=30,
        )

    return deploy


def test_flask_behind_apig_wsgi(aws: Lambda, deploy: Deploy) -> None:
    name = deploy("flask_apig")

    by_api = said(aws, name, events.http_api("GET", "/orders/7", query="details=true"))
    made = said(aws, name, events.http_api("POST", "/orders", body='{"amount": 3}'))
    balanced = said(
        aws, name, events.load_balancer("GET", "/orders/7", query="details=true")
    )
    none = said(aws, name, events.http_api("GET", "/nothing"))

    assert json.loads(by_api["body"]) == json.loads(balanced["body"]) == ORDER
    assert (made["statusCode"], json.loads(made["body"])) == (201, {"amount": 3})
    assert none["statusCode"] == 404


def test_flask_behind_serverless_wsgi(aws: Lambda, deploy: Deploy) -> None:
    name = deploy("flask_serverless")

    by_api = said(aws, name, events.http_api("GET", "/orders/7", query="details=true"))
    balanced = said(
        aws, name, events.load_balancer("GET", "/orders/7", query="details=true")
    )

    assert json.loads(by_api["body"]) == json.loads(balanced["body"]) == ORDER
    assert (by_api["statusCode"], balanced["statusCode"]) == (200, 200)
    assert balanced["statusDescription"] == "200 OK"


def test_chalice_serves_a_rest_api(aws: Lambda, deploy: Deploy) -> None:
    name = deploy("chalice_app.app")

    def get(number: str) -> Any:
        event = events.rest_api(
            *("GET", f"/orders/{number}"),
            resource="/orders/{number}",
            parameters={"number": number},
            query="details=true",
        )
        return said(aws, name, event)

    good, bad = get("7"), get("0")
    assert json.loads(good["body"]) == {"number": "7", "details": "true"}
    assert (good["statusCode"], bad["statusCode"]) == (200, 400)
    assert json.loads(bad["body"])["Code"] == "BadRequestError"


def test_chalice_takes_messages_and_objects(aws: Lambda, deploy: Deploy) -> None:
    messages, objects = (
        deploy("chalice_app.on_message"),
        deploy("chalice_app.on_object"),
    )

    assert said(aws, messages, events.sqs(["a", "b"])) == ['"a"', '"b"']
    assert said(aws, objects, events.s3("orders", "in/one+two.csv")) == [
        "orders",
        "in/one two.csv",
    ]


def test_powertools_answers_a_load_balancer(aws: Lambda, deploy: Deploy) -> None:
    name = deploy("balanced")

    event = events.load_balancer("GET", "/orders/7", query="details=true")
    answer = said(aws, name, event)

    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == {"number": "7", "details": "true"}


def test_powertools_says_which_messages_of_a_batch_failed(
    aws: Lambda, deploy: Deploy
) -> None:
    name = deploy("batch")

    answer = said(aws, name, events.sqs([{"amount": 1}, {"amount": -1}]))

    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}


def test_powertools_reads_a_notification_of_s3(aws: Lambda, deploy: Deploy) -> None:
    name = deploy("objects")

    answer = said(aws, name, events.s3("orders", "in/one.csv"))

    assert answer == {"bucket": "orders", "keys": ["in/one.csv"]}


@pytest.fixture(scope="module")
def modules() -> dict[str, bytes]:
    """What npm has installed, as it goes into a package."""
    if shutil.which("node") is None or not MODULES.is_dir():
        pytest.skip("there is no Node here, or no npm when the clients were installed")
    return {
        str(Path("node_modules") / path.relative_to(MODULES)): path.read_bytes()
        for path in MODULES.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture
def deploy_node(create: Create, modules: dict[str, bytes]) -> Callable[[str], str]:
    """`deploy_node(file)`: one of tests/guests/libraries/node, with all modules."""

    def deploy(file: str) -> str:
        source = (LIBRARIES / "node" / file).read_bytes()
        return create(
            zip_of({file: source, **modules}),
            Runtime="nodejs20.x",
            Handler=f"{file.partition('.')[0]}.handler",
            MemorySize=512,
            Timeout=30,
        )

    return deploy


def test_express_behind_serverless_http(
    aws: Lambda, deploy_node: Callable[[str], str]
) -> None:
    name = deploy_node("web.js")

    by_api = said(aws, name, events.http_api("GET", "/orders/7", query="details=true"))
    made = said(aws, name, events.http_api("POST", "/orders", body='{"amount": 3}'))
    balanced = said(
        aws, name, events.load_balancer("GET", "/orders/7", query="details=true")
    )

    expected = {"number": "7", "details": "true"}
    assert json.loads(by_api["body"]) == json.loads(balanced["body"]) == expected
    assert (made["statusCode"], json.loads(made["body"])) == (201, {"amount": 3})


def test_middy_around_an_es_module(
    aws: Lambda, deploy_node: Callable[[str], str]
) -> None:
    name = deploy_node("middled.mjs")

    good = said(aws, name, events.http_api("POST", "/", body='{"amount": 3}'))
    bad = said(aws, name, events.http_api("POST", "/", body="{"))

    assert (good["statusCode"], json.loads(good["body"])) == (201, {"amount": 3})
    assert (bad["statusCode"], bad["body"]) == (
        415,
        "Invalid or malformed JSON was provided",
    )
