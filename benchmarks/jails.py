"""The sandbox as the engine drives it: a launcher process, zygotes, instances.

Its host side runs in this process, in an asyncio loop, as it does in the engine. What
is not here is what comes before an assignment: the gateway, quotas, the scheduler.
"""

import asyncio
import compileall
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from benchmarks.workloads import Workload
from sandlot_sandbox import frames
from sandlot_sandbox.errors import SandboxError
from sandlot_sandbox.host.instance import Instance
from sandlot_sandbox.host.launcher import Cell, Launcher
from sandlot_sandbox.host.zygote import Recipe, Zygote
from sandlot_sandbox.launcher import runtimes
from sandlot_sandbox.limits import Limits
from sandlot_sandbox.spec import Layer

TIMEOUT_S = 10.0
"""Of an invocation, and of each thing that starts or ends here."""

LIMITS = Limits(memory_mb=256, tmp_mb=64)

ENVIRONMENT = {
    "TZ": ":UTC",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
}
"""As functions have it: see `sandlot_engine.node.environment`."""

_SETTLE_S = 0.002
"""The kernel ends a dead instance's namespaces in the background; by then it has."""


class _QuietLauncher(Launcher):
    """Knows when it is making no cells: a sample begins with nothing going on."""

    is_quiet: asyncio.Event
    _under_way = 0

    async def make_cell(self, zygote: int) -> Cell:
        self._under_way += 1
        self.is_quiet.clear()
        try:
            return await super().make_cell(zygote)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.is_quiet.set()


class Jails:
    """A launcher and where its code lies. Made by `open_jails`."""

    def __init__(
        self,
        launcher: _QuietLauncher,
        process: "subprocess.Popen[bytes]",
        *,
        runtime: runtimes.Runtime,
        code: Path,
    ) -> None:
        self.runtime = runtime
        self.mode = ""
        self.layers: list[Layer] = []
        self._launcher = launcher
        self._process = process
        self._code = code

    def unpack(self, workload: Workload) -> Path:
        """Its package, compiled, so that a new interpreter has no more to do."""
        folder = self._code / hashlib.sha256(workload.name.encode()).hexdigest()
        if not folder.exists():
            folder.mkdir(mode=0o755)
            for source in workload.sources():
                if source.is_dir():
                    shutil.copytree(source, folder / source.name)
                else:
                    shutil.copy(source, folder)
            compileall.compile_dir(folder, quiet=2, maxlevels=50)
        return folder

    @asynccontextmanager
    async def zygote(self, workload: Workload) -> AsyncIterator["ReadyZygote"]:
        """A zygote that has imported the workload; killed at the end."""
        package = self.unpack(workload)
        settings = {
            "handler": workload.handler,
            "version": "$LATEST",
            "import_in_zygote": True,
            "environment": ENVIRONMENT,
        }
        recipe = Recipe(
            runtime=self.runtime.name,
            limits=LIMITS,
            code=package.name,
            settings=settings,
        )
        lost = asyncio.Event()
        zygote = Zygote(self._launcher, recipe, on_lost=lambda _: lost.set())
        try:
            await _wait_ready(zygote, workload)
            yield ReadyZygote(zygote, workload, self._launcher.is_quiet)
        finally:
            zygote.kill()
            async with asyncio.timeout(TIMEOUT_S):
                await lost.wait()

    def cpu_s(self) -> list[float]:
        """CPU time of the launcher, of the one warden with its cells, and of the one
        zygote with its instances; of cells and instances, those that are dead."""
        processes = [psutil.Process(self._process.pid)]
        for _ in ("warden", "zygote"):
            # The zygote is its warden's first child; what follows are cells. By time,
            # because process ids begin again.
            children = processes[-1].children()
            processes.append(min(children, key=lambda p: p.create_time()))
        return [
            sum(process.cpu_times()[: 2 if process is processes[0] else 4])
            for process in processes
        ]


async def _wait_ready(zygote: Zygote, workload: Workload) -> None:
    try:
        if await zygote.wait_ready():
            return
        why = zygote.reason
    except SandboxError as error:
        printed = b"\n".join(text for _, text in zygote.take_printed()[0])
        why = f"{error}\n{printed.decode('utf-8', 'replace')}"
    raise RuntimeError(f"{workload.name} cannot be forked: {why}")


class ReadyZygote:
    """Instances on demand, each in a cell that was made before."""

    def __init__(
        self, zygote: Zygote, workload: Workload, is_quiet: asyncio.Event
    ) -> None:
        self._zygote = zygote
        self._workload = workload
        self._is_quiet = is_quiet

    async def settle(self) -> None:
        """Have cells ready, and nothing else going on."""
        self._zygote.prepare_cells()
        # What makes them has begun by then.
        await asyncio.sleep(0)
        async with asyncio.timeout(TIMEOUT_S):
            await self._is_quiet.wait()
        await asyncio.sleep(_SETTLE_S)

    async def fork(self) -> Instance:
        return await self._zygote.fork(on_death=lambda _: None)

    def header(self) -> frames.EventHeader:
        """What goes with an event."""
        return frames.EventHeader(
            "6f7d2f0c-9ab4-4c06-8d2b-2a6d0a4f7a11",
            int((time.time() + TIMEOUT_S) * 1000),
            "arn:aws:lambda:us-east-1:123456789012:function:benchmark",
        )


@asynccontextmanager
async def open_jails(
    runtime: str, *, bootstrap: Path | None = None
) -> AsyncIterator[Jails]:
    """A launcher of our own. At the end it is gone, and every process under it.

    `bootstrap` comes before the zygote's first file, for guests that look on.
    """
    with tempfile.TemporaryDirectory(prefix="sandlot-benchmark-") as folder:
        found, code = _prepare(Path(folder), runtime, bootstrap)
        channel, process = _start_launcher(found, code)
        launcher = _QuietLauncher(channel, on_lost=lambda: None)
        launcher.is_quiet = asyncio.Event()
        launcher.is_quiet.set()
        jails = Jails(launcher, process, runtime=found, code=code)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                hello = await launcher.wait_hello()
            jails.mode, jails.layers = hello.mode, hello.layers
            yield jails
        finally:
            launcher.close()
            process.wait(TIMEOUT_S)


def _prepare(
    folder: Path, runtime: str, bootstrap: Path | None
) -> tuple[runtimes.Runtime, Path]:
    """The guest's code compiled for the runtime, and a place for packages."""
    # Read in the jail by a user of its own.
    folder.chmod(0o755)
    found = _runtime(folder, runtime)
    if bootstrap is not None:
        original = found.guest_code / "sandlot_sandbox" / "guest" / "bootstrap.py"
        original.rename(f"{original}.replaced")
        shutil.copyfile(bootstrap, original)
    code = folder / "code"
    code.mkdir(mode=0o755)
    return found, code


def _runtime(store: Path, name: str) -> runtimes.Runtime:
    found, _ = runtimes.discover(store)
    for runtime in found:
        if runtime.name == name:
            return runtime
    names = ", ".join(runtime.name for runtime in found) or "none"
    raise SystemExit(f"there is no {name} here; found: {names}")


def _start_launcher(
    runtime: runtimes.Runtime, code: Path
) -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "sandlot_sandbox.launcher"),
                *("--channel", str(theirs.fileno()), "--parent", str(os.getpid())),
                *("--code", str(code), "--runtimes", runtimes.to_json([runtime])),
            ],
            pass_fds=[theirs.fileno()],
        )
    return ours, process
