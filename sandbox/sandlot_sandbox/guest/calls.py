"""A table of system calls that are made one after another, with nothing in between.

By a few bytes of machine code, which write to no memory. A clone pays for each page
that it is the first to write to, and in Python every call is some; and what becomes a
program at once need not be a clone at all: the table is made by a child that runs in
our memory until its exec, while we wait (`vfork`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct

from sandlot_sandbox import linux
from sandlot_sandbox.guest import machine_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_X86_64 = bytes.fromhex(
    "53"  # push rbx
    "4154"  # push r12
    "4889fb"  # mov rbx, rdi            the first call
    "4989f4"  # mov r12, rsi            where to tell of one that failed
    "4885d2"  # test rdx, rdx           by a child?
    "7419"  # je calls
    "4889d7"  # mov rdi, rdx
    "31f6"  # xor esi, esi
    "31d2"  # xor edx, edx
    "4531d2"  # xor r10d, r10d
    "4531c0"  # xor r8d, r8d
    "b838000000"  # mov eax, 56         clone
    "0f05"  # syscall
    "4885c0"  # test rax, rax
    "7543"  # jne out                   the parent has its pid, or why there is none
    # calls:
    "488b03"  # mov rax, [rbx]
    "4885c0"  # test rax, rax
    "7839"  # js end                    there are no more
    "488b7b08"  # mov rdi, [rbx + 8]
    "488b7310"  # mov rsi, [rbx + 16]
    "488b5318"  # mov rdx, [rbx + 24]
    "4c8b5320"  # mov r10, [rbx + 32]
    "4c8b4328"  # mov r8, [rbx + 40]
    "0f05"  # syscall
    "4883c330"  # add rbx, 48
    "4885c0"  # test rax, rax
    "79d9"  # jns calls
    "49891c24"  # mov [r12], rbx
    "4989442408"  # mov [r12 + 8], rax
    "498b7c2410"  # mov rdi, [r12 + 16] what a child exits with
    "4885ff"  # test rdi, rdi
    "7809"  # js out                    there is none
    "b8e7000000"  # mov eax, 231        exit_group
    "0f05"  # syscall
    # end:
    "31c0"  # xor eax, eax
    # out:
    "415c"  # pop r12
    "5b"  # pop rbx
    "c3"  # ret
)

_CALL = struct.Struct("=q5Q")
_END = _CALL.pack(-1, 0, 0, 0, 0, 0)
_FAILURE = struct.Struct("=Qqq")
_NO_CHILD = -1
_IN_OUR_MEMORY = 0x4100 | int(signal.SIGCHLD)
"""CLONE_VM and CLONE_VFORK: we wait until it has exec'd or is gone."""

_Run = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long)
_Syscall = ctypes.CFUNCTYPE(
    ctypes.c_long, ctypes.c_long, *[ctypes.c_uint64] * 5, use_errno=True
)
_syscall = _Syscall(("syscall", ctypes.CDLL(None, use_errno=True)))
_page = machine_code.page(_X86_64)
_run: Callable[[int, int, int], int] | None = (
    None if _page is None else _Run(_page.address)
)

CAN_SPAWN = _run is not None
"""Whether `Calls.spawn` is to be had: not on machines that we have no code for."""


class CallFailed(OSError):
    """What the kernel said to one of them, whose `name` it is."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(number, f"{name}: {os.strerror(number)}")
        self.name = name


class Calls:
    """To be made in this order, until one fails.

    Whoever adds to them keeps what arguments point to, for as long as they are there.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._table = bytearray()
        self._kept: list[object] = []

    def add(self, name: str, *arguments: int | bytes | None) -> None:
        """One with up to five arguments; bytes go by their address, with a NUL behind
        them. Raises `OSError` on a machine whose number of it is not known."""
        words = [self._word(argument) for argument in arguments]
        words += [0] * (5 - len(words))
        self._table += _CALL.pack(linux.number_of(name), *words)
        self._names.append(name)

    def _word(self, argument: int | bytes | None) -> int:
        if isinstance(argument, bytes):
            kept = ctypes.create_string_buffer(argument)
            self._kept.append(kept)
            return ctypes.addressof(kept)
        return (argument or 0) & 0xFFFFFFFFFFFFFFFF

    def keep(self, what: ctypes.Structure) -> int:
        """Its address, good for as long as these calls are there."""
        self._kept.append(what)
        return ctypes.addressof(what)

    def words(self, strings: list[bytes]) -> int:
        """The address of an array of pointers to these, as an exec takes it."""
        array = (ctypes.c_char_p * (len(strings) + 1))(*strings, None)
        self._kept.append(array)
        return ctypes.addressof(array)

    def prepared(self) -> Prepared:
        """So that nothing is left to be done but to make them."""
        return Prepared(tuple(self._names), bytes(self._table), tuple(self._kept))


class Prepared:
    """They can be made any number of times."""

    def __init__(
        self, names: tuple[str, ...], table: bytes, kept: tuple[object, ...]
    ) -> None:
        self._names = names
        self._kept = kept
        self._table = ctypes.create_string_buffer(table + _END)
        self._address = ctypes.addressof(self._table)
        self._failure = ctypes.create_string_buffer(_FAILURE.pack(0, 0, _NO_CHILD))
        self._failure_address = ctypes.addressof(self._failure)

    def make(self) -> None:
        """In this process. Raises `CallFailed`."""
        if _run is None:
            self._make_each()
        elif _run(self._address, self._failure_address, 0):
            raise self._told() or OSError("a call failed")

    def spawn(self, status: int) -> tuple[int, CallFailed | None]:
        """In a child, whose last call is an exec; it exits with `status` where one
        fails. Its pid, and which did. Raises `OSError` where there is no child."""
        assert _run is not None  # noqa: S101 - see CAN_SPAWN
        assert self._names[-1] == "execve"  # noqa: S101 - it must not come back
        _FAILURE.pack_into(self._failure, 0, 0, 0, status)
        pid = _run(self._address, self._failure_address, _IN_OUR_MEMORY)
        if pid < 0:
            raise OSError(-pid, f"clone: {os.strerror(-pid)}")
        return pid, self._told()

    def _told(self) -> CallFailed | None:
        after, number, _ = _FAILURE.unpack_from(self._failure)
        if not after:
            return None
        index = (after - self._address) // _CALL.size - 1
        return CallFailed(-number, self._names[index])

    def _make_each(self) -> None:
        for index, name in enumerate(self._names):
            call = _CALL.unpack_from(self._table, index * _CALL.size)
            if _syscall(*call) < 0:
                raise CallFailed(ctypes.get_errno(), name)
