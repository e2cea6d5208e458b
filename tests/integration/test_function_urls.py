"""Function URLs over the real HTTP port; the functions behind them are fakes."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandlot_engine.catalog.open_urls import MAY_INVOKE, OpenUrls
from sandlot_engine.errors import Internal, Throttled, Unavailable
from sandlot_engine.gateway import connections
from sandlot_engine.gateway.connections import Connection
from sandlot_engine.gateway.urls import app
from sandlot_engine.gateway.urls.streams import INTEGRATION
from sandlot_engine.invocation.streamed import Streamed
from sandlot_engine.model.function import FunctionState
from sandlot_engine.model.invocation import MAX_PAYLOAD, Ended, Invocation, Run
from sandlot_engine.model.url import Cors, FunctionUrl, InvokeMode, UrlAuthType
from tests.fakes.backend import ACME
from tests.integration.test_http_invoke import Port, answer_from, serving, until

FORBIDDEN = b'{"Message":"Forbidden. For troubleshooting Function URL authorization'
ORIGIN = "https://page.test"
CORS = Cors(allow_origins=(ORIGIN,), allow_methods=("PUT",), max_age_s=60)
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Site:
    """A port, and a function URL on it."""

    port: Port
    url: FunctionUrl

    @property
    def runner(self) -> Any:
        return self.port.engine.runner

    @property
    def path(self) -> str:
        return f"/url/{self.url.id}"

    def request(
        self,
        method: str = "GET",
        path: str = "/",
        body: bytes = b"",
        *,
        host: str = "box",
        prefix: str | None = None,
        **headers: str,
    ) -> bytes:
        """The bytes of an unsigned request; `_` in a header's name is `-`."""
        lines = [f"{name.replace('_', '-')}: {each}" for name, each in headers.items()]
        if body:
            lines.append(f"content-length: {len(body)}")
        target = (self.path if prefix is None else prefix) + path
        head = [f"{method} {target} HTTP/1.1", f"host: {host}", *lines, "", ""]
        return "\r\n".join(head).encode() + body

    async def get(self, *args: Any, **options: Any) -> Answer:
        return await self.port.exchange(self.request(*args, **options))

    def answers(self, answer: object) -> None:
        self.runner.answers["echo"] = Run(
            ended=Ended.ANSWERED,
            payload=json.dumps(answer).encode(),
            duration_s=0.1,
            wait_s=0.0,
            max_memory_mb=9,
        )


@asynccontextmanager
async def site_of(
    port: Port,
    function: str = "echo",
    *,
    auth_type: UrlAuthType = UrlAuthType.NONE,
    cors: Cors | None = None,
    invoke_mode: InvokeMode = InvokeMode.BUFFERED,
) -> AsyncIterator[Site]:
    urls = OpenUrls(port.engine.urls, port.engine.policies)
    url = await urls.put(
        ACME, function, auth_type=auth_type, cors=cors, invoke_mode=invoke_mode
    )
    yield Site(port, url)


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


async def test_a_host_name_leads_to_the_function(site: Site) -> None:
    host = f"{site.url.id}.lambda-url.eu-west-1.localhost:{site.port.port}"

    status, _, body = await site.get("GET", "/healthz", host=host, prefix="")

    event = json.loads(body)
    assert (status, event["rawPath"]) == (200, "/healthz")
    assert event["requestContext"]["domainName"] == host.rpartition(":")[0]
    assert event["requestContext"]["domainPrefix"] == site.url.id


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
    assert event["headers"]["x-forwarded-port"] == str(site.port.port)


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


async def test_a_function_runs_on_when_its_caller_hangs_up(site: Site) -> None:
    held = site.runner.hold("echo")
    async with site.port.connected() as (_, writer):
        writer.write(site.request())
        await site.runner.started.get()
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


# --- bounds -------------------------------------------------------------------------


