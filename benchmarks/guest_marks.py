"""What a guest that measures itself writes down, read. See `guest_profile.py`."""

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.steps import Step
from sandlot_sandbox.outcome import Ending

BOOTSTRAP = Path(__file__).with_name("guest_profile.py")

WRITING_S = 0.001
"""An instance writes its marks down after its answer; by then it waits again."""

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


def between(marks: list[Mark], first: str, last: str) -> tuple[int, list[Step]]:
    """When the step `first` was done, and the steps after it up to `last`."""
    names = [name for name, _, _ in marks]
    begin, end = names.index(first), names.index(last)
    steps, so_far = [], marks[begin][2]
    for name, at_ns, faults in marks[begin + 1 : end + 1]:
        # A fork begins to count anew.
        more = faults - so_far if faults >= so_far else faults
        steps.append((name, at_ns, more))
        so_far = faults
    return marks[begin][1], steps


def marks_in(ending: Ending) -> list[list[Mark]]:
    """All that an instance has printed since its last event."""
    return [
        json.loads(text.removeprefix(PREFIX))
        for _, text in ending.printed
        if text.startswith(PREFIX)
    ]
