"""The system calls that Python has no name for, through ctypes. Standard library only.

Used by the launcher and, before any tenant code runs, by the guest. Every function
raises `OSError` with the call's name where the kernel refuses, so that a step that
failed can never be mistaken for one that was taken.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct

MACHINE = os.uname().machine

# From the kernel's tables; the two machines that CPython wheels are made for.
_NUMBERS = {
    "x86_64": {
        "write": 1,
        "close": 3,
        "mprotect": 10,
        "rt_sigaction": 13,
        "ioctl": 16,
        "pwrite64": 18,
        "mremap": 25,
        "madvise": 28,
        "clone": 56,
        "socket": 41,
        "sendmsg": 46,
        "bind": 49,
        "listen": 50,
        "execve": 59,
        "fcntl": 72,
        "chdir": 80,
        "umount2": 166,
        "mount": 165,
        "pivot_root": 155,
        "prctl": 157,
        "capset": 126,
        "openat": 257,
        "unshare": 272,
        "fallocate": 285,
        "dup3": 292,
        "prlimit64": 302,
        "setns": 308,
        "seccomp": 317,
        "getrandom": 318,
    },
    "aarch64": {
        "dup3": 24,
        "fcntl": 25,
        "ioctl": 29,
        "fallocate": 47,
        "chdir": 49,
        "openat": 56,
        "close": 57,
        "write": 64,
        "pwrite64": 68,
        "rt_sigaction": 134,
        "clone": 220,
        "socket": 198,
        "bind": 200,
        "listen": 201,
        "sendmsg": 211,
        "mremap": 216,
        "execve": 221,
        "mprotect": 226,
        "madvise": 233,
        "prlimit64": 261,
        "umount2": 39,
        "mount": 40,
        "pivot_root": 41,
        "prctl": 167,
        "capset": 91,
        "unshare": 97,
        "setns": 268,
        "seccomp": 277,
        "getrandom": 278,
    },
}
# Calls newer than 5.0 have one number everywhere.
_COMMON = {
    "open_tree": 428,
    "move_mount": 429,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
    "close_range": 436,
    "mount_setattr": 442,
}

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 0x1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOUNT_ATTR_RDONLY = 0x1
_MOUNT_ATTR_NOSUID = 0x2
_MOUNT_ATTR_NODEV = 0x4

PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAPBSET_DROP = 24
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

CAP_NET_ADMIN = 12
CAP_SYS_CHROOT = 18
CAP_SYS_PTRACE = 19
CAP_SYS_ADMIN = 21
_CAPABILITY_VERSION_3 = 0x20080522

SECCOMP_SET_MODE_FILTER = 1

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_LAST_SIGNAL = 64
_KERNEL_SIGACTION = 32
SIGNAL_SET = 8
"""Sizes in bytes, as the kernel has them."""

_SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1

_libc = ctypes.CDLL(None, use_errno=True)
# PyDLL keeps the interpreter's lock through the call: a clone in which another
# thread held it would be a child that waits for ever.
_python = ctypes.PyDLL(None, use_errno=True)


def number_of(name: str) -> int:
    """A call's number here. Raises `OSError` where nobody knows it."""
    if name in _COMMON:
        return _COMMON[name]
    try:
        return _NUMBERS[MACHINE][name]
    except KeyError:
        raise OSError(f"no number for {name} on {MACHINE}") from None


def _call(name: str, *arguments: object) -> int:
    widened = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_libc.syscall(ctypes.c_long(number_of(name)), *widened))
    if result < 0:
        raise _error(name)
    return result


def _error(name: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{name}: {os.strerror(number)}")


def clone(flags: int) -> int:
    """Fork into new namespaces; the child is told by 0, as with `os.fork`.

    For single-threaded processes only: libc's own fork handlers do not run.
    """
    _python.PyOS_BeforeFork()
    pid = int(
        _python.syscall(
            ctypes.c_long(number_of("clone")),
            ctypes.c_long(flags | signal.SIGCHLD),
            None,
            None,
            None,
            None,
        )
    )
    if pid == 0:
        _python.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, f"clone: {os.strerror(number)}")
    return pid


def unshare(flags: int) -> None:
    """Leave the namespaces of `flags` for new ones."""
    _call("unshare", flags)


def setns(fd: int, kind: int) -> None:
    """Enter the namespace behind `fd`, which must be of `kind`."""
    _call("setns", fd, kind)


