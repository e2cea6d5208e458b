"""What engine and launcher tell one another: small datagrams of JSON, descriptors.

Down come orders, up come reports. The engine is trusted less than the
launcher: an order names a runtime, a package by its hash, and numbers, never a path;
where packages lie is told to the launcher by whoever starts it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

MAX_MESSAGE = 16_384
"""Bytes of one datagram."""

_HASH = re.compile(r"[0-9a-f]{64}")

MAX_ZYGOTES = 1_024
"""Zygotes of one launcher; each has a user id of its own."""


NONE, EGRESS, HOST = "none", "egress", "host"
NETWORKS = frozenset((NONE, EGRESS, HOST))
"""What a jail can reach: itself; the world, but no private networks; or all that
the machine can."""

TASK, OPT, IMAGE = "task", "opt", "image"
PLACES = frozenset((TASK, OPT, IMAGE))
"""What a folder is built for: a function's code; its layers, merged; or the root file
system of a container image."""

MAX_LAYERS = 5
"""Packages that go into one folder."""

BRAKES = ("freeze", "freezer", "leash")
"""Parts of a cell that freeze it: each has one. See `CellMade`."""

_MAX_TEXT = 2_048
_TEXTS = frozenset(("runtime", "code", "opt", "network", "allow", "place"))


class BadMessage(Exception):
    """A datagram that is not one of the language."""


@dataclass(frozen=True)
class StartZygote:
    """Descriptors: zygote channel, log pipe."""

    zygote: int
    """Chosen by the engine; never used twice."""

    runtime: str
    code: str
    """SHA-256 of the package, in hex; with the runtime, the name of its folder."""

    opt: str
    """Names the folder with its layers in the same way; empty where it has none."""

    memory_mb: int
    tmp_mb: int
    network: str
    """One of `NETWORKS`."""

    allow: str
    """Networks, with commas between, that an `egress` jail may reach although they are
    private."""

    as_program: int
    """1 where instances start a Python of their own, and are no clones of the zygote;
    for runtimes that are no Python it makes no difference."""

    owner: int = 0
    """Says whose function it is, and nothing more: those of one owner have one share of
    the machine's processors."""


@dataclass(frozen=True)
class StartBuilder:
    """A jail in which our own program unpacks packages. Descriptors: its channel, log
    pipe, the empty folder that it is to fill, the packages, a later one over those
    before it."""

    zygote: int
    """A number like a zygote's: it is killed, and dies, as one."""

    runtime: str
    place: str
    """One of `PLACES`: where the folder will be mounted."""


@dataclass(frozen=True)
class MakeCell:
    """Answered by `CellMade` or `CellFailed`."""

    zygote: int
    cell: int
    """Chosen by the engine; never used twice for one zygote."""

    heir_of: int = 0
    """A dead one that was killed to be kept: its /tmp and its control group are this
    one's. 0: it has new ones."""


@dataclass(frozen=True)
class KillCell:
    """Everything in it dies. Answered by `CellDied` in any case. Of one that is dead,
    and was kept, nothing is kept any more."""

    zygote: int
    cell: int
    keeps: int = 0
    """1 where its /tmp and its control group are to stay for an heir."""


@dataclass(frozen=True)
class KillZygote:
    """Kill it, and all its instances. Answered by `ZygoteDied` in any case."""

    zygote: int


@dataclass(frozen=True)
class Layer:
    """One thing the jail relies on, after having been tried."""

    name: str
    stops: str
    holds: bool
    detail: str
    given_up: bool = False
    required: bool = True
    """Whether `sandlot up` refuses to start without it."""

    is_busy: bool = False
    """Whether it does not hold only because the machine was too busy for it to be
    tried: another time it may."""


@dataclass(frozen=True)
class Hello:
    """The launcher's first report: what this kernel was seen to enforce."""

    mode: str
    """`root` or `rootless`."""

    layers: list[Layer]


@dataclass(frozen=True)
class ZygoteDied:
    """`detail` says how, or why it could not be started. Descriptors: see `CellDied`;
    of all of its cells."""

    zygote: int
    detail: str
    started: bool
    """Whether its jail was complete: if not, nothing of the tenant's ever ran."""

    killed: bool = False
    """By SIGKILL: of the kernel for want of memory, or of whoever may do that. Or with
    its jail, whose first process failed."""


