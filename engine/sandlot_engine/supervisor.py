"""What `sandlot up` is: it starts the engine and the launcher, and waits.

    supervisor ─┬─ engine     unprivileged; speaks to the network
                └─ launcher   privileged, or root of a user namespace; builds jails

It exists because a launcher that died has to be replaced by somebody who may start
one, and the engine, having given up its privileges, may not. It reads nothing but
exit statuses, so there is nothing to attack. When it dies, the kernel kills both;
when the engine dies, it ends the launcher and itself.
"""

import contextlib
import fcntl
import grp
import os
import pwd
import selectors
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sandlot_engine import disk
from sandlot_engine.options import EngineConfig, UpOptions
from sandlot_engine.refusing import refusal
from sandlot_sandbox import stamps
from sandlot_sandbox.launcher import registering, registry, runtimes
from sandlot_sandbox.launcher.runtime import Runtime, dump_runtimes, home
from sandlot_sandbox.probe import CAN_BE_GIVEN_UP, EX_CONFIG

_ENGINE_UID = 990_070
"""Whom the engine becomes where there is no user `sandlot`: a number nobody has."""

_USER_NAME = "sandlot"
_MAX_RESTARTS = 5
_RESTART_WINDOW_S = 30.0
"""More launchers than that in this time, and something is wrong that a new one will
not mend."""

_PAUSES_S = {0: 2.0, os.EX_TEMPFAIL: 2.0, EX_CONFIG: 30.0}
"""How long the next launcher waits after one that ended so. With 0, the engine hung up
on it, most likely because it is ending itself; one that still lives then wants
another. With `EX_TEMPFAIL` the machine was too busy for it to find out what that
enforces; with `EX_CONFIG`, that lacks something: somebody may have mended it."""

_LOCK_WAIT_S = 3.0
"""A previous engine that was killed needs a moment to be gone."""

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LAST_PORT = 65_535
_STDERR = 2
_OURSELVES = (sys.executable, "-P", "-u")
"""-P, here and wherever we start ourselves: or a json.py in the folder that we are
started in would be ours, with all that we may do. -u, or what stderr did not take, on a
full disk, would be tried again at the end, and fail it."""

_DRAIN_S = 60.0
"""How long the engine may take to end after SIGTERM."""

_HURRY_S = 15.0
"""And after the second one."""


def default_data() -> Path:
    """Where data is kept if nobody says: the system's place, or the user's."""
    if os.geteuid() == 0:
        return Path("/var/lib/sandlot")
    base = os.environ.get("XDG_DATA_HOME") or str(home() / ".local" / "share")
    return Path(base) / "sandlot"


def up(options: UpOptions) -> int:
    """Run until SIGTERM, SIGINT, or the engine's end; the exit status."""
    data = (options.data or default_data()).absolute()
    _open_standard_streams()
    refuse = partial(_refuse, as_json=options.as_json)
    for number in _STOPPING:
        # Until there is an engine to drain. What was begun is undone on the way out.
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        _check_given_up(options.given_up)
        for name, address in (("--grpc", options.grpc), ("--http", options.http)):
            _check_address(name, address)
        uid, gid = _engine_ids(options.user)
        _make_data(data, uid, gid)
        if runs_no_programs(data / "code"):
            _say(
                f"{data} is mounted noexec: programs and libraries that functions bring"
                " along cannot be run, nor images. Mount it without"
            )
        with locked(data) as lock:
            found, problems = runtimes.discover(
                data / "runtimes", named=options.runtimes
            )
            if problems or not found:
                return refuse(
                    "; ".join(problems) or "no CPython 3.9 or later was found"
                )
            for entry in registering.renew(data / "runtimes", data=data):
                if entry.problem:
                    _say(f"no runtime {entry.name}: {entry.problem}")
            return _Supervisor(options, data, found, uid, gid, lock).run()
    except Refused as refused:
        return refuse(str(refused))
    except registry.Unreadable as unreadable:
        return refuse(f"{unreadable}; remove it, and register again")
    except TimeoutError as busy:
        return refuse(f"{busy}; wait for that, or end it")
    except OSError as error:
        return refuse(disk.told(error, data), status=disk.status_of(error))


class Refused(Exception):
    """Why nothing is started, for the operator."""


def _check_given_up(given_up: frozenset[str]) -> None:
    if unknown := sorted(given_up - CAN_BE_GIVEN_UP):
        raise Refused(
            f"{unknown[0]!r} cannot be given up; these can: "
            + ", ".join(sorted(CAN_BE_GIVEN_UP))
        )


