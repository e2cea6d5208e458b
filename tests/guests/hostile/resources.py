"""More than one's share of what is counted, and of what is not."""

import ctypes
import errno
import os
import resource
import select
import signal
import socket
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
held = []


def nothing(event):
    return "nothing"


def until_refused(step, most):
    """How often it went, at most `most` times, and the error that ended it."""
    for number in range(most):
        try:
            step()
        except MemoryError:
            return [number, "MemoryError"]
        except RuntimeError as error:
            return [number, str(error)[:20]]
        except OSError as error:
            return [number, errno.errorcode.get(error.errno, str(error))]
    return [most, "ok"]


def sleep_in_a_child():
    if os.fork() == 0:
        while True:
            signal.pause()


def sleeping_processes(event):
    """Children that only wait."""
    return until_refused(sleep_in_a_child, event["most"])


def sleeping_threads(event):
    """Threads with the smallest stacks that there may be."""
    threading.stack_size(32 << 10)
    stay = threading.Event()

    def step():
        threading.Thread(target=stay.wait, daemon=True).start()

    return until_refused(step, event["most"])


def threads_in_children(event):
    """What one process may not have, several have together."""
    threading.stack_size(32 << 10)
    reports = []
    for _ in range(4):
        read, write = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            break
        if pid == 0:
            stay = threading.Event()
            made = 0
            try:
                for _ in range(event["most"] // 4):
                    threading.Thread(target=stay.wait, daemon=True).start()
                    made += 1
            except RuntimeError:
                pass
            os.write(write, b"%d" % made)
            os.close(write)
            while True:
                signal.pause()
        os.close(write)
        reports.append(int(os.read(read, 20) or 0))
    return sum(reports)


def files(event):
    """/dev/null, opened over and over."""
    return until_refused(
        lambda: held.append(os.open("/dev/null", os.O_RDONLY)), event["most"]
    )


def copies_of_descriptors(event):
    """dup2 to the highest number that there may be, and beyond."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    answers = []
    for number in (limit - 1, limit, 1 << 20, (1 << 31) - 1):
        try:
            os.dup2(0, number)
            answers.append("ok")
        except OSError as error:
            answers.append(errno.errorcode[error.errno])
    return answers


def descriptors_of_every_kind(event):
    """Sockets, pipes, epolls, memfds, handles on processes: one count for all."""
    makers = [
        lambda: held.append(socket.socket().detach()),
        lambda: held.append(os.pipe()),
        lambda: held.append(select.epoll()),
        lambda: held.append(os.pidfd_open(os.getpid())),
        lambda: held.append(libc.eventfd(0, 0)),
    ]
    made = 0
    try:
        while made < event["most"]:
            makers[made % len(makers)]()
            made += 1
    except OSError as error:
        return [made < event["most"], errno.errorcode[error.errno]]
    return [False, "ok"]


def bytes_on_disk(event):
    """One file that is larger than /tmp."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("/tmp/large", "wb", buffering=0) as file:
        return until_refused(lambda: file.write(bytes(1 << 20)), event["most"])


def bytes_that_are_promised(event):
    """fallocate and truncate, instead of writing."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("/tmp/large", "wb") as file:
        answers = []
        for step in (
            lambda: os.posix_fallocate(file.fileno(), 0, 1 << 40),
            lambda: os.truncate(file.fileno(), 1 << 40),
            lambda: os.posix_fallocate(file.fileno(), 0, event["most"] << 20),
        ):
            answers.append(until_refused(step, 1)[1])
    return sorted(set(answers))


def empty_files(event):
    """Names without content."""
    number = iter(range(1 << 30))

    def step():
        os.close(os.open("/tmp/f%d" % next(number), os.O_CREAT | os.O_WRONLY))

    return until_refused(step, event["most"])[1]


def links_and_pipes(event):
    """Symbolic links, sockets, folders: each one is a file, too."""
    number = iter(range(1 << 30))

    def step():
        name = "/tmp/n%d" % next(number)
        os.symlink("x" * 4000, name + "l")
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(name + "s")
        os.mkdir(name + "d")

    return until_refused(step, event["most"])[1]


def hard_links(event):
    """Many names of one file: each of them costs memory."""
    os.close(os.open("/tmp/one", os.O_CREAT | os.O_WRONLY))
    number = iter(range(1 << 30))
    return until_refused(
        lambda: os.link("/tmp/one", "/tmp/h%d" % next(number)), event["most"]
    )[1]


def folders_in_folders(event):
    """As deep as there is room, with a path that no call can take."""
    os.chdir("/tmp")

    def step():
        os.mkdir("d" * 250)
        os.chdir("d" * 250)

    depth, error = until_refused(step, event["most"])
    os.chdir("/var/task")
    return [depth > 16, error]


def long_names(event):
    """Names of 255 bytes with line ends, escapes and no UTF-8."""
    number = iter(range(1 << 30))

    def step():
        name = b"\x1b[2J\n\xff\xfe%d" % next(number)
        os.close(os.open(b"/tmp/" + name.ljust(255, b"\r"), os.O_CREAT | os.O_WRONLY))

    return until_refused(step, event["most"])[1]


def output(event):
    """More than any log keeps, at once."""
    block = b"o" * (1 << 16)
    for _ in range(event["most"]):
        os.write(1, block)
    return "written"


def output_of_children(event):
    """From eight processes at once, to both streams."""
    for number in range(8):
        if os.fork() == 0:
            while True:
                os.write(1 + number % 2, b"c" * 4096)
    time.sleep(0.2)
    return "written"


def endless_output(event):
    """Without a line end, and without an end."""
    while True:
        os.write(2, b"e" * 65536)


def lines_without_end(event):
    """Empty lines: no bytes, but each is something to keep."""
    while True:
        os.write(1, b"\n" * 65536)


def output_byte_by_byte(event):
    """Each byte a write of its own."""
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        os.write(1, b"b")
    return "written"


def block_on_output(event):
    """The log's pipe is made non-blocking by whoever shares it, and filled."""
    os.set_blocking(1, False)
    try:
        while True:
            os.write(1, b"x" * 65536)
    except BlockingIOError:
        pass
    return "filled"


def spin(event):
    """A processor for ever."""
    while True:
        pass


def spin_in_threads(event):
    """Out of Python's lock, on every processor."""
    import hashlib

    def burn():
        while True:
            hashlib.sha256(bytes(1 << 20))

    for _ in range(8):
        threading.Thread(target=burn, daemon=True).start()
    burn()


def spin_in_children(event):
    """Eight processes that never yield."""
    for _ in range(8):
        if os.fork() == 0:
            while True:
                pass
    while True:
        pass


def timers(event):
    """Alarms as fast as the clock ticks."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.000001, 0.000001)
    while True:
        signal.pause()


def queued_signals(event):
    """Signals that are sent and never taken: each is memory of the kernel's."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
    info = ctypes.create_string_buffer(128)
    ctypes.memmove(info, (ctypes.c_int * 3)(signal.SIGRTMIN, 0, -1), 12)

    def step():
        if libc.syscall(129, os.getpid(), signal.SIGRTMIN, info) != 0:
            raise OSError(ctypes.get_errno(), "")

    return until_refused(step, event["most"])


def chains_of_epolls(event):
    """Epolls that watch epolls, deeper than the kernel allows."""
    inner = select.epoll()
    held.append(inner)

    def step():
        outer = select.epoll()
        outer.register(held[-1], 1)
        held.append(outer)

    depth, error = until_refused(step, 100)
    return [depth < 100, error]


def descriptors_in_flight(event):
    """Open files on their way in a socket that nobody reads."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    held.extend((ours, theirs))
    sent, error = until_refused(
        lambda: socket.send_fds(ours, [b"x"], [0] * 250), event["most"]
    )
    return [sent * 250 < 4096, error in ("ETOOMANYREFS", "EAGAIN", "ENOBUFS")]


def circles_of_descriptors(event):
    """Sockets that are in flight in one another: what the garbage collector is for."""
    for _ in range(100):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        socket.send_fds(ours, [b"x"], [theirs.fileno(), ours.fileno()])
        socket.send_fds(theirs, [b"x"], [theirs.fileno(), ours.fileno()])
        ours.close()
        theirs.close()
    return "gone"


def raised_limits(event):
    """Every limit, above what it is."""
    raised = []
    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            if hard == resource.RLIM_INFINITY:
                continue
            try:
                resource.setrlimit(kind, (hard + 1, hard + 1))
                raised.append(name)
            except (OSError, ValueError):
                pass
    return raised


def locked_memory(event):
    """Pages that the kernel may never move out."""
    import mmap

    region = mmap.mmap(-1, 64 << 20)
    address = ctypes.addressof(ctypes.c_char.from_buffer(region))
    got = libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(64 << 20))
    return "ok" if got == 0 else errno.errorcode[ctypes.get_errno()]


def handler(event, context):
    return globals()[event["do"]](event)
