"""What is the core's alone, and reached through workers."""

import http.client
import time

import pytest

from sandlot import FunctionHandle
from tests.e2e.waiting import DEADLINE_S
from tests.e2e.workers.callers import CONNECTIONS, Tenant, deploy_answers, runs_of
from tests.fakes.zips import zip_of

STREAMS = """
import time

def handler(event, context):
    yield "one "
    time.sleep(1)
    if event.get("rawPath") == "/fail":
        raise ValueError("as asked")
    yield repr(time.time())
"""


def test_a_request_with_a_key_is_run_once_by_the_core(tenant: Tenant) -> None:
    function = deploy_answers(tenant)
    with tenant.connections() as callers:
        tenant.warm(function, callers)
        before = len(runs_of(tenant, function))
        answers = [
            caller.invoke(function.name, {"n": 1}, idempotency_key="k")
            for caller in callers
        ]
    replies = [function.invoke({"n": 2}, idempotency_key="g") for _ in range(6)]

    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == (
        CONNECTIONS - 1
    )
    assert [reply.replayed for reply in replies] == [False] + [True] * 5
    assert len(runs_of(tenant, function)) == before + 2


@pytest.fixture
def streams(tenant: Tenant) -> FunctionHandle:
    code = zip_of({"app.py": STREAMS})
    return tenant.client.deploy(code, name="streams", handler="app.handler")


def test_pieces_come_through_workers_as_they_are_said(streams: FunctionHandle) -> None:
    pieces = streams.stream({})
    assert next(pieces) == b"one "
    heard = time.time()
    (later,) = pieces
    assert heard < float(later)


@pytest.mark.parametrize("by_host", [False, True])
def test_function_urls_are_the_core_s(
    tenant: Tenant, streams: FunctionHandle, by_host: bool
) -> None:
    address = streams.put_url(auth="none", stream=True).url
    port = int(tenant.engine.ready["http"].rpartition(":")[2])
    url_id = address.rstrip("/").rpartition("/")[2]
    host = f"{url_id}.lambda-url.us-east-1.localhost"
    # Under a host of that form, a path of AWS's is the function's, too.
    path = "/2015-03-31/functions/f/invocations" if by_host else f"/url/{url_id}/x"
    http_client = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    http_client.request("POST", path, b"{}", {"host": host} if by_host else {})
    response = http_client.getresponse()
    first = response.read(4)
    heard = time.time()

    assert (response.status, first) == (200, b"one ")
    assert heard < float(response.read())
    assert address.startswith(f"http://127.0.0.1:{port}/url/")
    http_client.close()


def test_what_the_core_cuts_is_cut(tenant: Tenant, streams: FunctionHandle) -> None:
    address = streams.put_url(auth="none", stream=True).url
    port = int(tenant.engine.ready["http"].rpartition(":")[2])
    http_client = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    http_client.request("GET", f"{address.partition(f':{port}')[2]}fail")
    response = http_client.getresponse()

    assert response.read(4) == b"one "
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    http_client.close()
