"""Starts engines as users do: `python -m sandlot up`, a line on stdout, SIGTERM."""

import atexit
import functools
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Unpack

import pytest

import sandlot
import sandlot_engine
import sandlot_sandbox
from sandlot import Client
from sandlot.config import Where
from sandlot_sandbox.launcher import runtimes

READY_S = 45.0
STOP_S = 45.0

USER = 12_345
"""Who the rootless engine runs as in a suite that runs as root."""

WORKERS = int(os.environ.get("SANDLOT_TEST_WORKERS", "0"))
"""How many all engines of the suite have, where a test does not say: everything has to
be as it is without."""

_AS_USER = Path(__file__).with_name("as_user.py")
_ROOTS = [
    str(Path(next(iter(package.__path__))).parent)
    for package in (sandlot, sandlot_engine, sandlot_sandbox)
]


class Mode(StrEnum):
    """Who starts the engine."""

    ROOT = "root"
    ROOTLESS = "rootless"


MODES = tuple(Mode) if os.geteuid() == 0 else (Mode.ROOTLESS,)
"""Those that can be tried here: an ordinary user cannot start anything as root."""


class Engine:
    """One `sandlot up` after another on one data directory."""

    def __init__(self, mode: Mode, folder: Path) -> None:
        self.mode = mode
        self.data = folder / "data"
        self.ready: dict[str, Any] = {}
        """What the Ready line said."""

        self.started_by: tuple[str, ...] = ()
        """A command that runs the one that is appended to it."""

        self.started_in: Path | None = None
        """As root; a user starts it in the folder around its data."""

        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._clients: list[Client] = []

    def __repr__(self) -> str:
        return f"<Engine {self.mode} {self.data}>"

    @property
    def pid(self) -> int:
        """Of the supervisor, the process that was started."""
        assert self._process is not None
        return self._process.pid

    def start(self, *options: str) -> None:
        """Start it, and return when it serves."""
        self.begin(*options)
        assert self._process is not None
        assert self._process.stdout is not None
        line = _first_line(self._process.stdout)
        if not line.strip():
            status = self._process.poll()
            pytest.fail(f"no Ready line; exit status {status}; it said:\n{self.said}")
        self.ready = json.loads(line)

    def begin(self, *options: str) -> None:
        """Start it, without waiting."""
        self.stop_quietly()
        self._process = self._run(options, subprocess.PIPE)

    def start_in_vain(self, *options: str) -> tuple[int, str]:
        """Run one more `up` that should refuse: its exit status and what it said."""
        with self._run(options, subprocess.DEVNULL) as process:
            try:
                return process.wait(READY_S), self.said
            finally:
                process.kill()

    def client(self, **where: Unpack[Where]) -> Client:
        """A client, as the operator if not told otherwise; closed with the engine."""
        if "access_key_id" in where:
            client = Client(self.ready["grpc"], **where)
        else:
            client = Client(data=self.data, tenant=where.get("tenant"))
        self._clients.append(client)
        return client

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        assert self._process is not None
        self._process.terminate()

    def wait(self) -> int:
        """The exit status, once it has ended."""
        assert self._process is not None
        # `wait` with a timeout looks every 50 ms.
        if self._process.poll() is None and not _has_ended(self._process.pid, STOP_S):
            pytest.fail(f"it did not end within {STOP_S:g} s; it said:\n{self.said}")
        return self._process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.terminate()
        return self.wait()

    def stop_quietly(self) -> None:
        """Whatever state it is in, afterwards there is none."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        if (process := self._process) is not None:
            # Its engine and launcher die with it, and everything below them.
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
            self._process = None

    @property
    def said(self) -> str:
        """What it wrote on stderr, over all its lives."""
        return (self._folder / "stderr").read_text("utf-8", "replace")

    def run(self, *arguments: str) -> tuple[int, str]:
        """Another command, as who starts it: its exit status, and all that it said."""
        command = [sys.executable, "-m", "sandlot", *arguments]
        done = subprocess.run(
            self._as_starter([*command, "--data", str(self.data)]),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=READY_S,
            env=self._environment(),
        )
        return done.returncode, done.stdout

    def _as_starter(self, command: list[str]) -> list[str]:
        if self.mode is Mode.ROOTLESS and os.geteuid() == 0:
            user = [sys.executable, str(_AS_USER), str(USER), str(self._folder)]
            return [*user, *command]
        return command

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._folder),
            "PYTHONPATH": os.pathsep.join(_ROOTS),
        }

    def _run(self, options: tuple[str, ...], stdout: int) -> "subprocess.Popen[str]":
        up = [sys.executable, "-P", "-m", "sandlot", "up", "--data", str(self.data)]
        command = [*up, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json"]
        command += ["--workers", str(WORKERS)]
        command = self._as_starter(command)
        with (self._folder / "stderr").open("a") as stderr:
            return subprocess.Popen(
                [*self.started_by, *command, *options],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                text=True,
                env=self._environment(),
                cwd=self.started_in,
            )


@contextmanager
def new_engine(mode: Mode) -> Iterator[Engine]:
    """An engine whose data directory has nothing but compiled code, not started yet."""
    folder = Path(tempfile.mkdtemp(prefix="sandlot-e2e-"))
    engine = Engine(mode, folder)
    owner = USER if mode is Mode.ROOTLESS and os.geteuid() == 0 else os.geteuid()
    # Links, as nobody writes to what was compiled: it is removed and made anew.
    shutil.copytree(_compiled(owner), engine.data / "runtimes", copy_function=os.link)
    if owner != os.geteuid():
        for path, _, _ in os.walk(folder):
            os.chown(path, owner, owner)
    try:
        yield engine
    finally:
        engine.stop_quietly()
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _compiled(owner: int) -> Path:
    """What each of some hundred engines would have every Python here compile, for a
    second of a processor's time. It looks whether it is of its own code."""
    folder = Path(tempfile.mkdtemp(prefix="sandlot-e2e-runtimes-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if owner == os.geteuid():
        runtimes.discover(folder)
    else:
        shutil.copytree(_compiled(os.geteuid()), folder, dirs_exist_ok=True)
        for path in folder.rglob("*"):
            os.chown(path, owner, owner)
    folder.chmod(0o755)
    return folder


def _has_ended(pid: int, within_s: float) -> bool:
    """Whether a child does, that nobody has waited for."""
    pidfd = os.pidfd_open(pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(pidfd, selectors.EVENT_READ)
            return bool(selector.select(within_s))
    finally:
        os.close(pidfd)


def _first_line(stdout: IO[str]) -> str:
    """Empty if it ends, or says nothing in time."""
    until = time.monotonic() + READY_S
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        if selector.select(max(0.0, until - time.monotonic())):
            # Written in one piece, so what is readable is a whole line or the end.
            return stdout.readline()
    return ""
