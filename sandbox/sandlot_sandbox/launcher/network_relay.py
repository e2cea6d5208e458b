"""The process beside an egress cell: gives it its network, then passes frames on.

It is forked by the launcher and makes two children. One enters the cell's network
namespace, makes a tap device and the resolver's socket there, hands both back, and
ends. The other becomes slirp4netns, which speaks to the world: it is given frames by a
socket (its `bess` mode) instead of being let into the cell, so it needs no privilege
at any time, and none over the cell.

The relay itself looks into no frame, but for the ports of UDP, of which a cell has only
so many (`network_ports.py`). It answers the cell's DNS (`resolver.py`), ends when the
cell does, and takes slirp4netns along; and it dies with the launcher.

    a cell's process → its kernel: routes, filter → tap → relay → slirp4netns → sockets
                     → 127.0.0.53 → relay's resolver → the machine's nameservers
"""

import contextlib
import gc
import os
import resource
import select
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from sandlot_sandbox import linux
from sandlot_sandbox.launcher import network_link
from sandlot_sandbox.launcher.network_ports import UdpPorts
from sandlot_sandbox.launcher.network_rules import VIRTUAL, Rules, make_rules
from sandlot_sandbox.launcher.resolver import Resolver, nameservers

READY = b"+"
MAX_WORDS = 400
"""Bytes of what is said when something went wrong."""

_START_S = 10
"""For all of the steps."""

_MAX_FRAME = 65_550
"""The MTU, and a header. Rounded up."""

_FRAMES_AT_ONCE = 32
_SOCKET_BYTES = 1 << 20
_NEW_DESCRIPTORS = 8

_RELAY_FILES = 64
_SLIRP_FILES = 1024
"""Connections of a cell, more or less."""

_SLIRP_DATA = 512 << 20
"""Bytes. A connection takes up to a quarter of a megabyte of address space, also for
the ten seconds that slirp4netns remembers a closed one. At this limit it aborts, and
the cell ends; so its files come first, without which only a connection fails."""

_STAGE = "/tmp"  # noqa: S108 - covered by a mount of our own
_SOCKET = "/run/slirp"
_RESOLV_CONF = Path("/etc/resolv.conf")
_LOADER_CACHE = Path("/etc/ld.so.cache")
_MERGED = ("bin", "lib", "lib32", "lib64")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the launcher knows of a cell."""

    namespace: int
    """Descriptor of the cell's network namespace."""

    cell: int
    """Pidfd of the cell's first process."""

    joins: tuple[int, ...]
    """Control groups' files that one joins by writing 0."""

    allow: tuple[str, ...]
    user: int | None
    """Whom to become; None where the launcher is no root."""

    program: str
    """slirp4netns, by its path below /usr."""

    relay_filter: bytes | None
    slirp_filter: bytes | None
    """None only where the operator gave that layer up."""

    last_capability: int
    landlock: int


def run(plan: Plan, launcher: int) -> NoReturn:
    """The relay's whole life, as the first process of a pid namespace: when it ends,
    the kernel ends and reaps what it has started.

    To the pipe `launcher` it writes `READY` once, or what went wrong.
    """
    try:
        relay = _prepare(plan, launcher)
        # Fails if the launcher has died before it was to take us along.
        os.write(launcher, READY)
        os.close(launcher)
        relay.serve()
    except BaseException as error:  # noqa: BLE001 - it is reported, then we die of it
        with contextlib.suppress(OSError):
            words = f"{type(error).__name__}: {error}"
            os.write(launcher, words.encode("utf-8", "replace")[:MAX_WORDS])
    finally:
        os._exit(1)


def _prepare(plan: Plan, launcher: int) -> "_Relay":
    linux.set_death_signal(signal.SIGKILL)
    # By a handler, because nothing else ends the first process of a namespace.
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(_START_S)
    for join in plan.joins:
        os.write(join, b"0")
    _let_go_of_the_launchers(launcher, plan.namespace, plan.cell)
    gc.freeze()
    rules = make_rules(plan.allow, network_link.own_networks())
    servers = nameservers(_RESOLV_CONF.read_text("utf-8", "replace"))
    tap, cell_dns = _in_child(plan.namespace, rules)
    os.close(plan.namespace)
    _make_root(plan)
    output = _start_slirp(plan)
    slirp = _connect(output)
    os.unlink(_SOCKET)
    resolver = Resolver(cell_dns, servers, rules.reach)
    relay = _Relay(tap, slirp, output, plan.cell, resolver)
    _seal(plan)
    return relay