async def test_what_is_too_large_is_refused_unread(site: Site) -> None:
    declared = site.request("POST", content_length=str(MAX_PAYLOAD + 1))
    chunks = site.request("POST", transfer_encoding="chunked")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    by_length = await site.port.exchange(declared)
    by_reading = await site.port.exchange(chunks + chunk * (MAX_PAYLOAD // 0x10000 + 1))
    as_event = await site.get("POST", "/", b"x" * (MAX_PAYLOAD - 100))

    assert [answer[0] for answer in (by_length, by_reading, as_event)] == [413] * 3
    assert site.runner.started.empty()


async def test_a_body_of_megabytes_arrives(site: Site) -> None:
    body = b"x" * 4_000_000

    status, _, answer = await site.get("POST", "/", body, content_type="text/plain")

    assert status == 200
    assert json.loads(answer)["body"] == body.decode()


async def test_a_body_that_does_not_come_is_not_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "BODY_S", 0.05)

    status, headers, _ = await site.port.exchange(
        site.request("POST", content_length="5")
    )

    assert (status, headers["x-amzn-errortype"]) == (408, "DeadlineExceededException")


async def test_bodies_of_strangers_have_a_room_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "MAX_BODIES_OF_TENANT", 100_000)
    async with serving() as port, site_of(port) as site:
        refused = await site.get("POST", "/", b"x" * 200_000)
        by_aws = await port.exchange(port.signed(body=b"1" * 200_000))

    assert refused[0] == 429
    assert by_aws[0] == 200


