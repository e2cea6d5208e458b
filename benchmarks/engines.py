"""A whole engine, as users start it: `sandlot up`, on free ports of this machine.

Its data is in a folder that goes when the block is left; the processes go with the
supervisor, and the control groups with them.
"""

import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import compiled
from benchmarks.workloads import Workload
from sandlot import AsyncClient
from sandlot.results import NewKey
from sandlot_sandbox.host.room import room_in
from sandlot_sandbox.spec import Layer

READY_S = 45.0
STOP_S = 45.0
OPEN_FILES = 262_144
"""Enough for 3,000 instances, and for all who call them."""

TIMEOUT_S = 120
"""Of a function, some of which are made to stay for a while."""

CONCURRENCY = 10_000
"""Of a tenant who is not to be held back by us."""

_ROOT = Path(__file__).parents[1]
_ROOTS = [str(_ROOT / part) for part in ("client", "engine", "sandbox")]

_READY = b"{"

TIED = (sys.executable, str(Path(__file__).with_name("tied.py")), str(os.getpid()))
"""Before a command: it ends when we are gone, even by SIGKILL."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process at one moment."""

    cpu_s: float
    rss_kb: int


@dataclass(slots=True, kw_only=True)
class Engine:
    """One that serves."""

    grpc: str
    http: str
    data: Path
    mode: str
    runtime: str
    process: "subprocess.Popen[bytes]"
    layers: list[Layer] = field(default_factory=list)
    tenants: dict[str, NewKey] = field(default_factory=dict)

    async def tenant(self, name: str, *, concurrency: int = CONCURRENCY) -> NewKey:
        """A tenant's key; made at the first call."""
        if name not in self.tenants:
            async with AsyncClient(data=self.data) as operator:
                key = await operator.create_tenant(name, concurrency=concurrency)
            self.tenants[name] = key
        return self.tenants[name]

    def client(self, key: NewKey) -> AsyncClient:
        """As that tenant."""
        return AsyncClient(
            self.grpc,
            access_key_id=key.access_key_id,
            secret_access_key=key.secret_access_key,
        )

    async def deploy(self, key: NewKey, source: str, name: str) -> None:
        """A function out of the text of its one module, which has a `handler`."""
        with _folder_of(source) as folder:
            async with self.client(key) as client:
                await client.deploy(
                    folder,
                    name=name,
                    handler="main.handler",
                    runtime=self.runtime,
                    timeout=TIMEOUT_S,
                )

    async def deploy_workload(self, key: NewKey, workload: Workload) -> None:
        """Under its own name."""
        with _package_of(workload, self.runtime) as folder:
            async with self.client(key) as client:
                await client.deploy(
                    folder,
                    name=workload.name,
                    handler=workload.handler,
                    runtime=self.runtime,
                    memory=256,
                )

    def usage(self) -> Usage:
        """Of the engine's process itself, without supervisor, launcher and jails."""
        process = self._engine()
        times, memory = process.cpu_times(), process.memory_info()
        return Usage(times.user + times.system, memory.rss >> 10)

    def cpu_s(self) -> float:
        """Of the engine, its launcher and all that lives below; of the dead, what was
        waited for."""
        supervisor = psutil.Process(self.process.pid)
        return sum(sum(times[:4]) for times in _times(supervisor))

    async def reading(self, name: str) -> float:
        """Of `/metrics`, without `sandlot_`."""
        text = await asyncio.to_thread(self._metrics)
        (line,) = (row for row in text.splitlines() if row.startswith(f"{name} "))
        return float(line.split()[1])

    def _metrics(self) -> str:
        with urllib.request.urlopen(f"{self.http}/metrics") as answer:  # noqa: S310 - ours
            told: str = answer.read().decode()
        return told.replace("sandlot_", "")

    def pids_below(self) -> list[int]:
        """Of everything that was started by it."""
        supervisor = psutil.Process(self.process.pid)
        return [child.pid for child in supervisor.children(recursive=True)]

    def _engine(self) -> psutil.Process:
        for child in psutil.Process(self.process.pid).children():
            if any("sandlot_engine.engine" in word for word in child.cmdline()):
                return child
        raise RuntimeError("the supervisor has no engine")


def _times(supervisor: psutil.Process) -> Iterator[tuple[float, ...]]:
    for process in (supervisor, *supervisor.children(recursive=True)):
        try:
            yield tuple(process.cpu_times())
        except psutil.NoSuchProcess:
            continue


def room_for_instances() -> int:
    """How many an engine that we start has room for, by what it may have open."""
    _raise_open_files()
    return room_in(resource.getrlimit(resource.RLIMIT_NOFILE)[1]).instances


@asynccontextmanager
async def running_engine(runtime: str, *options: str) -> AsyncIterator[Engine]:
    """Started, and ended with everything that is in it."""
    with tempfile.TemporaryDirectory(prefix="sandlot-benchmark-") as where:
        folder = Path(where)
        process = _start(folder, options)
        try:
            ready = await _wait_ready(process, folder / "stderr")
            async with AsyncClient(data=folder / "data") as operator:
                status = await operator.status()
            yield Engine(
                grpc=ready["grpc"],
                http=ready["http"],
                data=folder / "data",
                mode=status.mode,
                layers=[
                    Layer(
                        name=each.name,
                        stops=each.stops,
                        holds=each.holds,
                        detail=each.detail,
                        given_up=each.given_up,
                    )
                    for each in status.layers
                ],
                runtime=runtime,
                process=process,
            )
        finally:
            _end(process)


def _start(folder: Path, options: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    # The engine's own user has to get through.
    folder.chmod(0o755)
    compiled.lay_into(folder / "data" / "runtimes")
    _raise_open_files()
    path = os.pathsep.join([*_ROOTS, os.environ.get("PYTHONPATH", "")])
    with (folder / "stderr").open("wb") as stderr:
        return subprocess.Popen(
            [
                *TIED,
                *(sys.executable, "-m", "sandlot", "up", "--json"),
                *("--data", str(folder / "data")),
                *("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", *options),
            ],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)},
        )


def _raise_open_files() -> None:
    """As the service's unit does, where we may: an engine counts its room by them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (OPEN_FILES, hard):
        most = max(hard, wanted)
        with suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            return


@contextmanager
def _folder_of(source: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="sandlot-benchmark-code-") as folder:
        (Path(folder) / "main.py").write_text(source, "utf-8")
        yield folder


@contextmanager
def _package_of(workload: Workload, runtime: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="sandlot-benchmark-code-") as folder:
        for source in workload.sources(runtime):
            if source.is_dir():
                shutil.copytree(source, Path(folder) / source.name)
            else:
                shutil.copy(source, folder)
        yield folder


async def _wait_ready(process: "subprocess.Popen[bytes]", said: Path) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), process.stdout
    )
    try:
        async with asyncio.timeout(READY_S):
            line = await reader.readline()
    finally:
        transport.close()
    if not line.startswith(_READY):
        text = await asyncio.to_thread(said.read_text, "utf-8", "replace")
        raise RuntimeError(f"the engine did not start: {text.strip()}")
    ready: dict[str, Any] = json.loads(line)
    return ready


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Gently, so that it removes what it made; killed where it takes too long."""
    process.terminate()
    deadline = time.monotonic() + STOP_S
    try:
        process.wait(deadline - time.monotonic())
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
