"""A table of system calls that are made one after another, with nothing in between.

By a few bytes of machine code, which write to next to no memory. A clone pays for each
page that it is the first to write to, and in Python every call is some. And who only
makes calls need not be a clone of ours at all: what becomes a program runs in our
memory until its exec, while we wait (`vfork`); what ends in machine code, as a cell's
first process, has only the table.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct

from sandlot_sandbox import linux
from sandlot_sandbox.guest import machine_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Buffer = bytes | bytearray | ctypes.Array[ctypes.c_char] | mmap.mmap

_X86_64 = bytes.fromhex(
    "53"  # push rbx
    "4154"  # push r12
    "4889fb"  # mov rbx, rdi            the first call
    "4989f4"  # mov r12, rsi            the end: `_END`
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
    "755e"  # jne out                   the parent has its pid, or why there is none
    # calls:
    "488b03"  # mov rax, [rbx]
    "4885c0"  # test rax, rax
    "7848"  # js end                    there are no more
    "488b7b08"  # mov rdi, [rbx + 8]
    "488b7310"  # mov rsi, [rbx + 16]
    "488b5318"  # mov rdx, [rbx + 24]
    "4c8b5320"  # mov r10, [rbx + 32]
    "4c8b4328"  # mov r8, [rbx + 40]
    "0f05"  # syscall
    "4c8b4b30"  # mov r9, [rbx + 48]
    "4883c338"  # add rbx, 56
    "4885c0"  # test rax, rax
    "780b"  # js failed
    "4d85c9"  # test r9, r9             is it wanted by the next?
    "74d0"  # je calls
    "48894308"  # mov [rbx + 8], rax    as its first argument
    "ebca"  # jmp calls
    # failed:
    "49891c24"  # mov [r12], rbx
    "4989442408"  # mov [r12 + 8], rax
    "498b7c2410"  # mov rdi, [r12 + 16] what a child exits with
    "4885ff"  # test rdi, rdi
    "7815"  # js out                    there is none
    "b8e7000000"  # mov eax, 231        exit_group
    "0f05"  # syscall
    # end:
    "31c0"  # xor eax, eax
    "498b7c2418"  # mov rdi, [r12 + 24] where to go on for ever
    "4885ff"  # test rdi, rdi
    "7402"  # je out
    "ffe7"  # jmp rdi
    # out:
    "415c"  # pop r12
    "5b"  # pop rbx
    "c3"  # ret
)

_WORDS = 5
_CALL = struct.Struct(f"=q{_WORDS}Qq")
_LAST = _CALL.pack(-1, *[0] * (_WORDS + 1))
_END = struct.Struct("=QqqQ")
"""Behind which call one failed, what it returned; what a child then exits with; where
it goes if none fails."""

_POINTER = struct.Struct("=Q")
_HERE = -1
_IN_OUR_MEMORY = 0x4100 | int(signal.SIGCHLD)
"""CLONE_VM and CLONE_VFORK: we wait until it has exec'd or is gone."""

_Run = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long)
_Syscall = ctypes.CFUNCTYPE(
    ctypes.c_long, ctypes.c_long, *[ctypes.c_uint64] * _WORDS, use_errno=True
)
_syscall = _Syscall(("syscall", ctypes.CDLL(None, use_errno=True)))
_page = machine_code.page(_X86_64)
_run: Callable[[int, int, int], int] | None = (
    None if _page is None else _Run(_page.address)
)

CAN_SPAWN = _run is not None
"""Whether a child can be had that is no clone: not on machines that we have no code
for."""


