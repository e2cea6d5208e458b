"""Pages of what is in memory."""

from bisect import bisect_right
from collections.abc import Sequence

from sandlot_engine.errors import InvalidParameter

DEFAULT_PAGE, MAX_PAGE = 50, 1_000
"""Things in one page of a list."""


def page_of(
    names: Sequence[str], page_size: int, page_token: str
) -> tuple[Sequence[str], str]:
    """Names of a page, and the token of the next: empty after the last. They are in
    order.

    Raises `InvalidParameter` for a negative page size.
    """
    size = size_of(page_size)
    # The token is the last name shown: it stays right when things come and go
    # between two pages.
    first = bisect_right(names, page_token)
    page = names[first : first + size]
    return page, page[-1] if first + size < len(names) else ""


def size_of(page_size: int) -> int:
    """Of a page that was asked for. Raises `InvalidParameter` where it is negative."""
    if page_size < 0:
        raise InvalidParameter(
            f"page_size is {page_size}; it must be 0 to {MAX_PAGE}.",
            field="page_size",
        )
    return min(page_size or DEFAULT_PAGE, MAX_PAGE)
