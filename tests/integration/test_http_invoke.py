"""Invoking over the real HTTP port: by boto3, and by bytes that boto3 never sends."""

import asyncio
import base64
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from sandlot_engine.errors import Internal, Throttled, Unavailable
from sandlot_engine.gateway import connections, http
from sandlot_engine.gateway.aws import app, receiving
from sandlot_engine.gateway.aws.operations import OPERATIONS, Call
from sandlot_engine.model.invocation import (
    MAX_EVENT_PAYLOAD,
    MAX_PAYLOAD,
    Ended,
    Run,
)
from tests.fakes.backend import ACME, GLOBEX, FakeEngine

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass
class Port:
    """The engine, and how to reach it."""

    engine: FakeEngine
    port: int
    server: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, tenant: str = "acme", **options: Any) -> Any:
        options = {"region_name": "eu-central-1"} | options
        return boto3.client(
            "lambda",
            endpoint_url=self.url,
            aws_access_key_id=f"key-of-{tenant}",
            aws_secret_access_key=f"key-of-{tenant}-secret",
            config=Config(
                retries={"total_max_attempts": 1}, read_timeout=20, connect_timeout=5
            ),
            **options,
        )

    async def call(self, operation: str, tenant: str = "acme", **input_: Any) -> Any:
        """By boto3, on a thread of its own."""

        def run() -> Any:
            client = self.client(tenant)
            try:
                answer = getattr(client, operation)(**input_)
                if "Payload" in answer:
                    with answer["Payload"] as stream:
                        answer["Payload"] = stream.read()
                return answer
            finally:
                client.close()

        return await asyncio.to_thread(run)

    async def invoke(self, function: str = "echo", **input_: Any) -> Any:
        return await self.call("invoke", FunctionName=function, **input_)

    async def refused(self, operation: str = "invoke", **input_: Any) -> dict[str, Any]:
        """The answer that boto3 makes an error of."""
        if operation == "invoke":
            input_ = {"FunctionName": "echo"} | input_
        with pytest.raises(ClientError) as caught:
            await self.call(operation, **input_)
        return dict(caught.value.response)

    def signed(
        self,
        path: str = "/2015-03-31/functions/echo/invocations",
        *,
        method: str = "POST",
        body: bytes = b"{}",
        headers: Mapping[str, str] | None = None,
        key: str = "key-of-acme",
        secret: str = "",
    ) -> bytes:
        """The bytes of a request."""
        request = AWSRequest(method, self.url + path, headers=headers, data=body)
        request.headers["Host"] = f"127.0.0.1:{self.port}"
        credentials = Credentials(key, secret or f"{key}-secret")
        SigV4Auth(credentials, "lambda", "eu-central-1").add_auth(request)
        request.headers["Content-Length"] = str(len(body))
        lines = [f"{name}: {value}" for name, value in request.headers.items()]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""])
        return head.encode() + body

    @asynccontextmanager
    async def connected(
        self,
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def exchange(self, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        """One answer to what is sent."""
        async with self.connected() as (reader, writer):
            writer.write(sent)
            return await answer_from(reader)


async def answer_from(
    reader: asyncio.StreamReader,
) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {
        name.lower(): value
        for name, _, value in (line.partition(": ") for line in head[1:] if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(head[0].split()[1]), headers, body


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with serving() as made:
        yield made


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Port]:
    engine = FakeEngine()
    engine.clock.start = datetime.now(UTC)  # clients sign by the real one
    async with engine.invoker:
        async with http.serve(
            engine.backend(),
            engine.parts(),
            address="127.0.0.1:0",
            trouble=lambda: "",
            drain_s=1,
            **options,
        ) as number:
            yield Port(engine, number)


async def until(is_true: Callable[[], object]) -> None:
    """Let others run until something is true; pytest's timeout is the deadline."""
    while not is_true():  # noqa: ASYNC110 - what is awaited tells nobody
        await asyncio.sleep(0)


# --- what goes well ---------------------------------------------------------------


async def test_boto3_invokes_and_is_answered(port: Port) -> None:
    answer = await port.invoke(Payload=b'{"a": 1}')

    assert (answer["StatusCode"], answer["Payload"]) == (200, b'{"a": 1}')
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer
    assert "LogResult" not in answer
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-type"] == "application/json"
    assert headers["x-amzn-trace-id"].startswith("Root=1-")


async def test_the_request_id_is_the_invocations(port: Port) -> None:
    answer = await port.invoke()
    started = await port.engine.runner.started.get()

    assert answer["ResponseMetadata"]["RequestId"] == started.request_id
    assert UUID.fullmatch(started.request_id)


async def test_an_empty_event_is_an_empty_object(port: Port) -> None:
    assert (await port.invoke())["Payload"] == b"{}"


async def test_a_function_that_fails_is_not_a_failed_call(port: Port) -> None:
    port.engine.runner.answers["echo"] = Run(
        ended=Ended.EXITED, exit_code=3, duration_s=0.1, wait_s=0.0, max_memory_mb=9
    )

    answer = await port.invoke(LogType="Tail")

    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert b"exit status 3" in answer["Payload"]
    assert base64.b64decode(answer["LogResult"]).startswith(b"START RequestId: ")


async def test_the_client_context_arrives_decoded(port: Port) -> None:
    context = base64.b64encode(b'{"custom": {"a": 1}}').decode()

    await port.invoke(ClientContext=context)

    started = await port.engine.runner.started.get()
    assert started.client_context == '{"custom": {"a": 1}}'


@pytest.mark.parametrize(
    "name",
    [
        "echo",
        "echo:$LATEST",
        "function:echo",
        f"{ACME}:function:echo",
        f"arn:aws:lambda:eu-central-1:{ACME}:function:echo",
        f"arn:aws:lambda:eu-central-1:{ACME}:function:echo:$LATEST",
    ],
)
async def test_a_function_has_many_names(port: Port, name: str) -> None:
    assert (await port.invoke(name, Qualifier="$LATEST"))["StatusCode"] == 200


async def test_an_event_is_answered_at_once_and_run_later(port: Port) -> None:
    held = port.engine.runner.hold("slow")

    answer = await port.invoke("slow", InvocationType="Event")
    started = await port.engine.runner.started.get()
    held.set()

    assert (answer["StatusCode"], answer["Payload"]) == (202, b"")
    assert "ExecutedVersion" not in answer
    assert answer["ResponseMetadata"]["RequestId"] == started.request_id
    await until(lambda: not port.engine.invoker.events.depths.queued)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_old_way_to_send_an_event_works(port: Port) -> None:
    answer = await port.call("invoke_async", FunctionName="echo", InvokeArgs=b'{"a":1}')
    started = await port.engine.runner.started.get()

    assert answer["Status"] == 202
    assert started.payload == b'{"a":1}'


async def test_a_dry_run_runs_nothing(port: Port) -> None:
    answer = await port.invoke(InvocationType="DryRun")

    assert answer["StatusCode"] == 204
    assert port.engine.runner.started.empty()


async def test_a_connection_takes_one_request_after_another(port: Port) -> None:
    async with port.connected() as (reader, writer):
        writer.write(port.signed(body=b"1") + port.signed(body=b"2"))

        first, second = await answer_from(reader), await answer_from(reader)

    assert (first[2], second[2]) == (b"1", b"2")


# --- whom we answer ---------------------------------------------------------------


def code_of(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    return answer[0], answer[1]["x-amzn-errortype"]


async def test_the_signature_decides(port: Port) -> None:
    wrong = await port.exchange(port.signed(secret="wrong"))
    unknown = await port.exchange(port.signed(key="key-of-nobody"))
    nobody = await port.exchange(
        b"POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nhost: x\r\n\r\n"
    )

    assert code_of(wrong) == (403, "InvalidSignatureException")
    assert code_of(unknown) == (403, "UnrecognizedClientException")
    assert code_of(nobody) == (403, "MissingAuthenticationTokenException")
    assert json.loads(nobody[2]) == {"message": "Missing Authentication Token"}
    assert port.engine.runner.started.empty()


async def test_a_stranger_is_refused_before_the_body_is_read(port: Port) -> None:
    request = port.signed(key="key-of-nobody", body=b"x" * 1_000_000)
    head = request[: request.index(b"\r\n\r\n") + 4]

    status, _, _ = await port.exchange(head)

    assert status == 403


async def test_a_declared_hash_is_checked_before_the_body_is_read(port: Port) -> None:
    declared = {"X-Amz-Content-SHA256": "00" * 32}
    request = port.signed(secret="wrong", body=b"x" * 100_000, headers=declared)
    head = request[: request.index(b"\r\n\r\n") + 4]

    early = await port.exchange(head)
    late = await port.exchange(port.signed(headers=declared))

    assert code_of(early) == code_of(late) == (403, "InvalidSignatureException")
    assert b"does not match what was computed" in late[2]


async def test_a_function_of_another_account_is_denied(port: Port) -> None:
    answer = await port.refused(
        FunctionName=f"arn:aws:lambda:eu-central-1:{GLOBEX}:function:theirs"
    )

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert answer["Error"]["Code"] == "AccessDeniedException"


async def test_a_function_of_another_tenant_is_not_found_by_its_name(
    port: Port,
) -> None:
    answer = await port.refused(FunctionName="theirs")

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert answer["Error"]["Code"] == "ResourceNotFoundException"
    assert answer["Error"]["Message"] == (
        f"Function not found: arn:aws:lambda:eu-central-1:{ACME}:function:theirs"
        ":$LATEST"
    )


# --- what is wrong with a request -------------------------------------------------


async def test_what_is_no_json_is_refused(port: Port) -> None:
    answer = await port.refused(Payload=b"{not json")

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert answer["Error"]["Code"] == "InvalidRequestContentException"
    assert answer["Error"]["Message"].startswith(
        "Could not parse request body into json: Could not parse payload into json: "
    )


@pytest.mark.parametrize(
    ("name", "value", "constraint"),
    [
        (
            "InvocationType",
            "Sometime",
            "enum value set: [Event, RequestResponse, DryRun]",
        ),
        ("LogType", "All", "enum value set: [None, Tail]"),
        (
            "Qualifier",
            "a b",
            r"regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+",
        ),
        ("TenantId", "!", r"regular expression pattern: [a-zA-Z0-9\._:\/=+\-@ ]+"),
    ],
)
async def test_what_the_model_does_not_allow_is_refused_in_its_words(
    port: Port, name: str, value: str, constraint: str
) -> None:
    error = (await port.refused(**{name: value}))["Error"]

    member = name[0].lower() + name[1:]
    assert error["Code"] == "ValidationException"
    assert error["Message"] == (
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy "
        f"constraint: Member must satisfy {constraint}"
    )


@pytest.mark.parametrize(
    ("input_", "code", "part"),
    [
        (
            {"TenantId": "blue"},
            "InvalidParameterValueException",
            "tenancy configuration",
        ),
        (
            {"DurableExecutionName": "x"},
            "InvalidParameterValueException",
            "not a durable function",
        ),
        (
            {"ClientContext": "{}"},
            "InvalidRequestContentException",
            "valid Base64-encoded JSON",
        ),
        (
            {"FunctionName": "echo:1", "Qualifier": "2"},
            "InvalidParameterValueException",
            "derived qualifier",
        ),
        (
            {"FunctionName": f"arn:aws:lambda:us-east-1:{ACME}:function:echo"},
            "ResourceNotFoundException",
            "not reachable in this region",
        ),
        ({"FunctionName": "no", "TenantId": "b"}, "ResourceNotFoundException", ":no:"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(
    port: Port, input_: dict[str, str], code: str, part: str
) -> None:
    error = (await port.refused(**input_))["Error"]

    assert error["Code"] == code
    assert part in error["Message"]


async def test_a_client_context_has_a_limit(port: Port) -> None:
    fits = base64.b64encode(b'"' + b"x" * 2_683 + b'"').decode()

    await port.invoke(ClientContext=fits)
    answer = await port.refused(ClientContext=fits + "AAAA")

    assert len(fits) == 3_580  # base64 comes in fours
    assert answer["Error"]["Code"] == "InvalidRequestContentException"
    assert "of 3583 allowed" in answer["Error"]["Message"]


async def test_a_throttled_caller_is_told_why_and_when(port: Port) -> None:
    port.engine.runner.answers["echo"] = Throttled(
        "no room",
        reason="ConcurrentInvocationLimitExceeded",
        limit=1,
        retry_after_s=1.5,
    )

    status, headers, body = await port.exchange(port.signed())

    assert (status, headers["x-amzn-errortype"]) == (429, "TooManyRequestsException")
    assert headers["retry-after"] == "2"
    assert json.loads(body) == {
        "Reason": "ConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    }


@pytest.mark.parametrize("error", [Internal("the node broke"), KeyError("secrets")])
async def test_what_is_our_fault_is_a_500_that_was_logged(
    port: Port, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    port.engine.runner.answers["echo"] = error

    answer = await port.refused()

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert answer["Error"]["Code"] == "ServiceException"
    assert "secrets" not in answer["Error"]["Message"]
    [record] = caplog.records
    assert record.__dict__["request_id"] == answer["ResponseMetadata"]["RequestId"]


# --- limits -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("RequestResponse", MAX_PAYLOAD), ("Event", MAX_EVENT_PAYLOAD)],
)
async def test_the_largest_event_passes_and_one_byte_more_does_not(
    port: Port, kind: str, limit: int
) -> None:
    largest = b'"' + b"x" * (limit - 2) + b'"'

    await port.invoke(Payload=largest, InvocationType=kind)
    answer = await port.refused(Payload=largest + b" ", InvocationType=kind)

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert answer["Error"]["Code"] == "RequestEntityTooLargeException"
    assert answer["Error"]["Message"] == (
        f"{limit + 1} byte payload is too large for the {kind} invocation type "
        f"(limit {limit} bytes)"
    )


async def test_who_is_unknown_is_not_told_the_limit(port: Port) -> None:
    too_large = b"x" * (MAX_PAYLOAD + 1)

    answer = await port.exchange(port.signed(body=too_large, secret="wrong"))

    assert code_of(answer) == (403, "InvalidSignatureException")


async def test_what_is_larger_than_any_request_is_refused_unread(port: Port) -> None:
    declared = f"content-length: {receiving.MAX_REQUEST + 1}".encode()
    sent = port.signed(body=b"").replace(b"Content-Length: 0", declared)

    status, _, body = await port.exchange(sent)

    assert status == 413
    assert b"70167212 byte payload is too large" in body


async def test_bodies_that_are_half_here_have_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receiving, "MAX_BODIES_OF_TENANT", 100_000)

    async with serving() as port:
        refused = await port.exchange(port.signed(body=b"1" * 200_000))
        taken = await port.exchange(port.signed(body=b"1" * 1_000))

    assert code_of(refused) == (429, "TooManyRequestsException")
    assert json.loads(refused[2])["Reason"] == "CallerRateLimitExceeded"
    assert taken[0] == 200


async def test_a_tenant_s_keys_have_one_room_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tenant makes as many keys as it likes."""
    room = receiving.BodyRoom(most=600_000, of_one=300_000)
    monkeypatch.setattr(receiving, "BodyRoom", lambda **_: room)
    async with serving() as port, port.connected() as (_, writer):
        other, _ = await port.engine.tenants.create_key(ACME)
        writer.write(port.signed(body=b"1" * 200_000)[:-1])
        await until(lambda: room.used > 150_000)

        refused = await port.exchange(port.signed(body=b"1" * 200_000, key=other.id))

    assert code_of(refused) == (429, "TooManyRequestsException")


# --- callers that go away, or do not come on --------------------------------------


async def test_a_caller_that_goes_away_frees_its_slot(port: Port) -> None:
    port.engine.runner.hold("slow")
    async with port.connected() as (_, writer):
        writer.write(port.signed("/2015-03-31/functions/slow/invocations"))
        await port.engine.runner.started.get()

    await until(lambda: port.engine.invoker.admission.running(ACME) == 0)
    assert len(port.engine.runner.cancelled) == 1
    assert port.engine.records.records[0].error_type == "Sandbox.Cancelled"


async def test_a_caller_that_goes_away_in_its_body_runs_nothing(
    port: Port, caplog: pytest.LogCaptureFixture
) -> None:
    request = port.signed(body=b"1" * 1_000)
    async with port.connected() as (_, writer):
        writer.write(request[:-1])
        await writer.drain()
        await port.invoke("echo")
        await port.engine.runner.started.get()

    await port.invoke("echo")
    assert port.engine.runner.started.qsize() == 1
    assert [record.message for record in caplog.records] == []


@pytest.mark.parametrize(("bound", "cut"), [("HEAD", 50), ("BODY", -1)])
async def test_a_request_that_does_not_come_on_is_ended(
    port: Port, monkeypatch: pytest.MonkeyPatch, bound: str, cut: int
) -> None:
    monkeypatch.setattr(connections, f"{bound}_DEADLINE_S", 0.05)

    status, headers, _ = await port.exchange(port.signed()[:cut])

    assert (status, headers["connection"]) == (408, "close")


async def test_a_connection_that_says_nothing_is_closed(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_DEADLINE_S", 0.05)

    async with port.connected() as (reader, _):
        status, _, _ = await answer_from(reader)
        assert await reader.read() == b""

    assert status == 408


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_giant_head_is_refused(port: Port, pieces: int) -> None:
    sent = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: " + b"x" * connections.MAX_HEAD
    sent += b"\r\n\r\n"
    async with port.connected() as (reader, writer):
        for piece in range(pieces):
            size = len(sent) // pieces + 1
            writer.write(sent[piece * size : (piece + 1) * size])
            await writer.drain()
        status, _, _ = await answer_from(reader)

    assert status == 431


async def test_a_head_of_very_many_fields_is_refused(port: Port) -> None:
    fields = b"x:y\r\n" * (connections.MAX_HEADERS + 1)

    status, _, _ = await port.exchange(b"GET /healthz HTTP/1.1\r\n" + fields + b"\r\n")

    assert status == 431


@pytest.mark.parametrize(
    "piece",
    [b"x:y\r\n", b"x" * 1024, b"x:" + b"y" * 1024],
    ids=["many", "name", "long"],
)
@pytest.mark.parametrize("before", [b"0\r\n", b"1;"], ids=["trailer", "extension"])
async def test_what_is_no_part_of_a_body_does_not_come_without_end(
    port: Port, before: bytes, piece: bytes
) -> None:
    head = b"POST /nothing HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    sent = piece * (connections.MAX_SILENT // len(piece) + 1)
    async with asyncio.timeout(10), port.connected() as (reader, writer):
        writer.write(head + before)
        await answer_from(reader)  # and we are in the midst of the body
        with pytest.raises(ConnectionError):
            await _send_on_and_on(writer, sent)


async def _send_on_and_on(writer: asyncio.StreamWriter, piece: bytes) -> None:
    for _ in range(100):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)


async def test_a_body_in_small_chunks_is_a_body(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_SILENT", 64)
    signed = port.signed(body=b'"' + b"x" * 998 + b'"')
    head, _, body = signed.partition(b"\r\n\r\n")
    head = head.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked")
    async with port.connected() as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        for start in range(0, len(body), 10):
            for part in (b"a;some=extension\r\n", body[start : start + 10], b"\r\n"):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        status, _, _ = await answer_from(reader)

    assert status == 200


async def test_a_key_that_is_taken_back_while_a_body_comes_is_unknown(
    port: Port,
) -> None:
    head, _, body = port.signed(headers={"Expect": "100-continue"}).rpartition(b"{")
    async with port.connected() as (reader, writer):
        writer.write(head)
        await reader.readuntil(b"100 Continue\r\n\r\n")  # the key was looked at

        await port.engine.tenants.revoke_key(ACME, "key-of-acme")
        writer.write(b"{" + body)
        answer = await answer_from(reader)

    assert code_of(answer) == (403, "UnrecognizedClientException")
    assert port.engine.runner.started.empty()


async def test_connections_have_a_bound() -> None:
    async with serving(max_connections=1) as port, port.connected() as (_, writer):
        port.engine.runner.hold("slow")
        writer.write(port.signed("/2015-03-31/functions/slow/invocations"))
        await port.engine.runner.started.get()
        async with port.connected() as (reader, _):
            status, _, _ = await answer_from(reader)

    assert status == 503


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n", id="half a head"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", id="a request"),
        pytest.param(
            b"POST /2015-03-31/functions HTTP/1.1\r\ncontent-length: 9\r\n\r\n",
            id="half a body that is not read",
        ),
    ],
)
async def test_who_is_idle_makes_room(sent: bytes) -> None:
    async with (
        serving(max_connections=1) as port,
        port.connected() as (reader, writer),
    ):
        writer.write(sent)
        if sent.endswith(b"\r\n\r\n"):
            await answer_from(reader)
        status, _, _ = await port.exchange(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        with suppress(ConnectionError):
            assert await reader.read() == b""

    assert status == 200


async def test_who_is_idle_for_longest_goes_first() -> None:
    async with (
        serving(max_connections=2) as port,
        port.connected() as (first, _),
        port.connected() as (second, writer),
        port.connected(),
    ):
        closed = await first.read()
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        status, _, _ = await answer_from(second)

    assert (closed, status) == (b"", 200)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /2015-03-31/functions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /2015-03-31/\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_400(port: Port, sent: bytes) -> None:
    assert (await port.exchange(sent))[0] == 400


# --- the other operations ---------------------------------------------------------


@pytest.fixture
def account_settings(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The calls of an operation that is registered for this test."""
    calls = []

    async def get_account_settings(call: Call) -> Mapping[str, Any]:
        calls.append(call)
        return {"AccountUsage": {"FunctionCount": 2}}

    monkeypatch.setitem(OPERATIONS, "GetAccountSettings", get_account_settings)
    return calls


async def test_an_operation_gets_what_was_asked_and_by_whom(
    port: Port, account_settings: list[Call]
) -> None:
    answer = await port.call("get_account_settings")

    [call] = account_settings
    assert answer["AccountUsage"] == {"FunctionCount": 2}
    assert (call.caller.tenant_id, call.region) == (ACME, "eu-central-1")
    assert (call.operation, call.input) == ("GetAccountSettings", {})
    assert call.base_url == port.url
    assert call.request_id == answer["ResponseMetadata"]["RequestId"]


async def test_what_is_not_there_yet_is_refused_by_name(port: Port) -> None:
    answer = await port.refused("list_capacity_providers")

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert answer["Error"]["Code"] == "NotImplementedException"
    assert answer["Error"]["Message"].startswith("ListCapacityProviders is not suppor")


async def test_an_operation_that_takes_too_long_is_ended(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forever(_: Call) -> Mapping[str, Any]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setitem(OPERATIONS, "GetAccountSettings", forever)
    monkeypatch.setattr(app, "OPERATION_DEADLINE_S", 0.01)

    answer = await port.refused("get_account_settings")

    assert answer["Error"]["Code"] == "DeadlineExceededException"


async def test_requests_that_are_being_answered_have_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a tenant has as many packages in memory as it has connections."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(_: Call) -> Mapping[str, Any]:
        begun.set()
        await go.wait()
        return {}

    monkeypatch.setattr(app, "MAX_HELD_OF_TENANT", 300_000)
    layer: dict[str, Any] = {
        "LayerName": "one",
        "Content": {"ZipFile": bytes(150_000)},
    }
    async with serving() as port, asyncio.TaskGroup() as group:
        monkeypatch.setitem(OPERATIONS, "PublishLayerVersion", slow)
        first = group.create_task(port.call("publish_layer_version", **layer))
        await begun.wait()

        refused = await port.refused("publish_layer_version", **layer)
        of_another = group.create_task(
            port.call("publish_layer_version", "globex", **layer)
        )
        go.set()

        await first
        await of_another
        await port.call("publish_layer_version", **layer)
        in_bucket = {"S3Bucket": "packages", "S3Key": "one.zip"}
        too_much = await port.refused(
            "publish_layer_version", LayerName="one", Content=in_bucket
        )

    for answer in (refused, too_much):
        assert answer["Error"]["Code"] == "TooManyRequestsException"


async def test_a_parameter_that_nobody_knows_is_refused_by_name(port: Port) -> None:
    answer = await port.exchange(
        port.signed("/2016-08-19/account-settings?Verbose=1", method="GET", body=b"")
    )

    assert code_of(answer) == (400, "InvalidParameterValueException")
    assert b"Verbose" in answer[2]


async def test_a_request_that_is_too_large_names_its_operation(port: Port) -> None:
    declared = f"content-length: {receiving.MAX_REQUEST + 1}".encode()
    sent = port.signed("/2015-03-31/functions", body=b"").replace(
        b"Content-Length: 0", declared
    )

    answer = await port.exchange(sent)

    assert code_of(answer) == (413, "RequestEntityTooLargeException")
    assert json.loads(answer[2])["message"] == (
        "Request must be smaller than 70167211 bytes for the CreateFunction operation"
    )


async def test_paths_that_aws_does_not_have(port: Port) -> None:
    unknown = await port.exchange(b"GET /2015-03-31/no HTTP/1.1\r\nhost: x\r\n\r\n")
    elsewhere, _, told = await port.exchange(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n")

    assert code_of(unknown) == (404, "UnknownOperationException")
    assert elsewhere == 404
    assert b"AWS_ENDPOINT_URL_LAMBDA" in told


async def test_the_engines_health_is_for_everybody(port: Port) -> None:
    status, _, body = await port.exchange(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    posted, _, _ = await port.exchange(b"POST /healthz HTTP/1.1\r\nhost: x\r\n\r\n")

    assert (status, json.loads(body)["status"]) == (200, "ok")
    assert posted == 405


async def test_a_taken_port_is_said(port: Port) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable, match="cannot serve HTTP"):
            async with http.serve(
                port.engine.backend(),
                port.engine.parts(),
                address=address,
                trouble=lambda: "",
            ):
                pass


def _whole(stream: Any) -> list[Any]:
    with closing(stream):
        return list(stream)


async def test_an_answer_comes_as_a_stream_of_events(port: Port) -> None:
    def run() -> Any:
        with closing(port.client()) as client:
            answer = client.invoke_with_response_stream(
                FunctionName="echo", Payload=b'{"x": 1}', LogType="Tail"
            )
            return answer["ExecutedVersion"], _whole(answer["EventStream"])

    version, events = await asyncio.to_thread(run)

    (piece, complete) = events
    assert version == "$LATEST"
    assert json.loads(piece["PayloadChunk"]["Payload"]) == {"x": 1}
    log = base64.b64decode(complete["InvokeComplete"]["LogResult"])
    assert b"REPORT" in log


async def test_a_stream_of_a_function_that_failed_ends_with_why(port: Port) -> None:
    port.engine.runner.answers["echo"] = Run(
        ended=Ended.FAILED,
        payload=b'{"errorMessage":"no"}',
        error_type="Bad",
        duration_s=0.001,
        wait_s=0.0,
        max_memory_mb=10,
    )

    def run() -> Any:
        with closing(port.client()) as client:
            answer = client.invoke_with_response_stream(FunctionName="echo")
            return _whole(answer["EventStream"])

    (complete,) = await asyncio.to_thread(run)

    assert complete["InvokeComplete"]["ErrorCode"] == "Bad"
    assert "no" in complete["InvokeComplete"]["ErrorDetails"]


async def test_an_event_has_no_stream(port: Port) -> None:
    answer = await port.refused(
        "invoke_with_response_stream", FunctionName="echo", InvocationType="Event"
    )

    assert answer["Error"]["Code"] == "ValidationException"


# --- /metrics -------------------------------------------------------------------

ASKED = b"GET /metrics HTTP/1.1\r\nhost: x\r\n"


async def test_the_machine_s_own_may_read_how_busy_the_engine_is(port: Port) -> None:
    await port.invoke()
    port.engine.runner.answers["echo"] = Throttled(
        "full", reason="ConcurrentInvocationLimitExceeded", limit=1, retry_after_s=1
    )
    await port.refused()

    status, headers, body = await port.exchange(ASKED + b"\r\n")

    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'sandlot_invocations_total{status="ok"} 1.0' in body
    reason = b'reason="ConcurrentInvocationLimitExceeded"'
    assert b"sandlot_throttled_total{" + reason + b"} 1.0" in body
    assert b"acme" not in body


@pytest.mark.parametrize(
    ("key", "allowed"), [("", 403), ("key-of-acme", 403), ("key-of-operator", 200)]
)
async def test_from_elsewhere_only_an_operator_may(
    port: Port, monkeypatch: pytest.MonkeyPatch, key: str, allowed: int
) -> None:
    monkeypatch.setattr(http, "is_of_this_machine", lambda _: False)
    sent = f"authorization: Bearer {key}:{key}-secret\r\n" if key else ""

    status, _, _ = await port.exchange(ASKED + sent.encode() + b"\r\n")

    assert status == allowed
