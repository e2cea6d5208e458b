"""Memory by every route there is. Each program takes `mb` megabytes, if it can, and
prints how much it holds; it returns how much that was when it was refused."""

import contextlib
import ctypes
import errno
import mmap
import os
import resource
import signal
import socket
import struct
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
STEP = 8
"""Megabytes between two looks."""
PAGE = b"x" * (STEP << 20)
held = []


def nothing(event):
    return "nothing"


def grow(mb, take):
    """Take steps until `mb` are held or one is refused; megabytes held."""
    total = 0
    while total < mb:
        try:
            got = take()
        except (MemoryError, OSError, RuntimeError):
            break
        if not got:
            break
        total += got
        os.write(1, b"held %d\n" % total)
    return total


def touch(region, size=STEP << 20):
    for offset in range(0, size, 4096):
        region[offset] = 1


def bytearrays(event):
    """The plain way."""

    def take():
        held.append(bytearray(PAGE))
        return STEP

    return grow(event["mb"], take)


def many_small_objects(event):
    """Below malloc's threshold for mappings, from arenas."""

    def take():
        held.append([b"%d" % i * 8 for i in range(50_000)])
        return 4

    return grow(event["mb"], take)


def malloc(event):
    """libc's own, past Python."""
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]

    def take():
        address = libc.malloc(STEP << 20)
        if not address:
            return 0
        ctypes.memset(address, 1, STEP << 20)
        return STEP

    return grow(event["mb"], take)


def private_mappings(event):
    """mmap, private and anonymous."""

    def take():
        region = mmap.mmap(-1, STEP << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        touch(region)
        held.append(region)
        return STEP

    return grow(event["mb"], take)


def shared_mappings(event):
    """mmap, shared and anonymous: no part of what RLIMIT_DATA counts."""

    def take():
        region = mmap.mmap(-1, STEP << 20)
        touch(region)
        held.append(region)
        return STEP

    return grow(event["mb"], take)


def forgotten_shared_mappings(event):
    """Shared and anonymous, and then said to be needed no more: the pages stay."""

    def take():
        region = mmap.mmap(-1, STEP << 20)
        touch(region)
        region.madvise(mmap.MADV_DONTNEED)
        held.append(region)
        return STEP

    return grow(event["mb"], take)


def executable_mappings(event):
    """Pages with PROT_EXEC, which some limits count as code."""

    def take():
        prot = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        region = mmap.mmap(-1, STEP << 20, prot=prot)
        touch(region)
        held.append(region)
        return STEP

    return grow(event["mb"], take)


def memfds(event):
    """Files in memory that have no name and no file system's limit."""

    def take():
        fd = os.memfd_create("m")
        os.write(fd, PAGE)
        return STEP

    return grow(event["mb"], take)


def files_in_tmp(event):
    """/tmp lies in memory, too; it ends at a size of its own."""
    number = iter(range(1 << 20))

    def take():
        with open("/tmp/%d" % next(number), "wb", buffering=0) as file:
            return file.write(PAGE) >> 20

    return grow(event["mb"], take)


def deleted_files(event):
    """Files of /tmp that have no name any more but are held open."""

    def take():
        fd = os.open("/tmp/x", os.O_CREAT | os.O_RDWR)
        os.unlink("/tmp/x")
        return os.write(fd, PAGE) >> 20

    return grow(event["mb"], take)


def children(event):
    """Each child takes 64 MB, far below what one process may have."""
    amount = 64

    def take():
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                keep = bytearray(amount << 20)
                touch(keep, len(keep))
                os.write(write, b"x")
            except BaseException:
                os._exit(1)
            while True:
                signal.pause()
        os.close(write)
        told = os.read(read, 1)
        os.close(read)
        return amount if told else 0

    return grow(event["mb"], take)


def copies_on_write(event):
    """Children that write to what they inherited: the same pages, paid for again."""
    base = bytearray(64 << 20)
    touch(base, len(base))

    def take():
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                touch(base, len(base))
                os.write(write, b"x")
            except BaseException:
                os._exit(1)
            while True:
                signal.pause()
        os.close(write)
        told = os.read(read, 1)
        os.close(read)
        return 64 if told else 0

    return grow(event["mb"], take)


def stacks_of_threads(event):
    """Threads with stacks of 8 MB, written to from end to end."""
    threading.stack_size(STEP << 20)
    stay = threading.Event()

    def take():
        done = threading.Event()

        def use():
            local = ctypes.create_string_buffer(16)
            low = ctypes.addressof(local) - (STEP << 20) + (256 << 10)
            # The mapping lies below this frame: written to by address.
            for offset in range(512 << 10, (STEP << 20) - (512 << 10), 4096):
                try:
                    ctypes.memset(low + offset, 1, 1)
                except OSError:
                    break
                if low + offset + 4096 > ctypes.addressof(local) - (128 << 10):
                    break
            done.set()
            stay.wait()

        threading.Thread(target=use, daemon=True).start()
        done.wait()
        return STEP

    return grow(event["mb"], take)


def growth_by_brk(event):
    """The heap's end, moved by hand."""
    libc.sbrk.restype = ctypes.c_void_p
    libc.sbrk.argtypes = [ctypes.c_long]

    def take():
        start = libc.sbrk(STEP << 20)
        if start is None or start == ctypes.c_void_p(-1).value:
            return 0
        ctypes.memset(start, 1, STEP << 20)
        return STEP

    return grow(event["mb"], take)


def growth_by_mremap(event):
    """One mapping that is made larger and larger."""
    libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
    libc.mremap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_size_t,
        ctypes.c_int,
    ]
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        *[ctypes.c_int] * 3,
        ctypes.c_long,
    ]
    size = [STEP << 20]
    where = [libc.mmap(None, size[0], 3, 0x22, -1, 0)]

    def take():
        larger = size[0] + (STEP << 20)
        address = libc.mremap(where[0], size[0], larger, 1)
        if address is None or address == ctypes.c_void_p(-1).value:
            return 0
        ctypes.memset(address + size[0], 1, STEP << 20)
        where[0], size[0] = address, larger
        return STEP

    return grow(event["mb"], take)


