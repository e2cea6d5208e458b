"""Hostile programs on files: none of the host's is seen, nothing shared is changed."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.isolation.aftermath import Arena, Only, arena
from tests.isolation.machine import Guest, Sandbox

pytestmark = pytest.mark.asyncio(loop_scope="session")

READ_ONLY = Only("EROFS", "EACCES", "EPERM")
"""Root owns what a jail sees: its mode says no before the mount does."""

FILES = {
    "read_folders_of_the_host": ["ENOENT"],
    "read_secrets_of_the_host": ["ENOENT"],
    "read_secrets_of_the_engine": ["ENOENT"],
    "read_the_kernels_files": ["ENOENT"],
    "follow_magic_links_of_process_1": Only("ENOENT", "EACCES", "EPERM"),
    "follow_own_magic_links": "the same root",
    "climb_from_a_held_folder": "the same root",
    "rename_while_climbing": True,
    "point_links_at_the_host": ["ENOENT"],
    "look_for_descriptors": [[0, "/dev/null"], [1, "pipe"], [2, "pipe"], [3, "socket"]],
    "use_descriptors_as_folders": ["EBADF", "ENOENT", "ENOTDIR"],
    "look_for_writable_mounts": [["/proc", "writable"], ["/tmp", "writable"]],
    "write_everywhere": [],
    "overwrite_what_others_run": READ_ONLY,
    "overwrite_proc_self_exe": Only("EROFS", "EACCES", "exit 0"),
    "reopen_for_writing": READ_ONLY,
    "change_what_describes_files": READ_ONLY,
    "touch_the_hosts_devices": READ_ONLY,
    "change_the_hosts_devices": [],
    "link_across": ["EXDEV"],
    "make_devices": ["EPERM"],
    "open_devices": ["ENOENT"],
    "run_setuid_programs": 1000,
    "make_a_setuid_program": 1000,
    "preload_a_library": "EROFS",
    "write_its_own_proc_files": [],
    "write_through_a_mapping": [],
    "race_for_a_dirty_cow": True,
    "leave_a_dirty_pipe": True,
    "copy_into_what_is_read_only": Only("EBADF", "EINVAL", "ENOSYS"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail(sandbox: Sandbox, curious: Guest) -> AsyncIterator[Arena]:
    async with arena(sandbox, curious, "hostile/files") as made:
        yield made


@pytest.mark.parametrize(("program", "expected"), FILES.items())
async def test_a_file_of_the_host_is_out_of_reach(
    sandbox: Sandbox, jail: Arena, program: str, expected: object
) -> None:
    paths = [str(sandbox.store.code), str(sandbox.store.code.parent)]

    assert await jail.play(program, paths=paths) == expected
