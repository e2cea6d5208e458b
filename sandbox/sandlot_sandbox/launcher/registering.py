"""Whether an interpreter may be registered, and what it would be as a runtime.

A supervisor's part, and an operator's: it runs what it is given. And what it accepts is
mounted into the jails of all tenants, whole, so it looks at what that would show them,
and at who else could change what they all run.
"""

import fcntl
import grp
import os
import pwd
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from sandlot_sandbox.launcher import programs, runtimes
from sandlot_sandbox.launcher.asking import TRY_S, killed_at_the_end, start_asking
from sandlot_sandbox.launcher.registry import FILE, Registered, read, write
from sandlot_sandbox.launcher.runtime import Runtime, home

WAIT_S = 60.0
"""How long an engine's start waits for a command that registers something."""

_OWN_PART = 3
"""Names in the path of a prefix: `/opt/python` is somebody's own, `/opt` is not."""

_NEVER = ("etc", "proc", "sys", "dev", "run", "boot")
"""Below `/`: all in there is the machine's, however deep."""

_SHARED = ("usr", "var")
"""Below `/`: what is right in there, `/var/log`, is many programs' together."""

_LOCAL = Path("/usr/local")
"""Where an administrator's own interpreter is, and is found without being named."""

_FIRST_PERSON, _NOBODY = 1000, 65_534


def examine(store: Path, wanted: Mapping[str, str], *, data: Path) -> list[Registered]:
    """Each name and path, with the runtime that it is, and the guest's code compiled
    for it below `store`; or with why it is none. `data` is the engine's folder."""
    found: dict[str, Runtime] = {}
    problems = {
        name: trouble
        for name, path in wanted.items()
        if (trouble := _trouble_with_program(path, data))
    }
    with killed_at_the_end() as started:
        asked = {
            name: start_asking([[path, *_question(name, path)]], started)
            for name, path in wanted.items()
            if name not in problems
        }
        until = time.monotonic() + TRY_S
        for name, questions in asked.items():
            runtime = _answered(store, name, questions, until)
            if runtime is None:
                problems[name] = f"{wanted[name]} does not say that it is a {_is(name)}"
            elif trouble := trouble_with_prefix(mounted(runtime), data=data):
                problems[name] = trouble
            elif trouble := _trouble_with_program(runtime.outside, data):
                # Not what was asked, where that is a virtual environment's or a shim.
                problems[name] = trouble
            else:
                found[name] = runtime
        for broken in runtimes.prepare(list(found.values()), started):
            del found[broken.name]
            problems[broken.name] = f"{broken.python} cannot compile our code"
    return [
        Registered(name, path, found.get(name), problems.get(name, ""))
        for name, path in wanted.items()
    ]


def renew(store: Path, *, data: Path, wait_s: float = WAIT_S) -> list[Registered]:
    """Look at all that is registered once more, as an engine is about to start:
    interpreters are updated and removed, and so is our own code. Raises
    `registry.Unreadable`; `TimeoutError` where a command holds the list for `wait_s`.
    """
    folder = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # What is registered meanwhile would be lost.
        _lock(folder, store, wait_s)
        entries = read(store / FILE)
        if entries:
            wanted = {entry.name: entry.path for entry in entries}
            entries = examine(store, wanted, data=data)
            write(store / FILE, entries)
        return entries
    finally:
        os.close(folder)


