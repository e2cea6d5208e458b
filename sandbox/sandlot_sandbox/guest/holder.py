"""A cell's first process, made without a copy of who makes it.

As a fork of the warden it would copy the warden's tables of pages, and write to some
three hundred pages, to make forty calls and then wait for ever. So all that it does is
a table of calls, and that is all that it has: from here on nothing else of the warden
is passed on to children. In the end it waits `bare`.

Where this is not to be had, `cell.py` does the same in Python.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import signal
import socket
import struct

from sandlot_sandbox import linux
from sandlot_sandbox.guest import bare, calls, enter
from sandlot_sandbox.guest.calls import Calls
from sandlot_sandbox.guest.network_memory import NUMBER_OF_SOCKETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sandlot_sandbox.guest.bare import Bare
    from sandlot_sandbox.guest.calls import CallFailed
    from sandlot_sandbox.guest.cell import Blueprint

RUNTIME_API_PORT = 9001
MAX_CALLERS = 32
"""That wait to be heard, as the port listens."""

SEALED = b"sealed"

_ROOM = 1 << 16
"""Bytes for a table, and what it points to."""

_HANDED_ON = 200
"""From this descriptor on lies what is handed on. The warden has far fewer."""

_FEW = 100
_OPENED = _HANDED_ON - 1
_TELL = 1
_FAILED = 1
"""What it exits with."""

_TMP = "/tmp"  # noqa: S108 - the cell's own
_NAMESPACES = ("pid", "mnt", "net")
_ALL = 0xFFFF_FFFF
_SIG_IGN = struct.pack("=Q24x", 1)
_LO_IS_UP = struct.pack("16sH22x", b"lo", 0x9)
"""IFF_LOOPBACK, as it is, and IFF_UP."""

_INSTRUCTION = 8
"""Bytes of one of a filter's."""

_DONTFORK, _DOFORK = 10, 11
_OF_THE_KERNEL = ("[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]")


def made(blueprint: Blueprint) -> Holder | None:
    """None where there is no code for this machine, or a cell takes more than a table
    of calls: its first process is to freeze the others, or to be asked about."""
    if blueprint.has_leash or blueprint.counts_sockets or not calls.CAN_SPAWN:
        return None
    found = bare.made()
    if found is None or not found.prepare():
        return None
    return Holder(blueprint, found)


class _NotMapped(OSError):
    """Not all of it is there."""


