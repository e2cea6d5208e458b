"""What may be said of files that every jail sees, without a right to change them."""

import ctypes
import errno
import fcntl
import os
import struct

SHARED = "/usr/bin/env"
OFD_SETLK = 37
MS_ASYNC, MS_SYNC = 1, 4

libc = ctypes.CDLL(None, use_errno=True)
kept = []


def attempt(step):
    try:
        step()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "ok"


def nothing(event):
    return "nothing"


def take_locks(event):
    """Of each kind, on a shared program and in /tmp; they are kept."""
    answers = []
    open("/tmp/locked", "w").close()
    for path, kind in ((SHARED, fcntl.F_RDLCK), ("/tmp/locked", fcntl.F_WRLCK)):
        flags = os.O_RDONLY if path == SHARED else os.O_RDWR
        fd, other = os.open(path, flags), os.open(path, flags)
        kept.extend((fd, other))
        for command in (fcntl.F_SETLK, fcntl.F_SETLKW, OFD_SETLK):
            lock = struct.pack("hhqqi4x", kind, 0, 2 * command, 1, 0)
            answers.append(attempt(lambda: fcntl.fcntl(fd, command, lock)))  # noqa: B023
        answers.append(attempt(lambda: fcntl.flock(fd, fcntl.LOCK_SH)))  # noqa: B023
    return sorted(set(answers))


def flush_the_disk(event):
    """By whatever waits for a disk, and of no file at all: who answers that, has asked
    nobody."""
    calls = (
        (74, -1),  # fsync
        (75, -1),  # fdatasync
        (221, -1, 0, 0, os.POSIX_FADV_DONTNEED),  # fadvise64
        (277, -1, 0, 0, 7),  # sync_file_range
        (26, 4096, 4096, MS_SYNC),  # msync
    )
    return [attempt(lambda: _call(*call)) for call in calls]  # noqa: B023


def ask_what_is_mapped(event):
    """By msync, as libunwind does."""
    return attempt(lambda: _call(26, 4096, 4096, MS_ASYNC))


def _call(number, *arguments):
    if libc.syscall(number, *map(ctypes.c_long, arguments)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def count_in_a_database(event):
    """What wants locks to work at all: SQLite, with two connections, in both of its
    modes."""
    import sqlite3

    counts = []
    for mode in ("delete", "wal"):
        path = "/tmp/%s.db" % mode
        with sqlite3.connect(path) as one:
            one.execute("pragma journal_mode=%s" % mode)
            one.execute("create table t (n)")
            one.execute("insert into t values (1)")
        with sqlite3.connect(path) as other:
            other.execute("insert into t values (2)")
        counts.append(one.execute("select count(*) from t").fetchone()[0])
    return counts


def handler(event, context):
    return globals()[event["do"]](event)
