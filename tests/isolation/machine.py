"""The sandbox without the engine: a launcher process, its host side, guests to run."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sandlot_sandbox import frames, linux
from sandlot_sandbox.errors import LauncherLost
from sandlot_sandbox.host.cells import AHEAD
from sandlot_sandbox.host.extensions_api import Identity
from sandlot_sandbox.host.instance import Instance
from sandlot_sandbox.host.launcher import Launcher
from sandlot_sandbox.host.recipe import IMPORT_S, Recipe
from sandlot_sandbox.host.sink import Sink
from sandlot_sandbox.host.zygote import Zygote
from sandlot_sandbox.launcher import runtimes
from sandlot_sandbox.launcher.runtime import dump_runtimes
from sandlot_sandbox.limits import Limits
from sandlot_sandbox.outcome import Ended, Ending
from sandlot_sandbox.spec import NONE, Hello

GUESTS = Path(__file__).parent.parent / "guests"
PROJECT = Path(__file__).parent.parent.parent
RUNTIME = f"python3.{sys.version_info[1]}"
ORDINARY_UID = 990_071
"""Whom root becomes for the rootless mode: a number nobody has."""

MODES = ("root", "rootless") if os.geteuid() == 0 else ("rootless",)
"""Both are tested by root. An ordinary user has only the one."""

CONFINES_SIGNALS = bool(linux.landlock_scopes(linux.landlock_version()))
"""Whether Landlock does so on this kernel; all do from Linux 6.12 on."""

GIVEN_UP = {"root": "", "rootless": "" if CONFINES_SIGNALS else "landlock"}
"""What has to be, by name, for a launcher to start on this kernel at all. The tests
then are about all the other layers."""

needs_groups = pytest.mark.parametrize(
    "sandbox", [mode for mode in MODES if mode == "root"], indirect=True
)
"""For tests of what control groups do; rootless launchers have none here."""

WAIT_S = 10.0 * float(os.environ.get("SANDLOT_TEST_PATIENCE", "1"))
"""For what surely comes; a test that gets there has failed. An emulated processor is
waited for longer."""


class Store:
    """Where code and runtimes lie; readable for the ordinary user, too."""

    def __init__(self, folder: Path) -> None:
        self.code = folder / "code"
        self.code.mkdir(mode=0o755)
        found, _ = runtimes.discover(
            folder / "runtimes", named={RUNTIME: sys.executable}
        )
        self.runtimes = [r for r in found if r.name == RUNTIME or r.runs]
        assert self.runtimes[0].name == RUNTIME, f"there is no {RUNTIME} for guests"
        (folder / "runtimes").chmod(0o755)

    def add(self, guest: str) -> str:
        """A guest program as an unpacked package; its hash."""
        source = (GUESTS / f"{guest}.py").read_bytes()
        digest = hashlib.sha256(source).hexdigest()
        folder = self.code / f"{digest}-{RUNTIME}"
        if not folder.exists():
            folder.mkdir(mode=0o755)
            (folder / "app.py").write_bytes(source)
            (folder / "app.py").chmod(0o644)
        return digest

    def add_program(self, runtime: str, files: Mapping[str, bytes]) -> str:
        """A package of a runtime whose instances are programs; its hash. All files can
        be executed."""
        content = b"".join(name.encode() + files[name] for name in sorted(files))
        digest = hashlib.sha256(content).hexdigest()
        folder = self.code / f"{digest}-{runtime}"
        for name, data in {} if folder.exists() else files.items():
            file = folder / name
            file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            file.write_bytes(data)
            file.chmod(0o755)
        return digest

    def add_opt(
        self, name: str, files: Mapping[str, str], *, runtime: str = RUNTIME
    ) -> str:
        """A folder of layers that no builder made; its hash. In bin and in extensions
        are programs."""
        digest = hashlib.sha256(name.encode()).hexdigest()
        folder = self.code / f"{digest}-{runtime}"
        for path, content in {} if folder.exists() else files.items():
            file = folder / path
            file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            file.write_text(content)
            is_program = path.startswith(("bin/", "extensions/"))
            file.chmod(0o755 if is_program else 0o644)
        return digest


@contextlib.contextmanager
def temporary_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory(prefix="sandlot-isolation-") as folder:
        Path(folder).chmod(0o755)
        yield Store(Path(folder))


class Guest:
    """A zygote of a guest program, and how to ask its instances things."""

    def __init__(self, zygote: Zygote) -> None:
        self.zygote = zygote
        self.lost = asyncio.Event()
        self.dead: list[Instance] = []
        self._death = asyncio.Event()

    async def fork(self, *, is_ahead: bool = False, is_kept: bool = False) -> Instance:
        return await self.zygote.fork(
            on_death=self._note_death, is_ahead=is_ahead, is_kept=is_kept
        )

    async def settle(self) -> None:
        """Until no cell is being made: what is half made is not to be judged."""
        self.zygote.prepare_cells()
        async with asyncio.timeout(WAIT_S):
            while True:
                if self.zygote._cells.ready >= AHEAD:  # noqa: SLF001 - nobody else tells
                    return
                await asyncio.sleep(0)

    def _note_death(self, instance: Instance) -> None:
        self.dead.append(instance)
        self._death.set()

    async def wait_death(self, instance: Instance) -> None:
        async with asyncio.timeout(WAIT_S):
            while instance not in self.dead:
                self._death.clear()
                await self._death.wait()

    async def ask(self, what: str, **arguments: Any) -> Any:
        """What a function of the guest returns, in an instance of its own."""
        instance = await self.fork()
        try:
            return await ask(instance, what, **arguments)
        finally:
            await instance.destroy()


async def send(
    instance: Instance,
    what: str,
    *,
    timeout_s: float = WAIT_S,
    init_counts: bool = False,
    isolation_key: str = "",
    sink: Sink | None = None,
    **arguments: Any,
) -> Ending:
    """Invoke a function of the guest by its name."""
    header = frames.EventHeader(
        "8f5d0d6c-0000-4000-8000-000000000000",
        int((time.time() + timeout_s) * 1000),
        "arn:aws:lambda:us-east-1:000000000001:function:guest",
        tenant_id=isolation_key,
    )
    event = json.dumps({"do": what, **arguments}).encode()
    return await instance.invoke(
        header, event, timeout_s=timeout_s, init_counts=init_counts, sink=sink
    )


async def ask(instance: Instance, what: str, **arguments: Any) -> Any:
    """`send`, for functions that answer."""
    ending = await send(instance, what, **arguments)
    assert ending.ended is Ended.ANSWERED, (ending, ending.printed)
    return json.loads(ending.payload)


class Sandbox:
    """One launcher process and the engine's side of it."""

    def __init__(
        self,
        mode: str,
        store: Store,
        process: asyncio.subprocess.Process,
        launcher: Launcher,
        hello: Hello,
    ) -> None:
        self.mode = mode
        self.store = store
        self.process = process
        self.launcher = launcher
        self.hello = hello
        self.is_lost = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Sandbox {self.mode}>"

    def make_zygote(
        self,
        guest: str,
        *,
        owner: int = 0,
        memory_mb: int = 128,
        tmp_mb: int = 16,
        import_in_zygote: bool = True,
        environment: Mapping[str, str] | None = None,
        opt: str = "",
        handler: str = "app.handler",
        as_program: bool = False,
        import_s: float = IMPORT_S,
    ) -> Guest:
        """Ordered, but not waited for."""
        recipe = Recipe(
            runtime=RUNTIME,
            owner=owner,
            limits=Limits(memory_mb=memory_mb, tmp_mb=tmp_mb),
            code=self.store.add(guest),
            opt=opt,
            as_program=as_program,
            import_s=import_s,
            settings={
                "handler": handler,
                "version": "$LATEST",
                "import_in_zygote": import_in_zygote,
                "environment": {
                    "TZ": ":UTC",
                    "_HANDLER": handler,
                    **(environment or {}),
                },
            },
        )
        lost = asyncio.Event()
        made = Guest(Zygote(self.launcher, recipe, on_lost=lambda _: lost.set()))
        made.lost = lost
        return made

    @asynccontextmanager
    async def running_program(
        self,
        runtime: str,
        files: Mapping[str, bytes],
        *,
        handler: str = "app.handler",
        memory_mb: int = 256,
        opt: str = "",
        identity: Identity | None = None,
        environment: Mapping[str, str] | None = None,
        image: tuple[str, Mapping[str, object]] | None = None,
        network: str = NONE,
    ) -> AsyncIterator[Guest]:
        """A zygote that starts a program for each instance; killed at the end. An
        `image` is one that was built, by its hash, and what is to be run of it."""
        given = {
            "TZ": ":UTC",
            "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
            "LAMBDA_TASK_ROOT": "/var/task",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
            "_HANDLER": handler,
            **(environment or {}),
        }
        recipe = Recipe(
            runtime=runtime,
            limits=Limits(memory_mb=memory_mb, tmp_mb=16),
            code=image[0] if image else self.store.add_program(runtime, files),
            opt=opt,
            identity=identity or Identity(),
            network=network,
            settings={
                "handler": handler,
                "version": "$LATEST",
                "import_in_zygote": False,
                "environment": given,
                **({"image": image[1]} if image else {}),
            },
        )
        lost = asyncio.Event()
        made = Guest(Zygote(self.launcher, recipe, on_lost=lambda _: lost.set()))
        made.lost = lost
        try:
            assert await made.zygote.wait_ready(), made.zygote.reason
            yield made
        finally:
            made.zygote.kill()
            async with asyncio.timeout(WAIT_S):
                await lost.wait()

    @asynccontextmanager
    async def running(self, guest: str, **settings: Any) -> AsyncIterator[Guest]:
        """A guest that is ready to fork; killed at the end."""
        made = self.make_zygote(guest, **settings)
        try:
            is_safe = await made.zygote.wait_ready()
            assert is_safe, made.zygote.reason
            yield made
        finally:
            made.zygote.kill()
            async with asyncio.timeout(WAIT_S):
                await made.lost.wait()


