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
import time

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
from sandlot_sandbox.guest.datagrams import (
    DIED,
    FAILED,
    GO,
    MADE,
    MAX_DATAGRAM,
    READY,
    decode_make_cell,
    encode_cell,
    encode_last_words,
)
from sandlot_sandbox.guest.leash import FREEZE, Turns
from sandlot_sandbox.guest.network_memory import NetworkMemory
from sandlot_sandbox.guest.plan import Plan

_MAX_WHY = 256
_MAX_JOINS = 8
_FIRST_OF_OURS = 3
"""Below it are stdin, stdout and stderr."""


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
    if link.recv(MAX_DATAGRAM) != GO:
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
    socket.send_fds(link, [READY], sockets)
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


def _start_zygote(plan: Plan) -> int:
    """Its pid, once it is sealed and its program exec'd. Raises `OSError`."""
    _use_up_pid_2()
    trouble, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid:
        os.close(tell)
        # Closed by the exec, or else by a child that could not come to it.
        said = os.read(trouble, MAX_DATAGRAM)
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
        os.write(tell, f"{type(error).__name__}: {error}".encode()[:MAX_DATAGRAM])
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
        message, joins, _, _ = socket.recv_fds(self._link, MAX_DATAGRAM, _MAX_JOINS)
        if not message:
            return False
        has_tmp, number = decode_make_cell(message)
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
        made = encode_cell(MADE, number, " ".join(names).encode())
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
        self._link.send(encode_cell(FAILED, number, why))

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
                self._link.send(encode_cell(DIED, number, verdict.encode()))


def _close(descriptors: list[int]) -> None:
    for fd in descriptors:
        os.close(fd)


def _as_exit(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
