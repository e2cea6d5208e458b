"""Each step of building a jail, and of entering a cell, made to fail: no instance
starts, nothing is left behind, and others are served as before.

The steps are found in the code. One that cannot be reached here is named below with
its reason, so that a new one is either tried or explained.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

import sandlot_sandbox
from sandlot_sandbox.errors import StartFailed, ZygoteLost
from sandlot_sandbox.host.cells import AHEAD
from sandlot_sandbox.host.launcher import Launcher
from sandlot_sandbox.launcher.runtime import dump_runtimes
from sandlot_sandbox.outcome import Ended
from tests.isolation import faults, faulty_launcher
from tests.isolation.aftermath import Host, expect_answers
from tests.isolation.faults import INJECTED, Step
from tests.isolation.machine import (
    MODES,
    WAIT_S,
    Guest,
    Sandbox,
    Store,
    as_ordinary_user,
    send,
    temporary_store,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

PACKAGE = Path(sandlot_sandbox.__file__).parent

OUTSIDE = [
    *faults.find_steps(PACKAGE, "guest/enter.py", again="mount_tmp mount_proc"),
    *faults.find_steps(
        PACKAGE,
        "guest/warden.py",
        without="run _Warden.serve _Warden._look _Warden._reap",
    ),
    *faults.find_steps(PACKAGE, "guest/cell.py", without="_obey"),
    *faults.find_steps(PACKAGE, "launcher/zygotes.py"),
    *faults.find_steps(PACKAGE, "launcher/rootfs.py"),
    *faults.find_steps(PACKAGE, "launcher/users.py", only="UserIds.take write_maps"),
    *faults.find_steps(
        PACKAGE,
        "launcher/cgroups.py",
        only="Group.make Group.open_joins Group.open_files _open _write",
    ),
    *faults.find_steps(PACKAGE, "limits.py"),
    *faults.find_steps(PACKAGE, "linux.py", only="clone clone_mount set_capabilities"),
    *faults.find_steps(
        PACKAGE, "linux.py", only="raise_loopback", again="raise_loopback"
    ),
]
"""What launcher, warden and cell do before an instance can enter the cell."""

INSIDE = [
    *faults.find_steps(PACKAGE, "guest/instance.py", only="enter_cell"),
    *faults.find_steps(PACKAGE, "guest/zygote.py", only="_Zygote._fork"),
    *faults.find_steps(
        PACKAGE,
        "linux.py",
        only="Entry.enter_pid_namespace Entry.enter Entry.give_up_privileges",
    ),
]
"""What a zygote and its clone do before that is an instance."""


STARTING = [
    *faults.find_steps(PACKAGE, "launcher/__main__.py", only="main"),
    *faults.find_steps(PACKAGE, "linux.py", only="landlock_version"),
    *faults.find_steps(
        PACKAGE, "launcher/users.py", only="become_root_of_own_namespace"
    ),
    *faults.find_steps(
        PACKAGE, "launcher/cgroups.py", only="Tree.plant Janitor._start"
    ),
]
"""What a launcher does once, after it has said what this machine can enforce."""

BEFORE_THE_PROBE = frozenset(
    (
        *(
            "os.umask(0o077)",
            "os.setsid()",
            "signal.signal(signal.SIGINT, signal.SIG_DFL)",
        ),
        "engine = socket.socket(fileno=arguments.channel)",
    )
)

NEEDS_GROUPS = frozenset(('os.write(join, b"0")', "_signal.pause()"))
"""What is not reached where there are no control groups, as all of `cgroups.py`."""

NEEDS_NO_GROUPS = frozenset(("os.dup2(leash[0], 0)",))
"""What a leash is for instead."""


WAITING = frozenset(
    (
        *("_signal.pause()", "_obey(os.read(0, 1))"),
        "message, joins, _, _ = socket.recv_fds(",
    )
)
"""What a warden and a cell's first process do once all is made."""


