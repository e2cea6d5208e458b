"""How long is waited before something is tried again."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
"""AWS tries throttled events again after 1 s at first and 5 minutes at last."""


def next_pause(pause_s: float) -> float:
    """The pause after that one."""
    return min(2 * pause_s, LONGEST_PAUSE_S)


def pause_after(failures: int) -> float:
    """The pause after so many failures, at least one, in a row."""
    # Beyond this the longest is reached, and 2.0 ** n has an end.
    return min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE_S)
