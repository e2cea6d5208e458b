"""What a jail sees of the host: the interpreter, system libraries, certificates.

A short list, all read-only. Sources are opened here, by the launcher, as detached
mounts; `guest/enter.py` attaches them. So it does not matter that the jail's user
could not reach them by name, and nothing is looked up once tenant bytes exist.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sandlot_sandbox import linux
from sandlot_sandbox.guest.enter import DEVICES, INNER_ID, Root
from sandlot_sandbox.launcher.runtimes import Runtime

_SYSTEM = (
    "usr/bin",
    "usr/lib",
    "usr/lib32",
    "usr/lib64",
    "usr/share/zoneinfo",
    "usr/share/ca-certificates",
    "usr/local/share/ca-certificates",
    "etc/ssl/certs",
)
"""Without /usr/sbin, /usr/local and the rest of /etc: no function needs them."""

_MERGED = ("bin", "lib", "lib32", "lib64")
"""Links into /usr on a merged system, directories of their own on an older one."""

_COPIED = ("etc/ld.so.cache", "etc/localtime", "etc/os-release", "etc/ssl/openssl.cnf")

_SYNTHETIC = (
    ("etc/passwd", f"sandlot:x:{INNER_ID}:{INNER_ID}::/tmp:/bin/sh\n"),
    ("etc/group", f"sandlot:x:{INNER_ID}:\n"),
    ("etc/hostname", "sandlot\n"),
    ("etc/hosts", "127.0.0.1 localhost sandlot\n::1 localhost\n"),
    ("etc/resolv.conf", ""),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
)


@contextlib.contextmanager
def opened_root(runtime: Runtime, code: Path) -> Iterator[Root]:
    """The parts of a root, with the tenant's code from the folder `code`.

    Whoever enters the jail attaches copies; ours are closed again at the end.
    """
    with contextlib.ExitStack() as stack:

        def take(path: Path, *, is_device: bool = False, follow: bool = True) -> int:
            # Opened first, so that a link is followed to what it points at.
            flags = os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
            source = os.open(path, flags)
            try:
                fd = linux.clone_mount(
                    source, read_only=not is_device, nodev=not is_device
                )
            finally:
                os.close(source)
            stack.callback(os.close, fd)
            return fd

        mounts = [(take(Path("/") / name), name) for name in _directories()]
        if runtime.has_own_prefix:
            mounts.append((take(runtime.prefix), "var/lang"))
        mounts.append((take(runtime.guest_code), "var/runtime"))
        mounts.append((take(code, follow=False), "var/task"))
        mounts += [
            (take(Path("/dev") / device, is_device=True), f"dev/{device}")
            for device in DEVICES
        ]
        yield Root(tuple(mounts), tuple(_links()), tuple(_files()))


def _directories() -> Iterator[str]:
    for name in _SYSTEM:
        if (Path("/") / name).is_dir():
            yield name
    for name in _MERGED:
        path = Path("/") / name
        if path.is_dir() and not path.is_symlink():
            yield name


def _links() -> Iterator[tuple[str, str]]:
    for name in _MERGED:
        path = Path("/") / name
        if path.is_symlink():
            yield str(path.readlink()), name


def _files() -> Iterator[tuple[str, bytes]]:
    for name in _COPIED:
        with contextlib.suppress(OSError):
            yield name, (Path("/") / name).read_bytes()
    for name, text in _SYNTHETIC:
        yield name, text.encode()
