"""Make clones differ where they must: random numbers, unique ids, temporary names.

A fork copies the state of every generator that the import made. `collect` finds them
once, in the zygote; `reseed` gives them fresh entropy for the next clone, right before
its fork, and has SQLite forget its own. Files left open for reading get a position of
their own on the same occasion.

Left as they are, because they cannot or need not change:
- the hash seed and the memory layout: one zygote serves one version of one tenant;
- `secrets`, `os.urandom`, `uuid4`, `random.SystemRandom`: the kernel's;
- OpenSSL: it notices a fork by the process id. So a clone must not have the process id
  of its zygote, not even in another pid namespace: then all clones would draw the
  same "random" bytes, and the private keys made of them would be equal. Copies of
  OpenSSL inside wheels cannot be reached from here, so `reseed` refuses to go on in a
  zygote whose id is the one that clones have in their cells;
- generators out of Python's sight (torch, native code, a copy of SQLite inside a wheel
  or inside the interpreter): an after-restore hook's job.

A generator that the import seeded on purpose is reseeded too; nothing tells it from
the others. Whoever wants the same numbers everywhere seeds it in the handler or in an
after-restore hook.
"""

from __future__ import annotations

import _random
import ctypes
import gc
import os
import sys
import time
from contextlib import suppress
from types import ModuleType

from . import fork_safety
from .failures import Failure, name_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

SEARCH_BUDGET_S = 2.0
"""Time for looking through the heap; about fifty million objects."""

SEARCH_STEP = 100_000
"""Objects between two looks at the clock."""

TWISTER_WORDS = 624
"""The state of a Mersenne twister, in words of 32 bits."""

CLONE_PID = 2
"""Every instance is the second process of its cell, and so is its first thread's id."""

NODE_BITS = 48
MULTICAST_BIT = 1 << 40
"""RFC 4122 §4.5: marks a node id that is random and no network card's."""

_SEQUENCE = "SeedSequence"
_OWN = "_seed_seq"
"""What numpy's bit generators call theirs, in all versions."""

_OF_AN_OWNER = 3
"""References to what is in a list, is asked about, and belongs to one owner."""

_mersenne_twister_seed = _random.Random.seed


class Collected:
    """What `reseed` has to make new in each clone, held by reference."""

    __slots__ = (
        "bit_generators",
        "files",
        "is_complete",
        "numpy_legacy",
        "randoms",
        "seed_sequences",
        "sqlite_randomness",
    )

    def __init__(self, files: Iterable[tuple[int, int]]) -> None:
        self.files = list(files)
        """Descriptors to reopen, from `fork_safety.files_to_reopen`."""
        self.randoms: list[Any] = []
        self.numpy_legacy: list[Any] = []
        """RandomStates, numpy's global one among them."""
        self.bit_generators: list[Any] = []
        self.seed_sequences: list[Any] = []
        """Those that numpy's generators do not have for themselves."""
        self.sqlite_randomness: Callable[[int, None], None] | None = None
        """The function of SQLite's C that fills memory, or forgets its generator."""
        self.is_complete = True
        """False: the heap was too large to be searched in SEARCH_BUDGET_S."""

    def __repr__(self) -> str:
        return (
            f"<Collected {len(self.randoms)} random, {len(self.numpy_legacy)} "
            f"RandomState, {len(self.bit_generators)} BitGenerator, "
            f"{len(self.seed_sequences)} SeedSequence>"
        )


_collected: list[Collected] = []
"""What the last `collect` found; at most one."""


def collect(files: Iterable[tuple[int, int]] = ()) -> Collected:
    """Find every generator on the heap. In the zygote, after the import.

    Before `gc.freeze`: frozen objects are no longer listed.
    """
    collected = Collected(files)
    homes = {id(cls): collected.randoms for cls in _with_subclasses(_random.Random)}
    for cls in _with_subclasses(_of_module("numpy.random.mtrand", "RandomState")):
        homes[id(cls)] = collected.numpy_legacy
    bit_generator = _of_module("numpy.random.bit_generator", "BitGenerator")
    for cls in _with_subclasses(bit_generator):
        homes[id(cls)] = collected.bit_generators
    for cls in _with_subclasses(_of_module("numpy.random.bit_generator", _SEQUENCE)):
        homes[id(cls)] = collected.seed_sequences
    collected.is_complete = _search(homes)
    _leave_to_bit_generators(collected)
    _leave_to_random_states(collected)
    collected.sqlite_randomness = _find_sqlite_randomness()
    _collected[:] = [collected]
    return collected


