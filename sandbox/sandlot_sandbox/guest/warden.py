"""Pid 1 of a jail: ours, not the tenant's. Makes the zygote, then cells, and reaps.

It is cloned by the launcher into the jail's namespaces and never runs a tenant's
byte. From inside its own pid namespace nothing can kill it; when it goes, the
kernel takes the whole jail with it. It goes when its zygote does, and when the
launcher's end of the link is closed.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import select
import signal
import socket
import struct
import time
from dataclasses import dataclass

from sandlot_sandbox import linux
from sandlot_sandbox.guest import (
    cell,
    enter,
    holder,
    image_run,
    namespaces,
    network_memory,
    watch,
)
from sandlot_sandbox.guest.leash import FREEZE, Turns
from sandlot_sandbox.guest.network_memory import NetworkMemory
from sandlot_sandbox.limits import Limits

GO = b"go"
"""The launcher has written our id maps."""
_READY = b"ready"

_MAKE_CELL = struct.Struct("!c?xxQ")
_CELL = struct.Struct("!cxxxQ")
MADE, FAILED, DIED = b"M", b"F", b"D"
LAST_WORDS = b"W"
"""Of a warden that ends by an error of its own, which they name; of no cell."""

_MAX_LINK_MESSAGE = 512
_MAX_WHY = 256
_MAX_JOINS = 8
_FIRST_OF_OURS = 3
"""Below it are stdin, stdout and stderr."""


@dataclass(frozen=True)
class Plan:
    """All that a jail is made from; copied into the warden by the clone."""

    root: enter.Root
    limits: Limits
    last_capability: int
    zygote_filter: bytes | None
    warden_filter: bytes | None
    reaper_filter: bytes | None
    has_network: bool
    """False where the jail shares the machine's: by policy, or because the operator
    gave that layer up."""

    landlock: int
    """The version of Landlock's interface; 0 where it was given up, or is not there."""

    joins: tuple[int, ...]
    """Who writes to these is in the zygote's control group. The warden is not: it has
    to work while the zygote is frozen."""

    has_memory_group: bool
    """Whether control groups hold cells to their memory; else the warden does."""

    has_freezer: bool
    """Whether control groups freeze cells; else their first processes do."""

    has_runtime_api: bool
    """Whether its instances speak the Runtime API, instead of the zygote's language."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    channel: int
    """The zygote's socket to the engine."""

    log: int
    """Where its stdout and stderr go until it has instances."""

    packages: tuple[int, ...] = ()
    """A builder's: what it is to unpack, its descriptors from 4 on."""

    has_image: bool = False
    """Whether an image's root is that of its cells."""

    leash: int | None = None
    """Tells when to freeze the zygote, where no group can; the warden's to read."""

    @property
    def blueprint(self) -> cell.Blueprint:
        return cell.Blueprint(
            limits=self.limits,
            seccomp=self.reaper_filter,
            has_network=self.has_network,
            landlock=self.landlock,
            has_runtime_api=self.has_runtime_api,
            has_image=self.has_image,
            has_leash=not self.has_freezer,
            counts_sockets=self.counts_sockets,
            shows_sockets=self.shows_sockets,
        )

    @property
    def has_watch(self) -> bool:
        """Whether the warden does what there are no control groups for."""
        return not (self.has_memory_group and self.has_freezer)

    @property
    def counts_sockets(self) -> bool:
        """Whether it counts what is in the buffers of cells' networks."""
        return self.has_network and not self.has_memory_group

    @property
    def shows_sockets(self) -> bool:
        """Whether the launcher looks at how many there are, as groups do not count all
        that is behind them."""
        return self.has_network and self.has_memory_group

    @property
    def kept_by_warden(self) -> frozenset[int]:
        """What making cells takes: mounts and namespaces, a loopback; and, to look
        into processes, which may have capabilities of their own, that of tracing."""
        return frozenset(
            (
                linux.CAP_SYS_ADMIN,
                *((linux.CAP_NET_ADMIN,) if self.has_network else ()),
                *((linux.CAP_SYS_PTRACE,) if self.has_watch else ()),
            )
        )

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the warden keeps of the launcher's."""
        leash = () if self.leash is None else (self.leash,)
        return (*self.of_the_zygote, *leash, *self.root.descriptors)

    @property
    def of_the_zygote(self) -> tuple[int, ...]:
        """What the warden has no use for once there is a zygote."""
        return (self.channel, self.log, *self.joins, *self.packages)


