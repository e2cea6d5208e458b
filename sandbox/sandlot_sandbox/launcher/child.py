"""Work that leaves nothing behind in us: done by a child, who tells us the result.

What the launcher has imported and allocated, every warden and every cell gets a copy
of, and the kernel copies it page by page.
"""

import os
from collections.abc import Callable

_CHUNK = 1 << 16


class ChildFailed(Exception):
    """The message is the error's, as is `errno`, where that has one."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.errno = number


def run(work: Callable[[], bytes]) -> bytes:
    """What `work` returns. Raises `ChildFailed` with what it raises."""
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except BaseException:
        os.close(read)
        os.close(write)
        raise
    if pid == 0:
        _work(work, write)
    os.close(write)
    try:
        result = _read_all(read)
    finally:
        os.close(read)
        _, status = os.waitpid(pid, 0)
    if status:
        said = result.decode("utf-8", "replace") or "a child was killed"
        raise ChildFailed(said, os.WEXITSTATUS(status) or None)
    return result


def _work(work: Callable[[], bytes], write: int) -> None:
    status = 1
    try:
        try:
            result, status = work(), 0
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            result, status = str(error).encode(), getattr(error, "errno", None) or 1
        with os.fdopen(write, "wb") as file:
            file.write(result)
    finally:
        os._exit(status)


def _read_all(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, _CHUNK):
        parts.append(part)
    return b"".join(parts)