@dataclass(frozen=True)
class ZygoteMade:
    """Its jail is complete. Descriptors: files of its control group, or a `leash`, as
    `parts` says; see `CellMade`."""

    zygote: int
    parts: list[str]


@dataclass(frozen=True)
class CellMade:
    """`parts` says what the descriptors are, in their order: the cell's namespaces
    `pid`, `mnt` and `net`; its `tmp`; the `ruleset` of its instance; `join`, once for
    every control group; the folder of its group in which memory is told, if it is
    counted, `memory_v1` or `memory_v2`; and what is written to to freeze it: `freeze`,
    v1's `freezer`, or a `leash`."""

    zygote: int
    cell: int
    parts: list[str]


@dataclass(frozen=True)
class CellFailed:
    """No cell came of a `MakeCell`."""

    zygote: int
    cell: int
    detail: str


@dataclass(frozen=True)
class CellDied:
    """The cell is gone, and every process in it. Descriptors: its /tmp, where that was
    kept and is no more. It takes time to close, which the launcher has not."""

    zygote: int
    cell: int
    verdict: str = ""
    """What it was killed for, `memory`, `processes` or that it was not `idle` when it
    had to be, if it was by us."""


Order = StartZygote | StartBuilder | MakeCell | KillCell | KillZygote
Report = Hello | ZygoteMade | ZygoteDied | CellMade | CellFailed | CellDied

_ORDERS = {
    kind.__name__: kind
    for kind in (StartZygote, StartBuilder, MakeCell, KillCell, KillZygote)
}
_REPORTS = {
    kind.__name__: kind
    for kind in (Hello, ZygoteMade, ZygoteDied, CellMade, CellFailed, CellDied)
}


def encode(message: Order | Report) -> bytes:
    """A datagram."""
    body = {"is": type(message).__name__, **asdict(message)}
    data = json.dumps(body, separators=(",", ":")).encode()
    if len(data) > MAX_MESSAGE:
        raise BadMessage(f"a message of {len(data)} bytes")
    return data


def decode_order(datagram: bytes) -> Order:
    """Raises `BadMessage` for anything but an order with fields of its types."""
    fields = _object(datagram)
    kind = _ORDERS.get(str(fields.pop("is", None)))
    if kind is None:
        raise BadMessage("an order of unknown kind")
    for name, value in fields.items():
        wanted = str if name in _TEXTS else int
        if type(value) is not wanted:
            raise BadMessage(f"{name} is not of type {wanted.__name__}")
        if isinstance(value, str) and len(value) > _MAX_TEXT:
            raise BadMessage(f"{name} has {len(value)} characters")
        if isinstance(value, int) and not 0 <= value < 1 << 53:
            raise BadMessage(f"{name} is {value}")
    try:
        order = kind(**fields)
    except TypeError as error:
        raise BadMessage(str(error)) from None
    if isinstance(order, StartZygote):
        if not _HASH.fullmatch(order.code):
            raise BadMessage("code is not a SHA-256 in hex")
        if order.opt and not _HASH.fullmatch(order.opt):
            raise BadMessage("opt is not a SHA-256 in hex")
        if order.network not in NETWORKS:
            raise BadMessage("an unknown kind of network")
    if isinstance(order, StartBuilder) and order.place not in PLACES:
        raise BadMessage("an unknown place to build for")
    return order


def decode_report(datagram: bytes) -> Report:
    """The launcher is trusted: this only undoes `encode`."""
    fields = _object(datagram)
    kind = _REPORTS[fields.pop("is")]
    if kind is Hello:
        fields["layers"] = [Layer(**layer) for layer in fields["layers"]]
    return kind(**fields)


def _object(datagram: bytes) -> dict[str, Any]:
    try:
        value = json.loads(datagram)
    except (ValueError, RecursionError) as error:
        raise BadMessage(str(error)) from None
    if not isinstance(value, dict):
        raise BadMessage("not an object")
    return value
