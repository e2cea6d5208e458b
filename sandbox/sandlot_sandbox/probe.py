"""What this kernel lets us enforce, found out by doing it.

Every layer is tried in a child of its own, in the very way the launcher uses it;
nothing is concluded from version numbers. `sandlot doctor` prints the rows,
`sandlot up` refuses to run on less unless a layer is given up by name.
"""

import errno
import os
import resource
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from sandlot_sandbox import linux
from sandlot_sandbox.guest import cell, enter, namespaces
from sandlot_sandbox.launcher import cgroups, filters, users
from sandlot_sandbox.limits import COUNTED_PROCESSES, OPEN_FILES, Limits
from sandlot_sandbox.spec import Layer

EX_CONFIG = 78
"""sysexits(3): the machine is not set up for this."""

CAN_BE_GIVEN_UP = frozenset(("seccomp", "network", "landlock", "cgroup"))
"""The layers a jail can be built without, if its operator says so by name."""

_TRY_S = 10
_MAX_SAID = 400
PASSING = frozenset((errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE))
"""What the machine, or our user, has too little of just now: processes, memory, open
files. Nothing is learnt by it about what the kernel enforces."""

_WENT_WELL, _BUSY, _FAILED = b"+", b"~", b"-"
_TRY_AGAIN = (
    "The machine is too busy for it to be tried, or our limits of processes and open"
    " files (ulimit -a) are too low; try again later"
)

_MIN_OPEN_FILES = 8 * OPEN_FILES
"""Without root, a jail's open files on their way through a socket count for launcher
and engine as well, and a jail may have some more than `OPEN_FILES` on their way. And
with fewer there is room for so few functions that nobody would expect it."""
_FIRST_IN_CELL = 2


class _Row:
    def __init__(
        self, name: str, stops: str, attempt: Callable[[], str | None], fix: str
    ) -> None:
        self.name = name
        self.stops = stops
        self.attempt = attempt
        self.fix = fix


def try_all(
    groups: cgroups.Layout,
    *,
    given_up: frozenset[str] = frozenset(),
    must_control_all: bool = True,
) -> list[Layer]:
    """Every layer, tried now, as the user we are. `groups` is what `cgroups.find` found
    for whoever is to use them, and they hold only if they can control everything, or
    `must_control_all` is false."""
    rows = [*_ROWS, _cgroup_row(groups, must_control_all=must_control_all)]
    return [_judge(row, given_up) for row in rows]


def is_enough(layers: list[Layer]) -> bool:
    """Whether jails can be built on these."""
    return not missing(layers)


def can_make_user_namespaces(layers: list[Layer]) -> bool:
    return any(layer.name == "user" and layer.holds for layer in layers)


def missing(layers: list[Layer]) -> list[Layer]:
    """What `sandlot up` refuses for."""
    return [
        layer
        for layer in layers
        if layer.required and not layer.holds and not layer.given_up
    ]


def is_too_busy(layers: list[Layer]) -> bool:
    """Whether what is missing could only not be tried just now."""
    lacks = missing(layers)
    return bool(lacks) and all(layer.is_busy for layer in lacks)


def _judge(row: _Row, given_up: frozenset[str]) -> Layer:
    try:
        how, said = _in_child(row.attempt)
    except OSError as error:
        how, said = _BUSY, str(error)
    holds, is_busy = how == _WENT_WELL, how == _BUSY
    # Without root nobody may make control groups, unless systemd lets him: then pid 1
    # of each jail watches over its memory, and the row says so. But what could not be
    # tried, nobody does without.
    required = row.name != "cgroup" or users.is_root_of_many() or is_busy
    return Layer(
        row.name,
        row.stops,
        holds,
        said if holds else f"{said}. {_TRY_AGAIN if is_busy else row.fix}",
        row.name in given_up,
        required,
        is_busy,
    )


def _in_child(attempt: Callable[[], str | None]) -> tuple[bytes, str]:
    """How an attempt went that a child made, and what there is to say. Raises `OSError`
    where there can be no child."""
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except BaseException:
        os.close(read)
        os.close(write)
        raise
    if pid == 0:
        signal.alarm(_TRY_S)
        try:
            if os.geteuid() != 0:
                users.become_root_of_own_namespace()
            os.write(write, _WENT_WELL + (attempt() or "").encode())
        except BaseException as error:  # noqa: BLE001 - it is what we came to find out
            os.write(write, _told(error))
        finally:
            os._exit(0)
    os.close(write)
    try:
        ready, _, _ = select.select([read], [], [], _TRY_S)
        answer = os.read(read, 512) if ready else b""
    finally:
        os.close(read)
        # It may have left somebody behind who holds the pipe, but not itself.
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if answer:
        return answer[:1], answer[1:].decode("utf-8", "replace")
    rang = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
    if rang or not ready:
        return _BUSY, f"the attempt was not over after {_TRY_S} s"
    return _FAILED, "the attempt was killed"


