"""A tenant's function that tries what no tenant may do, and tells what came of it.

Each function below is one attempt of `sandlot doctor --prove`; the event names it, and
says where on this machine there is something to find. An answer has what was tried, and
how each try ended: `GOT_THROUGH`, or the words of whoever stopped it.
"""

# Files go by their plain names, as in anybody's exploit, and /tmp is our own.
# ruff: noqa: PTH108, PTH118, PTH123, PTH208, S108

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

GOT_THROUGH = "got through"

Event = dict[str, Any]
Tries = dict[str, str]

MIB = 1 << 20
BLOCK = b"x" * (8 * MIB)
MUCH_MB = 512
"""Four times what the function may have."""

HOLD_S = 1.5
"""How long memory is held, so that whoever watches has the time to see it."""

MANY_PROCESSES = 8192
MUCH_OUTPUT_MB = 16


def handler(event: Event, context: Any) -> Any:
    event["request_id"] = context.aws_request_id
    return globals()[event["attempt"]](event)


def outcome(step: Callable[..., object], *arguments: object) -> str:
    """How a try ended: `EPERM` and the like."""
    try:
        step(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return GOT_THROUGH


# --- files ---------------------------------------------------------------------


def read_files_of_the_host(event: Event) -> Tries:
    """tries to read files of the machine and of the engine"""
    paths = ["/etc/shadow", "/root", "/home", "/sys", "/dev/mem", "/proc/kcore"]
    paths += ["/proc/1/environ", "/proc/1/root"]
    secrets = {**event["secret_files"], **{path: path for path in paths}}
    return {name: outcome(_open_or_list, path) for name, path in secrets.items()}


def read_another_tenant(event: Event) -> Tries:
    """tries to read another tenant's code and environment"""
    secret = event["other_secret"].encode()
    others = [pid for pid in os.listdir("/proc") if pid.isdigit()]
    others.remove(str(os.getpid()))
    has_seen = any(secret in _read(f"/proc/{pid}/environ") for pid in others)
    folders = ("/var/task", "/tmp", "/opt")
    files = [name for top in folders for _, _, names in os.walk(top) for name in names]
    return {
        "its folder": outcome(os.listdir, event["code"]),
        "its files": GOT_THROUGH if "neighbour.py" in files else "nowhere",
        "its environment": GOT_THROUGH if has_seen else "in no process",
    }


def write_outside_tmp(event: Event) -> Tries:
    """tries to make files outside its own /tmp"""
    folders = ["/", "/etc", "/usr", "/dev", "/proc", "/opt", "/var", "/var/task"]
    folders += ["/var/lang", "/var/runtime", "/dev/shm"]
    tries = {folder: outcome(_make_file, folder) for folder in folders}
    return {**tries, "the engine's": outcome(_make_file, event["folder"])}


def fill_tmp(event: Event) -> Tries:
    """tries to fill /tmp beyond its size"""
    written = 0
    ended = GOT_THROUGH
    try:
        while written <= event["tmp_mb"] * MIB:
            with open(f"/tmp/{written}", "wb", buffering=0) as file:
                written += file.write(BLOCK)
    except OSError as error:
        ended = errno.errorcode.get(error.errno or 0, str(error))
    for name in os.listdir("/tmp"):
        os.unlink(f"/tmp/{name}")
    return {f"after {written // MIB} MB": ended}


def _open_or_list(path: str) -> None:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except IsADirectoryError:
        os.listdir(path)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MIB)
    except OSError:
        return b""


def _make_file(folder: str) -> None:
    path = os.path.join(folder, "sandlot-was-here")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    os.unlink(path)


# --- processes -------------------------------------------------------------------


def see_processes(event: Event) -> Tries:
    """tries to see processes of others"""
    pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    others = pids - {os.getpid()}
    return {
        "in /proc": GOT_THROUGH if others else "itself alone",
        "one of the machine": outcome(os.stat, f"/proc/{event['pid']}"),
    }


