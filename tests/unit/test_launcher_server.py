"""The launcher's loop, with a process in the place of a warden."""

import errno
import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from sandlot_sandbox.guest import datagrams
from sandlot_sandbox.launcher import zygotes
from sandlot_sandbox.launcher.jails import Setting
from sandlot_sandbox.launcher.networks import WayOut
from sandlot_sandbox.launcher.registry import Registry
from sandlot_sandbox.launcher.server import Server
from sandlot_sandbox.launcher.users import UserIds
from sandlot_sandbox.launcher.zygotes import Cell, Zygote
from sandlot_sandbox.limits import Limits
from sandlot_sandbox.spec import (
    MAX_MESSAGE,
    CellDied,
    CellFailed,
    CellMade,
    ZygoteDied,
    decode_report,
)

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
        self.link, self.far_end = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )
        self.pidfd = os.pidfd_open(self.warden.pid)
        self.zygote = Zygote(
            *(1, self.warden.pid, self.pidfd, None, self.link),
            *(Limits(memory_mb=128, tmp_mb=16), None, None, None, {}),
            allow=None,
        )
        self.zygote.cells[1] = Cell(None)
        self._theirs = theirs

    def hear(self) -> None:
        """What the warden has said last."""
        self.server._zygotes[1] = self.zygote  # noqa: SLF001 - as `_start` does
        self.server._hear_warden(self.zygote)  # noqa: SLF001

    def bury(self) -> ZygoteDied:
        """The warden is dead; what the engine is told of that."""
        # Not by its `Popen`, which would reap one that the server has killed before.
        os.kill(self.warden.pid, signal.SIGKILL)
        self.server._zygotes[1] = self.zygote  # noqa: SLF001
        self.server._watch(self.pidfd, lambda: None)  # noqa: SLF001
        self.server._bury(self.zygote)  # noqa: SLF001
        self.warden.returncode = -9  # it is reaped
        self.pidfd = -1
        report = decode_report(self.engine.recv(MAX_MESSAGE))
        assert isinstance(report, ZygoteDied)
        return report

    def made(self, *names: str) -> None:
        """The warden says that the cell is there."""
        descriptors = [os.dup(self.pidfd) for _ in names]
        self.server._made(self.zygote, 1, list(names), descriptors)  # noqa: SLF001

    def close(self) -> None:
        self.zygote.forget_cell(1)
        self.warden.kill()
        self.warden.wait()
        if self.pidfd >= 0:
            os.close(self.pidfd)
        for end in (self.engine, self._theirs, self.link, self.far_end):
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


WORDS = [
    "MemoryError: ",
    "FileNotFoundError: /proc",
    "DecodeError: it is no news of a cell",
    "ready",
]
"""Some begin as the kinds of a warden's news do."""


@pytest.mark.parametrize("text", WORDS)
@pytest.mark.parametrize("is_ready", [False, True])
def test_a_warden_s_last_words_are_no_news_of_a_cell(
    jail: Jail, text: str, is_ready: bool
) -> None:
    jail.zygote.is_ready = is_ready
    jail.server._watch(jail.link, lambda: None)  # noqa: SLF001 - as `_start` does

    jail.far_end.send(datagrams.encode_last_words(text))
    jail.hear()

    assert jail.zygote.last_words == text
    assert jail.zygote.cells
    died = jail.bury()
    assert (died.detail, died.started, died.killed) == (text, is_ready, True)


def test_they_are_found_behind_news_that_nobody_has_read(jail: Jail) -> None:
    jail.far_end.send(datagrams.READY)
    jail.far_end.send(datagrams.encode_last_words("MemoryError: "))

    assert jail.bury().detail == "MemoryError: "


def test_news_that_nobody_has_read_are_no_last_words(jail: Jail) -> None:
    jail.far_end.send(datagrams.READY)

    assert jail.bury().detail == "the jail was killed by signal 9"


def test_a_warden_that_says_what_none_says_loses_its_jail(jail: Jail) -> None:
    jail.zygote.is_ready = True

    jail.far_end.send(b"something else, and long enough")
    jail.hear()

    assert jail.zygote.is_dying


# Too many files.


def _refuse(
    monkeypatch: pytest.MonkeyPatch, number: int, *, times: int | None = None
) -> list[bool]:
    """The kernel takes no descriptors; every time, or so often. Whether each try had
    some."""
    tries: list[bool] = []
    send = socket.send_fds

    def send_fds(sock: socket.socket, data: list[bytes], fds: list[int]) -> int:
        tries.append(bool(fds))
        if fds and (times is None or len(tries) <= times):
            raise OSError(number, os.strerror(number))
        return send(sock, data, fds)

    monkeypatch.setattr(socket, "send_fds", send_fds)
    return tries


_PARTS = ("leash", "pid", "mnt", "net", "tmp", "pidfd")