def mount(
    source: str, target: str, kind: str | None, flags: int, options: str = ""
) -> None:
    """mount(2)."""
    _call("mount", *mounting(source, target, kind, flags, options))


def mounting(
    source: str, target: str, kind: str | None, flags: int, options: str = ""
) -> tuple[bytes, bytes, bytes | None, int, bytes | None]:
    """What mount(2) is told."""
    return (
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        flags,
        options.encode() if options else None,
    )


def unmount_tree(target: str) -> None:
    """Detach a mount and everything below it."""
    _call("umount2", target.encode(), MNT_DETACH)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root; the old one is found at `put_old`."""
    _call("pivot_root", new_root.encode(), put_old.encode())


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def clone_mount(source: int, *, read_only: bool, nodev: bool) -> int:
    """A detached copy of the mount that `source`, a file or folder, lies on.

    A descriptor. Never set-user-id. What is mounted below `source` does not come
    along. It has to be a mount of the mount namespace we are in.
    """
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_EMPTY_PATH
    fd = _call("open_tree", source, b"", flags)
    attributes = _MountAttr(
        attr_set=_MOUNT_ATTR_NOSUID
        | (_MOUNT_ATTR_RDONLY if read_only else 0)
        | (_MOUNT_ATTR_NODEV if nodev else 0)
    )
    try:
        _call(
            "mount_setattr",
            fd,
            b"",
            _AT_EMPTY_PATH | _AT_RECURSIVE,
            ctypes.byref(attributes),
            ctypes.sizeof(attributes),
        )
    except BaseException:
        os.close(fd)
        raise
    return fd


def copy_of_mount(path: str) -> int:
    """A detached copy of the mount at `path`, which shows the same files and goes on
    when that is gone. A descriptor; what it may not do, the copy may not either."""
    return _call("open_tree", *copying(path))


def copying(path: str) -> tuple[int, bytes, int]:
    """What open_tree(2) is told for that."""
    return AT_FDCWD, path.encode(), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC


def move_mount(fd: int, target: str) -> None:
    """Attach a detached mount at `target`."""
    _call("move_mount", *moving(fd, target))


def moving(fd: int, target: str) -> tuple[int, bytes, int, bytes, int]:
    """What move_mount(2) is told for that."""
    return fd, b"", AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH


def set_death_signal(number: int) -> None:
    """Have the kernel send us `number` when our parent dies.

    Forgotten at every change of ids, so this comes after the last of them.
    """
    _call("prctl", PR_SET_PDEATHSIG, number, 0, 0, 0)


def restore_default_signals() -> None:
    """Undo what was ignored when we were started: that would outlive every exec.

    What the interpreter ignores, it goes on to ignore; `heed_signals` ends that. By the
    bare call, because libc keeps the two signals of its own to itself.
    """
    for number in range(1, _LAST_SIGNAL + 1):
        if number not in (signal.SIGKILL, signal.SIGSTOP, *IGNORED_BY_PYTHON):
            _call("rt_sigaction", *default_action(number))


def heed_signals() -> None:
    """Before an exec, in a process whose ancestor restored the defaults: ignore nothing
    any more. Handlers go by themselves.

    By the bare call, because `signal` makes an enumeration of it, and that costs a
    clone fifty pages.
    """
    for number in IGNORED_BY_PYTHON:
        _call("rt_sigaction", *default_action(number))


def default_action(number: int) -> tuple[int, bytes, None, int]:
    """What rt_sigaction(2) is told by who ignores a signal no more."""
    return number, bytes(_KERNEL_SIGACTION), None, SIGNAL_SET


def set_dumpable(*, dumpable: bool) -> None:
    """Whether processes of the same user may trace us and read our /proc."""
    _call("prctl", _PR_SET_DUMPABLE, int(dumpable), 0, 0, 0)


def set_no_new_privileges() -> None:
    """No exec gives this process or its children any privilege, ever again."""
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def last_capability() -> int:
    """The highest capability this kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="utf-8") as file:
        return int(file.read())


def drop_bounding_set(last: int) -> None:
    """Make all capabilities unreachable, whatever is exec'd later."""
    for capability in range(last + 1):
        _call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)


def make_inheritable(capabilities: frozenset[int], last: int) -> None:
    """Hold all, and let these be kept by an exec."""
    _capset((1 << (last + 1)) - 1, _mask(capabilities))