class Machine:
    """A launcher that can be told which step fails, and another tenant's jail."""

    def __init__(self, sandbox: Sandbox, orders: Path, errors: Path) -> None:
        self.sandbox = sandbox
        self._orders = orders
        self._errors = errors
        self._known = 0
        self.neighbour: Guest
        self.has_groups = any(
            layer.name == "cgroup" and layer.holds for layer in sandbox.hello.layers
        )

    @property
    def groups_of_each(self) -> int:
        """In how many hierarchies a zygote has one."""
        (layer,) = [r for r in self.sandbox.hello.layers if r.name == "cgroup"]
        return layer.detail.count(",") + 1 if "v1" in layer.detail else 1

    def reaches(self, step: Step) -> bool:
        if step.file == "launcher/cgroups.py":
            return self.has_groups and step.spared < self.groups_of_each
        if step.text in WAITING:
            return False
        known = NEEDS_NO_GROUPS if self.has_groups else NEEDS_GROUPS
        return step.text not in known

    @contextlib.contextmanager
    def failing(self, step: Step) -> Iterator[None]:
        self._known = len(self._errors.read_text())
        self._write(step.order)
        try:
            yield
        finally:
            self._write("")

    def _write(self, order: str) -> None:
        with self._orders.open("r+b") as file:
            file.write(order.encode().ljust(_ORDER, b"\0"))

    def said(self) -> str:
        """What the launcher has told its operator since a step fails."""
        return self._errors.read_text()[self._known :]


_ORDER = 256
BLAMED = "The tenant's code is said to have begun."


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=MODES)
async def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Machine]:
    with temporary_store() as store:
        for runtime in store.runtimes:
            _install_in_guests(runtime.guest_code / "sandlot_sandbox")
        async with _started(
            request.param, store, tmp_path_factory.mktemp("faults")
        ) as made:
            async with made.sandbox.running(
                "curious", environment={"MINE": "yes"}
            ) as n:
                made.neighbour = n
                yield made


def _install_in_guests(package: Path) -> None:
    """Guests take the order out of their environment: so each has its own."""
    shutil.copyfile(faults.__file__, package / "faults.py")
    (package / "faults.py").chmod(0o644)
    with (package / "linux.py").open("a") as linux:
        linux.write(
            "\nfrom sandlot_sandbox import faults\n"
            "faults.install(lambda: os.environ.get('FAULT', ''))\n"
        )
    for compiled in package.glob("__pycache__/linux.*"):
        compiled.unlink()


@asynccontextmanager
async def _started(mode: str, store: Store, folder: Path) -> AsyncIterator[Machine]:
    async with _launched(mode, store, folder) as (process, launcher):
        async with asyncio.timeout(30):
            hello = await launcher.wait_hello()
        sandbox = Sandbox(mode, store, process, launcher, hello)
        yield Machine(sandbox, _orders(store), folder / "errors")


@asynccontextmanager
async def _launched(
    mode: str, store: Store, folder: Path, *, order: str = ""
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Launcher]]:
    _orders(store).write_bytes(order.encode().ljust(_ORDER, b"\0"))
    _orders(store).chmod(0o644)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv = [
        *(sys.executable, faulty_launcher.__file__, str(_orders(store))),
        *("--channel", str(theirs.fileno()), "--parent", str(os.getpid())),
        *("--code", str(store.code)),
        *("--runtimes", dump_runtimes(store.runtimes)),
    ]
    if mode == "rootless" and os.geteuid() == 0:
        argv = [*as_ordinary_user(), *argv]
    with (folder / "errors").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *argv,
            pass_fds=(theirs.fileno(),),
            stderr=stderr,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    theirs.close()
    launcher = Launcher(ours, on_lost=lambda: None)
    try:
        yield process, launcher
    finally:
        launcher.close()
        try:
            async with asyncio.timeout(WAIT_S):
                await process.wait()
        except TimeoutError:
            process.send_signal(signal.SIGKILL)
            await process.wait()
            raise


def _orders(store: Store) -> Path:
    """What every user can read."""
    return store.code.parent / "orders"


