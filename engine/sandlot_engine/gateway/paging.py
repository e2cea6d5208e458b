"""Pages: how many, and where the next one begins."""

from sandlot_engine.errors import InvalidParameter

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1_000


def page_size(asked: int) -> int:
    """0 means the default, and too many are cut, as AWS does."""
    if asked < 0:
        raise InvalidParameter(f"page_size is {asked}, below 0", field="page_size")
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def position(page_token: str) -> int:
    """The position that a token of ours stands for; 0 where there is none."""
    if not page_token:
        return 0
    # A position has at most 19 digits: SQLite's integers have 64 bits.
    if not (page_token.isascii() and page_token.isdigit() and len(page_token) < 19):
        raise InvalidParameter(
            "page_token is not one that this engine gave", field="page_token"
        )
    return int(page_token)
