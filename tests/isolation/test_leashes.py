"""A cell that no control group freezes: its first process stops all others in there."""

import ctypes
import mmap
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sandlot_sandbox import linux
from sandlot_sandbox.guest.leash import FREEZE, Turns, obey
from sandlot_sandbox.launcher.filters import compile_apart
from sandlot_sandbox.policy import REAPER
from tests.e2e.waiting import wait_until

_BALLAST = 256 << 20
"""Bytes, so that a fork takes milliseconds."""

_ROUNDS = 20
_THAW = b"0"
_CLOCK_GETTIME = ctypes.c_long({"x86_64": 228, "aarch64": 113}[os.uname().machine])
_libc = ctypes.CDLL(None, use_errno=True)


def test_a_child_of_a_fork_that_was_stopped_and_continued_meanwhile_runs() -> None:
    turns = Turns()
    with _first_process(turns) as (orders, forks):
        for _ in range(_ROUNDS):
            _wait_for_a_fork(forks)
            # So that both meet the next one, and none is spared for the other.
            os.write(orders, FREEZE)
            while not turns.is_frozen:
                os.sched_yield()
            os.write(orders, _THAW)


def test_of_what_is_told_at_once_the_last_holds() -> None:
    turns = Turns()
    with _first_process(turns) as (orders, forks):
        os.write(orders, FREEZE + _THAW)
        _wait_for_a_fork(forks)
        os.write(orders, _THAW + FREEZE)
        wait_until(lambda: turns.is_frozen, "all are stopped")


@contextmanager
def _first_process(turns: Turns) -> Iterator[tuple[int, int]]:
    """Where one is told, and where somebody in there tells of each fork that he made
    since he was asked last."""
    orders, ours = os.pipe2(os.O_CLOEXEC)
    forks, told = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(forks, False)
    (reaper,) = compile_apart(REAPER)
    namespaces = linux.CLONE_NEWPID | (linux.CLONE_NEWUSER if os.geteuid() else 0)
    pid = linux.clone(namespaces)
    if pid == 0:
        try:
            os.close(ours)
            if os.fork() == 0:
                _fork_for_ever(told)
            linux.set_no_new_privileges()
            linux.load_filter(reaper)
            time.monotonic = _time_by_a_call
            obey(orders, turns)
        finally:
            os._exit(1)
    os.close(orders)
    os.close(told)
    try:
        yield ours, forks
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ours)
        os.close(forks)
        turns.close()


def _time_by_a_call() -> float:
    """As where the kernel does not write it to memory, which depends on its clock."""
    seconds = (ctypes.c_long * 2)()
    if _libc.syscall(_CLOCK_GETTIME, ctypes.c_long(time.CLOCK_MONOTONIC), seconds):
        raise OSError(ctypes.get_errno(), "clock_gettime")
    return float(seconds[0] + seconds[1] / 1e9)


def _fork_for_ever(told: int) -> None:
    ballast = memoryview(bytearray(_BALLAST))
    ballast[:: mmap.PAGESIZE] = b"x" * (_BALLAST // mmap.PAGESIZE)
    while True:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        os.write(told, b"x")


def _wait_for_a_fork(forks: int) -> None:
    """One that was begun after this was called, and its child has ended."""
    for _ in range(2):
        wait_until(lambda: _has_told(forks), "a fork is over")


def _has_told(forks: int) -> bool:
    try:
        return bool(os.read(forks, 1 << 16))
    except BlockingIOError:
        return False