def found() -> Collected | None:
    """What the last `collect` did; None if there was none."""
    return _collected[0] if _collected else None


def reseed_the_rest() -> None:
    """In a clone that drew its random bytes itself: what is no bytes."""
    _forget_uuid_state()


def reseed() -> Failure | None:
    """Make everything collected anew, for the next clone. Right before its fork."""
    collected = _collected[0]
    if os.getpid() == CLONE_PID:
        return _failure(
            f"the zygote has process id {CLONE_PID}, which its instances have too, so "
            "OpenSSL would not notice the fork"
        )
    try:
        _reseed(collected)
    except Exception as error:  # noqa: BLE001  (subclasses and replacements are tenant code)
        return _failure(f"{name_of(error)}: {text_of(error)}")
    return None


def _reseed(collected: Collected) -> None:
    fork_safety.reopen(collected.files)
    for generator in collected.randoms:
        _reseed_random(generator)
    for state in collected.numpy_legacy:
        _reseed_random_state(state)
    for generator in collected.bit_generators:
        _reseed_bit_generator(generator)
    for sequence in collected.seed_sequences:
        _reseed_sequence(sequence)
    if collected.sqlite_randomness is not None:
        # It asks the kernel when somebody wants the next number: the clone's SQLite.
        collected.sqlite_randomness(0, None)
    _forget_temporary_names()
    _forget_uuid_state()
    _name_main_thread()


# Finding -----------------------------------------------------------------------


def _search(homes: dict[int, list[Any]]) -> bool:
    """Put each object whose class is in `homes` there. False if time ran out."""
    deadline = time.monotonic() + SEARCH_BUDGET_S
    objects = gc.get_objects()
    for start in range(0, len(objects), SEARCH_STEP):
        if time.monotonic() > deadline:
            return False
        for found in objects[start : start + SEARCH_STEP]:
            # By identity of the class: no attribute, no comparison and no hash of
            # an object whose code is the tenant's.
            home = homes.get(id(type(found)))
            if home is not None:
                home.append(found)
    return True


def _with_subclasses(cls: Any) -> list[type]:
    classes: list[type] = [cls] if isinstance(cls, type) else []
    for known in classes:  # Grows while we walk it.
        classes += type.__subclasses__(known)
    return classes


def _leave_to_bit_generators(collected: Collected) -> None:
    """Take out the seed sequences that nobody but a bit generator refers to: they are
    made anew with it. Each import of numpy makes one."""
    of = getattr(_of_module("numpy.random.bit_generator", "BitGenerator"), _OWN, None)
    if of is None:
        return
    owned = {id(of.__get__(generator)) for generator in collected.bit_generators}
    sequences = collected.seed_sequences
    collected.seed_sequences = [
        sequences[at]
        for at in range(len(sequences))
        if id(sequences[at]) not in owned
        or sys.getrefcount(sequences[at]) > _OF_AN_OWNER
    ]


def _leave_to_random_states(collected: Collected) -> None:
    """Take out the bit generators that are reseeded through their owner.

    Those are the Mersenne twisters. A RandomState around another kind of generator
    only forgets its second gauss; the generator is reseeded on its own.
    """
    owned = {
        id(twister_of(state))
        for state in collected.numpy_legacy
        if twister_of(state) is not None
    }
    collected.bit_generators = [
        generator
        for generator in collected.bit_generators
        if id(generator) not in owned
    ]


def _find_sqlite_randomness() -> Callable[[int, None], None] | None:
    """None if SQLite was not imported, or is a copy that cannot be reached."""
    module = sys.modules.get("_sqlite3")
    if type(module) is not ModuleType:
        return None
    # Looked for in the libraries that this one needs as well.
    file = module.__dict__.get("__file__")
    try:
        function = ctypes.CDLL(file if type(file) is str else None).sqlite3_randomness
    except (AttributeError, OSError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_void_p)
    function.restype = None
    return function


