"""Peers that serve functions over HTTP: functions-framework and MiniStack.

Each in its own environment, on a port of this machine; both run the same handler, on
the same event. Neither isolates it from the server or from other functions.
"""

import io
import os
import signal
import socket
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

from benchmarks import cache
from benchmarks.callers import lambda_request, plain_request
from benchmarks.engines import TIED
from benchmarks.jails import TIMEOUT_S
from benchmarks.workloads import OUR_RUNTIME, Workload
from sandlot.results import NewKey

START_S = 30.0
_POLL_S = 0.05
_FUNCTION = "benchmark"
_KEY = NewKey(
    tenant_id="000000000000",
    access_key_id="test",
    secret_access_key="test",  # noqa: S106 - MiniStack takes anything
)

_ADAPTER = """
from {module} import handler

def serve(request):
    return handler(request.get_json(), None)
"""


@dataclass(frozen=True, slots=True)
class Service:
    """One that serves: where, and the bytes of a request."""

    name: str
    isolation: str
    port: int
    request: bytes


@contextmanager
def functions_framework(workload: Workload) -> Iterator[Service]:
    """The function in Google's server. Raises `RuntimeError` where it is missing."""
    with tempfile.TemporaryDirectory(prefix="sandlot-benchmark-ff-") as where:
        folder = Path(where)
        for source in workload.sources(OUR_RUNTIME):
            (folder / source.name).symlink_to(source)
        adapter = folder / "main.py"
        adapter.write_text(_ADAPTER.format(module=workload.module), "utf-8")
        port = _free_port()
        arguments = ["--source", str(adapter), "--target", "serve"]
        arguments += ["--host", "127.0.0.1", "--port", str(port)]
        with _served("functions-framework", arguments, {}, folder, port):
            request = plain_request(f"127.0.0.1:{port}", "/", workload.payload)
            yield Service("functions-framework", "none: one process", port, request)


@contextmanager
def ministack(workload: Workload) -> Iterator[Service]:
    """The function in MiniStack's Lambda. Raises `RuntimeError` where it is missing."""
    with tempfile.TemporaryDirectory(prefix="sandlot-benchmark-ms-") as where:
        port = _free_port()
        settings = {"GATEWAY_PORT": str(port), "HOME": where, "TMPDIR": where}
        with _served("ministack", [], settings, Path(where), port):
            _create(port, workload)
            request = lambda_request(
                f"127.0.0.1:{port}", _KEY, _FUNCTION, workload.payload
            )
            yield Service("ministack", "none: a subprocess", port, request)


def _create(port: int, workload: Workload) -> None:
    client: Any = botocore.session.get_session().create_client(
        "lambda",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=_KEY.access_key_id,
        aws_secret_access_key=_KEY.secret_access_key,
        config=Config(read_timeout=START_S),
    )
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        for source in workload.sources(OUR_RUNTIME):
            archive.write(source, source.name)
    client.create_function(
        FunctionName=_FUNCTION,
        Runtime="python3.11",
        Role="arn:aws:iam::000000000000:role/benchmark",
        Handler=workload.handler,
        Code={"ZipFile": package.getvalue()},
    )
    client.close()


@contextmanager
def _served(
    name: str, arguments: list[str], settings: dict[str, str], folder: Path, port: int
) -> Iterator[None]:
    peer = cache.peer(name)
    if peer.path is None:
        raise RuntimeError(f"{name}: not installed; `python -m benchmarks peers`")
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*TIED, str(peer.path), *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": f"{peer.path.parent}:{os.defpath}", **settings},
            # So that its workers can be ended with it.
            start_new_session=True,
        )
    try:
        _wait_open(process, port, folder / "output")
        yield
    finally:
        _end(process)


def _wait_open(process: "subprocess.Popen[bytes]", port: int, output: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(_POLL_S)
        else:
            return
    text = output.read_text("utf-8", "replace").strip()
    raise RuntimeError(f"{process.args!r} does not serve: {text[-400:]}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(TIMEOUT_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT_S)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