def _give_up(_signal: int, _frame: object) -> None:
    raise OSError(f"it took longer than {_START_S} s")


def _let_go_of_the_launchers(*kept: int) -> None:
    """Takes away: all descriptors that the fork copied, but these."""
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    first = 3
    for fd in sorted(kept):
        linux.close_range(first, fd - 1)
        first = max(first, fd + 1)
    linux.close_from(first)


def _in_child(namespace: int, rules: Rules) -> tuple[int, socket.socket]:
    """The cell's tap and its resolver's socket, made by a child that enters the cell.

    We stay outside: a rootless launcher's child could not come back.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        try:
            tap, dns = network_link.make_link(namespace, rules)
            socket.send_fds(theirs, [READY], [tap, dns.fileno()])
        except BaseException as error:  # noqa: BLE001 - reported, as above
            theirs.send(str(error).encode("utf-8", "replace")[:MAX_WORDS] or b"unknown")
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        word, descriptors, _, _ = socket.recv_fds(ours, MAX_WORDS, _NEW_DESCRIPTORS)
    os.waitpid(pid, 0)
    if word != READY:
        raise OSError(word.decode("utf-8", "replace") or "entering the cell failed")
    tap, resolver = descriptors
    return tap, socket.socket(fileno=resolver)


def _make_root(plan: Plan) -> None:
    """Takes away: the machine's files, but for /usr, where slirp4netns is."""
    sources = [("usr", _clone("/usr"))]
    links = []
    for name in _MERGED:
        path = Path("/") / name
        if path.is_symlink():
            links.append((os.readlink(path), name))
        elif path.is_dir():
            sources.append((name, _clone(str(path))))
    cache = _LOADER_CACHE.read_bytes() if _LOADER_CACHE.exists() else b""
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    flags = linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("root", _STAGE, "tmpfs", flags, "size=1m,nr_inodes=64,mode=755")
    os.chdir(_STAGE)
    for name in ("etc", "old", "run"):
        os.mkdir(name, 0o755)
    with open("etc/ld.so.cache", "wb") as file:
        file.write(cache)
    os.chmod("etc/ld.so.cache", 0o644)
    for target, name in links:
        os.symlink(target, name)
    for name, source in sources:
        os.mkdir(name, 0o755)
        linux.move_mount(source, name)
        os.close(source)
    if plan.user is not None:
        os.chown("run", plan.user, plan.user)
    os.chmod("run", 0o700)
    linux.pivot_root(".", "old")
    os.chdir("/")
    linux.unmount_tree("/old")


def _clone(path: str) -> int:
    source = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return linux.clone_mount(source, read_only=True, nodev=True)
    finally:
        os.close(source)