class Holder:
    """Makes the first processes of all cells of a jail."""

    def __init__(self, blueprint: Blueprint, waits: Bare) -> None:
        """From here on we have no children that go on in Python."""
        self._blueprint = blueprint
        self._waits = waits
        self._table = mmap.mmap(-1, _ROOM, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        # Shared: it tells what failed.
        self._end = mmap.mmap(-1, mmap.PAGESIZE)
        self._address, self._end_address = map(_address, (self._table, self._end))
        self._names: list[str] = []
        self._laid_out: tuple[int, list[int], int | None] | None = None
        """For which descriptors: mostly they have the same numbers again."""

        self._pass_on_nothing_else()

    def clone(self, flags: int, tell: int, joins: list[int], tmp: int | None) -> int:
        """The pid of a cell's first process, which says by `tell` what it has made, and
        then that it is sealed. Raises `OSError`."""
        if max(tell, tmp or 0, *joins, 0) >= _FEW:
            raise OSError("there are too many open files in the jail's warden")
        if self._laid_out != (wanted := (tell, joins[:], tmp)):
            made = self._calls(tell, joins, tmp)
            table = made.laid_out(self._address)
            self._table[: len(table)] = table
            self._names, self._laid_out = made.names, wanted
        end = calls.end_of(_FAILED, goes_on_at=self._waits.address)
        self._end[: len(end)] = end
        return calls.clone(
            self._address, self._end_address, flags | int(signal.SIGCHLD)
        )

    @property
    def trouble(self) -> CallFailed | None:
        """What kept the last one, if anything did."""
        return calls.failed(self._end, self._address, self._names)

    def _pass_on_nothing_else(self) -> None:
        with open("/proc/self/maps", encoding="utf-8") as file:
            lines = file.read().splitlines()
        for line in lines:
            if not line.endswith(_OF_THE_KERNEL):
                first, _, end = line.split()[0].partition("-")
                with contextlib.suppress(_NotMapped):
                    # Of what is gone by now, the kernel advises what is left.
                    _advise(int(first, 16), int(end, 16), _DONTFORK)
        of_code = (self._waits.address, calls.code_address())
        for start, size in (
            *((page, mmap.PAGESIZE) for page in of_code),
            *((self._address, _ROOM), (self._end_address, mmap.PAGESIZE)),
        ):
            _advise(start, start + size, _DOFORK)

    def _calls(self, tell: int, joins: list[int], tmp: int | None) -> Calls:
        """Takes away what `cell.make` says, and in the end all privileges."""
        blueprint = self._blueprint
        made = Calls()
        # Ignored, so that the kernel reaps orphans by itself.
        made.add("rt_sigaction", int(signal.SIGCHLD), _SIG_IGN, None, linux.SIGNAL_SET)
        made.add("prctl", linux.PR_SET_PDEATHSIG, int(signal.SIGKILL))
        for join in joins:
            made.add("write", join, b"0", 1)
        if tmp is None:
            made.add("mount", *linux.mounting(*enter.of_tmp(_TMP, blueprint.limits)))
        else:
            made.add("move_mount", *linux.moving(tmp, _TMP))
        made.add("mount", *linux.mounting(*enter.of_proc("/proc")))
        if blueprint.has_network:
            made.add("socket", socket.AF_INET, socket.SOCK_DGRAM, 0, gives=True)
            made.add("ioctl", 0, linux.SIOCSIFFLAGS, _LO_IS_UP)
        handed_on: list[str] = []

        def hand_on(name: str) -> int:
            fd = _HANDED_ON + len(handed_on)
            handed_on.append(name)
            made.add("dup3", 0, fd, os.O_CLOEXEC)
            return fd

        for kind in _NAMESPACES:
            _open(made, f"/proc/self/ns/{kind}", os.O_RDONLY)
            hand_on(kind)
        if blueprint.shows_sockets:
            _open(made, NUMBER_OF_SOCKETS, os.O_RDONLY)
            hand_on("sockets")
        made.add("open_tree", *linux.copying(_TMP), gives=True)
        hand_on("tmp")
        if blueprint.landlock:
            taken = enter.taken_from_instances(blueprint.landlock)
            made.add(
                "landlock_create_ruleset", *linux.making_ruleset(*taken), gives=True
            )
            ruleset = hand_on("ruleset")
            for path, rights in enter.left_to_instances(
                blueprint.landlock, has_image=blueprint.has_image
            ):
                _open(made, path, os.O_PATH)
                made.add("dup3", 0, _OPENED, os.O_CLOEXEC)
                rule = linux.allowing(ruleset, _OPENED, rights)
                made.add("landlock_add_rule", *rule)
        if blueprint.has_runtime_api:
            made.add("socket", socket.AF_INET, socket.SOCK_STREAM, 0, gives=True)
            api = hand_on("api")
            port = RUNTIME_API_PORT if blueprint.has_network else 0
            address = struct.pack("=H", socket.AF_INET) + struct.pack(
                "!H4s8x", port, socket.inet_aton("127.0.0.1")
            )
            made.add("bind", api, address, len(address))
            made.add("listen", api, MAX_CALLERS)
        _send(made, tell, handed_on)
        made.add("dup3", tell, _TELL, 0)
        made.add("close_range", _TELL + 1, _ALL, 0)
        made.add("capset", *linux.no_capabilities())
        made.add("prctl", linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_CLEAR_ALL)
        if blueprint.seccomp is not None:
            _load(made, blueprint.seccomp)
        made.add("write", _TELL, SEALED, len(SEALED))
        made.add("close", _TELL)
        made.add("close", 0)
        return made


def _open(made: Calls, path: str, flags: int) -> None:
    """For the next call to have it."""
    made.add(
        *("openat", linux.AT_FDCWD, os.fsencode(path), flags | os.O_CLOEXEC),
        gives=True,
    )


def _send(made: Calls, tell: int, names: list[str]) -> None:
    """What was handed on, and their names: `struct msghdr`."""
    text = " ".join(names).encode()
    numbers = range(_HANDED_ON, _HANDED_ON + len(names))
    control = struct.pack(
        f"=Qii{len(names)}i",
        *(16 + 4 * len(names), socket.SOL_SOCKET, socket.SCM_RIGHTS, *numbers),
    )
    part = made.place(struct.pack("=QQ", 0, len(text)), {0: made.place(text)})
    message = made.place(
        struct.pack("=QI4xQQQQi4x", 0, 0, 0, 1, 0, len(control), 0),
        {16: part, 32: made.place(control)},
    )
    made.add("sendmsg", tell, message, 0)


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _advise(start: int, end: int, advice: int) -> None:
    if ctypes.CDLL(None, use_errno=True).madvise(
        ctypes.c_void_p(start), ctypes.c_size_t(end - start), advice
    ):
        number = ctypes.get_errno()
        raise (_NotMapped if number == errno.ENOMEM else OSError)(number, "madvise")


def _load(made: Calls, program: bytes) -> None:
    """Add to them that a filter is loaded."""
    if not program or len(program) % _INSTRUCTION:
        raise OSError("seccomp: the program is not an array of instructions")
    given = struct.pack("=H6xQ", len(program) // _INSTRUCTION, 0)
    filter_ = made.place(given, {8: made.place(program)})
    made.add("seccomp", linux.SECCOMP_SET_MODE_FILTER, 0, filter_)