def _of_module(module: str, name: str) -> Any:
    """An attribute of a module that is loaded; never imports one."""
    return getattr(sys.modules.get(module), name, None)


# Reseeding ---------------------------------------------------------------------


def _reseed_random(generator: Any) -> None:
    # Past whatever the subclass made of seed() and __setattr__. Without an
    # argument this draws the whole state from the kernel.
    _mersenne_twister_seed(generator)
    with suppress(AttributeError):  # Only random.Random's own subclasses have it.
        object.__setattr__(generator, "gauss_next", None)


def _reseed_random_state(state: Any) -> None:
    random_state = _of_module("numpy.random.mtrand", "RandomState")
    if twister_of(state) is None:
        values = random_state.get_state(state, legacy=False)
    else:
        # Not `seed`, which needs twice the time in a clone: it touches many more of
        # numpy's pages, and each one costs a page fault there.
        key = memoryview(os.urandom(TWISTER_WORDS * 4)).cast("I")
        inner = {"key": key, "pos": TWISTER_WORDS}
        values = {"bit_generator": "MT19937", "state": inner}
    random_state.set_state(state, {**values, "has_gauss": 0, "gauss": 0.0})


def twister_of(state: Any) -> Any:
    """The MT19937 inside a RandomState, None if it has another kind."""
    random_state = _of_module("numpy.random.mtrand", "RandomState")
    inner = random_state._bit_generator.__get__(state)  # noqa: SLF001  (no public name)
    twister = _of_module("numpy.random._mt19937", "MT19937")
    return inner if isinstance(inner, twister) else None


def _reseed_bit_generator(generator: Any) -> None:
    own = numpys_own_class(type(generator))
    fresh = own()
    own.state.__set__(generator, fresh.state)
    seed_seq = getattr(fresh, "seed_seq", None)
    if seed_seq is not None:
        # From numpy 1.25 on: what `spawn` derives its children from.
        own.__setstate__(generator, (fresh.state, seed_seq))


def _reseed_sequence(sequence: Any) -> None:
    # numpy's own constructor, once more; without a number it asks the kernel for one.
    own = _of_module("numpy.random.bit_generator", _SEQUENCE)
    own.__init__(
        sequence,
        spawn_key=own.spawn_key.__get__(sequence),
        pool_size=own.pool_size.__get__(sequence),
        n_children_spawned=own.n_children_spawned.__get__(sequence),
    )


def numpys_own_class(cls: type) -> Any:
    """The nearest class that numpy made: its constructor is no tenant code."""
    for base in cls.__mro__:
        if str(base.__module__).startswith("numpy.random."):
            return base if base.__name__ != "BitGenerator" else cls
    return cls


def _forget_temporary_names() -> None:
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        # It looks for a new process id, which clones have in common.
        _set(tempfile, "_name_sequence", None)


def _forget_uuid_state() -> None:
    uuid = sys.modules.get("uuid")
    if uuid is None:
        return
    for name in ("_last_timestamp", "_last_timestamp_v6", "_last_timestamp_v7"):
        _set(uuid, name, None)
    # uuid1 is time, a clock sequence and a node. libuuid keeps the sequence where we
    # cannot reach it, and all instances have one network interface: so a random
    # node for each, and Python's own algorithm.
    _set(uuid, "_generate_time_safe", None)
    node = int.from_bytes(os.urandom(NODE_BITS // 8), "big") | MULTICAST_BIT
    _set(uuid, "_node", node)


def _name_main_thread() -> None:
    threading = sys.modules.get("threading")
    if threading is not None:
        # It looks once, and not again after a fork.
        threading.main_thread()._native_id = CLONE_PID  # noqa: SLF001


def _set(module: ModuleType, name: str, value: object) -> None:
    if hasattr(module, name):  # Not every version of Python has each of them.
        setattr(module, name, value)


def _failure(reason: str) -> Failure:
    return Failure(
        "Runtime.AfterRestoreError",
        f"this instance could not get random numbers of its own: {reason}",
    )
