"""A page of machine code of ours, to be called.

For what Python cannot do: to go on without memory of one's own, or in that of another
process, where an interpreter would write to it.
"""

from __future__ import annotations

import ctypes
import mmap

from sandlot_sandbox import linux

_PAGE = 4096


class Page:
    """Executable, and written to no more. There for as long as it is referred to; all
    forks share it."""

    def __init__(self, code: bytes) -> None:
        """Raises `OSError` where nobody may execute what he wrote."""
        self._memory = mmap.mmap(-1, _PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory.write(code)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        if ctypes.CDLL(None).mprotect(
            ctypes.c_void_p(self.address), _PAGE, mmap.PROT_READ | mmap.PROT_EXEC
        ):
            raise OSError("no page may be executed that was written")


def page(x86_64: bytes) -> Page | None:
    """None on machines of another kind, and where nobody may have such a page."""
    if linux.MACHINE != "x86_64" or mmap.PAGESIZE != _PAGE or len(x86_64) > _PAGE:
        return None
    try:
        return Page(x86_64)
    except (OSError, ValueError, AttributeError):
        return None
