"""What /proc tells of the processes in a jail, for whoever counts what they hold.

All may have ended by the time they are asked about, and then hold nothing. Names in
there are the tenant's, so that files are read as bytes. Where a process's first thread
has ended it tells nothing any more, and another is asked.
"""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DESCRIPTOR_BYTES = 4096
"""What one may be worth: half of a pipe, which has two pages for those who have many;
or a structure of the kernel's."""

_MAPPING_BYTES = 256
"""The kernel's for each, and its part of the tree that they are in."""

_SHARED_AT, _SHARED = 4, ord("s")
"""Behind the blank before a mapping's rights, as in `rw-s`."""

_FREE_DESCRIPTORS = 1024
"""Of all processes of a cell; each has room for 64."""

_KB = 1024
_FILELESS = (b"/dev/zero", b"/memfd:", b"/SYSV", b"[anon_shmem")

_UTIME = 11
"""Of proc(5)'s fields, counted behind the name; then come stime, cutime and cstime."""


def all_pids() -> Iterator[int]:
    """In the jail, but for us."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            yield int(name)


def threads_of(pid: int) -> Iterator[str]:
    """Where proc tells of a process: of its first thread, then of all."""
    yield f"/proc/{pid}"
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return  # it has just ended
    for thread in threads:
        yield f"/proc/{pid}/task/{thread}"


def namespace_of(pid: int) -> str:
    """What a link to its pid namespace says; empty where nobody may look."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""  # it has just ended


def reserved(pids: list[int]) -> int:
    """At least what they hold, and all that they share counted for each."""
    sizes = (b"VmSize:", b"RssShmem:", b"VmPTE:")
    return sum(_sum_of(pid, "status", sizes) for pid in pids)


def hold_more(pids: list[int], limit: int) -> bool:
    """Whether that is more than `limit` bytes: private pages once, shared ones in
    parts; the tables of pages, which a process can make large by reading where nothing
    is; what the kernel has for each mapping; and memory that is shared without a file
    whole, because its pages stay when a process says that it needs them no more. Pages
    of files do not count: the kernel can drop them.

    Known before all were looked at, if it is too much: that takes as long as they have
    mappings, and they could make more meanwhile."""
    total = 0
    shared: dict[bytes, int] = {}
    for pid in pids:
        total += _sum_of(pid, "status", (b"VmPTE:",))
        mappings, without_a_file = _mappings(pid)
        total += mappings * _MAPPING_BYTES
        for file, size in without_a_file.items():
            total += max(0, size - shared.get(file, 0))
            shared[file] = max(size, shared.get(file, 0))
        if total > limit:
            return True
    for pid in pids:
        # Last, because the kernel looks at each mapping for it once more.
        total += _sum_of(pid, "smaps_rollup", (b"Pss_Anon:",))
        if total > limit:
            return True
    return False


def in_descriptors(pids: list[int]) -> int:
    """What may be behind those that all of them could have open, but for the first."""
    room = sum(_sum_of(pid, "status", (b"FDSize:",)) // _KB for pid in pids)
    return max(0, room - _FREE_DESCRIPTORS) * _DESCRIPTOR_BYTES


def ticks_of(pid: int) -> int:
    """Of processor time that it used, with all its threads and whom it has reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # Its name may have brackets and blanks in it.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0  # it has just ended
    return sum(int(field) for field in fields[_UTIME : _UTIME + 4])


def _mappings(pid: int) -> tuple[int, dict[bytes, int]]:
    """How many it has; and bytes of each that others can have, too, without a file, by
    what identifies it."""
    count = 0
    found: dict[bytes, int] = {}
    for path in threads_of(pid):
        # As bytes, like all that is read here: names in there are the tenant's.
        with contextlib.suppress(OSError), open(f"{path}/maps", "rb") as file:
            for line in file:
                count += 1
                if line[line.index(b" ") + _SHARED_AT] != _SHARED:
                    continue
                span, _, _, device, inode, *name = line.split(None, 5)
                if name and name[0].startswith(_FILELESS):
                    start, end = (int(bound, 16) for bound in span.split(b"-"))
                    key = device + b" " + inode
                    found[key] = found.get(key, 0) + end - start
        if count:
            break
    return count, found


def _sum_of(pid: int, file: str, names: tuple[bytes, ...]) -> int:
    """The sum of these lines, in bytes: of the process, or where its first thread has
    ended and tells nothing any more, of the first that does."""
    for path in threads_of(pid):
        if found := _fields(f"{path}/{file}", names):
            return _KB * sum(found)
    return 0


def _fields(path: str, names: tuple[bytes, ...]) -> list[int]:
    try:
        with open(path, "rb") as lines:
            return [int(line.split()[1]) for line in lines if line.startswith(names)]
    except OSError:
        return []  # it has just ended
