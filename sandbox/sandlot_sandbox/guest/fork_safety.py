"""Did the import leave something behind that clones must not share?

A fork copies memory. It does not copy threads or children, and it shares every open
file description: two clones of a database connection write into one TCP stream. So
the zygote looks at itself before the import and after it. What it finds is told in
sentences for the tenant; they are shown in the function's state, in the log and by the
CLI, and make instances run the import themselves.

This is for correctness, not for safety: a tenant who hides something from it harms
his own function only.

Sound to share, and so not reported: files open for reading (each clone reopens them
with `reopen`, because the position would be shared), directories, memfds that are not
mapped, and the harmless devices; and what clones have anew, `unused_sockets` and files
in /tmp that are appended to (`tmp_files`).
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import resource
import stat
import sys

# By name: the import may put its own into the module, as gevent does.
from time import sleep

from sandlot_sandbox.guest import tmp_files, unused_sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Identity = tuple[int, int, int]

MAX_REASONS = 20
MAX_SHOWN_CHARS = 200
MAX_DESCRIPTORS = 65_536
"""How many descriptors are tried one by one where /proc is missing."""

SETTLE_TRIES = 50
SETTLE_STEP_S = 0.001
"""A joined thread stays in /proc for a moment: `join` returns before the kernel is
through with it. Nothing can be waited for, so we look again."""

ELSEWHERE = "inside the handler, or in an after-restore hook"

HARMLESS_DEVICES = frozenset(
    ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
)

ANONYMOUS = {
    "[eventpoll]": "an epoll handle (an event loop or a selector)",
    "[eventfd]": "an eventfd",
    "[timerfd]": "a timerfd",
    "[signalfd]": "a signalfd",
    "[io_uring]": "an io_uring",
    "[userfaultfd]": "a userfaultfd",
    "[perf_event]": "a perf event",
    "[pidfd]": "a handle on a process (a pidfd)",
    "[fanotify]": "a fanotify handle",
    "inotify": "an inotify handle (a file watcher)",
}


class Snapshot:
    """What the process had before the import; nothing in it is reported later."""

    __slots__ = ("children", "descriptors", "shared_memory", "threads")

    def __init__(self) -> None:
        self.descriptors = dict(_descriptors())
        self.threads = frozenset(_threads())
        self.children = frozenset(_children())
        self.shared_memory = frozenset(_shared_memory())


def take_snapshot() -> Snapshot:
    """Look at the process before tenant code runs in it."""
    return Snapshot()


def inspect_process(baseline: Snapshot) -> list[str]:
    """Why this process must not be cloned; empty if it may.

    At most MAX_REASONS sentences, each bounded and printable.
    """
    reasons = [
        *_thread_reasons(baseline),
        *_child_reasons(baseline),
        *_descriptor_reasons(baseline),
        *_memory_reasons(baseline),
    ]
    return _bounded(list(dict.fromkeys(reasons)))


def files_to_reopen(baseline: Snapshot) -> list[tuple[int, int]]:
    """The regular files that the import left open for reading, and where in them it
    was, for `reopen`."""
    return [
        (fd, os.lseek(fd, 0, os.SEEK_CUR))
        for fd, identity in _new_descriptors(baseline)
        if stat.S_ISREG(identity[2]) and not _is_memfd(fd) and not _is_writable(fd)
    ]


def sockets_to_reopen(baseline: Snapshot) -> list[int]:
    """The sockets of the import that `unused_sockets` are."""
    return [
        fd
        for fd, identity in _new_descriptors(baseline)
        if stat.S_ISSOCK(identity[2]) and unused_sockets.is_unused(fd)
    ]


def files_to_append(baseline: Snapshot) -> list[int]:
    """The files in /tmp that the import left open to be appended to."""
    return [
        fd
        for fd, identity in _new_descriptors(baseline)
        if stat.S_ISREG(identity[2]) and _is_writable(fd) and _is_appended(fd)
    ]


def reopen(files: Iterable[tuple[int, int]]) -> None:
    """For the next clone: give each file a position of its own, where the import left
    it. The last clone shares the descriptor's and may have moved it since.

    A file that cannot be opened again (by now it may be out of reach) stays shared.
    """
    for fd, position in files:
        try:
            own = os.open(f"/proc/self/fd/{fd}", fcntl.fcntl(fd, fcntl.F_GETFL))
        except OSError:
            continue
        os.lseek(own, position, os.SEEK_SET)
        os.dup2(own, fd, inheritable=os.get_inheritable(fd))
        os.close(own)


# Descriptors -------------------------------------------------------------------


def _descriptors() -> Iterator[tuple[int, Identity]]:
    try:
        numbers: Iterable[int] = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        # The hard limit: the soft one may have been lowered below what is open.
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        unlimited = limit == resource.RLIM_INFINITY
        numbers = range(MAX_DESCRIPTORS if unlimited else min(limit, MAX_DESCRIPTORS))
    for fd in numbers:
        try:
            status = os.fstat(fd)
        except OSError:
            continue  # Not open; or the listing's own, which is closed by now.
        yield fd, (status.st_dev, status.st_ino, status.st_mode)


def _new_descriptors(baseline: Snapshot) -> list[tuple[int, Identity]]:
    return [
        (fd, identity)
        for fd, identity in sorted(_descriptors())
        if baseline.descriptors.get(fd) != identity
    ]


def _descriptor_reasons(baseline: Snapshot) -> Iterator[str]:
    for fd, (_, _, mode) in _new_descriptors(baseline):
        try:
            reason = _descriptor_reason(fd, mode)
        except OSError as error:
            reason = f"the import left descriptor {fd} open ({error.strerror})"
        if reason:
            yield reason


def _descriptor_reason(fd: int, mode: int) -> str:
    if stat.S_ISREG(mode):
        return _file_reason(fd)
    if stat.S_ISDIR(mode) or (stat.S_ISCHR(mode) and _target(fd) in HARMLESS_DEVICES):
        return ""
    if stat.S_ISSOCK(mode):
        if unused_sockets.is_unused(fd):
            return ""
        what = _socket_description(fd)
    elif stat.S_ISFIFO(mode):
        what = "a pipe"
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        what = f"the device {_shown(_target(fd))}"
    else:
        what = _anonymous_description(fd)
    return f"the import left {what} open: open it {ELSEWHERE}"


def _file_reason(fd: int) -> str:
    if _is_locked(fd):
        return (
            f"the import left a lock on the file {_shown(_target(fd))}: "
            f"take it {ELSEWHERE}"
        )
    if _is_memfd(fd) or not _is_writable(fd) or _is_appended(fd):
        return ""
    return (
        f"the import left the file {_shown(_target(fd))} open for writing: "
        f"all instances would write to one file, so open it {ELSEWHERE}"
    )


def _anonymous_description(fd: int) -> str:
    target = _target(fd)
    if target.startswith("pidfd:"):  # Since Linux 6.9 pidfds have their own inodes.
        target = "anon_inode:[pidfd]"
    kind = target.partition("anon_inode:")[2]
    return ANONYMOUS.get(kind, f"descriptor {fd} ({_shown(target or 'unknown kind')})")


def _is_writable(fd: int) -> bool:
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    return flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_PATH


def _is_appended(fd: int) -> bool:
    """To one of `tmp_files`. What is written to in another way, as databases are, may
    be known by its inode, which a clone's would not have."""
    return (
        bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)
        and _target(fd).startswith(f"{tmp_files.TMP}/")
        and os.fstat(fd).st_nlink > 0
    )


