"""System calls that have let others out of jails. A program returns what stopped it:
the names of the errors, or "ok" for a step that went through."""

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)

NEW_NAMESPACES = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
KINDS = {"mnt": 0x00020000, "pid": 0x20000000, "net": 0x40000000}
"""As which a zygote may enter some."""

SIGCHLD = 17
buffer = ctypes.create_string_buffer(4096)
here = ctypes.addressof(buffer)


def call(number, *arguments):
    """A raw system call: "ok", or the error's name."""
    ctypes.set_errno(0)
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    got = libc.syscall(ctypes.c_long(number), *values)
    if got >= 0:
        return "ok"
    return errno.errorcode[ctypes.get_errno()]


def attempt(step):
    try:
        step()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "ok"


def each(answers):
    return sorted(set(answers))


def in_child(step):
    """How a child that did it ended: its exit status, or minus a signal."""
    pid = os.fork()
    if pid == 0:
        os._exit(step() or 0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_machine_code(code):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return ctypes.CFUNCTYPE(ctypes.c_long)(address)()


def nothing(event):
    return "nothing"


# Namespaces and mounts.


def unshare_each_namespace(event):
    """unshare(2) into every kind of namespace, alone and with a user namespace."""
    user = NEW_NAMESPACES["user"]
    kinds = [*NEW_NAMESPACES.values(), *(user | k for k in NEW_NAMESPACES.values())]
    return each(call(272, kind) for kind in kinds)


def clone_into_each_namespace(event):
    """clone(2) with CLONE_NEW*, which makes the child root of a user namespace."""
    return each(
        call(56, kind | SIGCHLD, 0, 0, 0, 0) for kind in NEW_NAMESPACES.values()
    )


def clone_with_high_bits(event):
    """The same with bits above the 32 that the kernel reads."""
    high = 0x7FFF << 32
    return each(
        call(56, high | kind | SIGCHLD, 0, 0, 0, 0) for kind in NEW_NAMESPACES.values()
    )


def clone3_with_namespaces(event):
    """clone3(2): its flags are in memory, where a filter cannot look."""
    arguments = struct.pack(
        "<11Q", NEW_NAMESPACES["user"], *([0] * 3), SIGCHLD, *([0] * 6)
    )
    ctypes.memmove(here, arguments, len(arguments))
    return call(435, here, len(arguments))


def clone3_into_a_cgroup(event):
    """CLONE_INTO_CGROUP, to leave the cgroup that holds the limits."""
    fd = os.open("/", os.O_RDONLY)
    arguments = struct.pack("<11Q", 1 << 33, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, fd)
    ctypes.memmove(here, arguments, len(arguments))
    return call(435, here, len(arguments))


def enter_the_namespaces_of_process_1(event):
    """setns(2) with each of /proc/1/ns, and with our own, as of any kind or its own."""
    answers = []
    for pid in ("1", "self"):
        for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"):
            try:
                fd = os.open("/proc/%s/ns/%s" % (pid, kind), os.O_RDONLY)
            except OSError as error:
                answers.append(errno.errorcode[error.errno])
                continue
            answers += [call(308, fd, flags) for flags in (0, KINDS.get(kind, 0))]
            os.close(fd)
    return each(answers)


def enter_namespaces_by_a_pidfd(event):
    """setns(2) takes a pidfd and all kinds at once."""
    fd = os.pidfd_open(1) if hasattr(os, "pidfd_open") else 0
    return each(call(308, fd, kind) for kind in NEW_NAMESPACES.values())


def mount_what_there_is(event):
    """mount(2): a proc, a tmpfs, an overlay, a bind, a cgroup hierarchy, a remount."""
    for name in ("p", "low", "up", "work"):
        os.makedirs("/tmp/" + name, exist_ok=True)
    kinds = (b"proc", b"tmpfs", b"overlay", b"cgroup2", b"cgroup", b"sysfs", b"fuse")
    answers = [
        call(165, b"none", b"/tmp/p", kind, 0, b"lowerdir=/tmp/low") for kind in kinds
    ]
    answers += [
        call(165, b"/proc/1/root", b"/tmp/p", None, 4096, None),
        call(165, b"none", b"/", None, 32 | 4096, None),
        call(165, b"none", b"/tmp", None, 1 << 20, None),
        call(165, b"none", b"/var/task", None, 8192, None),
    ]
    return each(answers)


def mount_by_the_new_calls(event):
    """fsopen, fsconfig, fsmount, fspick, open_tree, move_mount, mount_setattr."""
    return each(
        [
            call(430, b"proc", 0),
            call(431, 0, 6, 0, 0, 0),
            call(432, 0, 0, 0),
            call(433, -100, b"/", 0),
            call(428, -100, b"/", 1),
            call(429, -100, b"/tmp", -100, b"/var/task", 0),
            call(442, -100, b"/", 0, here, 32),
        ]
    )


def unmount_what_covers(event):
    """umount2(2) with MNT_DETACH of all that was put over something else."""
    paths = (b"/proc", b"/tmp", b"/var/task", b"/var/runtime", b"/usr", b"/")
    return each(call(166, path, 2) for path in paths)


def leave_by_chroot(event):
    """The classic: chroot below, then walk up from a folder that is held open."""
    os.makedirs("/tmp/jail", exist_ok=True)
    return each([call(161, b"/tmp/jail"), call(155, b"/tmp", b"/tmp/jail")])


# Kernel subsystems.


def load_bpf(event):
    """bpf(2): a program, a map, an object by its number, a pinned one."""
    return each(call(321, command, here, 128) for command in (0, 5, 7, 11, 13, 14, 28))


def use_keyrings(event):
    """Keyrings belong to a user id, and rootless all tenants have the same."""
    return each(
        [
            call(248, b"user", b"sandlot", b"secret", 6, -4),
            call(249, b"user", b"sandlot", None, -4),
            *(call(250, command, -4, 0, 0, 0) for command in (0, 1, 6, 10, 11, 22)),
        ]
    )


def use_io_uring(event):
    """io_uring does sockets and files past every filter."""
    return each(
        [call(425, 4, here), call(426, 0, 0, 0, 0, 0, 0), call(427, 0, 0, 0, 0)]
    )


def use_kernel_aio(event):
    """The older asynchronous calls, with bugs of their own."""
    return each([call(206, 1, here), call(209, 0, 0, 0), call(333, 0, 0, 0, 0, 0, 0)])


def use_userfaultfd(event):
    """Page faults on demand: what makes kernel races easy to win."""
    return each([call(323, 0), call(323, 1), attempt(lambda: open("/dev/userfaultfd"))])


def use_perf(event):
    """perf_event_open(2), for this process, a processor and a tracepoint."""
    struct.pack_into("<II", buffer, 0, 1, 112)
    return each(call(298, here, pid, cpu, -1, 0) for pid, cpu in ((0, -1), (-1, 0)))


def load_modules(event):
    """init_module, finit_module, delete_module."""
    fd = os.open("/dev/null", os.O_RDONLY)
    return each([call(175, here, 16, b""), call(313, fd, b"", 0), call(176, b"nf", 0)])


def administer_the_machine(event):
    """reboot, kexec, swap, accounting, quotas, the log, the clock, names, ports."""
    return each(
        [
            call(169, 0xFEE1DEAD, 672274793, 0x4321FEDC, 0),
            call(246, 0, 0, here, 0),
            call(320, 0, 0, 0, here, 0),
            call(167, b"/tmp/swap", 0),
            call(168, b"/tmp/swap"),
            call(163, b"/tmp/acct"),
            call(179, 0, 0, 0, here),
            call(103, 3, here, 4096),
            call(103, 5, 0, 0),
            call(164, here, 0),
            call(227, 0, here),
            call(159, here),
            call(305, 0, here),
            call(170, b"mine", 4),
            call(171, b"mine", 4),
            call(172, 3),
            call(173, 0x60, 1, 1),
            call(154, 1, here, 16),
            call(153),
        ]
    )


def use_handles(event):
    """ "Shocker": a file by its inode's number instead of its path."""
    struct.pack_into("<IiQ", buffer, 0, 8, 1, 2)
    fd = os.open("/", os.O_RDONLY)
    return each([call(304, fd, here, 0), call(303, fd, b"etc", here, here + 2048, 0)])


def use_system_v_and_message_queues(event):
    """Shared memory, semaphores and queues by number, which outlive a process."""
    return each(
        [call(29, 1, 4096, 0o1666), call(64, 1, 1, 0o1666), call(68, 1, 0o1666)]
        + [call(240, b"mine", 0o102, 0o666, 0)]
    )


def watch_shared_files(event):
    """inotify and fanotify on libraries that all jails share: who runs what, when."""
    return each(
        [call(253), call(294, 0), call(254, 0, b"/usr/lib", 0xFFF), call(300, 0, 0)]
        + [call(301, 0, 1, 0x20, -100, b"/usr/lib")]
    )


def move_pages_of_others(event):
    """The NUMA calls take a process's number."""
    return each(
        [call(279, 1, 0, 0, 0, 0, 0), call(256, 1, 8, here, here)]
        + [call(237, 0, 4096, 0, here, 8, 0), call(238, 0, here, 8)]
    )


def use_memory_that_hides(event):
    """memfd_secret, shadow stacks, process_mrelease, statmount: newer than the list."""
    return each(call(number, 0, 0, 0) for number in (447, 448, 453, 457, 458))


# Other processes, and one's own way of running.


def trace_a_child(event):
    """ptrace(2) in every direction: attach, seize, be traced."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if call(101, 0, 0, 0, 0) == "EPERM" else 1)
    answers = [call(101, request, pid, 0, 0) for request in (16, 0x4206)]
    traced = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return [*each(answers), traced]


def read_memory_by_its_calls(event):
    """process_vm_readv and _writev, kcmp, pidfd_getfd, process_madvise: of process 1."""
    fd = os.pidfd_open(1) if hasattr(os, "pidfd_open") else 0
    return each(
        [call(310, 1, here, 1, here, 1, 0), call(311, 1, here, 1, here, 1, 0)]
        + [call(312, 1, os.getpid(), 0, 0, 0), call(438, fd, 0, 0)]
        + [call(440, fd, here, 1, 4, 0)]
    )


def enter_by_i386(event):
    """int 0x80: the numbers of another machine, which mean other calls."""
    # mov eax, 20; int 0x80; ret
    return in_child(lambda: run_machine_code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"))


def enter_by_x32(event):
    """The x32 bit in a call's number."""
    # mov eax, 0x40000027; syscall; ret
    return in_child(lambda: run_machine_code(b"\xb8\x27\x00\x00\x40\x0f\x05\xc3"))


def enter_by_sysenter(event):
    """The other old way in, of 32-bit programs."""
    # mov eax, 20; sysenter; ret
    return in_child(lambda: run_machine_code(b"\xb8\x14\x00\x00\x00\x0f\x34\xc3")) < 0


def run_a_32_bit_program(event):
    """A 32-bit executable made on the spot: it would exit with status 7."""
    base = 0x08048000
    code = b"\xbb\x07\x00\x00\x00\xb8\x01\x00\x00\x00\xcd\x80"
    header = b"\x7fELF\x01\x01\x01" + bytes(9)
    header += struct.pack(
        "<HHIIIIIHHHHHH", 2, 3, 1, base + 84, 52, 0, 0, 52, 32, 1, 0, 0, 0
    )
    header += struct.pack(
        "<8I", 1, 0, base, base, 84 + len(code), 84 + len(code), 5, 4096
    )
    with open("/tmp/small", "wb") as file:
        file.write(header + code)
    os.chmod("/tmp/small", 0o755)

    def step():
        try:
            os.execv("/tmp/small", ["/tmp/small"])
        except OSError:
            return 99  # this kernel has no 32-bit programs

    return in_child(step)


def change_personality(event):
    """No address randomisation, executable data, another uname."""
    values = (0x0040000, 0x0400000, 0x0008, 0x0100000, 0x0020000, 0, 1 << 32)
    return each(call(135, value) for value in values)


def ask_prctl_for_more(event):
    """Dumpability, seccomp, capabilities, memory layout, speculation, tagged calls."""
    options = {
        4: 1,
        8: 1,
        22: 2,
        24: 0,
        28: 0,
        35: 1,
        47: 2,
        53: 0,
        57: 1,
        59: 1,
        62: 1,
    }
    answers = [call(157, option, value, 0, 0, 0) for option, value in options.items()]
    answers += [call(157, (1 << 32) | 4, 1, 0, 0, 0)]
    return each(answers)


def loosen_the_filter(event):
    """seccomp(2): strict mode, a listener that answers calls itself, a filter."""
    return each(
        [call(317, 0, 0, 0), call(317, 1, 8, here), call(317, 1, 0, here)]
        + [call(317, 2, 0, here), call(317, 3, 0, here)]
    )


def become_somebody_else(event):
    """Every call that changes user, group, capabilities."""
    one = (105, 106, 122, 123)
    answers = [call(number, 0) for number in one]
    answers += [call(number, 0, 0) for number in (113, 114, 116, 126)]
    answers += [call(number, 0, 0, 0) for number in (117, 119)]
    return each(answers)


def run_before_others(event):
    """Real-time scheduling, higher priority, I/O priority, deadlines."""
    struct.pack_into("<I", buffer, 0, 99)
    return each(
        [call(144, 0, 1, here), call(142, 0, here), call(314, 0, here, 0)]
        + [call(251, 1, 0, 1 << 13), attempt(lambda: os.setpriority(0, 0, -20))]
    )


def type_into_a_terminal(event):
    """TIOCSTI and TIOCLINUX on each descriptor, with high bits, too."""
    requests = (0x5412, 0x541C, (1 << 32) | 0x5412, (0xFFFF << 32) | 0x541C)
    return each(call(16, fd, request, here) for fd in range(4) for request in requests)


def use_file_system_ioctls(event):
    """Flags, freezing, cloning, projects, namespaces' owners, loop devices."""
    fd = os.open("/var/task", os.O_RDONLY)
    requests = (0x40086602, 0xC0045877, 0x40049409, 0x401C5820, 0xB701, 0xB702, 0x4C82)
    return each(call(16, fd, request, here) for request in requests)


def hold_back_others_files(event):
    """Leases and directory notification on a shared library; larger pipes."""
    fd = os.open("/usr/bin/env", os.O_RDONLY)
    read, write = os.pipe()
    return each(
        [call(72, fd, 1024, 0), call(72, fd, 1026, 0x8000001F), call(72, fd, 10, 9)]
        + [call(72, write, 1031, 1 << 20), call(72, fd, (1 << 32) | 1024, 0)]
    )


def call_what_does_not_exist(event):
    """Numbers beyond every table, and in its gaps."""
    numbers = [400, 423, 480, 511, 512, 547, 600, 999, 1 << 20, 0x3FFFFFFF]
    return each(call(number) for number in numbers)


def call_a_negative_number(event):
    """-1 has the bit that marks x32 calls, and all others."""
    return in_child(lambda: call(-1) == "ok")


def call_from_outside_a_probe(event):
    """uretprobe(2), which kernels let through every filter: a trap for who is none."""
    return in_child(lambda: call(335) == "ok")


def handler(event, context):
    return globals()[event["do"]](event)