def encode_make_cell(number: int, *, has_tmp: bool) -> bytes:
    """Asks the warden for a cell. Its control group's descriptors go along; before
    them, where it `has_tmp`, a mount that is to be its /tmp."""
    return _MAKE_CELL.pack(b"C", has_tmp, number)


def decode_cell(message: bytes) -> tuple[bytes, int, str]:
    """`MADE`, `FAILED` or `DIED`, the cell's number, and what there is to say: of a
    made one, what the descriptors are that come along; of a dead one, what the warden
    killed it for, if it did. Or `LAST_WORDS`, and what they are.

    Of no kind is what no warden says.
    """
    if len(message) < _CELL.size:
        return b"", 0, message.decode("utf-8", "replace")
    kind, number = _CELL.unpack_from(message)
    return kind, number, message[_CELL.size :].decode("utf-8", "replace")


def encode_last_words(text: str) -> bytes:
    """What a warden says when it ends by an error, and nothing after."""
    words = text.encode("utf-8", "replace")
    return (_CELL.pack(LAST_WORDS, 0) + words)[:_MAX_LINK_MESSAGE]


def run(plan: Plan, link: socket.socket) -> None:
    """The warden's whole life. Never returns."""
    status = 1
    try:
        status = _live(plan, link)
    except BaseException as error:  # noqa: BLE001 - it is reported, then we die of it
        link.setblocking(False)
        link.send(encode_last_words(f"{type(error).__name__}: {error}"))
    finally:
        os._exit(status)


def _live(plan: Plan, link: socket.socket) -> int:
    _let_go_of_the_launchers(plan, link)
    if link.recv(_MAX_LINK_MESSAGE) != GO:
        return 1
    enter.become_inner_user()
    # After our credentials changed, which makes the kernel forget both.
    linux.set_dumpable(dumpable=False)
    linux.set_death_signal(signal.SIGKILL)
    enter.name_the_host()
    namespaces.bound(plan.limits.processes)
    enter.assemble_root(plan.root, plan.limits)
    _let_go_of_the_operators()
    if plan.has_network:
        linux.raise_loopback()
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    zygote = _start_zygote(plan)
    if plan.has_image:
        image_run.import_nothing_more()
        enter.move_into_image(plan.limits)
    for fd in plan.of_the_zygote:
        os.close(fd)
    warden = _Warden(plan, link, zygote)
    gc.collect()
    # Cells' processes do not look at, and so do not write to, what they inherited.
    gc.freeze()
    enter.seal_warden(
        plan.limits,
        plan.last_capability,
        plan.warden_filter,
        kept=plan.kept_by_warden,
    )
    _say_ready(plan, link)
    return warden.serve(wake_read)


def _say_ready(plan: Plan, link: socket.socket) -> None:
    """With the number of sockets in the zygote's network, where somebody looks."""
    sockets = [network_memory.open_number()] if plan.shows_sockets else []
    socket.send_fds(link, [_READY], sockets)
    for fd in sockets:
        os.close(fd)


def _let_go_of_the_launchers(plan: Plan, link: socket.socket) -> None:
    """Takes away: the launcher's descriptors, which the clone copied. The engine's
    channel is among them, and links to other jails."""
    kept = sorted({link.fileno(), *plan.descriptors})
    first = _FIRST_OF_OURS
    for fd in kept:
        linux.close_range(first, fd - 1)
        first = max(first, fd + 1)
    linux.close_from(first)


def _let_go_of_the_operators() -> None:
    """Takes away: what the launcher was started with, a terminal or a log. The jail's
    own device takes its place: the machine's would hold on to the machine's mount."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(_FIRST_OF_OURS):
        os.dup2(null, fd)
    if null >= _FIRST_OF_OURS:
        os.close(null)


def is_ready(message: bytes) -> bool:
    """Whether the warden's first message says that all is well; else it says why."""
    return message == _READY


