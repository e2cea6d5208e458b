"""Programs that the kernel begins to start, and then does not: until its exec, who is
to become one runs in its zygote's memory, while that waits."""

import struct
from pathlib import Path

import pytest

from sandlot_sandbox.outcome import Ended, Ending
from tests.isolation.machine import GUESTS, Guest, Sandbox, send

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROVIDED = "provided.al2023"
BOOTSTRAP = "/var/task/bootstrap"
SHELL = (GUESTS / "programs" / "shell_bootstrap.sh").read_bytes()

_PT_LOAD, _PT_INTERP = 1, 3
_RWX, _R = 7, 4
_BASE, _PAGE = 0x400000, 0x1000
_INTERPRETER_AT = 0x800
_HALF_OF_ALL = 1 << 46


def _elf(
    interpreter: str = "", *, at: int = _BASE, size: int = _PAGE, headers: int = 0
) -> bytes:
    """An executable without a meaningful instruction, of `size` in memory."""
    name = interpreter.encode() + b"\0"
    parts = [(_PT_LOAD, _RWX, 0, at, at, _PAGE, size, _PAGE)]
    if interpreter:
        length = len(name)
        parts.insert(0, (_PT_INTERP, _R, _INTERPRETER_AT, 0, 0, length, length, 1))
    head = b"\x7fELF\2\1\1" + bytes(9)
    head += struct.pack(
        "<HHIQQQIHHHHHH",
        *(2, 62, 1, at + 0x200, 64, 0, 0, 64, 56),
        *(headers or len(parts), 0, 0, 0),
    )
    head += b"".join(struct.pack("<IIQQQQQQ", *part) for part in parts)
    return (head.ljust(_INTERPRETER_AT, b"\0") + name).ljust(_PAGE, b"\0")


MISSING = "no such file or directory"
DENIED = "permission denied"
NO_FORMAT = "exec format error"

REFUSED = {
    "its interpreter is missing": (_elf("/nowhere"), MISSING),
    "its interpreter is a folder": (_elf("/var/task"), DENIED),
    "its interpreter is the memory of who starts it": (_elf("/proc/self/mem"), DENIED),
    "its interpreter is a script": (_elf("/var/task/script"), "input/output error"),
    "it says that it has more parts": (_elf(headers=0xFFFF), NO_FORMAT),
    "a script that is its own interpreter": (
        f"#!{BOOTSTRAP}\n".encode(),
        "too many levels of symbolic links",
    ),
    "a script whose interpreter is process 1": (b"#!/proc/1/exe\n", MISSING),
    "a script whose interpreter is a channel": (b"#!/proc/self/fd/3\n", MISSING),
    "a script whose interpreter is memory": (b"#!/proc/self/mem\n", DENIED),
    "a script with a line without end": (b"#!" + b"/" * 5_000 + b"bin/sh\n", NO_FORMAT),
    "a script whose interpreter is large": (b"#!/var/task/large\n", NO_FORMAT),
    "nothing": (b"", NO_FORMAT),
    "zeros": (bytes(_PAGE), NO_FORMAT),
}
"""The kernel says no in time; what it says is told."""

KILLED = {
    "its interpreter is itself": _elf(BOOTSTRAP),
    "more memory than there is": _elf(size=_HALF_OF_ALL),
    "at the bottom of all memory": _elf(at=0),
    "where the kernel is": _elf(at=0xFFFF_8000_0000_0000),
    "across the end of all memory": _elf(at=0x7FFF_FFFF_F000, size=16 * _PAGE),
    "without a meaningful instruction": _elf(),
}
"""It says so when nothing is left to go back to."""

BESIDE = {"script": b"#!/bin/sh\n", "large": b"\x7fELF" + bytes(64 << 20)}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_the_kernel_will_not_start_is_told(
    sandbox: Sandbox, what: str
) -> None:
    program, why = REFUSED[what]
    files = {"bootstrap": program, **BESIDE}
    async with sandbox.running_program(PROVIDED, files) as guest:
        for _ in range(2):
            ending = await _ending(guest)

            assert ending.ended is Ended.INIT_FAILED
            assert f"fork/exec {BOOTSTRAP}: {why}".encode() in ending.payload


@pytest.mark.parametrize("what", KILLED)
async def test_who_dies_in_its_exec_takes_no_zygote_along(
    sandbox: Sandbox, what: str
) -> None:
    files = {"bootstrap": KILLED[what]}
    async with sandbox.running_program(PROVIDED, files) as guest:
        for _ in range(2):
            assert (await _ending(guest)).ended is Ended.SIGNALED
        assert not guest.zygote.is_lost


async def test_a_program_that_is_being_written_starts_when_that_is_done(
    sandbox: Sandbox,
) -> None:
    files = {"bootstrap": SHELL, "mark": b"busy"}
    async with sandbox.running_program(PROVIDED, files) as guest:
        with _file_of(sandbox, b"busy").open("ab"):
            assert b"text file busy" in (await _ending(guest)).payload

        assert (await _ending(guest)).ended is Ended.ANSWERED


async def _ending(guest: Guest) -> Ending:
    instance = await guest.fork()
    try:
        return await send(instance, "greet")
    finally:
        await instance.destroy()


def _file_of(sandbox: Sandbox, mark: bytes) -> Path:
    folders = sandbox.store.code.iterdir()
    (folder,) = [one for one in folders if _has(one / "mark", mark)]
    return folder / "bootstrap"


def _has(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content
