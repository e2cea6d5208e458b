"""A request's headers, by name."""

from collections.abc import Mapping, Sequence

Headers = Mapping[bytes, bytes]
"""Names in lower case. What was sent twice is one value, as `fold` makes it."""


def fold(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """ASGI's headers by name; values of one name joined as they are signed."""
    folded = dict(headers)
    if len(folded) == len(headers):
        return folded
    folded.clear()
    for name, value in headers:
        trimmed = b" ".join(value.split())
        folded[name] = b"%s,%s" % (folded[name], trimmed) if name in folded else trimmed
    return folded
