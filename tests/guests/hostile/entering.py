"""A zygote whose clones enter cells in a way of its own, or more of them than it says.

The variable HOW names the way; what the clone can do by it, the handler tries.
"""

import ctypes
import os
import select
import signal

from sandlot_sandbox import linux
from sandlot_sandbox.guest import entry, fork_loop, zygote
from sandlot_sandbox.guest.calls import Calls

libc = ctypes.CDLL(None, use_errno=True)
word = ctypes.c_uint64()
Entry = entry.Entry
honest_calls, honest_fork = Entry.calls, zygote._Zygote._fork
NAMESPACES, HOW_MANY = 3, 5
"""Of a fork's descriptors those come first; and these every cell has."""

ENDS_OF_PRIVILEGE = ("landlock_restrict_self", "capset", "prlimit64")
FILES = ("mem", "maps", "environ", "auxv", "syscall", "stack", "pagemap")
FOLDERS = ("fd", "map_files", "root", "cwd", "ns", "task")
TO_WRITE_TO = ("mem", "oom_score_adj", "timerslack_ns", "clear_refs", "uid_map")
PIDS = 64
"""Of which those of a small jail are."""

kept = []
"""Descriptors of earlier forks."""


# Ways into a cell.


def honest():
    """As it is meant."""


def leave_out(*names):
    """The table, without some of its calls."""

    def calls(self, cell, ours):
        made, short = honest_calls(self, cell, ours), Calls()
        keep = [i for i, name in enumerate(made._names) if name not in names]
        short._names = [made._names[i] for i in keep]
        short._rows = [made._rows[i] for i in keep]
        short._data, short._pointers = made._data, made._pointers
        return short

    Entry.calls = calls


def take_over(fork):
    """All forks."""
    fork_loop.is_possible = lambda: False
    zygote._Zygote._fork = fork


def privileged():
    """No ruleset; all capabilities that the zygote has."""
    leave_out(*ENDS_OF_PRIVILEGE)


def uncounted():
    """It joins no control group."""
    leave_out("write")


def outside():
    """It stays where the zygote is; but it has the instance's channel."""
    Entry.enter_pid_namespace = lambda *_: None
    Entry.before = lambda *_: Calls()
    leave_out("setns", "write", *ENDS_OF_PRIVILEGE)


def halfway():
    """In the cell's process namespace, and with the files of the zygote."""
    leave_out("setns", "landlock_restrict_self")


def keep(self, number, descriptors, **how):
    kept.append([os.dup(fd) for fd in descriptors])


def twice():
    """A second clone in the same cell, of which nobody is told."""

    def fork(self, number, descriptors, **how):
        honest_fork(self, number, descriptors, **how)
        self._entry.enter_pid_namespace(descriptors[0])
        if os.fork() == 0:
            while True:
                signal.pause()

    take_over(fork)


def in_anothers():
    """From the second fork on into the cell of the first, which is kept."""

    def fork(self, number, descriptors, **how):
        if not kept:
            keep(self, number, descriptors)
        first = kept[0]
        mixed = [
            *first[:NAMESPACES],
            *descriptors[NAMESPACES:HOW_MANY],
            *first[HOW_MANY:],
        ]
        honest_fork(self, number, mixed, **how)

    take_over(fork)


def never():
    """It keeps what came with a fork, and does nothing."""
    take_over(keep)


def hoarding():
    """Holds on to the cells of instances that are gone, by their namespaces."""

    def fork(self, number, descriptors, **how):
        kept.append([os.dup(fd) for fd in descriptors[:NAMESPACES]])
        honest_fork(self, number, descriptors, **how)

    take_over(fork)


# What it comes to.


def processes(event):
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def capabilities(event):
    """Which it has."""
    with open("/proc/self/status") as file:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    return int(lines["CapEff"], 16)


