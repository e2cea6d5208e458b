"""The kernel's side of a seccomp filter: runs a program on one system call."""

import struct
from collections.abc import Sequence

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
    six = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=iIQ6Q", _signed(number), arch, 0, *(a % 2**64 for a in six))
    code = list(_INSTRUCTION.iter_unpack(program))
    at, accumulator = 0, 0
    for _ in range(len(code)):
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
                return int(k)
            case _:
                raise NotAProgram(f"instruction {at - 1} is {operation:#x}")
    raise NotAProgram("it does not end")


def _signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number
