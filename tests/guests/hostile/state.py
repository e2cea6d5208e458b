"""What an instance leaves for others to find: siblings of its function, and tenants."""

import errno
import fcntl
import os
import signal
import socket
import sys
import threading
import time

counter = 0
SHARED = "/usr/bin/env"


def attempt(step):
    try:
        step()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "ok"


def nothing(event):
    return "nothing"


def leave_marks(event):
    """In memory, environment, files, limits, signals, names: wherever one can."""
    global counter
    counter += 1
    os.environ["MARK"] = "1"
    sys.modules["mark"] = sys
    os.chdir("/tmp")
    os.umask(0)
    os.nice(5)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    for name in ("/tmp/mark", "/tmp/.hidden"):
        open(name, "w").close()
    held = socket.socket(socket.AF_UNIX)
    held.bind("\0mark")
    sys.modules["held"] = held
    return "left"


def find_marks(event):
    """What of that is there."""
    found = []
    if counter:
        found.append("memory")
    if "MARK" in os.environ or "mark" in sys.modules:
        found.append("environment")
    if os.getcwd() != "/var/task":
        found.append("folder")
    if os.nice(0):
        found.append("niceness")
    if signal.getsignal(signal.SIGUSR1) != signal.SIG_DFL:
        found.append("signals")
    if os.listdir("/tmp"):
        found.append("files")
    with socket.socket(socket.AF_UNIX) as mine:
        if attempt(lambda: mine.bind("\0mark")) != "ok":
            found.append("names")
    if os.umask(0o22) == 0:
        found.append("umask")
    return found


def lock_a_shared_file(event):
    """flock on a program that every jail sees: a signal to another tenant."""
    fd = os.open(SHARED, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    sys.modules["locked"] = fd
    return "locked"


def try_the_lock(event):
    """Whether somebody else holds it."""
    fd = os.open(SHARED, os.O_RDONLY)
    return attempt(lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))


def lock_a_range(event):
    """fcntl's locks, and those of open files, on a shared program."""
    import struct

    fd = os.open(SHARED, os.O_RDONLY)
    sys.modules["locked"] = fd
    lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 7, 1, 0)
    fcntl.fcntl(fd, 37, lock)
    return "locked"


def ask_for_locks(event):
    """F_OFD_GETLK tells what is in the way of a write lock."""
    import struct

    fd = os.open(SHARED, os.O_RDONLY)
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 7, 1, 0)
    kind = struct.unpack("hhqqi4x", fcntl.fcntl(fd, 36, lock))[0]
    return "free" if kind == fcntl.F_UNLCK else "held"


def lock_a_device(event):
    """flock on /dev/null, whose inode is the host's."""
    fd = os.open("/dev/null", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    sys.modules["locked"] = fd
    return "locked"


def try_the_device(event):
    """Whether somebody else holds it: another tenant, or a program of the host's."""
    fd = os.open("/dev/null", os.O_RDONLY)
    return attempt(lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))


def write_a_time(event):
    """A message of 30 bits in the time of a device that every tenant sees."""
    return attempt(lambda: os.utime("/dev/zero"))


def read_the_time(event):
    """The message."""
    return os.stat("/dev/zero").st_mtime_ns


def read_a_file(event):
    """Times of the last reading would tell who runs what."""
    with open(SHARED, "rb") as file:
        file.read(1)
    return os.stat(SHARED).st_atime_ns


def count_in_a_thread(event):
    """A thread that goes on after the answer; the processor time that it got."""
    if "spinning" not in sys.modules:
        sys.modules["spinning"] = threading
        threading.Thread(target=spin, daemon=True).start()
    return time.process_time()


def count_in_a_child(event):
    """The same in a child, which nobody waits for."""
    import mmap
    import struct

    if "shared" not in sys.modules:
        sys.modules["shared"] = shared = mmap.mmap(-1, 4096)
        if os.fork() == 0:
            while True:
                struct.pack_into("d", shared, 0, time.process_time())
    return struct.unpack_from("d", sys.modules["shared"])[0]


def let_timers_continue_me():
    """POSIX timers that send SIGCONT to this process, again and again."""
    import ctypes
    import struct

    libc = ctypes.CDLL(None)
    # Handled, or Linux 6.13 and later would leave the timer until somebody listens.
    signal.signal(signal.SIGCONT, lambda *_: None)
    # sigevent: a value, the signal, SIGEV_SIGNAL.
    event = ctypes.create_string_buffer(struct.pack("qii", 0, signal.SIGCONT, 0), 64)
    # Many, as one is lost whose signal is on its way when all are stopped.
    for milliseconds in range(20, 60, 5):
        timer = ctypes.c_void_p()
        assert libc.timer_create(time.CLOCK_MONOTONIC, event, ctypes.byref(timer)) == 0
        often = struct.pack("qqqq", 0, 20_000_000, 0, milliseconds * 1_000_000)
        assert libc.timer_settime(timer, 0, often, None) == 0


def continue_a_thread(event):
    """Its process is stopped, and goes on at once."""
    let_timers_continue_me()
    return count_in_a_thread(event)


def continue_a_child(event):
    """The same in a child, and the instance itself stands still."""
    import mmap
    import struct

    if "shared" not in sys.modules:
        sys.modules["shared"] = shared = mmap.mmap(-1, 4096)
        if os.fork() == 0:
            let_timers_continue_me()
            while True:
                struct.pack_into("d", shared, 0, time.process_time())
    return struct.unpack_from("d", sys.modules["shared"])[0]


def continue_and_fork(event):
    """A child that uses little itself, and has others run, each for a moment."""
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        let_timers_continue_me()
        while True:
            if os.fork() == 0:
                until = time.monotonic() + 0.3
                while time.monotonic() < until:
                    pass
                os._exit(0)
            signal.pause()
    return 0.0


def spin():
    while True:
        pass


if os.environ.get("DO") == "count_in_the_zygote":
    # A timer is neither a thread nor a descriptor, and clones do not inherit it.
    signal.signal(signal.SIGALRM, lambda *_: sum(range(20_000)))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)

if os.environ.get("DO") == "continue_the_zygote":
    signal.signal(signal.SIGALRM, lambda *_: sum(range(20_000)))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    let_timers_continue_me()

if os.environ.get("DO") == "fork_from_the_zygote":
    # Long after the import, at the first instance's start; and in the zygote's own pid
    # namespace, not in the cell's, so that no instance's end is its end.
    import ctypes

    libc = ctypes.CDLL(None)
    started = []

    def after_in_parent():
        if not started:
            started.append(1)
            own = os.open("/proc/self/ns/pid", os.O_RDONLY)
            libc.setns(own, 0x20000000)
            os.close(own)
            if os.fork() == 0:
                spin()

    os.register_at_fork(after_in_parent=after_in_parent)


def handler(event, context):
    return globals()[event["do"]](event)
