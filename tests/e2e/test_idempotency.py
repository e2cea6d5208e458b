"""Idempotency keys and function URLs over the end of an engine."""

import os
import signal

import pytest

from sandlot import errors
from tests.e2e import processes
from tests.e2e.conftest import client_of
from tests.e2e.engines import Engine
from tests.fakes.zips import zip_of

FUNCTION = """
import uuid

def handler(event, context):
    if event == "fail":
        raise ValueError(str(uuid.uuid4()))
    return str(uuid.uuid4())
"""


def test_a_first_answer_outlives_an_engine_that_was_killed(
    fresh_engine: Engine,
) -> None:
    key = fresh_engine.client().create_tenant("keyed")
    client = client_of(fresh_engine, key)
    client.deploy(zip_of({"app.py": FUNCTION}), name="f", handler="app.handler")
    url = client.put_url("f", auth="none").url
    first = client.invoke("f", 1, idempotency_key="k")
    with pytest.raises(errors.Unhandled) as failed:
        client.invoke("f", "fail", idempotency_key="k2")
    queued = client.enqueue("f", 1, idempotency_key="k3")

    family = processes.family_of(fresh_engine.pid)
    os.kill(fresh_engine.pid, signal.SIGKILL)
    processes.wait_gone(family.members.values())
    fresh_engine.start("--public-url", "https://*.example.test")
    client = client_of(fresh_engine, key)
    repeat = client.invoke("f", 1, idempotency_key="k")
    with pytest.raises(errors.Unhandled) as failed_again:
        client.invoke("f", "fail", idempotency_key="k2")
    with pytest.raises(errors.InvalidParameter, match="used for another"):
        client.invoke("f", 2, idempotency_key="k")
    (shown,) = client.list_urls("f")

    assert (repeat.value, repeat.replayed) == (first.value, True)
    assert repeat.report == first.report
    assert str(failed_again.value) == str(failed.value)
    assert client.enqueue("f", 1, idempotency_key="k3").request_id == queued.request_id
    assert client.invoke("f", 1).value != first.value
    url_id = url.rstrip("/").rpartition("/")[2]
    assert shown.url == f"https://{url_id}.lambda-url.us-east-1.example.test/"


def test_a_public_url_that_is_none_is_refused(unstarted_engine: Engine) -> None:
    status, said = unstarted_engine.start_in_vain("--public-url", "ftp://x")

    assert status == 78
    assert "--public-url" in said