def doubled_shared_mapping(event):
    """mremap of a shared mapping with an old size of 0 makes a second one."""
    region = mmap.mmap(-1, event["mb"] << 20)

    def take(done=[0]):
        touch(memoryview(region)[done[0] : done[0] + (STEP << 20)])
        done[0] += STEP << 20
        return STEP

    return grow(event["mb"], take)


def in_many_processes(event, fill):
    """Run `fill`, which returns kilobytes of the kernel's that it holds, in as many
    processes as it takes."""

    def take():
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(write, struct.pack("!I", fill()))
            finally:
                os.close(write)
                while True:
                    signal.pause()
        os.close(write)
        told = os.read(read, 4)
        os.close(read)
        return struct.unpack("!I", told)[0] >> 10 if len(told) == 4 else 0

    return grow(event["mb"], take)


def tables_of_pages(event):
    """A byte read of every two megabytes of nothing: a page of the kernel's for each.
    Not as fast as can be: a gigabyte in a second fits between two looks of whoever
    watches where there are no groups."""
    pages_of_8_mb = 2048

    def take():
        size = pages_of_8_mb * (2 << 20)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
        region = mmap.mmap(-1, size, flags=flags, prot=mmap.PROT_READ)
        held.append(region)
        for offset in range(0, size, 2 << 20):
            region[offset]
        time.sleep(0.03)
        return STEP

    return grow(event["mb"], take)


def pipe_buffers(event):
    """Pipes that nobody reads: memory of the kernel's."""

    def fill():
        total = 0
        try:
            for _ in range(490):
                read, write = os.pipe()
                os.set_blocking(write, False)
                held.append((read, write))
                total += os.write(write, PAGE[: 1 << 20]) >> 10
        except OSError:
            pass
        return total

    return in_many_processes(event, fill)


def buffers_of_unix_sockets(event):
    """Socket pairs that nobody reads, with the largest buffers that there are."""

    def fill():
        total = 0
        try:
            for _ in range(490):
                pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                held.extend(pair)
                for end in pair:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
                    end.setblocking(False)
                    total += end.send(PAGE[: 1 << 20]) >> 10
        except OSError:
            pass
        return total

    return in_many_processes(event, fill)


def buffers_of_tcp(event):
    """Connections to oneself that nobody reads."""

    def fill():
        total = 0
        with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
            address = server.getsockname()
            try:
                for _ in range(240):
                    mine = socket.create_connection(address)
                    held.append(mine)
                    held.append(server.accept()[0])
                    mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
                    mine.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        for _ in range(16):
                            total += mine.send(PAGE[: 1 << 20]) >> 10
            except OSError:
                pass
        return total

    return in_many_processes(event, fill)


def queued_datagrams(event):
    """Datagrams whose senders are closed: they are the receiver's, ten of them."""

    def fill():
        total = 0
        try:
            for number in range(400):
                receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                name = b"\0%d-%d" % (os.getpid(), number)
                receiver.bind(name)
                held.append(receiver)
                for _ in range(10):
                    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                        sender.setblocking(False)
                        total += sender.sendto(PAGE[:200_000], name) >> 10
        except OSError:
            pass
        return total

    return in_many_processes(event, fill)


def many_mappings(event):
    """Every other page of nothing may be read: each is a mapping of its own, which is
    200 bytes of the kernel's, and a child has as many. Not as fast as can be: to count
    them takes as long as to make them."""
    most = 60_000
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
    libc.mmap.restype = ctypes.c_void_p
    start = libc.mmap(None, ctypes.c_size_t(most * 4096), 0, flags, -1, 0)
    for page in range(0, most, 2):
        libc.mprotect(ctypes.c_void_p(start + page * 4096), ctypes.c_size_t(4096), 1)

    def fill():
        time.sleep(0.1)
        return most * 200 >> 10

    return in_many_processes(event, fill)


