"""What core and workers say to one another, one datagram each.

Both are ours, of the same user and the same zone, so that this is about clarity and not
about trust; all the same, lengths are bounded and types are checked.
"""

from typing import Any

import msgspec

from sandlot_engine.model.function import Function
from sandlot_engine.model.tenant import AccessKey

MAX_MESSAGE = 128 * 1024
"""Bytes. The longest is a function without its environment: some kilobytes."""

MAX_DESCRIPTORS = 16
"""Of a loan: socket, log pipe, and what freezes and counts."""


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    pass


class Address(msgspec.Struct, frozen=True, array_like=True):
    """A function as a caller of `caller`'s addressed it."""

    caller: str
    owner: str
    name: str
    qualifier: str


# --- from a worker ------------------------------------------------------------------


class Serving(_Message, frozen=True):
    """It serves, on these ports."""

    http: int
    grpc: int


class AskKey(_Message, frozen=True):
    """Whose key is this? Answered by `Key`."""

    number: int
    access_key_id: str


class AskTenant(_Message, frozen=True):
    """Is there such a tenant? Answered by `Tenant`."""

    number: int
    tenant_id: str


class Want(_Message, frozen=True):
    """Something was invoked that could not be run here. Answered by a `Route` and a
    `Lend`, or by neither."""

    address: Address


class Kill(_Message, frozen=True):
    """End a lent instance. Answered by `Killed`."""

    lease: int
    leaves_tmp: bool
    """See `Instance.leaves_tmp`; only the worker knows what it was at."""


class GaveBack(_Message, frozen=True):
    """A lent instance is idle, and nobody's here any more."""

    lease: int
    is_frozen: bool
    peak_memory_kb: int
    printed: tuple[tuple[float, bytes], ...] = ()
    """Since its last answer: of its next invocation's log."""


class Forgot(_Message, frozen=True):
    """A lent instance is of no use any more; what it ran has been told."""

    lease: int


class Untaken(_Message, frozen=True):
    """An answer that no client took: see `gateway.untaken.Tally`."""

    is_cut: bool


class Faulted(_Message, frozen=True):
    """A call that failed because our side broke: see `gateway.faulted`."""


FromWorker = (
    Serving | AskKey | AskTenant | Want | Kill | GaveBack | Forgot | Untaken | Faulted
)

# --- from the core ------------------------------------------------------------------


class Key(_Message, frozen=True):
    """A key and its secret; for an unknown one no key, but a secret all the same."""

    number: int
    key: AccessKey | None
    secret: str
    epoch: int


class Tenant(_Message, frozen=True):
    """Whether there is one."""

    number: int
    is_known: bool


class Route(_Message, frozen=True):
    """What an address leads to, as long as neither tenant's epoch changes."""

    address: Address
    function: Function
    caller_epoch: int
    owner_epoch: int


class Lend(_Message, frozen=True):
    """An instance of a revision, for so many invocations, with a place on the board.
    Its descriptors go along, in the order of their names."""

    lease: int
    revision: str
    tenant: str
    slot: int
    uses: int
    epoch: int
    memory_mb: int
    is_frozen: bool
    idle_since: float
    peak_memory_kb: int
    parts: tuple[str, ...]


class Recall(_Message, frozen=True):
    """Give it back as soon as it is idle."""

    lease: int


class Exited(_Message, frozen=True):
    """The zygote says that the instance has ended, with this wait status."""

    lease: int
    status: int


class Lost(_Message, frozen=True):
    """Its jail is gone."""

    lease: int
    with_launcher: bool


class Killed(_Message, frozen=True):
    """All of it is dead; `verdict` says what for, where somebody knows."""

    lease: int
    verdict: str


class Drain(_Message, frozen=True):
    """Take nothing new, finish what runs, and end."""


class Hurry(_Message, frozen=True):
    """What runs is cut short: nobody waits for it."""


FromCore = Key | Tenant | Route | Lend | Recall | Exited | Lost | Killed | Drain | Hurry

_encoder = msgspec.msgpack.Encoder()
_from_worker = msgspec.msgpack.Decoder(FromWorker)
_from_core = msgspec.msgpack.Decoder(FromCore)


def encode(message: FromWorker | FromCore) -> bytes:
    """Raises `ValueError` for what is too long."""
    data = _encoder.encode(message)
    if len(data) > MAX_MESSAGE:
        raise ValueError(f"a message of {len(data)} bytes")
    return data


def decode_from_worker(data: bytes) -> FromWorker:
    """Raises `msgspec.DecodeError`."""
    message: Any = _from_worker.decode(data)
    return message  # type: ignore[no-any-return]


def decode_from_core(data: bytes) -> FromCore:
    """Raises `msgspec.DecodeError`."""
    message: Any = _from_core.decode(data)
    return message  # type: ignore[no-any-return]
