"""An instance that rests gives back what it has as its zygote has it.

CPython counts references in the objects themselves, up and down again: of the pages
that a clone wrote to, many are what they were. Where those of the zygote are in a file
(`sealed_memory.py`), a page that is dropped is the file's again. So each page that is
this process's own is set aside, dropped and compared, and put back where it differs.
What of the stack nobody is in any more goes as well.

The zygote does the same once, right before it says that it is ready, while the file can
still be written to: with each page written to the file before it is dropped. Else
clones would have for their own whatever it has come to.

Nobody may run meanwhile: not with threads, and no signal's handler. It is machine code,
because Python would write to the pages that it looks at. A page that may not be written
to, or is locked, stays as it is.
"""

from __future__ import annotations

import ctypes
import mmap
import struct

from sandlot_sandbox.guest import machine_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_X86_64 = bytes.fromhex(
    "53"  # push rbx
    "55"  # push rbp
    "4154"  # push r12
    "4155"  # push r13
    "4156"  # push r14
    "4157"  # push r15
    "4883ec28"  # sub rsp, 40
    "4889fb"  # mov rbx, rdi
    "b8ffffffff"  # mov eax, -1
    "874318"  # xchg eax, [rbx + 24]           the file, for once
    "89442418"  # mov [rsp + 24], eax
    "31ed"  # xor ebp, ebp                     how many it were
    "b806010000"  # mov eax, 262               newfstatat
    "bf9cffffff"  # mov edi, -100              AT_FDCWD
    "488d7320"  # lea rsi, [rbx + 32]          threads
    "488b13"  # mov rdx, [rbx]                 scratch
    "4531d2"  # xor r10d, r10d
    "0f05"  # syscall
    "4885c0"  # test rax, rax
    "0f88b1010000"  # js tidy
    "488b13"  # mov rdx, [rbx]                 scratch
    "48837a1003"  # cmp [rdx + 16], 3          links: two, and one for each thread
    "0f85a3010000"  # jne tidy
    "b801010000"  # mov eax, 257               openat
    "bf9cffffff"  # mov edi, -100              AT_FDCWD
    "488d7340"  # lea rsi, [rbx + 64]          pagemap
    "ba00000800"  # mov edx, 0x80000           O_CLOEXEC
    "4531d2"  # xor r10d, r10d
    "0f05"  # syscall
    "4885c0"  # test rax, rax
    "0f8882010000"  # js tidy
    "4989c7"  # mov r15, rax
    "b80e000000"  # mov eax, 14                rt_sigprocmask
    "bf02000000"  # mov edi, 2                 SIG_SETMASK
    "488d7310"  # lea rsi, [rbx + 16]          all signals
    "4889e2"  # mov rdx, rsp
    "41ba08000000"  # mov r10d, 8
    "0f05"  # syscall
    "4c8d6360"  # lea r12, [rbx + 96]          spans
    # span:
    "4d8b2c24"  # mov r13, [r12]
    "4d8b742408"  # mov r14, [r12 + 8]
    "4983c418"  # add r12, 24
    "4d85ed"  # test r13, r13
    "0f840b010000"  # je done
    # block:
    "4d39f5"  # cmp r13, r14
    "73e5"  # jae span
    "4c89f2"  # mov rdx, r14
    "4c29ea"  # sub rdx, r13
    "48c1ea09"  # shr rdx, 9                   a word for each page
    "b900100000"  # mov ecx, 4096
    "4839ca"  # cmp rdx, rcx
    "480f47d1"  # cmova rdx, rcx
    "4889542408"  # mov [rsp + 8], rdx
    "b811000000"  # mov eax, 17                pread64
    "4c89ff"  # mov rdi, r15
    "488b7308"  # mov rsi, [rbx + 8]           words
    "4d89ea"  # mov r10, r13
    "49c1ea09"  # shr r10, 9
    "0f05"  # syscall
    "483b442408"  # cmp rax, [rsp + 8]
    "0f85cb000000"  # jne done
    "488b7308"  # mov rsi, [rbx + 8]           words
    "4801742408"  # add [rsp + 8], rsi
    "4889742410"  # mov [rsp + 16], rsi
    # page:
    "488b742410"  # mov rsi, [rsp + 16]
    "483b742408"  # cmp rsi, [rsp + 8]
    "73a6"  # jae block
    "8a4607"  # mov al, [rsi + 7]
    "4883c608"  # add rsi, 8
    "4889742410"  # mov [rsp + 16], rsi
    "24e1"  # and al, 0xe1                     here, swapped, a file's, ours alone
    "3c81"  # cmp al, 0x81
    "0f858f000000"  # jne next
    "b8ca000000"  # mov eax, 202               futex
    "4c89ef"  # mov rdi, r13
    "be85000000"  # mov esi, 133               FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG
    "31d2"  # xor edx, edx
    "4531d2"  # xor r10d, r10d
    "4d89e8"  # mov r8, r13
    "41b900000020"  # mov r9d, 0x20000000      |= 0: may it be written to?
    "0f05"  # syscall
    "4885c0"  # test rax, rax
    "786d"  # js next
    "4c89ee"  # mov rsi, r13
    "488b3b"  # mov rdi, [rbx]                 scratch
    "b900020000"  # mov ecx, 512
    "f348a5"  # rep movsq
    "8b7c2418"  # mov edi, [rsp + 24]          the file, of who takes in
    "85ff"  # test edi, edi
    "781c"  # js drop
    "b812000000"  # mov eax, 18                pwrite64
    "4c89ee"  # mov rsi, r13
    "ba00100000"  # mov edx, 4096
    "4d89ea"  # mov r10, r13
    "4d2b5424e8"  # sub r10, [r12 - 24]        how far into the span
    "4d035424f8"  # add r10, [r12 - 8]         and that into the file
    "0f05"  # syscall
    # drop:
    "b81c000000"  # mov eax, 28                madvise
    "4c89ef"  # mov rdi, r13
    "be00100000"  # mov esi, 4096
    "ba04000000"  # mov edx, 4                 MADV_DONTNEED
    "0f05"  # syscall
    "4885c0"  # test rax, rax
    "7822"  # js next
    "4c89ee"  # mov rsi, r13
    "488b3b"  # mov rdi, [rbx]                 scratch
    "b900020000"  # mov ecx, 512
    "f348a7"  # repe cmpsq
    "7410"  # je same
    "4c89ef"  # mov rdi, r13
    "488b33"  # mov rsi, [rbx]                 scratch
    "b900020000"  # mov ecx, 512
    "f348a5"  # rep movsq
    "eb02"  # jmp next
    # same:
    "ffc5"  # inc ebp
    # next:
    "4981c500100000"  # add r13, 4096
    "e943ffffff"  # jmp page
    # done:
    "b81c000000"  # mov eax, 28                madvise
    "488dbc2400f0feff"  # lea rdi, [rsp - 0x11000]  of the stack what is free
    "4881e700f0ffff"  # and rdi, -4096
    "be00000100"  # mov esi, 0x10000
    "ba04000000"  # mov edx, 4                 MADV_DONTNEED
    "0f05"  # syscall
    "b80e000000"  # mov eax, 14                rt_sigprocmask
    "bf02000000"  # mov edi, 2                 SIG_SETMASK
    "4889e6"  # mov rsi, rsp
    "31d2"  # xor edx, edx
    "41ba08000000"  # mov r10d, 8
    "0f05"  # syscall
    "b803000000"  # mov eax, 3                 close
    "4c89ff"  # mov rdi, r15
    "0f05"  # syscall
    # tidy:
    "b81c000000"  # mov eax, 28                madvise
    "488b3b"  # mov rdi, [rbx]                 scratch, and words
    "be00200000"  # mov esi, 8192
    "ba04000000"  # mov edx, 4                 MADV_DONTNEED
    "0f05"  # syscall
    "89e8"  # mov eax, ebp
    "4883c428"  # add rsp, 40
    "415f"  # pop r15
    "415e"  # pop r14
    "415d"  # pop r13
    "415c"  # pop r12
    "5d"  # pop rbp
    "5b"  # pop rbx
    "c3"  # ret
)