@pytest.mark.parametrize("number", [errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM])
def test_a_cell_whose_files_cannot_be_sent_fails_alone(
    jail: Jail, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _refuse(monkeypatch, number)

    jail.made(*_PARTS)

    report = decode_report(jail.engine.recv(MAX_MESSAGE))
    assert isinstance(report, CellFailed)
    assert "too many open files" in report.detail
    assert not jail.zygote.is_dying
    assert jail.server._engine_is_there  # noqa: SLF001
    # Its first process, as the test has it: it was killed.
    assert jail.warden.wait(WAIT_S) < 0


def test_what_can_be_sent_a_moment_later_is(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse(monkeypatch, errno.ETOOMANYREFS, times=3)

    jail.made(*_PARTS)

    datagram, descriptors, _, _ = socket.recv_fds(jail.engine, MAX_MESSAGE, 16)
    for fd in descriptors:
        os.close(fd)
    assert isinstance(decode_report(datagram), CellMade)
    assert len(descriptors) == len(_PARTS) - 1


def test_a_jail_whose_files_cannot_be_sent_is_told_of_as_dead(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse(monkeypatch, errno.ETOOMANYREFS)
    jail.zygote.files = {"freeze": os.dup(jail.pidfd)}
    jail.zygote.is_ready = True

    jail.server._say_made(jail.zygote)  # noqa: SLF001 - as its first word has it

    died = jail.bury()
    assert "too many open files" in died.detail
    assert died.killed


def test_a_death_is_told_without_what_cannot_be_sent_with_it(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = _refuse(monkeypatch, errno.ETOOMANYREFS)
    left = os.dup(jail.pidfd)

    jail.server._tell_and_hand_on(CellDied(1, 1), [left])  # noqa: SLF001

    assert decode_report(jail.engine.recv(MAX_MESSAGE)) == CellDied(1, 1)
    assert tries[-1] is False
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(left)


def test_an_engine_that_hung_up_is_gone(jail: Jail) -> None:
    jail.engine.close()

    jail.server._tell(CellDied(1, 1))  # noqa: SLF001

    assert not jail.server._engine_is_there  # noqa: SLF001


def test_with_nearly_as_many_open_files_as_may_be_no_cell_is_ordered(
    jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zygotes, "RESERVED_FILES", 1 << 40)

    with pytest.raises(OSError, match="too many open files"):
        jail.zygote.make_cell(2)

    assert list(jail.zygote.cells) == [1]


# Groups that somebody is still in.


class Occupied:
    """A family whose groups do not go, and itself such a group."""

    def __init__(self) -> None:
        self.taken: list[object] = []
        self.is_slow = False

    def slow_down(self) -> None:
        self.is_slow = True

    def take_away(self, group: object) -> bool:
        self.taken.append(group)
        return False

    def remove(self) -> bool:
        return False

    def thaw(self) -> None: ...

    def open_files(self) -> dict[str, int]:
        return {}

    def open_joins(self) -> list[int]:
        return []

    def uses_too_much(self) -> bool:
        return False


@pytest.mark.parametrize("was_made", [False, True])
def test_who_stays_in_the_group_of_a_dead_cell_hides_but_not_where_none_came_up(
    jail: Jail, monkeypatch: pytest.MonkeyPatch, was_made: bool
) -> None:
    monkeypatch.setattr(zygotes, "_LEAVES_S", 0.0)
    monkeypatch.setattr(jail.zygote, "family", Occupied())
    group = Occupied()
    monkeypatch.setattr(jail.zygote.cells[1], "group", group)
    if was_made:
        jail.made(*_PARTS)

    jail.zygote.forget_cell(1)
    assert group.is_slow is was_made, "it has some seconds, and nobody pays for them"
    jail.zygote.tidy()

    assert jail.zygote.is_dying is was_made


class Slow(WayOut):
    """One that a kill does not end yet, as where the machine is swamped."""

    def kill(self) -> None: ...


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_way_out_that_takes_long_to_die_is_nobody_who_hides(
    jail: Jail, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    monkeypatch.setattr(zygotes, "_LEAVES_S", 0.0)
    family = Occupied()
    monkeypatch.setattr(jail.zygote, "family", family)
    cell = jail.zygote.cells[1]
    cell.group, cell.is_kept = Occupied(), is_kept  # type: ignore[assignment]
    relay = subprocess.Popen(["/bin/sleep", "60"])
    ready, says_ready = os.pipe()
    way_out = Slow(relay.pid, os.pidfd_open(relay.pid), ready, lambda: None)
    os.close(says_ready)
    jail.made(*_PARTS)
    cell.way_out = way_out

    jail.zygote.forget_cell(1)
    for tmp in jail.zygote.keep_no_more(1):
        os.close(tmp)
    jail.zygote.tidy()

    assert not jail.zygote.is_dying
    # What the way out uses is still charged to the function.
    assert not family.taken
    os.kill(relay.pid, signal.SIGKILL)
    way_out.bury()
    relay.returncode = -9  # it is reaped
    jail.server._note_way_out_gone(jail.zygote, 1)  # noqa: SLF001 - as `Ways` says
    assert family.taken == [cell.group]
    jail.zygote.tidy()
    assert jail.zygote.is_dying