def _told(error: BaseException) -> bytes:
    """An error, for whoever waits for how an attempt went."""
    is_busy = isinstance(error, TimeoutError | MemoryError | _Busy)
    is_busy |= getattr(error, "errno", None) in PASSING
    said = (str(error) or type(error).__name__).encode()[:_MAX_SAID]
    return (_BUSY if is_busy else _FAILED) + said


class _Busy(OSError):
    """So said a child of an attempt."""


def _new(flags: int) -> Callable[[], None]:
    return lambda: linux.unshare(flags)


def _jailed(step: Callable[[], None], extra: int = 0) -> None:
    """Run a step as pid 1 of a jail's namespaces, mapped as the launcher does it."""
    go_read, go_write = os.pipe2(os.O_CLOEXEC)
    said_read, said_write = os.pipe2(os.O_CLOEXEC)
    flags = linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWPID | extra
    pid = linux.clone(flags)
    if pid == 0:
        try:
            os.read(go_read, 1)
            enter.become_inner_user()
            step()
            os.write(said_write, _WENT_WELL)
        except BaseException as error:  # noqa: BLE001 - as above
            os.write(said_write, _told(error))
        finally:
            os._exit(0)
    uid = users.UserIds(is_root=users.can_give_ids()).take()
    users.write_maps(pid, uid, uid)
    os.write(go_write, b"g")
    os.close(said_write)
    answer = os.read(said_read, 512)
    os.waitpid(pid, 0)
    if answer != _WENT_WELL:
        said = answer[1:].decode("utf-8", "replace") or "killed"
        raise (_Busy if answer.startswith(_BUSY) else OSError)(said)


def _user() -> None:
    _jailed(lambda: None)


def _root_file_system() -> None:
    source = os.open("/usr", os.O_PATH | os.O_CLOEXEC)
    mount = linux.clone_mount(source, read_only=True, nodev=True)
    root = enter.Root(mounts=((mount, "usr"),), links=(), files=())

    def step() -> None:
        for device in enter.DEVICES:
            os.stat(f"/dev/{device}")
        enter.assemble_root(root, Limits(memory_mb=128, tmp_mb=1))
        if sorted(os.listdir("/usr")) == [] or os.path.lexists("/root"):
            raise OSError("the new root is not what was built")
        try:
            os.mkdir("/usr/sandlot-probe")
        except OSError:
            return
        raise OSError("a read-only mount was written to")

    _jailed(step)


def _cells() -> None:
    blueprint = cell.Blueprint(
        limits=Limits(memory_mb=128, tmp_mb=1),
        seccomp=None,
        has_network=False,
        landlock=0,
        has_runtime_api=False,
        has_leash=False,
    )

    def step() -> None:
        enter.assemble_root(enter.Root((), (), ()), blueprint.limits)
        _, names, descriptors = cell.make(blueprint, [], None)
        opened = dict(zip(names, descriptors, strict=True))
        linux.setns(opened["pid"], linux.CLONE_NEWPID)
        child = os.fork()
        if child == 0:
            linux.setns(opened["mnt"], linux.CLONE_NEWNS)
            os._exit(0 if os.getpid() == _FIRST_IN_CELL else 1)
        if os.waitpid(child, 0)[1]:
            raise OSError("the cell was entered, but is not where it should be")

    _jailed(step)


def _seccomp() -> None:
    program = filters.compile_filters(has_memory_group=True).zygote
    linux.set_no_new_privileges()
    linux.load_filter(program)
    try:
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    except OSError as error:
        if error.errno == errno.EPERM:
            return
        raise
    raise OSError("a filtered call went through")


def _privileges() -> None:
    linux.drop_bounding_set(linux.last_capability())
    linux.set_capabilities(frozenset(), through_exec=False)
    linux.set_no_new_privileges()
    status = Path("/proc/self/status").read_text()
    for line in (
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ):
        if line not in status:
            raise OSError(f"no {line!r} in /proc/self/status")


def _network() -> None:
    linux.unshare(linux.CLONE_NEWNET)
    linux.raise_loopback()
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=2).close()


def _limits() -> str:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files < _MIN_OPEN_FILES:
        raise OSError(
            f"{files} open files are too few: each function and each instance in"
            f" memory takes some, and each connection; at least {_MIN_OPEN_FILES}"
        )

    def step() -> None:
        limits = Limits(memory_mb=128, tmp_mb=1)
        namespaces.bound(limits.processes)
        limits.apply()
        _expect_no_process_beyond_the_limit()
        try:
            size = len(bytearray(1 << 30))
        except MemoryError:
            return
        raise OSError(f"{size} bytes were had under a limit of 384 MB")

    _jailed(step)
    return on_files_of_all(int(Path("/proc/sys/fs/file-max").read_text()))


