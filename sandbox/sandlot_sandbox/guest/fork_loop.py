"""Forks on demand without an interpreter: what a zygote does between two forks.

A page that the zygote writes to after a fork is copied, and the old one is the clones'
to keep. In Python each fork writes to a hundred and more: frames, counts, what a note
and its descriptors become. So it is machine code that waits for a note, and where that
is a fork like the last one, takes its steps: `Entry.before`, `fork`, and in the clone
the way into its cell. Everything else it leaves to Python, with the note: other notes,
other descriptors, a call that failed, a child that ended, another day.

What a clone must not share with others it draws itself, on that way, by `getrandom` to
where it lies (`places.py`). It is C's `fork` that is called, and Python's own
steps before and after it, so that whoever registered with either is asked; Python's
before and after in the zygote once for forks that follow one another.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

from sandlot_sandbox.guest import calls, machine_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandlot_sandbox.guest.calls import Prepared

_X86_64 = bytes.fromhex(
    "53"  # push rbx
    "55"  # push rbp
    "4154"  # push r12
    "4889fb"  # mov rbx, rdi
    "488bbbb8010000"  # mov rdi, [rbx + take_in_of]
    "4885ff"  # test rdi, rdi
    "7436"  # je begin
    "48c783b801000000000000"  # mov [rbx + take_in_of], 0              once
    "ff93b0010000"  # call [rbx + take_in]
    "488bbbc0010000"  # mov rdi, [rbx + sealing]
    "488bb3c8010000"  # mov rsi, [rbx + sealing_end]
    "31d2"  # xor edx, edx
    "ff9360010000"  # call [rbx + calls]
    "4885c0"  # test rax, rax
    "740a"  # je begin
    "bd06000000"  # mov ebp, 6                                UNSEALED
    "e9a6010000"  # jmp back
    # begin:
    "ff9398010000"  # call [rbx + about_to_fork]                see `_Page`
    # wait:
    "488d7b48"  # lea rdi, [rbx + poll]
    "be02000000"  # mov esi, 2
    "8b9338010000"  # mov edx, [rbx + patience]
    "83bb3c01000000"  # cmp [rbx + has_chores], 0
    "7405"  # je asleep
    "ba02000000"  # mov edx, 2                                ms: see `_do_chores`
    # asleep:
    "b807000000"  # mov eax, 7                                poll
    "0f05"  # syscall
    "4889c5"  # mov rbp, rax
    "83bb3c01000000"  # cmp [rbx + has_chores], 0
    "742d"  # je awake
    "c7833c01000000000000"  # mov [rbx + has_chores], 0
    "4531e4"  # xor r12d, r12d
    # chore:
    "428bbca3f8000000"  # mov edi, [rbx + r12*4 + expected + 16]  a descriptor
    "b803000000"  # mov eax, 3                                close
    "0f05"  # syscall
    "41ffc4"  # inc r12d
    "443ba344010000"  # cmp r12d, [rbx + descriptors]
    "72e5"  # jb chore
    "4885ed"  # test rbp, rbp
    "74a3"  # je wait
    # awake:
    "4883fdfc"  # cmp rbp, -4                               interrupted?
    "749d"  # je wait
    "b803000000"  # mov eax, 3                                TIMED_OUT
    "4885ed"  # test rbp, rbp
    "0f8e27010000"  # jle out
    "b802000000"  # mov eax, 2                                WOKEN
    "66837b5600"  # cmp [rbx + poll + 14], 0                  has a child ended?
    "0f8517010000"  # jne out
    "48c7432848000000"  # mov [rbx + msg_control_length], 72
    "8b7b48"  # mov edi, [rbx + poll]
    "4889de"  # mov rsi, rbx
    "ba00000040"  # mov edx, 0x40000000                       MSG_CMSG_CLOEXEC
    "b82f000000"  # mov eax, 47                               recvmsg
    "0f05"  # syscall
    "4883f8fc"  # cmp rax, -4
    "0f845bffffff"  # je wait
    "48898348010000"  # mov [rbx + got], rax
    "4883f809"  # cmp rax, 9                                bytes of a fork note
    "0f858d000000"  # jne other
    "807b5846"  # cmp [rbx + note], 70                      F
    "0f8583000000"  # jne other
    "488b4b28"  # mov rcx, [rbx + msg_control_length]
    "483b8b50010000"  # cmp rcx, [rbx + expected_length]
    "7576"  # jne other
    "488db398000000"  # lea rsi, [rbx + control]
    "488dbbe8000000"  # lea rdi, [rbx + expected]
    "f3a6"  # repe cmpsb
    "7564"  # jne other
    "488bbb68010000"  # mov rdi, [rbx + before]
    "488bb370010000"  # mov rsi, [rbx + before_end]
    "31d2"  # xor edx, edx
    "ff9360010000"  # call [rbx + calls]
    "4885c0"  # test rax, rax
    "7549"  # jne other
    "ff9358010000"  # call [rbx + fork]
    "85c0"  # test eax, eax
    "7446"  # je child
    "783d"  # js other
    "8b8b40010000"  # mov ecx, [rbx + count]
    "8b535d"  # mov edx, [rbx + note + 5]                 the instance's number
    "8984cb00020000"  # mov [rbx + rcx*8 + ring], eax
    "8994cb04020000"  # mov [rbx + rcx*8 + ring + 4], edx
    "ff8340010000"  # inc [rbx + count]
    "c7833c01000001000000"  # mov [rbx + has_chores], 1
    "b805000000"  # mov eax, 5                                FULL
    "81bb4001000000010000"  # cmp [rbx + count], 256
    "735a"  # jae out
    "e9bdfeffff"  # jmp wait
    # other:
    "b801000000"  # mov eax, 1                                NOTE
    "eb4e"  # jmp out
    # child:
    "488bbb78010000"  # mov rdi, [rbx + way]
    "488bb380010000"  # mov rsi, [rbx + way_end]
    "31d2"  # xor edx, edx
    "ff9360010000"  # call [rbx + calls]
    "b904000000"  # mov ecx, 4                                STRANDED
    "4885c0"  # test rax, rax
    "7524"  # jne stranded
    "488bb388010000"  # mov rsi, [rbx + hex]
    "488bbb90010000"  # mov rdi, [rbx + hex_copy]
    "b920000000"  # mov ecx, 32                               digits out of random bytes
    # digit:
    "ac"  # lodsb
    "240f"  # and al, 15
    "0430"  # add al, 48
    "3c39"  # cmp al, 57
    "7602"  # jbe decimal
    "0427"  # add al, 39
    # decimal:
    "8846ff"  # mov [rsi - 1], al
    "aa"  # stosb
    "e2ef"  # loop digit
    # stranded:
    "89cd"  # mov ebp, ecx
    "ff93a8010000"  # call [rbx + cloned]
    "eb08"  # jmp back
    # out:
    "89c5"  # mov ebp, eax
    "ff93a0010000"  # call [rbx + forked]
    # back:
    "89e8"  # mov eax, ebp
    "415c"  # pop r12
    "5d"  # pop rbp
    "5b"  # pop rbx
    "c3"  # ret
)

MAX_FORKED = 256
"""Clones that are noted down before Python takes note of them."""


CLONED = 0
"""Python goes on in a clone, which is in its cell."""
NOTE = 1
"""In the zygote, because a note came that is Python's."""
WOKEN = 2
"""In the zygote: a child has ended."""
TIMED_OUT = 3
"""In the zygote."""
STRANDED = 4
"""In a clone that could not enter its cell."""
FULL = 5
"""In the zygote: so many clones are noted down as there is room for."""
UNSEALED = 6
"""In the zygote: what it has laid down is not sealed, and may not be cloned."""


