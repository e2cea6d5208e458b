"""Registers runtimes, beside the engine and not through it.

What is registered is run by whoever starts the engine, and mounted into the jails of
all tenants. So it takes being able to start the engine, not a key of its operator's:
no request can reach this, and the engine, unprivileged, reads its result.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandlot_sandbox.launcher import registering, registry, runtimes
from sandlot_sandbox.launcher.registry import Registered


class NotRegistered(Exception):
    """Why not, and what would change that."""


def register(
    data: Path, name: str, path: str, *, given_up: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Register the interpreter `path` as the runtime `name` of the engine that is, or
    will be, on `data`; once hello world has answered in a jail on it.

    As JSON can hold it: name, version, path, what its jails see, and how long hello
    world took. Raises `NotRegistered`, and nothing is changed then.
    """
    # What speaks to a jail is a lot to import, and the supervisor imports us.
    import asyncio

    from sandlot_sandbox.host import smoke

    if not registry.is_name(name):
        raise NotRegistered(
            f"{name!r} is no name for a runtime: python3.12 or nodejs22.x, or, beside"
            " another of that version, python3.12-custom"
        )
    with _held(data) as (store, entries):
        _check_free(name, entries)
        (found,) = registering.examine(store, {name: path}, data=data)
        if found.runtime is None:
            raise NotRegistered(f"{name}: {found.problem}")
        try:
            took_s = asyncio.run(smoke.say_hello(found.runtime, given_up=given_up))
        except smoke.NoAnswer as error:
            raise NotRegistered(
                f"{name}: hello world in a jail did not work on {path}: {error}"
            ) from error
        registry.write(store / registry.FILE, [*entries, found])
    seen = registering.mounted(found.runtime)
    return {
        "name": name,
        "version": found.runtime.version,
        "path": path,
        "visible": str(seen or ""),
        "hello_ms": round(took_s * 1000, 1),
    }


def unregister(data: Path, name: str) -> None:
    """Raises `NotRegistered` where it was not."""
    with _held(data) as (store, entries):
        left = [entry for entry in entries if entry.name != name]
        if len(left) == len(entries):
            known = ", ".join(entry.name for entry in entries) or "none"
            raise NotRegistered(f"{name!r} is not registered; these are: {known}")
        registry.write(store / registry.FILE, left)


@contextlib.contextmanager
def _held(data: Path) -> Iterator[tuple[Path, list[Registered]]]:
    """The folder, and what is registered, which nobody else changes meanwhile."""
    store = data / "runtimes"
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        folder = os.open(store, flags)
    except OSError as error:
        raise NotRegistered(
            f"{data} has no engine yet ({error.strerror}): start one with `sandlot up"
            f" --data {data}` first"
        ) from error
    try:
        if os.fstat(folder).st_uid != os.geteuid():
            raise NotRegistered(
                f"{store} is not yours: registering takes whoever starts the engine, as"
                " what is registered is run by him"
            )
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield store, registry.read(store / registry.FILE)
    except registry.Unreadable as error:
        raise NotRegistered(f"{error}; remove it, and register again") from error
    finally:
        os.close(folder)


def _check_free(name: str, entries: list[Registered]) -> None:
    if any(entry.name == name for entry in entries):
        raise NotRegistered(
            f"{name} is registered already: `sandlot runtime remove {name}` first, or"
            " add a label: " + f"{name.partition('-')[0]}-custom"
        )
    if len(entries) >= registry.MAX_REGISTERED:
        raise NotRegistered(
            f"{len(entries)} runtimes are registered of {registry.MAX_REGISTERED}"
            " allowed: remove one first"
        )
    if "-" in name:
        return
    with tempfile.TemporaryDirectory() as folder:
        found, _ = runtimes.discover(Path(folder))
    if any(one.name == name for one in found):
        raise NotRegistered(
            f"there is a {name} here, and functions may use it: register yours beside"
            f" it, as {name}-custom, say"
        )
