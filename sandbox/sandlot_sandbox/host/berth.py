"""Places for instances: a cell, and with it the channels of who will move in."""

import contextlib
import os
import socket
from dataclasses import dataclass

from sandlot_sandbox.errors import StartFailed
from sandlot_sandbox.host.courier import WayIn
from sandlot_sandbox.host.extensions_api import Identity
from sandlot_sandbox.host.hold import Hold
from sandlot_sandbox.host.pairs import pair_with_jail
from sandlot_sandbox.host.room import OF_INSTANCE, OF_PROGRAM
from sandlot_sandbox.host.runtime_wire import RuntimeWire
from sandlot_sandbox.host.wire import FrameWire, Wire

_NOT_OF_THE_HOLD = frozenset(("pid", "mnt", "net", "ruleset", "join", "api"))
"""Of a cell's parts: these go with a fork, or are what the instance is spoken to by."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that waits for its instance. Whoever takes it owns the descriptors."""

    number: int
    parts: tuple[tuple[str, int], ...]
    """What each descriptor is: see `spec.CellMade`."""

    def close(self) -> None:
        for _, fd in self.parts:
            os.close(fd)


@dataclass(frozen=True, slots=True)
class Berth:
    """A cell, and both ends of the channels of the instance that will move in."""

    cell: int
    hold: Hold
    channel: socket.socket
    """Our end."""

    log: int
    """Our end."""

    extension_log: int | None
    """Our end, of what extensions print; where there may be any."""

    api: socket.socket | None
    """Where an instance finds the Runtime API, if it speaks that."""

    theirs: tuple[int, ...]
    """What goes with the fork, as `frames.FORK_DESCRIPTORS` says."""

    @property
    def port(self) -> int:
        """Of the Runtime API; 0 where there is none."""
        return self.api.getsockname()[1] if self.api is not None else 0

    @property
    def open_files(self) -> int:
        """How many it has while it waits."""
        ours = (self.channel, self.log, self.extension_log, self.api)
        count = sum(each is not None for each in ours)
        return count + len(self.theirs) + len(self.hold.parts)

    @property
    def files(self) -> int:
        """How many stay open while an instance lives in it."""
        return OF_INSTANCE if self.api is None else OF_PROGRAM

    def wire(self, identity: Identity, *, way_in: WayIn | None = None) -> Wire:
        """What the instance is spoken to by; it owns both sockets, and the way in."""
        if self.api is None:
            return FrameWire(self.channel)
        return RuntimeWire(self.channel, self.api, identity, way_in=way_in)

    def close(self) -> None:
        """Let go of everything. Whoever took the berth instead owns its parts."""
        self.channel.close()
        if self.api is not None:
            self.api.close()
        self.hold.close()
        if self.extension_log is not None:
            os.close(self.extension_log)
        for fd in (self.log, *self.theirs):
            os.close(fd)


def berth_of(cell: Cell) -> Berth:
    """A cell with its channels opened. Raises `StartFailed`."""
    first = dict(cell.parts)
    joins = [fd for name, fd in cell.parts if name == "join"]
    ruleset = [first["ruleset"]] if "ruleset" in first else []
    kept = {n: fd for n, fd in cell.parts if n not in _NOT_OF_THE_HOLD}
    with contextlib.ExitStack() as undo:
        undo.callback(cell.close)
        try:
            channel, theirs = pair_with_jail()
            undo.callback(channel.close)
            undo.callback(theirs.close)
            read, write = _pipe(undo)
            pipes = [_pipe(undo)] if "api" in first else []
        except OSError as error:
            raise StartFailed(f"no channel could be opened: {error}") from error
        api = socket.socket(fileno=first["api"]) if "api" in first else None
        undo.pop_all()
    namespaces = (first["pid"], first["mnt"], first["net"])
    last = [written for _, written in pipes]
    return Berth(
        cell.number,
        Hold(kept),
        channel,
        read,
        next((reads for reads, _ in pipes), None),
        api,
        (*namespaces, theirs.detach(), write, *ruleset, *joins, *last),
    )


def _pipe(undo: contextlib.ExitStack) -> tuple[int, int]:
    pipe = os.pipe2(os.O_CLOEXEC)
    for fd in pipe:
        undo.callback(os.close, fd)
    return pipe