def _start_zygote(plan: Plan) -> int:
    """Its pid, once it is sealed and its program exec'd. Raises `OSError`."""
    _use_up_pid_2()
    trouble, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid:
        os.close(tell)
        # Closed by the exec, or else by a child that could not come to it.
        said = os.read(trouble, _MAX_LINK_MESSAGE)
        os.close(trouble)
        if said:
            raise OSError(said.decode("utf-8", "replace"))
        return pid
    try:
        os.setsid()
        for join in plan.joins:
            os.write(join, b"0")
        if plan.has_image:
            # It stays with the machine's interpreter, when we go where cells are.
            linux.unshare(linux.CLONE_NEWNS)
        # From here on groups are named from where we are: nobody learns the launcher's.
        linux.unshare(linux.CLONE_NEWCGROUP)
        linux.heed_signals()
        null = os.open("/dev/null", os.O_RDONLY)
        wanted = [null, plan.log, plan.log, plan.channel, *plan.packages]
        # Above the target numbers first, so that no dup2 overwrites a source.
        *sources, tell = [
            fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(wanted) + 1)
            for fd in (*wanted, tell)
        ]
        for target, source in enumerate(sources):
            os.dup2(source, target, inheritable=True)
        tell = os.dup2(tell, len(wanted), inheritable=False)
        linux.close_from(len(wanted) + 1)
        signal.set_wakeup_fd(-1)
        os.chdir("/var/task")
        enter.seal_program(
            plan.limits,
            plan.last_capability,
            plan.landlock,
            plan.zygote_filter,
            kept=frozenset() if plan.packages else enter.KEPT_BY_ZYGOTE,
        )
        os.execve(  # noqa: S606 - an interpreter of the launcher's choosing
            plan.argv[0], plan.argv, plan.environment
        )
    except BaseException as error:  # noqa: BLE001 - told, then we die of it
        os.write(tell, f"{type(error).__name__}: {error}".encode()[:_MAX_LINK_MESSAGE])
    finally:
        os._exit(127)


def _use_up_pid_2() -> None:
    """Every instance is process 2 of its cell. OpenSSL and others know a fork by its
    new pid alone, so the zygote must not be process 2 of its own namespace.

    By a program that does not exist: its process shares our memory until it fails to
    become that, where a fork would copy it, for a millisecond.
    """
    with contextlib.suppress(FileNotFoundError):
        os.posix_spawn("", ("nothing",), {})