def _check_address(name: str, address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _LAST_PORT:
        raise Refused(f"{name} {address!r} is not HOST:PORT, with a port up to 65535")


class _Restarts:
    """When the launcher that ended is to be replaced."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_MAX_RESTARTS)
        self._ended_at: float | None = None

    def is_due(self, status: int, *, now: float) -> bool:
        """Asked from a launcher's end on until it is; then it has been replaced."""
        if self._ended_at is None:
            self._ended_at = now
        if now - self._ended_at < _PAUSES_S.get(status, 0.0):
            return False
        is_full = len(self._times) == _MAX_RESTARTS
        if is_full and now - self._times[0] < _RESTART_WINDOW_S:
            return False
        self._ended_at = None
        self._times.append(now)
        return True


class _Supervisor:
    """Starts the engine, and a launcher as often as one dies; ends with the engine."""

    def __init__(
        self,
        options: UpOptions,
        data: Path,
        found: list[Runtime],
        uid: int,
        gid: int,
        lock: int,
    ) -> None:
        self._options = options
        self._data = data
        self._runtimes = dump_runtimes(found)
        self._ids = (uid, gid)
        self._lock = lock
        self._restarts = _Restarts()
        self._control, self._theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )

    def run(self) -> int:
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (*_STOPPING, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        engine = self._start_engine()
        launcher = self._start_launcher()
        ends_by: float | None = None
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(wake_read, selectors.EVENT_READ)
                while engine.poll() is None:
                    selector.select(timeout=1.0)
                    if _signals(wake_read).intersection(_STOPPING):
                        ends_by = _ends_by(ends_by, now=time.monotonic())
                        engine.terminate()
                    if ends_by is not None:
                        if time.monotonic() > ends_by:
                            engine.kill()
                    elif launcher.poll() is not None:
                        launcher = self._replaced(launcher)
                    _reap_others({engine.pid, launcher.pid})
        finally:
            for process in (engine, launcher):
                process.kill()
            for process in (engine, launcher):
                process.wait()
        # Ctrl-C is for all in a terminal, for an engine too in its first moment.
        was_asked = ends_by is not None or not _signals(wake_read).isdisjoint(_STOPPING)
        if was_asked and -engine.returncode in _STOPPING:
            return 0  # it had not come so far as to listen, nor to serve
        if engine.returncode >= 0:
            return engine.returncode
        _say(_how_killed(-engine.returncode, was_asked=was_asked))
        return 1

    def _replaced(
        self, launcher: "subprocess.Popen[bytes]"
    ) -> "subprocess.Popen[bytes]":
        status = launcher.returncode
        if not self._restarts.is_due(status, now=time.monotonic()):
            return launcher
        _say(f"the launcher ended with status {status}; starting another")
        try:
            return self._start_launcher()
        except OSError as error:
            # No memory, processes or files just now: that ends no engine.
            _say(f"it could not be started: {error}")
            return launcher

    def _start_engine(self) -> "subprocess.Popen[bytes]":
        options = self._options
        config = EngineConfig(
            data=str(self._data),
            http=options.http,
            grpc=options.grpc,
            as_json=options.as_json,
            tls_cert=str(options.tls_cert or ""),
            tls_key=str(options.tls_key or ""),
            allow_plaintext=options.allow_plaintext,
            region=options.region,
            idle_s=options.idle_s,
            workers=options.workers,
            scale=options.scale,
            s3_endpoint=options.s3_endpoint,
            public_url=options.public_url,
            idempotency_s=options.idempotency_s,
            keep_records_days=options.keep_records_days,
            watch_dirs=[str(path.absolute()) for path in options.watch_dirs],
            image_dirs=[str(path.absolute()) for path in options.image_dirs],
            event_retry_delays_s=options.event_retry_delays_s,
            destinations=options.destinations,
            uid=self._ids[0],
            gid=self._ids[1],
            supervisor_pid=os.getpid(),
            control=self._theirs.fileno(),
            runtimes=self._runtimes,
        )
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [*_OURSELVES, "-m", "sandlot_engine.engine", config.to_json()],
            # The lock goes along: the folder is taken as long as either lives.
            pass_fds=(self._theirs.fileno(), self._lock),
            start_new_session=True,
        )
        self._theirs.close()
        return process

    def _start_launcher(self) -> "subprocess.Popen[bytes]":
        engines_end, launchers_end = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )
        with engines_end, launchers_end:
            process = subprocess.Popen(  # noqa: S603 - ourselves
                [
                    *(*_OURSELVES, "-m", "sandlot_sandbox.launcher"),
                    *("--channel", str(launchers_end.fileno())),
                    *("--parent", str(os.getpid())),
                    *("--code", str(self._data / "code")),
                    *("--runtimes", self._runtimes),
                    *("--registered", str(self._data / "runtimes" / registry.FILE)),
                    *("--given-up", ",".join(sorted(self._options.given_up))),
                ],
                pass_fds=(launchers_end.fileno(),),
                env={"PATH": os.environ.get("PATH", os.defpath), **_handed_on()},
            )
            with contextlib.suppress(OSError):  # an engine that is gone needs none
                socket.send_fds(self._control, [b"launcher"], [engines_end.fileno()])
        return process


