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
import select
import signal
import socket
import sys
import time

from sandlot_sandbox import frames
from sandlot_sandbox.guest import (
    delivery,
    failures,
    fork_safety,
    handler,
    hooks,
    image_run,
    immortal,
    instance,
    logging_setup,
    starter,
    uniqueness,
)
from sandlot_sandbox.guest.entry import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_CHANNEL = 3
_TASK = "/var/task"
_WARDEN = 1
_CHORES_MS = 2
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
    """What an instance would not find again, because it has its own /tmp and /proc."""
    if names := sorted(os.listdir("/tmp")):  # noqa: S108 - the jail's own
        yield (
            f"the import wrote to /tmp ({names[0]!r}): every instance has a /tmp of its"
            " own, so write inside the handler"
        )
    known = {_WARDEN, os.getpid()}
    if {int(name) for name in os.listdir("/proc") if name.isdigit()} - known:
        yield "the import left a process running: start it inside the handler"


class _Zygote:
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
        self._not_unique: failures.Failure | None = None
        self._instances: dict[int, int] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def import_handler(self) -> bool:
        """Import, look at what it left behind; whether it may be cloned."""
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
        reasons = [*fork_safety.inspect_process(before), *_left_behind()]
        found = uniqueness.collect(fork_safety.files_to_reopen(before))
        if not reasons and not found.is_complete:
            reasons = ["the import made too many objects to look for random generators"]
        if reasons:
            self._say_unsafe(reasons)
            return False
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
        self._make_unique()
        if not self._runs:
            instance.rehearse(self._entry.rehearsal())
        gc.collect()
        if not self._runs:
            immortal.make()
        # A clone's collector does not look at what it inherited, and so does not
        # write to it either.
        gc.freeze()
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        self._channel.send(frames.encode_note(frames.ZYGOTE_READY))
        while True:
            happened = poll.poll(_CHORES_MS if self._chores else None)
            if not happened:
                self._do_chores()
            for fd, _ in happened:
                if fd == self._wake_read:
                    os.read(fd, 512)
                    self._reap()
                elif not self._fork_next():
                    return

    def _fork_next(self) -> bool:
        self._do_chores()
        note, self._chores, _, _ = socket.recv_fds(
            self._channel, frames.MAX_NOTE, frames.MAX_FORK_DESCRIPTORS
        )
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
        # What is in a buffer now would be written by every clone.
        sys.stdout.flush()
        sys.stderr.flush()
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
        pid = os.fork()
        if pid:
            if not is_courier:
                self._instances[pid] = number
            return
        try:
            # Not by way of `signal`, whose enumerations cost a clone fifty pages.
            _signal.set_wakeup_fd(-1)
            _signal.signal(_SIGCHLD, _SIG_DFL)
            instance.enter_cell(prepared)
            if is_kept:
                os.environ[_INITIALIZATION_TYPE] = _KEPT
            if is_courier:
                delivery.run(self._channel, descriptors[-1])
            if self._runs:
                starter.run(
                    *(self._runs, port, self._channel, descriptors[-1]), self._image
                )
            instance.run(
                self._function,
                self._settings["handler"],
                self._channel,
                self._not_unique,
                is_ahead=is_ahead,
            )
        except BaseException as error:  # noqa: BLE001 - nobody else would tell of it
            os.write(2, f"sandlot: the cell could not be entered: {error}\n".encode())
        finally:
            # Whatever happens, there is one zygote.
            os._exit(1)

    def _do_chores(self) -> None:
        """After a fork, once the clone has had its start: until the zygote sleeps, the
        clone may be waiting for its processor."""
        if self._chores:
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
        stream = f"[{self._settings['version']}]{os.urandom(16).hex()}"
        day = time.strftime("%Y/%m/%d/")
        os.environ["AWS_LAMBDA_LOG_STREAM_NAME"] = day + stream
        self._not_unique = None
        if self._function is not None:
            self._not_unique = uniqueness.reseed()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
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
