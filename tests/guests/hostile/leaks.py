"""What an instance can find of others and of the machine."""

import ctypes
import grp
import mmap
import os
import pwd
import socket
import struct
import sys
import threading

held = []


def marker():
    """Not in the code as it is, so that it is found only where it was put."""
    return bytes(reversed(b"-live-was-here-tenant-A-secret-"))


def nothing(event):
    return "nothing"


def read_the_environment(event):
    """Every variable that neither AWS nor the tenant has."""
    known = {"TZ", "_HANDLER", "AWS_LAMBDA_LOG_STREAM_NAME", "LC_CTYPE"}
    return sorted(set(os.environ) - known)


def read_the_first_environment(event):
    """/proc/self/environ: what the interpreter was started with."""
    with open("/proc/self/environ", "rb") as file:
        found = file.read().decode().split("\0")
    return sorted(entry.partition("=")[0] for entry in found if entry)


def read_the_arguments(event):
    """/proc/self/cmdline: no path of the host, no secret."""
    with open("/proc/self/cmdline", "rb") as file:
        found = file.read().decode()
    return [path for path in event["paths"] if path in found]


def read_names_of_the_machine(event):
    """By every call that tells a host's name."""
    return sorted({socket.gethostname(), os.uname().nodename, socket.getfqdn()})


def read_users_of_the_machine(event):
    """Accounts, groups, maps."""
    users = [user.pw_name for user in pwd.getpwall()]
    groups = [group.gr_name for group in grp.getgrall()]
    return [users, groups, os.getgroups() in ([], [65534])]


def read_the_id_map(event):
    """One user and no more is mapped, and it is not root inside."""
    with open("/proc/self/uid_map") as file:
        lines = [line.split() for line in file]
    return [[inner, count] for inner, _, count in lines]


def read_ids_of_the_machine(event):
    """What identifies a machine to those that come twice."""
    paths = "/etc/machine-id /var/lib/dbus/machine-id /proc/sys/kernel/random/boot_id"
    paths += " /sys/class/dmi/id/product_uuid /etc/hostid /sys/class/net/eth0/address"
    return [path for path in paths.split() if os.path.exists(path)]


def read_its_cgroup(event):
    """Names in there could tell of the host's hierarchy, and of other jails."""
    with open("/proc/self/cgroup") as file:
        return sorted({line.rstrip("\n").split(":", 2)[2] for line in file})


def list_processes(event):
    """Nobody but itself: the cell's first process is hidden."""
    own = os.getpid()
    return sorted(int(n) for n in os.listdir("/proc") if n.isdigit() and int(n) != own)


def list_modules_of_the_engine(event):
    """Nothing of the engine's or the launcher's was ever imported in here."""
    names = (
        "sandlot_engine",
        "sandlot_sandbox.host",
        "sandlot_sandbox.launcher",
        "grpc",
    )
    found = [name for name in sys.modules if name.startswith(names)]
    for name in names:
        try:
            __import__(name)
        except ImportError:
            continue
        found.append(name)
    return found


def plant_a_secret(event):
    """Fill memory, pipes, sockets and files with a mark, for the next tenant to find."""
    held.append(marker() * (8 << 20 >> 5))
    shared = mmap.mmap(-1, 8 << 20)
    shared.write(held[0][: 8 << 20])
    held.append(shared)
    with open("/tmp/secret", "wb") as file:
        file.write(held[0][: 4 << 20])
    read, write = os.pipe()
    os.write(write, held[0][:65536])
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.send(held[0][:65536])
    held.extend((read, write, ours, theirs))
    return "planted"


def search_fresh_memory(event):
    """New pages of every kind must be empty: mappings, brk, stacks, files, buffers."""
    size = 32 << 20
    found = []
    private = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if (
        any(memoryview(private)[i] for i in range(0, size, 512))
        or private.find(marker()) >= 0
    ):
        found.append("private")
    shared = mmap.mmap(-1, size)
    if shared.find(marker()) >= 0:
        found.append("shared")
    libc = ctypes.CDLL(None)
    libc.sbrk.restype = ctypes.c_void_p
    libc.sbrk.argtypes = [ctypes.c_long]
    start = libc.sbrk(4 << 20)
    if marker() in ctypes.string_at(start, 4 << 20):
        found.append("brk")
    with open("/tmp/empty", "w+b") as file:
        os.posix_fallocate(file.fileno(), 0, 8 << 20)
        if any(file.read(8 << 20)):
            found.append("file")
    try:
        fd = os.memfd_create("empty")
    except OSError:
        return found  # refused where nothing would hold it to a limit
    os.ftruncate(fd, 8 << 20)
    if any(os.read(fd, 8 << 20)):
        found.append("memfd")
    return found


def search_its_own_memory(event):
    """Every page that is mapped, from the interpreter's start on."""
    target = marker()
    found = []
    with (
        open("/proc/self/maps") as maps,
        open("/proc/self/mem", "rb", buffering=0) as memory,
    ):
        regions = [line.split() for line in maps]
        for fields in regions:
            start, end = (int(part, 16) for part in fields[0].split("-"))
            if not fields[1].startswith("r") or fields[-1].startswith("[v"):
                continue
            try:
                memory.seek(start)
                data = memory.read(min(end - start, 64 << 20))
            except (OSError, OverflowError):
                continue
            # `target` itself lies somewhere, once or twice; what was planted, often.
            if data is not None and data.count(target) > 8:
                found.append(fields[-1])
    return found


def read_unwritten_stack(event):
    """A new thread's stack may be memory that somebody had before."""
    found = []

    def look():
        local = ctypes.create_string_buffer(64 << 10)
        if marker() in local.raw:
            found.append("stack")

    threading.stack_size(1 << 20)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found


def tell_what_must_differ(event):
    """Addresses and hash seed, which two tenants must not have in common; and random
    numbers, which two instances must not."""
    libc = ctypes.CDLL(None)
    address = ctypes.cast(libc.getpid, ctypes.c_void_p).value
    import random

    return {
        "address": address,
        "stack": id(event) >> 12,
        "hash": hash("sandlot"),
        "random": random.random(),
        "urandom": os.urandom(8).hex(),
    }


def handler(event, context):
    return globals()[event["do"]](event)