async def test_an_answer_that_nobody_takes_is_dropped(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = asyncio.Event()
    connection_lost = Connection.connection_lost

    def note_lost(connection: Connection, error: Exception | None) -> None:
        connection_lost(connection, error)
        lost.set()

    monkeypatch.setattr(Connection, "connection_lost", note_lost)
    monkeypatch.setattr(connections, "ANSWER_DEADLINE_S", 0.05)
    # Two of them are more than the kernel takes for us.
    site.answers("x" * 6_000_000)

    async with site.port.connected() as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(site.request() * 2)
        async with asyncio.timeout(20):
            await lost.wait()


async def test_requests_are_counted_by_how_they_were_answered(site: Site) -> None:
    await site.get()
    await site.get(prefix="/url/none")

    text = site.port.engine.invoker.metrics.text().decode()

    assert 'sandlot_url_requests_total{status="2xx"} 1.0' in text
    assert 'sandlot_url_requests_total{status="4xx"} 1.0' in text


# --- idempotency --------------------------------------------------------------------


async def test_a_repeat_gets_the_first_response(site: Site) -> None:
    first = await site.get("POST", "/", b"1", idempotency_key='"k"')
    repeat = await site.get("POST", "/", b"1", idempotency_key="k")
    other = await site.get("POST", "/", b"1", idempotency_key="k2")

    assert repeat[2] == first[2]
    assert repeat[1]["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first[1]
    assert other[2] != first[2]


@pytest.mark.parametrize(
    "changed",
    [
        {"body": b"2"},
        {"path": "/other"},
        {"path": "/?a=1"},
        {"method": "PUT"},
        {"authorization": "Bearer somebody-else"},
        {"cookie": "session=somebody-else"},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_a_key_is_of_one_request_of_one_sender(
    site: Site, changed: dict[str, Any]
) -> None:
    asked = {"method": "POST", "path": "/", "body": b"1", "idempotency_key": "k"}
    await site.get(**asked, cookie="session=mine")

    status, headers, body = await site.get(
        **({**asked, "cookie": "session=mine"} | changed)
    )

    assert status == 422
    assert headers["x-amzn-errortype"] == "IdempotentParameterMismatchException"
    assert b"used for another" in body


async def test_what_is_no_key_is_refused(site: Site) -> None:
    status, _, body = await site.get(idempotency_key="x" * 256)

    assert status == 400
    assert b"idempotency key" in body


async def test_a_throttled_request_can_be_sent_again(site: Site) -> None:
    site.runner.answers["echo"] = Throttled("", reason="R", limit=1, retry_after_s=1)
    refused = await site.get("POST", "/", b"1", idempotency_key="k")
    del site.runner.answers["echo"]

    again = await site.get("POST", "/", b"1", idempotency_key="k")

    assert (refused[0], again[0]) == (429, 200)
    assert "idempotent-replayed" not in again[1]


# --- streams ------------------------------------------------------------------------


@dataclass
class Source:
    """Where streamed answers come from: pieces that a test puts in."""

    pieces: "asyncio.Queue[bytes | Exception | None]"
    content_type: str = INTEGRATION
    may_stream: list[bool] | None = None

    @asynccontextmanager
    async def __call__(
        self, invocation: Invocation, *, may_stream: bool
    ) -> AsyncIterator[Streamed]:
        self.may_stream = [*(self.may_stream or []), may_stream]
        yield Streamed(content_type=self.content_type, pieces=self._each())

    async def _each(self) -> AsyncIterator[bytes]:
        while (piece := await self.pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece


@asynccontextmanager
async def streaming(
    **options: Any,
) -> AsyncIterator[tuple[Site, Source, asyncio.StreamReader]]:
    source = Source(asyncio.Queue(), **options)
    async with serving(answering=source) as port:
        mode = InvokeMode.RESPONSE_STREAM
        async with site_of(port, invoke_mode=mode, cors=CORS) as site:
            async with port.connected() as (reader, writer):
                writer.write(site.request(origin=ORIGIN))
                yield site, source, reader


async def test_a_stream_is_passed_on_as_it_comes() -> None:
    head = {"statusCode": 203, "headers": {"x-one": "1"}, "cookies": ["a=1"]}
    async with streaming() as (_, source, reader):
        source.pieces.put_nowait(json.dumps(head).encode() + bytes(4))
        source.pieces.put_nowait(bytes(4) + b"one")

        told = await reader.readuntil(b"\r\n\r\n")
        first = await reader.readexactly(len(b"3\r\none\r\n"))
        source.pieces.put_nowait(b"two")
        second = await reader.readexactly(len(b"3\r\ntwo\r\n"))
        source.pieces.put_nowait(None)
        end = await reader.readexactly(len(b"0\r\n\r\n"))

    assert told.startswith(b"HTTP/1.1 203 ")
    assert b"\r\nx-one: 1\r\n" in told
    assert b"\r\nset-cookie: a=1\r\n" in told
    assert b"\r\ncontent-type: application/octet-stream\r\n" in told
    assert b"\r\naccess-control-allow-origin: https://page.test\r\n" in told
    assert b"\r\ntransfer-encoding: chunked\r\n" in told
    assert (first, second, end) == (b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n")
    assert source.may_stream == [True]


async def test_a_stream_that_breaks_has_no_end() -> None:
    async with streaming(content_type="text/plain") as (_, source, reader):
        source.pieces.put_nowait(b"one")
        source.pieces.put_nowait(OSError("it broke"))

        came = await reader.read()

    assert came.endswith(b"3\r\none\r\n")


async def test_a_stream_without_a_head_is_a_bad_gateway() -> None:
    async with streaming() as (_, source, reader):
        source.pieces.put_nowait(b"no head")
        source.pieces.put_nowait(None)

        status, _, body = await answer_from(reader)

    assert (status, body) == (502, b"Internal Server Error")


async def test_a_buffered_url_asks_for_no_stream() -> None:
    source = Source(asyncio.Queue(), content_type="text/plain")
    source.pieces.put_nowait(None)
    async with serving(answering=source) as port, site_of(port) as site:
        await site.get()

    assert source.may_stream == [False]


# --- Invoke -------------------------------------------------------------------------


def invoke(port: Port, body: bytes = b"1", *, kind: str = "RequestResponse") -> bytes:
    headers = {"Idempotency-Key": "k", "X-Amz-Invocation-Type": kind}
    return port.signed(body=body, headers=headers)


async def test_invoke_takes_a_key(site: Site) -> None:
    port = site.port
    first = await port.exchange(invoke(port))
    repeat = await port.exchange(invoke(port))
    other = await port.exchange(invoke(port, b"2"))
    unkeyed = await port.exchange(port.signed(body=b"2"))

    assert (first[2], repeat[2]) == (b"1", b"1")
    assert repeat[1]["x-amzn-requestid"] == first[1]["x-amzn-requestid"]
    assert repeat[1]["idempotent-replayed"] == "true"
    assert other[0] == 422
    assert other[1]["x-amzn-errortype"] == "IdempotentParameterMismatchException"
    assert unkeyed[2] == b"2"


async def test_an_event_with_a_key_is_queued_once(site: Site) -> None:
    port = site.port

    answers = [await port.exchange(invoke(port, kind="Event")) for _ in range(3)]
    await until(lambda: not port.engine.invoker.events.left)

    assert [answer[0] for answer in answers] == [202] * 3
    assert len({answer[1]["x-amzn-requestid"] for answer in answers}) == 1
    assert site.runner.started.qsize() == 1
