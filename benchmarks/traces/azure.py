"""The files of the Azure Functions trace of 2019, and what is in them.

Their format is described at
https://github.com/Azure/AzurePublicDataset/blob/master/AzureFunctionsDataset2019.md.
One day has three: how often each function was invoked in each minute, percentiles of
how long each took, and how much memory each app had. The data is CC-BY; it goes with
Shahrad et al., "Serverless in the Wild", USENIX ATC 2020.
"""

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MINUTES = 1440

DURATION_SHARES = (0, 1, 25, 50, 75, 99, 100)
_IDS = ["HashOwner", "HashApp", "HashFunction"]
_MEMORY_SHARES = (1, 5, 25, 50, 75, 95, 99, 100)

USUAL_MS = 500.0
USUAL_MB = 170.0
"""Where the trace does not tell: about its medians."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A function over one or more days."""

    owner: str
    app: str
    function: str
    trigger: str
    counts: Sequence[int]
    """Invocations in each minute."""

    average_ms: float
    percentiles_ms: tuple[float, ...]
    """As `DURATION_SHARES`."""

    memory_mb: float
    """Of its whole app."""

    @property
    def invocations(self) -> int:
        return sum(self.counts)


def read(folder: Path, *, days: int = 1) -> list[Traced]:
    """The first days of a folder with the trace's files, of functions invoked in them.

    Raises `FileNotFoundError` where the invocations of a day are missing. Durations and
    memory may be; then usual ones are taken.
    """
    counts: dict[tuple[str, str, str], array[int]] = {}
    triggers: dict[tuple[str, str, str], str] = {}
    for day in range(1, days + 1):
        file = folder / f"invocations_per_function_md.anon.d{day:02}.csv"
        for row in _rows(file):
            key = _key(row)
            triggers[key] = row["Trigger"]
            whole = counts.setdefault(key, empty(MINUTES * days))
            first = MINUTES * (day - 1)
            for minute in range(MINUTES):
                if (count := row[str(minute + 1)]) != "0":
                    whole[first + minute] += int(count)
    durations, memory = _durations(folder), _memory(folder)
    usual = (USUAL_MS, tuple(USUAL_MS for _ in DURATION_SHARES))
    return [
        Traced(
            *key,
            trigger=triggers[key],
            counts=whole,
            average_ms=durations.get(key, usual)[0],
            percentiles_ms=durations.get(key, usual)[1],
            memory_mb=memory.get(key[:2], USUAL_MB),
        )
        for key, whole in counts.items()
        if any(whole)
    ]


def empty(minutes: int) -> "array[int]":
    """Counts of nothing. Of thousands of functions, lists would be too large."""
    return array("I", bytes(4 * minutes))


def write(folder: Path, functions: list[Traced]) -> None:
    """In the same format, a file for each day and kind."""
    folder.mkdir(parents=True, exist_ok=True)
    days = max((len(each.counts) for each in functions), default=0) // MINUTES
    for day in range(1, days + 1):
        _write(
            folder, "invocations_per_function_md", day, _invocation_rows(functions, day)
        )
        _write(folder, "function_durations_percentiles", day, _duration_rows(functions))
        _write(folder, "app_memory_percentiles", day, _memory_rows(functions))


def _key(row: dict[str, str]) -> tuple[str, str, str]:
    return row["HashOwner"], row["HashApp"], row["HashFunction"]


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        yield from csv.DictReader(lines)


def _durations(
    folder: Path,
) -> dict[tuple[str, str, str], tuple[float, tuple[float, ...]]]:
    file = folder / "function_durations_percentiles.anon.d01.csv"
    if not file.exists():
        return {}
    return {
        _key(row): (
            float(row["Average"]),
            tuple(float(row[f"percentile_Average_{s}"]) for s in DURATION_SHARES),
        )
        for row in _rows(file)
    }


def _memory(folder: Path) -> dict[tuple[str, str], float]:
    file = folder / "app_memory_percentiles.anon.d01.csv"
    if not file.exists():
        return {}
    return {
        (row["HashOwner"], row["HashApp"]): float(row["AverageAllocatedMb"])
        for row in _rows(file)
    }


_Grid = Iterator[list[object]]


def _write(folder: Path, kind: str, day: int, rows: _Grid) -> None:
    file = folder / f"{kind}.anon.d{day:02}.csv"
    with file.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows(rows)


def _invocation_rows(functions: list[Traced], day: int) -> _Grid:
    yield [*_IDS, "Trigger", *range(1, MINUTES + 1)]
    for each in functions:
        counts = each.counts[MINUTES * (day - 1) : MINUTES * day]
        if any(counts):
            yield [each.owner, each.app, each.function, each.trigger, *counts]


def _duration_rows(functions: list[Traced]) -> _Grid:
    shares = [f"percentile_Average_{share}" for share in DURATION_SHARES]
    yield [*_IDS, "Average", "Count", "Minimum", "Maximum", *shares]
    for each in functions:
        least, most = each.percentiles_ms[0], each.percentiles_ms[-1]
        yield [
            *(each.owner, each.app, each.function, each.average_ms),
            *(each.invocations, least, most, *each.percentiles_ms),
        ]


def _memory_rows(functions: list[Traced]) -> _Grid:
    shares = [f"AverageAllocatedMb_pct{share}" for share in _MEMORY_SHARES]
    yield ["HashOwner", "HashApp", "SampleCount", "AverageAllocatedMb", *shares]
    apps = {(each.owner, each.app): each.memory_mb for each in functions}
    for (owner, app), memory_mb in apps.items():
        yield [owner, app, MINUTES, memory_mb, *[memory_mb] * len(shares)]
