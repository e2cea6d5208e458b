"""What functions can be written for: interpreters, found, tried, prepared.

Runs in the supervisor, before anything else is started: it executes interpreters
that the operator's own PATH names, which the launcher never does.
"""

import ctypes
import errno
import glob
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import sandlot_sandbox
from sandlot_sandbox.launcher import programs
from sandlot_sandbox.launcher.asking import (
    NOT_RUN,
    TRY_S,
    killed_at_the_end,
    start_asking,
)
from sandlot_sandbox.launcher.runtime import Runtime, guest_code_in, home

_MINORS = range(9, 16)
Asked = list["subprocess.Popen[str]"]

# The part of `json` that is needed, no `platform`, no `site`: they would take twice as
# long as the interpreter itself, of each that there is, at each start of an engine.
_ASK = """
import sys
try:
    from _json import encode_basestring_ascii as quoted
except ImportError:
    from json import dumps as quoted
executable = getattr(sys, "_base_executable", None) or sys.executable
said = sys.version.split()[0], sys.base_prefix, sys.implementation.name, executable
print("[" + ", ".join(map(quoted, said)) + "]")
"""

QUESTION = ["-IS", "-c", _ASK]
"""Arguments with which a CPython says what it is."""

GUEST_FILES = ("__init__.py", "linux.py", "frames.py")
"""What of this package the guest needs, beside `guest/` itself."""

log = logging.getLogger(__name__)


def discover(
    store: Path, *, named: Mapping[str, str] | None = None
) -> tuple[list[Runtime], list[str]]:
    """The runtimes that work, and a sentence for each named one that does not.

    `named` maps runtime names to interpreters and comes before what is found on
    PATH, in pyenv's folder and beside ourselves; of those, what does not work is left
    out. `store` is where the guest's code is kept, compiled for each.
    """
    named = named or {}
    names = [f"python3.{minor}" for minor in _MINORS]
    problems = [
        f"{name!r} is not a runtime; there are {', '.join(names)}, nodejs18.x and later"
        for name in named
        if name not in names and not programs.is_node(name)
    ]
    runtimes = []
    with killed_at_the_end() as started:
        asked = {
            name: start_asking([[path, *QUESTION] for path in paths], started)
            for name, paths in _candidates(named).items()
        }
        asked_nodes = programs.ask_nodes(named, started)
        until = time.monotonic() + TRY_S
        for name, questions in asked.items():
            found = first_answer(name, questions, until)
            if found is not None:
                version, prefix = found
                code = guest_code_in(store, name, version)
                runtimes.append(Runtime(name, version, prefix, code))
            elif name in named:
                what = f"is not a CPython {name.removeprefix('python')}"
                problems.append(f"{named[name]} {what if questions else NOT_RUN}")
        others, troubles = programs.found(store, named, asked_nodes, until)
        problems += troubles
        runtimes += others
        for broken in prepare(runtimes, started):
            runtimes.remove(broken)
            why = f"{broken.python} cannot compile our code"
            if broken.name in named:
                problems.append(why)
            else:
                log.warning("sandlot: no runtime %s: %s", broken.name, why)
    return sorted(runtimes, key=_order), problems


def _order(runtime: Runtime) -> tuple[bool, list[tuple[int, str]]]:
    """By language, and its versions by their numbers."""
    parts = re.findall(r"(\d+)|(\D+)", runtime.name)
    return bool(runtime.runs), [(int(number or 0), text) for number, text in parts]


def _candidates(named: Mapping[str, str]) -> dict[str, list[str]]:
    """By name, what may be such an interpreter, the likeliest first."""
    folders = os.get_exec_path()
    own = os.path.join(sys.base_prefix, "bin")
    found: dict[str, list[str]] = {}
    for minor in _MINORS:
        name = f"python3.{minor}"
        if name in named:
            found[name] = [named[name]]
            continue
        paths = [os.path.join(own, name)]
        for root in _pyenvs(folders):
            # Not pathlib's, which fails on a folder that it may not look into.
            paths += sorted(glob.glob(f"{root}/versions/3.{minor}.*/bin/{name}"))[::-1]
        paths += [os.path.join(folder, name) for folder in folders]
        there: dict[str, str] = {}
        for path in paths:
            if os.access(path, os.X_OK):
                there.setdefault(os.path.realpath(path), path)
        likely = list(there.values())
        if likely:
            # A version manager's shim is a script, which starts dozens of processes to
            # come to an interpreter that we mostly have found by then.
            found[name] = [path for path in likely if not _is_script(path)] or likely
    return found


