"""Egress: a cell gets a way out to public addresses, and to no others.

Without netfilter and in both modes alike: slirp4netns makes sockets of the machine
out of a cell's packets. What a cell may send is decided by a filter in its own tap
device (`network_rules.py`); a process beside each cell passes frames on and answers
DNS (`network_relay.py`). Nothing here waits; the server does:

    network = Network(is_root=True, has_seccomp=True)          # EgressUnavailable

    # when the warden has made the cell, before the engine is told of it:
    way_out = network.start(netns, allow=["10.1.0.0/16"], cell=pidfd, joins=joins)
    watch(way_out.ready_fd, ...)      # readable: usable, or not
        unwatch(way_out.ready_fd)
        trouble = way_out.outcome()   # "" and the cell can be handed on, else kill it
    watch(way_out.pidfd, ...)         # readable: it has ended; kill its cell
        unwatch(way_out.pidfd)
        way_out.bury()

A way out ends by itself when its cell's first process does. `kill` is for giving it up
before; `bury` has to follow in any case, once `pidfd` is readable. `/etc/resolv.conf`
in the jail is `RESOLV_CONF`.
"""

import contextlib
import os
import select
import signal
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sandlot_sandbox import linux
from sandlot_sandbox.launcher import filters, network_policy, network_relay, users
from sandlot_sandbox.launcher.network_link import RESOLVER, TUN

RESOLV_CONF = f"nameserver {RESOLVER[0]}\noptions edns0\n"
"""For the jail. With EDNS answers may be longer than 512 bytes."""

MAX_EGRESS = 256
"""Cells with a way out. Each takes two processes and some megabytes."""

MAX_EGRESS_OF_OWNER = 240
"""Those of one tenant, who leaves a sixteenth to others, as with instances."""

EGRESS_UID = 999_999_999
"""Whom the processes beside cells run as, where we are root: nobody else. One is enough
for all: they have a file system without files, and slirp4netns a pid namespace."""

_PROGRAM = "slirp4netns"
_PATH = "/usr/bin:/usr/local/bin:/usr/sbin"
_TRY_S = 15.0


class EgressUnavailable(Exception):
    """Cells can have no way out here; the message says what is missing."""


@dataclass(slots=True)
class WayOut:
    """A cell's, as the launcher knows it."""

    pid: int
    pidfd: int
    ready_fd: int
    """Readable when `outcome` has an answer; closed by it."""

    _on_bury: Callable[[], None]

    @property
    def is_there(self) -> bool:
        """Whether it was not buried yet, and may be in its cell's groups."""
        return self.pidfd >= 0

    def outcome(self) -> str:
        """Empty when the cell has its network, else what went wrong. Once."""
        try:
            word = os.read(self.ready_fd, network_relay.MAX_WORDS)
        finally:
            os.close(self.ready_fd)
            self.ready_fd = -1
        if word == network_relay.READY:
            return ""
        return word.decode("utf-8", "replace") or "the way out was killed at its start"

    def kill(self) -> None:
        """The relay, and with it slirp4netns and the device. After `bury`, nobody."""
        if self.is_there:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def bury(self) -> None:
        """Reap what has ended, or is just being killed, and give back what it held."""
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        self.pidfd = -1
        if self.ready_fd >= 0:
            os.close(self.ready_fd)
            self.ready_fd = -1
        self._on_bury()


