"""How an engine with workers is called.

A test has connections enough that both workers have some of them.
"""

import http.client
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandlot import Client, FunctionHandle, NewKey, Run
from tests.e2e import processes
from tests.e2e.bills import bill_of
from tests.e2e.conftest import client_of
from tests.e2e.engines import Engine
from tests.e2e.processes import Role
from tests.e2e.waiting import DEADLINE_S, wait_until
from tests.fakes.zips import zip_of

WORKERS = 2
CONNECTIONS = 12
"""That all of them are one worker's happens once in two thousand times."""

ANSWERS = """
import os, sys, time

def handler(event, context):
    do = event.get("do")
    if do == "raise":
        raise ValueError("as asked")
    if do == "exit":
        os._exit(3)
    if do == "print":
        print("heard", event["word"])
    if do == "be seen" and not os.fork():
        time.sleep(event["seconds"])
        os._exit(0)
    if do in ("sleep", "be seen"):
        time.sleep(event["seconds"])
    if do == "eat":
        eaten = [bytearray(1 << 20) for _ in range(1 << 10)]
    return {"pid": os.getpid(), "version": VERSION, "event": event}
"""


@dataclass
class Tenant:
    """A tenant, and how it calls."""

    engine: Engine
    key: NewKey
    client: Client

    @contextmanager
    def connections(self, count: int = CONNECTIONS) -> Iterator[list["Connection"]]:
        """Each of its own, and so of one worker or of another."""
        port = int(self.engine.ready["http"].rpartition(":")[2])
        made = [Connection(port, self.key) for _ in range(count)]
        try:
            yield made
        finally:
            for connection in made:
                connection.close()

    def warm(
        self,
        function: FunctionHandle,
        callers: list["Connection"],
        *,
        event: Any = None,
        lent: int = WORKERS,
    ) -> None:
        """Until workers have been lent so many instances that they run things on."""

        def all_at_once() -> bool:
            with ThreadPoolExecutor(len(callers)) as pool:
                list(pool.map(lambda each: each.invoke(function.name, event), callers))
            return metric(self.engine, "instances_lent") >= lent

        wait_until(all_at_once, "instances are lent")


class Connection:
    """Signed requests over one connection."""

    def __init__(self, port: int, key: NewKey) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        self._port = port
        self._credentials = Credentials(key.access_key_id, key.secret_access_key)

    def invoke(self, name: str, event: Any = None, **headers: str) -> "Answer":
        path = f"/2015-03-31/functions/{name}/invocations"
        return self.send("POST", path, json.dumps(event or {}).encode(), **headers)

    def send(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> "Answer":
        url = f"http://127.0.0.1:{self._port}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest(method, url, data=body, headers=named)
        SigV4Auth(self._credentials, "lambda", "us-east-1").add_auth(request)
        self._http.request(method, path, body, dict(request.headers.items()))
        response = self._http.getresponse()
        data = response.read()
        return Answer(response.status, dict(response.getheaders()), data)

    def hang_up(self) -> None:
        """Although an answer is waited for."""
        self._http.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._http.close()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.headers.get("x-amzn-errortype", "")


def metric(engine: Engine, name: str) -> float:
    port = int(engine.ready["http"].rpartition(":")[2])
    http_client = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    http_client.request("GET", "/metrics")
    text = http_client.getresponse().read().decode()
    http_client.close()
    (line,) = (row for row in text.splitlines() if row.startswith(f"sandlot_{name} "))
    return float(line.split()[1])


def new_tenant(engine: Engine, name: str = "warm", **options: Any) -> Tenant:
    key = engine.client().create_tenant(name, **options)
    return Tenant(engine, key, client_of(engine, key))


def deploy_answers(tenant: Tenant, version: int = 1, **options: Any) -> FunctionHandle:
    code = zip_of({"app.py": f"VERSION = {version}\n{ANSWERS}"})
    settings = {"handler": "app.handler", "timeout": 20, **options}
    return tenant.client.deploy(code, name="answers", **settings)


def runs_of(tenant: Tenant, function: FunctionHandle) -> list[Run]:
    """All of them: the bill has them written first."""
    bill_of(tenant.client)
    return list(function.runs())


def workers_of(engine: Engine) -> list[processes.Process]:
    return processes.family_of(engine.pid).of_role(Role.WORKER)


def instances_of(engine: Engine) -> set[tuple[int, int]]:
    family = processes.family_of(engine.pid)
    return {process.identity for process in family.of_role(Role.INSTANCE)}


def end_of(future: Any) -> str:
    try:
        return str(future.result(DEADLINE_S).status)
    except (http.client.HTTPException, OSError):
        return "lost"
