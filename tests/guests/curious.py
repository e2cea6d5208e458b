"""Looks around and tries what a tenant must not be able to do; tells what it got."""

import ctypes
import errno
import mmap
import os
import resource
import socket
import struct
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)
kept = []


def call(number, *arguments):
    """A system call: "ok", or the error's name."""
    ctypes.set_errno(0)
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    if libc.syscall(ctypes.c_long(number), *values) >= 0:
        return "ok"
    return errno.errorcode[ctypes.get_errno()]


def attempt(step):
    try:
        step()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "ok"


def syscall(event):
    return call(event["number"], *event["arguments"])


def syscalls(event):
    return {name: call(*numbers) for name, numbers in event["calls"].items()}


def see(event):
    """What is at each path: names in a folder, the size of a file, or an error."""
    found = {}
    for path in event["paths"]:
        try:
            if os.path.isdir(path):
                found[path] = sorted(os.listdir(path))
            else:
                with open(path, "rb") as file:
                    found[path] = len(file.read(4096))
        except OSError as error:
            found[path] = errno.errorcode[error.errno]
    return found


def schedule(event):
    """What libzmq does in each of its threads, where it aborts if it may not."""
    import threading

    def asked(policy, priority=0, process=0):
        param = os.sched_param(priority)
        return attempt(lambda: os.sched_setscheduler(process, policy, param))

    def ask_as_a_thread():
        param = ctypes.c_int(0)
        failed = libc.pthread_setschedparam(
            ctypes.c_void_p(threading.get_ident()), os.SCHED_OTHER, ctypes.byref(param)
        )
        answers["in a thread"] = errno.errorcode[failed] if failed else "ok"

    answers = {
        "for nobody": asked(os.SCHED_OTHER, process=30_000),
        "FIFO": asked(os.SCHED_FIFO, 1),
        "RR": asked(os.SCHED_RR, 1),
        "BATCH": asked(os.SCHED_BATCH),
        "IDLE": asked(os.SCHED_IDLE),
    }
    thread = threading.Thread(target=ask_as_a_thread)
    thread.start()
    thread.join()
    is_usual = os.sched_getscheduler(0) == os.SCHED_OTHER
    return {**answers, "has": "OTHER" if is_usual else "another"}


def look_up(event):
    """Ports of services, as connecting to one by its name does, and protocols."""
    found = {}
    for name in event["services"]:
        ((_, _, _, _, address), *_) = socket.getaddrinfo("127.0.0.1", name)
        found[name] = address[1]
    for name in event["protocols"]:
        found[name] = socket.getprotobyname(name)
    return found


def read(event):
    with open(event["path"], "rb") as file:
        return file.read(1 << 16).decode("utf-8", "replace")


def write(event):
    """Try to make a file in each folder, and to open each file for writing."""
    found = {}
    for path in event["paths"]:
        if os.path.isdir(path):
            path = os.path.join(path, "sandlot-was-here")
            flags = os.O_WRONLY | os.O_CREAT
        else:
            flags = os.O_WRONLY
        found[path] = attempt(lambda: os.close(os.open(path, flags)))
    return found


def walk(event):
    """Every file and folder below `path` on its own file system."""
    names = []
    for folder, folders, files in os.walk(event["path"]):
        names += [os.path.join(folder, name) for name in folders + files]
    return names


def environment(event):
    return dict(os.environ)


def processes(event):
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def signal_all(event):
    """Try to signal every process number there may be, but our own."""
    hit = []
    for pid in [-1, *range(1, event["up_to"])]:
        if pid == os.getpid():
            continue
        try:
            os.kill(pid, event["signal"])
        except ProcessLookupError:
            continue
        except OSError as error:
            hit.append([pid, errno.errorcode[error.errno]])
        else:
            hit.append([pid, "ok"])
    return hit


def sockets(event):
    return {
        name: attempt(lambda: socket.socket(*numbers).close())
        for name, numbers in event["kinds"].items()
    }


def connect(event):
    def step():
        with socket.create_connection((event["host"], event["port"]), timeout=2):
            pass

    return attempt(step)


def interfaces(event):
    return (
        [name for _, name in socket.if_nameindex()]
        if event.get("by")
        else open("/proc/self/net/dev").read()
    )


server = None


def bind(event):
    global server
    server = socket.create_server((event["host"], event["port"]))
    client = socket.create_connection((event["host"], event["port"]), timeout=2)
    accepted, _ = server.accept()
    accepted.close()
    client.close()
    return "ok"


def bind_abstract(event):
    global server
    server = socket.socket(socket.AF_UNIX)
    return attempt(lambda: server.bind("\0" + event["name"]))


def leave(event):
    with open("/tmp/left", "w") as file:
        file.write("by me")
    return os.listdir("/tmp")


def tmp(event):
    return sorted(os.listdir("/tmp"))


