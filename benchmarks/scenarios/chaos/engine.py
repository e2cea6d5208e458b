"""An engine in a folder: started as users do, killed in parts, started again."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks import compiled
from benchmarks.engines import TIED
from sandlot import AsyncClient

READY_S = 60.0
STOP_S = 90.0
END_S = 15.0
"""For what was killed to be gone."""

EXPECTED = frozenset(
    {
        *("sandlot.db", "sandlot.db-wal", "sandlot.db-shm", "code", "runtimes", "lock"),
        *("master.key", "operator.json", "engine.json"),
    }
)
"""What a data folder has in it, whatever happened to its engine."""

_CGROUPS = Path("/sys/fs/cgroup")
_SHIM = Path(__file__).with_name("shim")
"""A `sitecustomize` that lets the engine's calendar be set, and nobody else's."""


class Engine:
    """One `sandlot up` after another on one data folder."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self._options = options
        self._grpc = f"127.0.0.1:{_free_port()}"
        self._process: subprocess.Popen[str] | None = None
        self._seen: set[psutil.Process] = set()
        self._launchers: set[int] = set()
        self.clock = data.parent / "clock"
        """Seconds that the engine's calendar is ahead."""

    def __repr__(self) -> str:
        return f"<Engine {self.data}>"

    @property
    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None:
            raise RuntimeError("it was not started")
        return self._process

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Return when it serves."""
        command = [
            *TIED,
            *(sys.executable, "-m", "sandlot", "up", "--data", str(self.data)),
            *("--grpc", self._grpc, "--http", "127.0.0.1:0", "--json"),
            *self._options,
        ]
        compiled.lay_into(self.data / "runtimes")
        roots = [str(_SHIM), *(path for path in sys.path if path)]
        with (self.data.parent / "stderr").open("a") as stderr:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork, no wait
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "HOME": str(self.data.parent),
                    "PYTHONPATH": os.pathsep.join(roots),
                    "CHAOS_CLOCK": str(self.clock),
                },
            )
        out = self._process.stdout
        async with asyncio.timeout(READY_S):
            line = await asyncio.to_thread(out.readline) if out else ""
        if not line.strip():
            raise SystemExit(f"the engine did not start; it said:\n{self.said}")
        json.loads(line)
        self.look()

    def client(self, **more: Any) -> AsyncClient:
        return AsyncClient(data=self.data, **more)

    @property
    def said(self) -> str:
        return (self.data.parent / "stderr").read_text("utf-8", "replace")[-4_000:]

    def look(self) -> None:
        """Note who is there, to know later whether somebody stayed."""
        self._seen.update(self._family())
        self._launchers.update(
            process.pid
            for process in self._children()
            if "sandlot_sandbox.launcher" in _command(process)
        )

    def kill(self, rng: random.Random) -> str:
        """`kill -9` one of its processes; who that was."""
        self.look()
        try:
            return self._kill(rng)
        except psutil.NoSuchProcess:
            return "nobody"

    def _kill(self, rng: random.Random) -> str:
        kinds: dict[str, list[psutil.Process]] = {}
        for process in self._children():
            if "sandlot_engine.engine" in _command(process):
                kinds["engine"] = [process]
            elif "sandlot_sandbox.launcher" in _command(process):
                kinds["launcher"] = [process]
                # Wardens are children of the launcher's; what they hold is below.
                kinds["in a jail"] = [
                    below
                    for warden in process.children()
                    for below in warden.children(recursive=True)
                ]
        if not any(kinds.values()):
            return "nobody"
        kind = rng.choice([name for name, found in kinds.items() if found])
        rng.choice(kinds[kind]).send_signal(signal.SIGKILL)
        return kind

    async def wait_end(self) -> None:
        """Its supervisor ends after its engine."""
        async with asyncio.timeout(STOP_S):
            await asyncio.to_thread(self._started.wait)

    async def stop(self) -> None:
        """SIGTERM, and until all is gone."""
        self.look()
        self._started.terminate()
        await self.wait_end()

    def left_behind(self) -> list[str]:
        """Processes, control groups and files of all its lives that are still there."""
        left = [f"process {process.pid}" for process in self._alive()]
        left += [
            f"control group {path}"
            for path in _groups()
            if path.name.partition(".")[0]
            in {f"sandlot-{pid}" for pid in self._launchers}
        ]
        names = {path.name for path in self.data.iterdir()}
        return left + [f"file {name}" for name in sorted(names - EXPECTED)]

    def _alive(self) -> set[psutil.Process]:
        """Those that are there still after a while."""
        until = time.monotonic() + END_S
        # Not psutil's own way, which takes a process that is just ending for a mistake.
        while alive := {each for each in self._seen if each.is_running()}:
            if time.monotonic() > until:
                break
            time.sleep(0.1)
        return alive

    def _children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._started.pid).children()
        except psutil.NoSuchProcess:
            return []

    def _family(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        try:
            top = psutil.Process(self._process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def new_folder() -> Path:
    """For an engine, with room for what is beside its data."""
    folder = Path(tempfile.mkdtemp(prefix="sandlot-chaos-"))
    folder.chmod(0o755)
    return folder


def _groups() -> Iterator[Path]:
    for folder, names, _ in os.walk(_CGROUPS):
        yield from (Path(folder) / name for name in names)


def _command(process: psutil.Process) -> list[str]:
    try:
        command: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return command


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
