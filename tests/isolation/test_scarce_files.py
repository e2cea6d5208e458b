"""A launcher that has as many files open as it may goes on with what it has."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandlot_sandbox.errors import SandboxError
from tests.descriptors import open_files
from tests.isolation.machine import MODES, Guest, Sandbox, ask

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOTS = [mode for mode in MODES if mode == "root"]
"""Others' limits cannot be changed but by who has all their privileges."""


@contextmanager
def may_open(pid: int, count: int) -> Iterator[None]:
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("own_sandbox", ROOTS, indirect=True)
@pytest.mark.parametrize("spare", [0, 3, 200])
async def test_a_launcher_that_may_open_no_more_files_keeps_its_jails(
    own_sandbox: Sandbox, spare: int
) -> None:
    pid = own_sandbox.process.pid
    async with own_sandbox.running("curious") as guest:
        await guest.settle()
        instance = await guest.fork()
        assert await ask(instance, "tmp") == []
        await guest.settle()

        with may_open(pid, open_files(pid) + spare):
            other = own_sandbox.make_zygote("curious")
            with pytest.raises(SandboxError, match=r"open files|could not be made"):
                await other.zygote.wait_ready()
            with pytest.raises(SandboxError, match="too many open files"):
                await _make_cell(own_sandbox, guest)
            assert await ask(instance, "tmp") == []
            await instance.destroy()

        assert own_sandbox.process.returncode is None
        assert await guest.ask("tmp") == []
        assert not guest.zygote.is_lost


async def _make_cell(sandbox: Sandbox, guest: Guest) -> None:
    await sandbox.launcher.make_cell(guest.zygote._number)  # noqa: SLF001