def reach(event):
    """What can be read, written or entered of every process but us and our zygote,
    process 1 among them."""
    done = []
    us = {os.getpid(), int(os.readlink("/proc/self")), os.getppid()}
    for pid in set(range(1, PIDS)) - us:
        steps = {
            **{name: lambda n=name: os.open(f"/proc/{pid}/{n}", 0) for name in FILES},
            **{name: lambda n=name: os.listdir(f"/proc/{pid}/{n}") for name in FOLDERS},
            **{
                f"write to {name}": lambda n=name: os.open(f"/proc/{pid}/{n}", 1)
                for name in TO_WRITE_TO
            },
            **{
                f"{kind}": lambda n=kind: os.open(f"/proc/{pid}/ns/{n}", 0)
                for kind in ("mnt", "pid", "net", "user", "time", "cgroup")
            },
            "exe": lambda: os.readlink(f"/proc/{pid}/exe"),
        }
        for name, step in steps.items():
            try:
                step()
            except OSError:
                continue
            done.append(f"{pid} {name}")
        done += [f"{pid} {name}" for name in called(pid)]
    return done


def called(pid):
    calls = {
        "seize": (101, 0x4206, pid, 0, 0),
        "attach": (101, 16, pid, 0, 0),
        "kcmp": (312, pid, os.getpid(), 0, 0, 0),
        "readv": (310, pid, 0, 0, 0, 0, 0),
        "writev": (311, pid, 0, 0, 0, 0, 0),
        "prlimit": (302, pid, 7, 0, 0),
        "migrate": (256, pid, 0, 0, 0),
        "move": (279, pid, 0, 0, 0, 0, 0),
        "affinity": (203, pid, 8, b"\1" * 8),
        "robust": (274, pid, ctypes.byref(word), ctypes.byref(word)),
    }
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        fd = -1
    for number in range(16):
        calls[f"descriptor {number}"] = (438, fd, number, 0)
    for kind in (0x20000, 0x40000000, 0x20000000):
        calls[f"setns {kind:x}"] = (308, fd, kind)
    done = [name for name, arguments in calls.items() if went_through(*arguments)]
    if fd != -1:
        os.close(fd)
    return done


def went_through(number, *arguments):
    return libc.syscall(number, *arguments) >= 0


def signals(event):
    """All of them to process 1, in every way; whether it is still there."""
    fd = os.pidfd_open(1)
    for number in range(1, 65):
        went_through(62, 1, number)
        went_through(424, fd, number, None, 0)
        went_through(234, 1, 1, number)
        went_through(129, 1, number, b"\0" * 128)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return "gone" if poll.poll(0) else "there"


def powers(event):
    """What the zygote's capabilities are good for, in a cell."""
    done = []
    for name, arguments in {
        "mount": (165, b"none", b"/tmp", b"tmpfs", 0, 0),
        "umount": (166, b"/proc", 2),
        "chroot": (161, b"/tmp"),
        "pivot": (155, b"/tmp", b"/tmp"),
        "unshare": (272, 0x20000),
        "unshare user": (272, 0x10000000),
        "hostname": (170, b"mine", 4),
        "open_tree": (428, -100, b"/", 1),
        "fsopen": (430, b"proc", 0),
        "mknod": (133, b"/tmp/d", 0o20666, 0x103),
        "bpf": (321, 0, b"\0" * 128, 128),
        "setuid": (105, 0),
    }.items():
        if went_through(*arguments):
            done.append(name)
    return done


def fill(event):
    """Its /tmp, as far as it goes."""
    size = 0
    try:
        with open("/tmp/filled", "wb", 0) as file:
            while True:
                size += file.write(b"f" * 1_048_576)
    except OSError:
        return size >> 20


def linger(event):
    signal.pause()


def hold(event):
    held = bytearray(event["mb"] << 20)
    held[::4096] = bytes(len(held) // 4096)
    handler.held = held
    return "held"


def handler(event, context):
    return globals()[event["do"]](event)


globals()[os.environ["HOW"]]()
