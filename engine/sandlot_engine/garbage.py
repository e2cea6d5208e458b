"""How Python's collector of cycles is set in a process that serves.

What is there when it begins to serve, AWS's model for the most part, lives as long as
the process. Looking through it again and again would take a tenth of what invocations
take, and put what they need out of the processor's caches.
"""

import gc

OBJECTS = 10_000
"""Containers that there are to be more before the youngest are looked through; Python's
own number is 700, which is what a dozen invocations leave in the records to write."""


def settle() -> None:
    """From now on, leave alone what there is. To be called once, before serving."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS)
