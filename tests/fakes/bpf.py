"""The kernel's side of seccomp filters: runs programs on one system call."""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
ERRNO = 0x00050000

ARCH_X86_64 = 0xC000003E
ARCH_I386 = 0x40000003
ARCH_AARCH64 = 0xC00000B7
X32 = 0x40000000

_INSTRUCTION = struct.Struct("=HBBI")


class NotAProgram(Exception):
    """An instruction that no filter needs, or a jump out of the program."""


def decide(
    program: bytes, number: int, arguments: Sequence[int] = (), *, arch: int
) -> int:
    """What the kernel would do: the value that the program returns."""
    return run(program, number, arguments, arch=arch)[0]


def run(
    program: bytes, number: int, arguments: Sequence[int] = (), *, arch: int
) -> tuple[int, int]:
    """What the program returns, and how many instructions that took."""
    place = _before_arguments(program, number, arch)
    if not place.is_end:
        six = arguments if len(arguments) == _ARGUMENTS else [*arguments, *_NONE][:6]
        place = _walk(_instructions(program), _head(number, arch), six, place)
    return place.accumulator, place.taken


_ARGUMENTS = 6
_NONE = (0,) * _ARGUMENTS
_HEAD = struct.Struct("=iIQ")
_HEAD_WORDS = 4


class _Place(NamedTuple):
    """Where a program has come to."""

    at: int = 0
    accumulator: int = 0
    taken: int = 0
    is_end: bool = False
    """Whether it has returned, and what the accumulator is."""


@lru_cache(maxsize=8192)
def _before_arguments(program: bytes, number: int, arch: int) -> _Place:
    """The part that is the same whatever a call's arguments are: most of it."""
    return _walk(_instructions(program), _head(number, arch), None, _Place())


@lru_cache(maxsize=8192)
def _head(number: int, arch: int) -> tuple[int, ...]:
    """What of the kernel's seccomp_data is before the arguments, as its words."""
    head = _HEAD.pack(_signed(number), arch, 0)
    return struct.unpack(f"={_HEAD_WORDS}I", head)


def _walk(
    code: list[tuple[int, int, int, int]],
    head: tuple[int, ...],
    arguments: Sequence[int] | None,
    place: _Place,
) -> _Place:
    """Up to the end; without `arguments`, up to where one is looked at."""
    at, accumulator, taken, _ = place
    while at < len(code):
        operation, if_true, if_false, k = code[at]
        # Not with `match`, which takes longer millions of times. The commonest first.
        if operation == 0x15:  # JMP JEQ K
            at += if_true if accumulator == k else if_false
        elif operation == 0x20:  # LD W ABS
            word, unaligned = divmod(k, 4)
            if unaligned:
                raise NotAProgram(f"instruction {at} loads from {k}")
            if word < _HEAD_WORDS:
                accumulator = head[word]
            elif arguments is None:
                return _Place(at, accumulator, taken)
            else:
                index, is_high = divmod(word - _HEAD_WORDS, 2)
                accumulator = arguments[index] >> 32 * is_high & 0xFFFFFFFF
        elif operation == 0x54:  # ALU AND K
            accumulator &= k
        elif operation == 0x35:  # JMP JGE K
            at += if_true if accumulator >= k else if_false
        elif operation == 0x25:  # JMP JGT K
            at += if_true if accumulator > k else if_false
        elif operation == 0x45:  # JMP JSET K
            at += if_true if accumulator & k else if_false
        elif operation == 0x05:  # JMP JA
            at += k
        elif operation == 0x06:  # RET K
            return _Place(at, k, taken + 1, is_end=True)
        else:
            raise NotAProgram(f"instruction {at} is {operation:#x}")
        at += 1
        taken += 1
    raise NotAProgram("it does not end")


@lru_cache(maxsize=32)
def _instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(_INSTRUCTION.iter_unpack(program))


def _signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number
