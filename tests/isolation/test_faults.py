"""Each step of building a jail, and of entering a cell, made to fail: no instance
starts, nothing is left behind, and others are served as before.

The steps are found in the code, and listed in `steps.py`; those between a cell and its
way out are tried in `test_egress.py`.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from sandlot_sandbox.errors import StartFailed, ZygoteLost
from sandlot_sandbox.host.builder import Refused
from sandlot_sandbox.host.cells import AHEAD
from sandlot_sandbox.host.launcher import Launcher
from sandlot_sandbox.launcher.runtime import dump_runtimes
from sandlot_sandbox.outcome import Ended, Ending
from sandlot_sandbox.spec import IMAGE
from tests.fakes.images import hard_link, image_of, layer, symlink
from tests.fakes.zips import zip_of
from tests.isolation import faults, faulty_launcher, steps
from tests.isolation.aftermath import Host, expect_answers
from tests.isolation.faults import INJECTED, Step
from tests.isolation.groups import trees_of
from tests.isolation.images import AS_IT_SAYS, built
from tests.isolation.machine import (
    MODES,
    WAIT_S,
    Guest,
    Sandbox,
    Store,
    as_ordinary_user,
    descendants,
    hang_up,
    send,
    temporary_store,
    wait_gone,
)
from tests.isolation.packages import build, packed

pytestmark = pytest.mark.asyncio(loop_scope="session")

IN_V2 = ["root in v2"] if "root" in MODES else []


class Machine:
    """A launcher that can be told which step fails, and another tenant's jail."""

    def __init__(self, sandbox: Sandbox, orders: Path, errors: Path) -> None:
        self.sandbox = sandbox
        self._orders = orders
        self._errors = errors
        self._known = 0
        self.neighbour: Guest

    def failing(self, step: Step) -> contextlib.AbstractContextManager[None]:
        return self._ordering(step.order)

    def failing_call(self, call: str) -> contextlib.AbstractContextManager[None]:
        """Of a cell's first process."""
        return self._ordering(f"{faults.CALL} {call}")

    @contextlib.contextmanager
    def _ordering(self, order: str) -> Iterator[None]:
        self._known = len(self._errors.read_text())
        self._write(order)
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


ROOTS = [mode for mode in MODES if mode == "root"]
_ORDER = 256
PROVIDED = "provided.al2023"
_NOTHING = {"bootstrap": b"#!/bin/sh\n"}
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
                "curious", environment={"MINE": "yes"}, opt=_layers(store)
            ) as n:
                made.neighbour = n
                yield made


def _layers(store: Store) -> str:
    return store.add_opt("faults", {"python/m.py": ""})


def _install_in_guests(package: Path) -> None:
    """Guests take the order out of their environment: so each has its own."""
    shutil.copyfile(faults.__file__, package / "faults.py")
    (package / "faults.py").chmod(0o644)
    with (package / "frames.py").open("a") as frames:
        frames.write(
            "\nimport os\n"
            "from sandlot_sandbox import faults\n"
            "faults.install(lambda: os.environ.get('FAULT', ''))\n"
        )
    with (package / "guest" / "calls.py").open("a") as calls:
        calls.write(_FAULTY_CALLS)
    with (package / "guest" / "fork_loop.py").open("a") as fork_loop:
        fork_loop.write(_PYTHONS_FORKS)
    for compiled in package.glob("**/__pycache__/*"):
        if compiled.name.startswith(("frames.", "calls.", "fork_loop.")):
            compiled.unlink()


_FAULTY_CALLS = """

def _faulty(made, sound=Calls.prepared):
    from sandlot_sandbox import faults

    call = os.environ.get("FAULTY_CALL", "")
    # Who seals a zygote's memory is on no way into a cell.
    if call.startswith("fcntl") or "fcntl" not in made.names:
        faults.make_unknown(made, call)
    return sound(made)


Calls.prepared = _faulty
"""


_PYTHONS_FORKS = """

def is_possible(with_code=is_possible):
    # Machine code makes no statement; what it does is all in calls.
    return with_code() and not os.environ.get("FAULT")
"""


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
    if mode == "root in v2":
        argv += ["--cgroups", "v2"]
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
        await hang_up(launcher, process)


def _orders(store: Store) -> Path:
    """What every user can read."""
    return store.code.parent / "orders"


def _each(found: list[Step]) -> pytest.MarkDecorator:
    """In the modes in which it is taken: the others are deselected (`conftest.py`)."""
    return pytest.mark.parametrize("step", found, ids=lambda step: step.name)


