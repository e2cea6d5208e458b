"""To wait for ever with no memory of one's own.

A cell's first process only waits to be killed. As a fork of the warden it would keep
some 300 pages that it wrote to on the way, and its tables of pages, as long as its
cell lives; and the kernel would take a millisecond to take it apart. So it ends in a
page of machine code that all of them share, which unmaps everything but itself, and
waits. Nothing of ours is left in it, either, that somebody could read.
"""

from __future__ import annotations

import ctypes

from sandlot_sandbox.guest import machine_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_X86_64 = bytes.fromhex(
    "4889fb"  # mov rbx, rdi           this page
    "31ff"  # xor edi, edi
    "4889de"  # mov rsi, rbx
    "b80b000000"  # mov eax, 11        munmap: all below it
    "0f05"  # syscall
    "488dbb00100000"  # lea rdi, [rbx + 4096]
    "48be00f0ffffff7f0000"  # movabs rsi, 0x7ffffffff000
    "4829fe"  # sub rsi, rdi
    "b80b000000"  # mov eax, 11        and all above
    "0f05"  # syscall
    "b822000000"  # mov eax, 34        pause
    "0f05"  # syscall
    "ebf7"  # jmp                      back to that
)

_RSEQ, _UNREGISTER, _SIGNATURE = 334, 1, 0x53053053
_RSEQ_BYTES = 32
"""What glibc registers: `struct rseq`, as it was at first."""


class Bare:
    """The page, and what is called before. Made once; good for all forks."""

    def __init__(self, page: machine_code.Page, libc: ctypes.CDLL) -> None:
        self._page = page
        self._forget: Callable[[], int] = _forgetting(libc)

    def prepare(self) -> bool:
        """Whether the kernel writes to no memory of ours by itself any more: glibc has
        it note in there on which processor we are."""
        return self._forget() == 0

    @property
    def address(self) -> int:
        """Where to go on, with this in the first register of arguments; only after
        `prepare` said so."""
        return self._page.address


def made() -> Bare | None:
    """None where that is not to be had: there is no such page, or libc's ways are not
    those that we know."""
    page = machine_code.page(_X86_64)
    try:
        return None if page is None else Bare(page, ctypes.CDLL(None))
    except (ValueError, AttributeError):
        return None


def _forgetting(libc: ctypes.CDLL) -> Callable[[], int]:
    """Raises `ValueError` where libc does not say what it has registered."""
    offset = ctypes.c_ssize_t.in_dll(libc, "__rseq_offset").value
    if not ctypes.c_uint.in_dll(libc, "__rseq_size").value:
        return lambda: 0
    libc.pthread_self.restype = ctypes.c_void_p
    # On this machine, a thread's handle and its pointer are one.
    area = ctypes.c_void_p(libc.pthread_self() + offset)
    size, number = ctypes.c_long(_RSEQ_BYTES), ctypes.c_long(_RSEQ)
    flags, signature = ctypes.c_long(_UNREGISTER), ctypes.c_long(_SIGNATURE)
    return lambda: int(libc.syscall(number, area, size, flags, signature))