class CallFailed(OSError):
    """What the kernel said to one of them, whose `name` it is."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(number, f"{name}: {os.strerror(number)}")
        self.name = name


class Place:
    """Where something lies that arguments point to, counted from the first such."""

    # No dataclass, nor is anything that a zygote has: the module brings two megabytes
    # of others along, whose pages every fork has to enter into tables.
    __slots__ = ("offset",)

    def __init__(self, offset: int) -> None:
        self.offset = offset


class Calls:
    """System calls, to be made in this order until one fails."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._rows: list[tuple[int, tuple[int | Place, ...], bool]] = []
        self._data = bytearray()
        self._pointers: list[tuple[int, Place]] = []

    def add(
        self, name: str, *arguments: int | bytes | Place | None, gives: bool = False
    ) -> None:
        """One with up to five arguments; of bytes it is their address, and a NUL stands
        behind them. What it returns may become the first argument of the next, if it
        `gives`. Raises `OSError` on a machine whose number of it is not known."""
        words = tuple(
            self.place(each + b"\0") if isinstance(each, bytes) else each or 0
            for each in arguments
        )
        self._rows.append((linux.number_of(name), words, gives))
        self._names.append(name)

    def place(self, data: bytes, pointers: Mapping[int, Place] | None = None) -> Place:
        """Something that arguments, or others of these, point to. At the offsets of
        `pointers` in it there will be the addresses of those."""
        self._data += bytes(-len(self._data) % _POINTER.size)
        place = Place(len(self._data))
        for at, to in (pointers or {}).items():
            self._pointers.append((place.offset + at, to))
        self._data += data
        return place

    def words(self, strings: list[bytes]) -> Place:
        """An array of pointers to these, as an exec takes it."""
        places = [self.place(string + b"\0") for string in strings]
        pointers = {index * _POINTER.size: each for index, each in enumerate(places)}
        return self.place(bytes((len(places) + 1) * _POINTER.size), pointers)

    def prepared(self) -> Prepared:
        """So that nothing is left to be done but to make them."""
        return Prepared(self._names, self.laid_out)

    def laid_out(self, address: int) -> bytes:
        """As they lie in memory, from `address` on."""
        start = address + (len(self._rows) + 1) * _CALL.size
        rows = bytearray()
        for number, arguments, gives in self._rows:
            words = [
                (start + each.offset if isinstance(each, Place) else each) & _MASK
                for each in arguments
            ]
            words += [0] * (_WORDS - len(words))
            rows += _CALL.pack(number, *words, gives)
        data = bytearray(self._data)
        for at, to in self._pointers:
            _POINTER.pack_into(data, at, start + to.offset)
        return bytes(rows + _LAST + data)

    @property
    def names(self) -> list[str]:
        return list(self._names)


class Prepared:
    """They can be made any number of times."""

    def __init__(self, names: list[str], laid_out: Callable[[int], bytes]) -> None:
        self._names = names
        size = len(laid_out(0))
        self._memory = ctypes.create_string_buffer(size)
        self._address = ctypes.addressof(self._memory)
        ctypes.memmove(self._address, laid_out(self._address), size)
        self._end = ctypes.create_string_buffer(_END.pack(0, 0, _HERE, 0))

    @property
    def address(self) -> int:
        """Where the table is."""
        return self._address

    @property
    def end_address(self) -> int:
        """Where it is said what to do at the table's end, for whoever has it made
        elsewhere."""
        return ctypes.addressof(self._end)

    def make(self) -> None:
        """Make them, in this process. Raises `CallFailed`."""
        if _run is None:
            self._make_each()
        elif _run(self._address, ctypes.addressof(self._end), 0):
            raise self.failed() or OSError("a call failed")

    def spawn(self, status: int) -> tuple[int, CallFailed | None]:
        """In a child, whose last call is an exec; it exits with `status` where one
        fails. Its pid, and which did. Raises `OSError` where there is no child."""
        assert self._names[-1] == "execve"  # noqa: S101 - it must not come back
        _END.pack_into(self._end, 0, 0, 0, status, 0)
        pid = clone(self._address, ctypes.addressof(self._end), _IN_OUR_MEMORY)
        return pid, self.failed()

    def failed(self) -> CallFailed | None:
        """Which call did, if any."""
        return failed(self._end, self._address, self._names)

    def _make_each(self) -> None:
        given = None
        for index, name in enumerate(self._names):
            number, *words, gives = _CALL.unpack_from(self._memory, index * _CALL.size)
            if given is not None:
                words[0] = given
            result = _syscall(number, *words)
            if result < 0:
                raise CallFailed(ctypes.get_errno(), name)
            given = result if gives else None


def code_address() -> int:
    """Where the page of code is, which whoever makes calls must have."""
    assert _page is not None  # noqa: S101 - see CAN_SPAWN
    return _page.address


def clone(table: int, end: int, flags: int) -> int:
    """A child that makes the calls of a table, by its address. Its pid. Raises
    `OSError`."""
    assert _run is not None  # noqa: S101 - see CAN_SPAWN
    pid = _run(table, end, flags)
    if pid < 0:
        raise OSError(-pid, f"clone: {os.strerror(-pid)}")
    return pid


def failed(end: Buffer, table: int, names: list[str]) -> CallFailed | None:
    """Which call did, if any."""
    behind, number, _, _ = _END.unpack_from(end)
    if not behind:
        return None
    return CallFailed(-number, names[(behind - table) // _CALL.size - 1])


def end_of(status: int, *, goes_on_at: int) -> bytes:
    """What a child that is cloned finds at its end."""
    return _END.pack(0, 0, status, goes_on_at)


_MASK = 0xFFFF_FFFF_FFFF_FFFF
