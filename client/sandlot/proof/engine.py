"""An engine as `sandlot up` starts it, in a folder of its own. None of it is left."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandlot.errors import SandlotError

_STOP_S = 15.0
"""How long the engine may take to end, before it is killed."""

_MAX_SAID = 4_000
"""Characters shown of what an engine said that did not start."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
"""Loaded before a fork, after which nothing should be."""


class NoEngine(SandlotError):
    """`sandlot up` did not start here; the message is what it said."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{said}\nsandlot up ended with status {status}")
        self.status = status


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that is gone afterwards, and no settings but those in it."""
    kept = dict(os.environ)
    folder = Path(tempfile.mkdtemp(prefix="sandlot-proof-"))
    for name in [name for name in os.environ if name.startswith("SANDLOT_")]:
        del os.environ[name]
    os.environ["XDG_CONFIG_HOME"] = str(folder)
    try:
        yield folder
    finally:
        os.environ.clear()
        os.environ.update(kept)
        shutil.rmtree(folder)


class Engine:
    """Started at once; `close` has to follow."""

    def __init__(self, folder: Path, given_up: frozenset[str]) -> None:
        command = [sys.executable, "-P", "-m", "sandlot", "up", "--json"]
        command += ["--data", str(folder / "data")]
        command += ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        if given_up:
            command += ["--insecure", ",".join(sorted(given_up))]
        self._log = folder / "log"
        with self._log.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                # Ctrl-C is for us: we end the engine when nobody uses it any more.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def wait_ready(self) -> dict[str, Any]:
        """What its Ready line says. Raises `NoEngine`."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        line = self._process.stdout.readline()
        if not line.strip():
            status = self._process.wait(_STOP_S)
            said = self._log.read_text("utf-8", "replace")
            raise NoEngine(status, _in_words(said[-_MAX_SAID:].strip()))
        ready: dict[str, Any] = json.loads(line)
        return ready

    def terminate(self) -> None:
        """Ask it to end, when what is under way has ended. Also for signal handlers."""
        self._process.terminate()

    def close(self) -> None:
        """It ends, or is killed."""
        self.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.communicate()


def _in_words(said: str) -> str:
    """Its last line is an error as JSON, if it was refused."""
    before, _, last = said.rpartition("\n")
    try:
        return f"{before}\nsandlot: {json.loads(last)['error']['message']}".strip()
    except (ValueError, TypeError, KeyError):
        return said


def _die_with_parent() -> None:
    """Should somebody kill us, an engine that nobody knows of must not go on."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