def sockets_in_flight(event):
    """Filled socket pairs that are sent to somebody and closed: in no process."""

    def fill():
        total = 0
        keep, passed = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        keep.setblocking(False)
        held.extend((keep, passed))
        try:
            for _ in range(490):
                pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                for end in pair:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
                    end.setblocking(False)
                    total += end.send(PAGE[: 1 << 20]) >> 10
                socket.send_fds(keep, [b"x"], [end.fileno() for end in pair])
                for end in pair:
                    end.close()
        except OSError:
            pass
        return total

    return in_many_processes(event, fill)


def pages_behind_single_bytes(event):
    """One byte of each page goes to a socket, which then has the page; the file is cut
    off, and written again."""
    file = os.open("/tmp/pages", os.O_CREAT | os.O_RDWR)
    size = 1 << 20

    def take():
        total = 0
        mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        held.extend((mine, other))
        mine.setblocking(False)
        try:
            while total < STEP << 20:
                os.pwrite(file, PAGE[:size], 0)
                for offset in range(0, size, 4096):
                    os.sendfile(mine.fileno(), file, offset, 1)
                    total += 4096
                os.ftruncate(file, 0)
        except BlockingIOError:
            pass
        return total >> 20

    return grow(event["mb"], take)


def short_segments(event):
    """One byte with a mark at its end goes alone, and takes a kilobyte."""

    def fill():
        total = 0
        with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
            address = server.getsockname()
            try:
                for _ in range(240):
                    mine = socket.create_connection(address)
                    held.extend((mine, server.accept()[0]))
                    mine.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            mine.send(b"x", socket.MSG_EOR)
                            total += 1
            except OSError:
                pass
        return total

    return in_many_processes(event, fill)


def connections_that_nobody_accepts(event):
    """Connected, told something, and hung up: the other end is the kernel's, with all
    that it was told, until somebody accepts it."""
    told = 28 << 10
    servers = []

    def take():
        for _ in range(256):
            if len(held) % 4000 == 0:
                servers.append(socket.create_server(("127.0.0.1", 0), backlog=4096))
            with socket.create_connection(servers[-1].getsockname()) as mine:
                mine.sendall(PAGE[:told])
            held.append(None)
        return 256 * (told + 4096) >> 20

    return grow(event["mb"], take)


def a_server_of_many_connections(event):
    """No attack: 200 connections to oneself, each of which says something."""
    import asyncio

    async def answer(reader, writer):
        while line := await reader.readline():
            writer.write(line)

    async def ask(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        total = 0
        for _ in range(20):
            writer.write(b"x" * 1000 + b"\n")
            total += len(await reader.readline())
            await asyncio.sleep(0.05)
        writer.close()
        return total

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return sum(await asyncio.gather(*[ask(port) for _ in range(200)]))

    return asyncio.run(main())


def attributes_of_files(event):
    """Extended attributes in /tmp are in memory, and no bytes of a file."""

    def take():
        total = 0
        for _ in range(STEP * 16):
            path = "/tmp/a%d" % len(held)
            held.append(os.close(os.open(path, os.O_CREAT | os.O_WRONLY)))
            os.setxattr(path, "user.a", PAGE[:65000])
            total += 65000
        return total >> 20

    return grow(event["mb"], take)


def names_of_mappings(event):
    """As libc gives them to its own: 80 bytes for each. How many there are."""
    block = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
    at = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(block)))
    size = ctypes.c_size_t(len(block))
    # PR_SET_VMA, PR_SET_VMA_ANON_NAME; mostly one is told that there are none.
    assert libc.prctl(0x53564D41, ctypes.c_ulong(0), at, size, b"x" * 79) == 0
    with open("/proc/self/maps") as file:
        return sum("x" * 79 in line for line in file)


def lists_of_who_may(event):
    """Of a folder, and of what will be in it: 64 KB each, and no bytes of a file."""
    import struct

    def entry(tag, identity=0xFFFFFFFF):
        return struct.pack("<HHI", tag, 7, identity)

    many = entry(2, 1000) * 8_000
    value = struct.pack("<I", 2) + entry(1) + many + entry(4) + entry(16) + entry(32)

    def take():
        path = "/tmp/l%d" % len(held)
        held.append(os.mkdir(path))
        for name in ("access", "default"):
            os.setxattr(path, "system.posix_acl_" + name, value)
        return 2 * len(value) / (1 << 20)

    return grow(event["mb"], take)


def locks_on_files(event):
    """Each other byte of a file locked: a structure of the kernel's for each."""
    import fcntl

    fd = os.open("/tmp/locks", os.O_CREAT | os.O_RDWR)
    resource.setrlimit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE))
    for number in range(6_000):
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, (6_000 - number) * 2)
        except OSError as error:
            return errno.errorcode[error.errno]
    return 4


def handler(event, context):
    return globals()[event["do"]](event)