LAUNCHER = "sandlot_sandbox.launcher"


@asynccontextmanager
async def started(
    mode: str,
    store: Store,
    *,
    given_up: str = "",
    cgroups: str = "",
    delegated: Path | None = None,
    prlimit: tuple[str, ...] = (),
    program: str = LAUNCHER,
) -> AsyncIterator[Sandbox]:
    """A launcher in a mode, killed at the end if it has not ended by itself. It starts
    in the group that was `delegated` to it, if any was. Its `program` may be another
    module, which takes its arguments."""
    given_up = ",".join(filter(None, {*given_up.split(","), GIVEN_UP[mode]}))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv = [
        *(sys.executable, "-m", program),
        *("--channel", str(theirs.fileno()), "--parent", str(os.getpid())),
        *("--code", str(store.code)),
        *("--runtimes", dump_runtimes(store.runtimes)),
        *("--given-up", given_up, "--cgroups", cgroups),
    ]
    if mode == "rootless" and os.geteuid() == 0:
        argv = [*as_ordinary_user(), *argv]
    if delegated is not None:
        join = 'echo $$ > "$0" && exec "$@"'
        argv = ["/bin/sh", "-c", join, str(delegated / "cgroup.procs"), *argv]
    if prlimit:
        argv = ["/usr/bin/env", "prlimit", *prlimit, *argv]
    process = await asyncio.create_subprocess_exec(
        *argv,
        pass_fds=(theirs.fileno(),),
        # What root's shells have: none of it may reach a jail.
        extra_groups=(0, 42) if os.geteuid() == 0 else None,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    theirs.close()
    lost = asyncio.Event()
    launcher = Launcher(ours, on_lost=lost.set)
    try:
        async with asyncio.timeout(3 * WAIT_S):
            try:
                hello = await launcher.wait_hello()
            except LauncherLost as error:
                error.add_note(f"its status is {await process.wait()}")
                raise
        sandbox = Sandbox(mode, store, process, launcher, hello)
        sandbox.is_lost = lost
        yield sandbox
    finally:
        await hang_up(launcher, process)


async def hang_up(launcher: Launcher, process: asyncio.subprocess.Process) -> None:
    """As the engine's end does; the process has to end of that."""
    launcher.close()
    try:
        async with asyncio.timeout(WAIT_S):
            await process.wait()
    except TimeoutError:
        process.send_signal(signal.SIGKILL)
        await process.wait()
        raise


def as_ordinary_user() -> list[str]:
    """What to put before a command line, as root."""
    reached = [*sys.path, sys.prefix, sys.base_prefix, str(PROJECT)]
    paths = [path for path in reached if Path(path).is_dir()]
    script = str(Path(__file__).parent / "as_user.py")
    return [sys.executable, script, str(ORDINARY_UID), *paths, "--"]


def kernel_facts(pid: int | str) -> dict[str, str]:
    """/proc/PID/status, by name."""
    text = Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # Of any process of the machine, whatever it calls itself.
                stat = (entry / "stat").read_text("utf-8", "replace")
                parent = int(stat.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


async def wait_frozen(instance: Instance) -> None:
    async with asyncio.timeout(WAIT_S):
        while not instance.is_frozen:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


async def wait_gone(pids: list[int]) -> None:
    """Until none of these processes lives."""
    async with asyncio.timeout(WAIT_S):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                await _wait_end(os.pidfd_open(pid))


async def _wait_end(pidfd: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