class Network:
    """Makes ways out, as many as there may be."""

    def __init__(self, *, is_root: bool, has_seccomp: bool) -> None:
        """Raises `EgressUnavailable`. `has_seccomp` is false where the operator gave
        that layer up."""
        self._program = _find_program()
        _expect_tun()
        self._user = EGRESS_UID if is_root else None
        self._relay_filter = self._slirp_filter = None
        if has_seccomp:
            self._relay_filter, self._slirp_filter = filters.compile_apart(
                network_policy.RELAY, network_policy.SLIRP
            )
        self._last_capability = linux.last_capability()
        self._landlock = linux.landlock_version()
        self.live = 0
        """How many there are at the moment."""

        self._of: Counter[int] = Counter()

    def start(
        self,
        namespace: int,
        *,
        allow: Sequence[str],
        cell: int,
        joins: Sequence[int] = (),
        owner: int = 0,
    ) -> WayOut:
        """Begin to give the network namespace `namespace` a way out; all descriptors
        stay the caller's.

        `cell` is a pidfd: when that process ends, so does the way out. Who writes 0 to
        `joins` is in the cell's control groups. Raises `EgressUnavailable` at
        `MAX_EGRESS` and, for one `owner`, at `MAX_EGRESS_OF_OWNER`; `OSError` where
        nothing could be started.
        """
        if self.live >= MAX_EGRESS:
            raise EgressUnavailable(
                f"{self.live} instances have network egress, of {MAX_EGRESS} allowed"
            )
        if self._of[owner] >= MAX_EGRESS_OF_OWNER:
            raise EgressUnavailable(
                f"{self._of[owner]} instances of this tenant have network egress, of"
                f" {MAX_EGRESS_OF_OWNER} allowed"
            )
        plan = network_relay.Plan(
            namespace=namespace,
            cell=cell,
            joins=tuple(joins),
            allow=tuple(allow),
            user=self._user,
            program=self._program,
            relay_filter=self._relay_filter,
            slirp_filter=self._slirp_filter,
            last_capability=self._last_capability,
            landlock=self._landlock,
        )
        ready, says_ready = os.pipe2(os.O_CLOEXEC)
        try:
            pid = linux.clone(linux.CLONE_NEWPID)
            if pid == 0:
                network_relay.run(plan, says_ready)
        except BaseException:
            os.close(ready)
            raise
        finally:
            os.close(says_ready)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(ready)
            raise
        self.live += 1
        self._of[owner] += 1
        return WayOut(pid, pidfd, ready, partial(self._one_less, owner))

    def _one_less(self, owner: int) -> None:
        self.live -= 1
        self._of[owner] -= 1
        if not self._of[owner]:
            del self._of[owner]


def _find_program() -> str:
    places = (os.path.join(folder, _PROGRAM) for folder in _PATH.split(":"))
    found = next((place for place in places if os.access(place, os.X_OK)), "")
    program = os.path.realpath(found) if found else ""
    if not program.startswith("/usr/"):
        raise EgressUnavailable(
            f"there is no {_PROGRAM} in {_PATH}. Install it: apt-get install {_PROGRAM}"
        )
    return program


def _expect_tun() -> None:
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        raise EgressUnavailable(
            f"there is no {TUN}. Load the module, modprobe tun, or in a container have"
            " the device passed in"
        ) from None
    except OSError as error:
        raise EgressUnavailable(
            f"{TUN} cannot be opened ({error.strerror}). Let everybody, as most systems"
            " do: chmod 666, or the udev rule"
            ' KERNEL=="tun", MODE="0666", OPTIONS+="static_node=net/tun"'
        ) from None


def probe_egress() -> str:
    """Tried by doing it: empty where cells can have a way out, else what is missing.

    As whom we are; in a child, because it enters namespaces.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        answer = "the attempt failed"
        try:
            signal.alarm(int(_TRY_S))
            linux.set_death_signal(signal.SIGKILL)
            answer = _attempt()
        except BaseException as error:  # noqa: BLE001 - it is what we came to find out
            answer = str(error) or type(error).__name__
        finally:
            os.write(write, answer.encode("utf-8", "replace")[:1024])
            os._exit(0)
    os.close(write)
    try:
        # Nothing at all is said by who was killed.
        said = os.read(read, 1024) if _is_readable(read, _TRY_S) else b""
    finally:
        os.close(read)
        os.waitpid(pid, 0)
    if said == network_relay.READY:
        return ""
    return said.decode("utf-8", "replace") or "the attempt was killed"


def _is_readable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _attempt() -> str:
    is_root = os.geteuid() == 0 and users.can_give_ids()
    if os.geteuid() != 0:
        users.become_root_of_own_namespace()
    network = Network(is_root=is_root, has_seccomp=True)
    holder, hold = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            hold.close()
            linux.set_death_signal(signal.SIGKILL)
            linux.unshare(linux.CLONE_NEWNET)
            linux.raise_loopback()
            holder.send(b"+")
            holder.recv(1)
        finally:
            os._exit(0)
    holder.close()
    hold.recv(1)
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    way_out = network.start(namespace, allow=(), cell=os.pidfd_open(pid))
    try:
        return way_out.outcome() or network_relay.READY.decode()
    finally:
        way_out.kill()
        way_out.bury()
        hold.close()
        os.waitpid(pid, 0)