def _start_slirp(plan: Plan) -> int:
    """A pipe of what slirp4netns prints, which ends when it does.

    It has a pid namespace of its own: it sees nobody, and no child outlives it.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    go_read, go_write = os.pipe2(os.O_CLOEXEC)
    pid = linux.clone(linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)
    if pid == 0:
        try:
            os.close(go_write)
            _become_slirp(plan, go_read, write)
        except BaseException as error:  # noqa: BLE001 - reported, as above
            os.write(write, str(error).encode("utf-8", "replace")[:MAX_WORDS])
        finally:
            os._exit(127)
    os.close(write)
    os.close(go_read)
    os.write(go_write, b"g")
    os.close(go_write)
    return read


def _become_slirp(plan: Plan, go: int, output: int) -> None:
    linux.heed_signals()
    _lower(resource.RLIMIT_CORE, 1)
    _lower(resource.RLIMIT_NOFILE, _SLIRP_FILES)
    _lower(resource.RLIMIT_DATA, _SLIRP_DATA)
    _give_up_privileges(plan)
    linux.set_death_signal(signal.SIGKILL)
    if not os.read(go, 1):
        return  # the relay was gone before the kernel knew that we depend on it
    os.dup2(output, 1)
    os.dup2(output, 2)
    linux.close_from(3)
    if scopes := linux.landlock_scopes(plan.landlock):
        # Abstract sockets are of the machine's network namespace, which it is in.
        linux.restrict_self(linux.make_ruleset(0, scopes))
    if plan.slirp_filter is not None:
        linux.load_filter(plan.slirp_filter)
    os.execve(  # noqa: S606 - found by the launcher, in /usr
        plan.program,
        [
            *(plan.program, "--target-type=bess", f"--cidr={VIRTUAL}"),
            *(f"--mtu={network_link.MTU}", "--disable-host-loopback", "--disable-dns"),
            _SOCKET,
        ],
        {},
    )


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(kind, (limit, limit))


def _give_up_privileges(plan: Plan) -> None:
    """Takes away: all ids and capabilities. The death signal is to be set again."""
    linux.drop_bounding_set(plan.last_capability)
    if plan.user is not None:
        os.setgroups([])
        os.setresgid(plan.user, plan.user, plan.user)
        os.setresuid(plan.user, plan.user, plan.user)
    linux.set_capabilities(frozenset(), through_exec=False)
    linux.set_no_new_privileges()


def _connect(output: int) -> socket.socket:
    """slirp4netns says something once it listens."""
    said = b""
    while True:
        words = os.read(output, MAX_WORDS)
        said = (said + words)[-MAX_WORDS:]
        if not words:
            detail = said.decode("utf-8", "replace").strip()
            raise OSError(f"slirp4netns ended: {detail or 'it said nothing'}")
        slirp = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            slirp.connect(_SOCKET)
        except (FileNotFoundError, ConnectionRefusedError):
            slirp.close()
            continue
        slirp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        slirp.send(network_link.introduction())
        slirp.setblocking(False)
        return slirp


def _seal(plan: Plan) -> None:
    _lower(resource.RLIMIT_CORE, 1)
    _lower(resource.RLIMIT_NOFILE, _RELAY_FILES)
    _give_up_privileges(plan)
    linux.set_dumpable(dumpable=False)
    linux.set_death_signal(signal.SIGKILL)
    signal.alarm(0)
    if plan.relay_filter is not None:
        linux.load_filter(plan.relay_filter)


class _Relay:
    """Frames one way and the other, and the cell's DNS beside them."""

    def __init__(
        self,
        tap: int,
        slirp: socket.socket,
        output: int,
        cell: int,
        resolver: Resolver,
    ) -> None:
        self._tap = tap
        self._socket = slirp
        self._slirp = slirp.fileno()
        self._output = output
        self._cell = cell
        self._resolver = resolver
        self._ports = UdpPorts(time.monotonic)
        self._held = b""
        """A frame that slirp4netns was too busy to take."""

        self._poll = select.epoll()
        for fd in (tap, self._slirp, output, cell, resolver.fileno()):
            self._poll.register(fd, select.EPOLLIN)

    def serve(self) -> None:
        """Until the cell or slirp4netns has ended."""
        while True:
            timeout_ms = self._resolver.timeout_ms()
            timeout_s = None if timeout_ms is None else timeout_ms / 1000
            for fd, events in self._poll.poll(timeout_s):
                if fd == self._tap:
                    self._take_from_cell()
                elif fd == self._slirp and events & select.EPOLLOUT:
                    self._resume()
                elif fd == self._slirp:
                    self._give_to_cell()
                elif fd == self._cell or not self._is_slirp_alive(fd):
                    return
            self._resolver.work()

    def _take_from_cell(self) -> None:
        for _ in range(_FRAMES_AT_ONCE):
            try:
                frame = os.read(self._tap, _MAX_FRAME)
            except BlockingIOError:
                return
            if not self._ports.lets_out(frame):
                continue
            try:
                os.write(self._slirp, frame)
            except BlockingIOError:
                # Rather than lose frames, let them wait in the cell's own queue.
                self._held = frame
                self._poll.modify(self._tap, 0)
                self._poll.modify(self._slirp, select.EPOLLIN | select.EPOLLOUT)
                return

    def _resume(self) -> None:
        try:
            os.write(self._slirp, self._held)
        except BlockingIOError:
            return
        self._held = b""
        self._poll.modify(self._tap, select.EPOLLIN)
        self._poll.modify(self._slirp, select.EPOLLIN)

    def _give_to_cell(self) -> None:
        for _ in range(_FRAMES_AT_ONCE):
            try:
                frame = os.read(self._slirp, _MAX_FRAME)
            except BlockingIOError:
                return
            self._ports.note_in(frame)
            with contextlib.suppress(OSError):  # as a network does
                os.write(self._tap, frame)

    def _is_slirp_alive(self, fd: int) -> bool:
        """What it prints is not for anybody, but has to be taken."""
        return fd != self._output or bool(os.read(self._output, MAX_WORDS))
