"""The steps into the jail, in order; each takes something away.

They run in a process that the launcher has just cloned into new namespaces, before
any tenant byte is read. Everything below the new root is made from the fixed names
in this file; what comes from the host comes as detached mounts that the launcher
opened beforehand, so no path is looked up on the way in.

The order is forced: /proc has to be mounted while the host's is still there, or
the kernel takes it for an attempt to uncover a masked one; limits and capabilities
go before the filter, because it forbids the calls that change them; the filter goes
last.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from dataclasses import dataclass

from sandlot_sandbox import linux
from sandlot_sandbox.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = "image"
"""Where the root of a container image is, until it is the root."""

_OF_IMAGES = ("dev", "etc/hosts", "etc/resolv.conf")
"""What instances have of the jail's, over what the image has there."""

INNER_ID = 1000
"""User and group of everything in a jail, as seen from inside."""

_STAGE = "/tmp"  # noqa: S108 - any directory will do: it is only covered, never used
_PROC_OPTIONS = "hidepid=2,subset=pid"
_PROC_FLAGS = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC

_DIRECTORIES = (
    *("dev", "etc", "etc/ssl", "etc/ssl/certs", "old", "opt", "proc", "tmp", "usr"),
    *("var", "var/lang", "var/runtime", "var/task"),
)
DEVICES = ("null", "zero", "full", "random", "urandom")
_LINKS = (
    ("/proc/self/fd", "dev/fd"),
    ("/proc/self/fd/0", "dev/stdin"),
    ("/proc/self/fd/1", "dev/stdout"),
    ("/proc/self/fd/2", "dev/stderr"),
)

_READ = linux.LANDLOCK_READ_FILE | linux.LANDLOCK_READ_DIR
_OF_DEVICES = (
    _READ
    | linux.LANDLOCK_WRITE_FILE
    | linux.LANDLOCK_TRUNCATE
    | linux.LANDLOCK_IOCTL_DEV
)
_READ_NAMES = linux.LANDLOCK_READ_DIR
_OF_IMAGES_RULES = ("tmp", "dev")
_EVERYTHING = -1
_RIGHTS = {"tmp": _EVERYTHING, "dev": _OF_DEVICES, "etc": _READ, "proc": _READ}
"""What an instance may do below a folder of its root; in others, read and execute."""

KEPT_BY_ZYGOTE = frozenset((linux.CAP_SYS_ADMIN, linux.CAP_SYS_CHROOT))
"""What entering a cell takes, held over the zygote's own user namespace only. The
filter leaves no call that could use them for more, and instances drop them."""


@dataclass(frozen=True)
class Root:
    """What a jail's root file system is made of."""

    mounts: tuple[tuple[int, str], ...]
    """Detached mounts and where they go, relative to the root."""

    links: tuple[tuple[str, str], ...]
    """Symbolic links of the host's that its libraries need: /lib → usr/lib."""

    files: tuple[tuple[str, bytes], ...]
    """Files below etc, by content."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        return tuple(fd for fd, _ in self.mounts)


def become_inner_user() -> None:
    """Takes away: whatever uid the launcher has."""
    os.setresgid(INNER_ID, INNER_ID, INNER_ID)
    os.setresuid(INNER_ID, INNER_ID, INNER_ID)


def assemble_root(root: Root, limits: Limits) -> None:
    """Takes away: the host's files. Proof: `tests/isolation/test_sight.py`."""
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    flags = linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("root", _STAGE, "tmpfs", flags, "size=2m,nr_inodes=512,mode=755")
    os.chdir(_STAGE)
    for name in _DIRECTORIES:
        os.mkdir(name, 0o755)
    for target, name in (*root.links, *_LINKS):
        os.symlink(target, name)
    for name, content in root.files:
        _write(name, content)
    for name in DEVICES:
        _write(f"dev/{name}", b"")
    for fd, name in root.mounts:
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        if not os.path.lexists(name):
            os.mkdir(name, 0o755)
        linux.move_mount(fd, name)
        os.close(fd)
    mount_tmp("tmp", limits)
    mount_proc("proc")
    linux.pivot_root(".", "old")
    os.chdir("/")
    linux.unmount_tree("/old")
    os.rmdir("/old")
    remount = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY
    linux.mount("none", "/", None, remount | flags)


