"""Function URLs over the real HTTP port; the functions behind them are fakes."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandlot_engine.catalog.open_urls import MAY_INVOKE
from sandlot_engine.errors import Internal, Throttled, Unavailable
from sandlot_engine.model.function import FunctionState
from sandlot_engine.model.invocation import Ended, LogSource, Run
from sandlot_engine.model.url import UrlAuthType
from tests.fakes.backend import ACME
from tests.integration.http_port import answer_from, serving, until
from tests.integration.sites import CORS, ORIGIN, Site, noting_losses, site_of

FORBIDDEN = b'{"Message":"Forbidden. For troubleshooting Function URL authorization'


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """One that anybody may call, of a function that answers its event."""
    async with serving() as port, site_of(port) as made:
        yield made


@pytest.fixture
async def signed_site() -> AsyncIterator[Site]:
    """One whose callers sign."""
    async with serving() as port:
        async with site_of(port, auth_type=UrlAuthType.AWS_IAM) as made:
            yield made


# --- which ------------------------------------------------------------------------


async def test_a_path_leads_to_the_function(site: Site) -> None:
    status, headers, body = await site.get("GET", "/a%2Fb/c?d=1&d=2", x_one="1")

    event = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert (event["rawPath"], event["rawQueryString"]) == ("/a%2Fb/c", "d=1&d=2")
    assert event["headers"]["x-one"] == "1"
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert event["requestContext"]["requestId"] == headers["x-amzn-requestid"]


async def test_what_trails_a_body_is_no_header(site: Site) -> None:
    head = f"POST /url/{site.url.id}/ HTTP/1.1\r\nhost: x\r\n"
    head += "transfer-encoding: chunked\r\n\r\n"
    trailers = "x-forged: yes\r\nx-forwarded-for: 10.0.0.1\r\n"
    async with site.port.connected() as (reader, writer):
        writer.write(f"{head}2\r\n{{}}\r\n0\r\n{trailers}\r\n".encode())
        status, _, body = await answer_from(reader)

    event = json.loads(body)
    assert (status, event["isBase64Encoded"]) == (200, True)
    assert "x-forged" not in event["headers"]
    assert event["headers"]["x-forwarded-for"] == "127.0.0.1"


async def test_a_host_name_leads_to_the_function(site: Site) -> None:
    host = f"{site.url.id}.lambda-url.eu-west-1.localhost:{site.port.port}"

    status, _, body = await site.get("GET", "/healthz", host=host, prefix="")

    event = json.loads(body)
    assert (status, event["rawPath"]) == (200, "/healthz")
    assert event["requestContext"]["domainName"] == host.rpartition(":")[0]
    assert event["requestContext"]["domainPrefix"] == site.url.id
    assert event["headers"]["x-forwarded-port"] == str(site.port.port)


async def test_an_id_that_nobody_has_is_nothing(site: Site) -> None:
    by_path = await site.get(prefix="/url/" + "a" * 32)
    by_host = await site.get(host="x.lambda-url.eu-west-1.localhost", prefix="")
    aws = await site.get(
        "POST",
        "/2015-03-31/functions/echo/invocations",
        host="x.lambda-url.eu-west-1.localhost",
        prefix="",
    )
    await site.port.engine.urls.delete(ACME, "echo")
    gone = await site.get()

    for status, headers, body in (by_path, by_host, aws, gone):
        assert (status, body) == (403, b'{"Message":null}')
        assert headers["x-amzn-errortype"] == "AccessDeniedException"


async def test_a_url_outlives_its_function_and_leads_nowhere(site: Site) -> None:
    await site.port.engine.functions.delete(ACME, "echo")

    assert (await site.get())[2] == b'{"Message":null}'


async def test_the_event_says_when_and_how_and_what(site: Site) -> None:
    _, _, body = await site.get(
        "POST", "/", b"a=1", content_type="application/x-www-form-urlencoded"
    )

    event = json.loads(body)
    assert event["version"] == "2.0"
    assert event["requestContext"]["http"]["method"] == "POST"
    assert base64.b64decode(event["body"]) == b"a=1"
    assert event["headers"]["x-forwarded-proto"] == "http"
    assert event["headers"]["x-forwarded-port"] == "80"


# --- who --------------------------------------------------------------------------


async def test_a_public_url_needs_both_permissions(site: Site) -> None:
    open_to_all = await site.get()

    await site.port.engine.policies.remove(ACME, "echo", statement_id=MAY_INVOKE)
    half_open = await site.get()

    assert open_to_all[0] == 200
    assert half_open[0] == 403
    assert half_open[1]["x-amzn-errortype"] == "AccessDeniedException"
    assert half_open[2].startswith(FORBIDDEN)


async def test_a_public_url_without_a_policy_is_forbidden_before_the_body(
    site: Site,
) -> None:
    for statement_id in ("FunctionURLAllowPublicAccess", MAY_INVOKE):
        await site.port.engine.policies.remove(ACME, "echo", statement_id=statement_id)
    request = site.request("POST", "/", b"x" * 100_000)

    status, _, _ = await site.port.exchange(request[: request.index(b"\r\n\r\n") + 4])

    assert status == 403


async def test_its_owner_may_call_a_signed_url(signed_site: Site) -> None:
    site = signed_site
    request = site.port.signed(site.path + "/a?b=c%20d", body=b"hello")

    status, _, body = await site.port.exchange(request)

    event = json.loads(body)
    iam = event["requestContext"]["authorizer"]["iam"]
    assert status == 200
    assert (iam["accountId"], iam["accessKey"]) == (ACME, "key-of-acme")
    assert event["requestContext"]["accountId"] == ACME
    assert "authorization" not in event["headers"]


async def test_a_presigned_url_is_signed(signed_site: Site) -> None:
    site = signed_site
    request = AWSRequest("GET", f"{site.port.url}{site.path}/a?b=c")
    credentials = Credentials("key-of-acme", "key-of-acme-secret")
    SigV4QueryAuth(credentials, "lambda", "eu-central-1", 60).add_auth(request)
    target = str(request.url).removeprefix(site.port.url)

    host = f"127.0.0.1:{site.port.port}"
    status, _, body = await site.get("GET", target, prefix="", host=host)

    assert status == 200
    assert json.loads(body)["rawPath"] == "/a"
    assert "X-Amz-Signature" in target
    assert b"X-Amz-Signature" not in body, "who has that can call as its signer"


async def test_who_did_not_sign_or_may_not_is_forbidden(signed_site: Site) -> None:
    site = signed_site
    unsigned = await site.get()
    wrong = await site.port.exchange(site.port.signed(site.path, secret="wrong"))
    other = await site.port.exchange(site.port.signed(site.path, key="key-of-globex"))

    assert unsigned[2].startswith(FORBIDDEN)
    assert other[2].startswith(FORBIDDEN)
    assert wrong[1]["x-amzn-errortype"] == "InvalidSignatureException"
    assert {answer[0] for answer in (unsigned, wrong, other)} == {403}
    assert site.runner.started.empty()


async def test_another_account_may_call_where_the_policy_lets_it(
    signed_site: Site,
) -> None:
    site = signed_site
    for action, auth_type in (
        ("lambda:InvokeFunctionUrl", "AWS_IAM"),
        ("lambda:InvokeFunction", ""),
    ):
        await site.port.engine.policies.add(
            ACME,
            "echo",
            statement_id=action.partition(":")[2],
            action=action,
            principal="222222222222",
            function_url_auth_type=auth_type,
        )

    status, _, _ = await site.port.exchange(
        site.port.signed(site.path, key="key-of-globex")
    )

    assert status == 200


# --- what is answered ---------------------------------------------------------------


async def test_the_function_says_what_the_response_is(site: Site) -> None:
    site.answers(
        {
            "statusCode": 201,
            "headers": {"Content-Type": "image/png", "X-One": "1"},
            "cookies": ["a=1", "b=2"],
            "body": "AP8=",
            "isBase64Encoded": True,
        }
    )

    async with site.port.connected() as (reader, writer):
        writer.write(site.request())
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(2)

    assert head.startswith(b"HTTP/1.1 201 ")
    assert b"\r\ncontent-type: image/png\r\n" in head
    assert b"\r\nset-cookie: a=1\r\n" in head
    assert b"\r\nset-cookie: b=2\r\n" in head
    assert body == b"\x00\xff"


@pytest.mark.parametrize(
    "answer",
    [
        Run(ended=Ended.EXITED, duration_s=0.1, wait_s=0.0, max_memory_mb=9),
        Run(ended=Ended.TIMED_OUT, duration_s=0.1, wait_s=0.0, max_memory_mb=9),
        {"statusCode": 1},
        {"statusCode": 200, "headers": {"a": "b\r\nc: d"}},
    ],
    ids=["crash", "timeout", "no status", "no header"],
)
async def test_what_is_no_answer_is_a_bad_gateway(site: Site, answer: Any) -> None:
    if isinstance(answer, Run):
        site.runner.answers["echo"] = answer
    else:
        site.answers(answer)

    status, headers, body = await site.get()

    assert (status, body) == (502, b"Internal Server Error")
    assert headers["content-type"] == "application/json"


PRELUDE = b'{"statusCode": 200}' + bytes(8) + b"body"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b'{"statusCode": 1}', b"statusCode is no number from 200 to 599"),
        (b"no json", b"it is no JSON"),
        (PRELUDE, b"the URL has to have the invoke mode RESPONSE_STREAM"),
    ],
)
async def test_why_an_answer_is_none_is_in_the_function_s_log_alone(
    site: Site, answer: bytes, why: bytes
) -> None:
    site.runner.answers["echo"] = Run(
        ended=Ended.ANSWERED,
        payload=answer,
        duration_s=0.1,
        wait_s=0.0,
        max_memory_mb=9,
    )

    _, headers, body = await site.get()

    *_, (tenant, function, line) = site.port.engine.records.lines
    assert (tenant, function, line.source) == (ACME, "echo", LogSource.PLATFORM)
    assert line.text.startswith(b"Function URL: 502, ")
    assert line.text.endswith(why)
    assert line.request_id == headers["x-amzn-requestid"]
    assert why not in body


async def test_a_throttle_says_when_to_come_again_and_no_more(site: Site) -> None:
    site.runner.answers["echo"] = Throttled(
        "acme has 1 of 1", reason="Any", limit=1, retry_after_s=1.5
    )

    status, headers, body = await site.get()

    assert (status, headers["retry-after"]) == (429, "2")
    assert headers["x-amzn-errortype"] == "TooManyRequestsException"
    assert b"acme" not in body


@pytest.mark.parametrize(
    ("error", "status"),
    [(Unavailable("secret"), 503), (Internal("secret"), 500), (OSError("secret"), 500)],
    ids=type,
)
async def test_what_breaks_here_is_not_told(
    site: Site, error: Exception, status: int
) -> None:
    site.runner.answers["echo"] = error

    answer = await site.get()

    assert answer[0] == status
    assert b"secret" not in answer[2]


async def test_a_function_that_is_not_ready_says_so(site: Site) -> None:
    functions = site.port.engine.functions
    function = functions.all[ACME, "echo"]
    object.__setattr__(function, "serving", None)
    object.__setattr__(function, "state", FunctionState.PENDING)

    status, headers, _ = await site.get()

    assert status == 409
    assert headers["x-amzn-errortype"] == "ResourceConflictException"


async def test_head_and_options_are_the_functions(site: Site) -> None:
    site.answers({"statusCode": 200, "body": "12345"})

    async with site.port.connected() as (reader, writer):
        writer.write(site.request("HEAD") + site.request("OPTIONS", origin=ORIGIN))
        head = await reader.readuntil(b"\r\n\r\n")
        options = await answer_from(reader)

    assert b"content-length: 5\r\n" in head
    assert options[2] == b"12345"


async def test_a_function_runs_on_when_its_caller_hangs_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = noting_losses(monkeypatch)
    held = site.runner.hold("echo")
    async with site.port.connected() as (_, writer):
        writer.write(site.request())
        await site.runner.started.get()
    await lost.wait()
    held.set()

    await until(lambda: site.port.engine.records.records)

    assert site.runner.cancelled == []


# --- cors ---------------------------------------------------------------------------


async def test_a_preflight_is_answered_without_the_function() -> None:
    asks = {"origin": ORIGIN, "access_control_request_method": "PUT"}
    async with serving() as port:
        async with site_of(port, auth_type=UrlAuthType.AWS_IAM, cors=CORS) as site:
            status, headers, _ = await site.get("OPTIONS", **asks)
            refused = await site.get("GET", origin=ORIGIN)

    assert status == 200
    assert headers["access-control-allow-origin"] == ORIGIN
    assert headers["access-control-allow-methods"] == "PUT"
    assert headers["access-control-max-age"] == "60"
    assert site.runner.started.empty()
    # Or the page could not see why.
    assert refused[0] == 403
    assert refused[1]["access-control-allow-origin"] == ORIGIN


async def test_cors_settings_replace_what_the_function_says() -> None:
    async with serving() as port, site_of(port, cors=CORS) as site:
        site.answers(
            {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*"}}
        )
        ours = await site.get(origin=ORIGIN)
        theirs = await site.get(origin="https://other.test")

    assert ours[1]["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-origin" not in theirs[1]
