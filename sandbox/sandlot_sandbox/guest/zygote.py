"""The fork-server of one function version: imports the handler, then forks instances.

It was exec'd inside a finished jail, and from its import on it is as hostile as the
tenant likes. It has one channel, to the engine, on descriptor 3: the settings come
first, then one fork after another; up go short notes. What its word is worth is
the engine's business (`frames.py`).

Single-threaded until the import, and, where the import leaves a thread behind,
never forked from: see `fork_safety.py`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import gc
import os
import signal
import socket
import sys
import time

# By name: the import may put its own into these modules, as gevent does, and what
# those would open here all clones would share.
from os import fork, waitpid
from select import POLLIN, poll

from sandlot_sandbox import frames
from sandlot_sandbox.guest import (
    delivery,
    event_loops,
    failures,
    fork_loop,
    fork_safety,
    handler,
    hooks,
    image_run,
    immortal,
    instance,
    logging_setup,
    places,
    sealed_memory,
    shedding,
    starter,
    tmp_files,
    uniqueness,
    unused_sockets,
)
from sandlot_sandbox.guest.entry import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_CHANNEL = 3
_TASK = "/var/task"
_WARDEN = 1
_CHORES_MS = 2
_DAY_S = 24 * 60 * 60
_INITIALIZATION_TYPE = "AWS_LAMBDA_INITIALIZATION_TYPE"
_KEPT = "provisioned-concurrency"
_SIGCHLD = int(signal.SIGCHLD)
_SIGTERM = int(signal.SIGTERM)
_SIG_DFL = int(signal.SIG_DFL)


def main(layers: list[str]) -> None:
    """`layers`: `own-network`, `landlock`; or, where there is no such layer,
    `shared-network`, `no-landlock` in their places. Then, how many control groups an
    instance joins; and, where instances are not ours, but run a program of somebody's,
    that program and its arguments."""
    channel = socket.socket(fileno=_CHANNEL)
    settings = frames.decode_configure(channel.recv(frames.MAX_NOTE))
    channel.send(frames.encode_note(frames.ZYGOTE_STARTED))
    _take_environment(settings)
    set_up()
    zygote = _Zygote(channel, settings, layers)
    if settings["import_in_zygote"] and not zygote.import_handler():
        # The engine ends us when it has read why.
        channel.recv(frames.MAX_NOTE)
        return
    zygote.serve()


def set_up() -> None:
    """Where modules are found, and how what is printed looks; the environment is the
    function's already."""
    _set_paths()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    failures.use_json_log(is_json=os.environ.get(logging_setup.FORMAT) == "JSON")
    logging_setup.install()