def _is_memfd(fd: int) -> bool:
    return _target(fd).startswith("/memfd:")


def _is_locked(fd: int) -> bool:
    # Not /proc/locks: with subset=pid there is none.
    return any(line.startswith("lock:") for line in _lines(f"fdinfo/{fd}"))


def _target(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


# Sockets -----------------------------------------------------------------------


def _socket_description(fd: int) -> str:
    with unused_sockets.looked_at(fd) as probe:
        return _described(probe)


def _described(probe: _socket.socket) -> str:
    kind = _kind(probe)
    if _is_listening(probe):
        return f"{kind} socket listening on {_address(probe.getsockname())}"
    try:
        peer = probe.getpeername()
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.EINVAL, errno.EOPNOTSUPP):
            return f"{kind} socket"
        own = probe.getsockname()
        if isinstance(own, tuple) and own[1] == 0:
            return f"{kind} socket"
        return f"{kind} socket bound to {_address(own)}"
    if probe.family == _socket.AF_UNIX and not peer:
        return f"{kind} socket pair"
    return f"{kind} connection to {_address(peer)}"


def _kind(probe: _socket.socket) -> str:
    if probe.family == _socket.AF_UNIX:
        return "a Unix"
    if probe.family in (_socket.AF_INET, _socket.AF_INET6):
        names = {_socket.SOCK_STREAM: "a TCP", _socket.SOCK_DGRAM: "a UDP"}
        return names.get(probe.type, "a raw")
    return f"a (family {int(probe.family)})"