@_each(steps.OUTSIDE)
async def test_no_instance_starts_in_a_jail_that_lacks_a_step(
    machine: Machine, step: Step
) -> None:
    before = await _quiet(machine)

    with machine.failing(step):
        told = await _try_to_start(machine, environment={})

    assert INJECTED in told + machine.said() or "could not be made" in told
    assert BLAMED not in told
    await _expect_as_before(machine, before)


@pytest.mark.parametrize("machine", IN_V2, indirect=True)
@_each(steps.IN_V2)
async def test_no_instance_starts_in_a_jail_that_lacks_a_step_of_v2(
    machine: Machine, step: Step
) -> None:
    before = await _quiet(machine)

    with machine.failing(step):
        told = await _try_to_start(machine, environment={})

    assert INJECTED in told
    assert BLAMED not in told
    await _expect_as_before(machine, before)


@_each(steps.HEIRS)
async def test_who_cannot_have_the_tmp_of_one_that_ended_has_a_new_one(
    machine: Machine, step: Step
) -> None:
    await _expect_a_new_tmp(machine, machine.failing(step))


@pytest.mark.parametrize("of_cell", steps.CALLS_OF_AN_HEIR)
async def test_who_cannot_have_that_tmp_for_want_of_a_call_has_a_new_one(
    machine: Machine, of_cell: str
) -> None:
    await _expect_a_new_tmp(machine, machine.failing_call(of_cell))


async def _expect_a_new_tmp(
    machine: Machine, failing: contextlib.AbstractContextManager[None]
) -> None:
    machine.sandbox.store.add("resets")
    before = await _quiet(machine)
    async with machine.sandbox.running("resets") as guest:
        instance = await guest.fork()
        with failing:
            await send(instance, "note", end="exit")
            await guest.wait_death(instance)
            found = await guest.ask("note")

        assert found["lines"] == 1
        assert (await guest.ask("note"))["lines"] == 1
    await _expect_as_before(machine, before)


@_each(steps.INSIDE)
async def test_no_instance_starts_in_a_cell_that_was_not_entered_in_full(
    machine: Machine, step: Step
) -> None:
    before = await _quiet(machine)

    told = await _try_to_start(machine, environment={"FAULT": step.order})

    assert INJECTED in told
    await _expect_as_before(machine, before)