def _names(steps: list[Step]) -> list[str]:
    return [step.name for step in steps]


@pytest.mark.parametrize("step", OUTSIDE, ids=_names(OUTSIDE))
async def test_no_instance_starts_in_a_jail_that_lacks_a_step(
    machine: Machine, step: Step
) -> None:
    if not machine.reaches(step):
        return
    before = await _quiet(machine)

    with machine.failing(step):
        told = await _try_to_start(machine, environment={})

    assert INJECTED in told + machine.said() or "could not be made" in told
    assert BLAMED not in told
    await _expect_as_before(machine, before)


@pytest.mark.parametrize("step", INSIDE, ids=_names(INSIDE))
async def test_no_instance_starts_in_a_cell_that_was_not_entered_in_full(
    machine: Machine, step: Step
) -> None:
    if not machine.reaches(step):
        return
    before = await _quiet(machine)

    told = await _try_to_start(machine, environment={"FAULT": step.order})

    assert INJECTED in told
    await _expect_as_before(machine, before)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("step", STARTING, ids=_names(STARTING))
async def test_a_launcher_that_lacks_a_step_ends_and_serves_nobody(
    mode: str, step: Step, store: Store, tmp_path: Path
) -> None:
    if step.text in BEFORE_THE_PROBE or not _is_taken(step, mode):
        return
    async with _launched(mode, store, tmp_path, order=step.order) as (process, _):
        async with asyncio.timeout(WAIT_S):
            status = await process.wait()

    assert status != 0
    said = (tmp_path / "errors").read_text()
    assert INJECTED in said or "was there a moment ago" in said


def _is_taken(step: Step, mode: str) -> bool:
    if step.file == "launcher/cgroups.py" or step.text == "os.setgroups([])":
        return mode == "root"
    if step.file == "launcher/users.py":
        return mode == "rootless"
    return not step.text.startswith(("if os.getppid()", "elif os.geteuid()"))


async def _try_to_start(machine: Machine, *, environment: dict[str, str]) -> str:
    """What was told to whoever wanted an instance."""
    guest = machine.sandbox.make_zygote("curious", environment=environment)
    try:
        told = await _try_to_get_an_answer(guest)
    except ZygoteLost as error:
        told = str(error)
    except StartFailed as error:
        told = f"{error} {error.said}"
    finally:
        guest.zygote.kill()
        async with asyncio.timeout(WAIT_S):
            await guest.lost.wait()
    # Until an instance has its own log, it has its zygote's.
    return f"{told} {guest.zygote.take_printed()}"


async def _try_to_get_an_answer(guest: Guest) -> str:
    try:
        assert await guest.zygote.wait_ready(), guest.zygote.reason
    except ZygoteLost as error:
        return f"{error} {BLAMED * error.started}"
    instance = await guest.fork()
    ending = await send(instance, "tmp")
    assert ending.ended is not Ended.ANSWERED, "an instance runs without this step"
    await guest.wait_death(instance)
    return f"{ending.ended} {ending.printed}"


async def _quiet(machine: Machine) -> Host:
    """The host, once nothing is being made for the neighbour any more."""
    cells = machine.neighbour.zygote._cells  # noqa: SLF001 - nobody else tells
    machine.neighbour.zygote.prepare_cells()
    await _eventually(lambda: [] if cells.ready == AHEAD else [repr(cells)])
    # What the launcher has sent, it still has to close.
    seen = Host.now(machine.sandbox)
    while True:
        await asyncio.sleep(0.005)
        again = Host.now(machine.sandbox)
        if not seen.difference(again):
            return again
        seen = again


async def _expect_as_before(machine: Machine, before: Host) -> None:
    await expect_answers(machine.neighbour)
    await _quiet(machine)
    await _eventually(
        lambda: list(before.difference(Host.now(machine.sandbox)).items())
    )


async def _eventually(left: Callable[[], list[object]]) -> None:
    """Until nothing is left, of what announces its end nowhere."""
    deadline = time.monotonic() + WAIT_S
    while found := left():
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.002)