def signal_processes(event: Event) -> Tries:
    """tries to kill a process of the machine, and all others"""
    return {
        "one": outcome(os.kill, event["pid"], signal.SIGKILL),
        # Only whether it could: if it can, that is not the way to show it.
        "all others": outcome(os.kill, -1, 0),
        "the first": outcome(open, "/proc/1/mem", "rb"),
    }


def fork_without_end(_: Event) -> Tries:
    """tries to fork without end"""
    children: list[int] = []
    ended = GOT_THROUGH
    try:
        while len(children) < MANY_PROCESSES:
            pid = os.fork()
            if pid == 0:
                signal.pause()
                os._exit(0)
            children.append(pid)
    except OSError as error:
        ended = errno.errorcode.get(error.errno or 0, str(error))
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return {f"after {len(children)}": ended}


def leave_daemons(event: Event) -> int:
    """tries to leave daemons behind that outlive it"""
    ready, report = os.pipe()
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in range(1, 32):
                    if number not in (signal.SIGKILL, signal.SIGSTOP):
                        signal.signal(number, signal.SIG_IGN)
                _take_name(event["mark"])
                os.write(report, b"x")
                while True:
                    time.sleep(60)
            os._exit(0)
        os.wait()
    return len(os.read(ready, 1) + os.read(ready, 1))


def end_at_once(_: Event) -> None:
    os._exit(0)


def work_while_idle(_: Event) -> None:
    """tries to work on between two invocations"""
    ticks.clear()
    threading.Thread(target=_tick, daemon=True).start()


def tell_what_was_done(event: Event) -> dict[str, int]:
    # The clock is the machine's, for whoever asks as for us.
    return {
        "before": sum(tick < event["since"] for tick in ticks),
        "while idle": sum(event["since"] < tick < event["until"] for tick in ticks),
    }


ticks: list[float] = []


def _tick() -> None:
    while len(ticks) < 1 << 20:
        ticks.append(time.monotonic())
        time.sleep(0.001)


def _take_name(name: str) -> None:
    """For /proc/PID/comm."""
    if libc.prctl(15, name.encode()):
        raise OSError(ctypes.get_errno(), "prctl")


# --- the network -------------------------------------------------------------------


def reach_services_of_the_host(event: Event) -> Tries:
    """tries to reach the engine and a server on loopback"""
    services = event["services"].items()
    tries = {service: outcome(_connect, port) for service, port in services}
    return {**tries, "a unix socket": outcome(_connect_unix, event["abstract"])}


def reach_other_machines(_: Event) -> Tries:
    """tries to reach the world and private networks"""
    # No packet is sent by connecting a datagram socket: there is a way, or not.
    addresses = ("192.0.2.1", "10.0.0.1", "169.254.169.254", "2001:db8::1")
    return {address: outcome(_route, address) for address in addresses}


def reach_beyond_egress(event: Event) -> Tries:
    """tries to reach metadata, private networks and loopback by egress"""
    addresses = ("169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.0.1")
    tries = {address: outcome(_route, address) for address in addresses}
    services = event["services"].items()
    on_loopback = {service: outcome(_connect, port) for service, port in services}
    # What it may have: without it nothing above would say anything.
    return {"the world": outcome(_route, "1.1.1.1"), **tries, **on_loopback}


def open_other_sockets(_: Event) -> Tries:
    """tries to open raw, packet and netlink sockets"""
    kinds = {
        "raw": (2, 3, 1),
        "packet": (17, 3, 0),
        "netlink": (16, 3, 0),
        "nftables": (16, 3, 12),
        "vsock": (40, 1, 0),
        "alg": (38, 5, 0),
    }
    return {name: outcome(socket.socket, *kind) for name, kind in kinds.items()}


def _connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=2).close()