def fill(event):
    """Write to /tmp until it is full; megabytes."""
    written = 0
    block = b"x" * (1 << 20)
    try:
        for number in range(event["up_to_mb"]):
            with open("/tmp/%d" % number, "wb") as file:
                file.write(block)
            written += 1
    except OSError as error:
        return [written, errno.errorcode[error.errno]]
    return [written, "ok"]


def files(event):
    """Make empty files in /tmp until it refuses."""
    made = 0
    try:
        while made < event["up_to"]:
            os.close(os.open("/tmp/f%d" % made, os.O_CREAT | os.O_WRONLY))
            made += 1
    except OSError as error:
        return [made, errno.errorcode[error.errno]]
    return [made, "ok"]


def big_file(event):
    """One file beyond the limit of a single one."""
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("/tmp/big", "wb") as file:
        return attempt(lambda: os.truncate(file.fileno(), event["size"]))


def fill_by_program(event):
    """One file that has all of /tmp, by a program that handles no signal."""
    name = "/tmp/filled"
    done = subprocess.run(
        ["/bin/dd", "if=/dev/zero", f"of={name}", "bs=1M", f"count={event['mb']}"],
        capture_output=True,
        check=False,
    )
    kept = os.path.getsize(name) >> 20
    os.unlink(name)
    return done.returncode, done.stderr.decode(), kept


def open_files(event):
    held = []
    try:
        while len(held) < event["up_to"]:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        return [len(held), errno.errorcode[error.errno]]
    finally:
        for fd in held:
            os.close(fd)
    return [len(held), "ok"]


def memory(event):
    try:
        return len(bytearray(event["mb"] << 20)) >> 20
    except MemoryError:
        return "MemoryError"


def fork_bomb(event):
    """Children that only wait, until there may be no more."""
    ready, release = os.pipe()
    made = 0
    try:
        while made < event["up_to"]:
            if os.fork() == 0:
                os.close(release)
                os.read(ready, 1)
                os._exit(0)
            made += 1
    except OSError as error:
        return [made, errno.errorcode[error.errno]]
    return [made, "ok"]


def limits(event):
    return {
        name: resource.getrlimit(getattr(resource, name))
        for name in dir(resource)
        if name.startswith("RLIMIT_")
    }


def raise_limit(event):
    kind = getattr(resource, event["name"])
    hard = resource.getrlimit(kind)[1]
    try:
        resource.setrlimit(kind, (hard + 1, hard + 1))
    except (OSError, ValueError) as error:
        return type(error).__name__
    return "ok"


def foreign_instructions(event):
    """A system call by another machine's numbers, in a child; its exit or signal."""
    code = {
        # mov eax, 20; int 0x80; ret: getpid of i386
        "i386": b"\xb8\x14\x00\x00\x00\xcd\x80\xc3",
        # mov eax, 0x40000027; syscall; ret: getpid of x32
        "x32": b"\xb8\x27\x00\x00\x40\x0f\x05\xc3",
        # mov eax, 39; syscall; ret: our own getpid
        "x86_64": b"\xb8\x27\x00\x00\x00\x0f\x05\xc3",
    }[event["machine"]]
    pid = os.fork()
    if pid == 0:
        page = mmap.mmap(
            -1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        )
        page.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        got = ctypes.CFUNCTYPE(ctypes.c_long)(address)()
        os._exit(0 if got == os.getpid() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def read_memory(event):
    """Of another process, by its number."""
    base = "/proc/%d/" % event["pid"]
    return {
        name: attempt(lambda: open(base + name, "rb").close())
        for name in ("mem", "maps", "environ", "cmdline", "root", "fd/0", "cwd")
    }


def set_user_id(event):
    """Run a program of root's that is set-user-id, if there is one; who it runs as."""
    status = (
        subprocess.run(
            ["/usr/bin/su", "-c", "true", "root"], stdin=subprocess.DEVNULL
        ).returncode
        if os.path.exists("/usr/bin/su")
        else 1
    )
    with open("/proc/self/status") as file:
        return {
            "uid": os.getuid() if status else 0,
            "no_new_privileges": "NoNewPrivs:\t1" in file.read(),
        }


def host_name(event):
    return socket.gethostname()


def groups(event):
    return os.getgroups()


def push_descriptors(event):
    """Send open files up the channel, in one byte of a frame."""
    with socket.socket(fileno=os.dup(3)) as channel:
        return attempt(
            lambda: socket.send_fds(channel, [struct.pack("!B", 2)], [0] * 100)
        )


def push_what_waits(event):
    """Send up the channel, in one byte of a frame, a connection that nobody reads, and
    that waits for that when it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        mine = socket.create_connection(server.getsockname())
        kept.append(server.accept()[0])
    mine.setblocking(False)
    try:
        while True:
            mine.send(bytes(1 << 16))
    except BlockingIOError:
        pass
    linger = struct.pack("ii", 1, event["seconds"])
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    with mine, socket.socket(fileno=os.dup(3)) as channel:
        return attempt(
            lambda: socket.send_fds(channel, [struct.pack("!B", 2)], [mine.fileno()])
        )


def handler(event, context):
    return globals()[event["do"]](event)
