"""What is loaded: an engine, with workers or without, and a bare echo; and how much
processor time each of their processes takes."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.workloads import OUR_RUNTIME, Workload
from sandlot import Client
from sandlot.v1 import invocations_pb2 as wire

READY_S = 45.0
STOP_S = 30.0

METHOD = "/sandlot.v1.InvocationService/Invoke"

_ROOT = Path(__file__).parents[2]
_PATHS = [str(_ROOT), *(str(_ROOT / name) for name in ("client", "engine", "sandbox"))]
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(_PATHS)}

Request = dict[str, object]
"""The part of a load's plan that says what to send, and where to."""


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers, over HTTP or gRPC."""

    pid: int
    request: Request

    def cpu_ns(self) -> Counter[str]:
        """Of its processes that live, by what they are for."""
        used: Counter[str] = Counter()
        process = psutil.Process(self.pid)
        for each in (process, *process.children(recursive=True)):
            try:
                used[_part(" ".join(each.cmdline()))] += _cpu_ns(each.pid)
            except (psutil.NoSuchProcess, FileNotFoundError):
                continue  # it has just ended
        return used


def _part(command: str) -> str:
    for word, part in (
        ("benchmarks.load.echo", "echo"),
        ("sandlot_engine.workers", "workers"),
        ("sandlot_engine.engine", "engine"),
        ("sandlot_sandbox.launcher", "launcher"),
        ("sandlot up", "supervisor"),
    ):
        if word in command:
            return part
    return "jails"


def _cpu_ns(pid: int) -> int:
    spent = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread may end while we look
            spent += int((task / "schedstat").read_text().split()[0])
    return spent


@contextmanager
def echo(kind: str, workload: Workload) -> Iterator[Server]:
    """The floor: the same server stack in one process, with nothing behind it."""
    with _started("benchmarks.load.echo", kind) as (process, said):
        port = int(said)
        if kind == "http":
            yield Server(process.pid, _plain_request(port, workload))
        else:
            yield Server(process.pid, _call(port, workload, []))


@contextmanager
def engine(workers: int, workload: Workload) -> Iterator[tuple[Server, Server]]:
    """An engine with the workload deployed, over HTTP and over gRPC."""
    with tempfile.TemporaryDirectory(prefix="sandlot-load-") as folder:
        data = Path(folder) / "data"
        up = ("up", "--json", "--data", str(data), "--workers", str(workers))
        ports = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        with _started("sandlot", *up, *ports) as (process, said):
            ready = json.loads(said)
            key = json.loads(Path(ready["credentials_file"]).read_text())
            package = Path(folder) / "package"
            package.mkdir()
            for source in workload.sources(OUR_RUNTIME):
                (package / source.name).write_bytes(source.read_bytes())
            with ThreadPoolExecutor(1) as pool:  # not in a running loop
                pool.submit(_deploy, data, package, workload).result()
            http, grpc = (int(ready[k].rpartition(":")[2]) for k in ("http", "grpc"))
            bearer = f"Bearer {key['access_key_id']}:{key['secret_access_key']}"
            yield (
                Server(process.pid, _signed_request(http, workload, key)),
                Server(process.pid, _call(grpc, workload, [("authorization", bearer)])),
            )


def _deploy(data: Path, package: Path, workload: Workload) -> None:
    with Client(data=data) as client:
        client.deploy(package, name=workload.name, handler=workload.handler)


@contextmanager
def _started(
    module: str, *arguments: str
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """With the first line that it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=_ENVIRONMENT,
    )
    try:
        assert process.stdout is not None  # noqa: S101
        yield process, _first_line(process.stdout)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _first_line(stdout: IO[str]) -> str:
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        if not selector.select(READY_S):
            raise RuntimeError(f"nothing was ready within {READY_S:g} s")
        return stdout.readline()


def _path(workload: Workload) -> str:
    return f"/2015-03-31/functions/{workload.name}/invocations"


def _plain_request(port: int, workload: Workload) -> Request:
    return _request(port, workload, {"host": f"127.0.0.1:{port}"})


def _signed_request(port: int, workload: Workload, key: dict[str, str]) -> Request:
    """As boto3 sends it; good for five minutes."""
    headers = {"host": f"127.0.0.1:{port}", "content-type": "application/json"}
    url = f"http://127.0.0.1:{port}{_path(workload)}"
    request = AWSRequest("POST", url, data=workload.payload, headers=headers)
    credentials = Credentials(key["access_key_id"], key["secret_access_key"])
    SigV4Auth(credentials, "lambda", "us-east-1").add_auth(request)
    return _request(port, workload, dict(request.headers.items()))


def _request(port: int, workload: Workload, headers: dict[str, str]) -> Request:
    lines = [f"POST {_path(workload)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(workload.payload)}", "", ""]
    whole = "\r\n".join(lines).encode() + workload.payload
    return {"kind": "http", "ports": [port], "request": whole.hex()}


def _call(port: int, workload: Workload, metadata: list[tuple[str, str]]) -> Request:
    message = wire.InvokeRequest(function=workload.name, payload=workload.payload)
    return {
        "kind": "grpc",
        "ports": [port],
        "method": METHOD,
        "message": message.SerializeToString().hex(),
        "metadata": metadata,
    }
