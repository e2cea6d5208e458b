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
from sandlot_sandbox.guest.enter import DEVICES, IMAGE, INNER_ID, Root
from sandlot_sandbox.launcher.networks import RESOLV_CONF
from sandlot_sandbox.launcher.runtime import Runtime
from sandlot_sandbox.spec import EGRESS, HOST

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

_OF_HOST_NETWORK = ("etc/hosts", "etc/resolv.conf", "etc/nsswitch.conf")
"""What a jail on the machine's own network needs to find others by name."""

_SERVICES = """\
ssh 22/tcp
smtp 25/tcp
domain 53/tcp
domain 53/udp
http 80/tcp www
kerberos 88/tcp
kerberos 88/udp
pop3 110/tcp
ntp 123/udp
imap2 143/tcp imap
snmp 161/udp
ldap 389/tcp
ldap 389/udp
https 443/tcp
https 443/udp
submissions 465/tcp
syslog 514/udp
submission 587/tcp
ldaps 636/tcp
imaps 993/tcp
pop3s 995/tcp
mysql 3306/tcp
postgresql 5432/tcp
amqp 5672/tcp
"""
"""Those that clients name in place of a port, as AWS Lambda has them. Not the machine's
list, which may have 700 KB, for each jail anew."""

_PROTOCOLS = "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\n"

_SYNTHETIC = (
    ("etc/passwd", f"sandlot:x:{INNER_ID}:{INNER_ID}::/tmp:/bin/sh\n"),
    ("etc/group", f"sandlot:x:{INNER_ID}:\n"),
    ("etc/hostname", "sandlot\n"),
    (
        "etc/hosts",
        "127.0.0.1 localhost sandlot sandbox sandbox.localdomain\n::1 localhost\n",
    ),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("etc/services", _SERVICES),
    ("etc/protocols", _PROTOCOLS),
)


@contextlib.contextmanager
def opened_root(
    runtime: Runtime,
    code: int,
    *,
    opt: int | None = None,
    image: int | None = None,
    network: str,
    is_writable: bool,
) -> Iterator[Root]:
    """The parts of a root, with what the descriptor `code` is of as /var/task, and what
    `opt` is of, if there is one, as /opt; `image` is of what instances have as root.

    Whoever enters the jail attaches copies; ours are closed again at the end.
    """
    with contextlib.ExitStack() as stack:

        def clone(source: int, *, read_only: bool = True, nodev: bool = True) -> int:
            fd = linux.clone_mount(source, read_only=read_only, nodev=nodev)
            stack.callback(os.close, fd)
            return fd

        def take(path: Path, *, is_device: bool = False) -> int:
            # Opened first, so that a link is followed to what it points at.
            source = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                # What is written to a device is not written to the mount; its times
                # and its owner are, and all tenants could see them.
                return clone(source, nodev=not is_device)
            finally:
                os.close(source)

        mounts = [(take(Path("/") / name), name) for name in _directories()]
        if runtime.has_own_prefix:
            mounts.append((take(runtime.prefix), runtime.place))
        if runtime.language is not None:
            mounts.append((take(runtime.language), "var/lang"))
        mounts.append((take(runtime.guest_code), "var/runtime"))
        mounts.append((clone(code, read_only=not is_writable), "var/task"))
        if opt is not None:
            mounts.append((clone(opt), "opt"))
        if image is not None:
            mounts.append((clone(image), IMAGE))
        mounts += [
            (take(Path("/dev") / device, is_device=True), f"dev/{device}")
            for device in DEVICES
        ]
        yield Root(tuple(mounts), tuple(_links()), tuple(_files(network)))


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


def _files(network: str) -> Iterator[tuple[str, bytes]]:
    of_host = _OF_HOST_NETWORK if network == HOST else ()
    for name in (*_COPIED, *of_host):
        with contextlib.suppress(OSError):
            yield name, (Path("/") / name).read_bytes()
    resolver = RESOLV_CONF if network == EGRESS else ""
    for name, text in (*_SYNTHETIC, ("etc/resolv.conf", resolver)):
        if name not in of_host:
            yield name, text.encode()
