"""The launcher's loop, with a process in the place of a warden."""

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from sandlot_sandbox.launcher.registry import Registry
from sandlot_sandbox.launcher.server import Server
from sandlot_sandbox.launcher.users import UserIds
from sandlot_sandbox.launcher.zygotes import Cell, Setting, Zygote
from sandlot_sandbox.limits import Limits
from sandlot_sandbox.spec import MAX_MESSAGE, CellMade, decode_report

WAIT_S = 5.0
SETTING = Setting(
    code=-1,
    runtimes=Registry([]),
    filters=None,
    has_network=True,
    landlock=0,
    tree=None,
    janitor=None,
    last_capability=0,
    users=UserIds(is_root=False),
    egress="not here",
)


class Jail:
    """A server that has a zygote with a cell on order."""

    def __init__(self) -> None:
        self.engine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.engine.settimeout(WAIT_S)
        self.server = Server(theirs, SETTING)
        self.warden = subprocess.Popen(["/bin/sleep", "60"])
        self.link, self._far_end = socket.socketpair()
        self.pidfd = os.pidfd_open(self.warden.pid)
        self.zygote = Zygote(
            *(1, self.warden.pid, self.pidfd, None, self.link),
            *(Limits(memory_mb=128, tmp_mb=16), None, None, None, {}),
            allow=None,
        )
        self.zygote.cells[1] = Cell(None)
        self._theirs = theirs

    def made(self, *names: str) -> None:
        """The warden says that the cell is there."""
        descriptors = [os.dup(self.pidfd) for _ in names]
        self.server._made(self.zygote, 1, list(names), descriptors)  # noqa: SLF001

    def close(self) -> None:
        self.zygote.forget_cell(1)
        self.warden.kill()
        self.warden.wait()
        os.close(self.pidfd)
        for end in (self.engine, self._theirs, self.link, self._far_end):
            end.close()


@pytest.fixture
def jail() -> Iterator[Jail]:
    made = Jail()
    yield made
    made.close()


def test_a_cell_that_can_be_frozen_is_handed_on(jail: Jail) -> None:
    jail.made("leash", "pid", "mnt", "net", "tmp", "pidfd")

    datagram, descriptors, _, _ = socket.recv_fds(jail.engine, MAX_MESSAGE, 16)
    for fd in descriptors:
        os.close(fd)
    report = decode_report(datagram)
    assert report == CellMade(1, 1, ["leash", "pid", "mnt", "net", "tmp"])
    assert not jail.zygote.is_dying


def test_a_jail_is_killed_that_makes_a_cell_which_nothing_freezes(jail: Jail) -> None:
    jail.made("pid", "mnt", "net", "tmp", "pidfd")

    assert jail.warden.wait(WAIT_S) < 0
    assert jail.zygote.is_dying
