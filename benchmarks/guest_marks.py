"""What a guest that measures itself writes down, read. See `guest_profile.py`."""

from collections.abc import Iterator

PREFIX = b"profile: "
"""How a line of marks begins."""

Mark = tuple[str, int, int]
"""A step that was done, the monotonic clock in ns, the process's page faults so far."""


def steps_of(
    began: int, marks: list[Mark], answered: int
) -> Iterator[tuple[str, float, int]]:
    """Each step's name, seconds, and page faults; together, all of the time between.

    A step that was done several times comes once, with its sum: it is one row.
    """
    sums: dict[str, tuple[float, int]] = {}
    last_ns, last_faults = began, 0
    for name, now_ns, faults in marks:
        # A fork begins to count anew.
        more = faults - last_faults if faults >= last_faults else faults
        seconds, so_far = sums.get(name, (0.0, 0))
        is_first = last_ns == began
        sums[name] = (
            seconds + (now_ns - last_ns) / 1e9,
            so_far + (0 if is_first else more),
        )
        last_ns, last_faults = now_ns, faults
    sums["engine: answer arrived"] = ((answered - last_ns) / 1e9, 0)
    for name, (seconds, faults) in sums.items():
        yield name, seconds, faults
