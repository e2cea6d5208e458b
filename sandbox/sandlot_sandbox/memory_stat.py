"""What a control group's `memory.stat` tells; engine and launcher both read it."""


def of_files(stat: bytes) -> int:
    """Bytes that the kernel remembers of files, for the group and all below it."""
    counts = dict(line.split() for line in stat.splitlines())
    # v1 has a group's own under the plain names; v2 has but these, for all.
    prefix = b"total_" if b"total_active_file" in counts else b""
    return sum(
        int(counts.get(prefix + name, 0)) for name in (b"active_file", b"inactive_file")
    )
