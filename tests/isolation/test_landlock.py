"""What only Landlock stops: the same is tried where it was given up, and works there.

It does not show in /proc, so that a posture cannot have it.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.isolation.machine import (
    CONFINES_SIGNALS,
    GIVEN_UP,
    MODES,
    PROJECT,
    Sandbox,
    Store,
    ask,
    descendants,
    kernel_facts,
    started,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

MAKE_ROOT_WRITABLE = """
import os, sys
from sandlot_sandbox import linux
link = "/proc/%s/ns/" % sys.argv[1]
user, mnt = (os.open(link + kind, os.O_RDONLY) for kind in ("user", "mnt"))
linux.setns(user, linux.CLONE_NEWUSER)
linux.setns(mnt, linux.CLONE_NEWNS)
flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_NOSUID | linux.MS_NODEV
linux.mount("none", "/", None, flags)
"""
"""As a bug of ours, or of the kernel's, would leave it."""


@pytest_asyncio.fixture(
    loop_scope="session", params=[True, False], ids=["with", "without"]
)
async def layer(
    request: pytest.FixtureRequest, mode: str, store: Store
) -> AsyncIterator[tuple[Sandbox, bool]]:
    """A sandbox on the machine's own network, and whether it has Landlock."""
    if request.param and GIVEN_UP[mode]:
        pytest.skip("in this mode Landlock has to confine signals: Linux 6.12")
    given_up = "network" if request.param else "network,landlock"
    async with started(mode, store, given_up=given_up) as sandbox:
        yield sandbox, request.param


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_its_cell_s_first_process_cannot_be_signalled(
    layer: tuple[Sandbox, bool],
) -> None:
    sandbox, has_landlock = layer
    async with sandbox.running("landlocked") as guest:
        instance = await guest.fork()

        assert await ask(instance, "signal", pid=1) == (
            "EPERM" if has_landlock and CONFINES_SIGNALS else "ok"
        )
        assert await ask(instance, "signal", pid=2) == "ok", "itself"
        await instance.destroy()


async def test_an_abstract_socket_beyond_it_cannot_be_reached(
    layer: tuple[Sandbox, bool],
) -> None:
    sandbox, has_landlock = layer
    name = f"sandlot-landlock-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        async with sandbox.running("landlocked") as guest:
            answer = await guest.ask("connect_abstract", name=name)

    assert answer == ("EPERM" if has_landlock and CONFINES_SIGNALS else "ok")


async def test_a_mount_that_became_writable_is_still_not_written_to(
    layer: tuple[Sandbox, bool],
) -> None:
    sandbox, has_landlock = layer
    async with sandbox.running("landlocked") as guest:
        instance = await guest.fork()
        assert await ask(instance, "make_file", path="/new") == "EROFS"
        await _make_root_writable(_process_of_instance(sandbox))

        answer = await ask(instance, "make_file", path="/new")
        in_tmp = await ask(instance, "make_file", path="/tmp/new")
        await instance.destroy()

    assert answer == ("EACCES" if has_landlock else "ok")
    assert in_tmp == "ok"


async def test_what_it_wrote_to_tmp_it_may_run(layer: tuple[Sandbox, bool]) -> None:
    sandbox, _ = layer
    async with sandbox.running("landlocked") as guest:
        assert await guest.ask("run", folder="/tmp") == 0


def _process_of_instance(sandbox: Sandbox) -> int:
    (pid,) = [
        pid
        for pid in descendants(sandbox.process.pid)
        if kernel_facts(pid)["NSpid"].split()[2:] == ["2"]
    ]
    return pid


async def _make_root_writable(pid: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MAKE_ROOT_WRITABLE, str(pid)),
        env={**os.environ, "PYTHONPATH": str(PROJECT / "sandbox")},
    )
    assert await process.wait() == 0
