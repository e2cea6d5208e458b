"""Packages that a real engine fetches from a bucket, of which AWS takes larger ones."""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import boto3
import pytest
import urllib3

from sandlot_engine.catalog.packages import MAX_SENT
from tests.compat.clients import Lambda, new_function, wait_active
from tests.e2e.engines import MODES, Engine, new_engine
from tests.fakes.bucket_store import bucket_store
from tests.fakes.zips import zip_of

HANDLER = "import os\ndef handler(event, context): return os.stat('data.bin').st_size"
DATA = bytes(MAX_SENT)
LARGE = zip_of({"app.py": HANDLER, "data.bin": DATA}, method=zipfile.ZIP_STORED)
KEYS = ("S3_ACCESS_KEY_ID=KEY", "S3_SECRET_ACCESS_KEY=secret-of-it")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    objects = {("/packages/libraries.zip", ""): LARGE}
    with bucket_store(objects) as endpoint, new_engine(MODES[0]) as engine:
        engine.started_by = ("/usr/bin/env", *KEYS)
        engine.start("--s3-endpoint", endpoint)
        yield engine


@pytest.fixture
def aws(engine: Engine) -> Iterator[Lambda]:
    key = engine.client().create_tenant("acme")
    session: Any = boto3.Session()
    client = session.client(
        "lambda",
        region_name="us-east-1",
        endpoint_url=engine.ready["http"],
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
    )
    with closing(client):
        yield client


def test_a_package_that_is_too_large_to_be_sent_is_fetched_and_runs(
    aws: Lambda,
) -> None:
    code = {"S3Bucket": "packages", "S3Key": "libraries.zip"}
    aws.create_function(**new_function(b"", FunctionName="large", Code=code))
    wait_active(aws, "large")

    answer = aws.invoke(FunctionName="large", Payload="{}")
    shown = aws.get_function(FunctionName="large")
    fetched = urllib3.request("GET", shown["Code"]["Location"], redirect=False)

    assert answer["Payload"].read() == b"%d" % len(DATA)
    sha256 = base64.b64encode(hashlib.sha256(LARGE).digest()).decode()
    assert shown["Configuration"]["CodeSize"] == len(LARGE) > MAX_SENT
    assert shown["Configuration"]["CodeSha256"] == sha256
    assert fetched.status == 200
    assert fetched.data == LARGE


def test_such_a_layer_lies_in_opt(aws: Lambda) -> None:
    content = {"S3Bucket": "packages", "S3Key": "libraries.zip"}
    layer = aws.publish_layer_version(LayerName="large", Content=content)
    source = "import os\ndef handler(event, context): return os.listdir('/opt')"
    package = zip_of({"app.py": source})
    arn = layer["LayerVersionArn"]
    aws.create_function(**new_function(package, FunctionName="small", Layers=[arn]))
    wait_active(aws, "small")

    answer = aws.invoke(FunctionName="small", Payload="{}")

    assert b"data.bin" in answer["Payload"].read()
