"""A package is unpacked and compiled in a jail of its own, and leaves nothing else."""

import asyncio
import os
import signal
import stat
from pathlib import Path

import pytest

from sandlot_sandbox.errors import LauncherLost, StartFailed
from sandlot_sandbox.host.builder import Built, Refused
from sandlot_sandbox.spec import OPT
from tests.descriptors import open_files
from tests.fakes.zips import zip_of
from tests.isolation.machine import (
    RUNTIME,
    WAIT_S,
    Sandbox,
    descendants,
    kernel_facts,
    wait_gone,
)
from tests.isolation.packages import build, packed

pytestmark = pytest.mark.asyncio(loop_scope="session")


FILES = {
    "app.py": "import lib.tool\ndef handler(event, context): return lib.tool.ANSWER\n",
    "lib/__init__.py": "",
    "lib/tool.py": "ANSWER = 42\n",
    "bin/run": "#!/bin/sh\n",
}
SLOW = {f"{number}.py": f"a = {number}\n" * 1_000 for number in range(2_000)}
"""Takes long enough to be caught at it."""

MODES = {"bin/run": stat.S_IFREG | 0o4755, "app.py": stat.S_IFREG | 0o666}


async def test_a_package_is_unpacked_compiled_and_its_owner_s(
    sandbox: Sandbox,
) -> None:
    with packed(sandbox, zip_of(FILES, modes=MODES)) as package:
        built = await build(sandbox, package)

        found = package.found()
    size = sum(map(len, FILES.values()))
    assert built == Built(unpacked_size=size, entries=len(FILES))
    assert {owner for owner, _ in found.values()} == {package.uid}
    tag = f"cpython-{RUNTIME.removeprefix('python').replace('.', '')}"
    assert {path: mode for path, (_, mode) in found.items()} == {
        "__pycache__": "drwxr-xr-x",
        f"__pycache__/app.{tag}.pyc": "-rw-r--r--",
        "app.py": "-rw-r--r--",
        "bin": "drwxr-xr-x",
        "bin/run": "-rwxr-xr-x",
        "lib": "drwxr-xr-x",
        "lib/__init__.py": "-rw-r--r--",
        "lib/__pycache__": "drwxr-xr-x",
        f"lib/__pycache__/__init__.{tag}.pyc": "-rw-r--r--",
        f"lib/__pycache__/tool.{tag}.pyc": "-rw-r--r--",
        "lib/tool.py": "-rw-r--r--",
    }


async def test_several_packages_become_one_folder(sandbox: Sandbox) -> None:
    layers = [zip_of({"python/m.py": f"A = {n}\n", f"{n}": ""}) for n in range(5)]
    with packed(sandbox, *layers) as package:
        await build(sandbox, package, place=OPT)

        modules = (package.folder / "python/m.py").read_text()
        (compiled,) = (package.folder / "python/__pycache__").iterdir()
        bytecode = compiled.read_bytes()
        names = {path for path in package.found() if "/" not in path}
    assert modules == "A = 4\n"
    assert b"/opt/python/m.py" in bytecode
    assert names == {"python", "0", "1", "2", "3", "4"}


async def test_packages_that_are_too_large_together_are_refused(
    sandbox: Sandbox,
) -> None:
    halves = [zip_of({str(n): bytes(140_000_000)}) for n in range(2)]
    with packed(sandbox, *halves) as package:
        with pytest.raises(Refused, match=r"^Unzipped size must be"):
            await build(sandbox, package, place=OPT)

        assert package.found() == {}


@pytest.mark.parametrize("count", [0, 6])
async def test_no_more_packages_are_taken_than_a_function_has_layers(
    sandbox: Sandbox, count: int
) -> None:
    with packed(sandbox, *[zip_of(FILES)] * count) as package:
        with pytest.raises(StartFailed, match=f"{count} packages are to be unpacked"):
            await build(sandbox, package, place=OPT)


async def test_a_zip_bomb_is_refused(sandbox: Sandbox) -> None:
    zeros = bytes(10_000_000)
    bomb = zip_of({f"{number}.py": zeros for number in range(27)})
    with packed(sandbox, bomb) as package:
        with pytest.raises(Refused, match=r"^Unzipped size must be") as refused:
            await build(sandbox, package)

        assert package.found() == {}
    assert not refused.value.too_large


