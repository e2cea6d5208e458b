"""Where in memory that lies which a clone must not share with others.

For clones that draw it themselves, by system calls, before an interpreter runs in them
(`fork_loop.py`). How an object lies in memory is looked at before it is relied on: what
is there must be what Python says. Else there are no places, and Python makes all of it
anew before each fork.
"""

from __future__ import annotations

import _random
import ctypes
import os
import struct

from sandlot_sandbox.guest import uniqueness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOG_STREAM = "AWS_LAMBDA_LOG_STREAM_NAME"
DIGITS = 32
"""Hexadecimal ones, by which the names of log streams end."""

_WORD = 4
_KEY = uniqueness.TWISTER_WORDS * _WORD
_HEADER = object.__basicsize__
_BYTES = bytes.__basicsize__ - 1
"""Where the bytes of a bytes object begin."""


class Places:
    """Addresses, valid until the log stream gets another name."""

    def __init__(self, name: tuple[int, int], random: list[tuple[int, int]]) -> None:
        self.name = name
        """Of the digits in the environment, Python's and C's."""
        self.random = random
        """And sizes, of what has to be random bytes."""


def find() -> Places | None:
    """None where something lies as we do not know it, or is not to be had by random
    bytes alone."""
    name = _of_name()
    random = _of_generators()
    if name is None or random is None:
        return None
    return Places(name, random)


def _of_name() -> tuple[int, int] | None:
    known = getattr(os.environ, "_data", None)
    value = known.get(os.fsencode(LOG_STREAM)) if type(known) is dict else None
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    in_c = getenv(os.fsencode(LOG_STREAM))
    if type(value) is not bytes or in_c is None:
        return None
    before = len(value) - DIGITS
    places = id(value) + _BYTES + before, in_c + before
    is_known = all(_is_at(place, value[before:]) for place in places)
    return places if before >= 0 and is_known else None


def _of_generators() -> list[tuple[int, int]] | None:
    found = uniqueness.found()
    if found is None:
        return []
    if found.files or found.bit_generators or found.seed_sequences:
        # To open again, and to seed together with what is spawned from them.
        return None
    places = [_of_random(each) for each in found.randoms]
    places += [_of_random_state(each) for each in found.numpy_legacy]
    known = [each for each in places if each is not None]
    return known if len(known) == len(places) else None


def _of_random(generator: Any) -> tuple[int, int] | None:
    """An index, and then the twister's words: all new ones, to be used from the first.
    What it kept of a second gauss is gone since it was seeded."""
    *key, index = _random.Random.getstate(generator)
    at = id(generator) + _HEADER
    is_known = index == len(key) and _is_at(at, struct.pack("=i", index) + _packed(key))
    return (at + _WORD, _KEY) if is_known else None


def _of_random_state(state: Any) -> tuple[int, int] | None:
    """The same, as numpy has it: the words, and then an index."""
    twister = uniqueness.twister_of(state)
    if twister is None:
        return None
    cls = uniqueness.numpys_own_class(type(twister))
    inner = cls.state.__get__(twister)["state"]
    at = cls.ctypes.__get__(twister).state_address
    key, index = [int(word) for word in inner["key"]], int(inner["pos"])
    is_known = index == len(key) and _is_at(at, _packed(key) + struct.pack("=i", index))
    return (at, _KEY) if is_known else None


def _packed(words: list[int]) -> bytes:
    return struct.pack(f"={len(words)}I", *words)


def _is_at(address: int, expected: bytes) -> bool:
    return ctypes.string_at(address, len(expected)) == expected