def _connect_unix(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect("\0" + name)


def _route(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as channel:
        channel.connect((address, 53))


# --- the kernel --------------------------------------------------------------------

libc = ctypes.CDLL(None, use_errno=True)

MACHINES = ("x86_64", "aarch64")
NUMBERS = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "setuid": (105, 146),
    "capset": (126, 91),
    "mknodat": (259, 33),
    "init_module": (175, 105),
    "syslog": (103, 116),
    "io_uring_setup": (425, 425),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
}
"""Of the calls, on each of `MACHINES`."""

NEW_USER, NEW_MOUNTS, NEW_NETWORK = 0x10000000, 0x00020000, 0x40000000
AT_FDCWD = -100
PROCESS_KEYRING = -2


def mount_file_systems(_: Event) -> Tries:
    """tries to mount, and change the root"""
    return {
        "mount": _call("mount", b"none", b"/tmp", b"tmpfs", 0, 0),
        "umount2": _call("umount2", b"/proc", 2),
        "open_tree": _call("open_tree", AT_FDCWD, b"/usr", 1),
        "fsopen": _call("fsopen", b"tmpfs", 0),
        "pivot_root": _call("pivot_root", b"/tmp", b"/tmp"),
        "chroot": _call("chroot", b"/tmp"),
    }


def make_namespaces(_: Event) -> Tries:
    """tries to make namespaces, in which it would be root"""
    return {
        "user": _in_a_child(lambda: _call("unshare", NEW_USER)),
        "mount": _in_a_child(lambda: _call("unshare", NEW_MOUNTS)),
        "network": _in_a_child(lambda: _call("unshare", NEW_USER | NEW_NETWORK)),
    }


def trace_processes(_: Event) -> Tries:
    """tries to trace processes and read their memory"""
    return {
        "ptrace itself": _in_a_child(lambda: _call("ptrace", 0, 0, 0, 0)),
        "ptrace 1": _call("ptrace", 0x4206, 1, 0, 0),
        "process_vm_readv": _call("process_vm_readv", os.getppid() or 1, 0, 0, 0, 0, 0),
    }


def load_kernel_programs(_: Event) -> Tries:
    """tries to load programs into the kernel, and watch it"""
    perf = struct.pack("IIQQ", 1, 64, 0, 0) + bytes(40)
    array = struct.pack("IIII", 2, 4, 4, 1) + bytes(112)
    return {
        "bpf": _call("bpf", 0, array, len(array)),
        "perf_event_open": _call("perf_event_open", perf, 0, -1, -1, 0),
        "userfaultfd": _call("userfaultfd", 1),
        "init_module": _call("init_module", b"", 0, b""),
        "syslog": _call("syslog", 10, 0, 0),
    }


def use_the_kernels_keys(_: Event) -> Tries:
    """tries to use the kernel's keyrings, which all users share"""
    new_key = (b"user", b"sandlot", b"x", 1, PROCESS_KEYRING)
    return {
        "keyctl": _call("keyctl", 0, PROCESS_KEYRING, 1),
        "add_key": _call("add_key", *new_key),
    }


def use_io_uring(_: Event) -> Tries:
    """tries to have calls made by io_uring, past the filter"""
    return {"io_uring_setup": _call("io_uring_setup", 1, bytes(120))}


def gain_privileges(_: Event) -> Tries:
    """tries to become root, and make a device"""
    header = struct.pack("Ii", 0x20080522, 0)
    everything = struct.pack("6I", *[0xFFFFFFFF] * 6)
    device = 0o020000 | 0o666, os.makedev(1, 1)
    return {
        "setuid": _in_a_child(lambda: _call("setuid", 0)),
        "capset": _call("capset", header, everything),
        "mknod": _call("mknodat", AT_FDCWD, b"/tmp/memory", *device),
    }


def use_foreign_call_numbers(_: Event) -> Tries:
    """tries to make calls by the numbers of 32-bit programs"""
    if platform.machine() != "x86_64":
        return {"int 0x80": "not on this machine"}
    return {"int 0x80": _in_a_child(_call_by_interrupt)}


def _call(name: str, *arguments: Any) -> str:
    if platform.machine() not in MACHINES:
        return "not tried on this machine"
    number = NUMBERS[name][MACHINES.index(platform.machine())]
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), *values) >= 0:
        return GOT_THROUGH
    return errno.errorcode.get(ctypes.get_errno(), "refused")


