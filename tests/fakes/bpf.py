"""The kernel's side of seccomp filters: runs programs on one system call."""

import struct
from collections.abc import Sequence
from functools import lru_cache

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
    six = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=iIQ6Q", _signed(number), arch, 0, *(a % 2**64 for a in six))
    code = _instructions(program)
    at, accumulator = 0, 0
    for taken in range(1, len(code) + 1):
        if at >= len(code):
            break
        operation, if_true, if_false, k = code[at]
        at += 1
        match operation:
            case 0x20:  # LD W ABS
                (accumulator,) = struct.unpack_from("=I", data, k)
            case 0x54:  # ALU AND K
                accumulator &= k
            case 0x05:  # JMP JA
                at += k
            case 0x15:  # JMP JEQ K
                at += if_true if accumulator == k else if_false
            case 0x25:  # JMP JGT K
                at += if_true if accumulator > k else if_false
            case 0x35:  # JMP JGE K
                at += if_true if accumulator >= k else if_false
            case 0x45:  # JMP JSET K
                at += if_true if accumulator & k else if_false
            case 0x06:  # RET K
                return int(k), taken
            case _:
                raise NotAProgram(f"instruction {at - 1} is {operation:#x}")
    raise NotAProgram("it does not end")


@lru_cache(maxsize=32)
def _instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(_INSTRUCTION.iter_unpack(program))


def _signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number
