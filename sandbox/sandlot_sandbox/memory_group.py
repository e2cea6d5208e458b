"""Where a control group tells of its memory; engine and launcher both read it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Files:
    """Names in a group's folder."""

    usage: str
    """Bytes, of all that counts."""

    peak: str
    """The most it has been. In v2 not before Linux 5.19."""

    events: str
    """Has a line `oom_kill N`."""

    stat: str = "memory.stat"


MEMORY_V1, MEMORY_V2 = "memory_v1", "memory_v2"

FILES = {
    MEMORY_V1: Files(
        usage="memory.usage_in_bytes",
        peak="memory.max_usage_in_bytes",
        events="memory.oom_control",
    ),
    MEMORY_V2: Files(
        usage="memory.current", peak="memory.peak", events="memory.events"
    ),
}
"""By what a group's folder is called among the parts of a cell: `spec.CellMade`."""


def of_files(stat: bytes) -> int:
    """Bytes that the kernel remembers of files, for the group and all below it."""
    counts = dict(line.split() for line in stat.splitlines())
    # v1 has a group's own under the plain names; v2 has but these, for all.
    prefix = b"total_" if b"total_active_file" in counts else b""
    return sum(
        int(counts.get(prefix + name, 0)) for name in (b"active_file", b"inactive_file")
    )