_PAGE = mmap.PAGESIZE
_HEAD = struct.Struct("=QQQi4x32s32s")
"""Where there is room for a page, and for a page of words, which tell of pages; all
signals; the file of who takes in, else -1; how many threads there are, and which
pages."""

_SPAN = struct.Struct("=QQQ")
"""From where to where, and where in the file."""

_FILE_AT = struct.calcsize("=QQQ")
_ROOM = 16 * _PAGE
_ALL_SIGNALS = 0xFFFF_FFFF_FFFF_FFFF
_MOST = (_ROOM - 2 * _PAGE - _HEAD.size) // _SPAN.size - 1

_Run = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_page = machine_code.page(_X86_64)
_run = None if _page is None else _Run(_page.address)


class Shedding:
    """Made in a zygote, for its clones."""

    def __init__(self) -> None:
        """Of nothing yet. Raises `OSError`."""
        # By a mark that means nothing else to us, this is known to be no memory of
        # the zygote's that could be laid down.
        self._memory = mmap.mmap(-1, _ROOM, mmap.MAP_PRIVATE)
        self._memory.madvise(mmap.MADV_DONTDUMP)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        scratch = self._address + _ROOM - 2 * _PAGE
        _HEAD.pack_into(
            *(self._memory, 0, scratch, scratch + _PAGE, _ALL_SIGNALS, -1),
            *(b"/proc/self/task", b"/proc/self/pagemap"),
        )

    def of(self, spans: Iterable[tuple[int, int, int]], file: int) -> None:
        """From where to where, and where that is in the `file`, which is written to the
        next time that somebody sheds, and then no more."""
        for number, span in enumerate(list(spans)[:_MOST]):
            _SPAN.pack_into(self._memory, _HEAD.size + number * _SPAN.size, *span)
        struct.pack_into("=i", self._memory, _FILE_AT, file)

    def shed(self) -> int:
        """How many pages were given back. 0 where there are threads."""
        if _run is None:
            return 0
        count: int = _run(*(self._address,))  # see `instance.REHEARSALS`
        return count

    @property
    def call(self) -> tuple[int, int]:
        """The address of the code that does so, and its argument."""
        assert _page is not None  # noqa: S101 - nothing was laid down without
        return _page.address, self._address