def _in_a_child(step: Callable[[], str]) -> str:
    """What it would change is changed for nobody else."""
    ready, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(report, step().encode())
        finally:
            os._exit(0)
    os.close(report)
    said = os.read(ready, 100)
    os.close(ready)
    killed_by = os.WTERMSIG(os.waitpid(pid, 0)[1])
    return signal.Signals(killed_by).name if killed_by else said.decode() or "nothing"


def _call_by_interrupt() -> str:
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"  # mov eax, getpid; int 0x80; ret
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    ctypes.CFUNCTYPE(ctypes.c_long)(start)()
    return GOT_THROUGH


# --- memory ------------------------------------------------------------------------


def take_private_memory(event: Event) -> Tries:
    """tries to take too much memory, private"""
    return _hoard(event, lambda: bytearray(BLOCK))


def take_shared_memory(event: Event) -> Tries:
    """tries to take too much memory, shared"""

    def take() -> mmap.mmap:
        area = mmap.mmap(-1, len(BLOCK))
        area.write(BLOCK)
        return area

    return _hoard(event, take)


def take_memory_files(event: Event) -> Tries:
    """tries to take too much memory, in nameless files"""

    def take() -> int:
        file = os.memfd_create("hoard")
        os.write(file, BLOCK)
        return file

    return _hoard(event, take)


def take_memory_in_children(event: Event) -> Tries:
    """tries to take too much memory, some in each child"""

    def take() -> None:
        ready, report = os.pipe()
        if os.fork() == 0:
            block = bytearray(BLOCK)
            os.write(report, block[:1])
            time.sleep(60)
            os._exit(0)
        os.close(report)
        has_it = os.read(ready, 1)
        os.close(ready)
        if not has_it:
            raise MemoryError

    return _hoard(event, take)


def _hoard(event: Event, take: Callable[[], object]) -> Tries:
    held: list[object] = []
    ended = ""
    try:
        while len(held) * len(BLOCK) < MUCH_MB * MIB:
            held.append(take())
    except (OSError, MemoryError) as error:
        number = getattr(error, "errno", None)
        ended = errno.errorcode.get(number or 0, type(error).__name__)
    held_mb = len(held) * len(BLOCK) // MIB
    if held_mb <= event["memory_mb"]:
        return {f"after {held_mb} MB": ended}
    time.sleep(HOLD_S)
    return {f"{held_mb} of {event['memory_mb']} MB": GOT_THROUGH}


# --- output and answers --------------------------------------------------------------


def print_without_end(_: Event) -> int:
    """tries to fill the log with endless output"""
    line = b"x" * 1023 + b"\n"
    for _each in range(MUCH_OUTPUT_MB):
        sys.stdout.buffer.write(line * 1024)
    sys.stdout.flush()
    return MUCH_OUTPUT_MB


def forge_a_report(event: Event) -> None:
    """tries to forge the line that says what it costs"""
    id_ = event["request_id"]
    report = f"REPORT RequestId: {id_}\tDuration: 0.01 ms\tBilled Duration: 0 ms\t"
    for forged in (f"END RequestId: {id_}", report):
        print(forged, flush=True)  # noqa: T201 - that is the attempt
        os.write(2, b"\n" + forged.encode() + b"\r\n")


def answer_with_noise(_: Event) -> None:
    """tries to confuse the engine with noise"""
    os.write(3, os.urandom(65_536))
    time.sleep(60)


def answer_too_much(_: Event) -> str:
    """tries to answer more than the engine takes"""
    return "x" * (7 * MIB)


def go_on_beyond_the_timeout(_: Event) -> None:
    """tries to go on after its timeout, deaf to signals"""
    for number in range(1, 32):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(60)
