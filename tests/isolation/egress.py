"""A machine in the internet of `internet.py`, and cells that have a way out to it."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from sandlot_sandbox.launcher import networks
from tests.isolation.internet import (
    MACHINE,
    METADATA,
    PRIVATE,
    ROUTER,
    SECOND_OF_MACHINE,
    SHARED,
)
from tests.isolation.machine import descendants, kernel_facts

WAIT_S = 20.0
NOT_FOR_CELLS = (PRIVATE, METADATA, SHARED, ROUTER, MACHINE, SECOND_OF_MACHINE)
REFUSED = "EACCES"
UNHEARD = "timeout"


def what_internet_lacks() -> str:
    """Empty where a test can have one."""
    if os.geteuid() != 0:
        return "an internet of one's own takes root"
    if shutil.which("ip") is None:
        return "there is no ip: install iproute2"
    return networks.probe_egress()


class World:
    """The machine and its internet, and one cell in it after the other."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.isolation.internet", mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._cell = 0
        try:
            assert self._hear() == "ready"
        except BaseException:
            self.close()
            raise

    def order(self, order: str, /, **arguments: Any) -> Any:
        self.tell(order, **arguments)
        return self._hear()

    def tell(self, order: str, /, **arguments: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"order": order, **arguments}) + "\n")
        self.process.stdin.flush()

    def _hear(self) -> Any:
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
        assert ready, "the machine says nothing"
        return json.loads(self.process.stdout.readline())

    def here(self, what: str, /, **arguments: Any) -> Any:
        """Tried by the machine itself."""
        return self.order("try_here", what=what, arguments=arguments)

    def open(self, *allow: str) -> "Cell":
        self._cell += 1
        return Cell(self, self._cell, allow)

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(WAIT_S)


class Cell:
    """A cell with a way out."""

    def __init__(self, world: World, number: int, allow: tuple[str, ...]) -> None:
        self._world = world
        self.number = number
        self.facts = world.order("open", cell=number, allow=allow)
        assert self.facts["trouble"] == ""

    def __call__(self, what: str, /, **arguments: Any) -> Any:
        """Tried by a process in the cell."""
        return self.order("ask", what=what, arguments=arguments)

    def order(self, order: str, /, **arguments: Any) -> Any:
        return self._world.order(order, cell=self.number, **arguments)

    @property
    def relay(self) -> int:
        pid: int = self.facts["pid"]
        return pid

    @property
    def slirp(self) -> int:
        """The relay's only child. It forks once itself, to accept the relay's
        connection, and that child may still be there when the way out is ready."""
        return descendants(self.relay)[0]


def namespace(pid: int, kind: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


def processes_in(network: str) -> list[int]:
    """Those that live; of one that has ended, nobody can tell where it was."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and namespace(int(entry.name), "net") == network:
                found.append(int(entry.name))
    return found


def expect_gone(pids: list[int]) -> None:
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ready, _, _ = select.select([pidfd], [], [], WAIT_S)
        os.close(pidfd)
        assert ready, kernel_facts(pid)