class _Poll(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_int32),
        ("events", ctypes.c_int16),
        ("revents", ctypes.c_int16),
    )


class _Forked(ctypes.Structure):
    _fields_ = (("pid", ctypes.c_int32), ("instance", ctypes.c_uint8 * 4))


class _Page(ctypes.Structure):
    """All that is written to between two forks; the code knows where each is."""

    _fields_ = (
        # A msghdr, and its iovec.
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint64),
        ("pieces", ctypes.c_void_p),
        ("piece_count", ctypes.c_uint64),
        ("control_at", ctypes.c_void_p),
        ("control_length", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("note_at", ctypes.c_void_p),
        ("note_room", ctypes.c_uint64),
        ("poll", _Poll * 2),
        ("note", ctypes.c_char * 64),
        ("control", ctypes.c_char * 80),
        ("expected", ctypes.c_char * 80),
        ("patience_ms", ctypes.c_int32),
        ("has_chores", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("descriptors", ctypes.c_uint32),
        ("got", ctypes.c_int64),
        ("expected_length", ctypes.c_uint64),
        ("fork", ctypes.c_void_p),
        ("calls", ctypes.c_void_p),
        ("before", ctypes.c_void_p),
        ("before_end", ctypes.c_void_p),
        ("way", ctypes.c_void_p),
        ("way_end", ctypes.c_void_p),
        ("hex", ctypes.c_void_p),
        ("hex_copy", ctypes.c_void_p),
        ("about_to_fork", ctypes.c_void_p),
        ("forked", ctypes.c_void_p),
        ("cloned", ctypes.c_void_p),
        ("take_in", ctypes.c_void_p),
        ("take_in_of", ctypes.c_void_p),
        ("sealing", ctypes.c_void_p),
        ("sealing_end", ctypes.c_void_p),
        ("reserved", ctypes.c_uint8 * 48),
        ("clones", _Forked * MAX_FORKED),
    )


_CMSG = struct.Struct("=Qii")
"""Before descriptors: the length of it all, SOL_SOCKET, SCM_RIGHTS."""

_FD = struct.Struct("=i")
_ASKS = struct.Struct("=??")
_NOTE = int(_Page.note.offset)
_SOL_SOCKET, _SCM_RIGHTS, _POLLIN = 1, 1, 1

_Run = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_page = machine_code.page(_X86_64)
_run = None if _page is None else _Run(_page.address)


def is_possible() -> bool:
    """Not on machines that we have no code for."""
    return _run is not None and calls.CAN_SPAWN


def expected_descriptors(count: int) -> list[int]:
    """Which numbers the next so many will have. The kernel takes the lowest."""
    found = [os.open("/", os.O_PATH | os.O_CLOEXEC) for _ in range(count)]
    for fd in found:
        os.close(fd)
    return found


class ForkLoop:
    """For forks whose descriptors have the numbers that they are expected to have."""

    def __init__(
        self,
        *,
        channel: int,
        wake: int,
        descriptors: list[int],
        before: Prepared,
        way: Prepared,
        name: tuple[int, int],
    ) -> None:
        """`before` is gone in the zygote, `way` in the clone, which makes digits of the
        random bytes at the first address of `name`, and copies them to the second.
        `wake` can be read from when there is something to do for Python."""
        self._kept = before, way
        self._memory = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE)
        self._page = page = _Page.from_buffer(self._memory)
        self._address = ctypes.addressof(page)
        page.pieces, page.piece_count = self._at("note_at"), 1
        page.control_at = self._at("control")
        page.note_at, page.note_room = self._at("note"), _Page.note.size
        page.poll[0] = _Poll(channel, _POLLIN, 0)
        page.poll[1] = _Poll(wake, _POLLIN, 0)
        numbers = struct.pack(f"={len(descriptors)}i", *descriptors)
        length = _CMSG.size + len(numbers)
        # The kernel tells of the space that it is aligned to.
        at = _Page.expected.offset
        expected = _CMSG.pack(length, _SOL_SOCKET, _SCM_RIGHTS) + numbers
        self._memory[at : at + length] = expected
        page.expected_length = length + -length % 8
        page.descriptors = len(descriptors)
        page.calls = calls.code_address()
        page.before, page.before_end = before.address, before.end_address
        page.way, page.way_end = way.address, way.end_address
        page.hex, page.hex_copy = name
        page.fork = _address_of(ctypes.CDLL(None).fork)
        python = ctypes.pythonapi
        page.about_to_fork = _address_of(python.PyOS_BeforeFork)
        page.forked = _address_of(python.PyOS_AfterFork_Parent)
        page.cloned = _address_of(python.PyOS_AfterFork_Child)

    def begin_with(self, take_in: tuple[int, int], sealing: Prepared) -> None:
        """Before it first waits for a fork: a call of a function by its address, with
        an argument, and then these."""
        self._sealing = sealing
        page = self._page
        page.take_in, page.take_in_of = take_in
        page.sealing, page.sealing_end = sealing.address, sealing.end_address

    def run(self, patience_ms: int) -> int:
        """Fork on demand until something else happens: which, of the above."""
        assert _run is not None  # noqa: S101 - see `is_possible`
        self._page.patience_ms = patience_ms
        ctypes.memset(self._page.control_at, 0, _Page.control.size)
        return int(_run(self._address))

    def unsealed(self) -> OSError:
        """Why what `begin_with` was given failed."""
        return self._sealing.failed() or OSError("a call failed")

    def failed(self) -> OSError:
        """Why a clone is stranded."""
        _, way = self._kept
        return way.failed() or OSError("a call failed")

    @property
    def note(self) -> bytes:
        """The last one; empty at the end of the channel. Raises `OSError`."""
        got = self._page.got
        if got < 0:
            raise OSError(-got, f"recvmsg: {os.strerror(-got)}")
        return self._memory[_NOTE : _NOTE + got]

    def asks_for(self) -> tuple[bool, bool]:
        """Of a fork's note: whether it is ahead of need, and provisioned. For a clone,
        to which all of `frames.decode_task` would be pages of its own."""
        is_ahead, is_kept = _ASKS.unpack_from(self._memory, _NOTE + 1)
        return is_ahead, is_kept

    @property
    def came_with(self) -> list[int]:
        """The descriptors of a note that is Python's."""
        if self._page.control_length < _CMSG.size:
            return []
        at = _Page.control.offset
        length, _, _ = _CMSG.unpack_from(self._memory, at)
        return list(
            struct.unpack_from(
                f"={(length - _CMSG.size) // _FD.size}i", self._memory, at + _CMSG.size
            )
        )

    def forked(self) -> list[tuple[int, int]]:
        """Pids, and the instances' numbers, since the last look."""
        count, self._page.count = self._page.count, 0
        return [
            (each.pid, int.from_bytes(each.instance, "big"))
            for each in self._page.clones[:count]
        ]

    def _at(self, field: str) -> int:
        return self._address + int(getattr(_Page, field).offset)


def _address_of(function: object) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value  # type: ignore[arg-type]