class _Warden:
    """From when its zygote is there: does what the launcher orders, and reaps."""

    def __init__(self, plan: Plan, link: socket.socket, zygote: int) -> None:
        self._blueprint = plan.blueprint
        self._link = link
        self._zygote = zygote
        self._cells: dict[int, int] = {}
        self._verdicts: dict[int, str] = {}
        """Why we killed a cell, by the pid of its first process."""

        self._watch: watch.Watch | None = None
        if plan.has_watch:
            self._watch = watch.Watch(
                plan.limits,
                zygote,
                counts_memory=not plan.has_memory_group,
            )
        self._holder = holder.made(self._blueprint)
        self._leash = plan.leash
        self._ended: int | None = None
        """What to exit with, once the zygote is gone or nobody holds its leash."""

        self._wake = -1
        self._meanwhile = select.poll()
        """What is looked after while a cell is being made."""

        self._zygote_turns = Turns()
        self._zygote_turns.keep_from_children()
        if self._watch is not None:
            network = None
            if plan.counts_sockets:
                network = NetworkMemory(network_memory.open_questions())
            self._watch.mind_zygote(self._zygote_turns, network)

    def serve(self, wake: int) -> int:
        """Until the zygote or the launcher is gone; the zygote's exit status."""
        self._wake = wake
        everything = select.poll()
        everything.register(self._link, select.POLLIN)
        for sources in (everything, self._meanwhile):
            sources.register(wake, select.POLLIN)
            if self._leash is not None:
                sources.register(self._leash, select.POLLIN)
        while self._ended is None:
            self._look()
            came = self._heed(everything, self._pause_ms())
            if self._ended is None and self._link.fileno() in came and not self._obey():
                return 0
        return self._ended

    def _heed(self, sources: select.poll, patience_ms: float | None) -> list[int]:
        """Wait until there is something; reap, and freeze or let go of the zygote, if
        it is that. What has come."""
        came = [fd for fd, _ in sources.poll(patience_ms)]
        if self._wake in came:
            os.read(self._wake, 512)
            self._reap()
        if self._leash in came and not self._pull() and self._ended is None:
            self._ended = 0
        return came

    def _wait_for_cell(self, coming: socket.socket) -> None:
        """Until one that is being made says something. The others are not to suffer
        from it: they die, and are told of, as ever. Raises `OSError`."""
        deadline = time.monotonic() + cell.MAKE_S
        self._meanwhile.register(coming, select.POLLIN)
        try:
            while self._ended is None:
                left_ms = (deadline - time.monotonic()) * 1000
                if left_ms <= 0:
                    raise TimeoutError(f"it was not there after {cell.MAKE_S:g} s")
                pause_ms = self._pause_ms()
                patience_ms = left_ms if pause_ms is None else min(left_ms, pause_ms)
                came = self._heed(self._meanwhile, patience_ms)
                if coming.fileno() in came:
                    return
                if not came:
                    self._look()
            raise OSError("its zygote is gone")
        finally:
            self._meanwhile.unregister(coming)

    def _pull(self) -> bool:
        """Freeze the zygote, or let go of it; False where nobody holds its leash."""
        if self._leash is None or self._watch is None:
            return False
        order, turns = os.read(self._leash, 1), self._zygote_turns
        is_order_to_freeze = order == FREEZE
        if is_order_to_freeze == turns.is_frozen:
            return bool(order)
        turns.next()
        if not is_order_to_freeze:
            self._watch.continue_zygote()
        elif not self._watch.stop_zygote():
            os.kill(self._zygote, signal.SIGKILL)
        return bool(order)

    def _pause_ms(self) -> float | None:
        """Until we look after memory again, if nobody else does."""
        if self._watch is None:
            return None
        return self._watch.pause_s * 1000

    def _look(self) -> None:
        if self._watch is None:
            return
        for pid, verdict in self._watch.judge():
            self._verdicts[pid] = verdict
            os.kill(pid, signal.SIGKILL)

    def _obey(self) -> bool:
        message, joins, _, _ = socket.recv_fds(
            self._link, _MAX_LINK_MESSAGE, _MAX_JOINS
        )
        if not message:
            return False
        _, has_tmp, number = _MAKE_CELL.unpack(message)
        turns = Turns() if self._blueprint.has_leash else None
        tmp = joins.pop(0) if has_tmp else None
        try:
            pid, names, descriptors = cell.make(
                *(self._blueprint, joins, turns, tmp, self._holder),
                wait=self._wait_for_cell,
            )
        except OSError as error:
            if self._ended is None:  # Else all of us go, and that is told.
                self._tell_failed(number, error)
            return True
        finally:
            _close(joins if tmp is None else [*joins, tmp])
        self._cells[pid] = number
        if turns is not None:
            turns.keep_from_children()
        if self._watch is not None:
            network = None
            if "questions" in names:
                network = NetworkMemory(descriptors.pop(names.index("questions")))
                names.remove("questions")
            self._watch.add(pid, descriptors[names.index("pid")], turns, network)
        made = _CELL.pack(MADE, number) + " ".join(names).encode()
        try:
            socket.send_fds(self._link, [made], descriptors)
        except OSError as error:
            # Too many are on their way, say: that is no other cell's loss.
            self._tell_failed(number, error)
            os.kill(pid, signal.SIGKILL)
        finally:
            _close(descriptors)
        return True

    def _tell_failed(self, number: int, error: OSError) -> None:
        why = str(error).encode()[:_MAX_WHY]
        self._link.send(_CELL.pack(FAILED, number) + why)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._ended = 1
                return
            if not pid:
                return
            if pid == self._zygote:
                self._ended = _as_exit(status)
                return
            number = self._cells.pop(pid, None)
            if number is not None:
                verdict = self._verdicts.pop(pid, "")
                if self._watch is not None:
                    self._watch.remove(pid)
                self._link.send(_CELL.pack(DIED, number) + verdict.encode())


def _close(descriptors: list[int]) -> None:
    for fd in descriptors:
        os.close(fd)


def _as_exit(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
