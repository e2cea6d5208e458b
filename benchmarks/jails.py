"""The sandbox as the engine drives it: a launcher process, zygotes, instances.

Its host side runs in this process, in an asyncio loop, as it does in the engine. What
is not here is what comes before an assignment: the gateway, quotas, the scheduler.
"""

import asyncio
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import psutil

from benchmarks import compiled
from benchmarks.board import Board
from sandlot_sandbox import frames
from sandlot_sandbox.errors import SandboxError
from sandlot_sandbox.host.berth import Cell
from sandlot_sandbox.host.instance import Instance
from sandlot_sandbox.host.launcher import Launcher
from sandlot_sandbox.host.minder import Minded, Minder
from sandlot_sandbox.host.recipe import Recipe
from sandlot_sandbox.host.zygote import Zygote
from sandlot_sandbox.launcher import runtimes
from sandlot_sandbox.launcher.runtime import Runtime, dump_runtimes
from sandlot_sandbox.limits import Limits
from sandlot_sandbox.spec import Layer

TIMEOUT_S = 10.0
"""Of an invocation, and of each thing that starts or ends here."""

COMPILE_S = 300.0
"""Of a package."""

LIMITS = Limits(memory_mb=256, tmp_mb=64)

ENVIRONMENT = {
    "TZ": ":UTC",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
}
"""As functions have it: see `sandlot_engine.node.environment`."""

FLAGS = ("-I", "-S", "-B")
"""As zygotes are started: without site-packages, which saves a few milliseconds."""

_SETTLE_S = 0.002
"""The kernel ends a dead instance's namespaces in the background; by then it has."""


class Packaged(Protocol):
    """What can be unpacked, and be a zygote's: a `Workload`, say."""

    @property
    def name(self) -> str: ...

    @property
    def handler(self) -> str: ...

    def sources(self, runtime: str) -> Iterator[Path]:
        """Files and folders that make up its package."""
        ...


class ReadyMinder(Minder):
    """Tells when an instance is ready that nobody has sent an event."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = asyncio.Event()

    def note_idle(self, instance: Minded) -> None:
        super().note_idle(instance)
        self.heard.set()


class WatchedLauncher(Launcher):
    """Knows when it is making no cells: a sample begins with nothing going on."""

    def __init__(self, channel: socket.socket) -> None:
        super().__init__(channel, on_lost=lambda: None)
        self.is_quiet = asyncio.Event()
        self.is_quiet.set()
        self.minder: ReadyMinder = ReadyMinder()
        self.ordered_ns = 0
        """`time.monotonic_ns` of the last order for a zygote."""
        self.newest = 0
        """The last zygote's number."""
        self._under_way = 0

    def start_zygote(self, *arguments: Any, **more: Any) -> int:
        self.ordered_ns = time.monotonic_ns()
        self.newest = super().start_zygote(*arguments, **more)
        return self.newest

    async def make_cell(self, zygote: int, *, heir_of: int = 0) -> Cell:
        self._under_way += 1
        self.is_quiet.clear()
        try:
            return await super().make_cell(zygote, heir_of=heir_of)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.is_quiet.set()


class TimedZygote(Zygote):
    """Knows when it was heard of first: that is when its interpreter runs."""

    heard_ns = 0

    def _hear(self, datagram: bytes, descriptors: list[int]) -> None:
        self.heard_ns = self.heard_ns or time.monotonic_ns()
        super()._hear(datagram, descriptors)


class Jails:
    """A launcher and where its code lies. Made by `open_jails`."""

    def __init__(
        self,
        launcher: WatchedLauncher,
        process: "subprocess.Popen[bytes]",
        *,
        runtime: Runtime,
        code: Path,
    ) -> None:
        self.runtime = runtime
        self.mode = ""
        self.layers: list[Layer] = []
        self.launcher = launcher
        self._process = process
        self._code = code

    def unpack(self, workload: Packaged) -> Path:
        """Its package, compiled, so that a new interpreter has no more to do."""
        folder = self._code / f"{_hash_of(workload)}-{self.runtime.name}"
        if not folder.exists():
            folder.mkdir(mode=0o755)
            for source in workload.sources(self.runtime.name):
                if source.is_dir():
                    shutil.copytree(source, folder / source.name)
                else:
                    shutil.copy(source, folder)
            if not self.runtime.runs:
                # By the interpreter that will read it.
                _compile(self.runtime, folder)
        return folder

    @asynccontextmanager
    async def zygote(
        self, workload: Packaged, *, environment: Mapping[str, str] = ENVIRONMENT
    ) -> AsyncIterator["ReadyZygote"]:
        """A zygote that has imported the workload, if that is what its runtime does;
        killed at the end."""
        self.unpack(workload)
        async with ready_zygote(
            self.launcher, self.runtime, workload, environment=environment
        ) as zygote:
            yield zygote

    def cpu_s(self) -> list[float]:
        """CPU time of the launcher, of the one warden with its cells, and of the one
        zygote with its instances; of cells and instances, those that are dead."""
        launcher = psutil.Process(self._process.pid)
        # By time, because process ids begin again. The launcher's first child removes
        # control groups; the warden's first is the zygote, and what follows are cells.
        warden = max(launcher.children(), key=lambda p: p.create_time())
        zygote = min(warden.children(), key=lambda p: p.create_time())
        return [
            sum(launcher.cpu_times()[:2]),
            *(sum(process.cpu_times()[:4]) for process in (warden, zygote)),
        ]


def _hash_of(workload: Packaged) -> str:
    """In the place of its package's: we make the folder ourselves."""
    return hashlib.sha256(workload.name.encode()).hexdigest()


