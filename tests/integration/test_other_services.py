"""AWS's clients for services that there are none of can read why they are refused; and
of STS, which has one answer, whose key it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from sandlot_engine.gateway.others import service_of
from tests.fakes.backend import ACME
from tests.integration.http_port import serving

SERVICES = {
    "s3": "list_buckets",
    "iam": "list_roles",
    "ec2": "describe_instances",
    "sns": "list_topics",
    "sqs": "list_queues",
    "dynamodb": "list_tables",
    "logs": "describe_log_groups",
    "ecr": "describe_repositories",
    "cloudformation": "list_stacks",
    "route53": "list_hosted_zones",
    "cloudfront": "list_distributions",
    "efs": "describe_file_systems",
}
"""One of each protocol, those that tools ask first, and those whose paths begin with
dates, as Lambda's do."""

SIGNED_AS = {"efs": "elasticfilesystem"}
"""Where a service's signatures call it otherwise."""

WHO = "get_caller_identity"
NOBODY, IMPOSTOR = ("key-of-nobody", "x"), ("key-of-acme", "x")
ACMES = ("key-of-acme", "key-of-acme-secret")

SIGNED = b"AWS4-HMAC-SHA256 Credential=K/20260101/eu-1/%s/aws4_request, Signature=0"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with serving() as port:
        yield port.url


async def refusal(url: str, service: str, **config: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        await ask(url, service, SERVICES[service], **config)
    return dict(caught.value.response)


async def ask(
    url: str,
    service: str,
    operation: str,
    *,
    key: tuple[str, str] = NOBODY,
    **config: Any,
) -> Any:
    def call() -> Any:
        make: Any = boto3.client  # its types know services by literal names
        client = make(
            service,
            endpoint_url=url,
            region_name="eu-central-1",
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
            config=Config(retries={"total_max_attempts": 1}, read_timeout=20, **config),
        )
        with closing(client):
            return getattr(client, operation)()

    return await asyncio.to_thread(call)


@pytest.mark.parametrize("service", SERVICES)
async def test_another_service_s_client_is_told_what_to_set(
    url: str, service: str
) -> None:
    refused = await refusal(url, service)

    assert refused["Error"]["Code"].startswith("NotImplemented")
    assert f"has no {SIGNED_AS.get(service, service)}." in refused["Error"]["Message"]
    assert "AWS_ENDPOINT_URL_LAMBDA" in refused["Error"]["Message"]
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 501


async def test_what_is_not_signed_is_told_what_there_is(url: str) -> None:
    refused = await refusal(url, "dynamodb", signature_version=UNSIGNED)

    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert "this port serves AWS Lambda's API" in refused["Error"]["Message"]


@pytest.mark.parametrize(
    ("headers", "query", "service"),
    [
        ({b"authorization": SIGNED % b"s3"}, b"", "s3"),
        ({b"authorization": SIGNED % b"lambda"}, b"", ""),
        ({b"authorization": SIGNED % b"scheduler"}, b"", ""),
        ({b"authorization": SIGNED % b"<b>"}, b"", ""),
        ({b"authorization": b"Bearer abc"}, b"", ""),
        ({}, b"a=1&X-Amz-Credential=K%2F20260101%2Feu-1%2Fsts%2Faws4_request", "sts"),
        ({}, b"", ""),
    ],
)
def test_the_service_is_read_from_the_signature(
    headers: dict[bytes, bytes], query: bytes, service: str
) -> None:
    assert service_of(headers, query) == service


async def test_who_asks_sts_is_told_the_account_that_the_key_is_of(url: str) -> None:
    told = await ask(url, "sts", WHO, key=ACMES)

    assert told["ResponseMetadata"]["RequestId"]
    assert {name: told[name] for name in ("Account", "Arn", "UserId")} == {
        "Account": ACME,
        "Arn": f"arn:aws:iam::{ACME}:root",
        "UserId": ACME,
    }


@pytest.mark.parametrize(
    ("key", "operation", "code", "text"),
    [
        (NOBODY, WHO, "InvalidClientTokenId", "This is a Sandlot engine"),
        (IMPOSTOR, WHO, "SignatureDoesNotMatch", "does not match"),
        (ACMES, "get_session_token", "NotImplemented", "no sts but for GetCallerId"),
    ],
)
async def test_sts_refuses_in_its_own_words(
    url: str, key: tuple[str, str], operation: str, code: str, text: str
) -> None:
    with pytest.raises(ClientError) as caught:
        await ask(url, "sts", operation, key=key)

    refused = caught.value.response
    assert refused["Error"]["Code"] == code
    assert text in refused["Error"]["Message"]
    status = 501 if code == "NotImplemented" else 403
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == status
