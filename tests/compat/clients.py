"""A real engine as AWS's clients see it: an endpoint, accounts, boto3."""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandlot import Client, NewKey
from tests.e2e.engines import Engine
from tests.fakes.zips import zip_of

REGION = "eu-central-1"
ROLE = "arn:aws:iam::123456789012:role/service-role/any"
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"

PACE: Any = {"Delay": 0.05, "MaxAttempts": 600}
"""Of waiters: AWS's own look once a second or less often."""

Lambda = Any
"""boto3's client. With its types, it would refuse the mistakes that are tried here."""

_SESSION: Any = boto3.Session()


class Cloud:
    """An engine's HTTP port. Its clients are closed with it."""

    def __init__(self, engine: Engine) -> None:
        self.url: str = engine.ready["http"]
        self.engine = engine
        self._operator = engine.client()
        self._open = ExitStack()

    def account(
        self, name: str = "account", *, concurrency: int = 0, network: str = "none"
    ) -> "Account":
        """A tenant of its own."""
        return Account(
            self,
            self._operator.create_tenant(
                name, concurrency=concurrency, network=network
            ),
        )

    def client(
        self,
        key: str,
        secret: str,
        region: str,
        *,
        service: str = "lambda",
        **config: Any,
    ) -> Lambda:
        """An unmodified boto3 client, which tries nothing twice."""
        client: Any = _SESSION.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, **config),
        )
        self._open.enter_context(closing(client))
        return client

    def close(self) -> None:
        self._open.close()


@dataclass(frozen=True)
class Account:
    """A tenant and its key."""

    cloud: Cloud = field(repr=False)
    key: NewKey = field(repr=False)

    @property
    def id(self) -> str:
        return self.key.tenant_id

    def aws(self, region: str = REGION, **config: Any) -> Lambda:
        """Its boto3 client."""
        key = self.key
        return self.cloud.client(
            key.access_key_id, key.secret_access_key, region, **config
        )

    def scheduler(self, region: str = REGION) -> Any:
        """Its boto3 client of EventBridge Scheduler."""
        return self.aws(region, service="scheduler")

    def grpc(self) -> Client:
        """Its client of our own API."""
        return self.cloud.engine.client(
            access_key_id=self.key.access_key_id,
            secret_access_key=self.key.secret_access_key,
        )

    def arn(self, function: str, region: str = REGION) -> str:
        return f"arn:aws:lambda:{region}:{self.id}:function:{function}"


# --- functions ----------------------------------------------------------------


def unique(stem: str = "function") -> str:
    """A name that no other test has."""
    return f"{stem}-{uuid4().hex[:8]}"


def package(source: str) -> bytes:
    """A function's package: one file, `app.py`, which has the `handler`."""
    return zip_of({"app.py": source})


def saying(word: str) -> bytes:
    """A package whose function answers a word."""
    return package(f"def handler(event, context): return {word!r}")


def new_function(zip_bytes: bytes, **settings: Any) -> dict[str, Any]:
    """What `create_function` must be given, under a name of its own."""
    return {
        "FunctionName": unique(),
        "Runtime": RUNTIME,
        "Role": ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": zip_bytes},
        **settings,
    }


def wait_active(aws: Lambda, name: str, **which: str) -> None:
    waiter = aws.get_waiter("function_active_v2")
    waiter.wait(FunctionName=name, WaiterConfig=PACE, **which)


def wait_updated(aws: Lambda, name: str) -> None:
    waiter = aws.get_waiter("function_updated_v2")
    waiter.wait(FunctionName=name, WaiterConfig=PACE)


def revision_of(aws: Lambda, name: str) -> str:
    revision: str = aws.get_function_configuration(FunctionName=name)["RevisionId"]
    return revision


def wait_published(aws: Lambda, name: str, version: str) -> None:
    waiter = aws.get_waiter("published_version_active")
    waiter.wait(FunctionName=name, Qualifier=version, WaiterConfig=PACE)


def invoke(
    aws: Lambda, name: str, event: object = None, **options: Any
) -> dict[str, Any]:
    """What `invoke` answers, its payload read and, if there is one, decoded."""
    answer: dict[str, Any] = aws.invoke(
        FunctionName=name, Payload=json.dumps(event).encode(), **options
    )
    with answer["Payload"] as stream:
        payload = stream.read()
    return answer | {"Payload": json.loads(payload) if payload else None}


def said(aws: Lambda, name: str, event: object = None, **options: Any) -> Any:
    """What a function answers."""
    answer = invoke(aws, name, event, **options)
    assert "FunctionError" not in answer, answer
    return answer["Payload"]


# --- refusals -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refused:
    """An error as boto3 has it."""

    status: int
    code: str
    message: str
    members: Mapping[str, Any] = field(compare=False, default_factory=dict)
    """All that was answered."""


def refused(call: Callable[..., object], **given: Any) -> Refused:
    """How AWS's client is refused what it asks."""
    with pytest.raises(ClientError) as caught:
        call(**given)
    return refusal_of(caught.value)


def refusal_of(error: ClientError) -> Refused:
    response: Mapping[str, Any] = error.response
    return Refused(
        status=response["ResponseMetadata"]["HTTPStatusCode"],
        code=response["Error"]["Code"],
        message=response["Error"]["Message"],
        members=response,
    )


def invalid(message: str) -> Refused:
    return Refused(400, "InvalidParameterValueException", message)


def conflict(message: str) -> Refused:
    return Refused(409, "ResourceConflictException", message)


def not_found(message: str) -> Refused:
    return Refused(404, "ResourceNotFoundException", message)