def move_into_image(limits: Limits) -> None:
    """Takes away: the machine's programs and libraries, from the warden and all cells;
    for these were the image's root. Proof: `tests/isolation/test_images.py`.

    A stranger filled it, with links that lead anywhere: each place is opened without
    following one, and has to be what it should be.
    """
    root = os.open(f"/{IMAGE}", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    for name in _OF_IMAGES:
        with _place(root, name) as target:
            # Read-only, as what it is copied from is by now.
            linux.mount(f"/{name}", target, None, linux.MS_REC | linux.MS_BIND)
    with _place(root, "tmp") as target:
        mount_tmp(target, limits)
    with _place(root, "proc") as target:
        mount_proc(target)
    # The old root is put over the new one, and taken away from there: in the image no
    # place for it is needed.
    os.fchdir(root)
    os.close(root)
    linux.pivot_root(".", ".")
    linux.unmount_tree(".")
    os.chdir("/")


@contextlib.contextmanager
def _place(root: int, name: str) -> Iterator[str]:
    """A path of that folder, or of that file in a folder, in an image, which leads
    nowhere else. Raises `OSError` if a link is in its place."""
    *folders, last = name.split("/")
    opened = [root]
    try:
        for folder in folders:
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
            opened.append(os.open(folder, flags, dir_fd=opened[-1]))
        place = os.open(last, os.O_PATH | os.O_NOFOLLOW, dir_fd=opened[-1])
        opened.append(place)
        mode, wanted = os.fstat(place).st_mode, os.stat(f"/{name}").st_mode
        if stat.S_IFMT(mode) != stat.S_IFMT(wanted):
            raise OSError(f"the image's /{name} is something else")
        yield f"/proc/self/fd/{place}"
    finally:
        for fd in opened[1:]:
            os.close(fd)


def mount_tmp(target: str, limits: Limits) -> None:
    """A private /tmp of limited size and number of files."""
    linux.mount(*of_tmp(target, limits))


def of_tmp(target: str, limits: Limits) -> tuple[str, str, str, int, str]:
    """What `linux.mount` is told for that."""
    flags = linux.MS_NOSUID | linux.MS_NODEV
    return "tmp", target, "tmpfs", flags, limits.tmp_options


def mount_proc(target: str) -> None:
    """Only the processes of the pid namespace we are in, and nothing of the machine."""
    linux.mount(*of_proc(target))


def of_proc(target: str) -> tuple[str, str, str, int, str]:
    """What `linux.mount` is told for that."""
    return "proc", target, "proc", _PROC_FLAGS, _PROC_OPTIONS


def name_the_host() -> None:
    """Takes away: the machine's name."""
    socket.sethostname("sandlot")


def make_instance_ruleset(landlock: int, *, has_image: bool = False) -> int:
    """What an instance will be bound to, once it is in its cell; a descriptor.

    The mounts are read-only already: this holds if one day one of them is not. And
    it makes each instance a domain of its own, out of which nothing can be signalled,
    traced, or reached by an abstract socket. In an image's root, whose folders are a
    stranger's, what is not ours is one tree.
    """
    ruleset = linux.make_ruleset(*taken_from_instances(landlock))
    try:
        for path, rights in left_to_instances(landlock, has_image=has_image):
            linux.allow_beneath(ruleset, path, rights)
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def taken_from_instances(landlock: int) -> tuple[int, int]:
    """Rights to files, and what is out of reach besides; see `linux.make_ruleset`."""
    return linux.landlock_file_rights(landlock), linux.landlock_scopes(landlock)


def left_to_instances(landlock: int, *, has_image: bool) -> Iterator[tuple[str, int]]:
    """Rights by the paths below which they are given back."""
    known = linux.landlock_file_rights(landlock)
    of_root = _READ | linux.LANDLOCK_EXECUTE if has_image else _READ_NAMES
    yield "/", of_root & known
    for name in _OF_IMAGES_RULES if has_image else os.listdir("/"):
        if not os.path.islink(f"/{name}"):
            rights = _RIGHTS.get(name, _READ | linux.LANDLOCK_EXECUTE)
            yield f"/{name}", rights & known


def _confine_signals(landlock: int) -> None:
    """Takes away: signals to our processes in its jail. Files are left to an instance's
    own ruleset: what handles them would not let it enter a cell."""
    if scopes := linux.landlock_scopes(landlock):
        ruleset = linux.make_ruleset(0, scopes)
        linux.restrict_self(ruleset)
        os.close(ruleset)


def seal_program(
    limits: Limits,
    last_capability: int,
    landlock: int,
    seccomp: bytes | None,
    *,
    kept: frozenset[int],
) -> None:
    """Before a jail's program is exec'd. Takes away: limits, capabilities but for those
    `kept`, privileges to be gained, signals to our own, system calls.

    Proof: `tests/isolation/test_posture.py` for each line.
    """
    limits.apply()
    # First, because what is not in the bounding set cannot be made inheritable any
    # more; and emptying the bounding set takes a capability that goes after it.
    linux.make_inheritable(kept, last_capability)
    linux.drop_bounding_set(last_capability)
    linux.set_capabilities(kept, through_exec=True)
    linux.set_no_new_privileges()
    _confine_signals(landlock)
    if seccomp is not None:
        linux.load_filter(seccomp)


def seal_warden(
    limits: Limits,
    last_capability: int,
    seccomp: bytes | None,
    *,
    kept: frozenset[int],
) -> None:
    """For the warden, and the first processes of its cells. Takes away: limits,
    capabilities over the jail but for those `kept`, privileges to be gained, system
    calls. There is nothing that it could exec."""
    limits.apply(passes_descriptors=True)
    linux.drop_bounding_set(last_capability)
    linux.set_capabilities(kept, through_exec=False)
    linux.set_no_new_privileges()
    if seccomp is not None:
        linux.load_filter(seccomp)


def seal_reaper(seccomp: bytes | None) -> None:
    """For processes of ours inside the jail that only wait; after `seal_warden`."""
    linux.set_capabilities(frozenset(), through_exec=False)
    if seccomp is not None:
        linux.load_filter(seccomp)


def _write(name: str, content: bytes) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