def _each_call(found: tuple[str, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("call", found)


@pytest.mark.parametrize("of_cell", steps.CALLS_OF_A_CELL)
async def test_no_cell_is_made_that_lacks_a_call(
    machine: Machine, of_cell: str
) -> None:
    machine.sandbox.store.add_program(PROVIDED, _NOTHING)
    before = await _quiet(machine)

    with machine.failing_call(of_cell), pytest.raises(StartFailed) as failed:
        await _start_program(machine, environment={})

    # So a warden's filter has it, of calls that it does not know.
    assert f"{of_cell.split()[0]}: Operation not permitted" in str(failed.value)
    await _expect_as_before(machine, before)


@pytest.mark.parametrize("machine", ROOTS, indirect=True)
async def test_nobody_is_cloned_whose_memory_is_not_sealed(machine: Machine) -> None:
    # Without root nobody may have a file without a name, and so none is sealed.
    before = await _quiet(machine)

    told = await _try_to_start(machine, environment={"FAULTY_CALL": "fcntl 0"})

    assert "fcntl: Function not implemented" in told
    await _expect_as_before(machine, before)


@_each_call(steps.CALLS_OF_A_CLONE)
async def test_no_instance_starts_that_lacks_a_call_of_its_way_in(
    machine: Machine, call: str
) -> None:
    before = await _quiet(machine)

    told = await _try_to_start(machine, environment={"FAULTY_CALL": call})

    assert "the cell could not be entered" in told
    assert f"{call.split()[0]}: Function not implemented" in told
    await _expect_as_before(machine, before)


@_each_call(steps.CALLS_OF_A_PROGRAM)
async def test_no_program_starts_that_lacks_a_call_of_its_way_in(
    machine: Machine, call: str
) -> None:
    machine.sandbox.store.add_program(PROVIDED, _NOTHING)
    before = await _quiet(machine)

    ending, printed = await _start_program(machine, environment={"FAULTY_CALL": call})

    assert ending.ended is Ended.EXITED
    assert f"{call.split()[0]}: Function not implemented" in printed
    await _expect_as_before(machine, before)


@_each(steps.IN_CHILD)
async def test_whatever_fails_in_a_clone_is_told(machine: Machine, step: Step) -> None:
    before = await _quiet(machine)

    told = await _try_to_start(machine, environment={"FAULT": step.order})

    assert INJECTED in told
    await _expect_as_before(machine, before)


@_each(steps.IN_STARTER)
async def test_whatever_fails_before_a_program_is_told(
    machine: Machine, step: Step
) -> None:
    machine.sandbox.store.add_program(PROVIDED, _NOTHING)
    # Where extensions could be, a clone looks; there is none.
    folder = {"extensions/docs/README": ""}
    opt = machine.sandbox.store.add_opt("looks", folder, runtime=PROVIDED)
    before = await _quiet(machine)

    ending, _ = await _start_program(
        machine, environment={"FAULT": step.order}, opt=opt
    )

    assert (ending.ended, ending.error_type) == (Ended.INIT_FAILED, "Sandbox.Failure")
    assert INJECTED.encode() in ending.payload
    await _expect_as_before(machine, before)


@pytest.mark.parametrize("mode", MODES)
@_each(steps.STARTING)
async def test_a_launcher_that_lacks_a_step_ends_and_serves_nobody(
    mode: str, step: Step, store: Store, tmp_path: Path
) -> None:
    async with _launched(mode, store, tmp_path, order=step.order) as (process, _):
        async with asyncio.timeout(WAIT_S):
            status = await process.wait()

    assert status != 0
    said = (tmp_path / "errors").read_text()
    assert INJECTED in said or "was there a moment ago" in said


@pytest.mark.parametrize("mode", MODES)
@_each(steps.HEARING)
async def test_a_launcher_that_cannot_hear_ends_with_all_its_jails(
    mode: str, step: Step, store: Store, tmp_path: Path
) -> None:
    async with _launched(mode, store, tmp_path) as (process, launcher):
        async with asyncio.timeout(WAIT_S):
            hello = await launcher.wait_hello()
        sandbox = Sandbox(mode, store, process, launcher, hello)
        machine = Machine(sandbox, _orders(store), tmp_path / "errors")
        async with sandbox.running("curious") as guest:
            await guest.settle()
            below = descendants(process.pid)
            with machine.failing(step):
                other = sandbox.make_zygote("curious")
                async with asyncio.timeout(WAIT_S):
                    assert await process.wait() != 0
                    await guest.lost.wait()
                    await other.lost.wait()
            await wait_gone(below)

    assert INJECTED in machine.said()
    await _eventually(lambda: [*trees_of(process.pid)])


@_each(steps.BUILDING)
async def test_no_package_is_built_by_what_lacks_a_step(
    machine: Machine, step: Step
) -> None:
    before = await _quiet(machine)

    with (
        packed(machine.sandbox, zip_of({"app.py": "A = 1", "lib/b.py": ""})) as package,
        machine.failing(step),
        pytest.raises((StartFailed, Refused)) as failed,
    ):
        await build(machine.sandbox, package)

    assert INJECTED in str(failed.value)
    await _expect_as_before(machine, before)


@_each(steps.BUILDING_IMAGES)
async def test_no_image_is_built_by_what_lacks_a_step(
    machine: Machine, step: Step
) -> None:
    before = await _quiet(machine)

    with machine.failing(step), pytest.raises((StartFailed, Refused)) as failed:
        await built(machine.sandbox, ANY_IMAGE)

    assert INJECTED in str(failed.value)
    await _expect_as_before(machine, before)


@_each(steps.IMAGES)
async def test_no_instance_starts_in_an_image_that_is_not_the_root_in_full(
    machine: Machine, step: Step
) -> None:
    digest = await built(machine.sandbox, ANY_IMAGE)
    before = await _quiet(machine)

    with machine.failing(step), pytest.raises((StartFailed, ZygoteLost)) as failed:
        async with machine.sandbox.running_program(
            IMAGE, {}, image=(digest, AS_IT_SAYS)
        ) as guest:
            await guest.fork()

    assert INJECTED in f"{failed.value} {machine.said()}"
    await _expect_as_before(machine, before)


ANY_IMAGE = image_of(
    layer(
        ("a", b"1"),
        ("c/d", b"2"),
        symlink("s", "a"),
        symlink("t", "a"),
        hard_link("h", "a"),
    )
)


async def _try_to_start(machine: Machine, *, environment: dict[str, str]) -> str:
    """What was told to whoever wanted an instance."""
    guest = machine.sandbox.make_zygote(
        "curious", environment=environment, opt=_layers(machine.sandbox.store)
    )
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


async def _start_program(
    machine: Machine, *, environment: dict[str, str], opt: str = ""
) -> tuple[Ending, str]:
    """What became of an event that was sent to a program, and what was printed."""
    async with machine.sandbox.running_program(
        PROVIDED, _NOTHING, environment=environment, opt=opt
    ) as guest:
        instance = await guest.fork()
        ending = await send(instance, "nothing")
        await guest.wait_death(instance)
    return ending, f"{ending.printed}"


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
        # On a machine that is swamped it may want to go on, and not be let.
        if _sleeps(machine.sandbox.process.pid) and not seen.difference(again):
            return again
        seen = again


def _sleeps(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "S"


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