def _take_environment(settings: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(settings["environment"])
    time.tzset()


def _set_paths() -> None:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    extra = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [
        _TASK,
        *(path for path in extra if path and path != "/var/runtime"),
        f"/opt/python/lib/{version}/site-packages",
        "/opt/python",
    ]
    sys.path.append("/var/runtime/lib")
    sys.argv = [""]


def _left_behind() -> Iterator[str]:
    """What an instance would not find again, because it has its own /proc."""
    known = {_WARDEN, os.getpid()}
    if {int(name) for name in os.listdir("/proc") if name.isdigit()} - known:
        yield "the import left a process running: start it inside the handler"


def _folder() -> str:
    """Where the import left us, for instances to begin there."""
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # It has removed it since.
        return _TASK
    if folder.startswith(f"{tmp_files.TMP}/"):
        return tmp_files.TMP  # They go on from there: `tmp_files.restore`.
    # No folder of /proc is there in a cell.
    return _TASK if folder.startswith("/proc/") else folder


class _Zygote:
    """What it was told, how it imports, and what each of its forks needs."""

    def __init__(
        self, channel: socket.socket, settings: dict[str, Any], layers: list[str]
    ) -> None:
        network, landlock, joins, *self._runs = layers
        self._image: image_run.Run | None = None
        if self._runs == [image_run.IMAGE]:
            self._image = image_run.settle(settings["image"])
            os.environ.update({**self._image.environment, **settings["environment"]})
            # Clones go where a stranger's files would be taken for ours.
            image_run.import_nothing_more()
        self._channel = channel
        self._settings = settings
        has_ruleset = {"landlock": True, "no-landlock": False}[landlock]
        self._entry = Entry(
            has_network={"own-network": True, "shared-network": False}[network],
            has_ruleset=has_ruleset,
            folder="/var/task" if self._image is None else "/",
        )
        of_programs = int(bool(self._runs))
        self._descriptors = (
            frames.FORK_DESCRIPTORS + has_ruleset + int(joins) + of_programs
        )
        self._function: Any = None
        self._chores: list[int] = []
        """Descriptors that came with the last fork."""
        self._loop: fork_loop.ForkLoop | None = None
        """What takes forks while there are no chores."""
        self._not_unique: failures.Failure | None = None
        self._shedding = shedding.Shedding()
        self._shed = self._shedding.shed
        self._take_up: Callable[[], failures.Failure | None] = instance.take_up
        self._instances: dict[int, int] = {}
        self._of_children: Any = _SIG_DFL
        """What the import left to be done about SIGCHLD."""
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def import_handler(self) -> bool:
        """Import, look at what it left behind; whether it may be cloned."""
        _rehearse_beginning()
        before = fork_safety.take_snapshot()
        try:
            loaded = handler.load_handler(self._settings["handler"])
        except BaseException as error:  # noqa: BLE001 - sys.exit() at import, say
            loaded = failures.failure_of(error)
        if isinstance(loaded, failures.Failure):
            # Instances will fail in the same way, each in its own log.
            self._say_failed(
                f"the import failed: {loaded.error_type}: {loaded.message}"
            )
            return False
        # First, because this is where a function closes what may not be cloned.
        failure = hooks.run_before_snapshot()
        if failure is not None:
            self._say_failed(f"a before-snapshot hook failed: {failure.message}")
            return False
        event_loops.close()
        reasons = [
            *fork_safety.inspect_process(before),
            *tmp_files.keep(fork_safety.files_to_append(before)),
            *_left_behind(),
        ]
        found = uniqueness.collect(fork_safety.files_to_reopen(before))
        unused_sockets.keep(fork_safety.sockets_to_reopen(before))
        if not reasons and not found.is_complete:
            reasons = ["the import made too many objects to look for random generators"]
        if reasons:
            self._say_unsafe(reasons)
            return False
        self._entry.begin_in(_folder())
        self._function = loaded
        return True

    def _say_unsafe(self, reasons: list[str]) -> None:
        text = "; ".join(reasons)
        self._channel.send(frames.encode_note(frames.ZYGOTE_UNSAFE, text=text))

    def _say_failed(self, text: str) -> None:
        note = frames.encode_note(frames.ZYGOTE_UNSAFE, status=frames.FAILED, text=text)
        self._channel.send(note)

    def serve(self) -> None:
        """Fork on demand until the engine closes the channel."""
        left = _signal.getsignal(_SIGCHLD)
        if left is not None:  # As what C has set, which Python cannot set again.
            self._of_children = left
        self._make_unique()
        if not self._runs:
            self._rehearse()
        gc.collect()
        if not self._runs:
            immortal.make()
        # A clone's collector does not look at what it inherited, and so does not
        # write to it either.
        gc.freeze()
        laid = None if self._runs else self._lay_down()
        _signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        _signal.signal(_SIGCHLD, lambda *_: None)
        sources = poll()
        sources.register(self._channel, POLLIN)
        sources.register(self._wake_read, POLLIN)
        self._say_ready(laid)
        while True:
            if self._loop is not None and not self._chores:
                if not self._obey_by(self._loop):
                    return
                continue
            happened = sources.poll(_CHORES_MS if self._chores else None)
            if self._chores:
                # Perhaps the loop can take what happened, now.
                self._do_chores()
                continue
            for fd, _ in happened:
                if fd == self._wake_read:
                    self._reap()
                elif not self._obey_next():
                    return

    def _lay_down(self) -> sealed_memory.Laid | None:
        """None where that cannot be."""
        whole_kb = sealed_memory.resident_kb()
        laid = sealed_memory.lay_down()
        if laid is not None:
            instance.begin_with(whole_kb)
            # A fork does copy the tables of what is in them already: of what each clone
            # reads at once, so that it need not be found.
            self._rehearse(1)
            self._shedding.of(laid.places, laid.fd)
        return laid

    def _say_ready(self, laid: sealed_memory.Laid | None) -> None:
        """Once what is laid down is sealed, as late as can be. Raises `OSError`, or has
        the loop do so."""
        status = frames.SHEDS if laid is not None else 0
        ready = frames.encode_note(frames.ZYGOTE_READY, status=status)
        if laid is None:
            self._channel.send(ready)
            return
        calls = laid.sealing()
        calls.add("write", self._channel.fileno(), ready, len(ready))
        sealing = calls.prepared()
        if self._loop is not None:
            self._loop.begin_with(self._shedding.call, sealing)
            return
        self._shedding.shed()
        sealing.make()

    def _obey_by(self, loop: fork_loop.ForkLoop) -> bool:
        _flush()
        happened = loop.run(_until_tomorrow_ms())
        if happened == fork_loop.UNSEALED:
            raise loop.unsealed()
        if happened == fork_loop.CLONED:
            try:
                # With the status at hand, not on its way to a call that waits for it.
                status = self._be_cloned_by(loop)
                os._exit(status)
            except BaseException as error:  # noqa: BLE001 - nobody else would tell
                _say_not_entered(error)
            finally:
                os._exit(1)
        if happened == fork_loop.STRANDED:
            try:
                _say_not_entered(loop.failed())
            finally:
                os._exit(1)
        self._instances.update(loop.forked())
        if happened == fork_loop.NOTE:
            return self._obey(loop.note, loop.came_with)
        if happened == fork_loop.WOKEN:
            self._reap()
        elif happened == fork_loop.TIMED_OUT:
            self._make_unique()
        return True

    def _obey_next(self) -> bool:
        note, descriptors, _, _ = socket.recv_fds(
            self._channel, frames.MAX_NOTE, frames.MAX_FORK_DESCRIPTORS
        )
        return self._obey(note, descriptors)

    def _obey(self, note: bytes, descriptors: list[int]) -> bool:
        """Whether there is more to come."""
        self._chores = descriptors
        if not note:
            return False
        kind, number, is_ahead, is_kept, port = frames.decode_task(note)
        if kind == frames.TERMINATE:
            self._terminate(number)
            return True
        is_courier = kind == frames.COURIER
        try:
            self._fork(
                *(number, self._chores),
                is_courier=is_courier,
                is_ahead=is_ahead,
                is_kept=is_kept,
                port=port,
            )
        except OSError as error:
            if is_courier:
                # Its channel is closed with the chores, and that tells.
                return True
            self._channel.send(
                frames.encode_note(frames.FORK_FAILED, instance=number, text=str(error))
            )
        return True

    def _terminate(self, number: int) -> None:
        for pid, instance_number in self._instances.items():
            # Not reaped yet, so the number is still its own.
            if instance_number == number:
                with contextlib.suppress(OSError):
                    os.kill(pid, _SIGTERM)

    def _fork(
        self,
        number: int,
        descriptors: list[int],
        *,
        is_courier: bool,
        is_ahead: bool,
        is_kept: bool,
        port: int,
    ) -> None:
        if len(descriptors) != self._descriptors:
            raise OSError(f"{len(descriptors)} descriptors came with a fork")
        _flush()
        cell = descriptors[:-1] if self._runs else descriptors
        ours = (self._wake_read, self._wake_write)
        start = None
        if self._runs and self._image is None and not is_courier:
            start = starter.start_of(self._runs, port)
        self._entry.enter_pid_namespace(cell[0])
        if start is not None:
            if is_kept:
                start.environment[_INITIALIZATION_TYPE] = _KEPT
            *_, channel, log = cell[: frames.FORK_DESCRIPTORS]
            way = self._entry.calls(cell, ours)
            pid = start.spawn(way, log=log, channel=channel)
            self._instances[pid] = number
            return
        prepared = self._entry.prepared(cell, ours)
        pid = fork()
        if pid:
            if not is_courier:
                self._instances[pid] = number
            return
        try:
            _give_back_signals(self._of_children)
            instance.enter_cell(prepared)
            if is_kept:
                os.environ[_INITIALIZATION_TYPE] = _KEPT
            if is_courier:
                delivery.run(self._channel, descriptors[-1])
            if self._runs:
                starter.run(
                    *(self._runs, port, self._channel, descriptors[-1]), self._image
                )
            status = self._be_instance(is_ahead)
            os._exit(status)
        except BaseException as error:  # noqa: BLE001 - nobody else would tell of it
            _say_not_entered(error)
        finally:
            # Whatever happens, there is one zygote.
            os._exit(1)

    def _be_cloned_by(self, loop: fork_loop.ForkLoop) -> int:
        """What comes in a clone after `os.fork` and the way into its cell. The status
        to exit with."""
        _give_back_signals(self._of_children)
        is_ahead, is_kept = loop.asks_for()
        if is_kept:
            os.environ[_INITIALIZATION_TYPE] = _KEPT
        uniqueness.reseed_the_rest()
        return self._be_instance(is_ahead)

    def _be_instance(self, is_ahead: bool) -> int:
        return instance.run(
            self._function,
            self._settings["handler"],
            self._channel,
            self._not_unique,
            is_ahead,
            self._shed,
            self._take_up,
        )

    def _rehearse(self, times: int = instance.REHEARSALS) -> None:
        """Go the way of a clone. For what the import made there is none before there is
        a clone, so that is not taken up."""
        way = self._entry.rehearsal()
        function, channel, failure = self._function, self._channel, self._not_unique
        self._function, self._take_up = instance.echo, lambda: None
        self._not_unique = None  # Clones tell of it, each in its own log.
        for _ in range(times):
            with contextlib.suppress(OSError):
                way.make()
            with instance.rehearsed() as self._channel:
                if self._loop is None:
                    self._be_instance(False)
                else:
                    self._be_cloned_by(self._loop)
        self._function, self._channel, self._not_unique = function, channel, failure
        self._take_up = instance.take_up

    def _do_chores(self) -> None:
        """After a fork, once the clone has had its start: until the zygote sleeps, the
        clone may be waiting for its processor."""
        for fd in self._chores:
            os.close(fd)
        self._chores = []
        self._make_unique()

    def _make_unique(self) -> None:
        """What the next clone must not share with the others, made anew for it.

        In the zygote: here it costs some microseconds, and in a clone, which has
        written to nothing yet, ten times that. After the last fork, while nobody
        waits.
        """
        digits = os.urandom(places.DIGITS // 2).hex()
        stream = f"[{self._settings['version']}]{digits}"
        os.environ[places.LOG_STREAM] = time.strftime("%Y/%m/%d/") + stream
        self._not_unique = None
        if self._function is not None:
            self._not_unique = uniqueness.reseed()
        self._loop = self._made_loop()

    def _made_loop(self) -> fork_loop.ForkLoop | None:
        """None where clones are Python's: instances are programs, or differ by what
        only Python can make."""
        if self._runs or self._not_unique or not fork_loop.is_possible():
            return None
        found = places.find()
        if found is None:
            return None
        try:
            cell = fork_loop.expected_descriptors(self._descriptors)
        except OSError:
            return None
        way = self._entry.calls(cell, (self._wake_read, self._wake_write))
        for address, size in (*found.random, (found.name[0], places.DIGITS)):
            way.add("getrandom", address, size, 0)
        return fork_loop.ForkLoop(
            channel=self._channel.fileno(),
            wake=self._wake_read,
            descriptors=cell,
            before=self._entry.before(cell[0]).prepared(),
            way=way.prepared(),
            name=found.name,
        )

    def _reap(self) -> None:
        os.read(self._wake_read, 512)
        while True:
            try:
                pid, status = waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            number = self._instances.pop(pid, None)
            if number is not None:
                self._channel.send(
                    frames.encode_note(
                        frames.INSTANCE_EXITED, instance=number, status=status
                    )
                )


def _flush() -> None:
    """Of what is in a buffer at a fork, every clone would write a copy."""
    sys.stdout.flush()
    sys.stderr.flush()


def _rehearse_beginning() -> None:
    """Before the import, when there is nothing that a clone would have to make anew: go
    its way, so that it finds it trodden."""
    for _ in range(instance.REHEARSALS):
        _give_back_signals(_SIG_DFL)
        uniqueness.reseed_the_rest()
        instance.take_up()


def _give_back_signals(of_children: Any) -> None:
    """In a clone. Not by way of `signal`, whose enumerations cost it fifty pages."""
    _signal.set_wakeup_fd(*(-1,))  # see `instance.REHEARSALS`
    _signal.signal(_SIGCHLD, of_children)


def _say_not_entered(error: BaseException) -> None:
    os.write(2, f"sandlot: the cell could not be entered: {error}\n".encode())


def _until_tomorrow_ms() -> int:
    """Until log streams are named after another day; an hour more or less where clocks
    are changed."""
    now = time.localtime()
    of_today_s = (now.tm_hour * 60 + now.tm_min) * 60 + now.tm_sec
    return (_DAY_S - of_today_s) * 1000