def _reap_others(ours: set[int]) -> None:
    """In a container we may be its first process, and so the parent of all that theirs
    left behind: of a launcher that dies, say. Nobody else would bury those."""
    anybody, only_look = os.P_ALL, os.WEXITED | os.WNOHANG | os.WNOWAIT
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(anybody, 0, only_look)) and ended.si_pid not in ours:
            os.waitpid(ended.si_pid, os.WNOHANG)


def _ends_by(before: float | None, *, now: float) -> float:
    """When the patience with an engine ends that has just been asked to stop."""
    return now + _DRAIN_S if before is None else min(before, now + _HURRY_S)


def _how_killed(number: int, *, was_asked: bool) -> str:
    """What became of an engine that could not say so itself."""
    how = f"the engine was killed by signal {number} ({signal.strsignal(number)})"
    if number != signal.SIGKILL:
        return how
    if was_asked:
        return f"{how}, as it did not end when it was asked to"
    return (
        f"{how}: by somebody, or by the kernel for want of memory, which its log says"
    )


def _handed_on() -> dict[str, str]:
    names = ("PYTHONPATH", *stamps.FROM_PARENT)
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _signals(wake: int) -> set[int]:
    try:
        return set(os.read(wake, 512))
    except BlockingIOError:
        return set()


def _engine_ids(user: str | None) -> tuple[int, int]:
    if os.geteuid() != 0:
        if user is not None:
            raise Refused("--user can only be given by root")
        return os.geteuid(), os.getegid()
    try:
        if user is None:
            try:
                entry = pwd.getpwnam(_USER_NAME)
            except KeyError:
                return _ENGINE_UID, _ENGINE_UID
        else:
            if user.isdigit():
                return _not_root(int(user)), int(user)
            entry = pwd.getpwnam(user)
    except KeyError:
        raise Refused(
            f"there is no user {user!r}; give --user a name or number"
        ) from None
    return _not_root(entry.pw_uid), entry.pw_gid


def _not_root(uid: int) -> int:
    if uid == 0:
        raise Refused("the engine does not run as root; give --user another")
    return uid


def _make_data(data: Path, uid: int, gid: int) -> None:
    """The engine's own folders, and the guest's code, which is not its to change.

    Started as root, the folder itself stays root's, and sticky: the engine makes files
    there as it likes, but cannot put something else in the place of what is root's.
    """
    if os.geteuid() == 0:
        _take(data, owner=0, group=gid, mode=0o1770, known=(0, uid))
        _take(data / "code", owner=uid, group=gid, mode=0o711, known=(0, uid))
        _expect_a_group_of_its_own(uid, gid)
    else:
        for folder, mode in ((data, 0o700), (data / "code", 0o711)):
            folder.mkdir(parents=True, exist_ok=True, mode=mode)
            folder.chmod(mode)
    guest_code = data / "runtimes"
    guest_code.mkdir(exist_ok=True, mode=0o755)
    found = guest_code.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Refused(f"{guest_code} is not ours; remove it, it is made anew")


def runs_no_programs(folder: Path) -> bool:
    """Whether it is mounted so, as some have it for all that is no program's."""
    return bool(os.statvfs(folder).f_flag & os.ST_NOEXEC)


def _take(
    folder: Path, *, owner: int, group: int, mode: int, known: tuple[int, ...]
) -> None:
    """Make a folder, and somebody's. Were it a link, we would give away what it points
    at."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_uid not in known:
            raise Refused(
                f"{folder} belongs to another user; give --data a folder of its own, or"
                " change its owner"
            )
        os.fchown(fd, owner, group)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _expect_a_group_of_its_own(uid: int, gid: int) -> None:
    """Its members may make files in the data folder."""
    try:
        names = grp.getgrgid(gid).gr_mem
    except KeyError:
        return
    others = [name for name in names if pwd.getpwnam(name).pw_uid != uid]
    if others:
        raise Refused(
            f"the group {gid} of --user has others in it ({', '.join(others)}), who"
            " could reach the data folder; give it a user with a group of its own"
        )


@contextlib.contextmanager
def locked(data: Path) -> Iterator[int]:
    """Have the folder for oneself; a descriptor that holds it. Raises `Refused` where
    an engine has it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    lock = os.open(data / "lock", flags, 0o600)
    try:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Refused(
                        f"another engine is running on {data}; stop it, or give --data"
                        " another folder"
                    ) from None
                time.sleep(0.05)
        yield lock
    finally:
        os.close(lock)


def _refuse(message: str, *, status: int = EX_CONFIG, as_json: bool) -> int:
    _write(refusal(message, status=status, as_json=as_json))
    return status


def _say(message: str) -> None:
    """To the operator, who may read it much later."""
    _write(f"{stamps.stamp()}sandlot: {message}")


def _write(line: str) -> None:
    """Where that is a full disk or a closed pipe, to nobody."""
    # Not by `print`: what was not taken would be tried again at the end, and fail it.
    with contextlib.suppress(OSError):
        os.write(_STDERR, f"{line}\n".encode(errors="backslashreplace"))


def _open_standard_streams() -> None:
    """Those that were closed: or what we open next is in their place, and is written
    to."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)
