"""A process that waits with no memory of its own."""

import ctypes
import os
import select
import signal
from pathlib import Path

import pytest

from sandlot_sandbox import linux
from sandlot_sandbox.guest import bare

WAIT_S = 10
NOT_OURS = ("[vsyscall]",)
"""The kernel's, at the same place in every process."""

pytestmark = pytest.mark.skipif(
    linux.MACHINE != "x86_64", reason="there is no code for this machine"
)


def test_it_keeps_one_page_and_waits_until_it_is_killed() -> None:
    made = bare.made()
    assert made is not None
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        if made.prepare():
            # Its end of the pipe stays open, so that whether it ended can be heard.
            ctypes.CFUNCTYPE(None, ctypes.c_void_p)(made.address)(made.address)
        os._exit(1)
    os.close(write)
    try:
        mappings = _once_there_is_one(pid)
        ended, _, _ = select.select([read], [], [], 0)
    finally:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(read)

    assert [line.split()[1] for line in mappings] == ["r-xp"]
    assert ended == []
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def _once_there_is_one(pid: int) -> list[str]:
    """Its mappings; the last that were seen, where they stay more than one."""
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        mappings: list[str] = []
        for _ in range(WAIT_S * 1_000):
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
            mappings = [line for line in lines if not line.endswith(NOT_OURS)]
            if len(mappings) <= 1 or poll.poll(1):
                break
        return mappings
    finally:
        os.close(pidfd)


def test_on_a_machine_without_code_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linux, "MACHINE", "riscv64")

    assert bare.made() is None
