"""Function URLs, by curl, boto3's signatures, FastAPI behind them, and a browser."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandlot import Cors
from tests.compat.browser import Site, document_of, needs_browser, said_by, site
from tests.compat.clients import (
    REGION,
    Account,
    Cloud,
    Lambda,
    package,
    refused,
    saying,
    wait_updated,
)
from tests.compat.commands import needs_clients
from tests.compat.conftest import Create, Deploy

CURL = shutil.which("curl") or ""
CURL_S = 30

ECHO = """
import json

def handler(event, context):
    if event["rawPath"] == "/cookies":
        return {"statusCode": 200, "cookies": ["a=1", "b=2"], "body": "set"}
    if event["rawPath"] == "/fail":
        raise ValueError("a secret")
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json", "x-seen": "yes"},
        "body": json.dumps(event),
    }
"""

needs_curl = pytest.mark.skipif(
    not CURL, reason="no curl is installed; `make test` does it as root where apt is"
)


class Answer(NamedTuple):
    status: int
    head: str
    body: str

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


def curl(url: str, *options: str) -> Answer:
    done = subprocess.run(
        [CURL, "-sS", "--include", "--max-time", "20", *options, url],
        capture_output=True,
        timeout=CURL_S,
        check=True,
    )
    # Byte by character, so that what is no text can be compared as well.
    head, _, body = done.stdout.decode("latin-1").partition("\r\n\r\n")
    return Answer(int(head.split()[1]), head.lower(), body)


@pytest.fixture
def url(account: Account, create: Create) -> str:
    """Anybody may call it; it answers its event."""
    name = create(package(ECHO))
    return account.grpc().put_url(name, auth="none").url


@pytest.fixture
def page() -> Iterator[Site]:
    with site() as made:
        yield made


def by_host(url: str) -> str:
    """The same, called by its host name."""
    parts = urlsplit(url)
    url_id = parts.path.split("/")[2]
    return f"http://{url_id}.lambda-url.{REGION}.localhost:{parts.port}/"


# --- curl ---------------------------------------------------------------------------


@needs_curl
def test_curl_calls_a_function(url: str) -> None:
    plain = curl(url + "a%20b?x=1&x=2")
    form = curl(url, "--data", "a=1")
    cookies = curl(url + "cookies", "--cookie", "s=1")
    failed = curl(url + "fail")

    assert plain.event["rawPath"] == "/a%20b"
    assert plain.event["queryStringParameters"] == {"x": "1,2"}
    assert plain.event["requestContext"]["http"]["userAgent"].startswith("curl/")
    assert form.event["isBase64Encoded"] is True
    assert "set-cookie: a=1\r\nset-cookie: b=2" in cookies.head
    assert (failed.status, failed.body) == (502, "Internal Server Error")


@needs_curl
def test_curl_finds_it_by_its_host_name(url: str) -> None:
    answer = curl(by_host(url) + "healthz")

    assert answer.event["rawPath"] == "/healthz"
    assert answer.event["requestContext"]["domainName"].endswith(".localhost")


@needs_curl
def test_the_first_answer_is_given_again(url: str) -> None:
    key = ("--header", "Idempotency-Key: order-1", "--data", "1")

    first, repeat = curl(url, *key), curl(url, *key)
    other = curl(url, *key[:2], "--data", "2")

    assert repeat.body == first.body
    assert "idempotent-replayed: true" in repeat.head
    assert other.status == 422


# --- by AWS's API -------------------------------------------------------------------


@needs_curl
def test_a_url_of_aws_s_api_needs_both_permissions(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))
    made = aws.create_function_url_config(FunctionName=name, AuthType="NONE")
    permission = {"FunctionName": name, "Principal": "*"}

    nobody = curl(made["FunctionUrl"])
    aws.add_permission(
        **permission,
        StatementId="url",
        Action="lambda:InvokeFunctionUrl",
        FunctionUrlAuthType="NONE",
    )
    half = curl(made["FunctionUrl"])
    aws.add_permission(
        **permission,
        StatementId="invoke",
        Action="lambda:InvokeFunction",
        InvokedViaFunctionUrl=True,
    )
    anybody = curl(made["FunctionUrl"])
    aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    throttled = curl(made["FunctionUrl"])
    aws.delete_function_url_config(FunctionName=name)
    gone = curl(made["FunctionUrl"])

    assert [nobody.status, half.status] == [403, 403]
    assert (anybody.status, anybody.body) == (200, "a word")
    assert throttled.status == 429
    assert (gone.status, gone.body) == (403, '{"Message":null}')


@needs_curl
def test_an_alias_has_a_url_of_its_own(
    aws: Lambda, account: Account, create: Create
) -> None:
    name = create(saying("the first"))
    version = aws.publish_version(FunctionName=name)["Version"]
    aws.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    aws.update_function_code(FunctionName=name, ZipFile=saying("the second"))
    wait_updated(aws, name)
    client = account.grpc()
    urls = [client.put_url(name, auth="none", alias=a).url for a in ("", "live")]

    answers = [curl(each).body for each in urls]
    aws.delete_alias(FunctionName=name, Name="live")

    assert answers == ["the second", "the first"]
    assert curl(urls[1]).status == 403


@needs_curl
def test_a_signed_request_is_let_in(
    cloud: Cloud, account: Account, create: Create
) -> None:
    name = create(package(ECHO))
    url = account.grpc().put_url(name).url
    other = cloud.account("other")

    def signed(account: Account) -> Answer:
        request = AWSRequest("POST", url + "a?b=c", data=b'{"n":1}')
        credentials = Credentials(
            account.key.access_key_id, account.key.secret_access_key
        )
        SigV4Auth(credentials, "lambda", REGION).add_auth(request)
        headers = [f"{name}: {value}" for name, value in request.headers.items()]
        options = [part for header in headers for part in ("--header", header)]
        return curl(url + "a?b=c", *options, "--data", '{"n":1}')

    assert curl(url).status == 403
    assert signed(other).status == 403
    iam = signed(account).event["requestContext"]["authorizer"]["iam"]
    assert iam["accountId"] == account.id


def test_urls_are_not_made_of_what_there_is_not(aws: Lambda, create: Create) -> None:
    name = create(saying("a word"))

    refusal = refused(
        aws.create_function_url_config,
        FunctionName=name,
        AuthType="NONE",
        Cors={"AllowOrigins": ["a\nb"]},
    )

    assert refusal.status == 400


# --- FastAPI ------------------------------------------------------------------------


@needs_clients
@needs_curl
def test_fastapi_is_served(account: Account, deploy: Deploy) -> None:
    url = account.grpc().put_url(deploy("web"), auth="none").url

    order = curl(url + "orders/7?details=true")
    made = curl(
        url + "orders",
        *("--header", "content-type: application/json", "--data", '{"amount": 3}'),
    )
    cookies = curl(url + "login")
    raw = curl(url + "bytes")
    none = curl(url + "nothing")

    assert json.loads(order.body) == {"number": 7, "details": True}
    assert raw.body.encode("latin-1") == bytes(range(256))
    assert (made.status, json.loads(made.body)) == (201, {"amount": 3})
    assert "set-cookie: one=1" in cookies.head
    assert "set-cookie: two=2" in cookies.head
    assert none.status == 404


@needs_clients
@needs_browser
def test_a_browser_shows_a_page_of_fastapi(
    account: Account, deploy: Deploy, tmp_path: Path
) -> None:
    url = account.grpc().put_url(deploy("web"), auth="none").url

    by_path = document_of(url + "page/Ada", tmp_path)
    by_name = document_of(by_host(url) + "page/Bob", tmp_path)

    assert "<h1>Hello, Ada</h1>" in by_path
    assert "<h1>Hello, Bob</h1>" in by_name


# --- a browser's fetch() --------------------------------------------------------------

FETCH = """
const url = %s;
const tell = async (path, options) => {
  try {
    const answer = await fetch(url + path, options);
    const seen = answer.headers.get("x-seen");
    return {status: answer.status, seen, event: await answer.json()};
  } catch (error) {
    return {refused: error.name};
  }
};
const credentials = "include";
await fetch(url + "cookies", {credentials});
return {
  get: await tell("a?b=c"),
  put: await tell("a", {
    method: "PUT", headers: {"x-one": "1", "content-type": "application/json"},
    body: JSON.stringify({n: 1}),
  }),
  cookies: await tell("", {credentials}),
  method: await tell("", {method: "DELETE"}),
  header: await tell("", {headers: {"x-two": "2"}}),
};
"""


@needs_browser
def test_scripts_of_another_origin_may_what_cors_says(
    account: Account, create: Create, page: Site, tmp_path: Path
) -> None:
    name = create(package(ECHO))
    cors = Cors(
        origins=(page.origin(),),
        methods=("GET", "PUT"),
        headers=("x-one", "content-type"),
        expose_headers=("x-seen",),
        credentials=True,
    )
    url = account.grpc().put_url(name, auth="none", cors=cors).url

    said = said_by(page, FETCH % json.dumps(url), tmp_path)
    other = said_by(page, FETCH % json.dumps(url), tmp_path, host="localhost")

    assert (said["get"]["status"], said["get"]["seen"]) == (200, "yes")
    assert said["get"]["event"]["headers"]["origin"] == page.origin()
    assert said["put"]["event"]["requestContext"]["http"]["method"] == "PUT"
    assert said["put"]["event"]["headers"]["x-one"] == "1"
    assert json.loads(said["put"]["event"]["body"]) == {"n": 1}
    assert sorted(said["cookies"]["event"]["cookies"]) == ["a=1", "b=2"]
    assert said["method"] == said["header"] == {"refused": "TypeError"}
    assert other == {"threw": "TypeError: Failed to fetch"}


@needs_browser
def test_without_cors_settings_a_preflight_is_the_function_s(
    url: str, page: Site, tmp_path: Path
) -> None:
    script = f"""
        const url = {json.dumps(url)};
        const answer = await fetch(url, {{mode: "no-cors"}});
        const cors = await fetch(url).catch(error => error.name);
        return {{type: answer.type, cors}};
    """

    assert said_by(page, script, tmp_path) == {"type": "opaque", "cors": "TypeError"}
