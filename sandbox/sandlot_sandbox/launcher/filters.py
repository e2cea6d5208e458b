"""Turns the policy tables into BPF programs, once, when the launcher starts.

libseccomp knows each machine's call numbers and writes the checks of the
instruction set; we ask it for the program's bytes and load them ourselves in each
child, because building costs ten times as much as loading.
"""

import ctypes
import errno
import os
from dataclasses import dataclass
from typing import Any

from sandlot_sandbox.launcher import child
from sandlot_sandbox.policy import (
    REAPER,
    WARDEN,
    ZYGOTE,
    ZYGOTE_WITHOUT_GROUPS,
    Argument,
    Policy,
)


class FiltersUnavailable(Exception):
    """libseccomp is missing or will not build a filter; the message says which."""

    errno: int | None = None
    """Of the kernel's error, if that was one."""


@dataclass(frozen=True, slots=True)
class Filters:
    """The programs, each an array of 8-byte instructions."""

    zygote: bytes
    warden: bytes
    reaper: bytes


def compile_filters(*, has_memory_group: bool) -> Filters:
    """Build all programs, or raise `FiltersUnavailable`."""
    zygote = ZYGOTE if has_memory_group else ZYGOTE_WITHOUT_GROUPS
    return Filters(*compile_apart(zygote, WARDEN, REAPER))


def compile_apart(*policies: Policy) -> list[bytes]:
    """Programs by a child, so that libseccomp and what it takes are not in our own
    memory. Raises `FiltersUnavailable`."""
    try:
        lines = child.run(
            lambda: b"\n".join(compile_policy(one).hex().encode() for one in policies)
        )
    except child.ChildFailed as error:
        unavailable = FiltersUnavailable(str(error))
        unavailable.errno = error.errno
        raise unavailable from None
    return [bytes.fromhex(line.decode()) for line in lines.split(b"\n")]


def compile_policy(policy: Policy) -> bytes:
    """One policy as the bytes of a BPF program."""
    library = _libseccomp()
    built = library.SyscallFilter(_action(library, policy.default))
    built.set_attr(library.Attr.ACT_BADARCH, library.KILL_PROCESS)
    # A binary tree of comparisons instead of a list: half the time to load.
    built.set_attr(library.Attr.CTL_OPTIMIZE, _BINARY_TREE)
    for allowed in policy.allowed:
        for call in allowed.calls:
            _add(library, built, library.ALLOW, call)
    for rule in policy.rules:
        for alternative in rule.alternatives:
            conditions = (_condition(library, argument) for argument in alternative)
            _add(library, built, library.ALLOW, rule.call, *conditions)
    for rule in policy.pretended:
        for alternative in rule.alternatives:
            conditions = (_condition(library, argument) for argument in alternative)
            _add(library, built, library.ERRNO(0), rule.call, *conditions)
    for refused in policy.refused:
        for call in refused.calls:
            _add(library, built, library.ERRNO(errno.EPERM), call)
    for unsuited in policy.unsuited:
        for call in unsuited.calls:
            _add(library, built, library.ERRNO(errno.EINVAL), call)
    return _export(built)


_BINARY_TREE = 2


def _libseccomp() -> Any:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        if _is_libseccomp_there():
            # It is looked for by programs, which nobody could start just now.
            raise BlockingIOError(errno.EAGAIN, str(error)) from error
        raise FiltersUnavailable(
            f"pyseccomp cannot be loaded ({error}): install libseccomp2"
        ) from error
    return pyseccomp


def _is_libseccomp_there() -> bool:
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return False
    return True


def _action(library: Any, default: str) -> int:
    action = (
        library.ALLOW if default == "allow" else library.ERRNO(getattr(errno, default))
    )
    return int(action)


def _condition(library: Any, argument: Argument) -> Any:
    # Always masked: the kernel reads an `int` from the low 32 bits, and a filter
    # that looked at all 64 could be told something else (flatpak's TIOCSTI bug).
    return library.Arg(argument.index, library.MASKED_EQ, argument.mask, argument.value)


def _add(library: Any, built: Any, action: int, call: str, *conditions: Any) -> None:
    number = library.resolve_syscall(library.Arch.NATIVE, call)
    if number < 0:
        # Either this machine does not have the call (open(2) on aarch64) or this
        # libseccomp is older than it. Both ways it stays at the default, which for
        # an allowed call is the stricter answer. The deny-list has no such calls.
        return
    built.add_rule(action, call, *conditions)


def _export(built: Any) -> bytes:
    # In memory: a container may have no folder that can be written to but our data.
    with os.fdopen(os.memfd_create("filter"), "w+b") as file:
        built.export_bpf(file)
        file.seek(0)
        program = file.read()
    if not 0 < len(program) <= _MAX_INSTRUCTIONS * 8:
        raise FiltersUnavailable(f"libseccomp built {len(program)} bytes of filter")
    return program


_MAX_INSTRUCTIONS = 4096
"""The kernel's BPF_MAXINSNS."""
