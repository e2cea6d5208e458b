"""Request ids: UUIDs of random bits, as `uuid.uuid4` makes them.

That asks the kernel for each sixteen bytes, and builds a number of them only to take it
apart again: a tenth of what the engine does for a small request that it refuses. Here
the kernel is asked for as many bytes as a few hundred ids take. The engine never forks,
so no two processes have the same ones.
"""

import os

IDS_AT_ONCE = 256
_BYTES = 16
_VARIANTS = "89ab"


class _Supply:
    def __init__(self) -> None:
        self._digits = ""
        self._at = 0

    def next(self) -> str:
        at = self._at
        if at == len(self._digits):
            self._digits = os.urandom(IDS_AT_ONCE * _BYTES).hex()
            at = 0
        digits = self._digits[at : at + 2 * _BYTES]
        self._at = at + 2 * _BYTES
        # The version, 4, and the variant of RFC 9562 take six of the bits.
        variant = _VARIANTS[int(digits[16], 16) & 3]
        return (
            f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-"
            f"{variant}{digits[17:20]}-{digits[20:]}"
        )


new_request_id = _Supply().next
"""A UUID of version 4, in its usual form."""