def _lock(folder: int, store: Path, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(
                    f"{store}: `sandlot runtime` has been at it for {wait_s:g} s"
                ) from None
            time.sleep(0.05)
        else:
            return


def mounted(runtime: Runtime) -> Path | None:
    """What of the machine its jails have beside what all have; None for nothing."""
    if runtime.runs:
        return runtime.language
    return runtime.prefix if runtime.has_own_prefix else None


def trouble_with_prefix(prefix: Path | None, *, data: Path) -> str:
    """Why a folder should not be in the jails of all tenants; empty where it may."""
    if prefix is None:
        return ""
    shown = f"{prefix} would be in the jail of every function of this runtime"
    if _is_the_machine_s(prefix):
        return (
            f"{shown}, and it is all of the machine's: move it to a folder of its own"
        )
    for kept, what in _kept(data):
        if kept == prefix or kept.is_relative_to(prefix):
            return f"{shown}, and {what} {kept} is in it"
        if prefix.parent == kept and prefix.name.startswith("."):
            return f"{shown}, and what programs keep for a person is in it"
    if prefix.is_relative_to(data.resolve()):
        return f"{shown}, and it is in the engine's data"
    for place in (prefix / "bin", prefix):
        if place.exists() and (who := _others_may_change(place)):
            return (
                f"{who} may change what is in {place}, and with it what all tenants run"
            )
    return ""


def _is_the_machine_s(prefix: Path) -> bool:
    parts = prefix.parts
    if len(parts) < _OWN_PART or parts[1] in _NEVER:
        return True
    return len(parts) == _OWN_PART and parts[1] in _SHARED and prefix != _LOCAL


def _kept(data: Path) -> Iterator[tuple[Path, str]]:
    yield data.resolve(), "the engine's data"
    homes = {home()}
    for entry in pwd.getpwall():
        is_person = entry.pw_uid == 0 or _FIRST_PERSON <= entry.pw_uid < _NOBODY
        if is_person and len(Path(entry.pw_dir).parts) > 1:
            homes.add(Path(entry.pw_dir))
    for folder in sorted(homes):
        yield folder.resolve(), "the home directory"


def _trouble_with_program(path: str, data: Path) -> str:
    """Before it is run, as whoever starts the engine."""
    if not os.path.isabs(path):
        return f"{path} is no absolute path"
    try:
        real = Path(path).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        return f"{path} is not there: {error}"
    if not real.is_file() or not os.access(real, os.X_OK):
        return f"{real} is no program that can be run"
    if real.is_relative_to(data.resolve()):
        return f"{real} is in the engine's data, where tenants' packages are"
    if who := _others_may_change(real):
        return f"{who} may change {real}, which is run outside of jails at each start"
    return ""


def _others_may_change(path: Path) -> str:
    """Who may, beside root and ourselves: it, or a folder on the way to it."""
    trusted = (0, os.geteuid())
    for place in (path, *path.parents):
        found = place.stat()
        if found.st_uid not in trusted:
            return f"user {found.st_uid}"
        if place != path and found.st_mode & stat.S_ISVTX:
            # Nobody can put something else in the place of what is not his.
            continue
        if found.st_mode & stat.S_IWOTH:
            return "everybody"
        if found.st_mode & stat.S_IWGRP and _has_others(found.st_gid, trusted):
            return f"group {found.st_gid}"
    return ""


def _has_others(gid: int, trusted: tuple[int, ...]) -> bool:
    try:
        named = grp.getgrgid(gid).gr_mem
    except KeyError:
        named = []
    members = [
        e.pw_uid for e in pwd.getpwall() if e.pw_gid == gid or e.pw_name in named
    ]
    return any(uid not in trusted for uid in members)


def _question(name: str, path: str) -> list[str]:
    if programs.is_node(_base(name)):
        return programs.question(path)
    return runtimes.QUESTION


def _answered(
    store: Path, name: str, questions: runtimes.Asked, until: float
) -> Runtime | None:
    # A folder of its own: that of the others may be a running engine's.
    code = store / f"registered-{name}"
    base = _base(name)
    if programs.is_node(base):
        made = programs.node(code, base, questions, until)
        return None if made is None else replace(made, name=name)
    answer = runtimes.first_answer(base, questions, until)
    if answer is None:
        return None
    version, prefix = answer
    return Runtime(name, version, prefix, code / version)


def _base(name: str) -> str:
    return name.partition("-")[0]


def _is(name: str) -> str:
    base = _base(name)
    if programs.is_node(base):
        return f"Node {base.removeprefix('nodejs').removesuffix('.x')}"
    return f"CPython {base.removeprefix('python')}"