@asynccontextmanager
async def ready_zygote(
    launcher: WatchedLauncher,
    runtime: Runtime,
    workload: Packaged,
    *,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> AsyncIterator["ReadyZygote"]:
    """A zygote of an unpacked workload; killed at the end."""
    recipe = Recipe(
        runtime=runtime.name,
        limits=LIMITS,
        code=_hash_of(workload),
        settings={
            "handler": workload.handler,
            "version": "$LATEST",
            "import_in_zygote": not runtime.runs,
            "environment": dict(environment),
        },
    )
    lost = asyncio.Event()
    zygote = TimedZygote(launcher, recipe, on_lost=lambda _: lost.set())
    try:
        await _wait_ready(zygote, workload)
        yield ReadyZygote(zygote, launcher)
    finally:
        zygote.kill()
        async with asyncio.timeout(TIMEOUT_S):
            await lost.wait()


async def _wait_ready(zygote: Zygote, workload: Packaged) -> None:
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

    def __init__(self, zygote: TimedZygote, launcher: WatchedLauncher) -> None:
        self.started_s = (zygote.heard_ns - launcher.ordered_ns) / 1e9
        """From the order to the interpreter's first word."""
        self._zygote = zygote
        self._launcher = launcher

    async def settle(self) -> None:
        """Have cells ready, and nothing else going on."""
        self._zygote.prepare_cells()
        # What makes them has begun by then.
        await asyncio.sleep(0)
        async with asyncio.timeout(TIMEOUT_S):
            await self._launcher.is_quiet.wait()
        await asyncio.sleep(_SETTLE_S)

    async def fork(self, *, is_ahead: bool = False) -> Instance:
        return await self._zygote.fork(on_death=lambda _: None, is_ahead=is_ahead)

    async def fork_until_ready(
        self, *, is_ahead: bool = False
    ) -> tuple[Instance, float]:
        """An instance, and the seconds from before the fork note to its being ready.

        One that `is_ahead` is a standby: it does what it can before its first event.
        """
        minder = self._launcher.minder
        minder.heard.clear()
        began = time.monotonic()
        instance = await self.fork(is_ahead=is_ahead)
        async with asyncio.timeout(TIMEOUT_S):
            await minder.heard.wait()
        return instance, instance.idle.idle_since - began

    def take_printed(self) -> list[bytes]:
        """What the zygote itself has printed since it was asked last."""
        return [text for _, text in self._zygote.take_printed()[0]]

    def header(self) -> frames.EventHeader:
        """What goes with an event."""
        return frames.EventHeader(
            "6f7d2f0c-9ab4-4c06-8d2b-2a6d0a4f7a11",
            int((time.time() + TIMEOUT_S) * 1000),
            "arn:aws:lambda:us-east-1:123456789012:function:benchmark",
        )


@asynccontextmanager
async def open_jails(
    runtime: str, *, bootstrap: Path | None = None, board: Board | None = None
) -> AsyncIterator[Jails]:
    """A launcher of our own. At the end it is gone, and every process under it.

    `bootstrap` comes before the zygote's first file, for guests that look on. With a
    `board`, launcher, wardens and cells write down there when each step was done.
    """
    with tempfile.TemporaryDirectory(prefix="sandlot-benchmark-") as folder:
        found, code = _prepare(Path(folder), runtime, bootstrap)
        channel, process = _start_launcher(found, code, board)
        launcher = WatchedLauncher(channel)
        jails = Jails(launcher, process, runtime=found, code=code)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                hello = await launcher.wait_hello()
            jails.mode, jails.layers = hello.mode, hello.layers
            yield jails
        finally:
            launcher.close()
            process.wait(TIMEOUT_S)


def found_runtimes() -> list[Runtime]:
    """All that this machine has; their `guest_code` is gone again."""
    with tempfile.TemporaryDirectory(prefix="sandlot-benchmark-") as folder:
        return _discovered(Path(folder) / "runtimes")


def interpreter_of(runtime: Runtime) -> str:
    """Outside of jails."""
    return str(runtime.prefix / "bin" / runtime.name)


def _compile(runtime: Runtime, folder: Path) -> None:
    """What cannot be compiled is left as it is: some packages bring such."""
    command = [interpreter_of(runtime), "-m", "compileall", "-qq", str(folder)]
    subprocess.run(command, check=False, timeout=COMPILE_S)


def _prepare(
    folder: Path, runtime: str, bootstrap: Path | None
) -> tuple[Runtime, Path]:
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


def _discovered(store: Path) -> list[Runtime]:
    compiled.lay_into(store)
    store.mkdir(exist_ok=True)
    return runtimes.discover(store)[0]


def _runtime(store: Path, name: str) -> Runtime:
    found = _discovered(store / "runtimes")
    for runtime in found:
        if runtime.name == name:
            return runtime
    names = ", ".join(runtime.name for runtime in found) or "none"
    raise SystemExit(f"there is no {name} here; found: {names}")


def _start_launcher(
    runtime: Runtime, code: Path, board: Board | None
) -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    module, given = ["sandlot_sandbox.launcher"], [theirs.fileno()]
    if board is not None:
        module = ["benchmarks.launcher_profile", str(board.fd)]
        given.append(board.fd)
    with theirs:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", *module),
                *("--channel", str(theirs.fileno()), "--parent", str(os.getpid())),
                *("--code", str(code), "--runtimes", dump_runtimes([runtime])),
            ],
            pass_fds=given,
        )
    return ours, process