def _is_listening(probe: _socket.socket) -> bool:
    try:
        return bool(probe.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN))
    except OSError:
        return False


def _address(address: object) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[0], address[1]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    if isinstance(address, bytes):  # A Unix socket in the abstract namespace.
        address = "@" + address[1:].decode("utf-8", "replace")
    return _shown(str(address)) if address else "nothing yet"


# Threads and children ----------------------------------------------------------


def _threads() -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir("/proc/self/task"))
    except OSError:
        return sorted(_python_threads())


def _python_threads() -> dict[int, str]:
    # Not imported for this: what it does after a fork would cost every clone.
    threading = sys.modules.get("threading")
    if threading is None:
        return {}
    return {thread.native_id or 0: thread.name for thread in threading.enumerate()}


def _thread_reasons(baseline: Snapshot) -> Iterator[str]:
    new = [tid for tid in _settled_threads(baseline) if tid not in baseline.threads]
    names = _python_threads()
    for tid in new:
        if tid in names:
            yield (
                f"the import started a thread {_shown(names[tid])}: threads are not "
                f"cloned, so start it {ELSEWHERE}"
            )
        else:
            name = "".join(_lines(f"task/{tid}/comm"))
            yield (
                f"the import made a library start a thread {_shown(name)}: threads "
                f"are not cloned, so start it {ELSEWHERE}, or set the library to one "
                "thread (for numpy: OPENBLAS_NUM_THREADS=1)"
            )


def _settled_threads(baseline: Snapshot) -> list[int]:
    threads = _threads()
    for _ in range(SETTLE_TRIES):
        if set(threads) <= baseline.threads | set(_python_threads()):
            break
        sleep(SETTLE_STEP_S)
        threads = _threads()
    return threads


def _children() -> list[int]:
    """Pids of our children, or [0] if they cannot be named."""
    pids: list[int] = []
    for tid in _threads():
        pids += [int(pid) for pid in " ".join(_lines(f"task/{tid}/children")).split()]
    return pids or ([0] if _has_children() else [])


def _has_children() -> bool:
    try:
        # WNOWAIT: whoever started the child can still wait for it.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _child_reasons(baseline: Snapshot) -> Iterator[str]:
    for pid in _children():
        if pid in baseline.children:
            continue
        name = "".join(_lines(f"../{pid}/comm"))
        which = f" {_shown(name)}" if name else ""
        if "Z" in _state(pid):
            yield (
                f"the import started a child process{which} that has ended, and did "
                "not wait for it: wait for it during the import"
            )
        else:
            yield (
                f"the import left a child process{which} running: children are not "
                f"cloned, so start it {ELSEWHERE}"
            )


def _state(pid: int) -> str:
    return "".join(line for line in _lines(f"../{pid}/status") if line[:6] == "State:")


# Shared memory -----------------------------------------------------------------


def _shared_memory() -> list[str]:
    """The writable shared mappings, as "file" by inode; they stay shared in clones."""
    found = []
    for line in _lines("maps"):
        _, mode, _, _, inode, *path = line.split(None, 5)
        if mode[1] == "w" and mode[3] == "s":
            found.append(f"{' '.join(path)}|{inode}")
    return found


def _memory_reasons(baseline: Snapshot) -> Iterator[str]:
    for mapping in _shared_memory():
        if mapping not in baseline.shared_memory:
            path = mapping.rpartition("|")[0]
            what = "" if path.startswith("/dev/zero") else f" of {_shown(path)}"
            yield (
                f"the import left a shared writable mapping{what}: all instances "
                f"would see each other's writes, so map it {ELSEWHERE}"
            )


# Text --------------------------------------------------------------------------


def _lines(name: str) -> list[str]:
    """The lines of a file below /proc/self; none if it is not there."""
    try:
        with open(f"/proc/self/{name}", encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _shown(text: str) -> str:
    # Names come from the tenant: no line breaks, no escapes, no surrogates.
    return ascii(text[:MAX_SHOWN_CHARS])


def _bounded(reasons: list[str]) -> list[str]:
    if len(reasons) <= MAX_REASONS:
        return reasons
    more = len(reasons) - MAX_REASONS + 1
    return [*reasons[: MAX_REASONS - 1], f"and {more} more things of these kinds"]