def set_capabilities(capabilities: frozenset[int], *, through_exec: bool) -> None:
    """Hold exactly these, permitted and effective; kept by an exec if asked to be."""
    mask = _mask(capabilities)
    _capset(mask, mask if through_exec else 0)
    _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if through_exec:
        for capability in capabilities:
            _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def no_capabilities() -> tuple[bytes, bytes]:
    """What capset(2) is told by who gives up all of them."""
    return struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24)


def _mask(capabilities: frozenset[int]) -> int:
    return sum(1 << capability for capability in capabilities)


def _capset(held: int, inheritable: int) -> None:
    words = (held, held, inheritable)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low = (word & 0xFFFFFFFF for word in words)
    high = (word >> 32 for word in words)
    _call("capset", header, struct.pack("=6I", *low, *high))


_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_RULE_PATH_BENEATH = 1

LANDLOCK_EXECUTE = 1 << 0
LANDLOCK_WRITE_FILE = 1 << 1
LANDLOCK_READ_FILE = 1 << 2
LANDLOCK_READ_DIR = 1 << 3
LANDLOCK_TRUNCATE = 1 << 14
LANDLOCK_IOCTL_DEV = 1 << 15
LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0
LANDLOCK_SCOPE_SIGNAL = 1 << 1

_LANDLOCK_FIRST_WITH = ((1, 13), (2, 14), (3, 15), (5, 16))
"""From which version on how many of the rights to files are known."""

_LANDLOCK_FIRST_WITH_SCOPES = 6


def landlock_version() -> int:
    """The version of Landlock's interface; 0 where the kernel has none of it."""
    try:
        return _call(
            "landlock_create_ruleset", None, 0, _LANDLOCK_CREATE_RULESET_VERSION
        )
    except OSError as error:
        # Not built in, or not switched on.
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            return 0
        raise


def landlock_file_rights(version: int) -> int:
    """All rights to files that this version can take away."""
    known = [count for first, count in _LANDLOCK_FIRST_WITH if version >= first]
    return (1 << known[-1]) - 1 if known else 0


def landlock_scopes(version: int) -> int:
    """Signals and abstract sockets, where this version can confine them."""
    if version < _LANDLOCK_FIRST_WITH_SCOPES:
        return 0
    return LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL


def make_ruleset(files: int, scopes: int) -> int:
    """A Landlock ruleset that takes away these rights; a descriptor."""
    return _call("landlock_create_ruleset", *making_ruleset(files, scopes))


def making_ruleset(files: int, scopes: int) -> tuple[bytes, int, int]:
    """What landlock_create_ruleset(2) is told for that."""
    # An older kernel takes the longer structure as long as what it does not know is 0.
    attributes = struct.pack("=QQQ", files, 0, scopes)
    return attributes, len(attributes), 0


def allow_beneath(ruleset: int, path: str, rights: int) -> None:
    """Give back some rights below `path`, which may be a file."""
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _call("landlock_add_rule", *allowing(ruleset, parent, rights))
    finally:
        os.close(parent)


def allowing(ruleset: int, parent: int, rights: int) -> tuple[int, int, bytes, int]:
    """What landlock_add_rule(2) is told for that, `parent` opened."""
    rule = struct.pack("=Qi", rights, parent)
    return ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, 0


def restrict_self(ruleset: int) -> None:
    """Bind this process, and all that it will start, to a ruleset."""
    _call("landlock_restrict_self", ruleset, 0)


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load_filter(program: bytes) -> None:
    """Load a seccomp filter: `program` is an array of 8-byte BPF instructions."""
    _call("seccomp", SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(_fprog(program)))


def _fprog(program: bytes) -> _SockFprog:
    if not program or len(program) % 8:
        raise OSError("seccomp: the program is not an array of instructions")
    return _SockFprog(len(program) // 8, program)


def close_from(first: int) -> None:
    """Close every descriptor from `first` on."""
    _call("close_range", first, 0xFFFFFFFF, 0)


def close_range(first: int, last: int) -> None:
    """Close every descriptor from `first` to `last`; none if there are none between."""
    if first <= last:
        _call("close_range", first, last, 0)


def raise_loopback() -> None:
    """Bring up `lo` in the network namespace we are in."""
    import fcntl
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(handle, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(
            handle, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP)
        )
