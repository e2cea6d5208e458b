"""A table of system calls, made by machine code or, for want of it, one by one."""

import ctypes
import errno
import mmap
import os
import signal
import socket
import struct
from collections.abc import Iterator

import pytest

from sandlot_sandbox import linux
from sandlot_sandbox.guest import calls, machine_code
from sandlot_sandbox.guest.calls import CallFailed, Calls

NOT_OPEN = 999_999
_EXIT_7 = bytes.fromhex("bf07000000b8e70000000f05")
"""mov edi, 7; mov eax, 231; syscall"""

AT = 9
"""Of the child's, where its pipe is."""

needs_code = pytest.mark.skipif(not calls.CAN_SPAWN, reason="for x86-64 only")


@pytest.fixture(params=["machine code", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "one by one":
        monkeypatch.setattr(calls, "_run", None)
    elif not calls.CAN_SPAWN:
        pytest.skip("for x86-64 only")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.usefixtures("way")
def test_they_are_made_in_their_order(pipe: tuple[int, int]) -> None:
    table = Calls()
    for word in (b"one ", b"two ", b"three"):
        table.add("write", pipe[1], word, len(word))

    table.prepared().make()

    assert os.read(pipe[0], 100) == b"one two three"


@pytest.mark.usefixtures("way")
def test_after_one_that_fails_none_is_made(pipe: tuple[int, int]) -> None:
    table = Calls()
    table.add("write", pipe[1], b"before", 6)
    table.add("close", NOT_OPEN)
    table.add("write", pipe[1], b"after", 5)

    with pytest.raises(CallFailed, match="close: Bad file descriptor") as failed:
        table.prepared().make()

    assert (failed.value.name, failed.value.errno) == ("close", errno.EBADF)
    assert os.read(pipe[0], 100) == b"before"


@pytest.mark.usefixtures("way")
def test_they_can_be_made_again(pipe: tuple[int, int]) -> None:
    table = Calls()
    table.add("write", pipe[1], b"x", 1)
    prepared = table.prepared()

    for _ in range(3):
        prepared.make()

    assert os.read(pipe[0], 100) == b"xxx"


@pytest.mark.usefixtures("way")
def test_negative_arguments_stay_negative() -> None:
    table = Calls()
    table.add("close", -1)

    with pytest.raises(CallFailed) as failed:
        table.prepared().make()

    assert failed.value.errno == errno.EBADF


@pytest.mark.usefixtures("way")
def test_one_may_have_what_the_one_before_it_returned(pipe: tuple[int, int]) -> None:
    copy = os.dup(pipe[1])
    os.close(copy)
    table = Calls()
    table.add("dup3", pipe[1], copy, os.O_CLOEXEC, gives=True)
    table.add("close", NOT_OPEN)

    table.prepared().make()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(copy)


@pytest.mark.usefixtures("way")
def test_what_is_placed_may_point_to_what_is_placed() -> None:
    ours, theirs = socket.socketpair()
    table = Calls()
    text = table.place(b"by way of two")
    part = table.place(struct.pack("=QQ", 0, 13), {0: text})
    whole = struct.pack("=QI4xQQQQi4x", 0, 0, 0, 1, 0, 0, 0)
    message = table.place(whole, {16: part})
    table.add("sendmsg", theirs.fileno(), message, 0)

    with ours, theirs:
        table.prepared().make()
        assert ours.recv(100) == b"by way of two"


@needs_code
def test_a_child_goes_on_where_it_is_told_to() -> None:
    goes_on = machine_code.page(_EXIT_7)
    assert goes_on is not None
    ours, theirs = socket.socketpair()
    table = Calls()
    table.add("write", theirs.fileno(), b"made", 4)
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    end = mmap.mmap(-1, mmap.PAGESIZE)
    address, at_end = (
        ctypes.addressof(ctypes.c_char.from_buffer(each)) for each in (memory, end)
    )
    laid_out = table.laid_out(address)
    memory[: len(laid_out)] = laid_out
    told = calls.end_of(1, goes_on_at=goes_on.address)
    end[: len(told)] = told

    pid = calls.clone(address, at_end, int(signal.SIGCHLD))

    with ours, theirs:
        assert ours.recv(100) == b"made"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert calls.failed(end, address, table.names) is None


def test_a_call_that_nobody_knows_is_refused_at_once() -> None:
    with pytest.raises(OSError, match="no number for brew"):
        Calls().add("brew")


def _becoming(table: Calls, *argv: str, **environment: str) -> Calls:
    given = [f"{name}={value}".encode() for name, value in environment.items()]
    words = [word.encode() for word in argv]
    table.add("execve", words[0], table.words(words), table.words(given))
    return table


@needs_code
def test_a_child_becomes_a_program(pipe: tuple[int, int]) -> None:
    table = Calls()
    table.add("dup3", pipe[1], AT, 0)
    script = 'echo "$MINE $1" >&9; exit 4'
    _becoming(table, "/bin/sh", "-c", script, "sh", "and 1", MINE="yes")

    pid, failed = table.prepared().spawn(status=1)

    assert failed is None
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    assert os.read(pipe[0], 100) == b"yes and 1\n"


@needs_code
def test_a_child_that_cannot_exec_is_gone_and_says_why() -> None:
    table = _becoming(Calls(), "/is/not/there")

    pid, failed = table.prepared().spawn(status=127)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 127
    assert failed is not None
    assert (failed.name, failed.errno) == ("execve", errno.ENOENT)


@needs_code
def test_a_child_whose_way_is_barred_execs_nothing(pipe: tuple[int, int]) -> None:
    table = Calls()
    table.add("dup3", pipe[1], AT, 0)
    table.add("close", NOT_OPEN)
    _becoming(table, "/bin/sh", "-c", "echo ran >&9")

    pid, failed = table.prepared().spawn(status=1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert failed is not None
    assert failed.name == "close"
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 100)


@needs_code
def test_a_signal_that_is_ignored_here_is_heeded_there() -> None:
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    table = Calls()
    table.add("rt_sigaction", *linux.default_action(signal.SIGPIPE))
    _becoming(table, "/bin/sh", "-c", "kill -PIPE $$; exit 3")

    pid, _ = table.prepared().spawn(status=1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGPIPE
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