def _pyenvs(folders: list[str]) -> list[str]:
    """Where pyenv keeps interpreters: by its variable or in our home, and beside the
    shims on PATH."""
    roots = [os.environ.get("PYENV_ROOT") or str(home() / ".pyenv")]
    roots += [
        os.path.dirname(folder)
        for folder in folders
        if os.path.basename(folder) == "shims"
    ]
    return list(dict.fromkeys(roots))


def _is_script(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def first_answer(name: str, questions: Asked, until: float) -> tuple[str, Path] | None:
    """Version and prefix of the first of these processes that is a CPython so named."""
    for process in questions:
        try:
            answer, _ = process.communicate(timeout=max(0, until - time.monotonic()))
            version, prefix, implementation, _executable = json.loads(answer)
            root = Path(prefix).resolve()
            is_there = (root / "bin" / name).exists()
        except (
            subprocess.TimeoutExpired,
            ValueError,
            TypeError,
            OSError,
            RuntimeError,
        ):
            # It is somebody's program, and whatever it does or says, not ours to mend.
            continue
        if (
            implementation == "cpython"
            and f"python{version}".startswith(name + ".")
            and is_there
        ):
            return str(version), root
    return None


def prepare(runtimes: list[Runtime], started: Asked) -> list[Runtime]:
    """Copy the guest's code for each runtime and have the runtime compile it; those
    that cannot. Raises `OSError`, as where there is no room for it."""
    source = Path(sandlot_sandbox.__file__).parent
    stamp = _fingerprint(source)
    compiling = []
    seen = set()
    for runtime in runtimes:
        marker = runtime.guest_code / ".stamp"
        if marker in seen:
            continue
        seen.add(marker)
        if marker.is_file() and marker.read_text() == stamp:
            continue
        shutil.rmtree(runtime.guest_code, ignore_errors=True)
        _copy(source, runtime.guest_code)
        process = _compile(runtime)
        started.append(process)
        compiling.append((runtime, marker, process))
    until = time.monotonic() + TRY_S
    broken, made = [], []
    for runtime, marker, process in compiling:
        try:
            said, _ = process.communicate(timeout=max(0, until - time.monotonic()))
        except (subprocess.TimeoutExpired, ValueError):
            said = ""
        if process.returncode == 0:
            _make_readable(runtime.guest_code)
            made.append(marker)
        else:
            _check_room(said, runtime.guest_code)
            broken += [one for one in runtimes if one.guest_code == runtime.guest_code]
    if made:
        # Or a power cut could leave the stamp of files that are empty.
        _sync_file_system(made[0].parent)
    for marker in made:
        marker.write_text(stamp)
    return broken


def _sync_file_system(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), "syncfs failed")
    finally:
        os.close(descriptor)


_syncfs = ctypes.CDLL(None, use_errno=True).syncfs


def _copy(source: Path, target: Path) -> None:
    package = target / "sandlot_sandbox"
    package.mkdir(parents=True)
    for name in GUEST_FILES:
        shutil.copyfile(source / name, package / name)
    guest = source / "guest"
    _copy_folder(guest, package / "guest", without={"__pycache__", "lib", "node"})
    for name in ("lib", "node"):
        _copy_folder(guest / name, target / name, without={"__pycache__"})


def _copy_folder(source: Path, target: Path, *, without: set[str]) -> None:
    """Up to the first error, and with it: `shutil.copytree` collects them all, as text,
    and which of them another start might not meet is not to be seen."""
    target.mkdir()
    for entry in source.iterdir():
        if entry.name in without:
            continue
        if entry.is_dir():
            _copy_folder(entry, target / entry.name, without=without)
        else:
            shutil.copy2(entry, target / entry.name)


def _compile(runtime: Runtime) -> "subprocess.Popen[str]":
    # Unchecked: the files are mounted read-only, and times would differ by runtime.
    return subprocess.Popen(  # noqa: S603 - an interpreter that `discover` tried
        [
            *(str(runtime.python), "-I", "-S", "-m", "compileall", "-q"),
            *("--invalidation-mode", "unchecked-hash", "-s", str(runtime.guest_code)),
            *("-p", "/var/runtime", str(runtime.guest_code)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


def _check_room(said: str, folder: Path) -> None:
    """Raise what it was, where no file could be written: the interpreter is sound."""
    for number in (errno.ENOSPC, errno.EDQUOT):
        if f"[Errno {number}]" in said:
            raise OSError(number, os.strerror(number), str(folder))


def _make_readable(root: Path) -> None:
    root.chmod(0o755)
    for path in root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _fingerprint(source: Path) -> str:
    digest = hashlib.sha256()
    files = [source / name for name in GUEST_FILES]
    files += sorted((source / "guest").rglob("*.py"))
    files += sorted((source / "guest" / "node").glob("*"))
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
