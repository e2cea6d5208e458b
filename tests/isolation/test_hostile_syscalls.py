"""Hostile programs on system calls: each is stopped where the table says."""

import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.isolation.aftermath import Arena, Either, Only, arena
from tests.isolation.machine import Guest, Sandbox

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(
        os.uname().machine != "x86_64", reason="the numbers are those of x86-64"
    ),
]

NO = ["EPERM"]
UNKNOWN = ["ENOSYS"]

SYSTEM_CALLS = {
    "unshare_each_namespace": NO,
    "clone_into_each_namespace": UNKNOWN,
    "clone_with_high_bits": UNKNOWN,
    "clone3_with_namespaces": "ENOSYS",
    "clone3_into_a_cgroup": "ENOSYS",
    "enter_the_namespaces_of_process_1": Only("EACCES", "ENOENT", "EPERM", "ENOSYS"),
    "enter_namespaces_by_a_pidfd": Only("EPERM", "ENOSYS"),
    "mount_what_there_is": NO,
    "mount_by_the_new_calls": NO,
    "unmount_what_covers": NO,
    "leave_by_chroot": NO,
    "load_bpf": NO,
    "use_keyrings": NO,
    "use_io_uring": UNKNOWN,
    "use_kernel_aio": UNKNOWN,
    "use_userfaultfd": ["ENOENT", "EPERM"],
    "use_perf": NO,
    "load_modules": NO,
    "administer_the_machine": NO,
    "use_handles": NO,
    "use_system_v_and_message_queues": UNKNOWN,
    "watch_shared_files": NO,
    "move_pages_of_others": NO,
    "use_memory_that_hides": UNKNOWN,
    "trace_a_child": ["EPERM", 0],
    "read_memory_by_its_calls": NO,
    "enter_by_i386": -signal.SIGSYS,
    "enter_by_x32": -signal.SIGSYS,
    "enter_by_sysenter": True,
    "run_a_32_bit_program": Either(-signal.SIGSYS, 99),
    "change_personality": UNKNOWN,
    "ask_prctl_for_more": UNKNOWN,
    "loosen_the_filter": NO,
    "become_somebody_else": Only("EPERM", "EFAULT"),
    "run_before_others": Only("EPERM", "EACCES", "ENOSYS"),
    "type_into_a_terminal": UNKNOWN,
    "use_file_system_ioctls": UNKNOWN,
    "hold_back_others_files": UNKNOWN,
    "call_what_does_not_exist": UNKNOWN,
    "call_a_negative_number": 0,
    "call_from_outside_a_probe": Either(0, -signal.SIGILL),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail(sandbox: Sandbox, curious: Guest) -> AsyncIterator[Arena]:
    async with arena(sandbox, curious, "hostile/syscalls") as made:
        yield made


@pytest.mark.parametrize(("program", "expected"), SYSTEM_CALLS.items())
async def test_a_system_call_opens_nothing(
    jail: Arena, program: str, expected: object
) -> None:
    assert await jail.play(program) == expected