@pytest.mark.parametrize(
    ("files", "because"),
    [
        ({"app.py": "", "../out.py": ""}, r"'\.\.'"),
        ({"app.py": "", "/etc/cron.d/job": ""}, "absolute"),
        ({"app.py": "", "\x1b[2J.py": ""}, r"Entry '\\x1b\[2J\.py' has a control"),
        ({}, "non-empty"),
    ],
)
async def test_what_no_honest_packer_writes_is_refused(
    sandbox: Sandbox, files: dict[str, str], because: str
) -> None:
    with packed(sandbox, zip_of(files)) as package:
        with pytest.raises(Refused, match=because):
            await build(sandbox, package)

        assert package.found() == {}


async def test_a_builder_that_is_not_done_in_time_is_killed(sandbox: Sandbox) -> None:
    before = descendants(sandbox.process.pid)
    with packed(sandbox, zip_of(FILES)) as package:
        with pytest.raises(Refused, match="within 0 s"):
            await build(sandbox, package, deadline_s=0.0)

    assert descendants(sandbox.process.pid) == before


async def test_a_builder_that_is_killed_is_our_failure(sandbox: Sandbox) -> None:
    before = descendants(sandbox.process.pid)
    with packed(sandbox, zip_of(SLOW)) as package:
        building = asyncio.create_task(build(sandbox, package))
        jailed = await _started(sandbox, before)
        os.kill(jailed[0], signal.SIGKILL)

        with pytest.raises(StartFailed, match="said nothing"):
            await building
    await wait_gone(jailed)
    assert descendants(sandbox.process.pid) == before


async def test_a_builder_dies_with_its_caller(sandbox: Sandbox) -> None:
    before = descendants(sandbox.process.pid)
    with packed(sandbox, zip_of(SLOW)) as package:
        building = asyncio.create_task(build(sandbox, package))
        jailed = await _started(sandbox, before)
        building.cancel()

        with pytest.raises(asyncio.CancelledError):
            await building
    await wait_gone(jailed)
    assert descendants(sandbox.process.pid) == before


async def test_a_runtime_that_is_not_there_is_our_failure(sandbox: Sandbox) -> None:
    with packed(sandbox, zip_of(FILES)) as package:
        with pytest.raises(StartFailed, match=r"no runtime 'python2\.7'"):
            await build(sandbox, package, runtime="python2.7")


async def test_a_lost_launcher_is_said(own_sandbox: Sandbox) -> None:
    before = descendants(own_sandbox.process.pid)
    with packed(own_sandbox, zip_of(SLOW)) as package:
        building = asyncio.create_task(build(own_sandbox, package))
        jailed = await _started(own_sandbox, before)
        own_sandbox.process.kill()

        with pytest.raises(LauncherLost):
            await building
        await wait_gone(jailed)


async def test_builds_leave_no_process_and_no_descriptor(sandbox: Sandbox) -> None:
    async def build_all() -> None:
        with packed(sandbox, zip_of(FILES)) as package:
            await build(sandbox, package)
        with packed(sandbox, b"not a zip") as package:
            with pytest.raises(Refused):
                await build(sandbox, package)
        with packed(sandbox, zip_of(FILES)) as package:
            with pytest.raises(Refused):
                await build(sandbox, package, deadline_s=0.0)

    await build_all()  # what is made once, is made
    processes = descendants(sandbox.process.pid)
    ours, theirs = open_files(), open_files(sandbox.process.pid)

    for _ in range(3):
        await build_all()

    assert descendants(sandbox.process.pid) == processes
    assert (open_files(), open_files(sandbox.process.pid)) == (ours, theirs)


async def test_a_builder_is_sealed_like_any_jail(sandbox: Sandbox) -> None:
    before = descendants(sandbox.process.pid)
    with packed(sandbox, zip_of(SLOW)) as package:
        building = asyncio.create_task(build(sandbox, package))
        *_, working = await _started(sandbox, before)
        facts = kernel_facts(working)
        held = open_files(working)
        building.cancel()
        await asyncio.wait({building})

    assert facts["NoNewPrivs"].strip() == "1"
    assert facts["Seccomp"].strip() == "2"
    assert {facts[name].strip() for name in ("CapBnd", "CapEff")} == {"0" * 16}
    assert {facts["Uid"].split()[0]} == {str(package.uid)}
    # Standard ones, channel, zip, its own folder; and at work, two or three more.
    assert held <= 10


async def _started(sandbox: Sandbox, before: list[int]) -> list[int]:
    """The processes of a jail, once there is a builder in it that works."""
    async with asyncio.timeout(WAIT_S):
        while True:
            new = [p for p in descendants(sandbox.process.pid) if p not in before]
            if new and _is_builder(new[-1]):
                return new
            await asyncio.sleep(0)


def _is_builder(pid: int) -> bool:
    try:
        return b"builder.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