def on_files_of_all(most: int) -> str:
    """What there is to say where all of the machine may have so many open: beyond it
    nobody but root opens any, and so not the engine either. systemd takes that bound
    away when it boots; the kernel's own is one for each 10 KB of memory."""
    of_a_function = COUNTED_PROCESSES * OPEN_FILES
    if most >= of_a_function:
        return ""
    return (
        f"a function may have {of_a_function:,} files open, and all of the machine"
        f" {most:,}: raise fs.file-max"
    )


def _landlock() -> str:
    version = linux.landlock_version()
    if not version:
        raise OSError("this kernel has none")
    if not users.is_root_of_many() and not linux.landlock_scopes(version):
        raise OSError(
            f"version {version} does not confine signals, and all jails have one user"
        )
    linux.set_no_new_privileges()
    ruleset = linux.make_ruleset(linux.landlock_file_rights(version), 0)
    linux.allow_beneath(ruleset, "/usr", linux.LANDLOCK_READ_DIR)
    linux.restrict_self(ruleset)
    os.listdir("/usr")
    try:
        os.listdir("/")
    except PermissionError:
        scopes = "" if linux.landlock_scopes(version) else ", without signals"
        return f"version {version}{scopes}"
    raise OSError("a folder that was taken away was read")


def _cgroup_row(groups: cgroups.Layout, *, must_control_all: bool) -> _Row:
    def attempt() -> str:
        tree = cgroups.Tree.plant(groups)
        # We join it ourselves, so somebody else has to remove it.
        cgroups.Janitor(tree)
        group = tree.make().add(Limits(memory_mb=128, tmp_mb=1).instance_share)
        for join in group.open_joins():
            os.write(join, b"0")
        inside = Path("/proc/self/cgroup").read_text()
        if inside.count(f"/{tree.name}/") < len(tree.parts):
            raise OSError("a group was joined, but we are not in it")
        lacking = frozenset(cgroups.CONTROLLERS) - tree.controls
        if lacking and must_control_all:
            names = ", ".join(sorted(lacking))
            raise OSError(f"{tree.description}, but without {names}")
        return tree.description

    return _Row(
        "cgroup",
        "using more memory, processors and processes than one's share, all together",
        attempt,
        "As root that needs /sys/fs/cgroup mounted for writing, which containers have"
        " only if they are given it, as by --privileged"
        if os.geteuid() == 0
        else "Where no group does it, pid 1 of each jail watches over memory and"
        " processes, and processors are not limited: start the engine as root, or by"
        " systemd with Delegate=yes",
    )


def _expect_no_process_beyond_the_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    try:
        child = os.fork()
    except BlockingIOError:
        return
    if child == 0:
        os._exit(0)
    raise OSError("a limit of 1 process let 2 be")


_ROWS = (
    _Row(
        "user",
        "holding any privilege over the machine",
        _user,
        "Allow user namespaces: sysctl user.max_user_namespaces > 0,"
        " kernel.unprivileged_userns_clone=1, and on Ubuntu"
        " kernel.apparmor_restrict_unprivileged_userns=0 or a profile; in a container,"
        " allow clone and unshare in its seccomp profile",
    ),
    _Row(
        "pid",
        "seeing, signalling or outliving others",
        _new(linux.CLONE_NEWPID),
        "Build the kernel with CONFIG_PID_NS",
    ),
    _Row(
        "mount",
        "reading the host's files, writing anything but one's own /tmp",
        _root_file_system,
        "Needs Linux 5.12 (open_tree, mount_setattr) and an unmasked /proc: run"
        " outside a container, or in one with an unmasked /proc",
    ),
    _Row(
        "cell",
        "instances that meet in /tmp, or leave processes behind",
        _cells,
        "Needs Linux 5.12 and user namespaces that may be nested",
    ),
    _Row("ipc", "sharing memory by name", _new(linux.CLONE_NEWIPC), "CONFIG_IPC_NS"),
    _Row(
        "uts", "learning the machine's name", _new(linux.CLONE_NEWUTS), "CONFIG_UTS_NS"
    ),
    _Row(
        "network",
        "reaching the host's services and the world",
        _network,
        "Build the kernel with CONFIG_NET_NS, and sysctl user.max_net_namespaces > 0",
    ),
    _Row(
        "privileges",
        "gaining capabilities by running another program",
        _privileges,
        "Build the kernel with CONFIG_MULTIUSER",
    ),
    _Row(
        "seccomp",
        "the system calls that have let others out of jails",
        _seccomp,
        "Install libseccomp2, and build the kernel with CONFIG_SECCOMP_FILTER",
    ),
    _Row(
        "landlock",
        "files, signals and sockets beyond the instance, if another layer fails",
        _landlock,
        "Boot with lsm=...,landlock (Linux 5.13; 6.12 to confine signals, which it"
        " takes where all jails have one user), or start the engine as root",
    ),
    _Row(
        "limits",
        "endless files, processes and namespaces, and memory, by the process",
        _limits,
        "Raise the limits of the session that starts the engine (ulimit -H -a);"
        " /proc/sys has to be writable",
    ),
)
