"""How memory is looked after in a process that serves: Python's collector of cycles,
and what C's allocator keeps.

What is there when it begins to serve, AWS's model for the most part, lives as long as
the process. Looking through it again and again would take a tenth of what invocations
take, and put what they need out of the processor's caches.
"""

import ctypes
import gc

OBJECTS = 10_000
"""Containers that there are to be more before the youngest are looked through; Python's
own number is 700, which is what a dozen invocations leave in the records to write."""

LARGE = 1 << 20
"""Bytes of a block that is the kernel's again as soon as it is free. Once one of 6 MB
was freed, glibc has all others of that size in its heap, where a small one above them
keeps them: gigabytes, after a hundred large answers at once."""

_M_MMAP_THRESHOLD = -3


def put_off() -> None:
    """Look at nothing until `settle`. What is made at a start is modules for the most
    part, and stays: looking through it takes a tenth of that start."""
    gc.disable()


def settle() -> None:
    """From now on, leave alone what there is. To be called once, before serving."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc's
        mallopt(_M_MMAP_THRESHOLD, LARGE)
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS)
    gc.enable()


def let_go(error: BaseException | None) -> None:
    """Of an exception that was answered and logged, which is not raised again. It knows
    the frames that it went through; they know what was sent, and the exception. All of
    that, 6 MB or 200, would stay until somebody looks for cycles, which is after so
    many objects and not bytes."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__
